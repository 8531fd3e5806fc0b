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
        abstract: "Make a reader's key.",
        subcommands: [StreamKeyCreateCommand.self]
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
