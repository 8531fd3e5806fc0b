import AgentSystem
import CZstd
import Images
import Protocol

/// A small image of a whole disk: a partition table, some chunks, holes.
struct SimulatedImage: Sendable {
    static let chunkBytes = 64 << 10
    static let imageBytes: Int64 = 4 << 20
    private static let blockBytes = 512
    /// Boot sector, header and 128 entries of the partition table.
    static let tableBytes = 34 * 512

    /// A run of bytes that is not zero.
    struct Chunk: Sendable {
        let offset: Int64
        let content: [UInt8]
        let digest: String
    }

    let id: ImageID
    let name: String
    let hasAgent: Bool
    let chunks: [Chunk]
    let manifest: ImagesService.Manifest
    /// Compressed chunks by digest.
    let packed: [String: [UInt8]]

    /// Makes an image; `shared` are chunks that another one has as well.
    init(name: String, hasAgent: Bool, dice: inout Dice, shared: [Chunk]) {
        id = ImageID(random: dice.bytes(16))
        self.name = name
        self.hasAgent = hasAgent
        var offsets = Set(shared.map(\.offset))
        var chunks = shared
        let last = Int(Self.imageBytes) / Self.chunkBytes
        for _ in 0..<12 {
            let offset = Int64(1 + dice.below(last - 2)) * Int64(Self.chunkBytes)
            guard offsets.insert(offset).inserted else { continue }
            chunks.append(Self.chunk(offset, Self.content(&dice)))
        }
        let head = Self.head(&dice) + dice.bytes(Self.chunkBytes - Self.tableBytes)
        chunks.append(Self.chunk(0, head))
        self.chunks = chunks.sorted { $0.offset < $1.offset }
        let extents = self.chunks.map {
            "{\"offset\":\($0.offset),\"bytes\":\(Self.chunkBytes),\"sha256\":\"\($0.digest)\"}"
        }
        let text =
            "{\"version\":1,\"image_bytes\":\(Self.imageBytes),\"chunk_bytes\":\(Self.chunkBytes)"
            + ",\"extents\":[\(extents.joined(separator: ","))]}"
        manifest = ImagesService.Manifest(
            digest: SHA256Digest(of: Array(text.utf8)).bytes,
            bytes: Array(text.utf8)
        )
        packed = Dictionary(
            self.chunks.map { ($0.digest, Self.pack($0.content)) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// The chunks that do not hold the partition table.
    var bodies: [Chunk] { chunks.filter { $0.offset > 0 } }

    /// Where the disk must not be as the manifest says: the first difference; `nil` when it matches.
    ///
    /// Left out are the partition table at both ends and the config drive.
    func difference(on disk: DiskHardware, durably: Bool) -> String? {
        var end: Int64 = 0
        for chunk in chunks {
            if chunk.offset > end, !disk.isZero(end..<chunk.offset, durably: durably) {
                return "the hole at \(end) is not zero"
            }
            let skipped = chunk.offset == 0 ? Self.tableBytes : 0
            let isThere = disk.holds(
                chunk.content,
                skipped..<Self.chunkBytes,
                at: chunk.offset + Int64(skipped),
                durably: durably
            )
            guard isThere else { return "the chunk at \(chunk.offset) is another" }
            end = chunk.offset + Int64(Self.chunkBytes)
        }
        guard disk.isZero(end..<Self.imageBytes, durably: durably) else {
            return "the hole at \(end) is not zero"
        }
        let head = disk.content(0..<Int64(Self.tableBytes), durably: durably)
        do {
            let table = try PartitionTable(head: head, blockBytes: 512, bytes: disk.bytes)
            guard table.partitions.count >= 2 else { return "partitions are missing" }
        } catch {
            return "its partition table is not whole: \(error)"
        }
        return nil
    }

    private static func chunk(_ offset: Int64, _ content: [UInt8]) -> Chunk {
        Chunk(
            offset: offset,
            content: content,
            digest: SHA256Digest(of: content).description
        )
    }

    /// Mostly runs, so that it packs well.
    private static func content(_ dice: inout Dice) -> [UInt8] {
        let word = dice.bytes(512)
        var content: [UInt8] = []
        content.reserveCapacity(chunkBytes)
        while content.count < chunkBytes { content += word }
        return content
    }

    private static func pack(_ content: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(content.count)) { buffer, count in
            count = content.withUnsafeBytes {
                ZSTD_compress(buffer.baseAddress, buffer.count, $0.baseAddress, $0.count, 1)
            }
        }
    }

    /// A protective boot sector, a GPT header and its entries (UEFI 2.10, section 5.3).
    private static func head(_ dice: inout Dice) -> [UInt8] {
        let blocks = UInt64(imageBytes) / 512
        var entries = entry(GUID.efiSystem, dice.bytes(16), 2048, 4095, "esp")
        entries += entry(GUID.linuxFileSystem, dice.bytes(16), 4096, blocks - 2048, "root")
        entries += [UInt8](repeating: 0, count: 128 * 128 - entries.count)
        var header = Array("EFI PART".utf8) + little(UInt32(0x10000)) + little(UInt32(92))
        header += little(UInt32(0)) + little(UInt32(0))
        header += little(UInt64(1)) + little(blocks - 1) + little(UInt64(34)) + little(blocks - 34)
        header += dice.bytes(16) + little(UInt64(2)) + little(UInt32(128)) + little(UInt32(128))
        header += little(crc32(entries))
        header.replaceSubrange(16..<20, with: little(crc32(header)))
        header += [UInt8](repeating: 0, count: 512 - header.count)
        var boot = [UInt8](repeating: 0, count: 512)
        boot[446 + 2] = 2
        boot[446 + 4] = 0xee
        boot.replaceSubrange((446 + 8)..<(446 + 12), with: little(UInt32(1)))
        boot.replaceSubrange((446 + 12)..<(446 + 16), with: little(UInt32(blocks - 1)))
        (boot[510], boot[511]) = (0x55, 0xaa)
        return boot + header + entries
    }

    private static func entry(
        _ type: GUID,
        _ id: [UInt8],
        _ first: UInt64,
        _ last: UInt64,
        _ name: String
    ) -> [UInt8] {
        var entry = type.bytes + id + little(first) + little(last) + little(UInt64(0))
        entry += name.utf16.flatMap { little($0) }
        return entry + [UInt8](repeating: 0, count: 128 - entry.count)
    }

    private static func little(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }
}
