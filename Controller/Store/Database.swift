import Basics
package import GRDB
import Protocol

/// The controller's embedded database: one SQLite file in WAL mode, used from one thread.
///
/// Transactions are synchronous closures, so that none is ever open across an `await`. GRDB's synchronous
/// calls are used on this actor's own executor; GRDB's schedulers never run our code, which lets simulation
/// put its executor in place of the thread.
///
/// On a thread of its own it commits in groups: writes that arrive while a commit waits for the disk share
/// the next one. Each is still a transaction of its own for whoever makes it.
package actor Database {
    private let queue: DatabaseQueue
    private let executor: any SerialExecutor
    private let writes: WriteGroup
    /// Where groups are committed; `nil` commits each write by itself.
    private let thread: OwnThread?

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// Opens (or makes) the database and brings its schema up to date.
    ///
    /// `path` names the file; `nil` keeps everything in memory, for tests. `migrations` are those of all
    /// areas, in the order of the areas. `feed` receives what transactions recorded, once it is stored.
    ///
    /// - Throws: `Fault` that names the file when it cannot be opened or is of a newer release.
    package init(
        path: String?,
        migrations: [Migration],
        feed: ChangeFeed,
        executor: any SerialExecutor = OwnThread(name: "database")
    ) throws {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        do {
            if let path {
                queue = try DatabaseQueue(path: path, configuration: configuration)
            } else {
                queue = try DatabaseQueue(configuration: configuration)
            }
            try Migration.apply(ChangeFeed.migrations + migrations, to: queue)
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(
                .unavailable,
                "cannot open the database \(path ?? "in memory"): check that the file is ours, is readable by this user and that its disk is not full",
                cause: error
            )
        }
        self.executor = executor
        thread = executor as? OwnThread
        writes = WriteGroup(queue: queue, feed: feed)
    }

    /// Runs a transaction that only reads; what it writes nevertheless is undone, and it throws.
    package func read<Value: Sendable>(
        _ body: @Sendable (Transaction) throws -> Value
    ) throws -> Value {
        // Not `queue.read`: it sets `PRAGMA query_only`, after which SQLite prepares every statement anew.
        try told {
            try queue.unsafeRead { database in
                let before = database.totalChangesCount
                var value: Value?
                try database.inTransaction(.deferred) {
                    value = try body(Transaction(sql: database, changes: ChangeList()))
                    guard database.totalChangesCount == before else {
                        throw DatabaseError(resultCode: .SQLITE_READONLY)
                    }
                    return .commit
                }
                guard let value else { preconditionFailure("a transaction ran without its body") }
                return value
            }
        }
    }

    /// Runs a transaction that may write.
    ///
    /// When it returns, everything is stored; when it throws, nothing is. `body` may be called a second time
    /// when the first could not be stored together with others.
    package nonisolated func write<Value: Sendable>(
        _ body: @escaping @Sendable (Transaction) throws -> Value
    ) async throws -> Value {
        guard let companion = Companion.current, companion.claim() else {
            return try await store(body)
        }
        do {
            let value = try await store { transaction in
                let value = try body(transaction)
                try companion.body(transaction)
                return value
            }
            companion.stored()
            return value
        } catch {
            companion.release()
            throw error
        }
    }

    /// Has a write stored together with the next one, after `laterMax` at the latest, and does not wait for it.
    ///
    /// On an executor that is not a thread of its own it is stored at once. `failed` is told when it could not be.
    package nonisolated func writeLater(
        _ body: @escaping @Sendable (Transaction) throws -> Void,
        failed: @escaping @Sendable (any Error) -> Void
    ) async {
        guard let thread else {
            do { try await writeAlone(body) } catch { failed(error) }
            return
        }
        writes.addForLater(
            WriteGroup.Write(body: body) { result in
                if case .failure(let error) = result { failed(error) }
            }
        )
        thread.later(within: Self.laterMax) { [writes] in writes.commit() }
    }

    /// How long a write of `writeLater` waits for company.
    private static let laterMax = Duration.milliseconds(200)

    private nonisolated func store<Value: Sendable>(
        _ body: @escaping @Sendable (Transaction) throws -> Value
    ) async throws -> Value {
        guard let thread else { return try await writeAlone(body) }
        let result = try await withCheckedThrowingContinuation { continuation in
            let write = WriteGroup.Write(body: body) { continuation.resume(with: $0) }
            if writes.add(write) { thread.afterQueued { [writes] in writes.commit() } }
        }
        guard let value = result as? Value else {
            preconditionFailure("a write returned another write's result")
        }
        return value
    }

    private func writeAlone<Value: Sendable>(
        _ body: @Sendable (Transaction) throws -> Value
    ) throws -> Value {
        try told { try writes.alone(body) }
    }

    /// Copies the whole database to `path` while it is in use.
    package func backUp(to path: String) throws {
        try told {
            let copy = try DatabaseQueue(path: path)
            try queue.backup(to: copy)
        }
    }
}

/// Runs `body`; a full disk is told in words that help.
func told<Value>(_ body: () throws -> Value) throws -> Value {
    do {
        return try body()
    } catch let error as DatabaseError where error.resultCode == .SQLITE_FULL {
        throw Fault(
            .unavailable,
            "cannot store the change: the disk of the controller's database is full; free space and try again",
            cause: error
        )
    }
}

/// What a transaction works with: the SQL connection and the list of changes that it records.
///
/// Areas add their queries in extensions in their `…Store.swift` files.
package struct Transaction {
    /// GRDB's connection.
    ///
    /// Only `…Store.swift` files use it.
    package let sql: GRDB.Database
    let changes: ChangeList

    /// Has `body` called once the transaction is stored, before its caller goes on, in the order of the
    /// transactions.
    ///
    /// It runs on the database's thread: it must not wait.
    package func whenStored(_ body: @escaping @Sendable () -> Void) { changes.add(body) }
}

// Statements that run often: SQLite reads their text once and keeps what it made of it.
extension Transaction {
    /// Runs a statement that answers nothing.
    package func execute(_ text: String, _ arguments: StatementArguments) throws {
        try sql.cachedStatement(sql: text).execute(arguments: arguments)
    }

    /// The first row of an answer; `nil` when there is none.
    package func row(_ text: String, _ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(sql, SQLRequest(sql: text, arguments: arguments, cached: true))
    }

    /// Whether an answer has a row.
    package func exists(_ text: String, _ arguments: StatementArguments) throws -> Bool {
        try row(text, arguments) != nil
    }
}

/// One step of an area's schema.
package struct Migration: Sendable {
    /// `<area>-<three digits>`, for instance `baremetal-001`; never edited after a release.
    package let name: String
    package let sql: String

    package init(name: String, sql: String) {
        self.name = name
        self.sql = sql
    }

    /// Applies what is missing, in order.
    static func apply(_ migrations: [Migration], to queue: DatabaseQueue) throws {
        var migrator = DatabaseMigrator()
        for migration in migrations {
            migrator.registerMigration(migration.name) { database in
                try database.execute(sql: migration.sql)
            }
        }
        let known = Set(migrations.map(\.name))
        let foreign = try queue.read { try migrator.appliedIdentifiers($0) }.subtracting(known)
        if let newest = foreign.max() {
            throw Fault(
                .unavailable,
                "cannot use the database: it was written by a newer release (migration \(newest)); install that release or restore a backup"
            )
        }
        try migrator.migrate(queue)
    }
}
