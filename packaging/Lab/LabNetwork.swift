package import Basics
import Glibc
package import HostTools

/// The lab's network: two namespaces, a bridge in one, a cable between them, a tap per machine.
///
/// ```
/// rdo-undercloud                 rdo-lab
///   prov0 192.0.2.1/24 ───────── to-undercloud ─ br-lab ─┬─ tap-c0 ─ QEMU c0
///   (controller, dnsmasq)          192.0.2.201 …         └─ tap-c1 ─ QEMU c1
///                                  (the BMCs' addresses)
/// ```
package struct LabNetwork: Sendable {
    package static let bridge = "br-lab"
    package static let undercloudInterface = "prov0"
    package static let undercloudAddress = "192.0.2.1/24"
    private static let cable = "to-undercloud"

    private let places: LabPlaces
    private let time: any TimeSource

    package init(places: LabPlaces, time: any TimeSource) {
        self.places = places
        self.time = time
    }

    /// Makes what is not there yet.
    /// - Throws: `Fault` with the words of `ip`.
    package func up(_ machines: [LabMachine]) async throws {
        let lab = places.labNamespace
        let undercloud = places.undercloudNamespace
        for name in [lab, undercloud] {
            if !exists(name) { try await ip(["netns", "add", name]) }
            try await ip(["-n", name, "link", "set", "lo", "up"])
        }
        if try await !has(Self.bridge, in: lab) {
            try await ip(["-n", lab, "link", "add", Self.bridge, "type", "bridge"])
        }
        try await ip(["-n", lab, "link", "set", Self.bridge, "up"])
        if try await !has(Self.undercloudInterface, in: undercloud) {
            try await ip([
                "-n", undercloud, "link", "add", Self.undercloudInterface, "type", "veth",
                "peer", "name", Self.cable, "netns", lab,
            ])
        }
        try await ip(["-n", lab, "link", "set", Self.cable, "master", Self.bridge, "up"])
        try await address(Self.undercloudAddress, on: Self.undercloudInterface, in: undercloud)
        try await ip(["-n", undercloud, "link", "set", Self.undercloudInterface, "up"])
        for machine in machines {
            if try await !has(machine.tap, in: lab) {
                try await ip(["-n", lab, "tuntap", "add", machine.tap, "mode", "tap"])
            }
            try await ip(["-n", lab, "link", "set", machine.tap, "master", Self.bridge, "up"])
            try await address("\(machine.bmcAddress)/24", on: Self.bridge, in: lab)
        }
    }

    /// Removes both namespaces and with them every link.
    package func down() async throws {
        for name in [places.labNamespace, places.undercloudNamespace] where exists(name) {
            try await ip(["netns", "delete", name])
        }
    }

    /// Whether a namespace of that name is there.
    package func exists(_ namespace: String) -> Bool {
        access("/run/netns/\(namespace)", F_OK) == 0
    }

    /// The processes that live in a namespace; empty when there is no such namespace.
    package func processes(in namespace: String) async throws -> [ProcessIdentity] {
        guard exists(namespace) else { return [] }
        return try await ip(["netns", "pids", namespace]).output
            .split(whereSeparator: \.isWhitespace)
            .compactMap { Int32($0) }
            .compactMap(ProcessIdentity.init(pid:))
    }

    private func has(_ link: String, in namespace: String) async throws -> Bool {
        try await Tool.run(
            "ip",
            ["-n", namespace, "-o", "link", "show", "dev", link],
            budget: .seconds(30),
            time: time
        ).exitCode == 0
    }

    /// `replace` leaves an address alone that is there already.
    private func address(_ address: String, on link: String, in namespace: String) async throws {
        try await ip(["-n", namespace, "address", "replace", address, "dev", link])
    }

    @discardableResult
    private func ip(_ arguments: [String]) async throws -> ToolResult {
        try await Tool.require("ip", arguments, budget: .seconds(30), time: time)
    }
}
