import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// One command of the client, and what it must come to.
struct ClientStep: Sendable {
    let arguments: [String]
    let isRefused: Bool
    /// What one of the printed rows must hold; of a refusal, what the message must hold.
    let row: [String: String]
    let words: String
    /// What no row may hold.
    let absent: [String: String]
    /// Whether the command is repeated for a while until a row holds `row`.
    var waits = false
    /// Whether it must print no row at all.
    var isEmpty = false

    /// A command that works; with `row` it is asked for JSON, of which one row must hold that.
    static func works(
        _ line: String,
        _ row: [String: String] = [:],
        without absent: [String: String] = [:]
    ) -> ClientStep {
        let format = row.isEmpty && absent.isEmpty ? [] : ["-f", "json"]
        return ClientStep(
            arguments: words(line) + format,
            isRefused: false,
            row: row,
            words: "",
            absent: absent
        )
    }

    /// A command that is repeated until one row of what it prints holds `row`: the work takes a moment.
    static func reaches(_ line: String, _ row: [String: String]) -> ClientStep {
        var step = works(line, row)
        step.waits = true
        return step
    }

    /// A command that works and has nothing to show.
    static func showsNothing(_ line: String) -> ClientStep {
        var step = works(line, without: ["": ""])
        step.isEmpty = true
        return step
    }

    /// A command that must be refused with these words.
    static func refused(_ line: String, _ message: String) -> ClientStep {
        ClientStep(
            arguments: words(line),
            isRefused: true,
            row: [:],
            words: message,
            absent: [:]
        )
    }

    private static func words(_ line: String) -> [String] {
        ("baremetal " + line).split(separator: " ").map {
            String($0).replacing("~", with: " ")
        }
    }
}

/// Each `openstack baremetal` command of the pinned client against a running controller.
@Suite struct BaremetalClientTests {
    struct Order: Encodable {
        var arguments: [String]
        var until: [String: String]
    }

    struct Outcome: Decodable {
        var code: Int
        var errors: String
        var rows: [[String: String]]
    }

    struct Report: Decodable {
        var commands: [String]
        var outcomes: [Outcome]
    }

    private static let root =
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    @Test func `each command of the client does its work or is refused in Ironic's words`()
        async throws
    {
        let controller = try await RunningController()
        try await controller.start()
        try writeText(
            """
            {"chassis": [{"description": "from a file", "nodes": [
              {"driver": "fake-hardware", "name": "filed", "ports": [{"address": "52:54:00:c0:00:f1"}]}]}]}
            """,
            to: controller.folder.path + "/machines.json",
            mode: 0o600
        )
        let host = (readText("/proc/sys/kernel/hostname") ?? "").split(separator: "\n").first ?? ""
        let steps = ClientStep.all(folder: controller.folder.path, host: String(host))
        let report = try await run(
            steps.map { Order(arguments: $0.arguments, until: $0.waits ? $0.row : [:]) },
            on: controller
        )
        #expect(report.outcomes.count == steps.count)
        for (step, outcome) in zip(steps, report.outcomes) { check(step, outcome) }
        checkCoverage(report.commands, steps)
        #expect(try await controller.stop())
    }

    func run(
        _ orders: [Order],
        on controller: RunningController
    ) async throws -> Report {
        let client = OpenStackClient.program
        let folder = client.split(separator: "/").dropLast().map { "/\($0)" }.joined()
        let result = try await Tool.run(
            folder + "/python3",
            [Self.root + "/Tests/CompatibilityTests/Scripts/commands.py"],
            environment: [
                "OS_CLIENT_CONFIG_FILE": controller.cloudsFile, "OS_CLOUD": "rdo", "NO_COLOR": "1",
                "HOME": controller.folder.path, "PATH": "/usr/bin:/bin",
            ],
            input: Array(try JSONEncoder().encode(orders)),
            budget: .seconds(600),
            outputMax: 8 << 20,
            time: SystemTime()
        )
        guard result.exitCode == 0 else {
            throw Fault(.internalError, "cannot run the client: \(result.lastWords)")
        }
        return try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
    }

    func check(_ step: ClientStep, _ outcome: Outcome) {
        let line = "openstack " + step.arguments.joined(separator: " ")
        if step.isRefused {
            #expect(outcome.code != 0, "\(line)")
            #expect(outcome.errors.contains(step.words), "\(line): \(outcome.errors)")
            return
        }
        #expect(outcome.code == 0, "\(line): \(outcome.errors)")
        func holds(_ row: [String: String], _ wanted: [String: String]) -> Bool {
            wanted.allSatisfy { row[$0.key] == $0.value }
        }
        if !step.row.isEmpty {
            #expect(
                outcome.rows.contains { holds($0, step.row) },
                "\(line): \(step.row) is not in \(outcome.rows.prefix(20))"
            )
        }
        if step.isEmpty { #expect(outcome.rows.isEmpty, "\(line): \(outcome.rows)") }
        if !step.absent.isEmpty {
            #expect(!outcome.rows.contains { holds($0, step.absent) }, "\(line)")
        }
    }

    /// Each command is run, and stands in the README's table.
    private func checkCoverage(_ commands: [String], _ steps: [ClientStep]) {
        #expect(commands.count == 118)
        let lines = steps.map { $0.arguments.joined(separator: " ") + " " }
        let readme = readText(Self.root + "/Controller/Baremetal/README.md") ?? ""
        for command in commands {
            #expect(lines.contains { $0.hasPrefix(command + " ") }, "\(command) is not run")
            let name = command.dropFirst("baremetal ".count)
            #expect(readme.contains("| `\(name)` |"), "\(command) is not in the README's table")
        }
    }
}
