import ArgumentParser
import Basics
import FoundationEssentials

/// `rdo node …`: many machines at once.
struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Register, introspect and deploy many machines at once.",
        discussion: "For one machine at a time use “openstack baremetal node …”.",
        subcommands: [
            NodeImportCommand.self, NodeIntrospectCommand.self, NodeDeployCommand.self,
            NodePowerCommand.self, NodeMaintenanceCommand.self,
        ]
    )
}

/// Which nodes a command is about.
struct NodeChoice: ParsableArguments {
    @Flag(name: .long, help: "All nodes.")
    var all = false

    @Argument(help: "Names or identifiers of nodes.")
    var nodes: [String] = []

    func validate() throws {
        guard all != !nodes.isEmpty else {
            throw ValidationError("Name the nodes, or say --all.")
        }
    }
}

/// `rdo node import FILE`.
struct NodeImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Register the machines of an instackenv.json (or CSV) file.",
        discussion: "Machines whose MAC address or name is registered already are left as they are."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "The file.")
    var file: String

    func run() async throws {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw Fault(
                .notFound,
                "cannot read \(file): there is no such file, or you may not read it"
            )
        }
        let content = try NodeFile(text: String(decoding: data, as: UTF8.self), path: file)
        for problem in content.problems { Console.progress.line(problem) }
        let failed = try await cloud.withClient { client in
            var failed = content.problems.count
            let importer = NodeImporter(client: client)
            for entry in content.entries {
                do {
                    Console.output.line(try await importer.register(entry))
                } catch let fault as Fault {
                    failed += 1
                    Console.progress.line(fault.message)
                }
            }
            return failed
        }
        guard failed == 0 else {
            throw Fault(
                .invalid,
                "cannot import \(failed) of \(content.entries.count + content.problems.count) machines of \(file): see above"
            )
        }
    }
}

/// Registers machines, each once.
struct NodeImporter {
    let client: APIClient

    /// - Returns: a sentence on what was done.
    func register(_ entry: NodeEntry) async throws -> String {
        for mac in entry.macs {
            let found = try await client.call("GET", .baremetal, "/v1/ports/detail?address=\(mac)")
            if let owner = found["ports"].array.first?["node_uuid"].string {
                return "node \(entry.label) is registered already as \(owner)"
            }
        }
        let id: String
        if let known = try await existing(entry) {
            id = known
        } else {
            id = try await create(entry)
        }
        for mac in entry.macs {
            try await client.call(
                "POST",
                .baremetal,
                "/v1/ports",
                body: ["node_uuid": .text(id), "address": .text(mac), "pxe_enabled": true]
            )
        }
        return "node \(entry.label) registered as \(id)"
    }

    /// A node with the same name whose ports an earlier run could not make.
    private func existing(_ entry: NodeEntry) async throws -> String? {
        guard let name = entry.name else { return nil }
        do {
            return try await client.call("GET", .baremetal, "/v1/nodes/\(name)")["uuid"].string
        } catch let fault as Fault where fault.kind == .notFound {
            return nil
        }
    }

    private func create(_ entry: NodeEntry) async throws -> String {
        var driverInfo: [String: JSON] = [
            "ipmi_address": .text(entry.address), "ipmi_username": .text(entry.user),
            "ipmi_password": .text(entry.password.reveal()),
        ]
        if let port = entry.port { driverInfo["ipmi_port"] = .number(Double(port)) }
        var node: [String: JSON] = [
            "driver": "ipmi", "driver_info": .object(driverInfo),
            "properties": .object(entry.properties.mapValues { .text($0) }),
        ]
        if let name = entry.name { node["name"] = .text(name) }
        let answer = try await client.call("POST", .baremetal, "/v1/nodes", body: .object(node))
        guard let id = answer["uuid"].string else {
            throw Fault(.unavailable, "cannot import node \(entry.label): the answer has no uuid")
        }
        return id
    }
}

/// `rdo node introspect`.
struct NodeIntrospectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "introspect",
        abstract: "Look into machines; with --provide make them available for deployment."
    )

    @OptionGroup var cloud: CloudOptions
    @OptionGroup var choice: NodeChoice

    @Flag(name: .long, help: "Clean the machines afterwards and make them available.")
    var provide = false

    @Option(name: .long, help: "Minutes to wait for all of them (1 to 1440).")
    var wait = 30

    func run() async throws {
        let steps: [NodeTask.Step] = provide ? [.manage, .inspect, .provide] : [.manage, .inspect]
        try await cloud.withClient { client in
            let work = NodeWork(client: client, time: SystemTime(), budget: .seconds(60 * wait))
            try await work.run(try await work.choose(choice.nodes), steps: steps)
        }
    }
}

/// `rdo node deploy`.
struct NodeDeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Write an image to machines and start them from it."
    )

    @OptionGroup var cloud: CloudOptions
    @OptionGroup var choice: NodeChoice

    @Option(name: .long, help: "Name or identifier of the image.")
    var image: String

    @Flag(name: .customLong("wait"), help: "Wait until the machines are active.")
    var waits = false

    @Option(name: .long, help: "Minutes to wait for all of them (1 to 1440).")
    var minutes = 60

    func run() async throws {
        try await cloud.withClient { client in
            let image = try await ImageLookup(client: client).identifier(of: image)
            let work = NodeWork(client: client, time: SystemTime(), budget: .seconds(60 * minutes))
            let nodes = try await work.choose(choice.nodes)
            for node in nodes where node.state != "active" {
                try await client.call(
                    "PATCH",
                    .baremetal,
                    "/v1/nodes/\(node.id)",
                    body: [
                        ["op": "add", "path": "/instance_info/image_source", "value": .text(image)]
                    ],
                    contentType: "application/json-patch+json"
                )
            }
            if waits {
                try await work.run(nodes, steps: [.deploy])
            } else {
                for node in nodes where node.state != "active" {
                    try await client.call(
                        "PUT",
                        .baremetal,
                        "/v1/nodes/\(node.id)/states/provision",
                        body: ["target": "active"]
                    )
                    Console.output.line("node \(node.name): deployment is asked for")
                }
            }
        }
    }
}
