import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools

/// The official `openstack` command line, as `packaging/requirements.txt` pins it.
struct OpenStackClient {
    let controller: RunningController

    /// Where the client is installed: `TEST_CLIENT_VENV`, as `packaging/check` sets it, or quickstart's.
    static let program: String = {
        let folder = getenv("TEST_CLIENT_VENV").map { String(cString: $0) }
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let places = [folder, root + "/.build/client", root + "/.build/quickstart/venv"]
        return places.compactMap { $0.map { $0 + "/bin/openstack" } }
            .first { Tool.locate($0) != nil } ?? "/nonexistent/openstack"
    }()

    /// Runs the client.
    func run(_ arguments: [String]) async throws -> ToolResult {
        try await Tool.run(
            Self.program,
            arguments,
            environment: [
                "OS_CLIENT_CONFIG_FILE": controller.cloudsFile, "OS_CLOUD": "rdo", "NO_COLOR": "1",
            ],
            budget: .seconds(120),
            time: SystemTime()
        )
    }

    /// Runs the client, which must succeed, and reads what it prints as JSON.
    func json<Value: Decodable>(
        _ type: Value.Type = Value.self,
        _ arguments: String...
    ) async throws -> Value {
        let result = try await run(arguments + ["-f", "json"])
        guard result.exitCode == 0 else {
            throw Fault(
                .internalError,
                "cannot run openstack \(arguments.joined(separator: " ")): \(result.lastWords)"
            )
        }
        return try JSONDecoder().decode(type, from: Data(result.output.utf8))
    }

    /// Runs the client, which must succeed.
    func require(_ arguments: String...) async throws {
        let result = try await run(arguments)
        guard result.exitCode == 0 else {
            throw Fault(
                .internalError,
                "cannot run openstack \(arguments.joined(separator: " ")): \(result.lastWords)"
            )
        }
    }
}
