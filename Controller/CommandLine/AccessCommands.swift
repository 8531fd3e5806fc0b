import ArgumentParser
import Basics

/// `rdo stream …`: readers of the live stream of metrics and events.
struct StreamCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Keys for programs that read the live stream of metrics and events.",
        subcommands: [StreamKeyCommand.self]
    )
}

/// `rdo stream key …`.
struct StreamKeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Make, list and revoke readers' keys.",
        subcommands: [
            StreamKeyCreateCommand.self, StreamKeyListCommand.self, StreamKeyRevokeCommand.self,
        ]
    )
}

/// `rdo stream key create NAME`.
struct StreamKeyCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a key pair for one reader and print it once, as JSON."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "The reader's name.")
    var name: String

    func run() async throws {
        try await cloud.withClient { client in
            let answer = try await client.call(
                "POST",
                .own,
                "/v1/stream/keys",
                body: ["name": .text(name)]
            )
            Console.output.line(EventLine.json(answer))
        }
    }
}

/// `rdo stream key list`.
struct StreamKeyListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List readers.")

    @OptionGroup var cloud: CloudOptions

    func run() async throws {
        try await cloud.withClient { client in
            for key in try await client.call("GET", .own, "/v1/stream/keys")["keys"].array {
                let fields = ["name", "public_key", "created"].map { key[$0].string ?? "" }
                Console.output.line(fields.joined(separator: "  "))
            }
        }
    }
}

/// `rdo stream key revoke NAME`.
struct StreamKeyRevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Revoke a reader's key; its connections end."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "The reader's name.")
    var name: String

    func run() async throws {
        try await cloud.withClient { client in
            try await client.call("DELETE", .own, "/v1/stream/keys/\(name)")
            Console.output.line("stream key \(name) is revoked")
        }
    }
}

/// `rdo reader …`: credentials with which Prometheus scrapes.
struct ReaderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reader",
        abstract: "Credentials that read metrics and nothing else.",
        subcommands: [ReaderCreateCommand.self, ReaderRevokeCommand.self]
    )
}

/// `rdo reader create NAME`.
struct ReaderCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a credential and print it once; Prometheus sends it as a bearer token."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "Its name.")
    var name: String

    func run() async throws {
        try await cloud.withClient { client in
            let answer = try await client.call(
                "POST",
                .own,
                "/v1/readers",
                body: ["name": .text(name)]
            )
            Console.output.line(answer["credential"].string ?? "")
        }
    }
}

/// `rdo reader revoke NAME`.
struct ReaderRevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Revoke a credential."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "Its name.")
    var name: String

    func run() async throws {
        try await cloud.withClient { client in
            try await client.call("DELETE", .own, "/v1/readers/\(name)")
            Console.output.line("credential \(name) is revoked")
        }
    }
}

/// `rdo agent …`: the keys of agents.
struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Show agents' keys and accept those that wait for an operator.",
        subcommands: [AgentListCommand.self, AgentAcceptCommand.self]
    )
}

/// `rdo agent list`.
struct AgentListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List keys: node, role, state, fingerprint, MAC, address."
    )

    @OptionGroup var cloud: CloudOptions

    func run() async throws {
        try await cloud.withClient { client in
            for key in try await client.call("GET", .own, "/v1/agents")["agents"].array {
                let fields = ["node", "role", "state", "fingerprint", "mac", "address"].map {
                    key[$0].string ?? ""
                }
                Console.output.line(fields.joined(separator: "  "))
            }
        }
    }
}

/// `rdo agent accept FINGERPRINT`.
struct AgentAcceptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "accept",
        abstract: "Accept a key; compare the fingerprint with the machine's console first."
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "The fingerprint.")
    var fingerprint: String

    func run() async throws {
        try await cloud.withClient { client in
            try await client.call(
                "POST",
                .own,
                "/v1/agents/accept",
                body: ["fingerprint": .text(fingerprint)]
            )
            Console.output.line("the key \(fingerprint) is accepted")
        }
    }
}
