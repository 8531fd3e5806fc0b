import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// schemathesis against a running controller.
///
/// It sends requests of every shape that `/openapi.json` allows, and of
/// many that it does not. No answer may be one that the document does not name, or have another shape.
@Suite struct ContractClientTests {
    /// The commit is no seed here: what a run finds must be found by everybody.
    private static let seed = "20261125"
    private static let secondsMax = 150

    /// `TEST_CONTRACT_VENV`, as `packaging/check` sets it.
    private static let program: String = {
        let folder = getenv("TEST_CONTRACT_VENV").map { String(cString: $0) }
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return (folder ?? root + "/.build/contract") + "/bin/schemathesis"
    }()

    private static let checks = [
        "not_a_server_error", "status_code_conformance", "content_type_conformance",
        "response_headers_conformance", "response_schema_conformance", "ignored_auth",
        "unsupported_method", "missing_required_header",
    ]

    private struct Made: Decodable {
        var uuid: String
    }

    /// Makes one object of each kind, so that paths lead somewhere, and says which parameter names it.
    private func lay(_ client: OpenStackClient) async throws -> String {
        let (first, text) = ("baremetal", "CUSTOM_GOLD")
        try await client.require(
            first,
            "node",
            "create",
            "--driver",
            "fake-hardware",
            "--name",
            "c0",
            "--resource-class",
            "gold"
        )
        try await client.require(first, "node", "manage", "c0", "--wait", "60")
        let port = try await client.json(
            Made.self,
            first,
            "port",
            "create",
            "52:54:00:c0:00:01",
            "--node",
            "c0"
        )
        let group = try await client.json(
            Made.self,
            first,
            "port",
            "group",
            "create",
            "--node",
            "c0",
            "--name",
            "g0"
        )
        let chassis = try await client.json(Made.self, first, "chassis", "create")
        let runbook = try await client.json(
            Made.self,
            first,
            "runbook",
            "create",
            "--name",
            text,
            "--steps",
            #"[{"interface":"power","step":"reboot","args":{},"order":1}]"#
        )
        let objects = [
            ("/v1/ports", port.uuid), ("/v1/portgroups", group.uuid),
            ("/v1/chassis", chassis.uuid), ("/v1/runbooks", runbook.uuid),
            ("/identity/v3/roles", "reader"), ("/identity/v3/domains", "default"),
        ]
        return objects.map { path, id in
            """

            [[operations]]
            include-path-regex = "^\(path)/\\\\{id\\\\}"
            parameters = { "path.id" = "\(id)" }

            """
        }.joined()
    }

    @Test func `no request makes it answer what the document does not say`() async throws {
        let controller = try await RunningController()
        try await controller.start()
        let client = OpenStackClient(controller: controller)
        let objects = try await lay(client)
        struct Token: Decodable { var id: String }
        let token = try await client.json(Token.self, "token", "issue")
        let scripts = "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let folder = controller.folder.path
        // The token goes by the environment, never by the command line.
        try writeText(
            """
            hooks = "\(scripts)/Scripts/contract_hooks.py"
            headers = { X-Auth-Token = "${CONTRACT_TOKEN}" }
            parameters = { "path.node" = "c0", "path.driver" = "fake-hardware" }
            \(objects)
            """,
            to: folder + "/schemathesis.toml",
            mode: 0o600
        )
        let result = try await Tool.run(
            Self.program,
            [
                "--config-file", folder + "/schemathesis.toml", "run",
                controller.url + "/openapi.json", "--tls-verify", controller.authority, "--seed",
                Self.seed, "--phases", "coverage,fuzzing", "--max-examples", "8", "--max-time",
                String(Self.secondsMax), "--no-shrink", "--continue-on-failure", "--no-color",
                "--warnings", "off", "--generation-database", "none", "--checks",
                Self.checks.joined(separator: ","),
            ],
            environment: [
                "CONTRACT_TOKEN": token.id, "PYTHONDONTWRITEBYTECODE": "1", "HOME": folder,
            ],
            directory: folder,
            budget: .seconds(Self.secondsMax + 60),
            time: SystemTime()
        )
        let words = result.output.split(separator: "\n").suffix(300).joined(separator: "\n")
        #expect(result.exitCode == 0, "\(words) \(result.errorOutput)")
        #expect(result.output.contains("Tested: "), "\(words)")
        #expect(try await controller.stop())
    }
}
