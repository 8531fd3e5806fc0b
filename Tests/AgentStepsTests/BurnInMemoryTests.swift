import AgentSystem
import Basics
import Protocol
import Synchronization
import Testing

@testable import AgentSteps

/// Stands for memtester: each run takes ten seconds, or as long as it may.
private final class Tester: ProcessRunner {
    private let time: LeapingTime
    private let brokenRun: Int
    private let state = Mutex([[String]]())

    var runs: [[String]] { state.withLock { $0 } }

    /// `brokenRun`: the run, from 1, that finds an error; 0 for none.
    init(_ time: LeapingTime, brokenRun: Int = 0) {
        self.time = time
        self.brokenRun = brokenRun
    }

    func locate(_ program: String) -> String? { program }

    func run(_ request: ProcessRequest) async throws -> ProcessResult {
        let count = state.withLock { runs in
            runs.append([request.program] + request.arguments)
            return runs.count
        }
        let isBroken = count == brokenRun
        guard request.budget >= .seconds(10) else {
            time.advance(request.budget)
            throw Fault(.timeout, "cannot finish", detail: isBroken ? "FAILURE: 0x1 != 0x2" : "x")
        }
        time.advance(.seconds(10))
        guard isBroken else { return ProcessResult(ending: .exited(0)) }
        let words = Array("FAILURE: 0x1 != 0x2 at offset 0x10.\n".utf8)
        return ProcessResult(ending: .exited(4), errorOutput: words)
    }
}

struct `A test of the memory` {
    private func step(_ tester: Tester, _ time: LeapingTime, free: String = "1048576 kB")
        -> BurnInMemory
    {
        let tree = FileTree { path in
            path == "/proc/meminfo"
                ? Array("MemTotal: 9 kB\nMemAvailable:   \(free)\nBuffers: 1 kB\n".utf8) : nil
        }
        return BurnInMemory(processes: tester, tree: tree, time: time)
    }

    private func command(_ seconds: UInt32 = 35, _ percent: UInt32 = 50) -> WireCommand {
        var command = WireCommand()
        command.burnInMemory.seconds = seconds
        command.burnInMemory.percent = percent
        return command
    }

    @Test(arguments: [(50, 512), (98, 896)] as [(UInt32, Int)])
    func `runs over and over until its time is over, and leaves the ramdisk its own`(
        percent: UInt32,
        mebibytes: Int
    ) async throws {
        let time = LeapingTime()
        let tester = Tester(time)
        let outcome = try await step(tester, time).run(
            command(35, percent),
            in: noContext,
            report: Ear()
        )
        guard case .burnedIn(let tested) = outcome else {
            Issue.record("another outcome")
            return
        }
        #expect(tested.loops == 3)
        #expect(tested.seconds == 35)
        #expect(tester.runs == Array(repeating: ["memtester", "\(mebibytes)M", "1"], count: 4))
    }

    @Test(arguments: [1, 3, 4])
    func `fails with what was found, also when its time ran out`(run: Int) async throws {
        let time = LeapingTime()
        let failure = await #expect(throws: StepFailure.self) {
            try await step(Tester(time, brokenRun: run), time).run(
                command(),
                in: noContext,
                report: Ear()
            )
        }
        #expect(failure?.message.contains("memtester found errors") == true)
        #expect(failure?.lines.first?.hasPrefix("FAILURE") == true)
        #expect(failure?.retryable == false)
    }

    @Test(
        arguments: [
            (0, 50, "1048576 kB"), (1, 0, "1048576 kB"), (1, 99, "1048576 kB"),
            (1, 98, "140000 kB"), (1, 98, "much"), (1, 98, ""),
        ] as [(UInt32, UInt32, String)]
    )
    func `is refused where it makes no sense`(
        seconds: UInt32,
        percent: UInt32,
        free: String
    ) async throws {
        let time = LeapingTime()
        let tester = Tester(time)
        await #expect(throws: StepFailure.self) {
            try await step(tester, time, free: free).run(
                command(seconds, percent),
                in: noContext,
                report: Ear()
            )
        }
        #expect(tester.runs.isEmpty)
    }
}
