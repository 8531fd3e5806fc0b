import AgentSystem
import Basics
import Protocol
import Synchronization
import Testing
import Transport

@testable import AgentCore

/// The agent against the controller's own half of the protocol, over real sockets with CURVE.
struct `The agent over ZeroMQ` {
    @Test func `enrols, runs a command and streams metrics`() async throws {
        let serverKeys = CurveKeyPair()
        let keys = CurveKeyPair()
        let link = try await ZeroMQControllerLink(
            ControllerLinkConfiguration(
                enrolment: "tcp://127.0.0.1:*",
                control: "tcp://127.0.0.1:*",
                telemetry: "tcp://127.0.0.1:*",
                stream: ["tcp://127.0.0.1:*"],
                keys: serverKeys
            ),
            time: SystemTime()
        )
        link.admit(AdmittedKeys(generation: 0))
        let agentLink = try ZeroMQAgentLink(
            AgentLinkConfiguration(
                address: "127.0.0.1",
                enrolmentPort: port(link.endpoints.enrolment),
                controlPort: port(link.endpoints.control),
                telemetryPort: port(link.endpoints.telemetry),
                serverKey: serverKeys.publicKey,
                keys: keys
            ),
            time: SystemTime()
        )
        let bench = Bench()
        let controller = RealController(link: link, command: bench.command(1))
        try await withAgent(bench, link: agentLink) {
            try await controller.run()
        }
        await agentLink.close()
        await link.close()
        #expect(controller.enrolledKey == keys.publicKey)
        #expect(controller.result?.inventory.hostname == controller.node.text)
        #expect(bench.step.runs == [bench.command(1).id])
    }

    private func port(_ endpoint: String) -> UInt16 {
        endpoint.split(separator: ":").last.flatMap { UInt16($0) } ?? 0
    }
}

/// Admits one agent, gives it one command, and ends once its result and a metric batch arrived.
private final class RealController: Sendable {
    struct State {
        var key: CurvePublicKey?
        var result: WireCommandResult?
    }

    let node = NodeID(unchecked: "1be26c0b-03f2-4d2e-ae87-c02d7f33c123")
    private let link: ZeroMQControllerLink
    private let command: WireCommand
    private let state = Mutex(State())

    init(link: ZeroMQControllerLink, command: WireCommand) {
        self.link = link
        self.command = command
    }

    var enrolledKey: CurvePublicKey? { state.withLock { $0.key } }
    var result: WireCommandResult? { state.withLock { $0.result } }

    func run() async throws {
        try await withBudget(.seconds(60), for: "the agent's work", on: SystemTime()) { [self] in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await self.admit() }
                group.addTask { await self.command() }
                group.addTask { _ = await self.link.metrics.next() }
                try await group.waitForAll()
            }
        }
    }

    private func admit() async {
        guard let arrival = await link.enrolments.next() else { return }
        state.withLock { $0.key = arrival.key }
        link.admit(
            AdmittedKeys(
                generation: 1,
                agents: [arrival.key: AgentIdentity(node: node, role: .ramdisk)]
            )
        )
        var reply = WireEnrolReply()
        reply.exchange = arrival.request.exchange
        reply.admitted.version = 1
        reply.admitted.node = node.text
        link.send(.reply(reply), to: arrival.peer)
    }

    private func command() async {
        var session = ControllerSessionMachine(metricSeconds: 1)
        while let arrival = await link.frames.next() {
            let now = SystemTime().elapsed
            func send(_ frame: WireControllerFrame?) {
                if let frame { link.send(.frame(frame), to: arrival.peer) }
            }
            switch session.receive(arrival.frame, clock: SystemTime().now, at: now) {
            case .began(_, _, let frames):
                for frame in frames { send(frame) }
                send(session.order(command, at: now))
            case .heartbeat(_, let frame), .dismissed(let frame): send(frame)
            case .result(let result):
                state.withLock { $0.result = result }
                send(session.resultStored(result))
                return
            case .accepted, .progress, .log, .ignored: break
            }
        }
    }
}
