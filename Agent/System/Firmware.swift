import CLinux
import Glibc

/// How the firmware started the machine.
package enum BootMode: String, Sendable {
    case bios
    case uefi
}

/// What the firmware and the BMC say about the machine.
package protocol Firmware: Sendable {
    /// The DMI description; empty fields where the firmware says nothing.
    func description() -> SMBIOS
    /// Which kind of firmware started us.
    func bootMode() -> BootMode
    /// The BMC's own addresses as seen in-band; empty without a BMC.
    func bmcAddresses() -> BMCAddresses
}

/// Where a BMC is reached over the network.
package struct BMCAddresses: Sendable, Equatable {
    package var ipv4 = ""
    package var ipv6 = ""
    package var mac = ""

    package init() {}
}

/// The firmware as the kernel shows it.
package struct SystemFirmware: Firmware {
    private let tree: FileTree

    /// - Parameter tree: where `/sys` and `/dev` are.
    package init(tree: FileTree = FileTree()) { self.tree = tree }

    package func description() -> SMBIOS {
        let table = tree.bytes("/sys/firmware/dmi/tables/DMI") ?? []
        var description = SMBIOS(table: table)
        // Kernels that hide the table may show single fields.
        func fill(_ field: WritableKeyPath<SMBIOS, String>, _ name: String) {
            guard description[keyPath: field].isEmpty else { return }
            description[keyPath: field] = tree.text("/sys/class/dmi/id/\(name)") ?? ""
        }
        fill(\.biosVendor, "bios_vendor")
        fill(\.biosVersion, "bios_version")
        fill(\.biosDate, "bios_date")
        fill(\.manufacturer, "sys_vendor")
        fill(\.productName, "product_name")
        fill(\.serialNumber, "product_serial")
        fill(\.systemUUID, "product_uuid")
        description.systemUUID = description.systemUUID.lowercased()
        return description
    }

    package func bootMode() -> BootMode { tree.exists("/sys/firmware/efi") ? .uefi : .bios }

    package func bmcAddresses() -> BMCAddresses {
        let file = open(tree.path("/dev/ipmi0"), O_RDWR | O_CLOEXEC)
        guard file >= 0 else { return BMCAddresses() }
        defer { close(file) }
        var addresses = BMCAddresses()
        // The channel that is a LAN differs between machines; 0x0e means “this one”.
        for channel in [UInt8(1), 2, 3, 4, 5, 6, 7, 8, 0x0e] {
            guard let address = Self.parameter(3, of: channel, file) else { break }
            guard address.count == 4, let ipv4 = IPv4(address), ipv4.isHost else { continue }
            addresses.ipv4 = ipv4.description
            if let mac = Self.parameter(5, of: channel, file), mac.count == 6 {
                addresses.mac = mac.map { hexadecimal([$0]) }.joined(separator: ":")
            }
            break
        }
        return addresses
    }

    /// Get LAN Configuration Parameters (IPMI 2.0 section 23.2): the parameter's data.
    ///
    /// Empty when the BMC refuses, `nil` when it does not answer.
    private static func parameter(_ number: UInt8, of channel: UInt8, _ file: Int32) -> [UInt8]? {
        let request: [UInt8] = [channel, number, 0, 0]
        var answer = [UInt8](repeating: 0, count: 64)
        let count = rdo_ipmi(
            file,
            0x0c,
            0x02,
            request,
            request.count,
            &answer,
            answer.count,
            3000
        )
        guard count >= 0 else { return nil }
        // Completion code, parameter revision, data.
        guard count >= 2, answer[0] == 0 else { return [] }
        return Array(answer[2..<Int(count)])
    }
}
