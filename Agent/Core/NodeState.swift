import AgentSystem
import Basics
import FoundationEssentials
import Glibc
package import Transport

/// What an installed node's agent keeps: its key, where the controller is, and what it was told.
///
/// Files in the state directory: `key` (the secret half, 0600), `connection.json` (the config drive's
/// agent file without its token), `admission.json`, `journal`.
package struct NodeState: Sendable {
    private let directory: String
    private let tree = FileTree()

    /// Uses a directory, made with mode 0700 when it is missing.
    package init(directory: String) {
        self.directory = directory
        makeDirectories(directory, mode: 0o700)
    }

    /// Where the outcome journal lies.
    package var journalPath: String { "\(directory)/journal" }

    /// The node's key; made at the first call.
    /// - Throws: `Fault` when the file is damaged; `SystemFailure` when it cannot be written.
    package func keys() throws -> CurveKeyPair {
        if let text = tree.text("\(directory)/key"), !text.isEmpty {
            return try CurveKeyPair(secret: Secret(text))
        }
        let keys = CurveKeyPair()
        try replaceFile(
            "\(directory)/key",
            with: Array(keys.secretKey.reveal().utf8) + [0x0a],
            mode: 0o600
        )
        return keys
    }

    /// Where the controller is, as it was kept; `nil` before the first enrolment.
    package func connection() -> ConnectionFile? {
        let path = "\(directory)/connection.json"
        // A damaged file is as good as none: the config drive still has the address.
        return tree.bytes(path).flatMap { try? ConnectionFile(json: $0, name: path) }
    }

    /// What the controller said at the last enrolment; `nil` before the first.
    package func admission() -> Admission? {
        guard let bytes = tree.bytes("\(directory)/admission.json"),
            // A damaged file is as good as none: the node enrols again.
            let form = try? JSONDecoder().decode(Form.self, from: Data(bytes))
        else { return nil }
        return Admission(
            version: form.version,
            node: form.node,
            certificateAuthority: form.certificateAuthority,
            timeServers: form.timeServers
        )
    }

    /// Keeps both.
    /// - Throws: `SystemFailure`.
    package func keep(_ admission: Admission, _ connection: ConnectionFile) throws {
        try replaceFile(
            "\(directory)/connection.json",
            with: connection.jsonWithoutToken,
            mode: 0o600
        )
        let form = Form(
            version: admission.version,
            node: admission.node,
            certificateAuthority: admission.certificateAuthority,
            timeServers: admission.timeServers
        )
        try replaceFile(
            "\(directory)/admission.json",
            with: Array(try JSONEncoder().encode(form)),
            mode: 0o600
        )
    }

    private struct Form: Codable {
        let version: UInt32
        let node: String
        let certificateAuthority: String
        let timeServers: [String]
    }
}
