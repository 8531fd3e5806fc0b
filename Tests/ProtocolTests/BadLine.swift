import Protocol

/// One agent and one controller, with a line between that loses, doubles and reorders frames, and a
/// connection that breaks now and then.
///
/// Everything comes from the seed.
struct BadLine: ~Copyable {
    private var agent = AgentSessionMachine(session: session, hello: WireHello())
    private var controller = ControllerSessionMachine(metricSeconds: 10)
    private var toAgent: [WireControllerFrame] = []
    private var toController: [WireAgentFrame] = []
    private var random: UInt64
    private var connected = false
    private var runs: [String: Int] = [:]
    private var stored: Set<String> = []
    private var ending: (id: String, at: Int)?

    init(seed: UInt64) { random = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    /// Orders commands one after the other; true when each ran once and was stored within the time.
    mutating func run(commands count: Int) -> Bool {
        agent.admitted(version: 1)
        var next = 0
        for second in 0..<4000 {
            breakOrMend(second)
            advance(second)
            deliver(second)
            let id = "00000000-0000-4000-8000-00000000020\(next)"
            if stored.contains(id) {
                next += 1
                if next == count { return runs.values.allSatisfy { $0 == 1 } }
            } else if controller.liveSession != nil, second.isMultiple(of: 20) {
                if let frame = controller.order(
                    command(id, attempt: UInt64(next + 1)),
                    at: .seconds(second)
                ) {
                    send(frame)
                }
            }
        }
        return false
    }

    private mutating func number(below bound: UInt64) -> UInt64 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        return random % bound
    }

    private mutating func breakOrMend(_ second: Int) {
        if connected, number(below: 40) == 0 {
            connected = false
            toAgent = []
            toController = []
            agent.disconnected()
        } else if !connected, number(below: 5) == 0 {
            connected = true
            send(agent.connected(uptimeSeconds: Double(second), at: .seconds(second)))
        }
    }

    private mutating func advance(_ second: Int) {
        let frames = agent.tick(
            uptimeSeconds: Double(second),
            clock: Timestamp(nanoseconds: 0),
            at: .seconds(second)
        )
        for frame in frames { send(frame) }
        if case .again(let frames) = controller.tick(at: .seconds(second)) {
            for frame in frames { send(frame) }
        }
        if let (id, at) = ending, at <= second {
            ending = nil
            if let frame = agent.finished(
                outcome(id, attempt: UInt64(id.suffix(1)).map { $0 + 1 } ?? 0),
                at: .seconds(second)
            ) {
                send(frame)
            }
        }
    }

    private mutating func send(_ frame: WireAgentFrame) {
        guard connected, number(below: 4) != 0 else { return }
        toController.append(frame)
        if number(below: 6) == 0 { toController.append(frame) }
    }

    private mutating func send(_ frame: WireControllerFrame) {
        guard connected, number(below: 4) != 0 else { return }
        toAgent.append(frame)
        if number(below: 6) == 0 { toAgent.append(frame) }
    }

    private mutating func deliver(_ second: Int) {
        for _ in 0..<number(below: 8) {
            if !toController.isEmpty {
                let index = Int(number(below: UInt64(min(3, toController.count))))
                take(toController.remove(at: index), second)
            }
            if !toAgent.isEmpty {
                let index = Int(number(below: UInt64(min(3, toAgent.count))))
                take(toAgent.remove(at: index), second)
            }
        }
    }

    private mutating func take(_ frame: WireAgentFrame, _ second: Int) {
        switch controller.receive(frame, clock: Timestamp(nanoseconds: 0), at: .seconds(second)) {
        case .began(_, _, let frames): for frame in frames { send(frame) }
        case .heartbeat(_, let frame), .dismissed(let frame): send(frame)
        case .result(let result):
            // A refusal is not the outcome: the command is ordered again.
            if case .restarting = result.outcome {
                stored.insert(result.command)
                if let frame = controller.resultStored(result) { send(frame) }
            }
        case .accepted, .progress, .log, .ignored: break
        }
    }

    private mutating func take(_ frame: WireControllerFrame, _ second: Int) {
        switch agent.receive(frame, at: .seconds(second)) {
        case .welcomed(_, let frames): for frame in frames { send(frame) }
        case .start(let command, let frame), .replace(_, let command, let frame):
            runs[command.id, default: 0] += 1
            ending = (command.id, second + Int(number(below: 30)))
            send(frame)
        case .answer(let frame): send(frame)
        case .heartbeatAnswered, .cancel, .stored, .enrolAgain, .ignored: break
        }
    }
}
