import Glibc
package import Protocol
import SwiftProtobuf
import Synchronization

/// Keeps the last outcome, so that it is repeated instead of the work.
package protocol OutcomeJournal: Sendable {
    /// The outcome that was kept last; `nil` without one or when it cannot be read.
    func load() -> WireCommandResult?

    /// Keeps an outcome in place of the one before. Returns when it is safe.
    /// - Throws: `SystemFailure`; the one before is still there.
    func save(_ result: WireCommandResult) throws
}

/// For the ramdisk: a restart of the machine forgets everything anyway.
package final class MemoryJournal: OutcomeJournal {
    private let last = Mutex<WireCommandResult?>(nil)

    package init() {}

    package func load() -> WireCommandResult? { last.withLock { $0 } }

    package func save(_ result: WireCommandResult) throws { last.withLock { $0 = result } }
}
