import AgentCore
import AgentSteps
import Basics
import Foundation
import Protocol
import Testing
import Transport

@testable import AgentSystem

/// A server's answer with the options that matter.
private func dhcpAnswer(_ options: [UInt8]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 236)
    bytes.replaceSubrange(0..<8, with: [2, 1, 6, 0, 1, 2, 3, 4])
    bytes.replaceSubrange(16..<20, with: [192, 0, 2, 9])
    bytes.replaceSubrange(28..<34, with: [0x52, 0x54, 0, 0xc0, 0, 1])
    return bytes + [99, 130, 83, 99] + options + [255]
}

private let offer = dhcpAnswer(
    [53, 1, 2, 54, 4, 192, 0, 2, 1, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16]
        + [121, 8, 24, 10, 0, 0, 192, 0, 2, 1]
)
private let acknowledgement = dhcpAnswer(
    [53, 1, 5, 54, 4, 192, 0, 2, 1, 3, 4, 192, 0, 2, 1, 52, 1, 3]
)

/// A packet as a client of DHCP gets it: from port 67 to port 68.
private func packet(_ payload: [UInt8]) -> [UInt8] {
    var packet = DHCPPacket.wrap(payload, from: IPv4(bits: 0xc000_0201))
    packet.replaceSubrange(20..<24, with: [0, 67, 0, 68])
    return packet
}

private let frame: [UInt8] =
    [0x02, 0x07, 4, 0, 0x1b, 0x21, 1, 2, 3] + [0x04, 0x05, 5] + Array("ge-0".utf8)
    + [0x06, 0x02, 0, 120] + [0x0a, 0x04] + Array("leaf".utf8) + [0, 0]

extension Fuzzing {
    struct `Packets that a bare machine hears` {
        @Test func `DHCP messages`() async throws {
            // The second says that names hold options too, which end at once.
            var overloaded = acknowledgement
            overloaded[108] = 255
            overloaded[44] = 255
            try await Fuzzer("dhcp-messages", [offer, overloaded]).run { input in
                guard let message = try? DHCPMessage(input) else { return .refused }
                try demand(message.options.count <= 64, "more than 64 options are taken")
                guard let lease = try? message.lease() else { return .taken }
                try demand(lease.address.isHost, "the lease's address is none")
                try demand(lease.routes.count <= 16, "too many routes")
                for route in lease.routes {
                    try demand((0...32).contains(route.prefix), "a route's prefix is none")
                }
                return .taken
            }
        }

        @Test func `DHCP packets`() async throws {
            let samples = [packet(offer), packet(acknowledgement)]
            try await Fuzzer("dhcp-packets", samples).run { input in
                guard let payload = try? DHCPPacket.unwrap(input) else { return .refused }
                try demand(payload.count + 28 <= input.count, "the payload is longer than it")
                return .taken
            }
        }

        @Test func `LLDP frames`() async throws {
            try await Fuzzer("lldp", [frame]).run { input in
                guard let entries = try? LLDPEntry.parse(input) else { return .refused }
                try demand(entries.count <= LLDPEntry.entriesMax, "too many entries")
                let rendered = entries.flatMap { entry in
                    [
                        entry.type << 1 | UInt8(entry.value.count >> 8),
                        UInt8(entry.value.count & 255),
                    ]
                        + entry.value
                }
                try demand(try LLDPEntry.parse(rendered) == entries, "entries change on their way")
                return .taken
            }
        }

        @Test func `SMBIOS tables`() async throws {
            var table: [UInt8] =
                [0, 10, 0, 0, 1, 2, 0, 0, 3, 0] + Array("SeaBIOS\u{0}1.16\u{0}".utf8)
            table += Array("2014\u{0}\u{0}".utf8)
            table += [1, 27, 0, 0, 1, 2, 0, 3] + [UInt8](1...16) + [0, 0, 0]
            table += Array("QEMU\u{0}PC\u{0}S-7\u{0}\u{0}".utf8)
            table += [17, 40] + [UInt8](repeating: 0, count: 10) + [0, 0x40]
            table += [UInt8](repeating: 0, count: 26) + [0, 0]
            // A network to the BMC, over USB.
            table += [42, 118, 0, 0, 0x40, 13, 4, 12, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 4, 95]
            table += [UInt8](repeating: 7, count: 16)
            let rest = [UInt8](repeating: 0, count: 12)
            table += [1, 1, 169, 254, 0, 18] + rest + [255, 255, 255, 0] + rest
            table += [1, 1, 169, 254, 0, 17] + rest + [255, 255, 255, 0] + rest
            table += [187, 1, 0, 0, 0, 0, 4] + Array("bmc1".utf8) + [0, 0]
            table += [127, 4, 0, 0, 0, 0]
            try demand(SMBIOS(table: table).hostInterfaces.count == 1, "the sample is wrong")
            try await Fuzzer("smbios", [table]).run { input in
                let read = SMBIOS(table: input)
                for text in [read.manufacturer, read.productName, read.serialNumber] {
                    let isPlain = text.utf8.allSatisfy { (0x20..<0x7f).contains($0) }
                    try demand(isPlain && text.utf8.count <= 128, "a text is not plain")
                }
                try demand(read.hostInterfaces.count <= HostInterface.countMax, "many networks")
                for one in read.hostInterfaces {
                    let widths = [one.host.count, one.service.count]
                    try demand([[4, 4], [16, 16]].contains(widths), "an address is none")
                    let last = widths[0] * 8 - 2
                    try demand((16...last).contains(one.prefix) && one.port > 0, "no network")
                }
                try demand([0, 36].contains(read.systemUUID.utf8.count), "a UUID is none")
                return .taken
            }
        }
    }

    struct `Texts that a machine's agent reads` {
        @Test func `what the boot files say of the controller`() async throws {
            let key = CurveKeyPair().publicKey.z85
                .replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            let token = Data(repeating: 5, count: 32).base64EncodedString()
            let sample = """
                {"address":"192.0.2.1","enrolment_port":5601,"control_port":5602,\
                "telemetry_port":5603,"curve_key":"\(key)","token":"\(token)",\
                "boot_mac":"52:54:00:c0:00:01","role":"ramdisk"}
                """
            let fuzzer = Fuzzer("connection-file", [Array(sample.utf8)], iterations: 6_000)
            try await fuzzer.run { input in
                guard let file = try? ConnectionFile(json: input, name: "x") else {
                    return .refused
                }
                let again = try ConnectionFile(json: file.jsonWithoutToken, name: "x")
                try demand(again.token.isEmpty, "the token is kept")
                try demand(again.controllerKey == file.controllerKey, "the key changes")
                return .taken
            }
        }

        @Test func `the network that the boot file sets`() async throws {
            let sample = """
                {"network":{"mac":"52:54:00:c0:00:01","vlan":5,"address":"192.0.2.7","prefix":24,\
                "routes":[{"destination":"0.0.0.0","prefix":0,"gateway":"192.0.2.1"}],\
                "name_servers":["192.0.2.53"]}}
                """
            try await Fuzzer("boot-network", [Array(sample.utf8)]).run { input in
                guard let network = try? StaticNetwork(bootFile: input, name: "x") else {
                    return .refused
                }
                try demand((1...32).contains(network.prefix), "a prefix is none")
                try demand(isMAC(network.mac), "a MAC is none")
                try demand(network.vlan.map((1...4094).contains) ?? true, "a VLAN is none")
                return .taken
            }
        }

        @Test func `the kernel's command line`() async throws {
            let samples = ["quiet BOOTIF=01-52-54-00-c0-00-01 rdo.role=ramdisk", "BOOTIF=-", ""]
            let words = ["BOOTIF=", "-", ":", "01"]
            try await Fuzzer("command-line", samples.map { Array($0.utf8) }, words: words)
                .run { input in
                    let mac = bootMACOfCommandLine(String(decoding: input, as: UTF8.self))
                    try demand([0, 17].contains(mac.utf8.count), "“\(mac)” is no MAC")
                    return .taken
                }
        }

        @Test func `Puppet's reports`() async throws {
            let sample = """
                --- !ruby/object:Puppet::Transaction::Report
                status: failed
                resource_statuses:
                  File[/tmp/a]:
                    resource: File[/tmp/a]
                    failed: false
                    changed: true
                  ? Exec[long]
                  : title: long
                    resource: "Exec[long]"
                    failed: true
                """
            let words = ["resource_statuses:\n", "    failed: true\n", "  ? ", "\u{301}", "\""]
            try await Fuzzer(
                "puppet-reports",
                [Array(sample.utf8)],
                words: words,
                iterations: 6_000
            )
            .run { input in
                let report = PuppetReport(text: String(decoding: input, as: UTF8.self))
                try demand(report.failed.count <= PuppetReport.failedMax, "too many failures")
                try demand(report.changed <= report.total, "more changed than there are")
                try demand(report.failed.allSatisfy { $0.count <= 256 }, "a name is too long")
                return .taken
            }
        }

        @Test func `the kernel's indices and counters`() async throws {
            let dependencies = "kernel/a.ko.xz: kernel/b.ko.xz kernel/c.ko\nkernel/b.ko.xz:\n"
            let aliases = "alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_net\nalias x[0-9]* c\n"
            let samples = [
                dependencies, aliases, "cpu0 1 2 3 4 5 6 7 8 9 10", "naa.5000c500a1b2c3d4",
            ]
            let words = ["alias ", "*", "[", "]", "?", "eui.", "naa.6"]
            try await Fuzzer(
                "kernel-texts",
                samples.map { Array($0.utf8) },
                words: words,
                iterations: 4_000
            ).run { input in
                let text = String(decoding: input.prefix(4096), as: UTF8.self)
                let index = ModuleIndex(dependencies: text, aliases: text)
                _ = index.modules(for: "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00")
                _ = CPUTime.parse(text)
                let name = worldWideName(text)
                try demand(name.full.isEmpty == name.name.isEmpty, "half a name")
                return .taken
            }
        }

        @Test func `addresses of images`() async throws {
            let samples = ["https://192.0.2.1:6385/v1/images/x", "http://[::1]:80/a?b"]
            try await Fuzzer(
                "addresses",
                samples.map { Array($0.utf8) },
                words: ["@", "#", "\\", "[", "]", ":", "\r\n", "%00"]
            ).run { input in
                let text = String(decoding: input, as: UTF8.self)
                guard let (origin, path) = HTTPOrigin.parse(text) else { return .refused }
                let line = origin.authority + path
                try demand(path.hasPrefix("/") && !origin.host.isEmpty, "a part is missing")
                try demand(line.utf8.allSatisfy { (0x21...0x7e).contains($0) }, "it breaks a line")
                let again = HTTPOrigin.parse("\(origin)\(path)")?.origin
                try demand(again == origin, "it changes when it is written")
                return .taken
            }
        }
    }
}
