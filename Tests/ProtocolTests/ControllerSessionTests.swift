import Protocol
import SwiftProtobuf
import Testing

/// A frame of an agent.
func said(
    _ sequence: UInt64,
    session name: [UInt8] = session,
    version: UInt32 = 1,
    _ body: WireAgentFrame.OneOf_Body?
) -> WireAgentFrame {
    var frame = WireAgentFrame()
    frame.version = version
    frame.session.append(contentsOf: name)
    frame.sequence = sequence
    frame.body = body
    return frame
}

let hello = WireAgentFrame.OneOf_Body.hello(WireHello())
let heartbeat = WireAgentFrame.OneOf_Body.heartbeat(WireHeartbeat())
let later = [UInt8](repeating: 4, count: 16)

func command(_ id: String, attempt: UInt64 = 1) -> WireCommand {
    .with {
        $0.id = id
        $0.node = node
        $0.attempt = attempt
        $0.inspect = WireInspect()
    }
}

extension ControllerSessionMachine {
    mutating func take(_ frame: WireAgentFrame, at seconds: Int = 0) -> String {
        switch receive(frame, clock: Timestamp(nanoseconds: 77), at: .seconds(seconds)) {
        case .began(_, let resumed, let frames):
            "\(resumed ? "resumed" : "began") \(frames.count)"
        case .heartbeat(_, let frame): "heartbeat \(frame.sequence)"
        case .accepted: "accepted"
        case .progress: "progress"
        case .result: "result"
        case .log: "log"
        case .dismissed(let frame): "dismissed \(frame.sequence)"
        case .ignored(let reason): "ignored: \(reason)"
        }
    }

    mutating func ticked(_ seconds: Int) -> String {
        switch tick(at: .seconds(seconds)) {
        case .quiet: "quiet"
        case .again(let frames): "again \(frames.count)"
        case .lost: "lost"
        }
    }
}

struct ControllerSessionTests {
    func live() -> ControllerSessionMachine {
        var machine = ControllerSessionMachine(metricSeconds: 10)
        _ = machine.take(said(1, hello))
        return machine
    }

    @Test func `Hello begins a session and Welcome names the Hello it answers`() throws {
        var machine = ControllerSessionMachine(metricSeconds: 15)
        let event = machine.receive(
            said(4, hello),
            clock: Timestamp(nanoseconds: 77),
            at: .zero
        )
        guard case .began(_, resumed: false, let frames) = event else {
            Issue.record("no session began")
            return
        }
        let welcome = try #require(frames.first?.welcome)
        #expect(welcome.helloSequence == 4)
        #expect(welcome.controllerTimeNanoseconds == 77)
        #expect(welcome.metricSeconds == 15)
        #expect(welcome.heartbeatSeconds == 10)
        #expect(machine.liveSession == session)
    }

    @Test func `frames before Hello are answered with Goodbye outside of the session`() {
        var machine = ControllerSessionMachine(metricSeconds: 10)
        #expect(machine.take(said(1, heartbeat)) == "dismissed 0")
        _ = machine.take(said(2, hello))
        #expect(machine.take(said(3, session: later, heartbeat)) == "dismissed 0")
    }

    @Test func `replayed frames are ignored, also a replayed Hello`() {
        var machine = live()
        #expect(machine.take(said(2, heartbeat)) == "heartbeat 2")
        #expect(machine.take(said(2, heartbeat)) == "ignored: replayed")
        #expect(machine.take(said(1, hello)) == "ignored: replayed")
        #expect(machine.take(said(3, hello)) == "resumed 1")
    }

    @Test func `a replaced session never comes back`() {
        var machine = live()
        #expect(machine.take(said(1, session: later, hello)) == "began 1")
        #expect(machine.take(said(9, heartbeat)) == "dismissed 0")
        #expect(machine.take(said(10, hello)) == "dismissed 0")
        #expect(machine.liveSession == later)
    }

    @Test func `silence loses the session and Hello takes it up again`() {
        var machine = live()
        #expect(machine.ticked(29) == "quiet")
        #expect(machine.ticked(30) == "lost")
        #expect(machine.ticked(31) == "quiet")
        #expect(machine.liveSession == nil)
        #expect(machine.take(said(2, heartbeat), at: 32) == "dismissed 0")
        #expect(machine.take(said(1, hello), at: 32) == "ignored: replayed")
        #expect(machine.take(said(3, hello), at: 33) == "resumed 1")
        #expect(machine.ticked(62) == "quiet")
    }

    @Test func `a command is repeated until the agent has accepted it`() {
        var machine = live()
        #expect(machine.order(command(first), at: .zero)?.command.id == first)
        #expect(machine.ticked(9) == "quiet")
        #expect(machine.ticked(10) == "again 1")
        #expect(machine.ticked(11) == "quiet")
        let accepted = WireAgentFrame.OneOf_Body.accepted(.with { $0.command = first })
        #expect(machine.take(said(2, accepted), at: 11) == "accepted")
        #expect(machine.ticked(25) == "quiet")
    }

    @Test func `a resumed session gets the commands without result again, a new one does not`() {
        var machine = live()
        _ = machine.order(command(first), at: .zero)
        #expect(machine.take(said(2, hello)) == "resumed 2")
        #expect(machine.resultStored(outcome(first))?.resultStored.command == first)
        #expect(machine.take(said(3, hello)) == "resumed 1")
        _ = machine.order(command(second), at: .zero)
        #expect(machine.take(said(1, session: later, hello)) == "began 1")
    }

    @Test func `an order of a newer attempt withdraws the older`() {
        var machine = live()
        _ = machine.order(command(first, attempt: 1), at: .zero)
        _ = machine.order(command(second, attempt: 2), at: .zero)
        #expect(machine.take(said(2, hello)) == "resumed 2")
    }

    @Test func `no more than eight orders wait`() {
        var machine = live()
        for number in 0..<ControllerSessionMachine.ordersMax {
            let id = "00000000-0000-4000-8000-00000000010\(number)"
            #expect(machine.order(command(id), at: .zero) != nil)
        }
        #expect(machine.order(command(first), at: .zero) == nil)
    }

    @Test func `a cancelled order is not repeated`() {
        var machine = live()
        _ = machine.order(command(first), at: .zero)
        #expect(machine.cancel(CommandID(unchecked: first))?.cancel.command == first)
        #expect(machine.ticked(20) == "quiet")
    }

    @Test func `without a session nothing is sent`() {
        var machine = ControllerSessionMachine(metricSeconds: 10)
        #expect(machine.order(command(first), at: .zero) == nil)
        #expect(machine.cancel(CommandID(unchecked: first)) == nil)
        #expect(machine.resultStored(outcome(first)) == nil)
        #expect(machine.end(reason: "", enrol: true) == nil)
    }

    @Test(
        arguments: [
            (said(2, session: [1], heartbeat), "ignored: malformed"),
            (said(0, heartbeat), "ignored: malformed"),
            (said(2, version: 0, heartbeat), "ignored: version"),
            (said(2, version: 2, heartbeat), "ignored: version"),
            (said(2, nil), "ignored: unknown"),
            (said(2, .accepted(WireCommandAccepted())), "ignored: malformed"),
            (said(2, .progress(WireProgress())), "ignored: malformed"),
            (said(2, .result(.with { $0.command = first })), "ignored: malformed"),
            (said(2, .result(outcome(first))), "result"),
            (said(2, .progress(.with { $0.command = first })), "progress"),
            (said(2, .logLines(WireLogLines())), "log"),
        ])
    func `every kind of frame is told apart`(frame: WireAgentFrame, expected: String) {
        var machine = live()
        #expect(machine.take(frame) == expected)
    }

    @Test func `the end of a session is told to the agent once`() {
        var machine = live()
        #expect(machine.end(reason: "revoked", enrol: true)?.goodbye.enrol == true)
        #expect(machine.liveSession == nil)
        #expect(machine.end(reason: "revoked", enrol: true) == nil)
    }

    @Test(
        arguments: [
            (UInt32(1), UInt32(1), UInt32?(1)), (1, 9, 1), (0, 1, 1), (2, 9, nil), (0, 0, nil),
            (3, 1, nil),
        ])
    func `the highest common version is chosen`(min: UInt32, max: UInt32, expected: UInt32?) {
        #expect(WireVersion.common(min: min, max: max) == expected)
    }

    /// Both machines over a line that loses, doubles and reorders frames, from a seed.
    @Test(arguments: UInt64(1)...20)
    func `over a bad line every command ends with one stored result`(seed: UInt64) {
        var line = BadLine(seed: seed)
        let settled = line.run(commands: 5)
        #expect(settled)
    }
}
