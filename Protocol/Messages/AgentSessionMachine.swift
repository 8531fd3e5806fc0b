import SwiftProtobuf

/// What an agent does about a frame from the controller.
package enum AgentSessionEvent: Sendable {
    /// The session is live: take the controller's time and intervals; send the frames.
    case welcomed(WireWelcome, frames: [WireAgentFrame])
    /// The controller heard us; its time and the metric interval are inside.
    case heartbeatAnswered(WireHeartbeatAnswer)
    /// Begin this command and send the frame, which accepts it.
    case start(WireCommand, frame: WireAgentFrame)
    /// Stop the running command, whose result nobody wants any more, then begin the other one.
    case replace(running: CommandID, with: WireCommand, frame: WireAgentFrame)
    /// Nothing to do but to send: a repetition, a refusal, a Hello.
    case answer(WireAgentFrame)
    /// Stop this command if it is running; its result is still reported.
    case cancel(CommandID)
    /// The controller keeps the result; the journal may mark it so.
    case stored(CommandID)
    /// Our key is not bound any more: enrol again.
    case enrolAgain(reason: String)
    case ignored(IgnoredFrame)
}

/// The agent's side of a session with the controller.
///
/// ```
/// unbound ──admitted──▶ offline ──connected──▶ greeting ──Welcome──▶ live
///    ▲                     ▲                    │    ▲                │
///    │                     └────disconnected────┴────│────────────────┤
///    │                                               └─Goodbye/silence┤
///    └──────────────keyRefused, Goodbye(enrol)────────────────────────┘
/// ```
///
/// One value lives as long as the agent's process: a lost connection does not end the session, and neither
/// the running command nor a result that waits to be stored is touched by it.
package struct AgentSessionMachine: ~Copyable {
    /// Where the session stands.
    package enum State: Sendable, Equatable {
        case unbound
        case offline
        case greeting
        case live
    }

    private struct Outcome {
        let result: WireCommandResult
        var stored: Bool
        var repeatAt: Duration
        var pause: Duration
    }

    /// Scopes whose highest attempt is remembered.
    package static let scopesMax = 16

    package private(set) var state = State.unbound
    private let session: [UInt8]
    private var hello: WireHello
    private var version = WireVersion.current
    private var sequence: UInt64 = 0
    private var received: UInt64 = 0
    private var helloSequence: UInt64 = 0
    private var helloAt: Duration?
    private var heardAt = Duration.zero
    private var heartbeatAt = Duration.zero
    private var heartbeatPause = SessionTiming.heartbeat
    private var running: WireCommand?
    private var outcome: Outcome?
    private var attempts: [(scope: String, attempt: UInt64)] = []

    /// Begins at the start of the agent.
    /// - Parameters:
    ///   - session: 16 random bytes.
    ///   - hello: who we are; `current_command` is filled in by this type.
    ///   - journalled: the outcome that an earlier process of this agent left behind, if any.
    package init(session: [UInt8], hello: WireHello, journalled: WireCommandResult? = nil) {
        precondition(session.count == 16, "a session's name has 16 bytes")
        self.session = session
        self.hello = hello
        if let journalled {
            outcome = Outcome(
                result: journalled,
                stored: false,
                repeatAt: .zero,
                pause: SessionTiming.resultRepeat
            )
        }
    }

    /// The command that is running; `nil` when there is none.
    package var runningCommand: CommandID? { running.flatMap { CommandID($0.id) } }

    /// Our key is bound.
    /// - Parameter version: what the controller chose.
    package mutating func admitted(version: UInt32) {
        self.version = version
        state = .offline
    }

    /// The control connection stands: returns the Hello to send.
    package mutating func connected(uptimeSeconds: Double, at now: Duration) -> WireAgentFrame {
        makeHello(uptimeSeconds: uptimeSeconds, at: now)
    }

    /// The control connection is gone.
    package mutating func disconnected() {
        if state != .unbound { state = .offline }
    }

    /// The controller refuses our key.
    package mutating func keyRefused() { state = .unbound }

    /// Takes a frame from the controller.
    package mutating func receive(
        _ frame: WireControllerFrame,
        at now: Duration
    ) -> AgentSessionEvent {
        guard WireVersion.accepts(frame.version) else { return .ignored(.version) }
        guard Array(frame.session) == session else { return .ignored(.session) }
        guard let body = frame.body else { return .ignored(.unknown) }
        if case .goodbye(let goodbye) = body { return dismissed(goodbye, at: now) }
        if case .welcome(let welcome) = body {
            return welcomed(welcome, sequence: frame.sequence, at: now)
        }
        guard state == .live else { return .ignored(.early) }
        guard frame.sequence > received else { return .ignored(.replayed) }
        received = frame.sequence
        heardAt = now
        switch body {
        case .command(let command): return ordered(command, at: now)
        case .resultStored(let stored): return resultStored(stored)
        case .heartbeatAnswer(let answer): return .heartbeatAnswered(answer)
        case .cancel(let cancel):
            guard let id = CommandID(cancel.command) else { return .ignored(.malformed) }
            return running?.id == id.text ? .cancel(id) : .ignored(.late)
        case .welcome, .goodbye: return .ignored(.unknown)
        }
    }

    /// Time has passed; call at least once a second.
    ///
    /// `clock` is the agent's time of day, for the heartbeat; `now` is elapsed time.
    /// - Returns: frames to send: heartbeats, repeated results, a repeated Hello.
    package mutating func tick(
        uptimeSeconds: Double,
        clock: Timestamp,
        at now: Duration
    ) -> [WireAgentFrame] {
        switch state {
        case .unbound, .offline: return []
        case .greeting:
            guard now - (helloAt ?? .zero) >= SessionTiming.helloRepeat else { return [] }
            return [makeHello(uptimeSeconds: uptimeSeconds, at: now)]
        case .live:
            guard now - heardAt < SessionTiming.lostAfter else {
                return [makeHello(uptimeSeconds: uptimeSeconds, at: now)]
            }
            var frames: [WireAgentFrame] = []
            if now >= heartbeatAt {
                heartbeatAt = now + heartbeatPause
                frames.append(
                    frame(
                        .heartbeat(
                            .with {
                                $0.agentTimeNanoseconds = clock.nanoseconds
                                $0.uptimeSeconds = uptimeSeconds
                                $0.currentCommand = running?.id ?? ""
                            }
                        )
                    )
                )
            }
            if let repeated = repeatedResult(at: now) { frames.append(repeated) }
            return frames
        }
    }

    /// How far the running command is.
    /// - Returns: the frame to send; `nil` without a live session or when the command is not the running one.
    package mutating func report(_ progress: WireProgress) -> WireAgentFrame? {
        guard state == .live, progress.command == running?.id else { return nil }
        return frame(.progress(progress))
    }

    /// Lines of the running command.
    /// - Returns: the frame to send; `nil` without a live session.
    package mutating func report(_ lines: WireLogLines) -> WireAgentFrame? {
        guard state == .live else { return nil }
        return frame(.logLines(lines))
    }

    /// The running command has ended; journal its result before calling this.
    /// - Returns: the frame to send, `nil` without a live session (it is sent when there is one again)
    ///   or when the command was replaced meanwhile.
    package mutating func finished(
        _ result: WireCommandResult,
        at now: Duration
    ) -> WireAgentFrame? {
        guard result.command == running?.id else { return nil }
        running = nil
        outcome = Outcome(
            result: result,
            stored: false,
            repeatAt: now,
            pause: SessionTiming.resultRepeat
        )
        return state == .live ? repeatedResult(at: now) : nil
    }

    private mutating func frame(_ body: WireAgentFrame.OneOf_Body) -> WireAgentFrame {
        sequence += 1
        var frame = WireAgentFrame()
        frame.version = version
        frame.session.append(contentsOf: session)
        frame.sequence = sequence
        frame.body = body
        return frame
    }

    private mutating func makeHello(uptimeSeconds: Double, at now: Duration) -> WireAgentFrame {
        hello.uptimeSeconds = uptimeSeconds
        hello.currentCommand = running?.id ?? outcome?.result.command ?? ""
        hello.currentAttempt = running?.attempt ?? outcome?.result.attempt ?? 0
        let frame = frame(.hello(hello))
        helloSequence = frame.sequence
        helloAt = now
        state = .greeting
        return frame
    }

    private mutating func welcomed(
        _ welcome: WireWelcome,
        sequence: UInt64,
        at now: Duration
    ) -> AgentSessionEvent {
        guard state == .greeting else { return .ignored(.late) }
        guard welcome.helloSequence == helloSequence else { return .ignored(.replayed) }
        state = .live
        received = sequence
        heardAt = now
        heartbeatPause = .seconds(Int64(min(max(welcome.heartbeatSeconds, 1), 20)))
        heartbeatAt = now + heartbeatPause
        var frames: [WireAgentFrame] = []
        if outcome?.stored == false {
            outcome?.repeatAt = now
            outcome?.pause = SessionTiming.resultRepeat
            if let result = repeatedResult(at: now) { frames.append(result) }
        }
        return .welcomed(welcome, frames: frames)
    }

    private mutating func dismissed(
        _ goodbye: WireGoodbye,
        at now: Duration
    ) -> AgentSessionEvent {
        guard state != .unbound else { return .ignored(.early) }
        if goodbye.enrol {
            state = .unbound
            return .enrolAgain(reason: goodbye.reason)
        }
        guard state != .offline else { return .ignored(.late) }
        if let helloAt, now - helloAt < SessionTiming.helloPause {
            state = .greeting
            return .ignored(.late)
        }
        return .answer(makeHello(uptimeSeconds: hello.uptimeSeconds, at: now))
    }

    private mutating func ordered(_ command: WireCommand, at now: Duration) -> AgentSessionEvent {
        guard let id = CommandID(command.id) else { return .ignored(.malformed) }
        if running?.id == id.text { return .answer(acceptance(of: command)) }
        if outcome?.result.command == id.text {
            outcome?.stored = false
            outcome?.repeatAt = now
            return repeatedResult(at: now).map { .answer($0) } ?? .ignored(.late)
        }
        let scope = command.scope
        let highest = attempts.first { $0.scope == scope }?.attempt ?? 0
        guard command.attempt >= highest else {
            return .answer(
                refusal(
                    of: command,
                    retryable: false,
                    "cannot begin the command: attempt \(command.attempt) is out of date, \(highest) was seen"
                )
            )
        }
        guard command.body != nil else {
            return .answer(
                refusal(
                    of: command,
                    retryable: false,
                    "cannot begin the command: this agent does not know its kind; update the agent"
                )
            )
        }
        let previous = running
        if let previous, previous.scope != scope || previous.attempt >= command.attempt {
            return .answer(
                refusal(
                    of: command,
                    retryable: true,
                    "cannot begin the command: command \(previous.id) is running; wait for it or cancel it"
                )
            )
        }
        remember(command.attempt, of: scope)
        running = command
        outcome = nil
        let frame = acceptance(of: command)
        guard let old = previous.flatMap({ CommandID($0.id) }) else {
            return .start(command, frame: frame)
        }
        return .replace(running: old, with: command, frame: frame)
    }

    private mutating func remember(_ attempt: UInt64, of scope: String) {
        attempts.removeAll { $0.scope == scope }
        attempts.append((scope, attempt))
        if attempts.count > Self.scopesMax { attempts.removeFirst() }
    }

    private mutating func acceptance(of command: WireCommand) -> WireAgentFrame {
        frame(
            .accepted(
                .with {
                    $0.command = command.id
                    $0.attempt = command.attempt
                }
            )
        )
    }

    private mutating func refusal(
        of command: WireCommand,
        retryable: Bool,
        _ message: String
    ) -> WireAgentFrame {
        frame(
            .result(
                .with {
                    $0.command = command.id
                    $0.attempt = command.attempt
                    $0.failure = .with {
                        $0.message = message
                        $0.retryable = retryable
                    }
                }
            )
        )
    }

    private mutating func repeatedResult(at now: Duration) -> WireAgentFrame? {
        guard let outcome, !outcome.stored, now >= outcome.repeatAt else { return nil }
        self.outcome?.repeatAt = now + outcome.pause
        self.outcome?.pause = min(outcome.pause * 2, SessionTiming.resultRepeatMax)
        return frame(.result(outcome.result))
    }

    private mutating func resultStored(_ stored: WireResultStored) -> AgentSessionEvent {
        guard let id = CommandID(stored.command) else { return .ignored(.malformed) }
        guard outcome?.result.command == id.text, outcome?.result.attempt == stored.attempt else {
            return .ignored(.late)
        }
        outcome?.stored = true
        return .stored(id)
    }
}
