import CLinux

/// A SHA-256 digest.
package struct SHA256Digest: Sendable, Hashable, CustomStringConvertible {
    /// Thirty-two bytes.
    package let bytes: [UInt8]

    /// Takes a digest made elsewhere; `nil` unless it has 32 bytes.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// Reads 64 hexadecimal digits in lower case; `nil` for anything else.
    package init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        for index in stride(from: 0, to: 64, by: 2) {
            guard let high = Self.value(digits[index]), let low = Self.value(digits[index + 1])
            else { return nil }
            bytes.append(high << 4 | low)
        }
        self.bytes = bytes
    }

    /// Digests the bytes with the system's libcrypto, which uses the processor's instructions for it.
    package init(of content: UnsafeRawBufferPointer) {
        var digest = [UInt8](repeating: 0, count: 32)
        let empty: [UInt8] = [0]
        let status =
            if let base = content.baseAddress {
                rdo_sha256(base, content.count, &digest)
            } else {
                rdo_sha256(empty, 0, &digest)
            }
        precondition(status == 0, "SHA-256 is missing in libcrypto")
        bytes = digest
    }

    /// Digests the bytes.
    package init(of content: [UInt8]) {
        self = content.withUnsafeBytes { Self(of: $0) }
    }

    /// Sixty-four hexadecimal digits in lower case.
    package var description: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self
        )
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
