import Basics
import CZstd

/// Compression of an initramfs.
package enum Zstandard {
    /// The level that a ramdisk is built with: built once, sent to every machine.
    package static let thorough: Int32 = 19

    /// One frame that holds all the bytes.
    ///
    /// The same bytes and level give the same frame.
    /// - Throws: `Fault` when the library refuses.
    package static func compress(_ bytes: [UInt8], level: Int32 = thorough) throws -> [UInt8] {
        guard let context = ZSTD_createCCtx() else {
            throw Fault(.internalError, "cannot compress: there is no memory left")
        }
        defer { ZSTD_freeCCtx(context) }
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
        // The kernel refuses windows above 128 MiB; more than 8 MiB gains nothing at these sizes.
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 23)
        let bound = ZSTD_compressBound(bytes.count)
        var code = 0
        let frame = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            code = ZSTD_compress2(
                context,
                buffer.baseAddress,
                buffer.count,
                bytes,
                bytes.count
            )
            count = ZSTD_isError(code) == 0 ? code : 0
        }
        guard ZSTD_isError(code) == 0 else {
            throw Fault(
                .internalError,
                "cannot compress \(bytes.count) bytes: zstd refused",
                detail: String(cString: ZSTD_getErrorName(code))
            )
        }
        return frame
    }
}
