package import Basics
import Crypto
import FoundationEssentials

/// Seals secrets before they are stored: AES-256-GCM with a key from a file that no backup contains.
///
/// A sealed secret is bound to its place (`purpose`), so that a row cannot be moved under another object.
package struct Sealer: Sendable {
    private static let version: UInt8 = 1
    private let key: SymmetricKey

    /// Reads the key.
    /// - Throws: `Fault` that names the file when it is missing, open to others or not 32 bytes long.
    package init(keyFile path: String) throws {
        let secret = try KeyFile.read(path)
        guard secret.revealBytes().count == 32 else {
            throw Fault(
                .unavailable,
                "cannot use the sealing key \(path): it must be 32 bytes; restore it from where you keep it"
            )
        }
        self.init(key: secret)
    }

    /// Takes a key of 32 bytes.
    package init(key: Secret) {
        precondition(key.revealBytes().count == 32, "a sealing key has 32 bytes")
        self.key = SymmetricKey(data: key.revealBytes())
    }

    /// Seals a secret for the place where it will stand, for instance `node/<id>/ipmi_password`.
    package func seal(_ secret: Secret, for purpose: String) throws -> [UInt8] {
        let box = try AES.GCM.seal(
            secret.revealBytes(),
            using: key,
            authenticating: Array(purpose.utf8)
        )
        return [Self.version] + Array(box.nonce) + Array(box.ciphertext) + Array(box.tag)
    }

    /// A code of 32 bytes over a text, which nobody without the key can make: HMAC-SHA256 with a key of its own for
    /// each purpose (HKDF, RFC 5869).
    package func code(of text: String, for purpose: String) -> [UInt8] {
        let derived = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: key,
            info: Array("rdo code \(purpose)".utf8),
            outputByteCount: 32
        )
        return Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: derived))
    }

    /// Opens what `seal` made for the same purpose.
    /// - Throws: `Fault` of kind `unavailable` when the key, the place or the bytes are not the same.
    package func open(_ sealed: [UInt8], for purpose: String) throws -> Secret {
        do {
            guard sealed.first == Self.version else { throw CryptoKitError.incorrectParameterSize }
            let box = try AES.GCM.SealedBox(combined: sealed.dropFirst())
            let bytes = try AES.GCM.open(box, using: key, authenticating: Array(purpose.utf8))
            return Secret(bytes: Array(bytes))
        } catch {
            throw Fault(
                .unavailable,
                "cannot open a stored secret (\(purpose)): it was sealed with another key; restore the sealing key or set the secret again",
                cause: error
            )
        }
    }
}
