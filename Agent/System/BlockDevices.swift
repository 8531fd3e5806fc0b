import CLinux

/// A whole disk as the kernel shows it.
package struct BlockDevice: Sendable, Equatable {
    /// Path of the device file: `/dev/vda`.
    package var path: String
    package var bytes: UInt64
    package var model = ""
    package var vendor = ""
    package var serial = ""
    /// World-wide name with its prefix as udev gives it (`0x5000…`, `eui.…`, `nvme.…`); empty when the
    /// disk has none.
    package var wwn = ""
    /// The controller's own part of a RAID volume's name; empty without one.
    package var wwnVendorExtension = ""
    /// `wwn` followed by the vendor extension.
    package var wwnWithExtension = ""
    /// Host, channel, target and LUN (`0:0:1:0`); empty for other kinds than SCSI.
    package var hctl = ""
    /// Path that names the slot: `/dev/disk/by-path/pci-0000:00:04.0`.
    package var byPath = ""
    package var rotational = false
    package var removable = false
    package var readOnly = false
    package var logicalSectorBytes = 512
    package var physicalSectorBytes = 512
    /// Of a software RAID array: the paths of the disks that hold its members, sorted.
    ///
    /// Empty for a disk.
    package var members: [String] = []

    package init(path: String, bytes: UInt64) {
        self.path = path
        self.bytes = bytes
    }

    /// Name without `/dev/`.
    package var name: String { String(path.dropFirst(5)) }
}

/// The machine's disks.
package protocol BlockDevices: Sendable {
    /// Every whole disk and every software RAID array that runs, sorted by name. Partitions, loop devices,
    /// RAM disks, CD drives, floppy drives, device-mapper devices, and disks without a medium are left out.
    func list() -> [BlockDevice]

    /// Opens a disk for direct, exclusive reading and writing.
    /// - Returns: a descriptor that the caller closes.
    /// - Throws: `SystemFailure`; code `EBUSY` when something on it is mounted.
    func open(_ path: String) throws -> Int32
}

/// The disks below `/sys/class/block`.
package struct SystemBlockDevices: BlockDevices {
    private let tree: FileTree

    /// - Parameter tree: where `/sys`, `/run/udev` and `/dev` are.
    package init(tree: FileTree = FileTree()) { self.tree = tree }

    package func list() -> [BlockDevice] {
        tree.names(in: "/sys/class/block").compactMap(device)
    }

    package func open(_ path: String) throws -> Int32 {
        try SystemFailure.check(rdo_open_direct(path), "open \(path)")
    }

    private func device(_ name: String) -> BlockDevice? {
        let entry = "/sys/class/block/\(name)"
        let virtual = ["loop", "ram", "zram", "dm-", "sr", "fd", "nbd", "drbd"]
        guard !virtual.contains(where: name.hasPrefix), !tree.exists("\(entry)/partition"),
            let sectors = tree.number("\(entry)/size"), sectors > 0
        else { return nil }
        // A hidden path of a multipath NVMe drive has no device file.
        guard tree.number("\(entry)/hidden") != 1 else { return nil }
        var device = BlockDevice(
            path: "/dev/" + String(name.map { $0 == "!" ? "/" : $0 }),
            bytes: UInt64(sectors) &* 512
        )
        let facts = udevFacts(tree.text("\(entry)/dev"))
        func first(_ paths: String...) -> String {
            for path in paths {
                if let text = tree.text(path), !text.isEmpty { return text }
            }
            return ""
        }
        device.model = first("\(entry)/device/model")
        device.vendor = first("\(entry)/device/vendor")
        device.serial = first("\(entry)/serial", "\(entry)/device/serial")
        if device.serial.isEmpty { device.serial = vitalProductSerial(entry) }
        if device.serial.isEmpty { device.serial = facts["ID_SERIAL_SHORT"] ?? "" }
        setNames(&device, facts, first("\(entry)/wwid", "\(entry)/device/wwid"))
        device.hctl = scsiAddress(entry)
        device.byPath = slotPath(entry, facts)
        device.rotational = tree.number("\(entry)/queue/rotational") == 1
        device.removable = tree.number("\(entry)/removable") == 1
        device.readOnly = tree.number("\(entry)/ro") == 1
        device.logicalSectorBytes = Int(tree.number("\(entry)/queue/logical_block_size") ?? 512)
        device.physicalSectorBytes = Int(tree.number("\(entry)/queue/physical_block_size") ?? 512)
        if name.hasPrefix("md") {
            device.members = members(of: entry)
            // One without members is being taken away.
            if device.members.isEmpty { return nil }
        }
        return device
    }

    /// The disks below an array; of a member that is a partition the disk that it is on.
    private func members(of entry: String) -> [String] {
        let names = tree.names(in: "\(entry)/slaves").map { name in
            let part = "/sys/class/block/\(name)"
            guard tree.exists("\(part)/partition"), let place = tree.resolved(part) else {
                return name
            }
            return place.split(separator: "/").dropLast().last.map(String.init) ?? name
        }
        return Set(names).map { "/dev/" + String($0.map { $0 == "!" ? "/" : $0 }) }.sorted()
    }

    /// World-wide names: udev's where it runs, else made from the kernel's the same way.
    private func setNames(_ device: inout BlockDevice, _ facts: [String: String], _ wwid: String) {
        if let name = facts["ID_WWN"] {
            device.wwn = name
            device.wwnVendorExtension = facts["ID_WWN_VENDOR_EXTENSION"] ?? ""
            device.wwnWithExtension = facts["ID_WWN_WITH_EXTENSION"] ?? name
            return
        }
        let names = worldWideName(wwid)
        device.wwn = names.name
        device.wwnVendorExtension = names.vendorExtension
        device.wwnWithExtension = names.full
    }

    private func scsiAddress(_ entry: String) -> String {
        guard let link = tree.link("\(entry)/device"),
            let last = link.split(separator: "/").last
        else { return "" }
        let parts = last.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt64($0) != nil } ? String(last) : ""
    }

    /// The serial number that a SCSI disk gives in its vital product data (page 0x80).
    private func vitalProductSerial(_ entry: String) -> String {
        guard let page = tree.bytes("\(entry)/device/vpd_pg80", bytesMax: 260), page.count > 4,
            page[1] == 0x80
        else { return "" }
        let length = Int(page[2]) << 8 | Int(page[3])
        return trimmed(page[4..<min(page.count, 4 + length)])
    }

    /// What udev stored about the device; empty in the ramdisk, where udev does not run.
    private func udevFacts(_ number: String?) -> [String: String] {
        guard let number, let text = tree.text("/run/udev/data/b\(number)") else { return [:] }
        var facts: [String: String] = [:]
        for line in text.split(separator: "\n") where line.hasPrefix("E:") {
            let pair = line.dropFirst(2).split(separator: "=", maxSplits: 1)
            if pair.count == 2 { facts[String(pair[0])] = String(pair[1]) }
        }
        return facts
    }

    /// udev's name for the slot, or the same made from the PCI address for the common buses.
    private func slotPath(_ entry: String, _ facts: [String: String]) -> String {
        if let path = facts["ID_PATH"] { return "/dev/disk/by-path/\(path)" }
        guard let place = tree.resolved(entry) else { return "" }
        let parts = place.split(separator: "/").map(String.init)
        guard let pci = parts.last(where: isPCIAddress) else { return "" }
        if let port = parts.first(where: isATAPort),
            let unit = tree.text(ataPortNumber(parts, port))
        {
            return "/dev/disk/by-path/pci-\(pci)-ata-\(unit)"
        }
        if let space = parts.last, space.hasPrefix("nvme") {
            return "/dev/disk/by-path/pci-\(pci)-nvme-\(tree.text("\(entry)/nsid") ?? "1")"
        }
        let address = scsiAddress(entry)
        return "/dev/disk/by-path/pci-\(pci)" + (address.isEmpty ? "" : "-scsi-\(address)")
    }

    private func isATAPort(_ part: String) -> Bool {
        part.hasPrefix("ata") && part.dropFirst(3).allSatisfy(\.isNumber) && part.count > 3
    }

    private func ataPortNumber(_ parts: [String], _ port: String) -> String {
        let index = parts.firstIndex(of: port) ?? 0
        let base = parts[...index].joined(separator: "/")
        return "/\(base)/ata_port/\(port)/port_no"
    }
}

/// Whether the text is a PCI function's address: `0000:00:1f.2`.
func isPCIAddress(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard bytes.count == 12, bytes[4] == 0x3a, bytes[7] == 0x3a, bytes[10] == 0x2e else {
        return false
    }
    return [0..<4, 5..<7, 8..<10, 11..<12].allSatisfy { range in
        bytes[range].allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
    }
}

/// The kernel's `wwid` in udev's spelling: `naa.5000…` is `0x5000…`, with a RAID volume's vendor
/// part split off; `eui.…` and `nvme.…` stay.
///
/// A name made from vendor and model only (`t10.…`) is none.
package func worldWideName(
    _ wwid: String
) -> (name: String, vendorExtension: String, full: String) {
    if wwid.hasPrefix("eui.") || wwid.hasPrefix("nvme.") { return (wwid, "", wwid) }
    guard wwid.hasPrefix("naa.") else { return ("", "", "") }
    let digits = wwid.dropFirst(4).lowercased()
    guard digits.count >= 16, digits.allSatisfy(\.isHexDigit) else { return ("", "", "") }
    let name = "0x" + digits.prefix(16)
    guard digits.hasPrefix("6"), digits.count == 32 else { return (name, "", name) }
    return (name, "0x" + digits.suffix(16), "0x" + digits)
}
