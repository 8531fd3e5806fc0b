import CLinux
import Glibc

/// The variables of UEFI firmware under the global vendor name.
package protocol FirmwareVariables: Sendable {
    /// The names that exist: `Boot0001`, `BootOrder`. Empty on a machine without UEFI.
    func names() -> [String]

    /// A variable's content without its attributes; `nil` when there is none.
    func value(_ name: String) -> [UInt8]?

    /// Makes or replaces a variable that survives a restart.
    /// - Throws: `SystemFailure`; firmware may have no room left.
    func set(_ name: String, to value: [UInt8]) throws(SystemFailure)
}

/// The variables in the kernel's efivarfs.
package struct SystemFirmwareVariables: FirmwareVariables {
    private static let vendor = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
    /// Non-volatile, seen by boot services and at run time.
    private static let attributes: UInt32 = 7

    private let tree: FileTree
    private let directory: String

    package init(tree: FileTree = FileTree(), directory: String = "/sys/firmware/efi/efivars") {
        self.tree = tree
        self.directory = directory
    }

    package func names() -> [String] {
        let ending = "-\(Self.vendor)"
        return tree.names(in: directory).filter { $0.hasSuffix(ending) }
            .map { String($0.dropLast(ending.count)) }
    }

    package func value(_ name: String) -> [UInt8]? {
        guard let bytes = tree.bytes(path(name)), bytes.count >= 4 else { return nil }
        return Array(bytes[4...])
    }

    package func set(_ name: String, to value: [UInt8]) throws(SystemFailure) {
        let path = tree.path(path(name))
        let old = open(path, O_RDONLY | O_CLOEXEC)
        if old >= 0 {
            // Best effort: where it does not work, the write below says why.
            _ = rdo_file_make_mutable(old)
            close(old)
        }
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SystemFailure("open \(path)", code: errno) }
        defer { close(file) }
        // The firmware takes attributes and content in one write.
        let bytes = littleEndian(Self.attributes) + value
        guard write(file, bytes, bytes.count) == bytes.count else {
            throw SystemFailure("write the firmware variable \(name)", code: errno)
        }
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)-\(Self.vendor)" }
}

extension FirmwareVariables {
    /// How our boot entry is called in the firmware's menu.
    package static var bootEntryTitle: String { "RDO-Manager" }

    /// Makes the firmware start the loader at its standard place on the EFI system partition first.
    ///
    /// Nothing of the image is executed for this. An entry of ours is used again, and what is right already
    /// is not written.
    /// - Parameters:
    ///   - number: the partition's number, from 1.
    ///   - partition: the EFI system partition.
    ///   - copy: 1, or more for further disks with the same loader: each has an entry of its own.
    /// - Returns: the entry's name: `Boot0003`.
    /// - Throws: `SystemFailure` when firmware refuses, or has every number taken.
    package func bootFirst(
        number: Int,
        partition: Partition,
        copy: Int = 1
    ) throws(SystemFailure) -> String {
        let wanted = copy == 1 ? Self.bootEntryTitle : "\(Self.bootEntryTitle) \(copy)"
        let option = loadOption(number, partition, wanted)
        let entries = Set(names().filter(isBootEntry))
        let ours = entries.sorted().first { title(value($0) ?? []) == wanted }
        let free = (0...0xffff).lazy.map { bootName(UInt16($0)) }.first { !entries.contains($0) }
        guard let name = ours ?? free else {
            throw SystemFailure("add a boot entry", code: ENOSPC)
        }
        if value(name) != option { try set(name, to: option) }
        let index = littleEndian(UInt16(name.dropFirst(4), radix: 16) ?? 0)
        let old = value("BootOrder") ?? []
        var order = index
        for start in stride(from: 0, to: old.count - 1, by: 2) {
            let entry = Array(old[start..<(start + 2)])
            if entry != index { order += entry }
        }
        if order != old { try set("BootOrder", to: order) }
        return name
    }

    private func bootName(_ number: UInt16) -> String {
        let digits = String(number, radix: 16, uppercase: true)
        return "Boot" + String(repeating: "0", count: 4 - digits.count) + digits
    }

    private func isBootEntry(_ name: String) -> Bool {
        name.count == 8 && name.hasPrefix("Boot") && name.dropFirst(4).allSatisfy(\.isHexDigit)
    }

    private func title(_ option: [UInt8]) -> String {
        var units: [UInt16] = []
        for start in stride(from: 6, to: option.count - 1, by: 2) {
            let unit = UInt16(option[start]) | UInt16(option[start + 1]) << 8
            if unit == 0 { break }
            units.append(unit)
        }
        return String(decoding: units, as: UTF16.self)
    }

    /// An `EFI_LOAD_OPTION` (UEFI specification 2.10, sections 3.1.3, 10.3.5.1 and 10.3.5.4).
    private func loadOption(
        _ number: Int,
        _ partition: Partition,
        _ name: String
    ) -> [UInt8] {
        #if arch(arm64)
        let loader = "\\EFI\\BOOT\\BOOTAA64.EFI"
        #else
        let loader = "\\EFI\\BOOT\\BOOTX64.EFI"
        #endif
        let count = partition.lastBlock - partition.firstBlock + 1
        var path: [UInt8] = [4, 1, 42, 0] + littleEndian(UInt32(number))
        path += littleEndian(partition.firstBlock) + littleEndian(count) + partition.id.bytes
        path += [2, 2]
        let file = (Array(loader.utf16) + [0]).flatMap { littleEndian($0) }
        path += [4, 4] + littleEndian(UInt16(4 + file.count)) + file
        path += [0x7f, 0xff, 4, 0]
        let title = (Array(name.utf16) + [0]).flatMap { littleEndian($0) }
        return littleEndian(UInt32(1)) + littleEndian(UInt16(path.count)) + title + path
    }
}
