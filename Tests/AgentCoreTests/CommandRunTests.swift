import AgentSteps
import Basics
import Protocol
import Synchronization
import Testing

@testable import AgentCore

private let command = Bench().command(1)

struct `A command's console` {
    @Test func `keeps only the newest progress, once`() {
        let console = CommandConsole(command)
        for number in 1...UInt64(1000) {
            console.progress(StepProgress(phase: "write", doneBytes: number))
        }
        #expect(console.takeProgress()?.doneBytes == 1000)
        #expect(console.takeProgress() == nil)
    }

    @Test func `hands lines out in order and in bounded portions`() {
        let console = CommandConsole(command)
        console.log((0..<200).map { "line \($0)" })
        var lines: [String] = []
        while let portion = console.takeLines() {
            #expect(portion.lines.count <= CommandConsole.linesPerFrameMax)
            lines += portion.lines
        }
        #expect(lines == (0..<200).map { "line \($0)" })
    }

    @Test func `drops the oldest lines of a flood and says how many`() {
        let console = CommandConsole(command)
        for number in 0..<2000 { console.log(["line \(number)"]) }
        let first = console.takeLines()?.lines ?? []
        #expect(first.first == "(\(2000 - CommandConsole.linesMax) lines left out)")
        #expect(first.count <= CommandConsole.linesPerFrameMax)
        #expect(console.lastLines.last == "line 1999")
        #expect(console.lastLines.count == CommandConsole.linesPerFrameMax)
    }

    @Test func `cuts a long line, even in the middle of a character`() {
        let console = CommandConsole(command)
        console.log([
            String(repeating: "ü", count: 5000), "a" + String(repeating: "€", count: 5000),
        ])
        for line in console.takeLines()?.lines ?? [] {
            #expect(line.utf8.count <= CommandConsole.lineBytesMax)
        }
    }
}

struct `A command's run` {
    @Test func `sends the last progress and all lines before it ends`() async throws {
        let reports = Mutex<[CommandRun.Report]>([])
        let run = CommandRun(
            command,
            steps: TestStep(.talk(progress: 5000, lines: 100)),
            context: StepContext(node: "", certificateAuthority: "", timeServers: []),
            time: SystemTime()
        )
        let result = await run.perform { report in reports.withLock { $0.append(report) } }
        #expect(result?.inventory != nil)
        var progress: [WireProgress] = []
        var lines: [String] = []
        for report in reports.withLock({ $0 }) {
            switch report {
            case .progress(let wire): progress.append(wire)
            case .lines(let wire): lines += wire.lines
            }
        }
        #expect(progress.count < 10)
        #expect(progress.last?.doneBytes == 5000)
        #expect(lines.count == 100)
    }

    @Test func `does not begin when it was stopped before`() async {
        let step = TestStep()
        let run = CommandRun(
            command,
            steps: step,
            context: StepContext(node: "", certificateAuthority: "", timeServers: []),
            time: SystemTime()
        )
        run.stop(.cancelled)
        let result = await run.perform { _ in }
        #expect(result?.failure.message == "cannot finish the command: it was cancelled")
        #expect(step.runs.isEmpty)
    }
}
