import Basics
import Protocol
import Store
import SwiftProtobuf
import Testing
import Transport

@testable import Agents

let inspection = WireCommand.with {
    $0.id = "00000000-0000-4000-8000-000000000001"
    $0.node = nodeA.text
    $0.attempt = 1
    $0.inspect = WireInspect()
}

let inspected = WireCommandResult.with {
    $0.command = inspection.id
    $0.attempt = 1
    $0.inventory = WireInventory()
}

/// An agent that does what its session says, by hand.
actor TestAgent {
    let link: InMemoryAgentLink
    private var machine: AgentSessionMachine
    private let time: ManualTime

    init(_ world: AgentsWorld, _ keys: CurveKeyPair, boot: String = "boot-1", session: UInt8 = 1) {
        link = world.network.makeAgent(keys: keys, address: address)
        time = world.time
        machine = AgentSessionMachine(
            session: [UInt8](repeating: session, count: 16),
            hello: .with { $0.bootID = boot }
        )
        machine.admitted(version: 1)
    }

    /// Serves events until one is named `word`.
    func serve(until word: String) async throws {
        for _ in 0..<200 {
            let next = try await withBudget(.seconds(15), for: word, on: SystemTime()) { [link] in
                await link.events.next()
            }
            let event = try #require(next)
            if handle(event) == word { return }
        }
        Issue.record("\(word) did not happen")
    }

    func handle(_ event: AgentLinkEvent) -> String {
        switch event {
        case .connected:
            link.send(machine.connected(uptimeSeconds: 1, at: time.elapsed))
            return "connected"
        case .disconnected:
            machine.disconnected()
            return "disconnected"
        case .keyRefused: return "refused"
        case .frame(let frame):
            switch machine.receive(frame, at: time.elapsed) {
            case .welcomed(_, let frames):
                for frame in frames { link.send(frame) }
                return "welcomed"
            case .start(_, let frame):
                link.send(frame)
                return "start"
            case .answer(let frame):
                link.send(frame)
                return "answer"
            case .stored: return "stored"
            case .heartbeatAnswered: return "answered"
            case .cancel: return "cancel"
            case .enrolAgain: return "enrol"
            case .replace: return "replace"
            case .ignored: return "ignored"
            }
        }
    }

    func report(_ text: String) {
        let progress = WireProgress.with {
            $0.command = inspection.id
            $0.text = text
        }
        if let frame = machine.report(progress) { link.send(frame) }
    }

    func finish() {
        if let frame = machine.finished(inspected, at: time.elapsed) { link.send(frame) }
    }

    func tick(clock: Timestamp) {
        for frame in machine.tick(uptimeSeconds: 9, clock: clock, at: time.elapsed) {
            link.send(frame)
        }
    }
}

@Suite(.timeLimit(.minutes(1)))
struct GatewayTests {
    /// A world in which a key is bound, and its connected agent.
    private func enrolled(_ world: AgentsWorld) async throws -> (TestAgent, CurveKeyPair) {
        let keys = CurveKeyPair()
        let agent = TestAgent(world, keys)
        let token = try await world.token()
        let reply = try await agent.link.enrol(world.request(token: token))
        #expect(reply.admitted.node == nodeA.text)
        agent.link.open()
        try await agent.serve(until: "welcomed")
        #expect(try await heard(world.recorder) == "connected boot-1")
        return (agent, keys)
    }

    @Test func `a machine enrols, connects, runs a command and its result is stored`() async throws
    {
        let world = try AgentsWorld()
        try await world.running {
            let (agent, _) = try await enrolled(world)
            let session = await world.dispatcher.session(of: nodeA, role: .ramdisk)
            #expect(session?.bootID == "boot-1")
            #expect(session?.address == address)
            #expect(await world.dispatcher.send(inspection, to: nodeA, role: .ramdisk))
            try await agent.serve(until: "start")
            await agent.report("half")
            #expect(try await heard(world.recorder) == "progress half")
            await agent.finish()
            #expect(try await heard(world.recorder) == "result stored")
            #expect(await world.recorder.roles == [.ramdisk])
            try await agent.serve(until: "stored")
        }
    }

    @Test func `a result that could not be stored is not acknowledged and comes again`()
        async throws
    {
        let world = try AgentsWorld(answers: [.fails, .notOurs, .stored])
        try await world.running {
            let (agent, _) = try await enrolled(world)
            #expect(await world.dispatcher.send(inspection, to: nodeA, role: .ramdisk))
            try await agent.serve(until: "start")
            await agent.finish()
            #expect(try await heard(world.recorder) == "result fails")
            world.time.advance(by: .seconds(15))
            await agent.tick(clock: world.time.now)
            #expect(try await heard(world.recorder) == "result notOurs")
            try await agent.serve(until: "answered")
            world.time.advance(by: .seconds(29))
            await agent.tick(clock: world.time.now)
            try await agent.serve(until: "answered")
            world.time.advance(by: .seconds(1))
            await agent.tick(clock: world.time.now)
            #expect(try await heard(world.recorder) == "result stored")
            try await agent.serve(until: "stored")
        }
    }

    @Test func `silence of thirty seconds is reported and Hello takes the session up`() async throws
    {
        let world = try AgentsWorld()
        try await world.running {
            let (agent, _) = try await enrolled(world)
            world.network.setCut(true, for: agent.link)
            world.time.advance(by: .seconds(30))
            #expect(try await heard(world.recorder) == "lost ramdisk")
            #expect(await world.dispatcher.session(of: nodeA, role: .ramdisk) == nil)
            #expect(await !world.dispatcher.send(inspection, to: nodeA, role: .ramdisk))
            world.network.setCut(false, for: agent.link)
            try await agent.serve(until: "welcomed")
            #expect(try await heard(world.recorder) == "connected boot-1")
        }
    }

    @Test func `a heartbeat tells the skew of the agent's clock`() async throws {
        let world = try AgentsWorld()
        try await world.running {
            let (agent, _) = try await enrolled(world)
            world.time.advance(by: .seconds(10))
            await agent.tick(clock: world.time.now + .seconds(90))
            try await agent.serve(until: "answered")
            let session = await world.dispatcher.session(of: nodeA, role: .ramdisk)
            #expect(session?.skewSeconds == 90)
            #expect(session?.uptimeSeconds == 9)
        }
    }

    @Test func `revoking a node's keys ends its session`() async throws {
        let world = try AgentsWorld()
        try await world.running {
            let (agent, _) = try await enrolled(world)
            try await world.registry.revokeKeys(of: nodeA, role: nil)
            #expect(await world.dispatcher.session(of: nodeA, role: .ramdisk) == nil)
            world.time.advance(by: .seconds(1))
            #expect(try await heard(world.recorder) == "lost ramdisk")
            try await agent.serve(until: "enrol")
        }
    }

    @Test func `the same process of a later boot is a session of its own`() async throws {
        let world = try AgentsWorld()
        try await world.running {
            _ = try await enrolled(world)
            let keys = CurveKeyPair()
            let agent = TestAgent(world, keys, boot: "boot-2", session: 2)
            let token = try await world.token(attempt: 2)
            _ = try await agent.link.enrol(world.request(token: token))
            agent.link.open()
            try await agent.serve(until: "welcomed")
            #expect(try await heard(world.recorder) == "connected boot-2")
            #expect(await world.dispatcher.sessions().map(\.bootID) == ["boot-2"])
        }
    }

    @Test func `chatter above the limit is dropped, the result is not`() async throws {
        let world = try AgentsWorld()
        try await world.running {
            let (agent, _) = try await enrolled(world)
            _ = await world.dispatcher.send(inspection, to: nodeA, role: .ramdisk)
            try await agent.serve(until: "start")
            for number in 0..<500 { await agent.report("\(number)") }
            await agent.finish()
            var seen = 0
            while try await heard(world.recorder) != "result stored" { seen += 1 }
            #expect(seen == AgentDispatcher.chatterMax)
        }
    }

    @Test func `metrics reach the sinks and changes the stream`() async throws {
        let world = try AgentsWorld()
        try await world.running {
            let (agent, _) = try await enrolled(world)
            agent.link.push(
                .with {
                    $0.version = 1
                    $0.samples = [WireSample(), WireSample()]
                }
            )
            #expect(try await heard(world.recorder) == "metrics 2")
            let (key, _) = try await world.registry.createReaderKey(name: "reader")
            let stream = try #require(world.link.subscribe("event.agent.", key: key))
            try await world.registry.revokeKeys(of: nodeA, role: nil)
            let message = try #require(
                try await withBudget(.seconds(15), for: "an event", on: SystemTime()) {
                    await stream.next()
                }
            )
            #expect(message.topic == "event.agent.\(nodeA.text)")
            let event = try WireStreamEvent(serializedBytes: message.payload)
            #expect(event.after == "revoked")
        }
    }

    @Test func `a command that the wire cannot carry is not sent`() async throws {
        let world = try AgentsWorld()
        try await world.running {
            _ = try await enrolled(world)
            let large = WireCommand.with {
                $0.id = inspection.id
                $0.node = nodeA.text
                $0.applyStep.manifest.append(
                    contentsOf: [UInt8](repeating: 0, count: AgentDispatcher.commandBytesMax)
                )
            }
            #expect(await !world.dispatcher.send(large, to: nodeA, role: .ramdisk))
        }
    }

    @Test func `a controller that starts anew admits the keys it had`() async throws {
        let world = try AgentsWorld()
        let keys = CurveKeyPair()
        try await world.running {
            let token = try await world.token()
            let agent = TestAgent(world, keys)
            _ = try await agent.link.enrol(world.request(token: token))
        }
        let link = world.network.makeController()
        let registry = AgentRegistry(
            database: world.database,
            link: link,
            time: world.time,
            random: SystemRandom()
        )
        let agent = world.network.makeAgent(keys: keys, address: address)
        agent.open()
        try await registry.publishKeys()
        let event = try await withBudget(.seconds(15), for: "the connection", on: SystemTime()) {
            await agent.events.next()
        }
        guard case .connected = event else {
            Issue.record("not connected")
            return
        }
    }
}
