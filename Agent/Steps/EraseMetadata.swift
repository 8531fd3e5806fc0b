import AgentSystem
import Basics
package import Protocol

/// Wipes what makes a disk look used: partition tables, boot sectors, superblocks of file systems,
/// RAID and LVM; at both ends of the disk and of every partition.
///
/// Proof is read back.
///
/// Data between stays: a full erase is another command.
package struct EraseMetadata: StepRunner {
    private let devices: any BlockDevices
    private let disks: any DiskAccess
    private let raid: RAIDWork

    /// Bytes wiped at each end.
    ///
    /// File systems, LVM and md put their superblocks within the first 128 KiB or the last 128 KiB;
    /// GPT takes 17 KiB at both ends; ZFS labels take 512 KiB at both ends.
    package static let endBytes: Int64 = 2 << 20

    package init(raid: RAIDWork) {
        devices = raid.devices
        disks = raid.disks
        self.raid = raid
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        var erased = WireErasedDisks()
        try await raid.stopAll(report)
        for device in devices.list().sorted(by: { $0.path < $1.path }) {
            guard !device.removable, !device.readOnly else {
                let why = device.readOnly ? "read-only" : "removable"
                report.log(["\(device.path) is left alone: it is \(why)"])
                continue
            }
            try Task.checkCancellation()
            report.progress(StepProgress(phase: "erase", text: device.path))
            erased.disks.append(try erase(device, report))
        }
        try await raid.rebuild(command.eraseMetadata.raid, into: &erased, report)
        return .erased(erased)
    }

    private func erase(
        _ device: BlockDevice,
        _ report: some StepReporter
    ) throws -> WireErasedDisks.Disk {
        do {
            let disk = try disks.open(device.path, exclusive: true)
            let proof = try Self.wipe(device, disk, reason: "")
            report.log(["\(device.path): \(proof.zeroedBytes) bytes wiped and read back"])
            return proof
        } catch let error as SystemFailure where error.code != 125 /* ECANCELED */ {
            throw StepFailure(
                "cannot wipe \(device.path): \(error); free or replace the disk",
                retryable: true
            )
        }
    }

    /// Wipes one disk and reads back what was wiped.
    static func wipe(
        _ device: BlockDevice,
        _ disk: any Disk,
        reason: String
    ) throws -> WireErasedDisks.Disk {
        let ranges = Self.ranges(of: disk)
        for range in ranges { try disk.clear(range, by: .zero) }
        try disk.flush()
        for range in ranges {
            guard try disk.readsAsZero(range) else {
                throw StepFailure(
                    "cannot prove that \(device.path) was wiped: bytes \(range.lowerBound) to \(range.upperBound) do not read as zero; replace the disk",
                    retryable: true
                )
            }
        }
        try disk.rereadPartitions()
        var proof = WireErasedDisks.Disk()
        proof.name = device.path
        proof.serial = device.serial
        proof.sizeBytes = device.bytes
        proof.zeroedBytes = UInt64(ranges.reduce(0) { $0 + Int64($1.count) })
        proof.method = "zeros"
        proof.reason = reason
        proof.sampledBytes = proof.zeroedBytes
        proof.check = "both ends of the disk and of its partitions read as zero"
        return proof
    }

    /// Both ends of the disk and of each partition, without overlaps, in order.
    static func ranges(of disk: any Disk) -> [Range<Int64>] {
        let bytes = disk.geometry.bytes
        let block = Int64(disk.geometry.blockBytes)
        func ends(_ start: Int64, _ end: Int64) -> [Range<Int64>] {
            guard start >= 0, end <= bytes, start < end else { return [] }
            let half = min(endBytes, end - start)
            return [start..<(start + half), (end - half)..<end]
        }
        var wanted = ends(0, bytes / block * block)
        // A disk without a table that makes sense has no partitions to wipe.
        for range in disk.partitionTable()?.partitionRanges ?? [] {
            wanted += ends(range.lowerBound, range.upperBound)
        }
        var merged: [Range<Int64>] = []
        for range in wanted.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound {
                merged[merged.count - 1] =
                    last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }
}

extension Disk {
    /// Whether a range of whole blocks reads as zero.
    ///
    /// Read in pieces: a hostile table makes ranges as long as the disk.
    fileprivate func readsAsZero(_ range: Range<Int64>) throws(SystemFailure) -> Bool {
        let buffer = AlignedBuffer(bytes: 1 << 20)
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(Int64(buffer.bytes.count), range.upperBound - offset))
            try read(buffer.part(0..<count), at: offset)
            guard ZeroRuns.isZero(UnsafeRawBufferPointer(buffer.part(0..<count))) else {
                return false
            }
            offset += Int64(count)
        }
        return true
    }
}
