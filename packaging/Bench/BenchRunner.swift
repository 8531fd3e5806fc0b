import Basics
import FoundationEssentials
import Glibc
import HostTools

/// Runs the sections one after the other.
package struct BenchRunner {
    private let options: BenchOptions
    private var report: Report

    package init(_ options: BenchOptions) async {
        self.options = options
        report = Report(head: await MachineFacts.lines(options))
    }

    /// Runs everything that was asked for.
    ///
    /// A section that cannot be measured here is named in the report and stops nothing.
    package consuming func run() async -> Report {
        for section in options.sections {
            do {
                try await run(section)
            } catch {
                skip(section.rawValue, error)
            }
        }
        if options.peers {
            do {
                try await runPeers()
            } catch {
                skip("peers", error)
            }
        }
        return report
    }

    private mutating func skip(_ name: String, _ error: any Error) {
        Console.line("  not measured: \(error)")
        report.skipped.append("\(name): \(error)")
        report.isBroken = true
    }

    private mutating func add(_ figures: [Figure]) {
        for figure in figures {
            Console.line("  \(figure.name): \(number(figure.median)) \(figure.unit)")
        }
        report.figures += figures
    }

    private mutating func run(_ section: BenchOptions.Section) async throws {
        Console.line("section \(section.rawValue)")
        switch section {
        case .api:
            let server = try await ControllerServer.start(options)
            add(try await APISection(runs: options.runs, scale: .ours).run(on: server))
            try await server.stop()
        case .deploy:
            let server = try await ControllerServer.start(options)
            let section = DeploySection(runs: options.runs, sizes: [.hundred, .thousand])
            add(try await section.run(on: server))
            try await server.stop()
        case .bmc: add(try await BMCSection(options: options).run())
        case .agents: add(try await AgentsSection(options: options).run())
        case .agent:
            let (figures, skipped) = try await AgentProgramSection(options: options).run()
            add(figures)
            report.skipped += skipped
        case .image:
            let found = try await ImageSection(options: options).run()
            add(found.figures)
            report.comparisons += found.comparisons
            report.head += found.head
            report.skipped += found.skipped
        }
    }

    private mutating func runPeers() async throws {
        let sections = options.sections.filter { $0 == .api || $0 == .deploy }
        for mode in IronicServer.Mode.allCases {
            for section in sections {
                Console.line("peer: Ironic, \(mode.words), section \(section.rawValue)")
                // As with ours, each section begins with an empty database.
                let server = try await IronicServer.start(mode, options)
                let line = "peer: \(server.version)"
                if !report.head.contains(line) { report.head.append(line) }
                do {
                    compare(try await measure(section, on: server), mode)
                } catch {
                    // It names its processes anew, so that packaging/bench does not find them.
                    try await server.stop()
                    throw error
                }
                try await server.stop()
            }
        }
    }

    private func measure(
        _ section: BenchOptions.Section,
        on server: IronicServer
    ) async throws -> [Figure] {
        guard section == .deploy else {
            return try await APISection(runs: options.runs, scale: .peer).run(on: server)
        }
        return try await DeploySection(runs: options.runs, sizes: [.peers]).run(on: server)
    }

    private mutating func compare(_ figures: [Figure], _ mode: IronicServer.Mode) {
        for figure in figures {
            Console.line("  \(figure.name): \(number(figure.median)) \(figure.unit)")
            var peer = figure
            peer.name += " (Ironic, \(mode.words))"
            report.comparisons.append(
                Report.Comparison(
                    key: figure.key,
                    peer: peer,
                    incomparable: mode == .open && !figure.key.hasPrefix("api.memory")
                        ? "it asks for no password and no TLS" : nil
                )
            )
        }
    }
}
