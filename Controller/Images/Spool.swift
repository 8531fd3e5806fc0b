import Basics
import Crypto
import Glibc
import NIOCore

/// Takes an upload in: writes it to a file without a name, which vanishes with a crash, and hashes it.
actor Spool {
    /// What arrived.
    struct Arrived: Sendable {
        let file: SpoolHandle
        let md5: String
        let sha256: String
        let sha512: String
    }

    private let store: ChunkStore
    private let bytesMax: UInt64
    private let thread = OwnThread(name: "image upload")
    private let handle: SpoolHandle
    private var bytes: UInt64 = 0
    // MD5 only because Glance's API shows it; nothing here relies on it.
    private var md5 = Insecure.MD5()
    private var sha256 = SHA256()
    private var sha512 = SHA512()

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// Opens the file.
    init(store: ChunkStore, name: String, bytesMax: UInt64) throws {
        self.store = store
        self.bytesMax = bytesMax
        let path = "\(store.incomingDirectory)/\(name)"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw store.fault("store") }
        unlink(path)
        handle = SpoolHandle(descriptor: file, bytes: 0)
    }

    /// Appends what came from the network.
    /// - Throws: `Fault` when the disk is full or the upload too large.
    func append(_ buffer: ByteBuffer) throws {
        bytes += UInt64(buffer.readableBytes)
        guard bytes <= bytesMax else {
            throw Fault(
                .tooLarge,
                "cannot take the image: it is larger than \(bytesMax) bytes; raise images.upload_bytes_max or upload a smaller file"
            )
        }
        try buffer.withUnsafeReadableBytes { raw in
            try store.writeAll(raw, to: handle.descriptor)
            md5.update(bufferPointer: raw)
            sha256.update(bufferPointer: raw)
            sha512.update(bufferPointer: raw)
        }
    }

    /// Ends the upload.
    ///
    /// The returned handle owns the file: it is gone when nobody holds the handle any more.
    func finish() throws -> Arrived {
        let copy = fcntl(handle.descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw store.fault("store") }
        return Arrived(
            file: SpoolHandle(descriptor: copy, bytes: bytes),
            md5: hex(md5.finalize()),
            sha256: hex(sha256.finalize()),
            sha512: hex(sha512.finalize())
        )
    }
}
