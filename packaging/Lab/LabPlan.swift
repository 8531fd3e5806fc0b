import FoundationEssentials

/// How a machine's firmware starts it.
package enum Firmware: String, Codable, Sendable, CaseIterable {
    /// SeaBIOS with QEMU's iPXE ROM.
    case bios
    /// OVMF; network boot goes through iPXE's `snponly.efi`.
    case uefi
}

/// What runs the guests' instructions.
package enum Accelerator: String, Codable, Sendable {
    /// Software emulation; works everywhere.
    case tcg
    /// Only after a trial boot; see `AcceleratorTrial`.
    case kvm
}

/// One machine of the lab, as it stays from `up` to `down`.
package struct LabMachine: Codable, Sendable, Equatable {
    /// From 0 to 49; name and addresses follow from it.
    package let index: Int
    package let firmware: Firmware
    /// Guest memory in MiB.
    package let memoryMebibytes: Int
    /// Size of the disk in GiB; it takes only the space that is written.
    package let diskGibibytes: Int

    package var name: String { "c\(index)" }
    /// The boot interface's address, in lower case.
    package var mac: String { "52:54:00:c0:00:" + hex(index + 1, digits: 2) }
    /// The machine's DMI UUID and its BMC's GUID.
    package var uuid: String { "52540000-c000-4000-8000-" + hex(index + 1, digits: 12) }
    package var bmcAddress: String { "192.0.2.\(201 + index)" }
    /// Where the machine's own side of its BMC listens, on 127.0.0.1 of the lab's namespace.
    package var bmcMachinePort: Int { 9100 + index }
    /// The bridge's port.
    package var tap: String { "tap-\(name)" }

    private func hex(_ number: Int, digits: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

/// What a lab consists of; kept in `lab.json`.
package struct LabPlan: Codable, Sendable, Equatable {
    package static let machinesMax = 50

    package var machines: [LabMachine]
    package var accelerator: Accelerator

    /// Plans machines; the firmware is taken in turn: with BIOS and UEFI every other machine has UEFI.
    package init(
        count: Int,
        firmware: [Firmware],
        memoryMebibytes: Int = 1024,
        diskGibibytes: Int = 10,
        accelerator: Accelerator = .tcg
    ) {
        machines = (0..<count).map { index in
            LabMachine(
                index: index,
                firmware: firmware[index % firmware.count],
                memoryMebibytes: memoryMebibytes,
                diskGibibytes: diskGibibytes
            )
        }
        self.accelerator = accelerator
    }

    /// The file's text, always the same for the same plan.
    package var text: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
        }
    }

    package init(text: String) throws {
        self = try JSONDecoder().decode(LabPlan.self, from: Data(text.utf8))
    }
}

/// Where a lab keeps its things.
///
/// Labs of other names stand beside the operator's; tests use that.
package struct LabPlaces: Sendable {
    /// `rdo`, or another name of lower-case letters, digits and hyphens.
    package let name: String

    package init(name: String = "rdo") { self.name = name }

    package var root: String { "/var/lib/\(name)-lab" }
    /// The namespace with bridge, machines and BMCs.
    package var labNamespace: String { "\(name)-lab" }
    /// The namespace in which controller and dnsmasq run.
    package var undercloudNamespace: String { "\(name)-undercloud" }

    package var planFile: String { "\(root)/lab.json" }
    package var passwordFile: String { "\(root)/password" }
    package var nodeFile: String { "\(root)/instackenv.json" }

    /// The places of one machine.
    package func machine(_ name: String) -> MachinePlaces {
        MachinePlaces(directory: "\(root)/\(name)")
    }
}

/// The files of one machine.
package struct MachinePlaces: Sendable {
    package let directory: String

    package var disk: String { "\(directory)/disk.raw" }
    /// UEFI variables.
    package var variables: String { "\(directory)/variables.fd" }
    package var serialLog: String { "\(directory)/serial.log" }
    package var serialSocket: String { "\(directory)/serial.socket" }
    package var monitorSocket: String { "\(directory)/monitor.socket" }
    package var bootFile: String { "\(directory)/boot.json" }
    package var lock: String { "\(directory)/lock" }
    package var pidFile: String { "\(directory)/qemu.pid" }
    package var log: String { "\(directory)/qemu.log" }
    package var bmcDirectory: String { "\(directory)/bmc" }
    package var bmcPidFile: String { "\(directory)/bmc/ipmi_sim.pid" }
    package var bmcLog: String { "\(directory)/bmc/ipmi_sim.log" }
    package var bmcConfiguration: String { "\(directory)/bmc/lan.conf" }
    package var bmcCommands: String { "\(directory)/bmc/commands" }
    package var bmcState: String { "\(directory)/bmc/state" }
}
