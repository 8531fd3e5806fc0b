package import Basics
import Crypto
import CryptoExtras
import FoundationEssentials

/// A password as it is stored: scrypt (RFC 7914) with its own salt.
///
/// Text form: `$scrypt$ln=15,r=8,p=1$<salt>$<key>`, both in base64, as passlib writes it.
package struct PasswordHash: Sendable, Equatable {
    /// Work for one guess; 32 MiB and some 60 ms on a server of 2020.
    package struct Cost: Sendable, Equatable {
        var logRounds = 15
        var blockSize = 8
        var parallelism = 1

        package init() {}

        init(logRounds: Int, blockSize: Int = 8, parallelism: Int = 1) {
            self.logRounds = logRounds
            self.blockSize = blockSize
            self.parallelism = parallelism
        }
    }

    static let passwordBytesMax = 1024

    private let cost: Cost
    private let salt: [UInt8]
    private let key: Secret

    /// Hashes a password.
    /// - Throws: `Fault` of kind `invalid` when it is empty or too long.
    package init(of password: Secret, random: some RandomSource) throws {
        try self.init(of: password, salt: random.bytes(16), cost: Cost())
    }

    init(of password: Secret, salt: [UInt8], cost: Cost) throws {
        guard !password.isEmpty else {
            throw Fault(.invalid, "cannot take the password: it is empty; choose one")
        }
        guard password.revealBytes().count <= Self.passwordBytesMax else {
            throw Fault(
                .invalid,
                "cannot take the password: it is longer than \(Self.passwordBytesMax) bytes"
            )
        }
        self.cost = cost
        self.salt = salt
        key = try Self.derive(password, salt, cost)
    }

    /// Reads the text form; `nil` when it is none, or asks for more work than we do.
    package init?(_ text: Secret) {
        // A file's line end is no part of it.
        let fields =
            text.reveal().split(separator: "\n", omittingEmptySubsequences: true)
            .first.map { $0.split(separator: "$", omittingEmptySubsequences: false) } ?? []
        guard fields.count == 5, fields[0].isEmpty, fields[1] == "scrypt" else { return nil }
        var cost = Cost()
        for setting in fields[2].split(separator: ",") {
            let pair = setting.split(separator: "=")
            guard pair.count == 2, let value = Int(pair[1]) else { return nil }
            switch pair[0] {
            case "ln": cost.logRounds = value
            case "r": cost.blockSize = value
            case "p": cost.parallelism = value
            default: return nil
            }
        }
        guard (10...18).contains(cost.logRounds), (1...16).contains(cost.blockSize),
            (1...4).contains(cost.parallelism),
            let salt = Data(base64Encoded: String(fields[3])), salt.count >= 8,
            let key = Data(base64Encoded: String(fields[4])), key.count == 32
        else { return nil }
        self.cost = cost
        self.salt = Array(salt)
        self.key = Secret(bytes: Array(key))
    }

    /// The text form; a secret, because it lets others guess at their leisure.
    package var text: Secret {
        let settings = "ln=\(cost.logRounds),r=\(cost.blockSize),p=\(cost.parallelism)"
        let salt = Data(salt).base64EncodedString()
        let key = Data(key.revealBytes()).base64EncodedString()
        return Secret("$scrypt$\(settings)$\(salt)$\(key)")
    }

    /// Whether `password` is the one; takes as long as hashing, so it must not run on a shared thread.
    package func matches(_ password: Secret) -> Bool {
        guard !password.isEmpty, password.revealBytes().count <= Self.passwordBytesMax,
            // A derivation fails only when memory is out; then nobody signs in.
            let derived = try? Self.derive(password, salt, cost)
        else { return false }
        return derived == key
    }

    private static func derive(_ password: Secret, _ salt: [UInt8], _ cost: Cost) throws -> Secret {
        let key = try KDF.Scrypt.deriveKey(
            from: password.revealBytes(),
            salt: salt,
            outputByteCount: 32,
            rounds: 1 << cost.logRounds,
            blockSize: cost.blockSize,
            parallelism: cost.parallelism
        )
        return Secret(bytes: key.withUnsafeBytes { Array($0) })
    }
}

/// Checks passwords on a thread of its own, one at a time: sign-ins cannot take all processors.
actor PasswordChecker {
    private let thread = OwnThread(name: "passwords")

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// Without a hash (there is no such user) the work is done all the same, so that the time of the
    /// answer does not tell.
    func check(
        _ password: Secret,
        against hash: PasswordHash?,
        cost: PasswordHash.Cost
    ) -> Bool {
        if let hash { return hash.matches(password) }
        // Its outcome does not matter.
        _ = try? PasswordHash(of: password, salt: Array(0..<16), cost: cost)
        return false
    }

    /// The text form of a new hash.
    func hash(_ password: Secret, salt: [UInt8], cost: PasswordHash.Cost) throws -> Secret {
        try PasswordHash(of: password, salt: salt, cost: cost).text
    }
}
