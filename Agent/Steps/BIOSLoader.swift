package import AgentSystem

/// Why GRUB is not installed on a disk.
package struct NoBIOSLoader: Error, Sendable, Equatable, CustomStringConvertible {
    /// A clause: `its first partition leaves no room`.
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Where a boot menu is: `grub.cfg` in a folder of a file system.
package struct BootMenu: Sendable, Equatable {
    /// The file system's UUID, which GRUB searches for.
    package let fileSystem: String
    /// The folder that holds `grub.cfg` and what belongs to it: `/boot/grub`, or `/grub` of a file system
    /// of its own.
    package let folder: String
    /// Where GRUB looks first, on the disk that it was started from: `gpt5` or `msdos1`.
    ///
    /// `nil` where any disk or array may have it.
    package let hint: String?

    package init(fileSystem: String, folder: String, hint: String?) {
        self.fileSystem = fileSystem
        self.folder = folder
        self.hint = hint
    }
}

/// The ramdisk's own GRUB, installed on disks from which machines with BIOS are to start.
///
/// ```
/// sector 0           boot.img: 440 bytes, before the disk's identity and table
/// sectors 0… of the  core.img: GRUB with every module that menus use, the same on each machine
///   BIOS boot partition, or 1… of a disk with an msdos table
/// sector 1023 there  what GRUB runs first: where this machine's menu is
/// ```
///
/// Nothing is executed and no file system is written. What is patched are the places that `grub-bios-setup`
/// patches too: in `boot.img` (`include/grub/i386/pc/boot.h`) the first sector of the core at 0x5c, the drive
/// at 0x64 and the check of the drive at 0x66; in the core its own place on the disk (the last 12 bytes of its
/// first sector) and the partition it was started from (`include/grub/offsets.h`, 0x18 behind the first
/// sector), from which GRUB finds sector 1023. `Ramdisk/Builder/DiskLoader.swift` makes the core.
package struct BIOSLoader: Sendable {
    /// The sector that tells where the menu is, counted as the core's sectors are.
    package static let settingsSector = 1023
    static let sectorBytes = 512
    /// Where the core may lie: sectors from its place's first one on.
    private static let sectorsMin = settingsSector + 1
    private static let coreBytesMax = 480 << 10

    /// The part of a disk that takes the core.
    package struct Place: Sendable, Equatable {
        /// The sector that sectors are counted from: the partition's first one, or 0.
        let origin: Int64
        /// The core's first sector on the disk.
        let first: Int64
        /// The BIOS boot partition's number, from 1; `nil` on a disk with an msdos table.
        let partition: Int?
    }

    private let tree: FileTree
    private let directory: String

    /// `tree`, `directory`: where the ramdisk has `boot.img` and `core.img`.
    package init(tree: FileTree = FileTree(), directory: String = "/usr/lib/rdo/bios") {
        self.tree = tree
        self.directory = directory
    }

    /// Installs GRUB on each of the disks, one after the other, and reads it back.
    ///
    /// Each disk has its partition table already: a GUID partition table with a BIOS boot partition of at
    /// least 512 KiB, or an msdos table whose first partition begins at 512 KiB or behind. `disks` of an
    /// array all get the same, so that each of them starts alone.
    /// - Throws: `NoBIOSLoader` when a disk has no room or the menu's place cannot be told, with nothing
    ///   written to any; `SystemFailure` when a disk does not work.
    package func install(_ menu: BootMenu, on disks: [any Disk]) throws {
        let (sector, core) = try files()
        let settings = try Self.settings(menu)
        let places = try disks.map { try Self.place(on: $0) }
        for (disk, place) in zip(disks, places) {
            let patched = Self.patched(core, for: place)
            let coreStart = place.first * Int64(Self.sectorBytes)
            let settingsStart =
                (place.origin + Int64(Self.settingsSector)) * Int64(Self.sectorBytes)
            // Until the first sector is there, firmware starts nothing that is half written.
            try disk.put(settings, at: settingsStart)
            try disk.put(patched, at: coreStart)
            try disk.flush()
            let code = Array(
                Self.bootSector(sector, coreAt: place.first)[..<MasterBootRecord.codeBytes]
            )
            try disk.put(code, at: 0)
            try disk.flush()
            for (bytes, start) in [(settings, settingsStart), (patched, coreStart), (code, 0)]
            where try disk.bytes(start..<(start + Int64(bytes.count))) != bytes {
                throw SystemFailure(
                    "read the boot loader back from byte \(start) of \(disk.geometry.path)",
                    code: 5 /* EIO */
                )
            }
        }
    }

    /// The ramdisk's files, checked for what they must be.
    private func files() throws(NoBIOSLoader) -> (sector: [UInt8], core: [UInt8]) {
        guard let sector = tree.bytes("\(directory)/boot.img"),
            let core = tree.bytes("\(directory)/core.img", bytesMax: Self.coreBytesMax + 1)
        else {
            throw NoBIOSLoader("this ramdisk has no GRUB; build it anew with rdo-ramdisk")
        }
        let list = Self.sectorBytes - 12
        guard sector.count == Self.sectorBytes, sector[510...] == [0x55, 0xaa],
            (2 * Self.sectorBytes...Self.coreBytesMax).contains(core.count),
            core.count % Self.sectorBytes == 0,
            // The place of the rest, which GRUB's maker fills with its length and this segment.
            core[(list + 8)..<(list + 12)].elementsEqual(
                Self.littleEndian(core.count / Self.sectorBytes - 1, 2) + [0x20, 0x08]
            ),
            core[0x218..<0x21b].elementsEqual([0xff, 0xff, 0xff])
        else {
            throw NoBIOSLoader("this ramdisk's GRUB is damaged; build it anew with rdo-ramdisk")
        }
        return (sector, core)
    }

    /// What GRUB runs first: one sector of its script.
    static func settings(_ menu: BootMenu) throws(NoBIOSLoader) -> [UInt8] {
        func isPlain(_ text: String, _ others: String) -> Bool {
            !text.isEmpty && text.utf8.count <= 64
                && text.utf8.allSatisfy {
                    (0x30...0x39).contains($0) || (0x41...0x5a).contains($0)
                        || (0x61...0x7a).contains($0) || others.utf8.contains($0)
                }
        }
        // They become words of a script.
        guard isPlain(menu.fileSystem, "-"), isPlain(menu.folder, "/-_."),
            menu.folder.hasPrefix("/"), menu.hint.map({ isPlain($0, "") }) ?? true
        else {
            throw NoBIOSLoader(
                "its menu at “\(menu.folder.prefix(64))” of file system “\(menu.fileSystem.prefix(64))” cannot be named to GRUB"
            )
        }
        let hint = menu.hint.map { " --hint=$disk,\($0)" } ?? ""
        let text = """
            regexp --set=1:disk '^([^,]+)' $root
            if search --no-floppy --fs-uuid --set=root\(hint) \(menu.fileSystem); then
            set prefix=($root)\(menu.folder)
            else
            echo "RDO-Manager: no disk has file system \(menu.fileSystem)"
            fi

            """
        let padding = sectorBytes - text.utf8.count
        precondition(padding >= 0, "what GRUB runs first takes more than a sector")
        return Array(text.utf8) + [UInt8](repeating: 0x0a, count: padding)
    }

    /// Finds room for the core on a disk.
    static func place(on disk: any Disk) throws(NoBIOSLoader) -> Place {
        let path = disk.geometry.path
        guard disk.geometry.blockBytes == sectorBytes else {
            throw NoBIOSLoader(
                "\(path) has blocks of \(disk.geometry.blockBytes) bytes, from which no BIOS starts"
            )
        }
        let needed = Int64(sectorsMin * sectorBytes)
        switch disk.partitionTable() {
        case nil: throw NoBIOSLoader("\(path) has no partition table")
        case .gpt(let table):
            let boot = table.partitions.first { $0.partition.type == .biosBoot }
            guard let (number, partition) = boot else {
                throw NoBIOSLoader("\(path) has no BIOS boot partition")
            }
            let range = table.range(of: partition)
            guard Int64(range.count) >= needed, number <= 255 else {
                throw NoBIOSLoader(
                    "the BIOS boot partition of \(path) has less than \(needed) bytes"
                )
            }
            let first = Int64(partition.firstBlock)
            return Place(origin: first, first: first, partition: number)
        case .msdos(let table):
            let first = table.partitions.map { table.range(of: $0.entry).lowerBound }.min() ?? 0
            guard first >= needed else {
                throw NoBIOSLoader(
                    "the first partition of \(path) begins before byte \(needed), where GRUB belongs"
                )
            }
            return Place(origin: 0, first: 1, partition: nil)
        }
    }

    /// The boot sector that starts a core from its place.
    static func bootSector(_ sector: [UInt8], coreAt first: Int64) -> [UInt8] {
        var sector = sector
        sector.replaceSubrange(0x5c..<0x64, with: littleEndian(Int(first), 8))
        // The drive that firmware names; some name none, and the check for that is taken out.
        sector[0x64] = 0xff
        sector.replaceSubrange(0x66..<0x68, with: [0x90, 0x90])
        return sector
    }

    /// The core as it lies at its place.
    private static func patched(_ core: [UInt8], for place: Place) -> [UInt8] {
        var core = core
        let list = sectorBytes - 12
        core.replaceSubrange(list..<(list + 8), with: littleEndian(Int(place.first) + 1, 8))
        if let number = place.partition { core[0x21a] = UInt8(number - 1) }
        return core
    }

    private static func littleEndian(_ number: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
}
