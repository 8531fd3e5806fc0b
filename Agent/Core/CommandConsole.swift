package import AgentSteps
package import Protocol
import Synchronization

/// Collects what a running step says and hands it out in bounded portions.
///
/// Progress: only the newest is kept. Lines: the oldest give way.
package final class CommandConsole: StepReporter {
    /// Lines that wait to be sent, at most.
    package static let linesMax = 512
    /// Lines in one frame, at most.
    package static let linesPerFrameMax = 64
    /// Bytes of one line, at most.
    package static let lineBytesMax = 1024

    private struct State {
        var progress: StepProgress?
        var waiting: [String] = []
        var last: [String] = []
        var dropped = 0
    }

    private let command: String
    private let attempt: UInt64
    private let state = Mutex(State())

    package init(_ command: WireCommand) {
        self.command = command.id
        attempt = command.attempt
    }

    package func progress(_ progress: StepProgress) { state.withLock { $0.progress = progress } }

    package func log(_ lines: [String]) {
        let cut = lines.suffix(Self.linesMax).map(Self.cut)
        state.withLock { state in
            state.last = Array((state.last + cut).suffix(Self.linesPerFrameMax))
            state.waiting += cut
            let over = state.waiting.count - Self.linesMax
            if over > 0 {
                state.waiting.removeFirst(over)
                state.dropped += over
            }
        }
    }

    /// The newest lines, for a failure's report.
    package var lastLines: [String] { state.withLock { $0.last } }

    /// The newest progress, once.
    package func takeProgress() -> WireProgress? {
        guard
            let progress = state.withLock({ state in
                defer { state.progress = nil }
                return state.progress
            })
        else { return nil }
        var wire = WireProgress()
        wire.command = command
        wire.attempt = attempt
        wire.phase = progress.phase
        wire.doneBytes = progress.doneBytes
        wire.totalBytes = progress.totalBytes
        wire.bytesPerSecond = progress.bytesPerSecond
        wire.text = Self.cut(progress.text)
        return wire
    }

    /// The oldest lines that wait, one frame's worth.
    package func takeLines() -> WireLogLines? {
        let (lines, dropped) = state.withLock { state in
            let lines = Array(state.waiting.prefix(Self.linesPerFrameMax - 1))
            state.waiting.removeFirst(lines.count)
            defer { state.dropped = 0 }
            return (lines, state.dropped)
        }
        guard !lines.isEmpty else { return nil }
        var wire = WireLogLines()
        wire.command = command
        wire.lines = (dropped > 0 ? ["(\(dropped) lines left out)"] : []) + lines
        return wire
    }

    private static func cut(_ line: String) -> String {
        guard line.utf8.count > lineBytesMax else { return line }
        // A character cut in two decodes to three bytes in place of at most three.
        return String(decoding: line.utf8.prefix(lineBytesMax - 3), as: UTF8.self)
    }
}
