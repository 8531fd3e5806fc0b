import Protocol
import SwiftProtobuf
import Testing

let session = [UInt8](repeating: 3, count: 16)
let first = "00000000-0000-4000-8000-000000000001"
let second = "00000000-0000-4000-8000-000000000002"
let node = "00000000-0000-4000-8000-0000000000aa"

/// A frame of the controller in the agent's session.
func answer(
    _ sequence: UInt64,
    version: UInt32 = 1,
    session name: [UInt8] = session,
    _ body: WireControllerFrame.OneOf_Body?
) -> WireControllerFrame {
    var frame = WireControllerFrame()
    frame.version = version
    frame.session.append(contentsOf: name)
    frame.sequence = sequence
    frame.body = body
    return frame
}

func welcome(to hello: UInt64) -> WireControllerFrame.OneOf_Body {
    .welcome(
        .with {
            $0.heartbeatSeconds = 10
            $0.metricSeconds = 5
            $0.helloSequence = hello
        }
    )
}

func order(
    _ id: String,
    attempt: UInt64 = 1,
    _ body: WireCommand.OneOf_Body? = .inspect(WireInspect())
) -> WireControllerFrame.OneOf_Body {
    .command(
        .with {
            $0.id = id
            $0.node = node
            $0.attempt = attempt
            $0.body = body
        }
    )
}

func outcome(_ id: String, attempt: UInt64 = 1) -> WireCommandResult {
    .with {
        $0.command = id
        $0.attempt = attempt
        $0.restarting = WireRestarting()
    }
}

/// An agent with a live session, at second 0; its Hello had sequence 1, the Welcome too.
func liveAgent(journalled: WireCommandResult? = nil) -> AgentSessionMachine {
    var agent = AgentSessionMachine(session: session, hello: WireHello(), journalled: journalled)
    agent.admitted(version: 1)
    _ = agent.connected(uptimeSeconds: 1, at: .zero)
    _ = agent.receive(answer(1, welcome(to: 1)), at: .zero)
    return agent
}

extension AgentSessionMachine {
    /// One word for what the machine made of a frame.
    mutating func take(_ frame: WireControllerFrame, at seconds: Int = 0) -> String {
        switch receive(frame, at: .seconds(seconds)) {
        case .welcomed(_, let frames): "welcomed \(frames.count)"
        case .heartbeatAnswered: "answered"
        case .start(let command, let frame): "start \(command.id == frame.accepted.command)"
        case .replace(let running, let command, _): "replace \(running.text) \(command.id)"
        case .answer(let frame):
            switch frame.body {
            case .hello: "hello"
            case .accepted: "accepted"
            case .result(let result):
                result.failure.message.isEmpty
                    ? "result" : "refused\(result.failure.retryable ? ", again" : "")"
            default: "other"
            }
        case .cancel: "cancel"
        case .stored: "stored"
        case .enrolAgain: "enrol"
        case .ignored(let reason): "ignored: \(reason)"
        }
    }

    mutating func ticked(_ seconds: Int) -> [String] {
        tick(uptimeSeconds: 1, clock: Timestamp(nanoseconds: 5), at: .seconds(seconds)).map {
            switch $0.body {
            case .hello: "hello"
            case .heartbeat: "heartbeat"
            case .result: "result"
            default: "other"
            }
        }
    }
}

struct AgentSessionTests {
    @Test func `a session goes from unbound over Hello and Welcome to live`() {
        var agent = AgentSessionMachine(session: session, hello: WireHello())
        #expect(agent.state == .unbound)
        agent.admitted(version: 1)
        #expect(agent.state == .offline)
        let hello = agent.connected(uptimeSeconds: 4, at: .zero)
        #expect(hello.sequence == 1)
        #expect(hello.hello.uptimeSeconds == 4)
        #expect(Array(hello.session) == session)
        #expect(agent.state == .greeting)
        #expect(agent.take(answer(1, welcome(to: 1))) == "welcomed 0")
        #expect(agent.state == .live)
        agent.disconnected()
        #expect(agent.state == .offline)
    }

    @Test func `a Welcome to an older Hello is ignored`() {
        var agent = AgentSessionMachine(session: session, hello: WireHello())
        agent.admitted(version: 1)
        _ = agent.connected(uptimeSeconds: 1, at: .zero)
        _ = agent.connected(uptimeSeconds: 1, at: .seconds(1))
        #expect(agent.take(answer(1, welcome(to: 1))) == "ignored: replayed")
        #expect(agent.take(answer(2, welcome(to: 2))) == "welcomed 0")
        #expect(agent.take(answer(2, welcome(to: 2))) == "ignored: late")
    }

    @Test func `a Hello without answer is repeated`() {
        var agent = AgentSessionMachine(session: session, hello: WireHello())
        agent.admitted(version: 1)
        #expect(agent.ticked(1) == [])
        _ = agent.connected(uptimeSeconds: 1, at: .seconds(1))
        #expect(agent.ticked(5) == [])
        #expect(agent.ticked(6) == ["hello"])
        #expect(agent.ticked(7) == [])
    }

    @Test func `frames of another session, version or with an old number are ignored`() {
        var agent = liveAgent()
        #expect(agent.take(answer(5, order(first))) == "start true")
        #expect(agent.take(answer(5, order(second))) == "ignored: replayed")
        #expect(agent.take(answer(4, order(second))) == "ignored: replayed")
        #expect(agent.take(answer(6, version: 0, order(second))) == "ignored: version")
        #expect(agent.take(answer(6, version: 2, order(second))) == "ignored: version")
        #expect(agent.take(answer(6, session: [1], order(second))) == "ignored: session")
        #expect(agent.take(answer(6, nil)) == "ignored: unknown")
        #expect(agent.runningCommand?.text == first)
    }

    @Test func `a command begins once however often it comes`() {
        var agent = liveAgent()
        #expect(agent.take(answer(2, order(first))) == "start true")
        #expect(agent.take(answer(3, order(first))) == "accepted")
        let result = agent.finished(outcome(first), at: .seconds(1))
        #expect(result?.result.command == first)
        #expect(agent.take(answer(4, order(first)), at: 2) == "result")
        #expect(
            agent.take(
                answer(
                    5,
                    .resultStored(
                        .with {
                            $0.command = first; $0.attempt = 1
                        }
                    )
                )
            ) == "stored"
        )
        #expect(agent.take(answer(6, order(first)), at: 3) == "result")
        #expect(agent.runningCommand == nil)
    }

    @Test func `a result is repeated with growing pauses until it is stored`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first)))
        #expect(agent.finished(outcome(first), at: .seconds(1)) != nil)
        #expect(agent.ticked(15) == ["heartbeat"])
        #expect(agent.ticked(16) == ["result"])
        #expect(
            agent.take(answer(3, .heartbeatAnswer(WireHeartbeatAnswer())), at: 20) == "answered"
        )
        #expect(agent.ticked(45) == ["heartbeat"])
        #expect(agent.ticked(46) == ["result"])
        let stored = answer(
            4,
            .resultStored(
                .with {
                    $0.command = first; $0.attempt = 1
                }
            )
        )
        #expect(agent.take(stored, at: 47) == "stored")
        #expect(agent.ticked(48) == [])
    }

    @Test func `a result that another attempt was stored for is still repeated`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first, attempt: 4)))
        _ = agent.finished(outcome(first, attempt: 4), at: .zero)
        let other = answer(
            3,
            .resultStored(
                .with {
                    $0.command = first; $0.attempt = 3
                }
            )
        )
        #expect(agent.take(other) == "ignored: late")
        #expect(agent.ticked(15) == ["heartbeat", "result"])
    }

    @Test func `a result that ended without a line is sent after the next Welcome`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first)))
        agent.disconnected()
        #expect(agent.finished(outcome(first), at: .seconds(1)) == nil)
        let hello = agent.connected(uptimeSeconds: 1, at: .seconds(2))
        #expect(hello.hello.currentCommand == first)
        #expect(agent.take(answer(1, welcome(to: hello.sequence)), at: 2) == "welcomed 1")
    }

    @Test func `a journalled result of an earlier process is sent after Welcome`() {
        var agent = AgentSessionMachine(
            session: session,
            hello: WireHello(),
            journalled: outcome(first)
        )
        agent.admitted(version: 1)
        let hello = agent.connected(uptimeSeconds: 1, at: .zero)
        #expect(hello.hello.currentCommand == first)
        #expect(agent.take(answer(1, welcome(to: 1))) == "welcomed 1")
        #expect(agent.take(answer(2, order(first))) == "result")
    }

    @Test func `a command of an older attempt is refused for good`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first, attempt: 5)))
        _ = agent.finished(outcome(first, attempt: 5), at: .zero)
        #expect(agent.take(answer(3, order(second, attempt: 4))) == "refused")
        #expect(agent.take(answer(4, order(second, attempt: 5))) == "start true")
    }

    @Test func `attempts of a deployment and of the node are counted apart`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first, attempt: 5)))
        _ = agent.finished(outcome(first, attempt: 5), at: .zero)
        let step = WireCommand.OneOf_Body.applyStep(.with { $0.deployment = second })
        #expect(agent.take(answer(3, order(second, attempt: 1, step))) == "start true")
    }

    @Test func `a newer attempt replaces the running command, an equal one has to wait`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first, attempt: 5)))
        #expect(agent.take(answer(3, order(second, attempt: 5))) == "refused, again")
        #expect(
            agent.take(answer(4, order(second, attempt: 6))) == "replace \(first) \(second)"
        )
        #expect(agent.finished(outcome(first, attempt: 5), at: .zero) == nil)
        #expect(agent.finished(outcome(second, attempt: 6), at: .zero) != nil)
    }

    @Test func `a command of unknown kind or with a malformed id is not begun`() {
        var agent = liveAgent()
        #expect(agent.take(answer(2, order(first, nil))) == "refused")
        #expect(agent.take(answer(3, order("nonsense"))) == "ignored: malformed")
    }

    @Test func `only the running command is cancelled and reported on`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first)))
        #expect(agent.take(answer(3, .cancel(.with { $0.command = second }))) == "ignored: late")
        #expect(agent.take(answer(4, .cancel(.with { $0.command = first }))) == "cancel")
        #expect(agent.report(.with { $0.command = second } as WireProgress) == nil)
        #expect(agent.report(.with { $0.command = first } as WireProgress) != nil)
    }

    @Test func `Goodbye is answered with Hello at most once a second`() {
        var agent = liveAgent()
        let goodbye = answer(0, .goodbye(.with { $0.reason = "who?" }))
        #expect(agent.take(goodbye, at: 2) == "hello")
        #expect(agent.take(goodbye, at: 2) == "ignored: late")
        #expect(agent.state == .greeting)
        #expect(agent.take(goodbye, at: 4) == "hello")
    }

    @Test func `Goodbye with enrol and a refused key make the agent enrol again`() {
        var agent = liveAgent()
        #expect(agent.take(answer(9, .goodbye(.with { $0.enrol = true }))) == "enrol")
        #expect(agent.state == .unbound)
        agent.admitted(version: 1)
        agent.keyRefused()
        #expect(agent.state == .unbound)
    }

    @Test func `a silent controller is greeted again`() {
        var agent = liveAgent()
        #expect(agent.ticked(29) == ["heartbeat"])
        #expect(agent.ticked(30) == ["hello"])
        #expect(agent.state == .greeting)
    }

    @Test func `sequence numbers grow by one over all kinds of frames`() {
        var agent = liveAgent()
        _ = agent.take(answer(2, order(first)))
        let progress = agent.report(.with { $0.command = first } as WireProgress)
        let lines = agent.report(.with { $0.command = first } as WireLogLines)
        #expect([progress?.sequence, lines?.sequence] == [3, 4])
    }
}
