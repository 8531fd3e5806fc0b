import AgentSystem
import Basics
import Glibc
import Protocol

/// Keeps the boot loader of an image on software RAID on every member disk, for machines with UEFI, whose firmware
/// reads no RAID.
///
/// ```
/// empty the ESPs ─▶ (the image is written) ─▶ ESPs become one mirror ─▶ copy ─▶ read back each ─▶ boot entries
/// ```
///
/// The EFI system partitions of all member disks become one array whose superblocks stand at the end, as Ironic's
/// ramdisk makes it: firmware reads each as a plain partition, the installed system writes all at once. The image's
/// own partition, inside the array, is emptied: two of the same identity would be one too many.
actor LoaderMirror: MemberLoader {
    /// No volume of a node has this number.
    private static let device = "/dev/md100"
    private static let pieceBytes = 4 << 20
    private static let edgeBytes: Int64 = 1 << 20

    private nonisolated let executor: any SerialExecutor
    private let task: MemberTask

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: any SerialExecutor, _ task: MemberTask) {
        self.executor = executor
        self.task = task
    }

    /// The EFI system partition of one member disk.
    private struct Holder {
        let place: PartitionPlace
        let partition: Partition
    }

    func prepare(_ layout: ImageLayout) throws {
        let holders = try holders()
        guard layout.efiSystem != nil else {
            throw StepFailure(
                "cannot write image \(task.image) to \(task.volume.path): the image has no EFI system partition, from which a machine starts software RAID; use another image",
                retryable: false
            )
        }
        try invalidate(holders)
    }

    func finish(_ layout: ImageLayout) async throws {
        guard let table = layout.table.gpt, let (_, partition) = layout.efiSystem else { return }
        try await fill(try holders(), from: table.range(of: partition))
    }

    /// The member disks' EFI system partitions.
    /// - Throws: `StepFailure` when a disk has none.
    private func holders() throws -> [Holder] {
        try task.volume.members.map { path in
            let disk = try task.seams.disks.open(path, exclusive: false)
            guard let table = disk.partitionTable()?.gpt,
                let (number, partition) = table.partitions.first(where: {
                    $0.partition.type == .efiSystem && $0.partition.name == RAIDPlan.efiName
                })
            else {
                throw task.failure(
                    "its member disk \(path) has no EFI system partition; build the RAID anew while the node's capability boot_mode is uefi"
                )
            }
            let place = PartitionPlace(
                disk: path,
                number: number,
                range: table.range(of: partition)
            )
            return Holder(place: place, partition: partition)
        }
    }

    /// Empties the partitions, so that nothing starts from a half written disk.
    private func invalidate(_ holders: [Holder]) throws {
        for holder in holders {
            let part = try task.seams.disks.open(holder.place.path, exclusive: true)
            try part.clear(0..<min(Self.edgeBytes, part.geometry.bytes), by: .zero)
            try part.flush()
        }
    }

    /// Copies the image's EFI system partition to all member disks and makes the firmware look at each.
    ///
    /// `range`: where it lies in the task.volume.
    private func fill(_ holders: [Holder], from range: Range<Int64>) async throws {
        task.report.progress(
            StepProgress(phase: "boot-loader", text: "copying it to every member disk")
        )
        let order = ArrayOrder(
            device: Self.device,
            name: "esp",
            level: .mirror,
            id: ArrayID(bytes: task.seams.random.bytes(16)),
            members: holders.map(\.place.path),
            superblocksAtEnd: true
        )
        for holder in holders { try await task.raid.awaitPartition(holder.place) }
        if holders.count > 1 {
            do {
                try await task.raid.arrays.create(order)
            } catch let fault as Fault {
                throw task.failure(fault.message)
            }
        }
        let source = try task.seams.disks.open(task.volume.path, exclusive: true)
        let target = try task.seams.disks.open(
            holders.count > 1 ? Self.device : holders[0].place.path,
            exclusive: true
        )
        guard Int64(range.count) <= target.geometry.bytes else {
            throw task.failure(
                "its EFI system partition has \(ByteCount(Int64(range.count))), the one on each member disk \(ByteCount(target.geometry.bytes)); make that of the image smaller"
            )
        }
        try copy(range, of: source, to: target)
        for holder in holders {
            let part = try task.seams.disks.open(holder.place.path, exclusive: false)
            try compare(range, of: source, with: part)
        }
        try source.clear(
            range.lowerBound..<(range.lowerBound + min(Self.edgeBytes, Int64(range.count))),
            by: .zero
        )
        try source.flush()
        setBootEntries(holders)
    }

    private func copy(_ range: Range<Int64>, of source: any Disk, to target: any Disk) throws {
        let buffer = AlignedBuffer(bytes: Self.pieceBytes)
        // What makes it a file system comes last.
        for offset in starts(range).reversed() {
            try Task.checkCancellation()
            let count = Int(min(Int64(Self.pieceBytes), Int64(range.count) - offset))
            try source.read(buffer.part(0..<count), at: range.lowerBound + offset)
            if offset == 0 { try target.flush() }
            try target.write(UnsafeRawBufferPointer(buffer.part(0..<count)), at: offset)
        }
        try target.flush()
    }

    private func compare(_ range: Range<Int64>, of source: any Disk, with part: any Disk) throws {
        let (one, two) = (
            AlignedBuffer(bytes: Self.pieceBytes), AlignedBuffer(bytes: Self.pieceBytes)
        )
        for offset in starts(range) {
            let count = Int(min(Int64(Self.pieceBytes), Int64(range.count) - offset))
            try source.read(one.part(0..<count), at: range.lowerBound + offset)
            try part.read(two.part(0..<count), at: offset)
            guard let left = one.bytes.baseAddress, let right = two.bytes.baseAddress,
                memcmp(left, right, count) == 0
            else {
                throw task.failure(
                    "what was written to \(part.geometry.path) at byte \(offset) reads back differently; replace the disk"
                )
            }
        }
    }

    private func starts(_ range: Range<Int64>) -> [Int64] {
        Array(stride(from: 0, to: Int64(range.count), by: Self.pieceBytes))
    }

    private func setBootEntries(_ holders: [Holder]) {
        // Each becomes the first; the first disk's is so in the end.
        for (index, holder) in holders.enumerated().reversed() {
            do {
                let entry = try task.seams.firmware.bootFirst(
                    number: holder.place.number,
                    partition: holder.partition,
                    copy: index + 1
                )
                task.report.log(["\(entry) starts the image from \(holder.place.disk)"])
            } catch {
                // Firmware then finds the loader by itself at its standard place.
                task.report.log(["\(error): the firmware keeps its own boot order"])
            }
        }
    }
}
