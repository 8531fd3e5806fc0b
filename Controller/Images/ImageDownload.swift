import Basics
import CZstd
import Crypto
import Glibc
import HTTP
import Hummingbird
import NIOCore

/// Makes the disk again from its chunks, on a thread of its own, one chunk at a time.
actor ImageDownload {
    private let thread = OwnThread(name: "image download")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private let chunks: ChunkStore
    private let manifest: ImageManifest

    /// Bytes of a hole that are sent at a time.
    private static let zeros = ByteBuffer(repeating: 0, count: 256 << 10)

    init(chunks: ChunkStore, manifest: ImageManifest) {
        self.chunks = chunks
        self.manifest = manifest
    }

    /// The whole disk as a body of known length.
    ///
    /// A chunk that is missing or damaged ends the connection before that length.
    nonisolated var body: ResponseBody {
        let manifest = manifest
        return ResponseBody(contentLength: Int(manifest.imageBytes)) { writer in
            var position: UInt64 = 0
            for extent in manifest.extents {
                try await Self.writeZeros(extent.offset - position, to: &writer)
                try await writer.write(try await self.read(extent))
                position = extent.offset + UInt64(extent.bytes)
            }
            try await Self.writeZeros(manifest.imageBytes - position, to: &writer)
            try await writer.finish(nil)
        }
    }

    @concurrent
    private static func writeZeros(
        _ count: UInt64,
        to writer: inout any ResponseBodyWriter
    ) async throws {
        var rest = count
        while rest > 0 {
            let part = min(rest, UInt64(zeros.readableBytes))
            try await writer.write(
                zeros.getSlice(at: 0, length: Int(part)) ?? ByteBuffer()
            )
            rest -= part
        }
    }

    private func read(_ extent: ImageManifest.Extent) throws -> ByteBuffer {
        let path = chunks.path(ofChunk: extent.sha256)
        let damaged = Fault(
            .unavailable,
            "cannot read the chunk \(path): it is missing or damaged"
        )
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw damaged }
        let size = chunks.fileBytes(ofChunk: extent.sha256) ?? 0
        let packed = try SpoolHandle(descriptor: file, bytes: UInt64(size)).read(size, at: 0)
        var raw = [UInt8](repeating: 0, count: extent.bytes)
        let count = ZSTD_decompress(&raw, raw.count, packed, packed.count)
        guard ZSTD_isError(count) == 0, count == extent.bytes,
            hex(SHA256.hash(data: raw)) == extent.sha256
        else { throw damaged }
        return ByteBuffer(bytes: raw)
    }
}

extension ImageManifest {
    /// Reads what `canonicalText` wrote; `nil` when it is anything else.
    init?(_ bytes: [UInt8]) {
        // Not a manifest at all is the same as a wrong one.
        guard let value = try? JSONValue(parsing: bytes),
            let imageBytes = value["image_bytes"]?.integer.flatMap({ UInt64(exactly: $0) }),
            let elements = value["extents"]?.elements
        else { return nil }
        var extents: [Extent] = []
        var end: UInt64 = 0
        for element in elements {
            guard let offset = element["offset"]?.integer.flatMap({ UInt64(exactly: $0) }),
                let bytes = element["bytes"]?.integer, let sha256 = element["sha256"]?.text,
                (1...Int64(Self.chunkBytes)).contains(bytes), isDigest(sha256), offset >= end,
                offset <= imageBytes, UInt64(bytes) <= imageBytes - offset
            else { return nil }
            end = offset + UInt64(bytes)
            extents.append(Extent(offset: offset, bytes: Int(bytes), sha256: sha256))
        }
        self.init(imageBytes: imageBytes, extents: extents)
    }
}
