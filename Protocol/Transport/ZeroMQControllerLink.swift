package import Basics
import Protocol
import Synchronization

/// What one address may do at the enrolment socket, where nobody is known yet.
package struct EnrolmentLimits: Sendable {
    /// New connections of one address: at once, and then per second.
    package var handshakesBurst = 20
    package var handshakesPerSecond = 2.0
    /// Requests of one address: at once, and then per second.
    package var requestsBurst = 10
    package var requestsPerSecond = 1.0
    /// Connections that may be open; beyond it all are closed and enrolling machines come again.
    package var connectionsMax = 256

    package init() {}
}

/// Where the controller listens and with which key.
package struct ControllerLinkConfiguration: Sendable {
    /// ZeroMQ endpoints, for instance `tcp://192.0.2.1:5601`; port `*` takes a free one.
    package var enrolment: String
    package var control: String
    package var telemetry: String
    /// One or more, for instance also `ipc:///run/rdo/stream.socket`.
    package var stream: [String]
    package var keys: CurveKeyPair
    package var limits = EnrolmentLimits()

    package init(
        enrolment: String,
        control: String,
        telemetry: String,
        stream: [String],
        keys: CurveKeyPair
    ) {
        self.enrolment = enrolment
        self.control = control
        self.telemetry = telemetry
        self.stream = stream
        self.keys = keys
    }

    /// The standard four ports on one address.
    package init(
        address: String,
        enrolmentPort: UInt16 = 5601,
        controlPort: UInt16 = 5602,
        telemetryPort: UInt16 = 5603,
        streamPort: UInt16 = 5604,
        streamPath: String? = nil,
        keys: CurveKeyPair
    ) {
        let host = address.contains(":") ? "[\(address)]" : address
        self.init(
            enrolment: "tcp://\(host):\(enrolmentPort)",
            control: "tcp://\(host):\(controlPort)",
            telemetry: "tcp://\(host):\(telemetryPort)",
            stream: ["tcp://\(host):\(streamPort)"] + (streamPath.map { ["ipc://\($0)"] } ?? []),
            keys: keys
        )
    }
}

/// The endpoints that were bound, with the ports that were chosen.
package struct BoundEndpoints: Sendable, Equatable {
    package var enrolment = ""
    package var control = ""
    package var telemetry = ""
    package var stream: [String] = []
}

/// What went through one of the controller's sockets since it was opened.
package struct SocketTraffic: Sendable, Equatable {
    package var receivedMessages: UInt64 = 0
    package var receivedBytes: UInt64 = 0
    package var sentMessages: UInt64 = 0
    package var sentBytes: UInt64 = 0
    /// Messages that were refused: not admitted, malformed, over a limit, or no room.
    package var droppedMessages: UInt64 = 0
}

/// The controller's line over ZeroMQ; all its sockets belong to one thread.
package final class ZeroMQControllerLink: ControllerLink {
    struct Wishes {
        var keys: AdmittedKeys?
        var closed = false
        var closing: [CheckedContinuation<Void, Never>] = []
        var gone = false
    }

    /// The parts shared with the socket thread.
    final class Shared: Sendable {
        let wishes = Mutex(Wishes())
        let traffic = Mutex<[AdmissionDomain: SocketTraffic]>([:])
        let wakeup: Wakeup
        let enrolments = Inbox<EnrolmentArrival>(countMax: 64, overflow: .refuseNewest)
        let frames = Inbox<FrameArrival>(
            countMax: 1024,
            bytesMax: 64 << 20,
            overflow: .refuseNewest
        )
        let metrics = Inbox<MetricArrival>(
            countMax: 1024,
            bytesMax: 16 << 20,
            overflow: .dropOldest
        )
        let outgoing = Inbox<(Peer, [UInt8])>(
            countMax: 4096,
            bytesMax: 64 << 20,
            overflow: .refuseNewest
        )
        let published = Inbox<(String, [UInt8])>(
            countMax: 4096,
            bytesMax: 16 << 20,
            overflow: .dropOldest
        )

        init() throws { wakeup = try Wakeup() }

        func count(_ domain: AdmissionDomain, _ change: (inout SocketTraffic) -> Void) {
            traffic.withLock { change(&$0[domain, default: SocketTraffic()]) }
        }
    }

    private let shared: Shared

    /// Where the sockets listen.
    package let endpoints: BoundEndpoints

    package var enrolments: Inbox<EnrolmentArrival> { shared.enrolments }
    package var frames: Inbox<FrameArrival> { shared.frames }
    package var metrics: Inbox<MetricArrival> { shared.metrics }

    /// Starts the thread and listens; everybody waits until `admit` is called for the first time.
    /// - Throws: `Fault` of kind `conflict` that names the endpoint when a port is in use.
    package init(_ configuration: ControllerLinkConfiguration, time: some TimeSource) async throws {
        let shared = try Shared()
        self.shared = shared
        endpoints = try await withCheckedThrowingContinuation { continuation in
            startThread(name: "zeromq") {
                do {
                    let sockets = try ControllerSockets(configuration, shared: shared, time: time)
                    continuation.resume(returning: sockets.endpoints)
                    sockets.run()
                } catch {
                    continuation.resume(throwing: error)
                }
                let closing = shared.wishes.withLock { wishes in
                    wishes.gone = true
                    defer { wishes.closing = [] }
                    return wishes.closing
                }
                for continuation in closing { continuation.resume() }
            }
        }
    }

    deinit {
        shared.wishes.withLock { $0.closed = true }
        shared.wakeup.wake()
    }

    @discardableResult
    package func send(_ message: ControllerMessage, to peer: Peer) -> Bool {
        let bytes: [UInt8]?
        switch message {
        case .reply(let reply):
            precondition(peer.socket == .enrolment, "a reply goes to the enrolment socket")
            bytes = encode(reply)
        case .frame(let frame):
            precondition(peer.socket == .control, "a frame goes to the control socket")
            bytes = encode(frame)
        }
        guard let bytes, shared.outgoing.push((peer, bytes), bytes: bytes.count) else {
            return false
        }
        shared.wakeup.wake()
        return true
    }

    package func admit(_ keys: AdmittedKeys) {
        shared.wishes.withLock { wishes in
            if keys.generation >= wishes.keys?.generation ?? 0 { wishes.keys = keys }
        }
        shared.wakeup.wake()
    }

    package func publish(topic: String, payload: [UInt8]) {
        shared.published.push((topic, payload), bytes: topic.utf8.count + payload.count)
        shared.wakeup.wake()
    }

    /// What went through each socket, by its name (`enrolment`, `control`, `telemetry`, `stream`).
    package func traffic() -> [(socket: String, traffic: SocketTraffic)] {
        let traffic = shared.traffic.withLock { $0 }
        return AdmissionDomain.allCases.map { ($0.rawValue, traffic[$0] ?? SocketTraffic()) }
    }

    /// Closes all sockets and ends the queues; returns when that is done.
    package func close() async {
        await withCheckedContinuation { continuation in
            let gone = shared.wishes.withLock { wishes in
                wishes.closed = true
                if !wishes.gone { wishes.closing.append(continuation) }
                return wishes.gone
            }
            if gone { continuation.resume() }
            shared.wakeup.wake()
        }
    }
}
