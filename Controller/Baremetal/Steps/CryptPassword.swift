import Basics
import Crypto
import Protocol

/// Hashes passwords as `crypt(5)` does with SHA-512 (`$6$`, 5000 rounds), which every Linux system takes in
/// `/etc/shadow`.
///
/// After “Unix crypt using SHA-256 and SHA-512” (U. Drepper, 0.6). It is Ironic's default for rescue
/// passwords (`rescue_password_hash_algorithm`).
enum CryptPassword {
    static let passwordBytesMax = 256
    private static let rounds = 5000
    private static let alphabet = Array(
        "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8
    )

    /// `random`: 12 bytes, of which the salt is made.
    static func hash(_ password: Secret, random: [UInt8]) -> Secret {
        precondition(random.count == 12, "a salt is made of 12 random bytes")
        let salt = stride(from: 0, to: 12, by: 3).flatMap { digits(random[$0..<($0 + 3)], 4) }
        return hash(password, salt: salt)
    }

    /// `salt`: at most 16 characters of the alphabet.
    static func hash(_ password: Secret, salt: [UInt8]) -> Secret {
        let key = password.revealBytes()
        let other = digest(key + salt + key)
        var start = key + salt + repeated(other, key.count)
        var length = key.count
        while length > 0 {
            start += length & 1 == 1 ? other : key
            length >>= 1
        }
        var mixed = digest(start)
        let keys = repeated(digest(repeated(key, key.count * key.count)), key.count)
        let salts = repeated(digest(repeated(salt, salt.count * (16 + Int(mixed[0])))), salt.count)
        for round in 0..<rounds {
            let isOdd = round & 1 == 1
            var input = isOdd ? keys : mixed
            if round % 3 != 0 { input += salts }
            if round % 7 != 0 { input += keys }
            input += isOdd ? mixed : keys
            mixed = digest(input)
        }
        return Secret(bytes: Array("$6$".utf8) + salt + [UInt8(ascii: "$")] + encoded(mixed))
    }

    private static func digest(_ bytes: [UInt8]) -> [UInt8] { Array(SHA512.hash(data: bytes)) }

    private static func repeated(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
        guard !bytes.isEmpty else { return [] }
        var result: [UInt8] = []
        result.reserveCapacity(count + bytes.count)
        while result.count < count { result += bytes }
        return Array(result.prefix(count))
    }

    /// The digest's bytes in the order that the algorithm demands.
    private static func encoded(_ digest: [UInt8]) -> [UInt8] {
        var places = (0, 21, 42)
        var text: [UInt8] = []
        for _ in 0..<21 {
            text += digits([digest[places.0], digest[places.1], digest[places.2]], 4)
            places = (places.1 + 1, places.2 + 1, places.0 + 1)
        }
        return text + digits([0, 0, digest[63]], 2)
    }

    /// Three bytes as digits of 64, the lowest first.
    private static func digits(_ bytes: some Sequence<UInt8>, _ count: Int) -> [UInt8] {
        var number = bytes.reduce(0) { $0 << 8 | Int($1) }
        return (0..<count).map { _ in
            defer { number >>= 6 }
            return alphabet[number & 63]
        }
    }
}
