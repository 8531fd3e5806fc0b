package import AgentSystem
import Basics
import Glibc
package import Protocol

/// Erases every byte of every disk that is not read-only or removable, each by the best way it has, and
/// proves it by reading back.
///
/// ```
/// mark samples ─▶ the drive's own erase, or zeroes ─▶ read the samples ─▶ wipe the metadata
/// ```
///
/// A drive's word is not taken for it: before the erase, random marks are written at random places and at
/// both ends; one that is still there afterwards fails the step.
package struct EraseDisks: StepRunner {
    /// What the step acts on.
    package struct Seams: Sendable {
        let devices: any BlockDevices
        let disks: any DiskAccess
        let drives: any DriveChannels
        let raid: RAIDWork
        let time: any TimeSource
        let random: any RandomSource
        let executor: @Sendable (String) -> any SerialExecutor

        /// `executor`: makes the executor of the blocking work, by name; live an `OwnThread`.
        package init(
            drives: any DriveChannels,
            raid: RAIDWork,
            executor: @escaping @Sendable (String) -> any SerialExecutor
        ) {
            devices = raid.devices
            disks = raid.disks
            self.drives = drives
            self.raid = raid
            time = raid.time
            random = raid.random
            self.executor = executor
        }
    }

    /// Places that are marked and read back, beside both ends.
    package static let samplesMax = 64
    static let markBytes = 4096

    private let seams: Seams

    package init(_ seams: Seams) { self.seams = seams }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let eraser = DiskEraser(
            executor: seams.executor("erase-disks"),
            seams: seams,
            isExpress: command.eraseDisks.express,
            report: report
        )
        try await seams.raid.stopAll(report)
        var erased = try await eraser.run()
        try await seams.raid.rebuild(command.eraseDisks.raid, into: &erased, report)
        return .erased(erased)
    }
}

/// Erases disks, one after the other, on a thread of its own.
actor DiskEraser {
    private nonisolated let executor: any SerialExecutor
    private let seams: EraseDisks.Seams
    private let isExpress: Bool
    private let report: any StepReporter

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        executor: any SerialExecutor,
        seams: EraseDisks.Seams,
        isExpress: Bool,
        report: any StepReporter
    ) {
        self.executor = executor
        self.seams = seams
        self.isExpress = isExpress
        self.report = report
    }

    func run() async throws -> WireErasedDisks {
        var erased = WireErasedDisks()
        for device in seams.devices.list().sorted(by: { $0.path < $1.path }) {
            guard !device.removable, !device.readOnly else {
                let why = device.readOnly ? "read-only" : "removable"
                report.log(["\(device.path) is left alone: it is \(why)"])
                continue
            }
            try Task.checkCancellation()
            report.progress(StepProgress(phase: "erase", text: device.path))
            do {
                let proof = try await erase(device)
                report.log(["\(device.path): \(proof.method); \(proof.check); \(proof.reason)"])
                erased.disks.append(proof)
            } catch let error as SystemFailure where error.code != ECANCELED {
                throw StepFailure(
                    "cannot erase \(device.path): \(error); free or replace the disk",
                    retryable: true
                )
            }
        }
        return erased
    }

    private struct Mark {
        let offset: Int64
        let bytes: [UInt8]
    }

    private func erase(_ device: BlockDevice) async throws -> WireErasedDisks.Disk {
        let start = seams.time.elapsed
        let disk = try seams.disks.open(device.path, exclusive: true)
        if isExpress, !device.name.hasPrefix("nvme") {
            return try EraseMetadata.wipe(device, disk, reason: "express: it is no NVMe drive")
        }
        if device.name.hasPrefix("sd") {
            try withDrive(device, or: ()) { drive in try drive.prepareATA() }
        }
        let marks = try mark(disk)
        var reason: String
        var method: ErasureMethod
        switch try await byItself(device) {
        case .erased(let own):
            method = own
            reason = "the drive has this command"
        case .none(let why) where isExpress:
            return try EraseMetadata.wipe(device, disk, reason: "express: \(why)")
        case .none(let why):
            method = disk.geometry.clearsQuickly ? .writeZeroes : .overwrite
            reason = why
            try zero(disk, method)
        }
        try disk.flush()
        var missing = try remains(marks, disk, method)
        if let place = missing, !method.promisesZero {
            // The drive lied: what it says is worth nothing, but what is written over it can be read back.
            reason = "\(method.rawValue) left old data at byte \(place)"
            report.log(["\(device.path): \(reason)"])
            method = .overwrite
            try zero(disk, method)
            try disk.flush()
            missing = try remains(marks, disk, method)
        }
        if let place = missing {
            throw StepFailure(
                "cannot prove that \(device.path) was erased: after “\(method.rawValue)” old data stands at byte \(place); replace the disk",
                retryable: false
            )
        }
        // What the drive leaves where the tables were may look like anything.
        var proof = try EraseMetadata.wipe(device, disk, reason: reason)
        proof.method = method.rawValue
        proof.zeroedBytes = UInt64(disk.geometry.bytes)
        proof.sampledBytes = UInt64(marks.count * EraseDisks.markBytes)
        proof.check =
            "\(marks.count) marks written before are gone"
            + (method.promisesZero ? " and their places read as zero" : "")
        proof.seconds = (seams.time.elapsed - start).inSeconds
        return proof
    }

    /// The drive's own way.
    private func byItself(_ device: BlockDevice) async throws -> DriveErasure.Outcome {
        if device.name.hasPrefix("nvme") {
            do {
                return try await drive(device).eraseNVMe()
            } catch let error as SystemFailure where Self.speaksNot.contains(error.code) {
                return .none("it takes no commands: \(error)")
            }
        }
        guard device.name.hasPrefix("sd") else { return .none("it is no ATA or NVMe drive") }
        return try withDrive(device, or: .none("it takes no commands")) { try $0.eraseATA() }
    }

    /// What the kernel answers for a drive that speaks no ATA, or no NVMe.
    private static let speaksNot = [ENOTTY, EINVAL, EACCES, ENXIO, ENOENT, EOPNOTSUPP]

    private func drive(_ device: BlockDevice) throws -> DriveErasure {
        let time = seams.time
        return DriveErasure(
            path: device.path,
            channel: try seams.drives.channel(device.path),
            pause: { try await time.sleep(for: .seconds(Int64($0))) }
        )
    }

    private func withDrive<Result>(
        _ device: BlockDevice,
        or other: Result,
        _ body: (DriveErasure) throws -> Result
    ) throws -> Result {
        do {
            return try body(try drive(device))
        } catch let shown as HiddenAreaShown {
            throw StepFailure(
                "cannot erase \(device.path) yet: \(shown.blocks) blocks were hidden behind its end and are shown now; its machine must boot once more to see them, then erase again",
                retryable: false
            )
        } catch let error as SystemFailure where Self.speaksNot.contains(error.code) {
            return other
        }
    }

    // MARK: - Marks

    /// Writes random marks at both ends and at random places.
    private func mark(_ disk: any Disk) throws -> [Mark] {
        let block = Int64(EraseDisks.markBytes)
        let blocks = disk.geometry.bytes / block
        guard blocks > 0 else { return [] }
        var places: Set<Int64> = [0, blocks - 1]
        for _ in 0..<EraseDisks.samplesMax {
            places.insert(Int64(seams.random.number(below: UInt64(blocks))))
        }
        let marks = places.sorted().map { place in
            Mark(offset: place * block, bytes: seams.random.bytes(EraseDisks.markBytes))
        }
        for mark in marks { try disk.put(mark.bytes, at: mark.offset) }
        try disk.flush()
        for mark in marks {
            let found = try disk.bytes(mark.offset..<(mark.offset + block))
            guard found == mark.bytes else {
                throw StepFailure(
                    "cannot erase \(disk.geometry.path): it does not keep what is written at byte \(mark.offset); replace the disk",
                    retryable: false
                )
            }
        }
        return marks
    }

    /// The first place where old data is; `nil` when there is none.
    private func remains(_ marks: [Mark], _ disk: any Disk, _ method: ErasureMethod) throws
        -> Int64?
    {
        report.progress(StepProgress(phase: "read-back", text: disk.geometry.path))
        for mark in marks {
            let found = try disk.bytes(mark.offset..<(mark.offset + Int64(mark.bytes.count)))
            let isGone =
                method.promisesZero ? found.allSatisfy { $0 == 0 } : !shares(found, mark.bytes)
            guard isGone else { return mark.offset }
        }
        return nil
    }

    /// Whether any sector of a mark is still there.
    private func shares(_ found: [UInt8], _ mark: [UInt8]) -> Bool {
        stride(from: 0, to: mark.count, by: 512).contains {
            found[$0..<($0 + 512)] == mark[$0..<($0 + 512)]
        }
    }

    // MARK: - Zeroes

    private func zero(_ disk: any Disk, _ method: ErasureMethod) throws {
        let end = disk.geometry.bytes
        if method == .writeZeroes { try disk.clear(0..<end, by: .discard) }
        let piece: Int64 = method == .writeZeroes ? 1 << 30 : 64 << 20
        let buffer = AlignedBuffer(bytes: method == .writeZeroes ? 4096 : 4 << 20)
        let start = seams.time.elapsed
        var done: Int64 = 0
        while done < end {
            try Task.checkCancellation()
            let next = min(end, done + piece)
            if method == .writeZeroes {
                try disk.clear(done..<next, by: .zero)
            } else {
                try overwrite(done..<next, disk, buffer)
            }
            done = next
            let span = max((seams.time.elapsed - start).inSeconds, 0.001)
            report.progress(
                StepProgress(
                    phase: "erase",
                    doneBytes: UInt64(done),
                    totalBytes: UInt64(end),
                    bytesPerSecond: Double(done) / span,
                    text: disk.geometry.path
                )
            )
        }
    }

    private func overwrite(
        _ range: Range<Int64>,
        _ disk: any Disk,
        _ buffer: AlignedBuffer
    ) throws {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(Int64(buffer.bytes.count), range.upperBound - offset))
            try disk.write(UnsafeRawBufferPointer(buffer.part(0..<count)), at: offset)
            offset += Int64(count)
        }
    }
}
