import Basics
import Glibc
import HostTools
import Testing

struct ToolTests {
    let time = SystemTime()

    @Test func `arguments reach the program untouched`() async throws {
        let result = try await Tool.run(
            "printf",
            ["[%s]", "a b", "$(id)", "; rm x", "ü"],
            budget: .seconds(60),
            time: time
        )
        #expect(result.exitCode == 0)
        #expect(result.output == "[a b][$(id)][; rm x][ü]")
        #expect(result.errorOutput.isEmpty)
    }

    @Test func `input, environment and directory reach the program`() async throws {
        let text = String(repeating: "0123456789abcdef", count: 20_000)
        let echo = try await Tool.run(
            "cat",
            [],
            input: Array(text.utf8),
            budget: .seconds(60),
            time: time
        )
        #expect(echo.output == text)
        let variable = try await Tool.run(
            "printenv",
            ["RDO_TEST", "LC_ALL"],
            environment: ["RDO_TEST": "value"],
            budget: .seconds(60),
            time: time
        )
        #expect(variable.output == "value\nC\n")
        let directory = try await Tool.run(
            "pwd",
            ["-P"],
            directory: "/usr/share",
            budget: .seconds(60),
            time: time
        )
        #expect(directory.output == "/usr/share\n")
    }

    @Test func `a program that does not read its input is no failure`() async throws {
        let result = try await Tool.run(
            "true",
            [],
            input: [UInt8](repeating: 65, count: 1 << 20),
            budget: .seconds(60),
            time: time
        )
        #expect(result.exitCode == 0)
    }

    @Test func `the last output of a program that ends at once is not lost`() async throws {
        for _ in 0..<20 {
            let result = try await Tool.run(
                "head",
                ["-c", "300000", "/dev/zero"],
                budget: .seconds(60),
                time: time
            )
            #expect(result.output.utf8.count == 300_000)
        }
    }

    @Test func `a missing program is named`() async throws {
        let fault = await #expect(throws: Fault.self) {
            try await Tool.run("rdo-no-such-tool", [], budget: .seconds(1), time: time)
        }
        #expect(fault?.kind == .unavailable)
        #expect(fault?.message == "cannot run rdo-no-such-tool: it is not installed on this host")
        #expect(Tool.locate("rdo-no-such-tool") == nil)
        #expect(Tool.locate("/etc/passwd") == nil, "not executable")
        #expect(Tool.locate("/usr/bin") == nil, "a directory")
        #expect(Tool.locate("true")?.hasSuffix("/true") == true)
    }

    @Test func `a failure of a required tool tells code and last words`() async throws {
        let fault = await #expect(throws: Fault.self) {
            try await Tool.require("ls", ["/no/such/place"], budget: .seconds(60), time: time)
        }
        #expect(fault?.kind == .internalError)
        #expect(fault?.message.contains("code 2") == true)
        #expect(fault?.message.contains("No such file or directory") == true)
        #expect(fault?.detail == "ls /no/such/place")
    }

    @Test func `too much output is refused`() async throws {
        let fault = await #expect(throws: Fault.self) {
            try await Tool.run(
                "cat",
                ["/dev/zero"],
                budget: .seconds(30),
                outputMax: 100_000,
                time: time
            )
        }
        #expect(fault?.kind == .tooLarge)
    }

    @Test func `a signal's number is in the exit code`() async throws {
        let result = try await Tool.run(
            "timeout",
            ["--signal=KILL", "0.05", "sleep", "60"],
            budget: .seconds(60),
            time: time
        )
        #expect(result.exitCode == 137)
    }

    // `timeout --foreground` forks a child in the same group, as most tools that start helpers do.
    @Test func `the budget ends the program and what it started`() async throws {
        let mark = "\(7_000 + Int(getpid()) % 1000).25"
        let start = time.elapsed
        let fault = await #expect(throws: Fault.self) {
            try await Tool.run(
                "timeout",
                ["--foreground", "600", "sleep", mark],
                budget: .milliseconds(300),
                time: time
            )
        }
        #expect(fault?.kind == .timeout)
        // Far from the 600 s of the program, and far from what a busy machine needs.
        #expect(time.elapsed - start < .seconds(60))
        let gone = try await eventually { try await running("sleep \(mark)") == false }
        #expect(gone)
    }

    @Test func `cancelling the task ends the program`() async throws {
        let mark = "\(8_000 + Int(getpid()) % 1000).5"
        await #expect(throws: CancellationError.self) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = try await Tool.run("sleep", [mark], budget: .seconds(60), time: time)
                }
                #expect(try await eventually { try await running("sleep \(mark)") })
                group.cancelAll()
                try await group.waitForAll()
            }
        }
        #expect(try await eventually { try await running("sleep \(mark)") == false })
    }

    private func running(_ commandLine: String) async throws -> Bool {
        try await Tool.run("pgrep", ["-f", "\(commandLine)$"], budget: .seconds(60), time: time)
            .exitCode
            == 0
    }

    private func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        let deadline = time.elapsed + .seconds(60)
        while time.elapsed < deadline {
            if try await condition() { return true }
            try await time.sleep(for: .milliseconds(20))
        }
        return false
    }
}
