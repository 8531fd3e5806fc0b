package import Basics
package import Protocol
import Synchronization

/// A network inside the process, for simulation and tests: one controller and any number of agents.
///
/// It behaves as the real one does towards both sides (the same tests run against both): a key that is not
/// admitted is refused, connections come back by themselves, what was sent over a connection that ended is
/// lost. It needs neither threads nor ports.
package final class InMemoryNetwork: Sendable {
    fileprivate struct State {
        var controller: InMemoryControllerLink?
        var agents: [UInt64: InMemoryAgentLink] = [:]
        var next: UInt64 = 0
        /// Agents that nothing reaches, by number.
        var cut: Set<UInt64> = []
    }

    fileprivate let state = Mutex(State())
    fileprivate let time: any TimeSource

    /// Makes a network without anybody on it.
    package init(time: some TimeSource) { self.time = time }

    /// Starts the controller's side; an earlier one is stopped first.
    package func makeController() -> InMemoryControllerLink {
        stopController()
        let controller = InMemoryControllerLink(self)
        state.withLock { $0.controller = controller }
        return controller
    }

    /// Lets in whoever waited for the controller's first snapshot of keys.
    fileprivate func connectAgents() {
        let agents = state.withLock { $0.agents.sorted { $0.key < $1.key }.map(\.value) }
        for agent in agents { agent.connect() }
    }

    /// Ends the controller's side, as a crash would: agents see their connections end.
    package func stopController() {
        let (controller, agents) = state.withLock { state in
            defer { state.controller = nil }
            return (state.controller, state.agents.sorted { $0.key < $1.key }.map(\.value))
        }
        guard let controller else { return }
        controller.finish()
        for agent in agents { agent.disconnect() }
    }

    /// Puts a machine on the network.
    package func makeAgent(keys: CurveKeyPair, address: String) -> InMemoryAgentLink {
        state.withLock { state in
            state.next += 1
            let agent = InMemoryAgentLink(
                self,
                number: state.next,
                key: keys.publicKey,
                address: address
            )
            state.agents[state.next] = agent
            return agent
        }
    }

    /// Cuts an agent off, or heals its line.
    package func setCut(_ cut: Bool, for agent: InMemoryAgentLink) {
        let changed = state.withLock { state in
            cut
                ? state.cut.insert(agent.number).inserted : state.cut.remove(agent.number) != nil
        }
        guard changed else { return }
        if cut { agent.disconnect() } else { agent.connect() }
    }

    /// The controller, for an agent that reaches it.
    fileprivate func controller(for agent: InMemoryAgentLink) -> InMemoryControllerLink? {
        state.withLock { $0.cut.contains(agent.number) ? nil : $0.controller }
    }

    fileprivate func agent(_ number: UInt64) -> InMemoryAgentLink? {
        state.withLock { $0.cut.contains(number) ? nil : $0.agents[number] }
    }

    fileprivate func remove(_ agent: InMemoryAgentLink) {
        state.withLock { _ = $0.agents.removeValue(forKey: agent.number) }
    }
}

/// The controller's side of an `InMemoryNetwork`.
package final class InMemoryControllerLink: ControllerLink {
    private struct State {
        var rules = AdmissionRules(EnrolmentLimits())
        var subscribers: [(prefix: String, key: CurvePublicKey, inbox: Inbox<StreamMessage>)] = []
    }

    /// What a subscriber receives.
    package struct StreamMessage: Sendable {
        package let topic: String
        package let payload: [UInt8]
    }

    package let enrolments = Inbox<EnrolmentArrival>(countMax: 64, overflow: .refuseNewest)
    package let frames = Inbox<FrameArrival>(
        countMax: 1024,
        bytesMax: 64 << 20,
        overflow: .refuseNewest
    )
    package let metrics = Inbox<MetricArrival>(
        countMax: 1024,
        bytesMax: 16 << 20,
        overflow: .dropOldest
    )
    private let state = Mutex(State())
    private let network: InMemoryNetwork

    fileprivate init(_ network: InMemoryNetwork) { self.network = network }

    @discardableResult
    package func send(_ message: ControllerMessage, to peer: Peer) -> Bool {
        let connection = Connection(peer.routingID)
        guard let connection, let agent = network.agent(connection.agent) else { return true }
        switch message {
        case .reply(let reply): agent.answer(reply)
        case .frame(let frame): agent.receive(frame, connection: connection.number)
        }
        return true
    }

    package func admit(_ keys: AdmittedKeys) {
        let (cut, first) = state.withLock { state in
            let first = state.rules.keys.generation == 0
            guard state.rules.admit(keys) else { return ([Inbox<StreamMessage>](), first) }
            let gone = state.subscribers.filter { keys.readers[$0.key] == nil }
            state.subscribers.removeAll { keys.readers[$0.key] == nil }
            return (gone.map(\.inbox), first)
        }
        for inbox in cut { inbox.finish() }
        if first { network.connectAgents() }
    }

    package func publish(topic: String, payload: [UInt8]) {
        let inboxes = state.withLock { state in
            state.subscribers.filter { topic.hasPrefix($0.prefix) }.map(\.inbox)
        }
        for inbox in inboxes { inbox.push(StreamMessage(topic: topic, payload: payload)) }
    }

    /// Subscribes; `nil` unless the key is a reader's.
    package func subscribe(_ prefix: String, key: CurvePublicKey) -> Inbox<StreamMessage>? {
        state.withLock { state in
            guard state.rules.keys.readers[key] != nil else { return nil }
            let inbox = Inbox<StreamMessage>(countMax: 4096, overflow: .dropOldest)
            state.subscribers.append((prefix, key, inbox))
            return inbox
        }
    }

    /// What names a connection: the agent, and which of its connections.
    fileprivate struct Connection {
        let agent: UInt64
        let number: UInt64

        init(agent: UInt64, number: UInt64) {
            self.agent = agent
            self.number = number
        }

        init?(_ routingID: [UInt8]) {
            guard routingID.count == 16 else { return nil }
            agent = routingID[..<8].reduce(0) { $0 << 8 | UInt64($1) }
            number = routingID[8...].reduce(0) { $0 << 8 | UInt64($1) }
        }

        var routingID: [UInt8] {
            [agent, number].flatMap { word in
                (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) }
            }
        }
    }

    fileprivate func judge(_ agent: InMemoryAgentLink) -> AdmissionRules.Decision {
        state.withLock { state in
            state.rules.judge(agent.key, domain: .control, address: agent.address, at: .zero)
        }
    }

    fileprivate func enrol(_ request: WireEnrolRequest, from agent: InMemoryAgentLink) {
        let connection = Connection(agent: agent.number, number: 0)
        enrolments.push(
            EnrolmentArrival(
                request: request,
                key: agent.key,
                address: agent.address,
                peer: Peer(socket: .enrolment, routingID: connection.routingID)
            )
        )
    }

    fileprivate func take(
        _ frame: WireAgentFrame,
        bytes: Int,
        from agent: InMemoryAgentLink,
        connection: UInt64
    ) {
        let name = Connection(agent: agent.number, number: connection)
        let peer = Peer(socket: .control, routingID: name.routingID)
        let sender = state.withLock { $0.rules.keys.agents[agent.key] }
        guard let sender else {
            var goodbye = WireControllerFrame()
            goodbye.version = frame.version
            goodbye.session = frame.session
            goodbye.goodbye.reason = "this key is not bound to a node any more"
            goodbye.goodbye.enrol = true
            agent.receive(goodbye, connection: connection)
            return
        }
        frames.push(
            FrameArrival(
                frame: frame,
                sender: sender,
                key: agent.key,
                address: agent.address,
                peer: peer
            ),
            bytes: bytes
        )
    }

    fileprivate func take(_ batch: WireMetricBatch, from agent: InMemoryAgentLink) {
        let sender = state.withLock { $0.rules.keys.agents[agent.key] }
        guard let sender, WireVersion.accepts(batch.version) else { return }
        metrics.push(MetricArrival(batch: batch, sender: sender))
    }

    fileprivate func finish() {
        enrolments.finish()
        frames.finish()
        metrics.finish()
        let subscribers = state.withLock { state in
            defer { state.subscribers = [] }
            return state.subscribers
        }
        for subscriber in subscribers { subscriber.inbox.finish() }
    }
}

/// An agent's side of an `InMemoryNetwork`.
package final class InMemoryAgentLink: AgentLink {
    private struct State {
        var wanted = false
        var connected = false
        var closed = false
        var connection: UInt64 = 0
        var waiting: [UInt64: (exchange: [UInt8], inbox: Inbox<WireEnrolReply>)] = [:]
        var nextEnrolment: UInt64 = 0
    }

    package let events = Inbox<AgentLinkEvent>(
        countMax: 256,
        bytesMax: 16 << 20,
        overflow: .refuseNewest
    )
    fileprivate let number: UInt64
    fileprivate let key: CurvePublicKey
    fileprivate let address: String
    private let network: InMemoryNetwork
    private let metrics = MetricOutbox()
    private let state = Mutex(State())

    /// Size of a control frame; a larger one ends the connection.
    private static let frameBytesMax = 4 << 20

    fileprivate init(
        _ network: InMemoryNetwork,
        number: UInt64,
        key: CurvePublicKey,
        address: String
    ) {
        self.network = network
        self.number = number
        self.key = key
        self.address = address
    }

    package func enrol(_ request: WireEnrolRequest) async throws -> WireEnrolReply {
        let inbox = Inbox<WireEnrolReply>(countMax: 1, overflow: .refuseNewest)
        let id = state.withLock { state -> UInt64? in
            guard !state.closed else { return nil }
            state.nextEnrolment += 1
            state.waiting[state.nextEnrolment] = (Array(request.exchange), inbox)
            return state.nextEnrolment
        }
        guard let id else { throw AgentSockets.closedFault }
        defer { state.withLock { _ = $0.waiting.removeValue(forKey: id) } }
        network.controller(for: self)?.enrol(request, from: self)
        do {
            let reply = try await withBudget(
                AgentSockets.replyWithin,
                for: "the enrolment's reply",
                on: network.time
            ) { await inbox.next() }
            try Task.checkCancellation()
            guard let reply else { throw AgentSockets.closedFault }
            return reply
        } catch is TimeBudgetExceeded {
            throw Fault(.timeout, "cannot enrol: the controller sent no reply; try again")
        }
    }

    package func open() {
        disconnect()
        state.withLock { $0.wanted = !$0.closed }
        connect()
    }

    @discardableResult
    package func send(_ frame: WireAgentFrame) -> Bool {
        guard let bytes = encode(frame)?.count else { return false }
        let connection = state.withLock { $0.connected ? $0.connection : nil }
        guard let connection, let controller = network.controller(for: self) else { return false }
        guard bytes <= Self.frameBytesMax else {
            disconnect()
            connect()
            return true
        }
        controller.take(frame, bytes: bytes, from: self, connection: connection)
        return true
    }

    package func push(_ batch: WireMetricBatch) {
        metrics.push(batch)
        deliverMetrics()
    }

    package func close() async {
        let waiting = state.withLock { state in
            state.closed = true
            state.wanted = false
            state.connected = false
            return state.waiting.sorted { $0.key < $1.key }.map(\.value.inbox)
        }
        for inbox in waiting { inbox.finish() }
        network.remove(self)
        events.finish()
    }

    fileprivate func connect() {
        guard state.withLock({ $0.wanted && !$0.connected }),
            let controller = network.controller(for: self)
        else { return }
        switch controller.judge(self) {
        case .admit: break
        case .later: return
        case .refuse:
            state.withLock { $0.wanted = false }
            events.push(.keyRefused)
            return
        }
        state.withLock { state in
            state.connected = true
            state.connection += 1
        }
        events.push(.connected)
        deliverMetrics()
    }

    fileprivate func disconnect() {
        let was = state.withLock { state in
            defer { state.connected = false }
            return state.connected
        }
        if was { events.push(.disconnected) }
    }

    fileprivate func receive(_ frame: WireControllerFrame, connection: UInt64) {
        guard state.withLock({ $0.connected && $0.connection == connection }) else { return }
        events.push(.frame(frame), bytes: encode(frame)?.count ?? 0)
    }

    fileprivate func answer(_ reply: WireEnrolReply) {
        let waiting = state.withLock { state in
            state.waiting.values.first { $0.exchange == Array(reply.exchange) }?.inbox
        }
        waiting?.push(reply)
    }

    private func deliverMetrics() {
        guard state.withLock({ $0.connected }), let controller = network.controller(for: self)
        else { return }
        while let batch = metrics.poll() { controller.take(batch, from: self) }
    }
}
