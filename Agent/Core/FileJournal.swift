import AgentSystem
import Glibc
package import Protocol
import SwiftProtobuf

/// For an installed node: one file, replaced as a whole and flushed, so that a power cut leaves either
/// outcome and never half of one.
package final class FileJournal: OutcomeJournal {
    private let path: String

    /// Outcomes longer than this are not read.
    package static let bytesMax = 16 << 20

    /// - Parameter path: the file; its directory exists.
    package init(path: String) { self.path = path }

    package func load() -> WireCommandResult? {
        guard let bytes = FileTree().bytes(path, bytesMax: Self.bytesMax) else { return nil }
        // A file that does not decode is as good as none: the command is asked for again.
        return try? WireCommandResult(serializedBytes: bytes)
    }

    package func save(_ result: WireCommandResult) throws {
        let bytes: [UInt8] = try result.serializedBytes()
        try replaceFile(path, with: bytes, mode: 0o600)
    }
}
