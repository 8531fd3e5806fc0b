import SwiftProtobuf

/// What the controller does about a frame from an agent.
package enum ControllerSessionEvent: Sendable {
    /// A session began, or went on after its connection was lost; send the frames.
    case began(WireHello, resumed: Bool, frames: [WireControllerFrame])
    case heartbeat(WireHeartbeat, frame: WireControllerFrame)
    case accepted(CommandID, Attempt)
    case progress(WireProgress)
    /// Store the outcome, then call `resultStored`.
    case result(WireCommandResult)
    case log(WireLogLines)
    /// Nothing but to send: the agent must say Hello.
    case dismissed(WireControllerFrame)
    case ignored(IgnoredFrame)
}

/// What the passing of time means for a session.
package enum ControllerSessionTick: Sendable {
    case quiet
    /// Commands without an answer; send them again.
    case again([WireControllerFrame])
    /// Nothing was heard for too long: the session is over.
    case lost
}

/// The controller's side of the sessions with one agent (a node in one role).
///
/// ```
///           Hello                  ┌─┐ Hello again: resumed; of a new session: replaced
/// absent ──────────▶ live ─────────┘ │
///                    │  ▲ ◀──────────┘
///  silence 30 s, end │  │ Hello: resumed, when it is the same session
///                    ▼  │
///                   dormant
/// ```
///
/// A session that was replaced is never taken up again: its frames are answered with Goodbye.
package struct ControllerSessionMachine: ~Copyable {
    private struct Order {
        let command: WireCommand
        var accepted: Bool
        var sentAt: Duration
    }

    /// Commands without a result.
    package static let ordersMax = 8
    /// Names of replaced sessions that are remembered.
    package static let replacedMax = 8

    private var session: [UInt8]?
    private var live = false
    private var replaced: [[UInt8]] = []
    private var version = WireVersion.current
    private var sequence: UInt64 = 0
    private var received: UInt64 = 0
    private var heardAt = Duration.zero
    private var orders: [Order] = []
    private let metricSeconds: UInt32

    /// Begins without a session.
    /// - Parameter metricSeconds: how often the agent sends metrics.
    package init(metricSeconds: UInt32) { self.metricSeconds = metricSeconds }

    /// The live session's name; `nil` when there is none.
    package var liveSession: [UInt8]? { live ? session : nil }

    /// Takes a frame from the agent.
    ///
    /// `clock` is the time of day, told to the agent; `now` is elapsed time.
    package mutating func receive(
        _ frame: WireAgentFrame,
        clock: Timestamp,
        at now: Duration
    ) -> ControllerSessionEvent {
        let name = Array(frame.session)
        guard WireVersion.accepts(frame.version) else { return .ignored(.version) }
        guard name.count == 16, frame.sequence > 0 else { return .ignored(.malformed) }
        if case .hello(let hello) = frame.body {
            return greeted(hello, name: name, frame: frame, clock: clock, at: now)
        }
        guard live, name == session else {
            return .dismissed(dismissal(of: name, "this session is not known: say Hello"))
        }
        guard frame.sequence > received else { return .ignored(.replayed) }
        received = frame.sequence
        heardAt = now
        switch frame.body {
        case .heartbeat(let heartbeat):
            return .heartbeat(heartbeat, frame: answer(at: clock))
        case .accepted(let accepted):
            guard let id = CommandID(accepted.command) else { return .ignored(.malformed) }
            if let index = orders.firstIndex(where: { $0.command.id == id.text }) {
                orders[index].accepted = true
            }
            return .accepted(id, Attempt(accepted.attempt))
        case .progress(let progress):
            guard CommandID(progress.command) != nil else { return .ignored(.malformed) }
            return .progress(progress)
        case .result(let result):
            guard CommandID(result.command) != nil, result.outcome != nil else {
                return .ignored(.malformed)
            }
            if let index = orders.firstIndex(where: { $0.command.id == result.command }) {
                orders[index].accepted = true
            }
            return .result(result)
        case .logLines(let lines):
            return .log(lines)
        case .hello, nil:
            return .ignored(.unknown)
        }
    }

    /// Hands over a command; it is repeated until the agent has accepted it.
    ///
    /// An order of the same scope with a lower attempt is withdrawn.
    /// - Returns: the frame to send, also when the command was handed over before; `nil` without a live
    ///   session or when eight commands wait.
    package mutating func order(_ command: WireCommand, at now: Duration) -> WireControllerFrame? {
        guard live else { return nil }
        orders.removeAll {
            $0.command.scope == command.scope && $0.command.attempt < command.attempt
        }
        if let index = orders.firstIndex(where: { $0.command.id == command.id }) {
            orders[index].sentAt = now
        } else {
            guard orders.count < Self.ordersMax else { return nil }
            orders.append(Order(command: command, accepted: false, sentAt: now))
        }
        return frame(.command(command))
    }

    /// Withdraws a command.
    /// - Returns: the frame to send; `nil` without a live session.
    package mutating func cancel(_ command: CommandID) -> WireControllerFrame? {
        orders.removeAll { $0.command.id == command.text }
        guard live else { return nil }
        return frame(.cancel(.with { $0.command = command.text }))
    }

    /// The outcome is stored.
    /// - Returns: the frame to send; `nil` without a live session (the agent repeats the result).
    package mutating func resultStored(_ result: WireCommandResult) -> WireControllerFrame? {
        orders.removeAll { $0.command.id == result.command }
        guard live else { return nil }
        return frame(
            .resultStored(
                .with {
                    $0.command = result.command
                    $0.attempt = result.attempt
                }
            )
        )
    }

    /// Time has passed; call at least once a second.
    package mutating func tick(at now: Duration) -> ControllerSessionTick {
        guard live else { return .quiet }
        guard now - heardAt < SessionTiming.lostAfter else {
            rest()
            return .lost
        }
        var frames: [WireControllerFrame] = []
        for index in orders.indices
        where !orders[index].accepted && now - orders[index].sentAt >= SessionTiming.commandRepeat {
            orders[index].sentAt = now
            let command = orders[index].command
            frames.append(frame(.command(command)))
        }
        return frames.isEmpty ? .quiet : .again(frames)
    }

    /// Ends the session from our side.
    /// - Parameters:
    ///   - reason: for the agent's log.
    ///   - enrol: true when the agent's key is not bound any more.
    /// - Returns: the frame to send; `nil` when there was no session.
    package mutating func end(reason: String, enrol: Bool) -> WireControllerFrame? {
        guard live else { return nil }
        let farewell = frame(
            .goodbye(
                .with {
                    $0.reason = reason
                    $0.enrol = enrol
                }
            )
        )
        rest()
        return farewell
    }

    private mutating func greeted(
        _ hello: WireHello,
        name: [UInt8],
        frame: WireAgentFrame,
        clock: Timestamp,
        at now: Duration
    ) -> ControllerSessionEvent {
        if replaced.contains(name) {
            return .dismissed(dismissal(of: name, "this session is over: start the agent anew"))
        }
        let resumed = name == session
        if resumed {
            guard frame.sequence > received else { return .ignored(.replayed) }
        } else {
            if let session { replaced.append(session) }
            if replaced.count > Self.replacedMax { replaced.removeFirst() }
            session = name
            sequence = 0
            orders = []
        }
        live = true
        version = frame.version
        received = frame.sequence
        heardAt = now
        var frames = [
            self.frame(
                .welcome(
                    .with {
                        $0.heartbeatSeconds = UInt32(SessionTiming.heartbeat.components.seconds)
                        $0.metricSeconds = metricSeconds
                        $0.controllerTimeNanoseconds = clock.nanoseconds
                        $0.helloSequence = frame.sequence
                    }
                )
            )
        ]
        for index in orders.indices {
            orders[index].sentAt = now
            let command = orders[index].command
            frames.append(self.frame(.command(command)))
        }
        return .began(hello, resumed: resumed, frames: frames)
    }

    /// What was ordered is forgotten: whoever ordered it decides anew when the agent is back.
    private mutating func rest() {
        live = false
        orders = []
    }

    private mutating func answer(at clock: Timestamp) -> WireControllerFrame {
        frame(
            .heartbeatAnswer(
                .with {
                    $0.controllerTimeNanoseconds = clock.nanoseconds
                    $0.metricSeconds = metricSeconds
                }
            )
        )
    }

    private mutating func frame(_ body: WireControllerFrame.OneOf_Body) -> WireControllerFrame {
        sequence += 1
        var frame = WireControllerFrame()
        frame.version = version
        frame.session.append(contentsOf: session ?? [])
        frame.sequence = sequence
        frame.body = body
        return frame
    }

    /// A Goodbye outside of any session has sequence 0.
    private func dismissal(of name: [UInt8], _ reason: String) -> WireControllerFrame {
        var frame = WireControllerFrame()
        frame.version = version
        frame.session.append(contentsOf: name)
        frame.goodbye.reason = reason
        return frame
    }
}
