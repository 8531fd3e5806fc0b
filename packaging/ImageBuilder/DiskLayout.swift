/// Where things lie on the disk of an overcloud image, in bytes.
///
/// ```
/// 0        MBR (gptmbr.bin), primary GPT
/// 4 MiB    partition 1: EFI system partition, FAT, also read by syslinux under BIOS
/// 64 MiB   partition 2: root, ext4; grows when the disk is larger
/// end-1MiB backup GPT
/// ```
///
/// Both partitions begin at a multiple of an image chunk (4 MiB), so that a chunk of the kernel is not
/// also one of the root file system.
package struct DiskLayout: Sendable, Equatable {
    package static let sectorBytes = 512
    package static let bootStart = 4 << 20
    package static let rootStart = 64 << 20
    /// Smallest root partition in bytes.
    package static let rootBytesMin = 1 << 30

    private static let unit = 64 << 20

    /// Size of the root partition in bytes.
    package let rootBytes: Int

    /// - Parameter treeBytes: what the files need, in bytes. Half as much again stays free.
    package init(treeBytes: Int) {
        let wanted = max(Self.rootBytesMin, treeBytes + treeBytes / 2)
        rootBytes = (wanted + Self.unit - 1) / Self.unit * Self.unit
    }

    /// Size of the EFI system partition in bytes.
    package var bootBytes: Int { Self.rootStart - Self.bootStart }

    /// Size of the whole disk in bytes.
    package var diskBytes: Int { Self.rootStart + rootBytes + (1 << 20) }

    /// The arguments with which `sgdisk` makes the table.
    ///
    /// Never `-q`: with it sgdisk says that all is well and writes no partition.
    /// - Parameters:
    ///   - identity: gives the identifiers of disk and partitions.
    ///   - disk: path of the disk.
    /// - Returns: an argument vector.
    package func tableArguments(_ identity: ImageIdentity, disk: String) -> [String] {
        let boot = Self.bootStart / Self.sectorBytes
        let root = Self.rootStart / Self.sectorBytes
        let end = root + rootBytes / Self.sectorBytes - 1
        return [
            "--clear", "--set-alignment=2048", "--disk-guid=\(identity.uuid("disk"))",
            "--new=1:\(boot):\(root - 1)", "--typecode=1:ef00", "--change-name=1:boot",
            "--partition-guid=1:\(identity.uuid("boot"))",
            // Legacy BIOS bootable: gptmbr.bin looks for it.
            "--attributes=1:set:2",
            "--new=2:\(root):\(end)", "--typecode=2:8304", "--change-name=2:root",
            "--partition-guid=2:\(identity.uuid("root"))",
            disk,
        ]
    }
}
