import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// `/v1/events` of a running controller, as a client of server-sent events reads it.
@Suite struct EventStreamTests {
    private struct Session: Sendable {
        let url: String
        let authority: String
        let token: String

        private func curl(_ options: [String], _ path: String) async throws -> ToolResult {
            try await Tool.run(
                "curl",
                [
                    "--silent", "--show-error", "--cacert", authority, "--header",
                    "X-Auth-Token: \(token)",
                ] + options + [url + path],
                budget: .seconds(30),
                time: SystemTime()
            )
        }

        /// Registers a node, which makes one event.
        func register(_ name: String) async throws {
            let made = try await curl(
                [
                    "--header", "Content-Type: application/json", "--fail", "--header",
                    "X-OpenStack-Ironic-API-Version: 1.95", "--data",
                    #"{"driver": "fake-hardware", "name": "\#(name)"}"#,
                ],
                "/v1/nodes"
            )
            try #require(made.exitCode == 0, "\(made.lastWords)")
        }

        /// Starts a client of its own process.
        func open(_ name: String, in folder: TemporaryFolder) throws -> Reader {
            let log = "\(folder.path)/\(name).log"
            // The token is a secret of this test's controller alone, but not for the process list.
            let settings = "\(folder.path)/\(name).curl"
            try writeText(
                "header = \"X-Auth-Token: \(token)\"\nheader = \"Accept: text/event-stream\"\n",
                to: settings,
                mode: 0o600
            )
            let process = try BackgroundProcess.start(
                BackgroundProcess.Request(
                    "curl",
                    [
                        "--silent", "--show-error", "--no-buffer", "--cacert", authority,
                        "--config", settings, "\(url)/v1/events",
                    ],
                    pidFile: "\(folder.path)/\(name).pid",
                    logFile: log
                )
            )
            return Reader(process: process, log: log)
        }

        /// The numbers of the events that a stream brings until it has been silent for a moment.
        func follow(after last: String?) async throws -> (ids: [String], text: String) {
            let resume = last.map { ["--header", "Last-Event-ID: \($0)"] } ?? []
            let result = try await curl(
                resume + ["--header", "Accept: text/event-stream", "--max-time", "3"],
                "/v1/events"
            )
            let ids = result.output.split(separator: "\n").filter { $0.hasPrefix("id: ") }
            return (ids.map { String($0.dropFirst(4)) }, result.output)
        }
    }

    /// A client that follows the events for as long as the controller lets it.
    private struct Reader {
        let process: BackgroundProcess
        let log: String
    }

    private func session(_ controller: RunningController) async throws -> Session {
        Session(
            url: controller.url,
            authority: controller.authority,
            token: try await controller.token()
        )
    }

    @Test func `a client that comes back with Last-Event-ID misses nothing and gets nothing twice`()
        async throws
    {
        let controller = try await RunningController()
        try await controller.start()
        var session = try await session(controller)
        for name in ["n1", "n2", "n3"] { try await session.register(name) }
        let first = try await session.follow(after: nil)
        // The administrator's account came before them.
        #expect(first.ids == ["1", "2", "3", "4"], "\(first.text)")
        #expect(first.text.contains("event: node\n") && first.text.contains(": live\n"))
        try await session.register("n4")
        let resumed = try await session.follow(after: "3")
        #expect(resumed.ids == ["4", "5"], "\(resumed.text)")
        #expect(resumed.text.contains(#""after":"enroll""#))
        // Nor does a controller that was killed forget where a client was.
        try await controller.kill()
        try await controller.start()
        session = try await self.session(controller)
        try await session.register("n5")
        let later = try await session.follow(after: resumed.ids.last)
        #expect(later.ids == ["6"], "\(later.text)")
        let wrong = try await session.follow(after: "yesterday")
        #expect(wrong.ids.isEmpty && wrong.text.contains("cannot list events after"))
        #expect(try await controller.stop())
    }

    @Test func `an event that happens meanwhile comes at once`() async throws {
        let controller = try await RunningController()
        try await controller.start()
        let session = try await session(controller)
        try await session.register("n1")
        async let stream = session.follow(after: "2")
        try await session.register("n2")
        let (ids, text) = try await stream
        #expect(ids == ["3"], "\(text)")
        #expect(try await controller.stop())
    }

    @Test func `a controller that stops ends its streams, also one that nobody reads`() async throws
    {
        let controller = try await RunningController()
        try await controller.start()
        let session = try await session(controller)
        try await session.register("n1")
        let readers = try ["reading", "stopped"].map { try session.open($0, in: controller.folder) }
        for reader in readers {
            try await eventually("the stream", within: .seconds(20)) {
                (readText(reader.log) ?? "").contains(": live\n")
            }
        }
        // From here on it takes nothing, not even the end of its connection.
        readers[1].process.identity.send(SIGSTOP)
        let time = SystemTime()
        let start = time.elapsed
        #expect(try await controller.stop())
        #expect(time.elapsed - start < .seconds(12), "the budget for a graceful end is 10 s")
        #expect((readText(controller.log) ?? "").contains("controller ends"))
        // What is being answered is cut off (`HTTPServer`); the client comes back with Last-Event-ID.
        #expect(try await readers[0].process.ends(within: .seconds(10), time: time))
        readers[1].process.identity.send(SIGCONT)
        try await readers[1].process.kill(time: time)
    }
}
