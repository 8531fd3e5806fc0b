package import Basics
import Crypto
import HTTP
import Protocol

/// What a token says; everything else is looked up when it is used.
struct TokenClaims: Sendable, Equatable {
    enum Scope: Sendable, Equatable {
        case none
        case project(String)
        case domain(String)
        case system
    }

    /// Unique; by it a token is revoked.
    var id: String
    var userID: String
    var scope: Scope
    /// How the user proved who it is: `password`, or `token` when it only changed the scope.
    var methods: [String]
    var issued: Timestamp
    var expires: Timestamp
    /// The generations of user, project and domains when it was made: their sum changes when one of them
    /// is disabled or gets a new password, and then the token has ended.
    var generation: Int64 = 0
    /// The application credential that proved who it is.
    var credentialID: String?
}

extension TokenClaims.Scope {
    /// As the token writes it.
    fileprivate var text: String {
        switch self {
        case .none: ""
        case .project(let id): "project:\(id)"
        case .domain(let id): "domain:\(id)"
        case .system: "system"
        }
    }

    fileprivate init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        switch (parts.first, parts.count) {
        case (nil, _): self = .none
        case ("system", 1): self = .system
        case ("project", 2): self = .project(parts[1])
        case ("domain", 2): self = .domain(parts[1])
        default: return nil
        }
    }
}

/// Signs and reads tokens: JSON Web Signatures (RFC 7515) with ES256.
///
/// There is one algorithm and one key, and the header is compared byte by byte: nothing in a token chooses
/// how it is checked, which is where libraries for every algorithm were attacked.
package struct TokenSigner: Sendable {
    static let tokenBytesMax = 2048
    private static let header = Base64URL.encode(Array(#"{"alg":"ES256","typ":"JWT"}"#.utf8))

    private let key: P256.Signing.PrivateKey

    /// Takes a P-256 private key as PEM.
    /// - Throws: `Fault` when it is none.
    package init(key pem: Secret) throws {
        do {
            key = try P256.Signing.PrivateKey(pemRepresentation: pem.reveal())
        } catch {
            throw Fault(
                .unavailable,
                "cannot use the token key: it is not a P-256 private key in PEM form; remove the file and run “rdo undercloud install”",
                cause: error
            )
        }
    }

    /// Makes a new key as PEM.
    package static func makeKey() -> Secret {
        Secret(P256.Signing.PrivateKey().pemRepresentation)
    }

    func sign(_ claims: TokenClaims) throws -> Secret {
        var payload: JSONValue = [
            "jti": .string(claims.id), "sub": .string(claims.userID),
            "scope": .string(claims.scope.text), "gen": .integer(claims.generation),
            "amr": .array(claims.methods.map(JSONValue.string)),
            "iat": .integer(claims.issued.nanoseconds / 1_000_000_000),
            "exp": .integer(claims.expires.nanoseconds / 1_000_000_000),
        ]
        if let credentialID = claims.credentialID { payload["cred"] = .string(credentialID) }
        let signed = Self.header + "." + Base64URL.encode(Array(payload.canonicalText.utf8))
        let signature = try key.signature(for: Array(signed.utf8))
        return Secret(signed + "." + Base64URL.encode(Array(signature.rawRepresentation)))
    }

    /// Reads a token whose signature is ours and that has not expired; `nil` otherwise.
    func read(_ token: Secret, at now: Timestamp) -> TokenClaims? {
        let text = token.reveal()
        guard text.utf8.count <= Self.tokenBytesMax else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == Self.header,
            let payload = Base64URL.decode(parts[1]),
            let raw = Base64URL.decode(parts[2]),
            // Not a signature at all: the same answer as a wrong one.
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: raw),
            key.publicKey.isValidSignature(signature, for: Array("\(parts[0]).\(parts[1])".utf8)),
            // Ours by its signature, so it is well formed; were it not, it is no token.
            let claims = try? JSONValue(parsing: payload),
            let id = claims["jti"]?.text, let userID = claims["sub"]?.text,
            let scope = claims["scope"]?.text.flatMap(TokenClaims.Scope.init),
            let generation = claims["gen"]?.integer, let issued = claims["iat"]?.integer,
            let expires = claims["exp"]?.integer,
            now < Timestamp(nanoseconds: expires * 1_000_000_000)
        else { return nil }
        return TokenClaims(
            id: id,
            userID: userID,
            scope: scope,
            methods: claims["amr"]?.elements?.compactMap(\.text) ?? [],
            issued: Timestamp(nanoseconds: issued * 1_000_000_000),
            expires: Timestamp(nanoseconds: expires * 1_000_000_000),
            generation: generation,
            credentialID: claims["cred"]?.text
        )
    }
}
