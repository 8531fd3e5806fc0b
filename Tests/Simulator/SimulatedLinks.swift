import Basics
import Protocol
import Transport

/// The controller's side of the simulated network, for one run of the controller.
final class SimulatedControllerLink: ControllerLink {
    let enrolments = Inbox<EnrolmentArrival>(countMax: 64, overflow: .refuseNewest)
    let frames = Inbox<FrameArrival>(countMax: 1024, overflow: .refuseNewest)
    let metrics = Inbox<MetricArrival>(countMax: 1024, overflow: .dropOldest)
    private let network: SimulatedNetwork
    private let life: Life
    private let keys = Confined(AdmittedKeys(generation: 0))

    init(_ network: SimulatedNetwork, life: Life) {
        self.network = network
        self.life = life
    }

    /// The number of a line and of one connection over it.
    static func routingID(_ line: UInt64, _ connection: UInt64) -> [UInt8] {
        withUnsafeBytes(of: (line.bigEndian, connection.bigEndian)) { Array($0) }
    }

    private func target(_ peer: Peer) -> (line: SimulatedAgentLink, connection: UInt64)? {
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
            bytes.reduce(0) { $0 << 8 | UInt64($1) }
        }
        guard peer.routingID.count == 16,
            let line = network.state.value.lines[number(peer.routingID[..<8])]
        else { return nil }
        return (line, number(peer.routingID[8...]))
    }

    @discardableResult
    func send(_ message: ControllerMessage, to peer: Peer) -> Bool {
        guard life.isAlive, let (line, connection) = target(peer) else { return true }
        network.sent.value(line, message)
        network.carry(message.name, along: "controller to line \(line.number)") { [network] in
            guard !network.isUnreachable(line.address) else { return }
            switch message {
            case .reply(let reply): line.answer(reply)
            case .frame(let frame): line.receive(frame, connection: connection)
            }
        }
        return true
    }

    func admit(_ next: AdmittedKeys) {
        guard life.isAlive, next.generation >= keys.value.generation else { return }
        keys.value = next
    }

    func publish(topic: String, payload: [UInt8]) {}

    /// Whether this key may connect; `nil` while nobody can tell.
    func judge(_ key: CurvePublicKey) -> Bool? {
        keys.value.generation == 0 ? nil : keys.value.agents[key] != nil
    }

    func take(_ request: WireEnrolRequest, from line: SimulatedAgentLink) {
        guard life.isAlive else { return }
        enrolments.push(
            EnrolmentArrival(
                request: request,
                key: line.key,
                address: line.address,
                peer: Peer(socket: .enrolment, routingID: Self.routingID(line.number, 0))
            )
        )
    }

    func take(_ frame: WireAgentFrame, from line: SimulatedAgentLink, connection: UInt64) {
        guard life.isAlive else { return }
        let peer = Peer(
            socket: .control,
            routingID: Self.routingID(line.number, connection)
        )
        guard let sender = keys.value.agents[line.key] else {
            var goodbye = WireControllerFrame()
            goodbye.version = frame.version
            goodbye.session = frame.session
            goodbye.goodbye.reason = "this key is not bound to a node any more"
            goodbye.goodbye.enrol = true
            send(.frame(goodbye), to: peer)
            return
        }
        frames.push(
            FrameArrival(
                frame: frame,
                sender: sender,
                key: line.key,
                address: line.address,
                peer: peer
            )
        )
    }

    func take(_ batch: WireMetricBatch, from line: SimulatedAgentLink) {
        guard life.isAlive, let sender = keys.value.agents[line.key] else { return }
        metrics.push(MetricArrival(batch: batch, sender: sender))
    }

    func finish() {
        enrolments.finish()
        frames.finish()
        metrics.finish()
    }
}

extension ControllerMessage {
    /// One word for the log.
    var name: String {
        switch self {
        case .reply(let reply):
            if case .admitted = reply.outcome { "admitted" } else { "refused" }
        case .frame(let frame):
            switch frame.body {
            case .welcome: "welcome"
            case .command(let command): "command \(command.id.prefix(8))"
            case .resultStored(let stored): "stored \(stored.command.prefix(8))"
            case .heartbeatAnswer: "answer"
            case .goodbye: "goodbye"
            case .cancel(let cancel): "cancel \(cancel.command.prefix(8))"
            case nil: "nothing"
            }
        }
    }
}

extension WireAgentFrame {
    /// One word for the log.
    var name: String {
        switch body {
        case .hello: "hello"
        case .heartbeat: "heartbeat"
        case .accepted(let accepted): "accepted \(accepted.command.prefix(8))"
        case .progress: "progress"
        case .result(let result): "result \(result.command.prefix(8))"
        case .logLines: "lines"
        case nil: "nothing"
        }
    }
}

/// An agent's side, for one run of the agent.
final class SimulatedAgentLink: AgentLink {
    private struct State {
        var wanted = false
        var connected = false
        var connection: UInt64 = 0
        var waiting: [(exchange: [UInt8], inbox: Inbox<WireEnrolReply>)] = []
    }

    let events = Inbox<AgentLinkEvent>(countMax: 256, overflow: .refuseNewest)
    let number: UInt64
    let key: CurvePublicKey
    let address: String
    /// The machine behind it, by name; an attacker has none of ours.
    let owner: String
    private let network: SimulatedNetwork
    private let life: Life
    private let state = Confined(State())

    /// How long a request waits for its reply, as over ZeroMQ.
    private static let replyWithin = Duration.seconds(10)

    init(
        _ network: SimulatedNetwork,
        number: UInt64,
        key: CurvePublicKey,
        address: String,
        owner: String,
        life: Life
    ) {
        self.network = network
        self.number = number
        self.key = key
        self.address = address
        self.owner = owner
        self.life = life
    }

    var isConnected: Bool { state.value.connected }
    /// The number of the present connection.
    var connection: UInt64 { state.value.connection }

    func enrol(_ request: WireEnrolRequest) async throws -> WireEnrolReply {
        try life.check()
        let inbox = Inbox<WireEnrolReply>(countMax: 1, overflow: .refuseNewest)
        state.value.waiting.append((Array(request.exchange), inbox))
        defer { state.value.waiting.removeAll { $0.inbox === inbox } }
        network.carry("enrol", along: "line \(number)") { [self] in
            network.controller(for: address)?.take(request, from: self)
        }
        let time = SimulatedTime(executor: network.executor, life: life)
        do {
            let reply = try await withBudget(
                Self.replyWithin,
                for: "the enrolment's reply",
                on: time
            ) { await inbox.next() }
            try Task.checkCancellation()
            guard let reply else { throw Fault(.unavailable, "cannot enrol: the link is closed") }
            return reply
        } catch is TimeBudgetExceeded {
            throw Fault(.timeout, "cannot enrol: the controller sent no reply; try again")
        }
    }

    func open() {
        guard life.isAlive else { return }
        disconnect()
        state.value.wanted = true
        connectLater(.milliseconds(5))
    }

    @discardableResult
    func send(_ frame: WireAgentFrame) -> Bool {
        guard life.isAlive else { return false }
        network.spoken.value(self, frame)
        guard state.value.connected else { return false }
        let connection = state.value.connection
        network.record(frame, of: self)
        if case .result(let result) = frame.body {
            network.log.add(owner, "reports \(result.command.prefix(8)) attempt \(result.attempt)")
            network.mayBreak(self)
        }
        network.carry(frame.name, along: "line \(number)") { [self] in
            network.controller(for: address)?.take(frame, from: self, connection: connection)
        }
        return true
    }

    func push(_ batch: WireMetricBatch) {
        guard life.isAlive, state.value.connected else { return }
        network.carry("metrics", along: "line \(number)") { [self] in
            network.controller(for: address)?.take(batch, from: self)
        }
    }

    func close() async { finish() }

    /// The process behind it is gone.
    func finish() {
        state.value.wanted = false
        state.value.connected = false
        network.remove(self)
        for waiting in state.value.waiting { waiting.inbox.finish() }
        events.finish()
    }

    func disconnect() {
        guard state.value.connected else { return }
        state.value.connected = false
        events.push(.disconnected)
        connectLater(.seconds(1))
    }

    private func connectLater(_ span: Duration) {
        network.executor.after(span) { [self] in connect() }
    }

    private func connect() {
        guard life.isAlive, state.value.wanted, !state.value.connected else { return }
        guard let controller = network.controller(for: address),
            let isAdmitted = controller.judge(key)
        else { return connectLater(.seconds(2)) }
        guard isAdmitted else {
            state.value.wanted = false
            network.log.add(owner, "key refused")
            events.push(.keyRefused)
            return
        }
        state.value.connected = true
        state.value.connection += 1
        events.push(.connected)
    }

    func receive(_ frame: WireControllerFrame, connection: UInt64) {
        guard life.isAlive, state.value.connected, state.value.connection == connection else {
            return
        }
        network.received.value(self, .frame(frame))
        events.push(.frame(frame))
    }

    func answer(_ reply: WireEnrolReply) {
        guard life.isAlive else { return }
        network.received.value(self, .reply(reply))
        let exchange = Array(reply.exchange)
        state.value.waiting.first { $0.exchange == exchange }?.inbox.push(reply)
    }
}
