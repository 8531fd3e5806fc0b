import Basics
import Foundation
import HTTP
import Protocol
import Testing
import Transport
import Undercloud

@testable import Baremetal
@testable import Boot
@testable import Power

extension Fuzzing {
    struct `Texts that the controller reads` {
        @Test func `what ipmitool prints`() async throws {
            let samples = [
                "Chassis Power is on\n",
                """
                Boot parameter version: 1
                Boot parameter 5 is valid/unlocked
                 Boot Flags :
                   - Boot Flag Valid
                   - Options apply to only next boot
                   - Boot Device Selector : Force PXE
                """,
                "System GUID  : 31303043-534d-2500-90d8-7a1d2d9c0000\nTimestamp : 1\n",
                "Error: Unable to establish IPMI v2 / RMCP+ session\n",
                """
                Board Temp,42,degrees C,ok,7.1,System Board,Temperature,,,
                Fan 1,3700,RPM,ok,7.1,System Board,Fan,,,
                """,
                """
                SEL Record ID          : 0001
                 Record Type           : 02
                 Sensor Type           : Temperature
                 Event Direction       : Assertion Event
                 Event Data            : 576050
                 Description           : Upper Non-critical going high
                """,
                "ff ff 01 00 eb 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d\n",
                "IP Address Source : Static Address\nIP Address : 192.0.2.1\n",
            ]
            let words = [
                "- Boot Device Selector", "System GUID", ":", "\r\n", "\u{301}", "\u{2028}",
            ]
            try await Fuzzer(
                "ipmi-answers",
                samples.map { Array($0.utf8) },
                words: words,
                iterations: 6_000
            ).run { input in
                let text = String(decoding: input.prefix(64 << 10), as: UTF8.self)
                _ = IPMIAnswer.bootChoice(text)
                _ = IPMIAnswer.failure(text)
                if IPMIAnswer.power(text) != nil {
                    try demand(text.contains("Chassis Power is o"), "a state out of nothing")
                }
                if let identity = IPMIAnswer.identity(text) {
                    try demand(NodeID(identity) != nil, "“\(identity)” is no identity")
                }
                if let number = IPMIAnswer.userNumber("admin", in: text) {
                    try demand((1...63).contains(number), "\(number) is no user")
                }
                for reading in IPMIAnswer.readings(text) {
                    try demand(reading.value?.isFinite ?? true, "a reading that is no number")
                    try demand(reading.name.count <= 160, "an endless name")
                }
                for event in IPMIAnswer.events(text) {
                    try demand(event.source.count <= 160, "an endless source")
                    try demand(event.data.allSatisfy(\.isHexDigit), "“\(event.data)” as data")
                }
                if let record = IPMIAnswer.record(1, text) {
                    try demand(record.data.count == 13, "a record of another length")
                }
                if let address = IPMIAnswer.network(text)?.address {
                    try demand(text.contains(address), "an address out of nothing")
                }
                return .taken
            }
        }

        @Test func `what Redfish services answer`() async throws {
            let samples = try ["plain", "action-info", "two-systems", "events", "accounts", "log"]
                .flatMap { name in
                    let file = "Tests/PowerTests/Recordings/\(name).json"
                    let recording = try JSONValue(parsing: Self.bytes(file))
                    return (recording["documents"]?.members ?? [:]).sorted { $0.key < $1.key }
                        .map(\.value.canonicalBytes)
                }
            let words = ["@odata.id", "//", "../", "%2e", "http://", "\\u0000", "#", "?"]
            let bmc = BMC(
                host: "192.0.2.1",
                port: 443,
                user: "admin",
                password: Secret("x"),
                redfish: RedfishAccess()
            )
            try await Fuzzer("redfish-answers", samples, words: words, iterations: 6_000)
                .run { input in
                    _ = RedfishAnswer.words(input)
                    guard let document = try? RedfishAnswer.document(input) else {
                        return .refused
                    }
                    try Self.check(document, bmc)
                    return .taken
                }
        }

        @Test func `what BMCs tell of their events`() async throws {
            let sample = """
                {"@odata.type": "#Event.v1_7_0.Event", "Context": "rdo", "Events": [
                  {"MessageId": "Fan.1.0.Failed", "Severity": "Critical", "Message": "fan 3",
                   "OriginOfCondition": {"@odata.id": "/redfish/v1/Systems/2"}},
                  {"EventType": "Alert", "MessageSeverity": "Warning", "OriginOfCondition": "/x"}]}
                """
            let words = ["Warning", "Critical", "\\u202e", "\\u001b", "@odata.id"]
            try await Fuzzer("bmc-events", [Array(sample.utf8)], words: words, iterations: 6_000)
                .run { input in
                    // What is no JSON never gets to the reader.
                    guard let document = try? JSONValue(parsing: input),
                        let message = BMCEvents(document)
                    else { return .refused }
                    try demand(message.events.count <= BMCEvents.eventsMax, "too many events")
                    for event in message.events {
                        try demand(event.sentence.unicodeScalars.count < 500, "an endless sentence")
                        let isPlain = event.sentence.unicodeScalars.allSatisfy {
                            $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value)
                                && !(0x2028...0x202e).contains($0.value)
                        }
                        try demand(isPlain, "control characters in a sentence")
                    }
                    return .taken
                }
        }

        private static func bytes(_ path: String) throws -> [UInt8] {
            let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
            return Array(try Data(contentsOf: URL(filePath: "/\(root)/\(path)")))
        }

        /// Feeds every reader of Redfish documents, and demands of every link that it stays with its BMC.
        private static func check(_ document: JSONValue, _ bmc: BMC) throws {
            let settings = RedfishAnswer.attributes(document)
            try demand(settings.count <= RedfishAnswer.settingsMax, "too many settings")
            _ = RedfishAnswer.registry(document)
            let readings = RedfishAnswer.readings(document)
            try demand(readings.count <= RedfishAnswer.sensorsMax, "too many sensors")
            _ = RedfishAnswer.adapter(document)
            for entry in document["Members"]?.elements ?? [] {
                guard let record = RedfishAnswer.record(entry) else { continue }
                try demand(record.data.count == 13, "a record of another length")
            }
            let medium = RedfishMedium(document)
            let root = RedfishRoot(document)
            var links = [root.systems, root.sessions, medium?.insert?.target]
            links += [root.events, root.updates, root.accounts]
            links += RedfishAnswer.links(document["Members"])
            if let system = try? RedfishSystem(document) {
                links += [system.bios, system.secureBoot, system.reset?.target]
                links += system.managers + system.chassis + [system.logs]
            }
            for case let link? in links {
                guard let path = try? bmc.path(of: link) else { continue }
                try demand(RedfishAddress.isPath(path), "“\(path)” is no path")
                let again = try bmc.path(of: path)
                try demand(again == path, "a path changes")
            }
        }

        @Test func `leases of the DHCP server`() async throws {
            let sample = """
                1800003600 52:54:00:c0:00:01 192.0.2.101 c0 01:52:54:00:c0:00:01
                0 52:54:00:c0:00:02 192.0.2.102 * *
                duid 00:01:00:01
                """
            try await Fuzzer("leases", [Array(sample.utf8)], iterations: 6_000).run { input in
                let leases = LeaseTable.parse(String(decoding: input, as: UTF8.self))
                try demand(leases.count <= LeaseTable.leasesMax, "too many leases")
                for lease in leases {
                    try demand(lease.expires >= 0, "a lease ended before time began")
                    let again = IPv4Address(lease.address.text)
                    try demand(again == lease.address, "an address changes")
                }
                return .taken
            }
        }

        @Test func `undercloud.conf`() async throws {
            let sample = """
                [DEFAULT]
                # comment
                local_ip = 192.0.2.1/24
                dhcp_start=192.0.2.5
                ; another
                [auth]
                key = value = more
                """
            let words = ["[", "]", "=", "#", "\u{0}", "\u{2028}", "\r\n"]
            try await Fuzzer("ini-files", [Array(sample.utf8)], words: words, iterations: 6_000)
                .run { input in
                    let text = String(decoding: input, as: UTF8.self)
                    guard let file = try? INIFile(text, path: "x") else { return .refused }
                    for entry in file.entries {
                        let text = entry.section + entry.key + entry.value
                        try demand(!text.utf8.contains(0x0a), "an entry has two lines")
                    }
                    return .taken
                }
        }

        @Test func `identifiers and keys`() async throws {
            let key = CurveKeyPair().publicKey.z85
            let samples = ["5F0C6B9E-0000-4000-8000-000000000001", key].map { Array($0.utf8) }
            try await Fuzzer("identifiers", samples, words: ["-", "%", "\u{301}"]).run { input in
                let text = String(decoding: input, as: UTF8.self)
                if let id = NodeID(text) {
                    try demand(NodeID(id.text) == id, "an identifier changes")
                    return .taken
                }
                guard let key = CurvePublicKey(z85: text) else { return .refused }
                try demand(CurvePublicKey(z85: key.z85) == key, "a key changes")
                return .taken
            }
        }
    }
}
