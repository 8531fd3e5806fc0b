import Crypto
package import Protocol
package import Transport

extension CurvePublicKey {
    /// What people compare; the agent prints the same on its console.
    ///
    /// The first 16 bytes of the key's SHA-256 in hexadecimal digits, in groups of four.
    package var fingerprint: String {
        let digest = SHA256.hash(data: bytes).prefix(16)
        let digits = digest.map { byte in
            byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
        }
        return stride(from: 0, to: digits.count, by: 2)
            .map { digits[$0] + digits[$0 + 1] }
            .joined(separator: "-")
    }
}

/// A key that an agent presented with a valid token.
package struct AgentKey: Sendable, Equatable {
    /// Whether the key lets its holder in.
    package enum State: String, Sendable {
        /// An operator has to accept the fingerprint first.
        case waiting
        case bound
    }

    package let key: CurvePublicKey
    package let node: NodeID
    package let role: AgentRole
    package let attempt: Attempt
    package var state: State
    /// Another key came with the same token: an operator or the next boot has to settle it.
    package var contested: Bool
    /// The IP address the key came from.
    package let address: String
    /// The interface the machine booted from; empty for an overcloud node.
    package let mac: String
    package let since: Timestamp
}

/// An enrolment token as it is stored: the token itself is not.
struct AgentToken: Sendable, Equatable {
    /// SHA-256 of the 32 bytes.
    let digest: [UInt8]
    /// `nil` until a machine that nobody registered has enrolled.
    var node: NodeID?
    /// The interface the boot files were made for; `nil` in a config drive.
    let mac: String?
    let role: AgentRole
    let attempt: Attempt
    let expires: Timestamp
    /// The first key that presented the token.
    var boundKey: CurvePublicKey?

    /// What is stored of a token.
    static func digest(of token: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: token)) }
}

/// A key that may subscribe to the stream and do nothing else.
package struct ReaderKey: Sendable, Equatable {
    package let name: String
    package let key: CurvePublicKey
    package let created: Timestamp
}
