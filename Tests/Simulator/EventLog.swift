import Protocol

/// What happened in a world: the last events for people, and a digest over all of them.
package final class EventLog: Sendable {
    /// Events that a failure prints.
    package static let linesMax = 60

    private struct State {
        var lines: [String] = []
        var digest: UInt64 = 0xcbf2_9ce4_8422_2325
        var count = 0
    }

    private let state = Confined(State())
    private let executor: SimulatedExecutor
    private let trace: (@Sendable (String) -> Void)?

    /// `trace` gets every line.
    package init(executor: SimulatedExecutor, trace: (@Sendable (String) -> Void)?) {
        self.executor = executor
        self.trace = trace
    }

    /// Adds an event.
    package func add(_ who: String, _ what: String) {
        let milliseconds = executor.elapsed.wholeNanoseconds / 1_000_000
        let line = "\(milliseconds) \(who): \(what)"
        state.value.count += 1
        state.value.digest = line.utf8.reduce(state.value.digest) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        state.value.lines.append(line)
        if state.value.lines.count > 2 * Self.linesMax {
            state.value.lines.removeFirst(Self.linesMax)
        }
        trace?(line)
    }

    /// The last events, the newest last.
    package var last: [String] { state.value.lines.suffix(Self.linesMax) }
    /// A number that differs when any event does.
    package var digest: UInt64 { state.value.digest }
    package var count: Int { state.value.count }
}
