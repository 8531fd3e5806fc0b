import CZstd

/// Unpacks zstd-compressed chunks into memory that is given, and never beyond it.
///
/// Used by one thread; its context is used again for every chunk.
package final class ChunkDecoder {
    /// Why a chunk cannot be unpacked.
    package struct Malformed: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    private let context: OpaquePointer

    package init() {
        guard let context = ZSTD_createDCtx() else { preconditionFailure("out of memory") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    /// The most bytes that a chunk of `bytes` raw bytes takes when compressed.
    package static func compressedBytesMax(_ bytes: Int) -> Int { ZSTD_compressBound(bytes) }

    /// Fills `output` from `packed`.
    /// - Throws: `Malformed` unless exactly `output.count` bytes come out.
    package func decode(
        _ packed: [UInt8],
        into output: UnsafeMutableRawBufferPointer
    ) throws(Malformed) {
        let count = packed.withUnsafeBytes { input in
            ZSTD_decompressDCtx(
                context,
                output.baseAddress,
                output.count,
                input.baseAddress,
                input.count
            )
        }
        guard ZSTD_isError(count) == 0 else {
            throw Malformed(description: String(cString: ZSTD_getErrorName(count)))
        }
        guard count == output.count else {
            throw Malformed(description: "\(count) bytes instead of \(output.count)")
        }
    }
}
