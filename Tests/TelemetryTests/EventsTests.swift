import Protocol
import Store
import Testing

@testable import Telemetry

@Suite struct EventsTests {
    @Test func `what fell out of a slow client's queue is sent from the table, each once`()
        async throws
    {
        let database = try Database(path: nil, migrations: [], feed: ChangeFeed())
        let count = EventsAPI.pageMax + 20
        try await database.write { transaction in
            for number in 1...count {
                try transaction.record(
                    kind: "node",
                    id: "n\(number)",
                    before: "",
                    after: "enroll",
                    cause: "registered",
                    at: Timestamp(seconds: Double(number))
                )
            }
        }
        let changes = try await database.read { transaction in
            try transaction.changes(after: 0, limit: count)
        }
        var (sent, last) = ([Int64](), Int64(0))
        // The first comes; then the queue runs over, and the newest two are left in it.
        for change in [changes[0], changes[count - 2], changes[count - 1], changes[5]] {
            while last < change.sequence {
                for due in try await EventsAPI.due(change, after: last, in: database) {
                    sent.append(due.sequence)
                    last = due.sequence
                }
            }
        }
        #expect(sent == changes.map(\.sequence))
        #expect(last == changes.last?.sequence)
    }
}
