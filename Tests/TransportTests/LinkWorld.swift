import Basics
import Protocol
import Synchronization
import Testing

@testable import Transport

/// A place where one controller and its agents meet; the contract tests run in each kind.
protocol LinkWorld: Sendable {
    var controller: any ControllerLink { get async }
    func makeAgent(_ keys: CurveKeyPair) async throws -> any AgentLink
    /// Ends the controller's side and begins a new one on the same addresses, which admits `keys`.
    func restartController(admitting keys: AdmittedKeys) async throws
    func close() async
}

enum LinkKind: CaseIterable, Sendable {
    case inMemory
    case zeroMQ

    /// Runs `body` in a world of this kind and closes it.
    func inWorld(_ body: (any LinkWorld) async throws -> Void) async throws {
        let world: any LinkWorld =
            switch self {
            case .inMemory: InMemoryWorld()
            case .zeroMQ: try await ZeroMQWorld()
            }
        do {
            try await body(world)
        } catch {
            await world.close()
            throw error
        }
        await world.close()
    }
}

actor InMemoryWorld: LinkWorld {
    private let network = InMemoryNetwork(time: SystemTime())
    private(set) var link: InMemoryControllerLink

    init() { link = network.makeController() }

    var controller: any ControllerLink { link }

    func makeAgent(_ keys: CurveKeyPair) -> any AgentLink {
        network.makeAgent(keys: keys, address: "127.0.0.1")
    }

    func restartController(admitting keys: AdmittedKeys) {
        network.stopController()
        link = network.makeController()
        link.admit(keys)
    }

    func close() {}
}

actor ZeroMQWorld: LinkWorld {
    private(set) var link: ZeroMQControllerLink
    private var agents: [any AgentLink] = []
    let serverKeys = CurveKeyPair()

    init(limits: EnrolmentLimits = EnrolmentLimits()) async throws {
        var configuration = ControllerLinkConfiguration(
            enrolment: "tcp://127.0.0.1:*",
            control: "tcp://127.0.0.1:*",
            telemetry: "tcp://127.0.0.1:*",
            stream: ["tcp://127.0.0.1:*"],
            keys: serverKeys
        )
        configuration.limits = limits
        link = try await ZeroMQControllerLink(configuration, time: SystemTime())
    }

    var controller: any ControllerLink { link }

    static func port(_ endpoint: String) -> UInt16 {
        endpoint.split(separator: ":").last.flatMap { UInt16($0) } ?? 0
    }

    func agentConfiguration(_ keys: CurveKeyPair) -> AgentLinkConfiguration {
        AgentLinkConfiguration(
            address: "127.0.0.1",
            enrolmentPort: Self.port(link.endpoints.enrolment),
            controlPort: Self.port(link.endpoints.control),
            telemetryPort: Self.port(link.endpoints.telemetry),
            serverKey: serverKeys.publicKey,
            keys: keys
        )
    }

    func makeAgent(_ keys: CurveKeyPair) throws -> any AgentLink {
        let agent = try ZeroMQAgentLink(agentConfiguration(keys), time: SystemTime())
        agents.append(agent)
        return agent
    }

    func restartController(admitting keys: AdmittedKeys) async throws {
        let endpoints = link.endpoints
        await link.close()
        let configuration = ControllerLinkConfiguration(
            enrolment: endpoints.enrolment,
            control: endpoints.control,
            telemetry: endpoints.telemetry,
            stream: endpoints.stream,
            keys: serverKeys
        )
        link = try await ZeroMQControllerLink(configuration, time: SystemTime())
        link.admit(keys)
    }

    func close() async {
        for agent in agents { await agent.close() }
        await link.close()
    }
}

/// The next element, or a failure after 15 s.
func next<Element: Sendable>(
    _ inbox: Inbox<Element>,
    _ subject: String = "the next element",
    within limit: Duration = .seconds(15)
) async throws -> Element {
    try #require(
        try await withBudget(limit, for: subject, on: SystemTime()) { await inbox.next() }
    )
}

/// The next event that `choose` takes; others are passed over.
func event<Value: Sendable>(
    _ link: any AgentLink,
    _ subject: String,
    _ choose: @escaping @Sendable (AgentLinkEvent) -> Value?
) async throws -> Value {
    try #require(
        try await withBudget(.seconds(20), for: subject, on: SystemTime()) {
            while let event = await link.events.next() {
                if let value = choose(event) { return value }
            }
            return nil
        }
    )
}

/// Waits until a condition holds; fails after `limit`.
func eventually(
    _ subject: String,
    within limit: Duration = .seconds(15),
    _ holds: () async -> Bool
) async throws {
    let time = SystemTime()
    let start = time.elapsed
    while await !holds() {
        guard time.elapsed - start < limit else {
            throw TimeBudgetExceeded(subject: subject, budget: limit)
        }
        try await time.sleep(for: .milliseconds(10))
    }
}

extension AdmittedKeys {
    static func with(
        _ generation: UInt64,
        agents: [(CurveKeyPair, NodeID)] = [],
        readers: [CurveKeyPair] = []
    ) -> AdmittedKeys {
        AdmittedKeys(
            generation: generation,
            agents: Dictionary(
                uniqueKeysWithValues: agents.map {
                    ($0.0.publicKey, AgentIdentity(node: $0.1, role: .ramdisk))
                }
            ),
            readers: Dictionary(
                uniqueKeysWithValues: readers.map { ($0.publicKey, "reader") }
            )
        )
    }
}

func frame(_ sequence: UInt64, text: String = "") -> WireAgentFrame {
    var frame = WireAgentFrame()
    frame.version = 1
    frame.session.append(contentsOf: [UInt8](repeating: 7, count: 16))
    frame.sequence = sequence
    frame.progress.text = text
    return frame
}

func batch(_ value: Double) -> WireMetricBatch {
    var sample = WireSample()
    sample.name = "load1"
    sample.value = value
    var batch = WireMetricBatch()
    batch.version = 1
    batch.samples = [sample]
    return batch
}

let nodeA: NodeID = NodeID(unchecked: "00000000-0000-4000-8000-00000000000a")
let nodeB: NodeID = NodeID(unchecked: "00000000-0000-4000-8000-00000000000b")
