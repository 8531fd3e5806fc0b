import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// Every identity command of the unmodified `openstack` command line against one running controller.
///
/// The commands run one after another in one process of the client, by its own entry point: starting Python
/// for each of them would take minutes. `{name.field}` in an argument is what an earlier command showed.
@Suite struct IdentityClientTests {
    /// A value that the client printed as JSON.
    private enum Value: Decodable, Equatable, CustomStringConvertible {
        case text(String)
        case list([Value])
        case object([String: Value])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            // Codable offers no other way to ask.
            if let value = try? container.decode([Value].self) {
                self = .list(value)
            } else if let value = try? container.decode([String: Value].self) {
                self = .object(value)
            } else if let value = try? container.decode(Bool.self) {
                self = .text(String(value))
            } else if let value = try? container.decode(Int.self) {
                self = .text(String(value))
            } else if let value = try? container.decode(String.self) {
                self = .text(value)
            } else {
                self = .text("null")
            }
        }

        var description: String {
            switch self {
            case .text(let text): text
            case .list(let values): "[" + values.map(\.description).joined(separator: ", ") + "]"
            case .object(let members):
                members.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                    .joined(separator: ", ")
            }
        }

        subscript(name: String) -> String? {
            guard case .object(let members) = self else { return nil }
            return members[name]?.description
        }
    }

    fileprivate struct Line: Encodable {
        var args: [String]
        var members: [String: String]
        var save: String?
    }

    private struct Result: Decodable {
        var code: Int
        var out: String
        var err: String
        /// What the command must show, with what earlier ones showed filled in.
        var members: [String: String]
    }

    /// Runs the client's own entry point once per line of its input.
    private static let driver = """
        import contextlib, io, json, logging, re, sys
        from openstackclient import shell
        from openstackclient.common.clientmanager import ClientManager
        from osc_lib.clientmanager import ClientCache

        saved = {}

        def fill(text):
            return re.sub(r"\\{(\\w+)\\.([\\w ]+)\\}", lambda m: str(saved[m[1]][m[2]]), text)

        for line in sys.stdin:
            step = json.loads(line)
            out, err = io.StringIO(), io.StringIO()
            logging.getLogger().handlers.clear()
            # The client keeps what it signed in with for as long as its process lives.
            for owner in ClientManager.__mro__:
                for kept in vars(owner).values():
                    if isinstance(kept, ClientCache):
                        kept._handle = None
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    args = [fill(arg) for arg in step["args"]]
                    code = shell.OpenStackShell().run(args)
                if step.get("save"):
                    shown = json.loads(out.getvalue())
                    saved[step["save"]] = shown[0] if isinstance(shown, list) else shown
            except SystemExit as end:
                code = end.code
            except Exception as error:
                code, _ = 99, err.write(repr(error))
            members = {name: fill(text) for name, text in step["members"].items()}
            result = {"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}
            result["members"] = members
            print(json.dumps(result), flush=True)
        """

    private func clouds(_ controller: RunningController) -> String {
        func cloud(_ name: String, _ auth: [String], type: String = "password") -> String {
            """
              \(name):
                auth_type: \(type)
                auth:
                  auth_url: \(controller.url)/identity/v3
            \(auth.map { "      " + $0 }.joined(separator: "\n"))
                cacert: \(controller.authority)
                region_name: RegionOne

            """
        }
        let admin = [
            "username: admin", "password: \"\(controller.password.reveal())\"",
            "user_domain_name: Default",
        ]
        let project = ["project_name: admin", "project_domain_name: Default"]
        func user(_ name: String, _ more: String...) -> [String] {
            ["username: \(name)", "password: secret", "user_domain_name: shop"] + more
        }
        return "clouds:\n" + cloud("admin", admin + project)
            + cloud("system", admin + ["system_scope: all"]) + cloud("plain", admin)
            + cloud("boss", user("boss", "domain_name: shop"))
            + cloud("ann", user("ann", "project_name: web", "project_domain_name: shop"))
            + cloud("token", project, type: "v3token")
            + cloud("app", [], type: "v3applicationcredential")
    }

    private func run(_ steps: [IdentityStep], _ controller: RunningController) async throws
        -> [Result]
    {
        let folder = controller.folder.path
        try writeText(Self.driver, to: folder + "/driver.py", mode: 0o600)
        try writeText(clouds(controller), to: folder + "/identity.yaml", mode: 0o600)
        let encoder = JSONEncoder()
        let lines = try steps.map { step in
            String(decoding: try encoder.encode(step.line), as: UTF8.self) + "\n"
        }
        let openstack = OpenStackClient.program
        let python = openstack.dropLast("openstack".count) + "python3"
        let result = try await Tool.run(
            String(python),
            [folder + "/driver.py"],
            environment: [
                "OS_CLIENT_CONFIG_FILE": folder + "/identity.yaml", "NO_COLOR": "1",
                "COLUMNS": "200", "HOME": folder,
            ],
            input: Array(lines.joined().utf8),
            budget: .seconds(600),
            time: SystemTime()
        )
        let results = try result.output.split(separator: "\n").map { line in
            try JSONDecoder().decode(Result.self, from: Data(line.utf8))
        }
        #expect(results.count == steps.count, "\(result.lastWords)")
        return results
    }

    private func check(_ step: IdentityStep, _ result: Result) {
        let told =
            "openstack \(step.command) as \(step.cloud): \(result.code) \(result.out.suffix(500)) \(result.err.suffix(500))"
        if case .refused(let words) = step.outcome {
            #expect(result.code != 0 && result.err.contains(words), "\(told)")
            return
        }
        #expect(result.code == 0, "\(told)")
        // What is no JSON shows nothing, and then the expectation fails.
        let value = try? JSONDecoder().decode(Value.self, from: Data(result.out.utf8))
        switch step.outcome {
        case .done, .refused: break
        case .says(let words): #expect(result.err.contains(words), "\(told)")
        case .shows:
            for (name, expected) in result.members.sorted(by: { $0.key < $1.key }) {
                #expect(value?[name] == expected, "\(name) of \(told)")
            }
        case .lists(let column, let has, let hasNot):
            var rows: [String] = []
            if case .list(let values) = value { rows = values.compactMap { $0[column] } }
            for text in has { #expect(rows.contains(text), "\(text) in \(told)") }
            for text in hasNot { #expect(!rows.contains(text), "\(text) in \(told)") }
        }
    }

    @Test func `every identity command does what it says`() async throws {
        let controller = try await RunningController()
        try await controller.start()
        let steps = IdentityCommands.all
        let results = try await run(steps, controller)
        for (step, result) in zip(steps, results) { check(step, result) }
        try await checkCoverage(steps)
        #expect(try await controller.stop())
    }

    /// Each of the client's commands is run, or belongs to what README.md says is not offered.
    private func checkCoverage(_ steps: [IdentityStep]) async throws {
        let python = OpenStackClient.program.dropLast("openstack".count) + "python3"
        let listed = try await Tool.run(
            String(python),
            [
                "-c",
                """
                import importlib.metadata as m
                for point in m.entry_points(group="openstack.identity.v3"):
                    print(point.name.replace("_", " "))
                """,
            ],
            budget: .seconds(60),
            time: SystemTime()
        )
        let commands = Set(listed.output.split(separator: "\n").map(String.init))
        #expect(commands.count == 128)
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let rows = (readText(root + "/Controller/Identity/README.md") ?? "").split(separator: "\n")
        let families = rows.filter { $0.hasPrefix("|") && $0.contains("not offered") }.flatMap {
            $0.split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        }
        #expect(families.count == 14)
        let lines = steps.map(\.bareCommand)
        for command in commands.sorted() {
            let isRun = lines.contains { ($0 + " ").hasPrefix(command + " ") }
            let isRefused = families.contains { command.hasPrefix($0 + " ") }
            #expect(isRun || isRefused, "\(command) is neither run nor said to be missing")
        }
        for family in families {
            let step = steps.first { $0.bareCommand.hasPrefix(family + " ") }
            guard case .refused? = step?.outcome else {
                Issue.record("\(family) is said to be missing, and nothing tries it")
                continue
            }
        }
    }
}

extension IdentityStep {
    /// The command without the options before it.
    fileprivate var bareCommand: String {
        var words = command.split(separator: " ")[...]
        while words.first?.hasPrefix("--") == true { words = words.dropFirst(2) }
        return words.joined(separator: " ")
    }

    private var members: [String: String] {
        if case .shows(let members) = outcome { return members }
        return [:]
    }

    private var isJSON: Bool {
        switch outcome {
        case .done: name != nil
        case .refused, .says: false
        case .shows, .lists: true
        }
    }

    /// As the driver reads it; a word in quotes keeps its blanks.
    fileprivate var line: IdentityClientTests.Line {
        let words = command.split(separator: "'", omittingEmptySubsequences: false).enumerated()
            .flatMap { index, part in
                index % 2 == 1 ? [String(part)] : part.split(separator: " ").map(String.init)
            }
        return IdentityClientTests.Line(
            args: ["--os-cloud", cloud] + words + (isJSON ? ["-f", "json"] : []),
            members: members,
            save: name
        )
    }
}
