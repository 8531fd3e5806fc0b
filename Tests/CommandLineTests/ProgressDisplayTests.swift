import CommandLine
import Protocol
import Testing

@Suite struct ProgressDisplayTests {
    private func line(_ state: String, seconds: Int = 0, bytes: Int64? = nil) -> ProgressLine {
        var line = ProgressLine(name: "c0", state: state, inState: .seconds(seconds))
        line.written = bytes.map { ByteCount($0) }
        line.total = bytes.map { _ in .mebibytes(100) }
        return line
    }

    @Test func `without a terminal only changes and every half minute are written`() {
        var display = ProgressDisplay(isTerminal: false, width: 80)
        #expect(
            display.frame([line("deploying")], at: .seconds(0))
                == "c0           deploying      0:00\n"
        )
        #expect(display.frame([line("deploying", seconds: 2)], at: .seconds(2)) == "")
        #expect(display.frame([line("active")], at: .seconds(4)).contains("active"))
        #expect(display.frame([line("active", seconds: 30)], at: .seconds(34)).contains("0:30"))
        #expect(display.frame([line("active", seconds: 31)], at: .seconds(35)) == "")
    }

    @Test func `at a terminal lines are drawn over and cut`() {
        var display = ProgressDisplay(isTerminal: true, width: 40)
        var long = line("deploying")
        long.note = String(repeating: "x", count: 100)
        let first = display.frame([long, line("b")], at: .seconds(0))
        #expect(!first.contains("\u{1b}[2A"))
        #expect(first.split(separator: "\n").allSatisfy { $0.count < 50 })
        #expect(display.frame([long, line("b")], at: .seconds(1)).hasPrefix("\u{1b}[2A"))
        display.finish()
        #expect(!display.frame([long], at: .seconds(2)).hasPrefix("\u{1b}[2A"))
    }

    @Test func `bytes written have a share and a rate`() {
        var display = ProgressDisplay(isTerminal: true, width: 120)
        _ = display.frame([line("deploying", bytes: 10 << 20)], at: .seconds(0))
        let text = display.frame([line("deploying", seconds: 2, bytes: 50 << 20)], at: .seconds(2))
        #expect(text.contains("50.0 MiB of 100.0 MiB (50 %)  20.0 MiB/s"))
    }

    @Test func `a new disk begins without the old rate`() {
        var display = ProgressDisplay(isTerminal: true, width: 120)
        _ = display.frame([line("deploying", bytes: 50 << 20)], at: .seconds(0))
        let text = display.frame([line("deploying", bytes: 1 << 20)], at: .seconds(2))
        #expect(!text.contains("/s"))
    }
}
