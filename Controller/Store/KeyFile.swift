package import Basics
import Glibc

/// A file that holds a key: a regular file that nobody but its owner can read.
package enum KeyFile {
    /// Bytes of a key file at most.
    static let bytesMax = 16 << 10

    /// Reads a key file.
    /// - Throws: `Fault` that names the file when it is missing, is not ours or root's, or is open to others.
    package static func read(_ path: String) throws -> Secret {
        // O_NOFOLLOW and fstat on the open file: what is checked is what is read.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else {
            throw Fault(
                .unavailable,
                "cannot read the key file \(path): \(String(cString: strerror(errno))); run “rdo undercloud install” or restore it from your backup"
            )
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Fault(.unavailable, "cannot read the key file \(path): it is not a regular file")
        }
        guard status.st_mode & 0o077 == 0 else {
            let mode = String(status.st_mode & 0o777, radix: 8)
            throw Fault(
                .unavailable,
                "cannot use the key file \(path): its mode is \(mode), so others could read it; run “chmod 600 \(path)” and make a new key if it may have been read"
            )
        }
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw Fault(
                .unavailable,
                "cannot use the key file \(path): it belongs to user \(status.st_uid); it must belong to the service's user"
            )
        }
        guard status.st_size <= bytesMax else {
            throw Fault(.unavailable, "cannot use the key file \(path): it is larger than a key")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
            }
            guard count > 0 else {
                throw Fault(.unavailable, "cannot read the key file \(path): it ended early")
            }
            filled += count
        }
        return Secret(bytes: bytes)
    }

    /// Writes a key file with mode 0600; never replaces one.
    /// - Throws: `Fault` that names the file when it exists or cannot be written.
    package static func create(_ path: String, _ key: Secret) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else {
            throw Fault(
                .unavailable,
                "cannot make the key file \(path): \(String(cString: strerror(errno)))"
            )
        }
        defer { close(file) }
        let bytes = key.revealBytes()
        guard fchmod(file, 0o600) == 0,
            bytes.withUnsafeBytes({ write(file, $0.baseAddress, $0.count) }) == bytes.count,
            fsync(file) == 0
        else {
            let reason = String(cString: strerror(errno))
            unlink(path)
            throw Fault(.unavailable, "cannot write the key file \(path): \(reason)")
        }
    }

    /// Reads a key file, made with `key` when there is none yet.
    package static func readOrCreate(_ path: String, _ key: () -> Secret) throws -> Secret {
        if access(path, F_OK) != 0 { try create(path, key()) }
        return try read(path)
    }
}
