import ArgumentParser
import Bench

/// `packaging/bench` starts this after it has built everything.
@main
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure the controller and the agent, and their peers beside them.",
        discussion: """
            Everything is started here, on loopback and temporary folders, and taken away again. \
            Sections: api, deploy, bmc, agents, agent, image.
            """
    )

    @Option(help: "How often each thing is measured; medians are shown.")
    var runs = 5

    @Option(help: "Only this section; may be given several times.")
    var only: [String] = []

    @Flag(help: "Install and measure Ironic in the same call.")
    var peers = false

    @Option(help: "Also write the figures to this file, as JSON.")
    var json: String?

    @Option(help: "Where temporary files go; the section image needs 8 GB.")
    var directory = "/tmp"

    @Option(help: "The work tree; packaging/bench gives it.")
    var repository: String

    func run() async throws {
        guard (1...99).contains(runs) else {
            throw ValidationError("--runs is a number from 1 to 99.")
        }
        var options = BenchOptions(repository: repository)
        options.runs = runs
        options.peers = peers
        options.directory = directory
        if !only.isEmpty {
            options.sections = try only.map { name in
                guard let section = BenchOptions.Section(rawValue: name) else {
                    throw ValidationError(
                        "There is no section \(name): choose api, deploy, bmc, agents, agent or image."
                    )
                }
                return section
            }
        }
        let report = await BenchRunner(options).run()
        Console.line("\n" + report.markdown)
        if let json { try report.write(to: json) }
        if report.isBroken { throw ExitCode.failure }
    }
}
