import AgentSystem
import FoundationEssentials

/// What an image is made of: where its chunks belong and what they must digest to.
///
/// What no chunk covers reads as zero.
struct ImageManifest: Sendable, Equatable {
    /// A manifest longer than this is refused; it is enough for a TiB without a single hole, and for 90 GiB
    /// of which nothing but the smallest pieces is used.
    static let bytesMax = 32 << 20
    static let chunkBytesRange = (64 << 10)...(16 << 20)
    /// Chunks begin at multiples of this, and end there or with the image.
    static let unitBytes: Int64 = 64 << 10

    /// A run of bytes that is fetched, checked and written as one.
    struct Extent: Sendable, Equatable {
        let offset: Int64
        let bytes: Int
        let digest: SHA256Digest

        var range: Range<Int64> { offset..<(offset + Int64(bytes)) }

        /// The same content further behind.
        func moved(by distance: Int64) -> Extent {
            Extent(offset: offset + distance, bytes: bytes, digest: digest)
        }
    }

    /// Why a manifest is not taken, as a clause.
    struct Malformed: Error, Equatable {
        let reason: String
    }

    let imageBytes: Int64
    let chunkBytes: Int
    /// In order of their offsets; they do not overlap.
    let extents: [Extent]

    /// All bytes that are not holes.
    var contentBytes: Int64 { extents.reduce(0) { $0 + Int64($1.bytes) } }

    private struct Wire: Decodable {
        struct Extent: Decodable {
            let offset: Int64
            let bytes: Int
            let sha256: String
        }

        let version: Int
        let image_bytes: Int64
        let chunk_bytes: Int
        let extents: [Extent]
    }

    /// Reads the canonical JSON, whose digest was checked before.
    init(json: [UInt8]) throws(Malformed) {
        guard json.count <= Self.bytesMax else { throw Malformed(reason: "it is too long") }
        let wire: Wire
        do {
            wire = try JSONDecoder().decode(Wire.self, from: Data(json))
        } catch {
            throw Malformed(reason: "it is no manifest")
        }
        guard wire.version == 1 else {
            throw Malformed(reason: "its version \(wire.version) is not known")
        }
        guard wire.image_bytes > 0, wire.image_bytes % 512 == 0, wire.image_bytes <= 1 << 50,
            Self.chunkBytesRange.contains(wire.chunk_bytes),
            wire.chunk_bytes & (wire.chunk_bytes - 1) == 0
        else { throw Malformed(reason: "its sizes make no sense") }
        imageBytes = wire.image_bytes
        chunkBytes = wire.chunk_bytes
        var extents: [Extent] = []
        extents.reserveCapacity(wire.extents.count)
        var end: Int64 = 0
        for extent in wire.extents {
            guard extent.offset >= end, extent.offset % Self.unitBytes == 0,
                extent.offset < imageBytes, extent.bytes > 0,
                Int64(extent.bytes) <= imageBytes - extent.offset,
                extent.offset % Int64(chunkBytes) + Int64(extent.bytes) <= Int64(chunkBytes),
                Int64(extent.bytes) % Self.unitBytes == 0
                    || extent.offset + Int64(extent.bytes) == imageBytes,
                let digest = SHA256Digest(hex: extent.sha256)
            else { throw Malformed(reason: "its chunk at offset \(extent.offset) makes no sense") }
            extents.append(Extent(offset: extent.offset, bytes: extent.bytes, digest: digest))
            end = extent.offset + Int64(extent.bytes)
        }
        self.extents = extents
    }

    /// The ranges of the image that no chunk covers.
    var holes: [Range<Int64>] {
        var holes: [Range<Int64>] = []
        var end: Int64 = 0
        for extent in extents {
            if extent.offset > end { holes.append(end..<extent.offset) }
            end = extent.range.upperBound
        }
        if end < imageBytes { holes.append(end..<imageBytes) }
        return holes
    }
}
