import Basics
import Glibc
import Synchronization
import Testing

@testable import AgentSystem

struct `Processes` {
    private let processes = SystemProcesses(grace: .milliseconds(300))

    private func run(
        _ program: String,
        _ arguments: String...,
        input: [UInt8] = [],
        budget: Duration = .seconds(30),
        outputBytesMax: Int = 1 << 20
    ) async throws -> ProcessResult {
        try await processes.run(
            ProcessRequest(
                program,
                arguments,
                input: input,
                budget: budget,
                outputBytesMax: outputBytesMax
            )
        )
    }

    @Test func `output, errors and exit code come back`() async throws {
        let result = try await run(
            "awk",
            "BEGIN { print \"out\"; print \"err\" > \"/dev/stderr\"; exit 7 }"
        )
        #expect(result.ending == .exited(7))
        #expect(result.outputText == "out")
        #expect(result.errorText == "err")
    }

    @Test(arguments: [true, false])
    func `what a program leaves running goes on only if it may`(isKept: Bool) async throws {
        let result = try await processes.run(
            ProcessRequest(
                "sh",
                ["-c", "sleep 600 > /dev/null 2>&1 & echo $!"],
                budget: .seconds(30),
                keepsChildren: isKept
            )
        )
        let left = try #require(pid_t(result.outputText))
        defer { kill(left, SIGKILL) }
        // A killed orphan may still wait for process 1 to reap it.
        let state = FileTree().text("/proc/\(left)/stat")?.split(separator: ")").last?.first {
            $0 != " "
        }
        #expect((state == "S" || state == "R") == isKept, "\(String(describing: state))")
    }

    @Test func `arguments are never read by a shell`() async throws {
        let hostile = ["$(id)", "; rm -rf x", "a b", "*", "'\""]
        let result = try await processes.run(
            ProcessRequest("printf", ["%s\\n"] + hostile, budget: .seconds(30))
        )
        #expect(result.outputText.split(separator: "\n").map(String.init) == hostile)
    }

    @Test func `nothing of our environment reaches the program`() async throws {
        setenv("AGENT_TEST_LEAK", "1", 1)
        let result = try await run("env")
        #expect(!result.outputText.contains("AGENT_TEST_LEAK"))
        #expect(result.outputText.contains("LC_ALL=C.UTF-8"))
    }

    @Test func `no descriptor of ours but the first three reaches the program`() async throws {
        let leaked = open("/dev/null", O_RDONLY)
        defer { close(leaked) }
        let result = try await run("ls", "/proc/self/fd")
        // The fourth is the directory that ls reads.
        #expect(result.outputText.split(separator: "\n").count == 4)
    }

    @Test func `input arrives whole`() async throws {
        let input = [UInt8](repeating: 0x61, count: 300_000)
        let result = try await run("wc", "-c", input: input)
        #expect(result.outputText == "300000")
    }

    @Test func `a program that does not read its input does no harm`() async throws {
        let result = try await run("true", input: [UInt8](repeating: 0, count: 300_000))
        #expect(result.succeeded)
    }

    @Test func `a long output is cut to its newest part`() async throws {
        let result = try await run("seq", "1", "200000", outputBytesMax: 4096)
        #expect(result.output.count <= 2 * 4096)
        #expect(result.outputText.hasSuffix("\n200000"))
    }

    @Test func `lines arrive as they are written`() async throws {
        let lines = Mutex<[String]>([])
        _ = try await processes.run(
            ProcessRequest("seq", ["1", "3"], budget: .seconds(30)) { line in
                lines.withLock { $0.append(line) }
            }
        )
        #expect(lines.withLock { $0 } == ["1", "2", "3"])
    }

    @Test func `a program that takes too long is killed with its children`() async throws {
        let tree = try TemporaryTree()
        // The child ignores the request to end, as its parent does.
        let script = """
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            pid = os.fork()
            if pid: open("\(tree.root)/child", "w").write(str(pid))
            time.sleep(600)
            """
        let clock = SystemTime()
        let began = clock.elapsed
        await #expect(throws: Fault.self) {
            try await run("python3", "-c", script, budget: .seconds(2))
        }
        #expect(clock.elapsed - began < .seconds(60))
        let child = try #require(FileTree().number("\(tree.root)/child"))
        // Gone, or dead and not yet collected by the machine's process 1.
        let state = FileTree().text("/proc/\(child)/stat")?.split(separator: " ")
        #expect(state == nil || state?[2] == "Z" || state?[2] == "X")
    }

    @Test func `a cancelled task ends the program`() async throws {
        let clock = SystemTime()
        let began = clock.elapsed
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    _ = try await run("sleep", "600", budget: .seconds(600))
                    return false
                } catch {
                    return error is CancellationError
                }
            }
            group.addTask {
                // Cancelled below, whether the program runs already or not.
                true
            }
            _ = await group.next()
            group.cancelAll()
            for await ended in group { #expect(ended) }
        }
        #expect(clock.elapsed - began < .seconds(60))
    }

    @Test func `a missing program is named`() async {
        let error = await #expect(throws: Fault.self) { try await run("no-such-program") }
        #expect(error?.kind == .notFound)
        #expect(error?.message.contains("no-such-program") == true)
    }

    @Test func `a file that cannot be executed says why`() async throws {
        let tree = try TemporaryTree().file("/not-a-program", "plain text")
        chmod("\(tree.root)/not-a-program", 0o755)
        let error = await #expect(throws: SystemFailure.self) {
            try await run("\(tree.root)/not-a-program")
        }
        #expect(error?.code == ENOEXEC)
    }

    @Test func `a signal's end is told`() async throws {
        let result = try await run("python3", "-c", "import os; os.kill(os.getpid(), 9)")
        #expect(result.ending == .signalled(9))
        #expect(result.exitCode == 137)
    }
}
