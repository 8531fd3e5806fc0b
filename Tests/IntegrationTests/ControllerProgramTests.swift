import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// The real `rdo-controller`, its files and sockets.
@Suite struct ControllerProgramTests {
    private func run(_ arguments: [String], environment: [String: String]? = nil) async throws
        -> ToolResult
    {
        try await Tool.run(
            try BuiltProgram.path("rdo-controller"),
            arguments,
            environment: environment,
            budget: .seconds(30),
            time: SystemTime()
        )
    }

    @Test func `it serves, stops when asked to, and serves again with the same data`() async throws
    {
        let controller = try await RunningController()
        try await controller.start()
        let first = try await controller.curl([], "/")
        #expect(first.output.contains("OpenStack Ironic API"))
        #expect(try await controller.stop())
        try await controller.start()
        #expect(try await controller.curl([], "/identity/v3").output.contains("v3"))
        #expect(try await controller.stop())
    }

    @Test func `nothing but discovery answers without a token`() async throws {
        let controller = try await RunningController()
        try await controller.start()
        for path in [
            "/v1/nodes", "/v1/events", "/v1/deployments", "/image/v2/images", "/metrics",
            "/no/such/path",
        ] {
            let answer = try await controller.curl(
                ["--output", "/dev/null", "--write-out", "%{http_code}"],
                path
            )
            #expect(answer.output == "401", "\(path)")
        }
        #expect(try await controller.stop())
    }

    @Test func `after a power cut it starts with what was stored`() async throws {
        let controller = try await RunningController()
        try await controller.start()
        try await controller.kill()
        try await controller.start()
        #expect(try await controller.stop())
    }

    @Test func `a port that is taken is one clear sentence`() async throws {
        let controller = try await RunningController()
        let taken = try ListeningSocket.open("127.0.0.1", port: 0)
        defer { taken.close() }
        let result = try await run(
            controller.arguments([
                "--set", "api.address=127.0.0.1", "--set", "api.port=\(taken.port)",
            ])
        )
        #expect(result.exitCode == 1)
        #expect(
            result.errorOutput.contains(
                "cannot listen on 127.0.0.1 port \(taken.port): another program"
            ),
            "\(result.errorOutput)"
        )
    }

    @Test func `a missing state directory is one clear sentence`() async throws {
        let controller = try await RunningController()
        let result = try await run(
            controller.arguments(["--set", "state_directory=/nonexistent/rdo"])
        )
        #expect(result.exitCode == 1)
        #expect(
            result.errorOutput.contains("cannot use the state directory /nonexistent/rdo"),
            "\(result.errorOutput)"
        )
    }

    @Test func `a key that others can read is refused`() async throws {
        let controller = try await RunningController()
        let key = controller.folder.path + "/sealing.key"
        #expect(chmod(key, 0o644) == 0)
        let result = try await run(controller.arguments())
        #expect(result.exitCode == 1)
        #expect(
            result.errorOutput.contains("cannot use the key file \(key): its mode is 644"),
            "\(result.errorOutput)"
        )
    }

    @Test func `an unknown key in the file is refused with its line`() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/controller.yaml"
        try writeText("api:\n  prot: 1\n", to: file)
        let result = try await run(["--config", file, "--check"])
        #expect(result.exitCode == 1)
        #expect(result.errorOutput.contains("“api.prot” (\(file):2)"), "\(result.errorOutput)")
    }

    @Test(arguments: [
        ["undercloud", "install"], ["undercloud", "uninstall"], ["lab", "up"], ["lab", "down"],
    ])
    func `what needs root says so in a sentence to everybody else`(
        words: [String]
    ) async throws {
        // The repository may lie where only root looks.
        let folder = try TemporaryFolder()
        let program = folder.path + "/rdo"
        try FileManager.default.copyItem(atPath: BuiltProgram.path("rdo"), toPath: program)
        #expect(chmod(folder.path, 0o755) == 0 && chmod(program, 0o755) == 0)
        let result = try await Tool.run(
            "setpriv",
            ["--reuid=65534", "--regid=65534", "--clear-groups", program] + words,
            budget: .seconds(30),
            time: SystemTime()
        )
        #expect(result.exitCode != 0)
        let sentence = result.errorOutput
        #expect(sentence.contains("cannot ") && sentence.contains("root"), "\(sentence)")
        // The lab lists whatever it lacks, line by line.
        #expect(sentence.split(separator: "\n").count <= 2, "\(sentence)")
    }

    @Test func `the command line and the controller tell their usage`() async throws {
        for program in ["rdo", "rdo-controller", "rdo-ramdisk"] {
            let result = try await Tool.run(
                try BuiltProgram.path(program),
                ["--help"],
                budget: .seconds(30),
                time: SystemTime()
            )
            #expect(result.exitCode == 0)
            #expect(result.output.contains("USAGE: \(program)"))
        }
    }
}
