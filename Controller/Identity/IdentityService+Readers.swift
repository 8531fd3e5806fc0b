package import Basics
import Crypto
import HTTP
import Store

/// Credentials that read metrics and nothing else.
extension IdentityService {
    /// Makes a credential that reads metrics and nothing else; it is shown this once.
    /// - Throws: `Fault` of kind `conflict` when the name is taken.
    package func createReader(_ name: String) async throws -> Secret {
        let text = "rdo_reader_" + Base64URL.encode(random.bytes(32))
        let digest = Array(SHA256.hash(data: Array(text.utf8)))
        let now = time.now
        try Self.checkName(name)
        try await database.write { transaction in
            guard try !transaction.hasReader(name: name) else {
                throw Fault(
                    .conflict,
                    "cannot make the read-only credential \(name): the name is taken; revoke that one or choose another name"
                )
            }
            try transaction.addReader(name: name, digest: digest, at: now)
            try transaction.record(
                kind: "security",
                id: name,
                before: "",
                after: "reader",
                cause: "a read-only credential was made",
                at: now
            )
        }
        return Secret(text)
    }

    /// Ends a read-only credential.
    package func revokeReader(_ name: String) async throws {
        let now = time.now
        try await database.write { transaction in
            guard try transaction.removeReader(name: name) else {
                throw Fault(
                    .notFound,
                    "cannot revoke the read-only credential \(name): there is none"
                )
            }
            try transaction.record(
                kind: "security",
                id: name,
                before: "reader",
                after: "",
                cause: "a read-only credential was revoked",
                at: now
            )
        }
    }

    package func isReader(credential: Secret) async throws -> Bool {
        // The lookup is by digest: its timing says nothing about the credential.
        let digest = Array(SHA256.hash(data: credential.revealBytes()))
        return try await database.read { try $0.hasReader(digest: digest) }
    }

    private static func checkName(_ name: String) throws {
        guard (1...64).contains(name.utf8.count),
            name.utf8.allSatisfy({ byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
                    || byte == UInt8(ascii: ".")
            })
        else {
            throw Fault(
                .invalid,
                "cannot take this name: use 1 to 64 letters, digits, “-”, “_” and “.”"
            )
        }
    }
}
