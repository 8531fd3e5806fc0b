import AgentSystem
import Basics
import Protocol

/// Makes the file systems around a root partition that was written, and the boot loader, on a thread of its
/// own.
///
/// What starts the system comes last, the EFI system partition or GRUB in the first sector: before it is there,
/// firmware finds nothing to start.
actor PartitionFiller {
    private static let efiLabel = "efi-part"
    /// Where firmware looks without being told.
    static let standardLoaders = ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTAA64.EFI"]

    private nonisolated let executor: any SerialExecutor
    private let order: WireWriteImage
    private let disk: String
    private let layout: ImageLayout
    private let parts: DiskParts
    private let isMirrored: Bool
    private let seams: WriteImage.Seams
    private let report: any StepReporter

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// `isMirrored`: member disks of software RAID get boot loader and boot entries afterwards, this one does not.
    init(
        executor: any SerialExecutor,
        order: WireWriteImage,
        disk: String,
        layout: ImageLayout,
        parts: DiskParts,
        isMirrored: Bool,
        seams: WriteImage.Seams,
        report: any StepReporter
    ) {
        self.executor = executor
        self.order = order
        self.disk = disk
        self.layout = layout
        self.parts = parts
        self.isMirrored = isMirrored
        self.seams = seams
        self.report = report
    }

    func run() async throws {
        report.progress(StepProgress(phase: "format"))
        if let ephemeral = parts.ephemeral {
            if parts.keptTable != nil {
                report.log(["the ephemeral partition keeps its content"])
            } else {
                let format = try ephemeralFormat()
                try await seams.fileSystems.make(
                    format,
                    label: DiskParts.ephemeralLabel,
                    on: place(ephemeral)
                )
            }
        }
        if order.bootMode == "bios" {
            if !isMirrored { try installLoader() }
            return
        }
        guard let efi = parts.efiSystem else { return }
        try await seams.fileSystems.make(.vfat, label: Self.efiLabel, on: place(efi))
        report.progress(StepProgress(phase: "boot-loader"))
        let files: [String]
        do {
            files = try seams.fileSystems.copyLoaders(from: place(parts.root), to: place(efi))
        } catch let error as SystemFailure {
            throw noLoader("its boot loader cannot be copied: \(error)")
        }
        guard files.contains(where: { Self.standardLoaders.contains($0.uppercased()) }) else {
            throw noLoader(
                "its file system has no \(Self.standardLoaders[0]) below /boot/efi; firmware would find nothing to start"
            )
        }
        report.log(["\(files.count) files of the boot loader are on the EFI system partition"])
        if !isMirrored { seams.firmware.bootFirst(layout, report) }
    }

    /// Puts the ramdisk's own GRUB on the disk, for the menu that the image has.
    private func installLoader() throws {
        report.progress(StepProgress(phase: "boot-loader"))
        let menu: MenuFile?
        do {
            menu = try seams.fileSystems.menu(on: place(parts.root))
        } catch let error as SystemFailure {
            throw noLoader("its boot menu cannot be read: \(error)")
        }
        guard let menu else {
            throw noLoader(
                "its file system has no grub.cfg in \(MenuFile.folders.joined(separator: " or "))"
            )
        }
        guard !menu.needsEntries else {
            throw noLoader(
                "\(menu.folder)/grub.cfg uses blscfg, which GRUB has on Fedora and its kin only; set GRUB_ENABLE_BLSCFG=false there and make the menu anew"
            )
        }
        let disk = try seams.disks.open(self.disk, exclusive: true)
        let start = parts.root.range.lowerBound
        let head = try disk.bytes(start..<(start + FileSystemIdentity.headBytes))
        guard let identity = FileSystemIdentity(head: head) else {
            throw noLoader("its file system is none of ext2 to ext4, XFS and btrfs, or has no UUID")
        }
        let kind = if case .gpt = parts.table { "gpt" } else { "msdos" }
        do {
            try seams.loader.install(
                BootMenu(
                    fileSystem: identity.uuid,
                    folder: menu.folder,
                    hint: "\(kind)\(parts.root.number)"
                ),
                on: [disk]
            )
        } catch let error as NoBIOSLoader {
            throw noLoader("\(error)")
        }
        report.log([
            "GRUB starts \(menu.folder)/grub.cfg of file system \(identity.uuid) (\(identity.kind.rawValue))"
        ])
    }

    private func ephemeralFormat() throws -> FileSystemFormat {
        guard let format = FileSystemFormat(rawValue: order.partitions.ephemeralFormat) else {
            throw StepFailure(
                "cannot make the ephemeral file system on \(disk): the format “\(order.partitions.ephemeralFormat.prefix(40))” is not one of \(FileSystemFormat.names); change ephemeral_format",
                retryable: false
            )
        }
        return format
    }

    private func place(_ part: DiskParts.Part) -> PartitionPlace {
        PartitionPlace(disk: disk, number: part.number, range: part.range)
    }

    private func noLoader(_ reason: String) -> StepFailure {
        StepFailure(
            "cannot make \(disk) start image \(order.image): \(reason); use an image with a boot loader in it or a whole-disk image",
            retryable: false
        )
    }
}
