import AgentSteps
import AgentSystem
import Basics
import CZstd
import Foundation
import Protocol
import Synchronization

/// A small whole-disk image with a GUID partition table, cut into chunks as the controller's store does.
struct SampleImage: Sendable {
    static let chunkBytes = 64 << 10
    /// What the store looks at in one piece: chunks are parts of it.
    static let windowBytes = 4 * chunkBytes
    static let bytes = 4 << 20

    /// The disk inside the image.
    var disk: [UInt8]
    /// Packed chunks by digest.
    var chunks: [String: [UInt8]] = [:]
    var manifest: [UInt8] = []
    let blockBytes: Int

    /// Makes the image; `changing` names chunks that differ from those of the image with the same seed.
    init(seed: UInt64, changing: Set<Int> = [], blockBytes: Int = 512) {
        self.blockBytes = blockBytes
        disk = [UInt8](repeating: 0, count: Self.bytes)
        // Chunk 0 holds the table; every third of the others is a hole.
        for chunk in 1..<(Self.bytes / Self.chunkBytes) where chunk % 3 != 0 {
            let content = noise(
                Self.chunkBytes,
                seed: seed &+ UInt64(chunk) &+ (changing.contains(chunk) ? 1 << 40 : 0)
            )
            let start = chunk * Self.chunkBytes
            disk.replaceSubrange(start..<(start + Self.chunkBytes), with: content)
        }
        let table = GuidTable(diskBytes: Self.bytes, blockBytes: blockBytes)
        table.write(to: &disk)
        let code = Array("boot code \(seed)".utf8)
        disk.replaceSubrange(0..<code.count, with: code)
        pack()
    }

    /// Cuts `disk` into chunks again, after a change.
    mutating func pack() {
        chunks = [:]
        var extents: [String] = []
        for start in stride(from: 0, to: disk.count, by: Self.chunkBytes) {
            let raw = Array(disk[start..<min(start + Self.chunkBytes, disk.count)])
            guard raw.contains(where: { $0 != 0 }) else { continue }
            let digest = SHA256Digest(of: raw).description
            chunks[digest] = zstd(raw)
            extents.append(#"{"offset":\#(start),"bytes":\#(raw.count),"sha256":"\#(digest)"}"#)
        }
        manifest = Array(
            """
            {"version":1,"image_bytes":\(disk.count),"chunk_bytes":\(Self.windowBytes),\
            "extents":[\(extents.joined(separator: ","))]}
            """.utf8
        )
    }

    /// Offsets of the chunks that the manifest lists, the first one left out.
    var offsets: [Int] {
        stride(from: Self.chunkBytes, to: disk.count, by: Self.chunkBytes).filter { start in
            disk[start..<min(start + Self.chunkBytes, disk.count)].contains { $0 != 0 }
        }
    }

    /// The command that writes this image.
    func order(drive: Bool = true) -> WireWriteImage {
        var order = WireWriteImage()
        order.image = "debian"
        order.manifestDigest = Data(SHA256Digest(of: manifest).bytes)
        order.baseURL = "https://192.0.2.1:6385/v1/images/debian"
        if drive {
            order.configDrive = [
                "meta_data.json": Data(#"{"hostname":"c0"}"#.utf8),
                "user_data": Data("#cloud-config".utf8),
                "rdo/agent.json": Data(#"{"token":"c2VjcmV0IHRva2Vu"}"#.utf8),
            ]
        }
        return order
    }
}

/// Packs bytes as the controller's store does.
func zstd(_ raw: [UInt8]) -> [UInt8] {
    var packed = [UInt8](repeating: 0, count: ZSTD_compressBound(raw.count))
    let count = ZSTD_compress(&packed, packed.count, raw, raw.count, 3)
    return Array(packed[..<count])
}

/// Writes a GUID partition table by the letter of the UEFI specification (2.10, section 5.3), without
/// the product's own code.
struct GuidTable {
    static let efiSystem: [UInt8] = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9,
        0x3b,
    ]
    static let linux: [UInt8] = [
        0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
        0xe4,
    ]

    struct Entry {
        var type: [UInt8]
        var id: UInt8
        var first: UInt64
        var last: UInt64
        var name: String
    }

    let diskBytes: Int
    let blockBytes: Int
    var entries: [Entry]

    /// An EFI system partition and a root partition, from 1 MiB on.
    init(diskBytes: Int, blockBytes: Int) {
        self.diskBytes = diskBytes
        self.blockBytes = blockBytes
        let mebibyte = UInt64((1 << 20) / blockBytes)
        let last = UInt64(diskBytes / blockBytes) - 1 - UInt64(16_384 / blockBytes) - 1
        entries = [
            Entry(
                type: Self.efiSystem,
                id: 1,
                first: mebibyte,
                last: 2 * mebibyte - 1,
                name: "esp"
            ),
            Entry(type: Self.linux, id: 2, first: 2 * mebibyte, last: last, name: "root"),
        ]
    }

    private var table: [UInt8] {
        var table: [UInt8] = []
        for entry in entries {
            table += entry.type + [entry.id] + [UInt8](repeating: 7, count: 15)
            table += bytes(entry.first) + bytes(entry.last) + bytes(UInt64(0))
            let name = entry.name.utf16.flatMap { bytes($0) }
            table += name + [UInt8](repeating: 0, count: 72 - name.count)
        }
        return table + [UInt8](repeating: 0, count: 128 * 128 - table.count)
    }

    private func header(at place: UInt64, other: UInt64, entriesAt: UInt64) -> [UInt8] {
        let blocks = UInt64(diskBytes / blockBytes)
        let tableBlocks = UInt64(16_384 / blockBytes)
        var header = Array("EFI PART".utf8) + bytes(UInt32(0x10000)) + bytes(UInt32(92))
        header += bytes(UInt64(0)) + bytes(place) + bytes(other)
        header += bytes(2 + tableBlocks) + bytes(blocks - 2 - tableBlocks)
        header += [UInt8](repeating: 0xd1, count: 16)
        header += bytes(entriesAt) + bytes(UInt32(128)) + bytes(UInt32(128))
        header += bytes(crc32(table))
        header.replaceSubrange(16..<20, with: bytes(crc32(header)))
        return header
    }

    /// Puts protective MBR, both headers and both tables in their places.
    func write(to disk: inout [UInt8]) {
        func put(_ content: [UInt8], _ block: UInt64) {
            let start = Int(block) * blockBytes
            disk.replaceSubrange(start..<(start + content.count), with: content)
        }
        let blocks = UInt64(diskBytes / blockBytes)
        let protection: [UInt8] =
            [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff] + bytes(UInt32(1)) + bytes(UInt32(blocks - 1))
        disk.replaceSubrange(446..<462, with: protection)
        disk.replaceSubrange(510..<512, with: [0x55, 0xaa])
        let backup = blocks - 1 - UInt64(16_384 / blockBytes)
        put(header(at: 1, other: blocks - 1, entriesAt: 2), 1)
        put(table, 2)
        put(table, backup)
        put(header(at: blocks - 1, other: 1, entriesAt: backup), blocks - 1)
    }
}

/// A server of chunks that counts what is asked for and can lie.
final class ChunkServer: ImageSources {
    struct State: Sendable {
        var image: SampleImage
        var fetched: [String] = []
        /// What is sent instead of a path's content.
        var lies: [String: [UInt8]] = [:]
    }

    let state: Mutex<State>

    init(_ image: SampleImage) { state = Mutex(State(image: image)) }

    func open(
        _ command: WireWriteImage,
        in context: StepContext
    ) throws -> sending any ImageSource { Connection(server: self) }

    /// Chunks that were sent.
    var chunksFetched: [String] {
        state.withLock { $0.fetched.filter { $0.hasPrefix("/chunks/") } }
    }

    func lie(_ path: String, _ content: [UInt8]) { state.withLock { $0.lies[path] = content } }

    private struct Connection: ImageSource {
        let server: ChunkServer

        func fetch(_ path: String, bytesMax: Int, into body: inout [UInt8]) async throws {
            let found: [UInt8]? = server.state.withLock { state in
                state.fetched.append(path)
                if let lie = state.lies[path] { return lie }
                return path == "/manifest"
                    ? state.image.manifest : state.image.chunks[String(path.dropFirst(8))]
            }
            guard let found, found.count <= bytesMax else {
                throw StepFailure("cannot fetch \(path)", retryable: true)
            }
            body = found
        }
    }
}
