import AgentSystem
import Basics
import Glibc
import Protocol

/// Writes one image to one disk, on a thread of its own.
///
/// ```
/// manifest ─▶ plan ─▶ invalidate ─▶ holes ─▶ chunks ─▶ config drive, backup table ─▶ head ─▶ read back
/// ```
///
/// Nothing is written before the plan stands. The first thing written takes the old partition table away,
/// the last one puts the new one there, so that a disk is bootable only when it is complete. There is no
/// journal: whether chunks are there already is asked of the disk itself, by their digests, so that a
/// second run after a crash and a deployment of a similar image are the same thing.
actor ImageWriter {
    /// Chunks looked at to learn whether the disk holds (a part of) this image.
    static let surveyMax = 16
    /// Chunks read back at most; all metadata is read back in any case.
    static let readBackMax = 64
    /// The end of the disk's head that is written last.
    private static let firstBytes = 64 << 10
    private static let edgeBytes: Int64 = 1 << 20

    private nonisolated let executor: any SerialExecutor
    private let order: WireWriteImage
    private let context: StepContext
    private let seams: WriteImage.Seams
    private let disk: any Disk
    private let report: any StepReporter

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        executor: any SerialExecutor,
        order: WireWriteImage,
        context: StepContext,
        seams: WriteImage.Seams,
        disk: any Disk,
        report: any StepReporter
    ) {
        self.executor = executor
        self.order = order
        self.context = context
        self.seams = seams
        self.disk = disk
        self.report = report
    }

    private struct Plan {
        let manifest: ImageManifest
        let layout: ImageLayout
        /// The first chunk as it will stand on the disk.
        let head: [UInt8]
        /// All others.
        let extents: [ImageManifest.Extent]
    }

    /// Does it all.
    /// - Returns: the numbers of the report; device and choice are left to the caller.
    func run() async throws -> WireWrittenImage {
        let start = seams.time.elapsed
        let plan = try await makePlan()
        let comparing = try survey(plan)
        try invalidate()
        try clear(plan)
        let counts = try await writeChunks(plan, comparing: comparing)
        report.progress(StepProgress(phase: "flush"))
        try disk.flush()
        try finish(plan)
        let readBack = try verify(plan)
        setBootEntry(plan.layout)
        var written = WireWrittenImage()
        written.imageBytes = UInt64(plan.manifest.imageBytes)
        written.writtenBytes = UInt64(counts.written) + UInt64(plan.head.count)
        written.keptBytes = UInt64(counts.kept)
        written.readBackBytes = UInt64(readBack)
        written.seconds = (seams.time.elapsed - start).inSeconds
        return written
    }

    // MARK: - Before the first write

    private func makePlan() async throws -> Plan {
        report.progress(StepProgress(phase: "manifest"))
        let source = try seams.sources.open(order, in: context)
        var bytes: [UInt8] = []
        try await source.fetch("/manifest", bytesMax: ImageManifest.bytesMax, into: &bytes)
        guard SHA256Digest(of: bytes).bytes == Array(order.manifestDigest) else {
            throw StepFailure(
                "cannot write image \(order.image): its manifest does not have the digest that "
                    + "the controller announced; upload the image again",
                retryable: false
            )
        }
        let manifest: ImageManifest
        do throws(ImageManifest.Malformed) {
            manifest = try ImageManifest(json: bytes)
        } catch {
            throw StepFailure(
                "cannot write image \(order.image): its manifest is not taken: \(error.reason); "
                    + "upload the image again",
                retryable: false
            )
        }
        try ImageLayout.check(manifest, order, disk.geometry)
        let buffer = AlignedBuffer(bytes: manifest.chunkBytes)
        if let first = manifest.extents.first, first.offset == 0 {
            let loader = ChunkLoader(image: order.image, source: source)
            try await loader.load(first, packed: &bytes, into: buffer.bytes)
        }
        // A table may stand where the image has none, and then reads as zero.
        let first = manifest.extents.first.map { $0.offset == 0 ? $0.bytes : 0 } ?? 0
        let count = Int(min(Int64(max(first, Self.firstBytes)), manifest.imageBytes))
        var head = Array(buffer.bytes[..<count])
        let layout = try ImageLayout(
            of: manifest,
            for: order,
            head: head,
            on: disk.geometry,
            driveID: GUID(random: seams.random.bytes(16)),
            time: seams.time.now
        )
        layout.table.place(into: &head)
        head += [UInt8](repeating: 0, count: disk.rounded(count) - count)
        return Plan(
            manifest: manifest,
            layout: layout,
            head: head,
            extents: manifest.extents.filter { $0.offset > 0 }
        )
    }

    /// Whether the disk holds some of the image's chunks: then it pays to compare each before fetching it.
    ///
    /// The first ones tell of a write that was interrupted, since chunks are written in order; others,
    /// drawn at random, of a similar image.
    private func survey(_ plan: Plan) throws -> Bool {
        report.progress(StepProgress(phase: "verify", text: "looking for chunks that are there"))
        var chosen = Array(plan.extents.prefix(4))
        let rest = plan.extents.dropFirst(4)
        if rest.count <= Self.surveyMax - 4 {
            chosen += rest
        } else {
            chosen += (4..<Self.surveyMax).map { _ in
                rest[rest.startIndex + Int(seams.random.number(below: UInt64(rest.count)))]
            }
        }
        let buffer = AlignedBuffer(bytes: plan.manifest.chunkBytes)
        for extent in chosen where try disk.holds(extent, buffer) { return true }
        return false
    }

    // MARK: - Writing

    /// Takes both ends of the old partition table away, so that nothing boots from a disk half written.
    private func invalidate() throws {
        let end = disk.geometry.bytes
        let edge = min(Self.edgeBytes, end)
        try disk.put([UInt8](repeating: 0, count: Self.firstBytes), at: 0)
        try disk.put([UInt8](repeating: 0, count: Int(edge)), at: end - edge)
        try disk.flush()
    }

    /// Makes everything that is no chunk read as zero (inside the image) or unused (behind it).
    ///
    /// A discarded range reads as anything: the kernel gave up promising zeros in 4.12. So holes, which
    /// file systems rely on, are cleared by a request that does promise them. What is written anyway is not
    /// discarded before: writing tells the disk as much.
    private func clear(_ plan: Plan) throws {
        let image = plan.manifest.imageBytes
        report.progress(StepProgress(phase: "discard"))
        try disk.clear(image..<disk.geometry.bytes, by: .discard)
        var holes = plan.manifest.holes
        // A config drive of an earlier deployment must not outlive it.
        let old = max(image, disk.geometry.bytes - ImageLayout.driveBytes - 2 * Self.edgeBytes)
        if plan.layout.drive == nil, old < disk.geometry.bytes {
            let block = Int64(disk.geometry.blockBytes)
            holes.append(((old + block - 1) / block * block)..<disk.geometry.bytes)
        }
        let total = holes.reduce(Int64(0)) { $0 + Int64($1.count) }
        var done: Int64 = 0
        let quick = disk.geometry.clearsQuickly
        let text = quick ? "" : "the disk cannot clear ranges itself: holes are read and zeroed"
        for hole in holes {
            try Task.checkCancellation()
            if quick {
                try disk.clear(rounded(hole), by: .zero)
            } else {
                try clearSlowly(rounded(hole))
            }
            done += Int64(hole.count)
            report.progress(
                StepProgress(
                    phase: "clear",
                    doneBytes: UInt64(done),
                    totalBytes: UInt64(total),
                    text: text
                )
            )
        }
    }

    /// The image may end inside a block; what follows is not used.
    private func rounded(_ range: Range<Int64>) -> Range<Int64> {
        range.lowerBound..<(range.lowerBound + Int64(disk.rounded(range.count)))
    }

    /// Reads a range and writes zeros where it is not zero; reading spares most disks most writes.
    private func clearSlowly(_ range: Range<Int64>) throws {
        let zeros = AlignedBuffer(bytes: min(4 << 20, range.count))
        let found = AlignedBuffer(bytes: min(4 << 20, range.count))
        var offset = range.lowerBound
        while offset < range.upperBound {
            try Task.checkCancellation()
            let count = Int(min(Int64(found.bytes.count), range.upperBound - offset))
            try disk.read(found.part(0..<count), at: offset)
            if !ZeroRuns.isZero(UnsafeRawBufferPointer(found.part(0..<count))) {
                try disk.write(UnsafeRawBufferPointer(zeros.part(0..<count)), at: offset)
            }
            offset += Int64(count)
        }
    }

    private func writeChunks(
        _ plan: Plan,
        comparing: Bool
    ) async throws -> (kept: Int64, written: Int64) {
        let queue = ChunkQueue(plan.extents, time: seams.time, report: report)
        let count = max(1, min(seams.workers, plan.extents.count))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                let worker = ChunkWorker(
                    executor: seams.executor("chunk-\(number)"),
                    disk: disk,
                    image: order.image,
                    source: try seams.sources.open(order, in: context),
                    chunkBytes: plan.manifest.chunkBytes
                )
                group.addTask(name: "chunk worker") {
                    try await worker.work(on: queue, comparing: comparing)
                }
            }
            try await group.waitForAll()
        }
        return queue.counts
    }

    /// Writes what makes the disk whole: first all but the tables, then, once that is on the medium, them.
    ///
    /// Firmware that finds only the backup table takes it, so that it must not be there before everything
    /// else is.
    private func finish(_ plan: Plan) throws {
        report.progress(StepProgress(phase: "finish"))
        if let drive = plan.layout.drive {
            // Its sectors have 2048 bytes, which is half a block of some disks.
            let content = drive.image.bytes
            let count = disk.rounded(content.count)
            let rest = (drive.range.lowerBound + Int64(count))..<drive.range.upperBound
            if disk.geometry.clearsQuickly {
                try disk.clear(rest, by: .zero)
            } else {
                try clearSlowly(rest)
            }
            let padding = [UInt8](repeating: 0, count: count - content.count)
            try disk.put(content + padding, at: drive.range.lowerBound)
        }
        let first = min(Self.firstBytes, plan.head.count)
        try disk.put(Array(plan.head[first...]), at: Int64(first))
        try disk.flush()
        try disk.put(plan.layout.table.tail, at: plan.layout.table.tailOffset)
        try disk.put(Array(plan.head[..<first]), at: 0)
        try disk.flush()
        do {
            try disk.rereadPartitions()
        } catch {
            report.log(["\(error): the kernel sees the new partitions after the restart"])
        }
    }

    // MARK: - After the last write

    /// Reads all metadata and a sample of the chunks back from the medium.
    private func verify(_ plan: Plan) throws -> Int64 {
        let table = plan.layout.table
        var checks = [(Int64(0), plan.head), (table.tailOffset, table.tail)]
        if let drive = plan.layout.drive {
            checks.append((drive.range.lowerBound, drive.image.bytes))
        }
        var done: Int64 = 0
        for (offset, bytes) in checks {
            guard try disk.bytes(offset..<(offset + Int64(bytes.count))) == bytes else {
                throw different(offset)
            }
            done += Int64(bytes.count)
        }
        let buffer = AlignedBuffer(bytes: plan.manifest.chunkBytes)
        let wanted = min(Self.readBackMax, max(8, plan.extents.count / 20))
        for number in 0..<min(wanted, plan.extents.count) {
            try Task.checkCancellation()
            let index =
                wanted >= plan.extents.count
                ? number : Int(seams.random.number(below: UInt64(plan.extents.count)))
            let extent = plan.extents[index]
            let covered = plan.layout.drive.map { $0.range.overlaps(extent.range) } ?? false
            if covered || extent.range.upperBound > table.tailOffset { continue }
            guard try disk.holds(extent, buffer) else { throw different(extent.offset) }
            done += Int64(extent.bytes)
            report.progress(StepProgress(phase: "read-back", doneBytes: UInt64(done)))
        }
        return done
    }

    private func different(_ offset: Int64) -> StepFailure {
        StepFailure(
            "cannot trust \(disk.geometry.path): what was written at offset \(offset) reads back "
                + "differently; replace the disk or name another in the root device hints",
            retryable: true
        )
    }

    private func setBootEntry(_ layout: ImageLayout) {
        guard order.bootMode == "uefi" else { return }
        guard let (number, partition) = layout.efiSystem else {
            report.log(["the image has no EFI system partition: no boot entry is set"])
            return
        }
        do {
            let entry = try seams.firmware.bootFirst(number: number, partition: partition)
            report.log(["\(entry) starts the image; it is first in the boot order"])
        } catch {
            // Firmware then finds the loader by itself at its standard place.
            report.log(["\(error): the firmware keeps its own boot order"])
        }
    }
}
