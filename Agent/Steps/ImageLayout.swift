import AgentSystem
import Protocol

/// How an image lies on a disk that is larger than it: its partition table stretched, the config drive at
/// the end.
struct ImageLayout: Sendable {
    /// The size of the partition for the config drive.
    static let driveBytes: Int64 = 64 << 20
    private static let oldDrivesMax = 4

    /// The config drive: its file system, and the partition that it stands in.
    struct Drive: Sendable {
        let image: ConfigDriveImage
        let range: Range<Int64>
    }

    let table: DiskTable
    let drive: Drive?
    /// The EFI system partition, when the disk gets one.
    let efiSystem: (number: Int, partition: Partition)?
    /// What is made around an image of a root partition; `nil` for an image of a whole disk.
    let parts: DiskParts?

    /// Where the image's first byte goes.
    var imageOffset: Int64 { parts?.root.range.lowerBound ?? 0 }

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
            self.table = .gpt(table)
        } catch {
            throw StepFailure(
                "cannot write \(object): the image's partition table is not taken: \(error); "
                    + "make the image anew as a whole-disk image with a GUID partition table",
                retryable: false
            )
        }
        efiSystem = table.efiSystem
        parts = nil
    }

    /// Lays out a disk for an image that is the root partition's file system.
    ///
    /// `previous`: the table that the disk holds. `newID`: makes an identity.
    /// - Throws: `StepFailure` when something does not fit, or when the ephemeral partition is to be kept
    ///   and the disk has another one.
    init(
        partitionsFor manifest: ImageManifest,
        _ order: WireWriteImage,
        on geometry: DiskGeometry,
        previous: DiskTable?,
        time: Timestamp,
        newID: () -> GUID
    ) throws(StepFailure) {
        do throws(MalformedPartitionTable) {
            let parts = try DiskParts(
                order.partitions,
                driveBytes: order.configDrive.isEmpty ? 0 : Self.driveBytes,
                firmware: order.bootMode,
                on: geometry,
                previous: previous,
                newID: newID
            )
            let rootBytes = Int64(parts.root.range.count)
            guard manifest.imageBytes <= rootBytes else {
                throw MalformedPartitionTable(
                    "the image has \(ByteCount(manifest.imageBytes)) and the root partition "
                        + "\(ByteCount(rootBytes))"
                )
            }
            drive = try parts.drive.map { part throws(MalformedPartitionTable) in
                Drive(image: try Self.driveImage(order, time), range: part.range)
            }
            table = parts.table
            efiSystem = table.efiSystem
            self.parts = parts
        } catch {
            throw StepFailure(
                "cannot write image \(order.image) to \(geometry.path): the disk cannot be laid out: "
                    + "\(error); change root_gb, swap_mb, ephemeral_gb, preserve_ephemeral or "
                    + "capabilities of the node's instance_info",
                retryable: false
            )
        }
    }

    /// What nobody needs any more once the image is there: to be told to the device.
    func unused(_ manifest: ImageManifest, _ geometry: DiskGeometry) -> [Range<Int64>] {
        let image = imageOffset..<(imageOffset + manifest.imageBytes)
        guard let parts else { return (0..<geometry.bytes).subtracting([image]) }
        return madeRange.subtracting([image] + (parts.keptRange.map { [$0] } ?? []))
    }

    /// What must read as zero beside the image's holes: a config drive of an earlier deployment must not
    /// outlive it, nor a boot loader be found before the new one is there.
    func forgotten(_ manifest: ImageManifest, _ geometry: DiskGeometry) -> [Range<Int64>] {
        let end = geometry.bytes - Self.driveBytes - 2 << 20
        let block = Int64(geometry.blockBytes)
        guard let parts else {
            guard drive == nil else { return [] }
            let old = max(manifest.imageBytes, end)
            guard old < geometry.bytes else { return [] }
            return [((old + block - 1) / block * block)..<geometry.bytes]
        }
        var ranges: [Range<Int64>] = []
        if let efi = parts.efiSystem?.range {
            ranges.append(efi.lowerBound..<(efi.lowerBound + 1 << 20))
        }
        let image = imageOffset..<(imageOffset + manifest.imageBytes)
        let kept = parts.keptRange.map { [$0] } ?? []
        let last = max(end, madeRange.lowerBound) / block * block
        guard last < madeRange.upperBound else { return ranges }
        return ranges + (last..<madeRange.upperBound).subtracting([image] + kept)
    }

    /// Config drives that the disk's table names and the new content does not cover.
    func oldDrives(_ previous: DiskTable?, _ manifest: ImageManifest) -> [Range<Int64>] {
        guard let previous else { return [] }
        var covered = [imageOffset..<(imageOffset + manifest.imageBytes)]
        if let drive { covered.append(drive.range) }
        if let kept = parts?.keptRange { covered.append(kept) }
        // The table is whoever's who had the disk before: ours are as large as this, and one to a disk.
        return previous.configDrives(named: ConfigDriveImage.label, bytes: Self.driveBytes)
            .prefix(Self.oldDrivesMax)
            .flatMap { $0.subtracting(covered) }
    }

    /// What lies between the two ends of the partition table.
    private var madeRange: Range<Int64> { table.usableRange }

    private static func driveImage(
        _ order: WireWriteImage,
        _ time: Timestamp
    ) throws(MalformedPartitionTable) -> ConfigDriveImage {
        do throws(MalformedConfigDrive) {
            return try ConfigDriveImage(files: order.configDrive.mapValues(Array.init), time: time)
        } catch {
            throw MalformedPartitionTable("the config drive cannot be made: \(error)")
        }
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
        let image = try driveImage(order, time)
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
