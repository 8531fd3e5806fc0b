import ArgumentParser
import Basics
import Protocol

/// `rdo overcloud`.
struct OvercloudCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overcloud",
        abstract: "Configure deployed nodes.",
        subcommands: [ConfigureOvercloud.self, ResumeOvercloud.self, ShowOvercloud.self]
    )
}

/// `rdo overcloud configure`.
struct ConfigureOvercloud: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "configure",
        abstract: "Run Puppet in steps on active nodes, with validations after each step.",
        discussion: "The directory holds deployment.yaml, hieradata/ and manifests/."
    )

    @OptionGroup var cloud: CloudOptions
    @OptionGroup var wait: WaitOptions

    @Argument(help: "Directory with deployment.yaml.")
    var directory: String

    func run() async throws {
        let description = try OvercloudDirectory(path: directory)
        try await cloud.withClient { client in
            let time = SystemTime()
            let nodes = try await NodeWork(client: client, time: time, budget: wait.budget).nodes()
            let request = try description.request(
                active: nodes.filter { $0.state == "active" }.map(\.name)
            )
            let made = try await client.call("POST", .own, "/v1/deployments", body: request)
            try await wait.follow(made, client: client, time: time)
        }
    }
}

/// `rdo overcloud resume`.
struct ResumeOvercloud: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Go on with a run at the step where it stopped."
    )

    @OptionGroup var cloud: CloudOptions
    @OptionGroup var wait: WaitOptions

    @Argument(help: "Identifier of the run.")
    var deployment: String

    @Option(name: .long, help: "Directory whose hieradata and manifests replace the run's.")
    var from: String?

    func run() async throws {
        let correction = try from.map { try OvercloudDirectory(path: $0).correction }
        try await cloud.withClient { client in
            let resumed = try await client.call(
                "POST",
                .own,
                "/v1/deployments/\(deployment)/resume",
                body: correction ?? .object([:])
            )
            try await wait.follow(resumed, client: client, time: SystemTime())
        }
    }
}

/// `rdo overcloud show`.
struct ShowOvercloud: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a run: its steps, nodes, and what failed."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "Identifier of the run; without it, all runs are listed.")
    var deployment: String?

    func run() async throws {
        try await cloud.withClient { client in
            guard let deployment else {
                let answer = try await client.call("GET", .own, "/v1/deployments")
                for run in answer["deployments"].array {
                    Console.output.line(
                        "\(run["id"].string ?? "") \(run["name"].string ?? "") \(run["state"].string ?? "")"
                    )
                }
                return
            }
            let run = try await client.call("GET", .own, "/v1/deployments/\(deployment)")
            for line in DeploymentReport.lines(run) { Console.output.line(line) }
        }
    }
}

/// Options of commands that wait for a run.
struct WaitOptions: ParsableArguments {
    @Flag(name: .long, help: "Return at once, with the run's identifier.")
    var noWait = false

    @Option(name: .long, help: "Minutes to wait for the end of the run.")
    var minutes = 120

    var budget: Duration { .seconds(minutes * 60) }

    private static let pollEvery: Duration = .seconds(2)

    /// Shows the run until it is over.
    /// - Throws: `Fault` with the run's error when it does not end well.
    func follow(_ made: JSON, client: APIClient, time: some TimeSource) async throws {
        let id = made["id"].string ?? ""
        Console.output.line(id)
        guard !noWait else { return }
        let console = Console.progress
        var display = ProgressDisplay(isTerminal: console.isTerminal, width: console.width)
        var seen: [String: (state: String, since: Duration)] = [:]
        let start = time.elapsed
        while true {
            let run = try await client.call("GET", .own, "/v1/deployments/\(id)")
            let now = time.elapsed
            let lines = DeploymentReport.progress(run).map { node in
                if seen[node.name]?.state != node.state { seen[node.name] = (node.state, now) }
                var line = ProgressLine(
                    name: node.name,
                    state: node.state,
                    inState: now - (seen[node.name]?.since ?? now)
                )
                line.note = node.note
                return line
            }
            console.write(display.frame(lines, at: now))
            switch run["state"].string {
            case "running": break
            case "complete": return
            default:
                for line in DeploymentReport.lines(run) { console.line(line) }
                throw Fault(
                    .conflict,
                    run["last_error"].string ?? "cannot finish deployment \(id): see the log"
                )
            }
            guard now - start < budget else {
                throw Fault(
                    .timeout,
                    "cannot wait longer than \(minutes) min for deployment \(id); it goes on in the controller: see “rdo overcloud show \(id)”"
                )
            }
            try await time.sleep(for: Self.pollEvery)
        }
    }
}

/// How a run looks.
package enum DeploymentReport {
    /// One entry per node of the present step.
    package static func progress(_ run: JSON) -> [(name: String, state: String, note: String)] {
        guard let step = run["steps"].array.last else { return [] }
        let number = Int(step["number"].double ?? 0)
        return step["nodes"].array.map { node in
            let note =
                node["message"].string
                ?? node["waiting_for"].string.map { "waits for \($0)" } ?? ""
            return (
                node["name"].string ?? "", "step \(number) \(node["phase"].string ?? "")", note
            )
        }
    }

    /// The whole run, one line per step and node, with what failed.
    package static func lines(_ run: JSON) -> [String] {
        var lines = [
            "deployment \(run["name"].string ?? "") (\(run["id"].string ?? "")): \(run["state"].string ?? "")"
        ]
        for step in run["steps"].array {
            lines.append("step \(Int(step["number"].double ?? 0)) \(step["name"].string ?? "")")
            for node in step["nodes"].array {
                let tries = Int(node["tries"].double ?? 1)
                var line = "  \(node["name"].string ?? "") \(node["phase"].string ?? "")"
                if tries > 1 { line += " after \(tries) tries" }
                if let message = node["message"].string { line += ": \(message)" }
                lines.append(line)
                lines += node["lines"].array.compactMap(\.string).map { "    \($0)" }
            }
        }
        return lines
    }
}
