import Basics
import Foundation
import Protocol
import Testing
import Transport
import Undercloud

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
                return .taken
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
