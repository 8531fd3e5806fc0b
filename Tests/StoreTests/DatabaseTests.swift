import Basics
import Foundation
import GRDB
import Protocol
import Store
import Synchronization
import Testing

@Suite struct DatabaseTests {
    private static let first = Migration(
        name: "thing-001",
        sql: """
            CREATE TABLE thing (
                id TEXT PRIMARY KEY,
                state TEXT NOT NULL CHECK (state IN ('new', 'old'))
            ) STRICT;
            """
    )
    private static let second = Migration(
        name: "thing-002",
        sql: "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0"
    )
    private static let now = Timestamp(seconds: 1_800_000_000)

    private func withFile(_ body: (String) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "rdo-store-\(UInt64.random(in: 0...UInt64.max))"
        )
        try FileManager.default.createDirectory(
            at: directory,
            withIntermediateDirectories: true
        )
        defer { _ = try? FileManager.default.removeItem(at: directory) }  // best effort in a test
        try await body(directory.appendingPathComponent("controller.sqlite").path)
    }

    private func open(_ path: String?, _ migrations: [Migration]) throws -> Store.Database {
        try Store.Database(path: path, migrations: migrations, feed: ChangeFeed())
    }

    private static func insert(_ id: String, _ transaction: Transaction) throws {
        try transaction.sql.execute(
            sql: "INSERT INTO thing (id, state) VALUES (?, 'new')",
            arguments: [id]
        )
        try transaction.record(
            kind: "thing",
            id: id,
            attempt: Attempt(3),
            before: "",
            after: "new",
            cause: "a test",
            at: now
        )
    }

    private static func count(_ database: Store.Database) async throws -> Int {
        try await database.read { transaction in
            try Int.fetchOne(transaction.sql, sql: "SELECT COUNT(*) FROM thing") ?? -1
        }
    }

    @Test func `opening again applies only what is missing`() async throws {
        try await withFile { path in
            let before = try open(path, [Self.first])
            try await before.write { try Self.insert("a", $0) }
            let again = try open(path, [Self.first])
            #expect(try await Self.count(again) == 1)
            let newer = try open(path, [Self.first, Self.second])
            let size = try await newer.read { transaction in
                try Int.fetchOne(transaction.sql, sql: "SELECT size FROM thing")
            }
            #expect(size == 0)
        }
    }

    @Test func `a database of a newer release is refused`() async throws {
        try await withFile { path in
            _ = try open(path, [Self.first, Self.second])
            let fault = #expect(throws: Fault.self) { try open(path, [Self.first]) }
            #expect(fault?.message.contains("thing-002") == true)
        }
    }

    @Test(arguments: ["not a database, but long enough to have a header of its own ............"])
    func `a file that is no database is named`(content: String) async throws {
        try await withFile { path in
            try Data(content.utf8).write(to: URL(fileURLWithPath: path))
            let fault = #expect(throws: Fault.self) { try open(path, [Self.first]) }
            #expect(fault?.message.contains(path) == true)
        }
    }

    @Test func `a directory that is missing is named`() {
        let fault = #expect(throws: Fault.self) { try open("/nowhere/x.sqlite", []) }
        #expect(fault?.message.contains("/nowhere/x.sqlite") == true)
    }

    @Test func `a transaction that throws leaves no row and no change`() async throws {
        struct Stop: Error {}
        let database = try open(nil, [Self.first])
        await #expect(throws: Stop.self) {
            try await database.write { transaction in
                try Self.insert("a", transaction)
                throw Stop()
            }
        }
        #expect(try await Self.count(database) == 0)
        #expect(try await database.read { try $0.changes(after: 0) }.isEmpty)
    }

    @Test func `a reading transaction cannot write`() async throws {
        let database = try open(nil, [Self.first])
        await #expect(throws: (any Error).self) {
            try await database.read { try Self.insert("a", $0) }
        }
        #expect(try await Self.count(database) == 0)
    }

    @Test func `changes come in their order, once they are stored`() async throws {
        let feed = ChangeFeed()
        let database = try Store.Database(path: nil, migrations: [Self.first], feed: feed)
        var follower = feed.follow().makeAsyncIterator()
        for id in ["a", "b", "c"] { try await database.write { try Self.insert(id, $0) } }
        var seen: [Change] = []
        for _ in 0..<3 {
            if let change = await follower.next() { seen.append(change) }
        }
        #expect(seen.map(\.id) == ["a", "b", "c"])
        #expect(seen.map(\.sequence) == [1, 2, 3])
        #expect(seen[0].attempt == 3)
        let stored = try await database.read { try $0.changes(after: 1, kind: "thing") }
        #expect(stored == Array(seen.dropFirst()))
        let one = try await database.read { try $0.changes(after: 0, id: "b") }
        #expect(one.map(\.id) == ["b"])
    }

    @Test func `a follower that is too slow loses the oldest and keeps the newest`() async throws {
        let feed = ChangeFeed()
        let database = try Store.Database(path: nil, migrations: [Self.first], feed: feed)
        var follower = feed.follow().makeAsyncIterator()
        let count = ChangeFeed.queueMax + 10
        try await database.write { transaction in
            for index in 0..<count {
                try transaction.record(
                    kind: "thing",
                    id: "\(index)",
                    before: "",
                    after: "",
                    cause: "",
                    at: Self.now
                )
            }
        }
        #expect(await follower.next()?.sequence == 11)
    }

    @Test func `old changes are forgotten, and numbers are not used again`() async throws {
        let database = try open(nil, [Self.first])
        try await database.write { try Self.insert("a", $0) }
        try await database.write { try $0.trimChanges(olderThan: Self.now + .seconds(1)) }
        #expect(try await database.read { try $0.changes(after: 0) }.isEmpty)
        try await database.write { try Self.insert("b", $0) }
        #expect(try await database.read { try $0.changes(after: 0) }.map(\.sequence) == [2])
    }

    @Test func `a full disk is told, and nothing of the transaction stays`() async throws {
        try await withFile { path in
            let database = try open(path, [Self.first])
            try await database.write { transaction in
                let pages = try Int.fetchOne(transaction.sql, sql: "PRAGMA page_count") ?? 0
                try transaction.sql.execute(sql: "PRAGMA max_page_count = \(pages + 1)")
            }
            let fault = await #expect(throws: Fault.self) {
                try await database.write { transaction in
                    for index in 0..<10_000 { try Self.insert("thing-\(index)", transaction) }
                }
            }
            #expect(fault?.kind == .unavailable)
            #expect(fault?.message.contains("disk") == true)
            #expect(try await Self.count(database) == 0)
        }
    }

    @Test func `writes that arrive together are each whole, and those that throw leave nothing`()
        async throws
    {
        struct Stop: Error {}
        try await withFile { path in
            let feed = ChangeFeed()
            let database = try Store.Database(path: path, migrations: [Self.first], feed: feed)
            var follower = feed.follow().makeAsyncIterator()
            let failed = await withTaskGroup(of: Bool.self) { group in
                for index in 0..<300 {
                    group.addTask {
                        do {
                            try await database.write { transaction in
                                try Self.insert("thing-\(index)", transaction)
                                if index % 3 == 0 { throw Stop() }
                            }
                            return false
                        } catch {
                            return true
                        }
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(failed == 100)
            #expect(try await Self.count(database) == 200)
            let changes = try await database.read { try $0.changes(after: 0) }
            #expect(changes.count == 200)
            var seen: [Int64] = []
            for _ in 0..<200 {
                if let change = await follower.next() { seen.append(change.sequence) }
            }
            #expect(seen == changes.map(\.sequence))
        }
    }

    @Test func `what is to be known once it is stored is told in the order of the transactions`()
        async throws
    {
        struct Stop: Error {}
        let database = try open(nil, [Self.first])
        let told = Numbers()
        let orders = Numbers()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<100 {
                group.addTask {
                    // The failures are meant.
                    try? await database.write { transaction in
                        transaction.whenStored { told.add(index) }
                        if index % 2 == 0 { throw Stop() }
                        orders.add(index)
                    }
                }
            }
        }
        #expect(told.all == orders.all)
        #expect(told.all.count == 50)
    }

    @Test func `what need not be waited for is stored with the next write, or alone`() async throws
    {
        struct Stop: Error {}
        try await withFile { path in
            let database = try open(path, [Self.first])
            let (failures, failed) = AsyncStream.makeStream(of: Bool.self)
            await database.writeLater({ try Self.insert("a", $0) }, failed: { _ in })
            await database.writeLater({ _ in throw Stop() }) { failed.yield($0 is Stop) }
            try await database.write { try Self.insert("b", $0) }
            #expect(try await Self.count(database) == 2)
            for await isStop in failures {
                #expect(isStop)
                break
            }
            let (stored, store) = AsyncStream.makeStream(of: Void.self)
            await database.writeLater(
                { transaction in
                    try Self.insert("c", transaction)
                    transaction.whenStored { store.finish() }
                },
                failed: { _ in }
            )
            for await _ in stored {}
            #expect(try await Self.count(database) == 3)
        }
    }

    @Test func `a full disk is told to each of the writes that arrived together`() async throws {
        try await withFile { path in
            let database = try open(path, [Self.first])
            try await database.write { transaction in
                let pages = try Int.fetchOne(transaction.sql, sql: "PRAGMA page_count") ?? 0
                try transaction.sql.execute(sql: "PRAGMA max_page_count = \(pages + 2)")
            }
            let told = await withTaskGroup(of: Fault?.self) { group in
                for writer in 0..<8 {
                    group.addTask {
                        do {
                            try await database.write { transaction in
                                for index in 0..<2_000 {
                                    try Self.insert("\(writer)-\(index)", transaction)
                                }
                            }
                            return nil
                        } catch {
                            return error as? Fault
                        }
                    }
                }
                return await group.reduce(into: [Fault]()) {
                    if let fault = $1 { $0.append(fault) }
                }
            }
            #expect(told.count == 8)
            #expect(told.allSatisfy { $0.message.contains("disk") })
            #expect(try await Self.count(database) == 0)
        }
    }

    @Test func `what the schema forbids is not stored`() async throws {
        let database = try open(nil, [Self.first])
        await #expect(throws: DatabaseError.self) {
            try await database.write { transaction in
                try transaction.sql.execute(
                    sql: "INSERT INTO thing (id, state) VALUES ('a', 'other')"
                )
            }
        }
        #expect(try await Self.count(database) == 0)
    }

    @Test func `a backup of a database in use is whole`() async throws {
        try await withFile { path in
            let database = try open(path, [Self.first])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for index in 0..<50 {
                        try await database.write { try Self.insert("thing-\(index)", $0) }
                    }
                }
                group.addTask { try await database.backUp(to: path + ".backup") }
                try await group.waitForAll()
            }
            let copy = try open(path + ".backup", [Self.first])
            let things = try await Self.count(copy)
            #expect(things <= 50)
            // Every transaction is in it whole: as many changes as things.
            #expect(try await copy.read { try $0.changes(after: 0) }.count == things)
        }
    }
}

/// Numbers in the order in which they came.
private final class Numbers: Sendable {
    private let list = Mutex<[Int]>([])

    func add(_ number: Int) { list.withLock { $0.append(number) } }

    var all: [Int] { list.withLock { $0 } }
}
