import Basics
package import Protocol

/// What the display shows of one node.
package struct ProgressLine: Sendable, Equatable {
    package var name: String
    package var state: String
    /// Time in this state.
    package var inState: Duration
    package var written: ByteCount?
    package var total: ByteCount?
    /// Why it waits, or why it failed.
    package var note = ""

    package init(name: String, state: String, inState: Duration) {
        self.name = name
        self.state = state
        self.inState = inState
    }
}

/// One line per node: state, time in state, bytes written, throughput.
///
/// At a terminal the lines are drawn over; elsewhere a line is written when a state changes, and every
/// half minute, so that a log file stays readable.
package struct ProgressDisplay: Sendable {
    private struct Memory {
        var state: String
        var note: String
        var shownAt: Duration
        var bytes: Int64
        var bytesAt: Duration
        var rate: Double
    }

    /// How often an unchanged state is repeated where there is no terminal.
    package static let repeatAfter: Duration = .seconds(30)

    private let isTerminal: Bool
    private let width: Int
    private var memory: [String: Memory] = [:]
    private var drawn = 0

    /// A display; at a terminal of `width` columns longer lines are cut.
    package init(isTerminal: Bool, width: Int) {
        self.isTerminal = isTerminal
        self.width = max(width, 40)
    }

    /// The text that brings the display up to date; `now` counts from an arbitrary start.
    package mutating func frame(_ lines: [ProgressLine], at now: Duration) -> String {
        var texts: [String] = []
        for line in lines {
            let rate = measure(line, at: now)
            let text = format(line, rate: rate)
            let old = memory[line.name]
            let changed = old?.state != line.state || old?.note != line.note
            if isTerminal || changed || now - (old?.shownAt ?? now) >= Self.repeatAfter {
                texts.append(text)
                memory[line.name]?.shownAt = now
            }
            memory[line.name]?.state = line.state
            memory[line.name]?.note = line.note
        }
        guard isTerminal else { return texts.map { $0 + "\n" }.joined() }
        let up = drawn > 0 ? "\u{1b}[\(drawn)A" : ""
        drawn = texts.count
        return up + texts.map { "\r" + String($0.prefix(width - 1)) + "\u{1b}[K\n" }.joined()
    }

    /// Leaves what is drawn where it is; the next frame begins below it.
    package mutating func finish() { drawn = 0 }

    private mutating func measure(_ line: ProgressLine, at now: Duration) -> Double {
        let bytes = line.written?.bytes ?? 0
        guard let old = memory[line.name], bytes >= old.bytes, bytes > 0 else {
            let state = memory[line.name]?.state ?? ""
            memory[line.name] = Memory(
                state: state,
                note: memory[line.name]?.note ?? "",
                shownAt: memory[line.name]?.shownAt ?? now,
                bytes: bytes,
                bytesAt: now,
                rate: 0
            )
            return 0
        }
        let seconds = (now - old.bytesAt).inSeconds
        guard bytes > old.bytes, seconds > 0.5 else { return old.rate }
        memory[line.name]?.rate = Double(bytes - old.bytes) / seconds
        memory[line.name]?.bytes = bytes
        memory[line.name]?.bytesAt = now
        return Double(bytes - old.bytes) / seconds
    }

    private func format(_ line: ProgressLine, rate: Double) -> String {
        var text = "\(pad(line.name, 12)) \(pad(line.state, 14)) \(clock(line.inState))"
        if let written = line.written, written.bytes > 0 {
            text += "  \(written)"
            if let total = line.total, total.bytes > 0 {
                text += " of \(total) (\(min(100, written.bytes * 100 / total.bytes)) %)"
            }
            if rate > 0 { text += "  \(ByteCount(Int64(rate)))/s" }
        }
        if !line.note.isEmpty { text += "  \(line.note)" }
        return text
    }

    private func pad(_ text: String, _ length: Int) -> String {
        text.count >= length ? text : text + String(repeating: " ", count: length - text.count)
    }

    private func clock(_ span: Duration) -> String {
        let seconds = max(0, span.components.seconds)
        let rest = seconds % 60
        return "\(seconds / 60):\(rest < 10 ? "0" : "")\(rest)"
    }
}
