import GRDB
import Synchronization

/// Writes that are stored by one commit.
///
/// Waiting for the disk is most of what a small transaction takes, and the disk takes as long for one as for
/// a hundred. Each write has a savepoint: one that throws leaves nothing, and the others nothing of it.
/// Nobody is answered before the commit.
final class WriteGroup: Sendable {
    /// One write and who wants to know what came of it.
    struct Write: Sendable {
        let body: @Sendable (Transaction) throws -> any Sendable
        /// Called once the write is stored or failed; it must not wait.
        let ended: @Sendable (Result<any Sendable, any Error>) -> Void
    }

    private struct Outcome {
        let result: Result<any Sendable, any Error>
        let changes: ChangeList
    }

    /// SQLite gave up the whole transaction, not only one write of it (a full disk, a failed device).
    private struct Broken: Error {}

    /// Writes of one commit at most, so that the first of them does not wait for ever.
    private static let writesMax = 256

    private let queue: DatabaseQueue
    private let feed: ChangeFeed
    private struct Waiting {
        var writes: [Write] = []
        /// Whether somebody commits them soon.
        var isDue = false
    }

    private let waiting = Mutex(Waiting())

    init(queue: DatabaseQueue, feed: ChangeFeed) {
        self.queue = queue
        self.feed = feed
    }

    /// Adds a write.
    /// - Returns: whether it is the first of its group, so that somebody has to call `commit`.
    func add(_ write: Write) -> Bool {
        waiting.withLock { waiting in
            defer { waiting.isDue = true }
            waiting.writes.append(write)
            return !waiting.isDue
        }
    }

    /// Adds a write that goes along with the next one; somebody has to call `commit` should none come.
    func addForLater(_ write: Write) { waiting.withLock { $0.writes.append(write) } }

    /// Stores what waits and answers it.
    func commit() {
        var rest = waiting.withLock { waiting in
            defer { waiting = Waiting() }
            return waiting.writes[...]
        }
        while !rest.isEmpty {
            let group = rest.prefix(Self.writesMax)
            rest = rest.dropFirst(group.count)
            commit(group)
        }
    }

    /// Runs one write in a transaction of its own.
    func alone<Value>(_ body: (Transaction) throws -> Value) throws -> Value {
        let changes = ChangeList()
        let value = try queue.write { database in
            try body(Transaction(sql: database, changes: changes))
        }
        changes.publish(to: feed)
        return value
    }

    private func commit(_ group: ArraySlice<Write>) {
        if group.count > 1, let outcomes = together(group) {
            for outcome in outcomes { outcome.changes.publish(to: feed) }
            for (write, outcome) in zip(group, outcomes) {
                write.ended(outcome.result)
            }
            return
        }
        for write in group {
            write.ended(Result { try told { try alone(write.body) } })
        }
    }

    /// Runs the writes in one transaction; `nil` when it could not be stored, and then nothing is.
    private func together(_ group: ArraySlice<Write>) -> [Outcome]? {
        // Whatever went wrong is met again, and told, when each write is tried by itself.
        try? queue.write { database in
            try group.map { write in
                let changes = ChangeList()
                var result: Result<any Sendable, any Error>?
                do {
                    try told {
                        try database.inSavepoint {
                            let transaction = Transaction(sql: database, changes: changes)
                            result = .success(try write.body(transaction))
                            return .commit
                        }
                    }
                } catch {
                    result = .failure(error)
                    changes.forget()
                }
                guard database.isInsideTransaction, let result else { throw Broken() }
                return Outcome(result: result, changes: changes)
            }
        }
    }
}
