import Basics
import Protocol
import SwiftProtobuf
import Testing

@testable import Transport

/// What both kinds of link promise.
@Suite(.timeLimit(.minutes(2)))
struct LinkContractTests {
    @Test(arguments: LinkKind.allCases)
    func `an unknown key may enrol and gets the reply to its own request`(kind: LinkKind)
        async throws
    {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let agent = try await world.makeAgent(keys)
            let controller = await world.controller
            async let reply = agent.enrol(.with { $0.exchange.append(contentsOf: [1, 2, 3]) })
            let arrival = try await next(controller.enrolments)
            #expect(arrival.key == keys.publicKey)
            #expect(arrival.address == "127.0.0.1")
            var foreign = WireEnrolReply()
            foreign.exchange.append(9)
            foreign.refused.code = .token
            controller.send(.reply(foreign), to: arrival.peer)
            var own = WireEnrolReply()
            own.exchange = arrival.request.exchange
            own.admitted.node = nodeA.text
            controller.send(.reply(own), to: arrival.peer)
            #expect(try await reply.admitted.node == nodeA.text)
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `an enrolment can be cancelled`(kind: LinkKind) async throws {
        try await kind.inWorld { world in
            let agent = try await world.makeAgent(CurveKeyPair())
            let controller = await world.controller
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await agent.enrol(WireEnrolRequest()) }
                _ = try await next(controller.enrolments)
                group.cancelAll()
                await #expect(throws: CancellationError.self) { try await group.next() }
            }
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `frames pass in both directions under the name that the key is bound to`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let controller = await world.controller
            controller.admit(.with(1, agents: [(keys, nodeA)]))
            let agent = try await world.makeAgent(keys)
            agent.open()
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
            #expect(agent.send(frame(1)))
            let arrival = try await next(controller.frames)
            #expect(arrival.sender == AgentIdentity(node: nodeA, role: .ramdisk))
            #expect(arrival.key == keys.publicKey)
            #expect(arrival.frame == frame(1))
            var answer = WireControllerFrame()
            answer.sequence = 5
            controller.send(.frame(answer), to: arrival.peer)
            let received = try await event(agent, "a frame") { event in
                if case .frame(let frame) = event { frame } else { nil }
            }
            #expect(received == answer)
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a key that is not bound is refused at control`(kind: LinkKind) async throws {
        try await kind.inWorld { world in
            await world.controller.admit(.with(1, agents: [(CurveKeyPair(), nodeA)]))
            let agent = try await world.makeAgent(CurveKeyPair())
            agent.open()
            try await event(agent, "refusal") { if case .keyRefused = $0 { () } else { nil } }
            #expect(await world.controller.frames.count == 0)
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a reader's key is refused at control`(kind: LinkKind) async throws {
        try await kind.inWorld { world in
            let reader = CurveKeyPair()
            await world.controller.admit(.with(1, readers: [reader]))
            let agent = try await world.makeAgent(reader)
            agent.open()
            try await event(agent, "refusal") { if case .keyRefused = $0 { () } else { nil } }
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a key that comes before the first snapshot waits instead of being refused`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let agent = try await world.makeAgent(keys)
            agent.open()
            if let link = await world.controller as? ZeroMQControllerLink {
                try await eventually("a handshake that was put off") {
                    link.traffic().contains {
                        $0.socket == "control" && $0.traffic.droppedMessages > 0
                    }
                }
            }
            #expect(agent.events.count == 0)
            await world.controller.admit(.with(1, agents: [(keys, nodeA)]))
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a revoked key is told to enrol again and its frames go nowhere`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let controller = await world.controller
            controller.admit(.with(1, agents: [(keys, nodeA)]))
            let agent = try await world.makeAgent(keys)
            agent.open()
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
            agent.send(frame(1))
            _ = try await next(controller.frames)
            controller.admit(.with(2))
            agent.send(frame(2))
            let goodbye = try await event(agent, "goodbye") { event in
                if case .frame(let frame) = event { frame.goodbye } else { nil }
            }
            #expect(goodbye.enrol)
            #expect(controller.frames.count == 0)
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a key that was bound to another node speaks for neither on its old connection`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let controller = await world.controller
            controller.admit(.with(1, agents: [(keys, nodeA)]))
            let agent = try await world.makeAgent(keys)
            agent.open()
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
            agent.send(frame(1))
            _ = try await next(controller.frames)
            controller.admit(.with(2, agents: [(keys, nodeB)]))
            agent.send(frame(2))
            // In memory the identity is looked up anew, on a socket it is fixed by the handshake.
            guard kind == .zeroMQ else { return }
            let goodbye = try await event(agent, "goodbye") { event in
                if case .frame(let frame) = event { frame.goodbye } else { nil }
            }
            #expect(goodbye.enrol)
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `an older snapshot does not undo a newer one`(kind: LinkKind) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let controller = await world.controller
            controller.admit(.with(2, agents: [(keys, nodeA)]))
            controller.admit(.with(1))
            let agent = try await world.makeAgent(keys)
            agent.open()
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `an agent comes back by itself when the controller was restarted`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            await world.controller.admit(.with(1, agents: [(keys, nodeA)]))
            let agent = try await world.makeAgent(keys)
            agent.open()
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
            try await world.restartController(admitting: .with(1, agents: [(keys, nodeA)]))
            try await event(agent, "disconnected") {
                if case .disconnected = $0 { () } else { nil }
            }
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
            agent.send(frame(9))
            #expect(try await next(await world.controller.frames).frame.sequence == 9)
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `of the metrics that wait for a connection the oldest are dropped and counted`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let keys = CurveKeyPair()
            let controller = await world.controller
            let agent = try await world.makeAgent(keys)
            for value in 0..<100 { agent.push(batch(Double(value))) }
            controller.admit(.with(1, agents: [(keys, nodeA)]))
            agent.open()
            let first = try await next(controller.metrics)
            #expect(first.sender.node == nodeA)
            #expect(first.batch.dropped == 36)
            #expect(first.batch.samples.first?.value == 36)
            for value in 37..<100 {
                let arrival = try await next(controller.metrics)
                #expect(arrival.batch.samples.first?.value == Double(value))
                #expect(arrival.batch.dropped == 0)
            }
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a frame above the limit ends the connection and disturbs nobody else`(
        kind: LinkKind
    ) async throws {
        try await kind.inWorld { world in
            let (keys, others) = (CurveKeyPair(), CurveKeyPair())
            let controller = await world.controller
            controller.admit(.with(1, agents: [(keys, nodeA), (others, nodeB)]))
            let agent = try await world.makeAgent(keys)
            let other = try await world.makeAgent(others)
            for link in [agent, other] {
                link.open()
                try await event(link, "connected") { if case .connected = $0 { () } else { nil } }
            }
            agent.send(frame(1, text: String(repeating: "x", count: 5 << 20)))
            try await event(agent, "disconnected") {
                if case .disconnected = $0 { () } else { nil }
            }
            try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
            agent.send(frame(2))
            other.send(frame(3))
            let arrived = [
                try await next(controller.frames).frame.sequence,
                try await next(controller.frames).frame.sequence,
            ]
            #expect(Set(arrived) == [2, 3])
        }
    }

    @Test(arguments: LinkKind.allCases)
    func `a closed link takes nothing more and ends its events`(kind: LinkKind) async throws {
        try await kind.inWorld { world in
            let agent = try await world.makeAgent(CurveKeyPair())
            await agent.close()
            await #expect(throws: Fault.self) { try await agent.enrol(WireEnrolRequest()) }
            #expect(await agent.events.next() == nil)
            await agent.close()
        }
    }
}
