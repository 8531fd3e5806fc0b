import Basics
import Crypto
import HostTools

/// Compressed archives by the digest of what they hold: compressing thoroughly takes many seconds, and
/// most builds change one part only.
package struct FrameCache: Sendable {
    private let directory: String

    /// - Parameter directory: made when it is missing.
    package init(directory: String) {
        self.directory = directory
    }

    /// The archive as a zstd frame.
    /// - Throws: `Fault` when the cache cannot be written.
    package func frame(of archive: CpioArchive, modified: UInt32) throws -> [UInt8] {
        let bytes = try archive.encoded(modified: modified)
        let name = SHA256.hash(data: bytes).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0\(digits)" : digits
        }
        let path = "\(directory)/\(name.joined())-\(Zstandard.thorough).zst"
        if HostFile.exists(path) { return try HostFile.read(path) }
        let frame = try Zstandard.compress(bytes)
        try makeDirectories(directory)
        try HostFile.write(frame, to: path)
        return frame
    }
}
