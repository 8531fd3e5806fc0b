import ArgumentParser
import Basics
import Protocol

/// `rdo node power TARGET`.
struct NodePowerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "power",
        abstract: "Switch machines on or off, or restart them."
    )

    /// What people type, and what Ironic calls it.
    enum Target: String, ExpressibleByArgument, CaseIterable {
        case on, off, reboot
        case softOff = "soft-off"
        case softReboot = "soft-reboot"

        var word: String {
            switch self {
            case .on: "power on"
            case .off: "power off"
            case .reboot: "rebooting"
            case .softOff: "soft power off"
            case .softReboot: "soft rebooting"
            }
        }
    }

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "on, off, reboot, soft-off or soft-reboot.")
    var target: Target

    @OptionGroup var choice: NodeChoice

    func run() async throws {
        try await cloud.withClient { client in
            let job = BulkJobView.request(
                "power",
                ["target": .text(target.word)],
                nodes: choice.all ? nil : choice.nodes
            )
            try await BulkWork(client: client, time: SystemTime()).run(job)
        }
    }
}

/// `rdo node maintenance on|off`.
struct NodeMaintenanceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maintenance",
        abstract: "Take machines out of the controller's hands, or give them back."
    )

    enum Wish: String, ExpressibleByArgument, CaseIterable {
        case on, off
    }

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "on or off.")
    var wish: Wish

    @OptionGroup var choice: NodeChoice

    @Option(name: .long, help: "Why, for those who see the node.")
    var reason: String?

    func run() async throws {
        try await cloud.withClient { client in
            var request: [String: JSON] = ["maintenance": .bool(wish == .on)]
            if let reason { request["reason"] = .text(reason) }
            let job = BulkJobView.request(
                "maintenance",
                .object(request),
                nodes: choice.all ? nil : choice.nodes
            )
            try await BulkWork(client: client, time: SystemTime()).run(job)
        }
    }
}

/// A job over many nodes, as `/v1/bulk` shows it.
struct BulkJobView {
    let id: String
    let state: String
    /// A line for each node that was not taken.
    let refusals: [String]
    let accepted: Int
    let total: Int
    let nextPage: String?

    init(_ json: JSON) {
        id = json["uuid"].string ?? ""
        state = json["state"].string ?? ""
        accepted = json["progress"]["accepted"].double.map { Int($0) } ?? 0
        total = json["progress"]["total"].double.map { Int($0) } ?? 0
        refusals = json["results"].array.compactMap { row in
            guard row["result"].string != "accepted" else { return nil }
            let why = row["message"].string ?? "it was not asked: the job is over"
            return "node \(row["name"].string ?? "?"): \(why)"
        }
        nextPage = json["next"].string.flatMap { link in
            // The address without its scheme, host and port.
            let parts = link.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: true)
            return parts.last.map { "/\($0)" }
        }
    }

    /// What makes a job; without `nodes` it is about all.
    static func request(_ action: String, _ request: JSON, nodes: [String]?) -> JSON {
        var body: [String: JSON] = ["action": .text(action), "request": request]
        if let nodes {
            body["nodes"] = .list(nodes.map { .text($0) })
        } else {
            body["filter"] = .object([:])
        }
        return .object(body)
    }
}

/// Makes a job and follows it to its end.
struct BulkWork {
    let client: APIClient
    let time: any TimeSource

    private static let pollEvery: Duration = .milliseconds(500)

    /// - Throws: `Fault` that says how many nodes were not taken, after a line for each.
    func run(_ request: JSON) async throws {
        var job = BulkJobView(
            try await client.call("POST", .baremetal, "/v1/bulk", body: request)
        )
        let path = "/v1/bulk/\(job.id)"
        while job.state == "running" {
            try await time.sleep(for: Self.pollEvery)
            job = BulkJobView(try await client.call("GET", .baremetal, path))
        }
        var page = BulkJobView(try await client.call("GET", .baremetal, path))
        while true {
            for line in page.refusals { Console.progress.line(line) }
            guard let next = page.nextPage else { break }
            page = BulkJobView(try await client.call("GET", .baremetal, next))
        }
        Console.output.line("\(job.accepted) of \(job.total) nodes: asked for")
        guard job.accepted == job.total else {
            throw Fault(
                .invalid,
                "cannot do it for \(job.total - job.accepted) of \(job.total) nodes: see above, or openstack baremetal node show NAME"
            )
        }
    }
}
