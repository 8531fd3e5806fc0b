import AgentSystem
import Protocol

/// How an image lies on a disk that is larger than it: its partition table stretched, the config drive at
/// the end.
struct ImageLayout: Sendable {
    /// The size of the partition for the config drive.
    static let driveBytes: Int64 = 64 << 20

    /// The config drive: its file system, and the partition that it stands in.
    struct Drive: Sendable {
        let image: ConfigDriveImage
        let range: Range<Int64>
    }

    let table: PartitionTable
    let drive: Drive?
    /// The EFI system partition, when the image has one.
    let efiSystem: (number: Int, partition: Partition)?

    /// Reads the image's own table and makes the disk's out of it.
    ///
    /// `head`: the image's first bytes.
    /// `driveID`: the identity of the new partition.
    /// - Throws: `StepFailure` when the image does not fit or its table is malformed.
    init(
        of manifest: ImageManifest,
        for order: WireWriteImage,
        head: [UInt8],
        on geometry: DiskGeometry,
        driveID: GUID,
        time: Timestamp
    ) throws(StepFailure) {
        try Self.check(manifest, order, geometry)
        let object = "image \(order.image) to \(geometry.path)"
        do throws(MalformedPartitionTable) {
            var table = try PartitionTable(
                head: head,
                blockBytes: geometry.blockBytes,
                bytes: manifest.imageBytes
            )
            try table.stretch(over: geometry.bytes)
            drive = try Self.drive(order, &table, driveID, time)
            self.table = table
        } catch {
            throw StepFailure(
                "cannot write \(object): the image's partition table is not taken: \(error); "
                    + "make the image anew as a whole-disk image with a GUID partition table",
                retryable: false
            )
        }
        efiSystem = table.partitions.first { $0.partition.type == .efiSystem }
    }

    /// Says whether the image fits at all, before anything is fetched for it.
    static func check(
        _ manifest: ImageManifest,
        _ order: WireWriteImage,
        _ geometry: DiskGeometry
    ) throws(StepFailure) {
        guard manifest.imageBytes > geometry.bytes else { return }
        throw StepFailure(
            "cannot write image \(order.image) to \(geometry.path): the image has "
                + "\(ByteCount(manifest.imageBytes)) and the disk \(ByteCount(geometry.bytes)); "
                + "name a larger disk in the root device hints or use a smaller image",
            retryable: false
        )
    }

    private static func drive(
        _ order: WireWriteImage,
        _ table: inout PartitionTable,
        _ id: GUID,
        _ time: Timestamp
    ) throws(MalformedPartitionTable) -> Drive? {
        guard !order.configDrive.isEmpty else { return nil }
        let image: ConfigDriveImage
        do throws(MalformedConfigDrive) {
            image = try ConfigDriveImage(files: order.configDrive.mapValues(Array.init), time: time)
        } catch {
            throw MalformedPartitionTable("the config drive cannot be made: \(error)")
        }
        let partition = try table.addLast(
            name: ConfigDriveImage.label,
            type: .linuxFileSystem,
            id: id,
            bytes: driveBytes
        )
        let start = Int64(partition.firstBlock) * Int64(table.blockBytes)
        return Drive(image: image, range: start..<(start + driveBytes))
    }
}
