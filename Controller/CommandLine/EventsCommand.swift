import ArgumentParser
import Basics
import FoundationEssentials

/// `rdo events`.
struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Show what changed: one line per change of a node, an image or a deployment."
    )

    @OptionGroup var cloud: CloudOptions

    @Flag(name: .long, help: "Go on with new events until interrupted.")
    var follow = false

    @Option(name: .long, help: "Begin after this sequence number.")
    var after: Int64 = 0

    @Flag(name: .long, help: "Print each event as one line of JSON.")
    var json = false

    /// Waits between two tries to reach the controller.
    private static let retryAfter: Duration = .seconds(2)

    func run() async throws {
        let time = SystemTime()
        try await cloud.withClient { client in
            var last = after
            while true {
                let events = try await client.call("GET", .own, "/v1/events?after=\(last)")[
                    "events"
                ].array
                for event in events { last = show(event, after: last) }
                if events.isEmpty { break }
            }
            while follow {
                do {
                    try await client.eachLine(.own, "/v1/events?after=\(last)") { line in
                        guard let event = EventLine.event(in: line) else { return }
                        last = show(event, after: last)
                    }
                } catch let fault as Fault where fault.kind == .unavailable {
                    Console.progress.line(fault.message)
                }
                try await time.sleep(for: Self.retryAfter)
            }
        }
    }

    private func show(_ event: JSON, after last: Int64) -> Int64 {
        let sequence = event["sequence"].double.map { Int64($0) } ?? last
        Console.output.line(json ? EventLine.json(event) : EventLine.text(event))
        return max(last, sequence)
    }
}

/// How an event looks.
package enum EventLine {
    /// The event in one line of a stream of server-sent events; `nil` for comments and other fields.
    package static func event(in line: String) -> JSON? {
        guard line.hasPrefix("data:") else { return nil }
        // A line that is no JSON is none of the controller's.
        return try? JSONDecoder().decode(JSON.self, from: Data(line.dropFirst(5).utf8))
    }

    /// A line for people.
    package static func text(_ event: JSON) -> String {
        let before = event["before"].string ?? ""
        let after = event["after"].string ?? ""
        let change =
            before == after
            ? after : "\(before.isEmpty ? "–" : before) → \(after.isEmpty ? "–" : after)"
        let cause = event["cause"].string ?? ""
        return [
            event["time"].string ?? "", event["kind"].string ?? "", event["id"].string ?? "",
            change + (change.isEmpty || cause.isEmpty ? "" : ":"), cause,
        ].filter { !$0.isEmpty }.joined(separator: " ")
    }

    /// The event as one line of JSON, keys sorted.
    package static func json(_ event: JSON) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // The value came out of JSON, so it can become JSON again.
        guard let data = try? encoder.encode(event) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }
}
