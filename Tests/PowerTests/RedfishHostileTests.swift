import Basics
import HTTP
import Harness
import Synchronization
import Testing

@testable import Power

/// BMCs that are broken or mean harm.
@Suite struct RedfishHostileTests {
    @Test(arguments: [
        ("link-elsewhere", PowerFault.Reason.settings, "leads to “other.example”"),
        ("redirect-elsewhere", .settings, "leads to “other.example”"),
        ("redirect-for-ever", .refused, "redirects more than 3 times"),
        ("endless", .refused, "longer than 1048576 bytes"),
        ("deep", .refused, "levels of nesting"), ("malformed", .refused, "it is not JSON at byte"),
        ("web-page", .refused, "it is a web page, not JSON"), ("empty", .refused, "it is empty"),
        ("dripping", .noAnswer, "did not answer within"),
        ("silent", .noAnswer, "did not answer within"), ("echo", .refused, "bad token *** "),
    ])
    func `a strange answer is one clear sentence within a bounded time`(
        _ recording: String,
        _ reason: PowerFault.Reason,
        _ words: String
    ) async throws {
        let double = try RedfishDouble(recording)
        try await double.serve { port in
            try await RedfishSubject.drive(.double(port: port)) {
                $0.answerBytesMax = 1 << 20
                // Beside a thousand other tests an answer may take long; who never gives one is waited for
                // shortly.
                $0.requestBudget = reason == .noAnswer ? .seconds(3) : .seconds(60)
                $0.callBudget = $0.requestBudget * 2
            } _: { driver, bmc in
                let begin = SystemTime().elapsed
                let fault = await #expect(throws: PowerFault.self) {
                    try await driver.power(of: bmc)
                }
                #expect(fault?.reason == reason)
                let message = fault?.message ?? ""
                #expect(message.contains(words), "\(message)")
                #expect(message.hasPrefix("cannot read the power state of BMC 127.0.0.1:"))
                let told = message + (fault?.detail ?? "")
                #expect(!told.contains(RedfishDouble.password))
                #expect(message.unicodeScalars.allSatisfy { $0.value >= 0x20 })
                #expect(SystemTime().elapsed - begin < .seconds(90))
            }
        }
    }

    @Test func `credentials do not follow a redirect or an action to another origin`() async throws
    {
        let thief = try RedfishDouble("plain")
        let double = try RedfishDouble("action-elsewhere")
        try await thief.serve { elsewhere in
            try await double.serve { port in
                double.state.withLock {
                    let path = "/redfish/v1/Systems/437XR"
                    var system = $0.documents[path] ?? .null
                    let target: JSONValue = [
                        "#ComputerSystem.Reset": [
                            "target": .string("http://127.0.0.1:\(elsewhere)/reset")
                        ]
                    ]
                    system["Actions"] = target
                    $0.documents[path] = system
                }
                try await RedfishSubject.drive(.double(port: port)) { driver, bmc in
                    let fault = await #expect(throws: PowerFault.self) {
                        try await driver.change(.on, of: bmc)
                    }
                    #expect(fault?.reason == .settings)
                    #expect(fault?.message.contains("another address") == true)
                }
            }
            #expect(thief.asked.isEmpty)
        }
    }

    @Test(arguments: [
        "https://bmc.example", "bmc.example", "http://192.0.2.1:8000/redfish/v1/", "fe80::1",
        "[2001:db8::1]:8443", "https://[2001:db8::1]/",
    ])
    func `an address is read`(_ text: String) {
        let address = RedfishAddress(text)
        #expect(address != nil)
        #expect(address.map { BMC.isAddress($0.host) } == true)
    }

    @Test(arguments: [
        "", "ftp://bmc", "https://", "https://user:password@bmc.example", "bmc:0", "bmc:99999",
        "bmx:80:90/", "-bmc", "https://bmc/?a=b", "https://bmc/#a", "https://bmc/../x", "bm c",
        "https://bmc\r\nX: y", "[fe80::1", "https://fe80::1%eth0", "https://bmc//other",
    ])
    func `what is no address is refused`(_ text: String) { #expect(RedfishAddress(text) == nil) }

    @Test(
        arguments: [
            ("/redfish/v1/Systems/1", "/redfish/v1/Systems/1"),
            ("http://127.0.0.1:8000/redfish/v1/a?$skip=2", "/redfish/v1/a?$skip=2"),
            ("HTTP://127.0.0.1:8000/x", "/x"), ("//127.0.0.1:8000/x", "/x"),
            ("/a/Thermal#/Fans/0", "/a/Thermal"), ("http://127.0.0.1:8001/x", nil),
            ("https://127.0.0.1:8000/x", nil), ("//other/x", nil), ("/a/../b", nil),
            ("/a/%2e%2E/b", nil), ("/a b", nil), ("/a\r\nHost: b", nil), ("Systems/1", nil),
            ("http://127.0.0.1:8000@other/x", nil), ("http://127.0.0.1.other:8000/x", nil),
            ("", nil), ("javascript:x", nil), ("/\\other", nil),
        ] as [(String, String?)]
    )
    func `a link leads to a path of the same origin or nowhere`(_ link: String, _ path: String?) {
        let bmc = BMC.double(port: 8000)
        if let path {
            let found = try? bmc.path(of: link)
            #expect(found == path)
        } else {
            #expect(throws: RedfishTrouble.self) { try bmc.path(of: link) }
        }
    }

    @Test func `dead BMCs do not slow a live one`() async throws {
        let double = try RedfishDouble("plain")
        let dead = try RedfishDouble("dead")
        try await double.serve { port in
            try await dead.serve(at: "0.0.0.0") { silent in
                try await RedfishSubject.drive(.double(port: port)) {
                    $0.callsMax = 8
                    $0.requestBudget = .seconds(30)
                    $0.callBudget = .seconds(60)
                } _: { driver, bmc in
                    _ = try await driver.power(of: bmc)
                    try await Self.besideTheDead(driver, bmc, dead, silent)
                }
            }
        }
    }

    /// 200 BMCs that take connections and answer nothing are asked over and over; the live one is asked meanwhile.
    private static func besideTheDead(
        _ driver: RedfishPower,
        _ live: BMC,
        _ dead: RedfishDouble,
        _ silent: UInt16
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...200 {
                // Each has an address of its own on the loopback network.
                let bmc = BMC(
                    host: "127.0.\(number / 200 + 1).\(number % 200 + 1)",
                    port: silent,
                    user: "admin",
                    password: Secret("x"),
                    redfish: live.redfish
                )
                group.addTask {
                    while !Task.isCancelled {
                        do {
                            _ = try await driver.power(of: bmc)
                        } catch is CancellationError {
                            return
                        } catch {}
                    }
                }
            }
            try await eventually("the dead to take their places") { dead.asked.count >= 7 }
            let begin = SystemTime().elapsed
            for _ in 0..<20 { _ = try await driver.power(of: live) }
            // The dead hold their places for a minute: in line with them the live one would wait longer.
            #expect(SystemTime().elapsed - begin < .seconds(50))
            group.cancelAll()
        }
    }
}
