import Basics
import CZeroMQ
import FoundationEssentials
import Glibc
import Protocol
import SwiftProtobuf
import Testing

@testable import Transport

/// The stream: published messages, the readers' keys, and a subscriber in another language.
@Suite(.timeLimit(.minutes(2)))
struct StreamTests {
    /// A subscriber with its own context, used from one test.
    private struct Subscriber {
        let socket: ZeroMQSocket
        let wakeup: Wakeup

        init(_ world: ZeroMQWorld, _ keys: CurveKeyPair, _ prefix: String) async throws {
            socket = try ZeroMQSocket(ZeroMQContext(threads: 1), type: ZMQ_SUB)
            wakeup = try Wakeup()
            socket.present(keys, to: world.serverKeys.publicKey)
            socket.set(ZMQ_SUBSCRIBE, prefix)
            socket.set(ZMQ_RECONNECT_IVL, 50)
            try socket.connect(await world.link.endpoints.stream[0])
        }

        /// Publishes until a message arrives; `nil` when none did within `limit`.
        func receive(
            publishing topic: String,
            on link: some StreamPublisher,
            within limit: Duration
        ) -> ReceivedMessage? {
            let time = SystemTime()
            let deadline = time.elapsed + limit
            while time.elapsed < deadline {
                link.publish(topic: topic, payload: [1, 2, 3])
                waitForInput([socket], wakeup, milliseconds: 20)
                if let message = socket.receive() { return message }
            }
            return nil
        }
    }

    @Test func `a reader gets what it subscribed to and nothing else`() async throws {
        let world = try await ZeroMQWorld()
        let reader = CurveKeyPair()
        let link = await world.link
        link.admit(.with(1, readers: [reader]))
        let subscriber = try await Subscriber(world, reader, "metric.")
        let message = try #require(
            subscriber.receive(publishing: "metric.n.load1", on: link, within: .seconds(15))
        )
        #expect(message.frames == [Array("metric.n.load1".utf8), [1, 2, 3]])
        while subscriber.socket.receive() != nil {}
        link.publish(topic: "event.node.n", payload: [9])
        let after = try #require(
            subscriber.receive(publishing: "metric.n.load1", on: link, within: .seconds(15))
        )
        #expect(after.frames.first == Array("metric.n.load1".utf8))
        subscriber.socket.close()
        await world.close()
    }

    @Test func `an agent's key is no reader's`() async throws {
        let world = try await ZeroMQWorld()
        let (agent, reader) = (CurveKeyPair(), CurveKeyPair())
        let link = await world.link
        link.admit(.with(1, agents: [(agent, nodeA)], readers: [reader]))
        let foreign = try await Subscriber(world, agent, "")
        let own = try await Subscriber(world, reader, "")
        #expect(own.receive(publishing: "metric.a", on: link, within: .seconds(15)) != nil)
        try await eventually("the refusal") {
            link.traffic().contains { $0.socket == "stream" && $0.traffic.droppedMessages > 0 }
        }
        #expect(foreign.socket.receive() == nil)
        foreign.socket.close()
        own.socket.close()
        await world.close()
    }

    @Test func `revoking a reader's key ends its stream, the others come back`() async throws {
        let world = try await ZeroMQWorld()
        let (gone, kept) = (CurveKeyPair(), CurveKeyPair())
        let link = await world.link
        link.admit(.with(1, readers: [gone, kept]))
        let first = try await Subscriber(world, gone, "")
        let second = try await Subscriber(world, kept, "")
        #expect(first.receive(publishing: "a", on: link, within: .seconds(15)) != nil)
        #expect(second.receive(publishing: "a", on: link, within: .seconds(15)) != nil)
        link.admit(.with(2, readers: [kept]))
        try await eventually("the new socket") {
            second.receive(publishing: "after", on: link, within: .seconds(1))?.frames.first
                == Array("after".utf8)
        }
        while let message = first.socket.receive() {
            #expect(message.frames.first != Array("after".utf8))
        }
        first.socket.close()
        second.socket.close()
        await world.close()
    }

    @Test func `the stream is also there on a local socket`() async throws {
        let path = "/tmp/rdo-stream-\(getpid()).socket"
        let (server, reader) = (CurveKeyPair(), CurveKeyPair())
        let configuration = ControllerLinkConfiguration(
            enrolment: "tcp://127.0.0.1:*",
            control: "tcp://127.0.0.1:*",
            telemetry: "tcp://127.0.0.1:*",
            stream: ["tcp://127.0.0.1:*", "ipc://\(path)"],
            keys: server
        )
        let link = try await ZeroMQControllerLink(configuration, time: SystemTime())
        link.admit(.with(1, readers: [reader]))
        let socket = try ZeroMQSocket(ZeroMQContext(threads: 1), type: ZMQ_SUB)
        socket.present(reader, to: server.publicKey)
        socket.set(ZMQ_SUBSCRIBE, "")
        try socket.connect("ipc://\(path)")
        let wakeup = try Wakeup()
        try await eventually("a message") {
            link.publish(topic: "metric.x", payload: [1])
            waitForInput([socket], wakeup, milliseconds: 20)
            return socket.receive() != nil
        }
        socket.close()
        await link.close()
        unlink(path)
    }

    @Test func `the Python subscriber prints the live metrics`() async throws {
        let world = try await ZeroMQWorld()
        let reader = CurveKeyPair()
        let link = await world.link
        link.admit(.with(1, readers: [reader]))
        let folder = try #require(makeFolder())
        defer { removeFolder(folder) }
        try writeFile("\(folder)/server.pub", world.serverKeys.publicKey.z85)
        try writeFile("\(folder)/reader.pub", reader.publicKey.z85)
        try writeFile("\(folder)/reader.key", reader.secretKey.reveal())
        let script = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let endpoint = link.endpoints.stream[0]
        let process = try #require(
            start(
                "/usr/bin/python3",
                [
                    "\(script)/packaging/examples/metrics_subscriber.py", "--endpoint",
                    endpoint, "--server-key", "\(folder)/server.pub",
                    "--public-key", "\(folder)/reader.pub", "--secret-key", "\(folder)/reader.key",
                    "--topic", "metric.\(nodeA.text).", "--count", "2",
                ],
                output: "\(folder)/output"
            )
        )
        let metric = WireStreamMetric.with {
            $0.node = nodeA.text
            $0.nodeName = "c0"
            $0.sample = .with {
                $0.name = "load1"
                $0.timeNanoseconds = 1_000_000_000
                $0.value = 0.25
            }
        }
        let payload = try #require(encode(metric))
        let time = SystemTime()
        var status: Int32?
        let deadline = time.elapsed + .seconds(60)
        while status == nil, time.elapsed < deadline {
            link.publish(topic: "metric.\(nodeB.text).load1", payload: payload)
            link.publish(topic: "metric.\(nodeA.text).load1", payload: payload)
            try await time.sleep(for: .milliseconds(100))
            status = ended(process)
        }
        if status == nil { kill(process, SIGKILL) }
        let output = String(decoding: try readFile("\(folder)/output"), as: UTF8.self)
        #expect(status == 0, "\(output)")
        #expect(output == "00:00:01 c0 load1 0.25\n00:00:01 c0 load1 0.25\n")
        await world.close()
    }
}

private func makeFolder() -> String? {
    var template = Array("/tmp/rdo-stream-XXXXXX".utf8CString)
    return mkdtemp(&template).map { String(cString: $0) }
}

private func removeFolder(_ path: String) {
    // What stays behind in /tmp harms nobody.
    try? FileManager.default.removeItem(atPath: path)
}

private func writeFile(_ path: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
}

private func readFile(_ path: String) throws -> Data { try Data(contentsOf: URL(filePath: path)) }

/// Starts a program with both outputs in one file; its process id.
private func start(_ program: String, _ arguments: [String], output: String) -> pid_t? {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var process = pid_t()
    let words = [program] + arguments
    let pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    let path = strdup("PATH=/usr/bin:/bin")
    defer { free(path) }
    let environment: [UnsafeMutablePointer<CChar>?] = [path, nil]
    guard posix_spawn(&process, program, &actions, nil, pointers, environment) == 0 else {
        return nil
    }
    return process
}

/// The exit status of a program that has ended.
private func ended(_ process: pid_t) -> Int32? {
    var status: Int32 = 0
    guard waitpid(process, &status, WNOHANG) == process else { return nil }
    return status & 0x7f == 0 ? (status >> 8) & 0xff : -1
}
