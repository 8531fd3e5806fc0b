import CZlib
import CZstd

/// Builds qcow2 files, well formed unless a test breaks them.
struct Qcow2Builder {
    enum Cluster {
        case data([UInt8])
        case deflate([UInt8])
        case zstd([UInt8])
        case zeroFlag
    }

    var version: UInt32 = 3
    var clusterBits: UInt32 = 16
    var diskBytes: UInt64 = 8 << 20
    var clusters: [Int: Cluster] = [:]
    /// Overwrites bytes of the finished file.
    var patches: [(offset: Int, bytes: [UInt8])] = []
    /// Header extensions: type and content.
    var extensions: [(UInt32, [UInt8])] = []

    var clusterBytes: Int { 1 << clusterBits }
    private var usesZstd: Bool {
        clusters.values.contains { if case .zstd = $0 { true } else { false } }
    }

    /// Where the tables stand in every file that is built here.
    var firstTableOffset: Int { clusterBytes }
    func secondTableOffset(_ index: Int) -> Int {
        firstTableOffset + clusterBytes * (1 + index)
    }

    func build() -> [UInt8] {
        let perTable = clusterBytes / 8
        let covered = UInt64(clusterBytes) * UInt64(perTable)
        let tables = Int((diskBytes + covered - 1) / covered)
        var file = header(tables: tables)
        file += [UInt8](repeating: 0, count: clusterBytes - file.count)
        var first: [UInt8] = []
        for index in 0..<tables {
            first += bigEndian64(UInt64(secondTableOffset(index)) | 1 << 63)
        }
        file += first + [UInt8](repeating: 0, count: clusterBytes - first.count)
        var second = [UInt8](repeating: 0, count: tables * clusterBytes)
        var data: [UInt8] = []
        let dataOffset = secondTableOffset(tables)
        for (index, cluster) in clusters.sorted(by: { $0.key < $1.key }) {
            let entry = place(cluster, at: dataOffset, into: &data)
            second.replaceSubrange(index * 8..<index * 8 + 8, with: bigEndian64(entry))
        }
        file += second + data
        for patch in patches {
            file.replaceSubrange(patch.offset..<patch.offset + patch.bytes.count, with: patch.bytes)
        }
        return file
    }

    /// The disk that the file describes.
    func disk() -> [UInt8] {
        var disk = [UInt8](repeating: 0, count: Int(diskBytes))
        for (index, cluster) in clusters {
            switch cluster {
            case .data(let bytes), .deflate(let bytes), .zstd(let bytes):
                let start = index * clusterBytes
                let count = min(bytes.count, disk.count - start)
                disk.replaceSubrange(start..<start + count, with: bytes[..<count])
            case .zeroFlag: break
            }
        }
        return disk
    }

    private func header(tables: Int) -> [UInt8] {
        var header: [UInt8] = [0x51, 0x46, 0x49, 0xfb] + bigEndian32(version)
        header += bigEndian64(0) + bigEndian32(0) + bigEndian32(clusterBits)
        header += bigEndian64(diskBytes) + bigEndian32(0) + bigEndian32(UInt32(tables))
        header += bigEndian64(UInt64(firstTableOffset))
        header += bigEndian64(0) + bigEndian32(0) + bigEndian32(0) + bigEndian64(0)
        if version == 3 {
            header += bigEndian64(usesZstd ? 8 : 0) + bigEndian64(0) + bigEndian64(0)
            header += bigEndian32(4) + bigEndian32(112)
            header += [usesZstd ? 1 : 0] + [UInt8](repeating: 0, count: 7)
        }
        for (type, content) in extensions {
            header += bigEndian32(type) + bigEndian32(UInt32(content.count)) + content
            header += [UInt8](repeating: 0, count: (8 - content.count % 8) % 8)
        }
        return header
    }

    private func place(_ cluster: Cluster, at base: Int, into data: inout [UInt8]) -> UInt64 {
        func align(_ unit: Int) {
            data += [UInt8](repeating: 0, count: (unit - data.count % unit) % unit)
        }
        switch cluster {
        case .zeroFlag: return 1
        case .data(let bytes):
            align(clusterBytes)
            let offset = base + data.count
            data += bytes + [UInt8](repeating: 0, count: clusterBytes - bytes.count)
            return UInt64(offset) | 1 << 63
        case .deflate(let bytes), .zstd(let bytes):
            // Behind a byte, so that compressed clusters are not aligned.
            data.append(0xaa)
            var packed = Self.deflate(bytes)
            if case .zstd = cluster { packed = Self.zstd(bytes) }
            let offset = base + data.count
            let end = offset + packed.count
            let sectors = (end - 1) / 512 - offset / 512
            data += packed
            align(512)
            let offsetBits = UInt64(62 - (clusterBits - 8))
            return UInt64(offset) | UInt64(sectors) << offsetBits | 1 << 62
        }
    }

    static func deflate(_ bytes: [UInt8]) -> [UInt8] {
        var input = bytes
        var output = [UInt8](repeating: 0, count: bytes.count + 1024)
        return input.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                var stream = z_stream()
                deflateInit2_(
                    &stream,
                    6,
                    Z_DEFLATED,
                    -12,
                    8,
                    Z_DEFAULT_STRATEGY,
                    ZLIB_VERSION,
                    CInt(MemoryLayout<z_stream>.size)
                )
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(output.count)
                _ = CZlib.deflate(&stream, Z_FINISH)
                let count = Int(stream.total_out)
                deflateEnd(&stream)
                return Array(output[..<count])
            }
        }
    }

    static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
        let count = ZSTD_compress(&output, output.count, bytes, bytes.count, 3)
        return Array(output[..<count])
    }

    static func unpack(_ packed: [UInt8], bytes: Int) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: bytes + 1)
        let count = ZSTD_decompress(&output, output.count, packed, packed.count)
        return ZSTD_isError(count) == 0 ? Array(output[..<count]) : []
    }
}

func bigEndian32(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian, Array.init) }
func bigEndian64(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.bigEndian, Array.init) }

/// Bytes that look random and are the same each time.
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 33)
    }
}
