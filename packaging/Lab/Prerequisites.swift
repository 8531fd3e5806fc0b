import Basics
import Glibc
import HostTools

/// What a lab needs of its host, looked at before anything is changed.
package struct Prerequisites: Sendable {
    /// The host as seen from here; tests put another in its place.
    package struct Host: Sendable {
        package var isRoot: @Sendable () -> Bool
        package var hasProgram: @Sendable (String) -> Bool
        package var exists: @Sendable (String) -> Bool

        package init(
            isRoot: @escaping @Sendable () -> Bool,
            hasProgram: @escaping @Sendable (String) -> Bool,
            exists: @escaping @Sendable (String) -> Bool
        ) {
            self.isRoot = isRoot
            self.hasProgram = hasProgram
            self.exists = exists
        }

        /// This host.
        package static let here = Host(
            isRoot: { geteuid() == 0 },
            hasProgram: { Tool.locate($0) != nil },
            exists: { access($0, F_OK) == 0 }
        )
    }

    private static let programs = [
        ("ip", "iproute2"), (QEMUArguments.program, "qemu-system-x86"),
        (BMCConfiguration.program, "openipmi"),
    ]

    /// Every missing thing with its remedy, in a fixed order; empty when all is there.
    package static func missing(for plan: LabPlan, on host: Host = .here) -> [String] {
        var found: [String] = []
        if !host.isRoot() { found.append("root's rights: run it with sudo, or as root") }
        for (program, package) in programs where !host.hasProgram(program) {
            found.append("\(program): apt-get install \(package)")
        }
        let firmware = Set(plan.machines.map(\.firmware))
        if firmware.contains(.bios), !host.exists("/usr/lib/ipxe/qemu/efi-virtio.rom") {
            found.append("QEMU's iPXE ROM: apt-get install ipxe-qemu")
        }
        if firmware.contains(.uefi),
            !host.exists(QEMUArguments.firmwareCode)
                || !host.exists(QEMUArguments.firmwareVariables)
        {
            found.append("OVMF, the UEFI firmware: apt-get install ovmf")
        }
        if !host.exists("/dev/net/tun") {
            found.append(
                "/dev/net/tun: modprobe tun; in a container, pass the device and allow NET_ADMIN"
            )
        }
        if !host.exists("/proc/self/ns/net") {
            found.append("network namespaces: a kernel with CONFIG_NET_NS")
        }
        if plan.accelerator == .kvm, !host.exists("/dev/kvm") {
            found.append("/dev/kvm: switch virtualisation on in the firmware, or leave KVM out")
        }
        return found
    }

    /// - Throws: `Fault` (`unavailable`) that names everything missing at once.
    package static func check(_ plan: LabPlan, on host: Host = .here) throws {
        let missing = missing(for: plan, on: host)
        guard missing.isEmpty else {
            throw Fault(
                .unavailable,
                "cannot bring up the lab: \(missing.count == 1 ? "this is" : "these are") missing\n"
                    + missing.map { "  - \($0)" }.joined(separator: "\n")
            )
        }
    }
}
