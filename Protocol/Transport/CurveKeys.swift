package import Basics
import CZeroMQ

/// A CurveZMQ public key: who a peer is.
package struct CurvePublicKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Thirty-two bytes.
    package let bytes: [UInt8]

    /// Takes the 32 bytes; `nil` when there are more or fewer.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// Reads the Z85 form (ZeroMQ RFC 32); `nil` unless it is 40 characters of that alphabet.
    package init?(z85 text: String) {
        guard let bytes = Z85.decode(text), bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// Forty characters.
    package var z85: String { Z85.encode(bytes) }
    package var description: String { z85 }

    package static func < (left: CurvePublicKey, right: CurvePublicKey) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

/// A CurveZMQ key pair.
package struct CurveKeyPair: Sendable, Equatable {
    package let publicKey: CurvePublicKey
    /// Forty characters of Z85.
    package let secretKey: Secret

    /// Makes a new pair from the kernel's randomness.
    package init() {
        var open = [CChar](repeating: 0, count: 41)
        var secret = [CChar](repeating: 0, count: 41)
        let status = zmq_curve_keypair(&open, &secret)
        precondition(status == 0, "libzmq was built without CURVE")
        guard let key = CurvePublicKey(z85: text(open)) else {
            preconditionFailure("libzmq made a key that is no Z85")
        }
        publicKey = key
        secretKey = Secret(text(secret))
    }

    /// Reads the pair from its secret half.
    /// - Parameter secret: 40 characters of Z85; white space around them is ignored.
    /// - Throws: `Fault` of kind `invalid`, which does not repeat the text.
    package init(secret: Secret) throws {
        let trimmed = secret.reveal().split(whereSeparator: \.isWhitespace).joined()
        var open = [CChar](repeating: 0, count: 41)
        guard Z85.decode(trimmed)?.count == 32, zmq_curve_public(&open, trimmed) == 0,
            let key = CurvePublicKey(z85: text(open))
        else {
            throw Fault(
                .invalid,
                "cannot read the CURVE secret key: it is not 40 characters of Z85; restore the file or make a new pair"
            )
        }
        publicKey = key
        secretKey = Secret(trimmed)
    }
}

private func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The text form of binary keys, ZeroMQ RFC 32: four bytes are five characters.
package enum Z85 {
    private static let alphabet = Array(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8
    )

    /// Encodes bytes, whose number is a multiple of four.
    package static func encode(_ bytes: [UInt8]) -> String {
        precondition(bytes.count.isMultiple(of: 4), "Z85 takes whole words")
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count / 4 * 5)
        for start in stride(from: 0, to: bytes.count, by: 4) {
            var value = bytes[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            var group: [UInt8] = []
            for _ in 0..<5 {
                group.append(alphabet[Int(value % 85)])
                value /= 85
            }
            text.append(contentsOf: group.reversed())
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Decodes a text; `nil` when its length or a character is wrong or a group exceeds 32 bits.
    package static func decode(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count.isMultiple(of: 5) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 5 * 4)
        for start in stride(from: 0, to: characters.count, by: 5) {
            var value: UInt64 = 0
            for character in characters[start..<start + 5] {
                guard let digit = alphabet.firstIndex(of: character) else { return nil }
                value = value * 85 + UInt64(digit)
            }
            guard value <= UInt32.max else { return nil }
            for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
        }
        return bytes
    }
}
