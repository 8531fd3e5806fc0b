import CZlib
import CZstd

/// Unpacks one compressed cluster of a qcow2 file, into no more than a cluster.
enum Unpacker {
    static func unpack(
        _ packed: [UInt8],
        _ compression: Qcow2Header.Compression,
        bytes: Int
    ) throws(Qcow2Refusal) -> [UInt8] {
        switch compression {
        case .deflate: try inflate(packed, bytes: bytes)
        case .zstd: try decompress(packed, bytes: bytes)
        }
    }

    /// Raw deflate, as QEMU writes it.
    private static func inflate(
        _ packed: [UInt8],
        bytes: Int
    ) throws(Qcow2Refusal) -> [UInt8] {
        var packed = packed
        var output = [UInt8](repeating: 0, count: bytes)
        let isWhole = packed.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                var stream = z_stream()
                guard
                    inflateInit2_(
                        &stream,
                        -15,
                        ZLIB_VERSION,
                        CInt(MemoryLayout<z_stream>.size)
                    ) == Z_OK
                else { return false }
                defer { inflateEnd(&stream) }
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(output.count)
                let status = CZlib.inflate(&stream, Z_FINISH)
                return (status == Z_STREAM_END || status == Z_BUF_ERROR || status == Z_OK)
                    && stream.avail_out == 0
            }
        }
        guard isWhole else { throw .packed }
        return output
    }

    /// One zstd frame; the sector's rest behind it is padding.
    private static func decompress(
        _ packed: [UInt8],
        bytes: Int
    ) throws(Qcow2Refusal) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: bytes)
        let isWhole = packed.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { output in
                guard let stream = ZSTD_createDStream() else { return false }
                defer { ZSTD_freeDStream(stream) }
                // A frame may ask for a window of 128 MiB; no cluster is larger than 2 MiB.
                ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, 21)
                var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
                var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
                while target.pos < target.size {
                    let before = (source.pos, target.pos)
                    let status = ZSTD_decompressStream(stream, &target, &source)
                    guard ZSTD_isError(status) == 0 else { return false }
                    if status == 0 { break }
                    guard (source.pos, target.pos) != before else { return false }
                }
                return target.pos == target.size
            }
        }
        guard isWhole else { throw .packed }
        return output
    }
}
