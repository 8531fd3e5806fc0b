package import Basics
import FoundationEssentials
package import HTTP
import HTTPTypes
import Hummingbird
import NIOCore
import Protocol
package import Store

/// The change feed over HTTP: `/v1/events` as a list, or as server-sent events that go on for ever.
///
/// A client resumes with `Last-Event-ID` (or `?after=`): nothing between is lost while rows are kept.
package struct EventsAPI: RouteArea {
    private struct EventDocument: Encodable {
        var sequence: Int64
        var time: String
        var kind: String
        var id: String
        var attempt: UInt64
        var before: String
        var after: String
        var cause: String

        init(_ change: Change) {
            sequence = change.sequence
            time = change.time.description
            kind = change.kind
            id = change.id
            attempt = change.attempt
            before = change.before
            after = change.after
            cause = change.cause
        }
    }

    private let database: Database
    private let feed: ChangeFeed
    private let time: any TimeSource

    /// Events of one page.
    package static let pageMax = 1000
    /// Silence after which a comment is sent, so that proxies keep the connection.
    package static let keepAlive: Duration = .seconds(15)

    package init(database: Database, feed: ChangeFeed, time: any TimeSource) {
        self.database = database
        self.feed = feed
        self.time = time
    }

    package func addRoutes(to surface: Surface) {
        let (database, feed, time) = (database, feed, time)
        surface.area("/v1/events", dialect: .plain).get(
            "",
            .installation(.reader),
            .listEvents
        ) { request, _ in
            let after = try request.eventStart()
            if request.headers[.accept]?.contains("text/event-stream") == true {
                return Self.stream(database: database, feed: feed, time: time, after: after)
            }
            let changes = try await database.read { transaction in
                try transaction.changes(after: after, limit: Self.pageMax)
            }
            return try .json(encoding: ["events": changes.map(EventDocument.init)])
        }
    }

    private static func stream(
        database: Database,
        feed: ChangeFeed,
        time: any TimeSource,
        after start: Int64
    ) -> Response {
        let body = ResponseBody { writer in
            // Followed before the table is read, so that nothing falls between the two.
            let live = feed.follow()
            var last = start
            while true {
                let page = try await Self.stored(after: last, in: database)
                for change in page {
                    try await writer.write(ByteBuffer(string: try Self.event(change)))
                    last = change.sequence
                }
                if page.count < Self.pageMax { break }
            }
            try await writer.write(ByteBuffer(string: ": live\n\n"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                let (stream, news) = AsyncStream.makeStream(
                    of: Change?.self,
                    bufferingPolicy: .bufferingNewest(ChangeFeed.queueMax)
                )
                group.addTask(name: "event follower") {
                    // The server cancels what it answers when it stops, and with it this.
                    for await change in live { news.yield(change) }
                    news.finish()
                }
                group.addTask(name: "event keep-alive") {
                    while !Task.isCancelled {
                        try await time.sleep(for: Self.keepAlive)
                        news.yield(nil)
                    }
                }
                for await change in stream {
                    guard let change else {
                        try await writer.write(ByteBuffer(string: ": still here\n\n"))
                        continue
                    }
                    while last < change.sequence {
                        for due in try await Self.due(change, after: last, in: database) {
                            try await writer.write(ByteBuffer(string: try Self.event(due)))
                            last = due.sequence
                        }
                    }
                }
                group.cancelAll()
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: body
        )
    }

    /// A page of what the table holds after a change.
    private static func stored(
        after last: Int64,
        in database: Database
    ) async throws -> [Change] {
        try await database.read { try $0.changes(after: last, limit: Self.pageMax) }
    }

    /// What is to be sent, after the change that was sent last, because another one happened: never nothing.
    ///
    /// A client that reads slowly lets its queue run over; what fell out of it is read from the table, a page at a time.
    static func due(
        _ change: Change,
        after last: Int64,
        in database: Database
    ) async throws -> [Change] {
        guard change.sequence > last + 1 else { return [change] }
        let page = try await stored(after: last, in: database)
        return page.isEmpty ? [change] : page
    }

    /// A change as JSON, on one line.
    static func document(of change: Change) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(EventDocument(change)), as: UTF8.self)
    }

    private static func event(_ change: Change) throws -> String {
        let json = try document(of: change)
        return "id: \(change.sequence)\nevent: \(change.kind)\ndata: \(json)\n\n"
    }
}

extension Request {
    /// Where to begin: after the event that the client saw last.
    fileprivate func eventStart() throws -> Int64 {
        let text = headers[.lastEventID] ?? query("after") ?? "0"
        guard let sequence = Int64(text), sequence >= 0 else {
            throw Fault(
                .invalid,
                "cannot list events after “\(text)”: give the number of an event, or 0"
            )
        }
        return sequence
    }
}

extension HTTPField.Name {
    /// Sent by a client of server-sent events that connects again (WHATWG HTML, 9.2).
    fileprivate static let lastEventID = HTTPField.Name("Last-Event-ID") ?? .ifMatch
}

extension Operation {
    fileprivate static let listEvents = Operation(
        "List changes of state, or follow them as server-sent events",
        [
            .init("after", .integer(0...Int64.max), "Only changes after this sequence number."),
            .init(
                "Last-Event-ID",
                .integer(0...Int64.max),
                "The same, as clients of server-sent events resume.",
                in: .header
            ),
        ],
        answers: .ok(
            .object(
                [
                    "events": .list(
                        of: .object(
                            [
                                "sequence": .integer, "time": .time, "kind": .text, "id": .text,
                                "attempt": .integer, "before": .text, "after": .text,
                                "cause": .text,
                            ],
                            required: [
                                "sequence", "time", "kind", "id", "attempt", "before", "after",
                                "cause",
                            ]
                        ).named("Event")
                    )
                ],
                required: ["events"]
            )
        ),
        .text("text/event-stream")
    )
}
