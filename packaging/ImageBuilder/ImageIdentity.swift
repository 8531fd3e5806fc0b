import Crypto

/// What an image was made of, as a digest; the same parts give the same image, so it is the cache's key
/// and the source of the disk's identifiers.
package struct ImageIdentity: Sendable, Hashable, CustomStringConvertible {
    /// One thing that an image was made of.
    package struct Part: Sendable, Equatable {
        /// Tells parts apart: a path, or a word.
        package let name: String
        package let bytes: [UInt8]

        package init(_ name: String, _ bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes
        }

        package init(_ name: String, _ text: String) {
            self.init(name, Array(text.utf8))
        }
    }

    private let digest: [UInt8]

    /// - Parameter parts: their order does not matter.
    package init(of parts: [Part]) {
        var hash = SHA256()
        for part in parts.sorted(by: { ($0.name, $0.bytes.count) < ($1.name, $1.bytes.count) }) {
            // The digest of each part has a fixed length, so that no two lists of parts look alike.
            hash.update(data: Array(SHA256.hash(data: Array(part.name.utf8))))
            hash.update(data: Array(SHA256.hash(data: part.bytes)))
        }
        digest = Array(hash.finalize())
    }

    /// 64 hexadecimal digits.
    package var description: String { Self.hexadecimal(digest) }

    /// An identifier for one thing inside the image, always the same for the same image.
    /// - Parameter purpose: a word such as `root`.
    /// - Returns: a UUID (RFC 9562, version 8) in small letters.
    package func uuid(_ purpose: String) -> String {
        var bytes = Array(SHA256.hash(data: digest + Array(purpose.utf8)).prefix(16))
        bytes[6] = 0x80 | bytes[6] & 0x0f
        bytes[8] = 0x80 | bytes[8] & 0x3f
        let text = Self.hexadecimal(bytes)
        var parts: [Substring] = []
        var rest = text[...]
        for length in [8, 4, 4, 4, 12] {
            parts.append(rest.prefix(length))
            rest = rest.dropFirst(length)
        }
        return parts.joined(separator: "-")
    }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0\(digits)" : digits
        }
        .joined()
    }
}
