import AgentSystem
import Basics
import Protocol
import Synchronization

/// The chunks that are still to be handled, and the count of those that were.
final class ChunkQueue: Sendable {
    private struct State {
        var next = 0
        var kept: Int64 = 0
        var written: Int64 = 0
    }

    private let extents: [ImageManifest.Extent]
    private let total: Int64
    private let state = Mutex(State())
    private let time: any TimeSource
    private let start: Duration
    private let report: any StepReporter

    init(
        _ extents: [ImageManifest.Extent],
        time: any TimeSource,
        report: any StepReporter
    ) {
        self.extents = extents
        self.time = time
        self.report = report
        total = extents.reduce(0) { $0 + Int64($1.bytes) }
        start = time.elapsed
    }

    /// The next chunk; `nil` when all are taken.
    func take() -> ImageManifest.Extent? {
        state.withLock { state in
            guard state.next < extents.count else { return nil }
            defer { state.next += 1 }
            return extents[state.next]
        }
    }

    /// Counts a chunk that is on the disk now.
    func finish(_ extent: ImageManifest.Extent, kept: Bool) {
        let (done, keptBytes) = state.withLock { state in
            if kept {
                state.kept += Int64(extent.bytes)
            } else {
                state.written += Int64(extent.bytes)
            }
            return (state.kept + state.written, state.kept)
        }
        let seconds = max((time.elapsed - start).inSeconds, 0.001)
        let text = keptBytes > 0 ? "\(ByteCount(keptBytes)) were there already" : ""
        report.progress(
            StepProgress(
                phase: "write",
                doneBytes: UInt64(done),
                totalBytes: UInt64(total),
                bytesPerSecond: Double(done) / seconds,
                text: text
            )
        )
    }

    /// Bytes that were found on the disk, and bytes that were written.
    var counts: (kept: Int64, written: Int64) { state.withLock { ($0.kept, $0.written) } }
}

/// Fetches, unpacks and checks chunks of one image.
///
/// Used by one thread.
struct ChunkLoader {
    /// How often a chunk that does not match its digest is fetched.
    static let triesMax = 3

    private let image: String
    private let source: any ImageSource
    private let decoder = ChunkDecoder()

    init(image: String, source: any ImageSource) {
        self.image = image
        self.source = source
    }

    /// Fills the first bytes of `output` with the chunk.
    ///
    /// `packed`: space for what comes over the network.
    /// - Throws: `StepFailure` when the chunk cannot be had or is wrong every time.
    func load(
        _ extent: ImageManifest.Extent,
        packed: inout [UInt8],
        into output: UnsafeMutableRawBufferPointer
    ) async throws {
        let raw = UnsafeMutableRawBufferPointer(rebasing: output[..<extent.bytes])
        var problem = ""
        for _ in 0..<Self.triesMax {
            try Task.checkCancellation()
            try await source.fetch(
                "/chunks/\(extent.digest)",
                bytesMax: ChunkDecoder.compressedBytesMax(extent.bytes),
                into: &packed
            )
            do throws(ChunkDecoder.Malformed) {
                try decoder.decode(packed, into: raw)
            } catch {
                problem = "it cannot be unpacked (\(error))"
                continue
            }
            if SHA256Digest(of: UnsafeRawBufferPointer(raw)) == extent.digest { return }
            problem = "its digest is wrong"
        }
        throw StepFailure(
            "cannot write image \(image): the chunk at offset \(extent.offset) was wrong "
                + "\(Self.triesMax) times: \(problem); check the controller's image store and "
                + "upload the image again",
            detail: "chunk \(extent.digest)",
            retryable: false
        )
    }
}

/// Brings chunks to the disk, one after the other, on a thread of its own. Several of them make the disk
/// and the network busy at the same time.
actor ChunkWorker {
    private nonisolated let executor: any SerialExecutor
    private let disk: any Disk
    private let loader: ChunkLoader
    private let buffer: AlignedBuffer

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        executor: any SerialExecutor,
        disk: any Disk,
        image: String,
        source: sending any ImageSource,
        chunkBytes: Int
    ) {
        self.executor = executor
        self.disk = disk
        loader = ChunkLoader(image: image, source: source)
        buffer = AlignedBuffer(bytes: chunkBytes)
    }

    /// Handles chunks until none is left.
    ///
    /// `comparing`: look first whether the disk holds the chunk already.
    func work(on queue: ChunkQueue, comparing: Bool) async throws {
        var packed: [UInt8] = []
        while let extent = queue.take() {
            try Task.checkCancellation()
            if comparing, try disk.holds(extent, buffer) {
                queue.finish(extent, kept: true)
                continue
            }
            try await loader.load(extent, packed: &packed, into: buffer.bytes)
            let count = disk.rounded(extent.bytes)
            // The rest of the last block lies beyond the image.
            buffer.part(extent.bytes..<count).initializeMemory(as: UInt8.self, repeating: 0)
            try write(UnsafeRawBufferPointer(buffer.part(0..<count)), at: extent.offset)
            queue.finish(extent, kept: false)
        }
    }

    /// Writes a chunk; long runs of zeros are cleared where the disk can do that by itself.
    private func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws {
        guard disk.geometry.clearsQuickly else { return try disk.write(bytes, at: offset) }
        for run in ZeroRuns.parts(of: bytes) {
            let start = offset + Int64(run.range.lowerBound)
            if run.isZero {
                try disk.clear(start..<(start + Int64(run.range.count)), by: .zero)
            } else {
                try disk.write(UnsafeRawBufferPointer(rebasing: bytes[run.range]), at: start)
            }
        }
    }
}

extension Disk {
    /// Whether the disk holds this chunk.
    ///
    /// `buffer` takes what is read.
    func holds(_ extent: ImageManifest.Extent, _ buffer: AlignedBuffer) throws(SystemFailure)
        -> Bool
    {
        try read(buffer.part(0..<rounded(extent.bytes)), at: extent.offset)
        let content = UnsafeRawBufferPointer(buffer.part(0..<extent.bytes))
        return SHA256Digest(of: content) == extent.digest
    }

    /// A length rounded up to whole blocks.
    func rounded(_ bytes: Int) -> Int {
        let block = geometry.blockBytes
        return (bytes + block - 1) / block * block
    }
}
