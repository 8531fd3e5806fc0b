import Basics
import GRDB
package import Protocol
import Synchronization

/// One row of the change feed: an object went from one state to another.
package struct Change: Sendable, Codable, Equatable {
    /// Grows by one per change; gaps do not occur while rows are kept.
    package var sequence: Int64
    package var time: Timestamp
    /// The kind of object: `node`, `image`, `deployment`, `agent`, `security`.
    package var kind: String
    /// The object's identifier.
    package var id: String
    package var attempt: UInt64
    /// States by their API names; empty where the object did not exist or has no states.
    package var before: String
    package var after: String
    /// Why, for people; never contains a secret.
    package var cause: String
}

/// Changes recorded by a transaction that is still open.
final class ChangeList: Sendable {
    private let changes = Mutex<[Change]>([])
    private let hooks = Mutex<[@Sendable () -> Void]>([])

    func add(_ change: Change) { changes.withLock { $0.append(change) } }
    func add(_ hook: @escaping @Sendable () -> Void) { hooks.withLock { $0.append(hook) } }

    /// Tells everybody who wants to know, once the transaction is stored.
    func publish(to feed: ChangeFeed) {
        feed.publish(changes.withLock { $0 })
        for hook in hooks.withLock({ $0 }) { hook() }
        forget()
    }

    /// The transaction was not stored.
    func forget() {
        changes.withLock { $0 = [] }
        hooks.withLock { $0 = [] }
    }
}

/// Hands stored changes to whoever follows them: event streams, reconcilers, the simulator's checks.
///
/// A follower that is too slow loses the oldest changes of its own queue and reads them from the table.
package final class ChangeFeed: Sendable {
    private struct State {
        var followers: [Int: AsyncStream<Change>.Continuation] = [:]
        var next = 0
    }

    /// Changes that wait for one follower.
    package static let queueMax = 4096

    static let migrations = [
        Migration(
            name: "change-001",
            sql: """
                CREATE TABLE change (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    time INTEGER NOT NULL,
                    kind TEXT NOT NULL,
                    id TEXT NOT NULL,
                    attempt INTEGER NOT NULL,
                    before TEXT NOT NULL,
                    after TEXT NOT NULL,
                    cause TEXT NOT NULL
                ) STRICT;
                CREATE INDEX change_object ON change (kind, id, sequence);
                CREATE INDEX change_time ON change (time);
                """
        )
    ]

    private let state = Mutex(State())

    package init() {}

    /// Follows all changes that are stored from now on.
    package func follow() -> AsyncStream<Change> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Change.self,
            bufferingPolicy: .bufferingNewest(Self.queueMax)
        )
        let key = state.withLock { state in
            state.next += 1
            state.followers[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.followers.removeValue(forKey: key) }
        }
        return stream
    }

    func publish(_ changes: [Change]) {
        guard !changes.isEmpty else { return }
        let followers = state.withLock { $0.followers.sorted { $0.key < $1.key }.map(\.value) }
        for follower in followers {
            for change in changes { follower.yield(change) }
        }
    }
}

extension Transaction {
    /// Appends a row to the change feed; every transaction that changes an object does so once per object.
    ///
    /// `cause` says why, for people; it is never a secret.
    package func record(
        kind: String,
        id: String,
        attempt: Attempt = Attempt(0),
        before: String,
        after: String,
        cause: String,
        at now: Timestamp
    ) throws {
        try execute(
            """
            INSERT INTO change (time, kind, id, attempt, before, after, cause)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [now.nanoseconds, kind, id, Int64(attempt.number), before, after, cause]
        )
        changes.add(
            Change(
                sequence: sql.lastInsertedRowID,
                time: now,
                kind: kind,
                id: id,
                attempt: attempt.number,
                before: before,
                after: after,
                cause: cause
            )
        )
    }

    /// Changes after `sequence`, oldest first; only of one kind and object when these are given.
    package func changes(
        after sequence: Int64,
        kind: String? = nil,
        id: String? = nil,
        limit: Int = 1000
    ) throws -> [Change] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM change
                WHERE sequence > ? AND (? IS NULL OR kind = ?) AND (? IS NULL OR id = ?)
                ORDER BY sequence LIMIT ?
                """,
            arguments: [sequence, kind, kind, id, id, limit]
        ).map { row in
            Change(
                sequence: row["sequence"],
                time: Timestamp(nanoseconds: row["time"]),
                kind: row["kind"],
                id: row["id"],
                attempt: UInt64(row["attempt"] as Int64),
                before: row["before"],
                after: row["after"],
                cause: row["cause"]
            )
        }
    }

    /// Forgets changes older than `time`.
    package func trimChanges(olderThan time: Timestamp) throws {
        try sql.execute(sql: "DELETE FROM change WHERE time < ?", arguments: [time.nanoseconds])
    }
}

extension Transaction {
    /// The newest changes, newest first.
    package func latestChanges(limit: Int) throws -> [Change] {
        let newest = try Int64.fetchOne(sql, sql: "SELECT MAX(sequence) FROM change") ?? 0
        return try changes(after: max(0, newest - Int64(limit)), limit: limit).reversed()
    }
}
