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
    private let isMirrored: Bool
    private let beforeWriting: @Sendable (ImageLayout) async throws -> Void
    private let report: any StepReporter

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Takes what it works with.
    ///
    /// `isMirrored`: the boot loader is copied to other disks afterwards, which then get the boot entries.
    /// `beforeWriting`: called when the plan stands and before the first write.
    init(
        executor: any SerialExecutor,
        order: WireWriteImage,
        context: StepContext,
        seams: WriteImage.Seams,
        disk: any Disk,
        isMirrored: Bool = false,
        beforeWriting: @escaping @Sendable (ImageLayout) async throws -> Void = { _ in },
        report: any StepReporter
    ) {
        self.executor = executor
        self.order = order
        self.context = context
        self.seams = seams
        self.disk = disk
        self.isMirrored = isMirrored
        self.beforeWriting = beforeWriting
        self.report = report
    }

    private struct Plan {
        let manifest: ImageManifest
        let layout: ImageLayout
        /// The first bytes as they will stand on the disk: the table, and of a whole disk's image the
        /// first chunk.
        let head: [UInt8]
        /// The chunks that are not in the head, where they belong on the disk.
        let extents: [ImageManifest.Extent]
        /// Config drives of earlier deployments that nothing of this one covers.
        let oldDrives: [Range<Int64>]
    }

    /// Does it all.
    /// - Returns: the numbers of the report, whose device and choice are left to the caller; and how the
    ///   disk is laid out.
    func run() async throws -> (WireWrittenImage, ImageLayout) {
        let start = seams.time.elapsed
        let plan = try await makePlan()
        let comparing = try survey(plan)
        try await beforeWriting(plan.layout)
        try forget(plan.oldDrives)
        try invalidate(plan.layout)
        try clear(plan)
        let counts = try await writeChunks(plan, comparing: comparing)
        report.progress(StepProgress(phase: "flush"))
        try disk.flush()
        try finish(plan)
        let readBack = try verify(plan)
        if plan.layout.parts == nil { setBootEntry(plan.layout) }
        var written = WireWrittenImage()
        written.imageBytes = UInt64(plan.manifest.imageBytes)
        written.writtenBytes = UInt64(counts.written) + UInt64(plan.head.count)
        written.keptBytes = UInt64(counts.kept)
        written.readBackBytes = UInt64(readBack)
        written.seconds = (seams.time.elapsed - start).inSeconds
        return (written, plan.layout)
    }

    // MARK: - Before the first write

    private func makePlan() async throws -> Plan {
        report.progress(StepProgress(phase: "manifest"))
        let source = try seams.sources.open(order, in: context)
        let manifest = try await fetchManifest(source)
        guard order.hasPartitions else { return try await planWholeDisk(manifest, source) }
        let previous = disk.partitionTable()
        let layout = try ImageLayout(
            partitionsFor: manifest,
            order,
            on: disk.geometry,
            previous: previous,
            time: seams.time.now,
            newID: { GUID(random: seams.random.bytes(16)) }
        )
        var head = [UInt8](repeating: 0, count: Self.firstBytes)
        layout.table.place(into: &head)
        return Plan(
            manifest: manifest,
            layout: layout,
            head: head,
            extents: manifest.extents.map { $0.moved(by: layout.imageOffset) },
            oldDrives: layout.oldDrives(previous, manifest)
        )
    }

    private func fetchManifest(_ source: any ImageSource) async throws -> ImageManifest {
        var bytes: [UInt8] = []
        try await source.fetch("/manifest", bytesMax: ImageManifest.bytesMax, into: &bytes)
        guard SHA256Digest(of: bytes).bytes == Array(order.manifestDigest) else {
            throw StepFailure(
                "cannot write image \(order.image): its manifest does not have the digest that "
                    + "the controller announced; upload the image again",
                retryable: false
            )
        }
        do throws(ImageManifest.Malformed) {
            return try ImageManifest(json: bytes)
        } catch {
            throw StepFailure(
                "cannot write image \(order.image): its manifest is not taken: \(error.reason); "
                    + "upload the image again",
                retryable: false
            )
        }
    }

    private func planWholeDisk(
        _ manifest: ImageManifest,
        _ source: any ImageSource
    ) async throws -> Plan {
        try ImageLayout.check(manifest, order, disk.geometry)
        let buffer = AlignedBuffer(bytes: manifest.chunkBytes)
        if let first = manifest.extents.first, first.offset == 0 {
            let loader = ChunkLoader(image: order.image, source: source)
            var packed: [UInt8] = []
            try await loader.load(first, packed: &packed, into: buffer.bytes)
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
            extents: manifest.extents.filter { $0.offset > 0 },
            oldDrives: layout.oldDrives(disk.partitionTable(), manifest)
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

    /// Empties what must not outlive an earlier deployment, while its table still tells where it is.
    private func forget(_ ranges: [Range<Int64>]) throws {
        guard !ranges.isEmpty else { return }
        for range in ranges { try zero(range) }
        try disk.flush()
    }

    /// Takes both ends of the old partition table away, so that nothing boots from a disk half written.
    ///
    /// Where a partition keeps its content, a table that has only this one takes its place. Its two copies
    /// are written one after the other: at every moment one of them is whole.
    private func invalidate(_ layout: ImageLayout) throws {
        if let kept = layout.parts?.keptTable {
            try disk.put(kept.tail, at: kept.tailOffset)
            try disk.flush()
            var head = [UInt8](repeating: 0, count: Self.firstBytes)
            kept.place(into: &head)
            try disk.put(head, at: 0)
            return try disk.flush()
        }
        let end = disk.geometry.bytes
        let edge = min(Self.edgeBytes, end)
        try disk.put([UInt8](repeating: 0, count: Self.firstBytes), at: 0)
        try disk.put([UInt8](repeating: 0, count: Int(edge)), at: end - edge)
        try disk.flush()
    }

    private func zero(_ range: Range<Int64>) throws {
        if disk.geometry.clearsQuickly {
            try disk.clear(range, by: .zero)
        } else {
            try clearSlowly(range)
        }
    }

    /// Makes everything that is no chunk read as zero (inside the image) or unused (behind it).
    ///
    /// A discarded range reads as anything: the kernel gave up promising zeros in 4.12. So holes, which
    /// file systems rely on, are cleared by a request that does promise them. What is written anyway is not
    /// discarded before: writing tells the disk as much.
    private func clear(_ plan: Plan) throws {
        let (manifest, layout) = (plan.manifest, plan.layout)
        report.progress(StepProgress(phase: "discard"))
        for range in layout.unused(manifest, disk.geometry) { try disk.clear(range, by: .discard) }
        let start = layout.imageOffset
        let holes =
            manifest.holes.map { ($0.lowerBound + start)..<($0.upperBound + start) }
            + layout.forgotten(manifest, disk.geometry)
        let total = holes.reduce(Int64(0)) { $0 + Int64($1.count) }
        var done: Int64 = 0
        let quick = disk.geometry.clearsQuickly
        let text = quick ? "" : "the disk cannot clear ranges itself: holes are read and zeroed"
        for hole in holes {
            try Task.checkCancellation()
            try zero(rounded(hole))
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
            try zero(rest)
            let padding = [UInt8](repeating: 0, count: count - content.count)
            try disk.put(content + padding, at: drive.range.lowerBound)
        }
        if let parts = plan.layout.parts, let swap = parts.swap {
            try disk.put(parts.swapHeader, at: swap.range.lowerBound)
        }
        let first = min(Self.firstBytes, plan.head.count)
        try disk.put(Array(plan.head[first...]), at: Int64(first))
        try disk.flush()
        try disk.put(plan.layout.table.tail, at: plan.layout.table.tailOffset)
        // The other copy is all that tells of a partition that is to be kept.
        if plan.layout.parts?.keptTable != nil { try disk.flush() }
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
        var checks = [(Int64(0), plan.head)]
        if !table.tail.isEmpty { checks.append((table.tailOffset, table.tail)) }
        if let drive = plan.layout.drive {
            checks.append((drive.range.lowerBound, drive.image.bytes))
        }
        if let parts = plan.layout.parts, let swap = parts.swap {
            checks.append((swap.range.lowerBound, parts.swapHeader))
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
        guard order.bootMode == "uefi", !isMirrored else { return }
        seams.firmware.bootFirst(layout, report)
    }
}

extension FirmwareVariables {
    /// Puts the disk's loader first, where the firmware lets us.
    func bootFirst(_ layout: ImageLayout, _ report: any StepReporter) {
        guard let (number, partition) = layout.efiSystem else {
            report.log(["the image has no EFI system partition: no boot entry is set"])
            return
        }
        do {
            let entry = try bootFirst(number: number, partition: partition)
            report.log(["\(entry) starts the image; it is first in the boot order"])
        } catch {
            // Firmware then finds the loader by itself at its standard place.
            report.log(["\(error): the firmware keeps its own boot order"])
        }
    }
}
