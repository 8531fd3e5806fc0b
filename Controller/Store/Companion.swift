import Synchronization

/// Something to be stored by the same transaction as the first thing that a piece of work stores.
///
/// Whoever calls `following` need not know what the work stores, and the work not that it is followed: an audit
/// record can be as certain as the change that it tells of.
package final class Companion: Sendable {
    private enum State { case waiting, claimed, stored }

    /// What the work around stores along; for `Database.write`.
    @TaskLocal static var current: Companion?

    /// Run at the end of the transaction; again when the transaction is.
    let body: @Sendable (Transaction) throws -> Void
    private let state = Mutex(State.waiting)

    package init(_ body: @escaping @Sendable (Transaction) throws -> Void) { self.body = body }

    /// Whether a transaction took it along.
    package var isStored: Bool { state.withLock { $0 == .stored } }

    /// Runs `work`, whose first write takes this along.
    package func following<Value>(_ work: () async throws -> Value) async rethrows -> Value {
        try await Self.$current.withValue(self, operation: work)
    }

    /// Whether the caller's transaction is to take it along.
    func claim() -> Bool {
        state.withLock { state in
            guard state == .waiting else { return false }
            state = .claimed
            return true
        }
    }

    func stored() { state.withLock { $0 = .stored } }
    /// The transaction that had claimed it failed: the next one may.
    func release() { state.withLock { $0 = .waiting } }
}
