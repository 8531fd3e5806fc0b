import Basics
import Crypto
import HTTP
import Protocol

/// What the bearer may fetch: one image, for one node's deployment, for a short time.
struct Capability: Equatable {
    var node: NodeID
    var image: ImageID
    var attempt: Attempt
    var expires: Timestamp
    /// The fingerprint of the key that the agent is bound to.
    var key: String
}

/// Makes and checks capabilities: `<base64url payload>.<base64url HMAC-SHA256>`.
struct CapabilitySigner: Sendable {
    static let textBytesMax = 2048
    private let key: SymmetricKey

    /// Takes a key of 32 bytes.
    init(key: Secret) {
        precondition(key.revealBytes().count == 32, "a capability key has 32 bytes")
        self.key = SymmetricKey(data: key.revealBytes())
    }

    func sign(_ capability: Capability) -> String {
        let payload: JSONValue = [
            "node": .string(capability.node.text), "image": .string(capability.image.text),
            "attempt": .integer(Int64(capability.attempt.number)),
            "expires": .integer(capability.expires.nanoseconds / 1_000_000_000),
            "key": .string(capability.key),
        ]
        let text = Base64URL.encode(Array(payload.canonicalText.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
        return text + "." + Base64URL.encode(Array(code))
    }

    /// Reads a capability that is ours and has not expired; `nil` otherwise.
    func read(_ text: String, at now: Timestamp) -> Capability? {
        guard text.utf8.count <= Self.textBytesMax else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let code = Base64URL.decode(parts[1]),
            HMAC<SHA256>.isValidAuthenticationCode(
                code,
                authenticating: Array(parts[0].utf8),
                using: key
            ),
            let payload = Base64URL.decode(parts[0]),
            // Ours by its code; were it malformed all the same, it is no capability.
            let value = try? JSONValue(parsing: payload),
            let node = value["node"]?.text.flatMap({ NodeID($0) }),
            let image = value["image"]?.text.flatMap({ ImageID($0) }),
            let attempt = value["attempt"]?.integer.flatMap({ UInt64(exactly: $0) }),
            let expires = value["expires"]?.integer,
            let keyFingerprint = value["key"]?.text
        else { return nil }
        let end = Timestamp(nanoseconds: expires * 1_000_000_000)
        guard now < end else { return nil }
        return Capability(
            node: node,
            image: image,
            attempt: Attempt(attempt),
            expires: end,
            key: keyFingerprint
        )
    }
}
