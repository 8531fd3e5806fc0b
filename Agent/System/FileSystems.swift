import Basics
import Glibc
import Protocol

/// A partition as its table has it.
package struct PartitionPlace: Sendable, Equatable {
    /// The whole disk: `/dev/vda`.
    package let disk: String
    /// From 1.
    package let number: Int
    /// Its bytes on the disk.
    package let range: Range<Int64>

    package init(disk: String, number: Int, range: Range<Int64>) {
        self.disk = disk
        self.number = number
        self.range = range
    }

    /// The partition's own device: `/dev/vda1`, `/dev/nvme0n1p1`.
    package var path: String {
        disk.last?.isNumber == true ? "\(disk)p\(number)" : "\(disk)\(number)"
    }
}

/// File systems that can be made.
package enum FileSystemFormat: String, Sendable, CaseIterable {
    case ext2
    case ext3
    case ext4
    case vfat

    /// All of them, for messages.
    package static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

/// Makes file systems on partitions that the kernel knows.
package protocol FileSystems: Sendable {
    /// Makes an empty file system; what the partition held is lost.
    ///
    /// `label`: at most 11 bytes.
    /// - Throws: `SystemFailure` when the kernel has another partition at this number or the tool fails.
    func make(
        _ format: FileSystemFormat,
        label: String,
        on place: PartitionPlace
    ) async throws

    /// Copies the boot loaders that the file system on `root` has below `/boot/efi/EFI` to the EFI system
    /// partition, and flushes it. Nothing on `root` changes, and nothing of it is executed.
    /// - Returns: the files' paths on the EFI system partition; empty when there are none.
    /// - Throws: `SystemFailure`.
    func copyLoaders(from root: PartitionPlace, to efiSystem: PartitionPlace) throws -> [String]

    /// Finds the boot menu that the file system on `root` has for GRUB. Nothing on `root` changes.
    /// - Returns: `nil` when it has none at `MenuFile.folders`.
    /// - Throws: `SystemFailure`, also when the menu lies behind a link or is larger than any is.
    func menu(on root: PartitionPlace) throws -> MenuFile?
}

/// A boot menu for GRUB, `grub.cfg`, as the agent looks at it before a machine runs it.
package struct MenuFile: Sendable, Equatable {
    /// Where distributions keep it.
    package static let folders = ["/boot/grub", "/boot/grub2"]
    /// Larger than any that is made.
    static let bytesMax = 1 << 20

    /// One of `folders`.
    package let folder: String
    /// It takes its entries from `/boot/loader/entries` by `blscfg`, a command of Fedora's GRUB alone.
    package let needsEntries: Bool

    package init(folder: String, needsEntries: Bool) {
        self.folder = folder
        self.needsEntries = needsEntries
    }

    init(folder: String, text: [UInt8]) {
        self.folder = folder
        needsEntries = text.split(separator: 0x0a).contains { line in
            line.split(whereSeparator: { $0 == 0x20 || $0 == 0x09 }).first?
                .elementsEqual("blscfg".utf8) == true
        }
    }
}

/// The file systems of the kernel, made by the field's own tools: `mke2fs` and `mkfs.fat`.
package struct SystemFileSystems: FileSystems {
    /// Tried one after the other: type and options that keep a journal from being replayed.
    private static let rootTypes = [
        ("ext4", "noload"), ("xfs", "norecovery,nouuid"), ("btrfs", ""),
    ]
    private static let budget: Duration = .seconds(600)

    private let processes: any ProcessRunner
    private let mounts: any Mounts
    private let tree: FileTree
    private let directory: String

    /// Takes what it works with.
    ///
    /// `tree`: where `/sys` is. `directory`: below it file systems are mounted for a moment.
    package init(
        processes: any ProcessRunner,
        mounts: any Mounts,
        tree: FileTree = FileTree(),
        directory: String = "/run/rdo-mounts"
    ) {
        self.processes = processes
        self.mounts = mounts
        self.tree = tree
        self.directory = directory
    }

    package func make(
        _ format: FileSystemFormat,
        label: String,
        on place: PartitionPlace
    ) async throws {
        try check(place)
        let request: ProcessRequest
        switch format {
        case .ext2, .ext3, .ext4:
            request = ProcessRequest(
                "mke2fs",
                ["-q", "-F", "-t", format.rawValue, "-L", label, place.path],
                budget: Self.budget
            )
        case .vfat:
            request = ProcessRequest("mkfs.fat", ["-n", label, place.path], budget: Self.budget)
        }
        let result = try await processes.run(request)
        guard result.succeeded else {
            throw SystemFailure(
                "make a file system of type \(format.rawValue) on \(place.path): \(result.errorText.suffix(200))",
                code: EIO
            )
        }
    }

    package func copyLoaders(
        from root: PartitionPlace,
        to efiSystem: PartitionPlace
    ) throws -> [String] {
        try check(root)
        try check(efiSystem)
        let (source, target) = ("\(directory)/root", "\(directory)/efi")
        try mountRoot(root.path, at: source)
        defer { try? mounts.unmount(source) }  // It is read-only; the machine restarts soon.
        try mounts.mount(
            efiSystem.path,
            at: target,
            type: "vfat",
            options: "",
            readOnly: false
        )
        let copied: [String]
        do {
            copied = try LoaderFiles.copy(from: source, "boot/efi/EFI", to: target, "EFI")
        } catch {
            try? mounts.unmount(target)  // What went wrong before is what matters.
            throw error
        }
        try mounts.unmount(target)
        return copied
    }

    package func menu(on root: PartitionPlace) throws -> MenuFile? {
        try check(root)
        let source = "\(directory)/root"
        try mountRoot(root.path, at: source)
        defer { try? mounts.unmount(source) }  // It is read-only; the machine restarts soon.
        for folder in MenuFile.folders {
            let text = try LoaderFiles.read(
                "\(folder)/grub.cfg",
                below: source,
                bytesMax: MenuFile.bytesMax
            )
            if let text { return MenuFile(folder: folder, text: text) }
        }
        return nil
    }

    private func mountRoot(_ path: String, at place: String) throws {
        var problem = SystemFailure("mount \(path)", code: EINVAL)
        for (type, options) in Self.rootTypes {
            do {
                return try mounts.mount(
                    path,
                    at: place,
                    type: type,
                    options: options,
                    readOnly: true
                )
            } catch let failure as SystemFailure {
                // A kernel without the type says ENODEV; the wrong type is EINVAL.
                if failure.code != ENODEV { problem = failure }
            }
        }
        throw problem
    }

    /// Whether the kernel's partition is the one that is meant: after a failed second look at the table it
    /// may be an old one.
    private func check(_ place: PartitionPlace) throws {
        let name = place.path.dropFirst("/dev/".count)
        let start = tree.number("/sys/class/block/\(name)/start").map { $0 * 512 }
        let bytes = tree.number("/sys/class/block/\(name)/size").map { $0 * 512 }
        guard start == place.range.lowerBound, bytes == Int64(place.range.count) else {
            throw SystemFailure(
                "use \(place.path): the kernel has another partition there, or none",
                code: ENXIO
            )
        }
    }
}
