import Basics
import HTTP
import Harness
import Synchronization
import Testing

@testable import Power

@Suite struct RedfishLogTests {
    private static let data: [UInt8] = [0xa0, 0x0b, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff]
    private static let wanted = EventRecord(type: 0xeb, data: data)
    private static let hex = "0000EBA00B030405060708090A0B0CFF"

    private func with(
        _ recording: String,
        _ edit: (inout RedfishSettings) -> Void = { _ in },
        _ body: @escaping @Sendable (RedfishPower, BMC, RedfishDouble) async throws -> Void
    ) async throws {
        var settings = RedfishSettings()
        edit(&settings)
        let bytesMax = settings.answerBytesMax
        let double = try RedfishDouble(recording)
        try await double.serve { port in
            try await RedfishSubject.drive(.double(port: port)) {
                $0.answerBytesMax = bytesMax
            } _: { driver, bmc in
                try await body(driver, bmc, double)
            }
        }
    }

    @Test func `a record that the machine wrote is found, also on a later page`() async throws {
        for (recording, page) in [
            ("log", RedfishDouble.log), ("log-paged", RedfishDouble.log + "?$skip=2"),
        ] {
            try await with(recording) { driver, bmc, double async throws in
                #expect(try await driver.search(for: Self.wanted, of: bmc) == .nothing)
                double.addEvent(type: 0xeb, data: Self.data, page: page)
                #expect(try await driver.search(for: Self.wanted, of: bmc) == .found)
            }
        }
    }

    @Test func `a record that shows late is waited for`() async throws {
        try await with("log") { driver, bmc, double async throws in
            async let result = driver.search(for: Self.wanted, of: bmc)
            try await eventually("the first look") {
                double.asked.contains { $0.path == RedfishDouble.log }
            }
            double.addEvent(type: 0xeb, data: Self.data)
            #expect(try await result == .found)
        }
    }

    @Test func `others of its type are told from none`() async throws {
        try await with("log") { driver, bmc, double async throws in
            double.addEvent(type: 0xec, data: Self.data)
            #expect(try await driver.search(for: Self.wanted, of: bmc) == .nothing)
            double.addEvent(type: 0xeb, data: Self.data.reversed())
            #expect(try await driver.search(for: Self.wanted, of: bmc) == .others)
            let read = double.asked.map(\.path)
            #expect(!read.contains { $0.contains("PostCodes/Entries") }, "codes are no events")
        }
    }

    @Test(arguments: [
        // Who logs in chooses a name.
        ("OpenBMC.0.1.InvalidLoginAttempted", hex), ("USR0032", hex), ("SELEntryAdded", hex),
        ("Vendor.1.0.SELEntryAdded", hex), ("OpenBMC.0.1.SELEntryAdded", hex + "00"),
        ("OpenBMC.0.1.SELEntryAdded", "login of \(hex)"), ("OpenBMC.0.1.SELEntryAdded", ""),
        ("OpenBMC.0.1.SELEntryAdded", String(hex.dropLast())),
    ])
    func `the right bytes in an entry of another kind prove nothing`(
        _ name: String,
        _ argument: String
    ) async throws {
        let entry: JSONValue = [
            "EntryType": "SEL", "MessageId": .string(name), "MessageArgs": [.string(argument)],
            "Message": .string("SEL Entry Added: \(Self.hex)"),
        ]
        #expect(RedfishAnswer.record(entry) == nil)
        try await with("log") { driver, bmc, double async throws in
            double.add(entry)
            #expect(try await driver.search(for: Self.wanted, of: bmc) == .nothing)
        }
    }

    @Test func `case and spaces do not matter, a second argument does`() {
        func read(_ arguments: JSONValue) -> EventRecord? {
            RedfishAnswer.record([
                "MessageId": "OpenBMC.0.4.SELEntryAdded", "MessageArgs": arguments,
            ])
        }
        #expect(read([.string(Self.hex.lowercased())]) == Self.wanted)
        #expect(read(["00 00 EB A0 0B 03 04 05 06 07 08 09 0A 0B 0C FF"]) == Self.wanted)
        #expect(read([.string(Self.hex), .string(Self.hex)]) == nil)
        #expect(read(.string(Self.hex)) == nil)
        #expect(read([7]) == nil)
        #expect(read([.string(String(repeating: "0", count: 1 << 20))]) == nil)
    }

    @Test(arguments: [
        ("log-circle", PowerFault.Reason.refused, "lead round in a circle"),
        ("log-elsewhere", .settings, "leads to “other.example”"),
        ("log-endless", .refused, "longer than 1048576 bytes"),
        ("plain", .unsupported, "does not support event logs"),
    ])
    func `a strange log is one clear sentence`(
        _ recording: String,
        _ reason: PowerFault.Reason,
        _ words: String
    ) async throws {
        try await with(recording, { $0.answerBytesMax = 1 << 20 }) { driver, bmc, double in
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.search(for: Self.wanted, of: bmc)
            }
            #expect(fault?.reason == reason)
            #expect(fault?.message.contains(words) == true, "\(fault?.message ?? "")")
            #expect(double.asked.count < 20)
        }
    }

    @Test func `a log of many pages is read as far as its bound and never counts as seen whole`()
        async throws
    {
        try await with("log") { driver, bmc, double async throws in
            func page(_ number: Int) -> String {
                number == 0 ? RedfishDouble.log : "\(RedfishDouble.log)?$skip=\(number)"
            }
            let pages = RedfishCall.pagesMax + 4
            double.state.withLock { state in
                for number in 0..<pages {
                    state.documents[page(number)] = [
                        "Members": [], "Members@odata.nextLink": .string(page(number + 1)),
                    ]
                }
            }
            double.addEvent(type: 0xeb, data: Self.data.reversed())
            #expect(try await driver.search(for: Self.wanted, of: bmc) == .nothing)
            let reads = double.asked.count { $0.path == RedfishDouble.log }
            #expect(reads == RedfishCall.pagesMax * 4, "4 looks")
            double.addEvent(
                type: 0xeb,
                data: Self.data,
                page: page(RedfishCall.pagesMax - 1)
            )
            #expect(try await driver.search(for: Self.wanted, of: bmc) == .found)
        }
    }

    @Test func `a log whose entries are no list shows nothing`() async throws {
        try await with("log-malformed") { driver, bmc, _ async throws in
            #expect(try await driver.search(for: Self.wanted, of: bmc) == .nothing)
        }
    }

    @Test func `the log of a manager of several machines is not asked`() async throws {
        try await with("plain") { driver, bmc, double async throws in
            double.state.withLock { state in
                state.documents["/redfish/v1/Managers/BMC-A"] = [
                    "Id": "BMC-A",
                    "LogServices": ["@odata.id": "/redfish/v1/Systems/437XR/LogServices"],
                ]
            }
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.search(for: Self.wanted, of: bmc)
            }
            #expect(fault?.reason == .unsupported)
            #expect(!double.asked.contains { $0.path.contains("LogServices") })
        }
    }
}
