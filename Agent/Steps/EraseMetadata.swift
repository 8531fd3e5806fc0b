package import AgentSystem
import Basics
package import Protocol

/// Overwrites what tells of file systems, partitions, RAID and volume groups on every disk, and proves it
/// by reading back.
///
/// Disks that are removable or read-only are left alone. Content between the metadata stays: this makes
/// disks empty for whoever looks at them, it does not destroy data.
package struct EraseMetadata: StepRunner {
    private let devices: any BlockDevices
    private let disks: any DiskAccess
    private let tree: FileTree
    private let executor: @Sendable (String) -> any SerialExecutor

    /// - Parameters:
    ///   - tree: where the kernel lists the partitions that it knows.
    ///   - executor: makes the executor that disk accesses block; live an `OwnThread`.
    package init(
        devices: any BlockDevices,
        disks: any DiskAccess,
        tree: FileTree,
        executor: @escaping @Sendable (String) -> any SerialExecutor
    ) {
        self.devices = devices
        self.disks = disks
        self.tree = tree
        self.executor = executor
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let eraser = MetadataEraser(executor: executor("erase"), disks: disks, tree: tree)
        var erased = WireErasedDisks()
        var failures: [String] = []
        for device in devices.list() {
            try Task.checkCancellation()
            if device.removable || device.readOnly {
                let reason = device.readOnly ? "read-only" : "removable"
                report.log(["\(device.path) is left alone: it is \(reason)"])
                continue
            }
            report.progress(StepProgress(phase: "erase", text: device.path))
            do {
                let bytes = try await eraser.erase(device)
                var disk = WireErasedDisks.Disk()
                disk.name = device.path
                disk.serial = device.serial
                disk.sizeBytes = device.bytes
                disk.zeroedBytes = UInt64(bytes)
                disk.method = "zeros written and read back"
                erased.disks.append(disk)
                report.log(["\(device.path): \(ByteCount(bytes)) of metadata are zero now"])
            } catch let error as SystemFailure {
                failures.append("\(device.path): \(error)")
            } catch let error as StepFailure {
                failures.append(error.message)
            }
        }
        guard failures.isEmpty else {
            throw StepFailure(
                "cannot erase the metadata of every disk: \(failures.joined(separator: "; ")); "
                    + "check the disks or disable automated cleaning for the node",
                retryable: true, lines: Array(failures.prefix(64)))
        }
        return .erased(erased)
    }
}

/// Erases disks on a thread of its own.
actor MetadataEraser {
    private static let edgeBytes: Int64 = 1 << 20
    /// Copies of the btrfs superblock, counted from the start of a disk or partition.
    private static let copies: [Int64] = [64 << 20, 256 << 30]
    private static let copyBytes: Int64 = 4096
    private static let partitionsMax = 1024

    private nonisolated let executor: any SerialExecutor
    private let disks: any DiskAccess
    private let tree: FileTree

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: any SerialExecutor, disks: any DiskAccess, tree: FileTree) {
        self.executor = executor
        self.disks = disks
        self.tree = tree
    }

    /// Erases one disk's metadata.
    /// - Returns: how many bytes are proven to be zero.
    func erase(_ device: BlockDevice) throws -> Int64 {
        let disk = try disks.open(device.path, exclusive: true)
        let ranges = try ranges(disk, device)
        // From the inside out: while the partition table stands, a second run finds the partitions again.
        for range in ranges.reversed() {
            try Task.checkCancellation()
            try disk.put([UInt8](repeating: 0, count: range.count), at: range.lowerBound)
        }
        try disk.flush()
        var proven: Int64 = 0
        for range in ranges {
            guard try disk.bytes(range).allSatisfy({ $0 == 0 }) else {
                throw StepFailure(
                    "\(device.path): byte \(range.lowerBound) and those after it do not read back "
                        + "as zero",
                    retryable: true)
            }
            proven += Int64(range.count)
        }
        // The kernel forgets the partitions at the next restart, if not now.
        try? disk.rereadPartitions()
        return proven
    }

    /// What is to be zero, in order and without overlap; the first range begins the disk.
    private func ranges(_ disk: any Disk, _ device: BlockDevice) throws -> [Range<Int64>] {
        let end = disk.geometry.bytes
        let areas = [0..<end] + tablePartitions(disk) + kernelPartitions(device)
        var ranges: [Range<Int64>] = []
        for area in areas {
            let area = area.clamped(to: 0..<end)
            let edge = min(Self.edgeBytes, Int64(area.count))
            guard edge > 0 else { continue }
            ranges.append(area.lowerBound..<(area.lowerBound + edge))
            ranges.append((area.upperBound - edge)..<area.upperBound)
            for copy in Self.copies where copy + Self.copyBytes <= Int64(area.count) {
                let start = area.lowerBound + copy
                ranges.append(start..<(start + Self.copyBytes))
            }
        }
        return merged(ranges)
    }

    private func merged(_ ranges: [Range<Int64>]) -> [Range<Int64>] {
        var merged: [Range<Int64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            // Whole MiBs at most: a long run of small partitions must not need much memory.
            if let last = merged.last, range.lowerBound <= last.upperBound,
                max(last.upperBound, range.upperBound) - last.lowerBound <= 8 << 20
            {
                merged[merged.count - 1] =
                    last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                let start = max(range.lowerBound, merged.last?.upperBound ?? 0)
                if start < range.upperBound { merged.append(start..<range.upperBound) }
            }
        }
        return merged
    }

    /// What the disk's own table says, if it has one that can be read.
    private func tablePartitions(_ disk: any Disk) -> [Range<Int64>] {
        let count = min(Int64(PartitionTable.headBytesMax), disk.geometry.bytes)
        // A disk without a table, or with a broken one, has no partitions to look for.
        guard let head = try? disk.bytes(0..<count),
            let table = try? PartitionTable(
                head: head, blockBytes: disk.geometry.blockBytes, bytes: disk.geometry.bytes)
        else { return [] }
        let block = Int64(disk.geometry.blockBytes)
        return table.partitions.map { _, partition in
            Int64(partition.firstBlock) * block..<Int64(partition.lastBlock + 1) * block
        }
    }

    /// What the kernel found, whatever kind of table that came from. The kernel counts in 512 bytes.
    private func kernelPartitions(_ device: BlockDevice) -> [Range<Int64>] {
        let entry = "/sys/class/block/" + String(device.name.map { $0 == "/" ? "!" : $0 })
        return tree.names(in: entry).prefix(Self.partitionsMax).compactMap { name in
            guard tree.exists("\(entry)/\(name)/partition"),
                let start = tree.number("\(entry)/\(name)/start"),
                let count = tree.number("\(entry)/\(name)/size"), start >= 0, count > 0,
                start < 1 << 50, count < 1 << 50
            else { return nil }
            return (start * 512)..<((start + count) * 512)
        }
    }
}
