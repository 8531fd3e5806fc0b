import Basics
import CZeroMQ
import Protocol
import SwiftProtobuf
import Testing

@testable import Transport

/// What only real sockets show.
@Suite(.timeLimit(.minutes(2)))
struct ZeroMQTests {
    @Test func `a port that is in use is named`() async throws {
        let world = try await ZeroMQWorld()
        let endpoints = await world.link.endpoints
        let configuration = ControllerLinkConfiguration(
            enrolment: "tcp://127.0.0.1:*",
            control: endpoints.control,
            telemetry: "tcp://127.0.0.1:*",
            stream: ["tcp://127.0.0.1:*"],
            keys: CurveKeyPair()
        )
        let fault = await #expect(throws: Fault.self) {
            try await ZeroMQControllerLink(configuration, time: SystemTime())
        }
        #expect(fault?.kind == .conflict)
        #expect(fault?.message.contains(endpoints.control) == true)
        await world.close()
    }

    @Test func `an agent that was given another server's key gets nowhere`() async throws {
        let world = try await ZeroMQWorld()
        var configuration = await world.agentConfiguration(CurveKeyPair())
        configuration.serverKey = CurveKeyPair().publicKey
        let agent = try ZeroMQAgentLink(configuration, time: SystemTime())
        let fault = await #expect(throws: Fault.self) { try await agent.enrol(WireEnrolRequest()) }
        #expect([.timeout, .unavailable].contains(fault?.kind))
        #expect(await world.controller.enrolments.count == 0)
        await agent.close()
        await world.close()
    }

    @Test func `a peer without CURVE is not heard`() async throws {
        let world = try await ZeroMQWorld()
        await world.controller.admit(.with(1))
        let context = ZeroMQContext(threads: 1)
        let plain = try ZeroMQSocket(context, type: ZMQ_DEALER)
        let monitor = try ZeroMQMonitor(
            context,
            of: plain,
            name: "plain",
            events: ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED
        )
        try plain.connect(await world.link.endpoints.enrolment)
        _ = plain.send([[1]])
        let deadline = SystemTime().elapsed + .seconds(10)
        var seen: Int32?
        while seen == nil, SystemTime().elapsed < deadline {
            waitForInput([monitor.socket], try Wakeup(), milliseconds: 100)
            seen = monitor.next()
        }
        #expect(seen != nil)
        #expect(seen != ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
        #expect(await world.controller.enrolments.count == 0)
        await world.close()
    }

    @Test func `a request above 4 KiB is not taken`() async throws {
        let world = try await ZeroMQWorld()
        let agent = try await world.makeAgent(CurveKeyPair())
        let large = WireEnrolRequest.with {
            $0.token.append(contentsOf: [UInt8](repeating: 1, count: 5000))
        }
        await #expect(throws: (any Error).self) {
            try await withBudget(.seconds(2), for: "the reply", on: SystemTime()) {
                try await agent.enrol(large)
            }
        }
        #expect(await world.controller.enrolments.count == 0)
        await world.close()
    }

    @Test func `what is no EnrolRequest is refused as malformed`() async throws {
        let world = try await ZeroMQWorld()
        let context = ZeroMQContext(threads: 1)
        let socket = try ZeroMQSocket(context, type: ZMQ_DEALER)
        socket.present(CurveKeyPair(), to: world.serverKeys.publicKey)
        try socket.connect(await world.link.endpoints.enrolment)
        #expect(socket.send([[0xff, 0xff, 0xff]]))
        let reply = try #require(
            try receive(from: socket).flatMap { message in
                message.frames.first.flatMap { decode(WireEnrolReply.self, $0) }
            }
        )
        #expect(reply.refused.code == .malformed)
        await world.close()
    }

    @Test func `a flood at enrolment is answered with busy and leaves enrolled nodes alone`()
        async throws
    {
        var limits = EnrolmentLimits()
        limits.requestsBurst = 5
        limits.requestsPerSecond = 0.001
        let world = try await ZeroMQWorld(limits: limits)
        let keys = CurveKeyPair()
        let controller = await world.controller
        controller.admit(.with(1, agents: [(keys, nodeA)]))
        let agent = try await world.makeAgent(keys)
        agent.open()
        try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }

        let context = ZeroMQContext(threads: 1)
        let socket = try ZeroMQSocket(context, type: ZMQ_DEALER)
        socket.present(CurveKeyPair(), to: world.serverKeys.publicKey)
        try socket.connect(await world.link.endpoints.enrolment)
        let bytes = try #require(encode(WireEnrolRequest.with { $0.exchange.append(1) }))
        let link = await world.link
        var sent = 0
        while sent < 20_000 {
            if socket.send([bytes]) { sent += 1 }
            if sent.isMultiple(of: 1000) {
                let number = UInt64(sent / 1000 + 1)
                agent.send(frame(number))
                let arrival = try await next(controller.frames, "a frame during the flood")
                #expect(arrival.sender.node == nodeA)
                sent += 1
            }
            while let message = socket.receive() {
                let reply = message.frames.first.flatMap { decode(WireEnrolReply.self, $0) }
                #expect(reply?.refused.code == .busy)
            }
        }
        try await eventually("the flood's end") {
            let enrolment = link.traffic().first { $0.socket == "enrolment" }?.traffic
            return (enrolment?.droppedMessages ?? 0) > 0
        }
        #expect(controller.enrolments.count <= 5)
        await world.close()
    }

    @Test func `too many open connections at enrolment are all closed and machines come again`()
        async throws
    {
        var limits = EnrolmentLimits()
        limits.connectionsMax = 8
        limits.handshakesBurst = 1000
        let world = try await ZeroMQWorld(limits: limits)
        let context = ZeroMQContext(threads: 1)
        let endpoint = await world.link.endpoints.enrolment
        let idle = try (0..<20).map { _ in
            let socket = try ZeroMQSocket(context, type: ZMQ_DEALER)
            socket.present(CurveKeyPair(), to: world.serverKeys.publicKey)
            // These never come back.
            socket.set(ZMQ_RECONNECT_IVL, -1)
            try socket.connect(endpoint)
            return socket
        }
        let agent = try await world.makeAgent(CurveKeyPair())
        let controller = await world.controller
        async let reply = agent.enrol(.with { $0.exchange.append(1) })
        let arrival = try await next(controller.enrolments, within: .seconds(9))
        controller.send(
            .reply(
                .with {
                    $0.exchange = arrival.request.exchange; $0.admitted.node = nodeA.text
                }
            ),
            to: arrival.peer
        )
        _ = try? await reply
        for socket in idle { socket.close() }
        await world.close()
    }

    @Test func `an agent's metrics pass while its control frames are many`() async throws {
        let world = try await ZeroMQWorld()
        let keys = CurveKeyPair()
        let controller = await world.controller
        controller.admit(.with(1, agents: [(keys, nodeA)]))
        let agent = try await world.makeAgent(keys)
        agent.open()
        try await event(agent, "connected") { if case .connected = $0 { () } else { nil } }
        for number in 1...2000 {
            while !agent.send(frame(UInt64(number))) { await Task.yield() }
            if number.isMultiple(of: 100) { agent.push(batch(Double(number))) }
            if number.isMultiple(of: 50) {
                while controller.frames.poll() != nil {}
            }
        }
        let arrival = try await next(controller.metrics)
        #expect(arrival.sender.node == nodeA)
        await world.close()
    }

    private func receive(from socket: ZeroMQSocket) throws -> ReceivedMessage? {
        let deadline = SystemTime().elapsed + .seconds(10)
        let wakeup = try Wakeup()
        while SystemTime().elapsed < deadline {
            if let message = socket.receive() { return message }
            waitForInput([socket], wakeup, milliseconds: 100)
        }
        return nil
    }
}
