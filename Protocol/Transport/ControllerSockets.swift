import Basics
import CZeroMQ
import Glibc
import Protocol
import Synchronization

/// The sockets of the controller, on their thread.
final class ControllerSockets {
    private let configuration: ControllerLinkConfiguration
    private let shared: ZeroMQControllerLink.Shared
    private let time: any TimeSource
    // Enrolment has an I/O thread of its own: handshakes of strangers cost the others nothing.
    private let context = ZeroMQContext(threads: 2)
    private let zap: ZeroMQSocket
    private var rules: AdmissionRules
    private let control: ZeroMQSocket
    private let telemetry: ZeroMQSocket
    private var enrolment: RebindableSocket
    private var stream: RebindableSocket
    private(set) var endpoints = BoundEndpoints()
    private var monitor: ZeroMQMonitor?
    private var monitors = 0
    private var strangers = 0

    private static let enrolmentThread: Int64 = 1
    private static let otherThread: Int64 = 2
    /// Messages taken from one socket before the others have their turn.
    private static let turnMax = 256

    /// Binds all sockets.
    init(
        _ configuration: ControllerLinkConfiguration,
        shared: ZeroMQControllerLink.Shared,
        time: any TimeSource
    ) throws {
        self.configuration = configuration
        self.shared = shared
        self.time = time
        rules = AdmissionRules(configuration.limits)
        zap = try ZeroMQSocket(context, type: ZMQ_ROUTER)
        _ = try zap.bind("inproc://zeromq.zap.01")
        let context = context
        let keys = configuration.keys
        func listener(_ type: Int32, _ domain: AdmissionDomain, bytesMax: Int, thread: Int64) throws
            -> ZeroMQSocket
        {
            let socket = try ZeroMQSocket(context, type: type)
            socket.serve(keys, domain: domain.rawValue)
            socket.limitFrames(bytesMax: bytesMax)
            socket.useThreads(thread)
            socket.set(ZMQ_HANDSHAKE_IVL, 5_000)
            socket.set(ZMQ_HEARTBEAT_IVL, 10_000)
            socket.set(ZMQ_HEARTBEAT_TIMEOUT, 30_000)
            socket.set(ZMQ_HEARTBEAT_TTL, 30_000)
            socket.set(ZMQ_IPV6, 1)
            return socket
        }
        control = try listener(ZMQ_ROUTER, .control, bytesMax: 4 << 20, thread: Self.otherThread)
        control.set(ZMQ_ROUTER_MANDATORY, 1)
        control.set(ZMQ_RCVHWM, 64)
        control.set(ZMQ_SNDHWM, 64)
        endpoints.control = try control.bind(configuration.control)
        telemetry = try listener(
            ZMQ_PULL,
            .telemetry,
            bytesMax: 256 << 10,
            thread: Self.otherThread
        )
        telemetry.set(ZMQ_RCVHWM, 16)
        endpoints.telemetry = try telemetry.bind(configuration.telemetry)
        enrolment = try RebindableSocket([configuration.enrolment]) {
            let socket = try listener(
                ZMQ_ROUTER,
                .enrolment,
                bytesMax: 4 << 10,
                thread: Self.enrolmentThread
            )
            socket.set(ZMQ_ROUTER_MANDATORY, 1)
            socket.set(ZMQ_RCVHWM, 4)
            socket.set(ZMQ_SNDHWM, 4)
            return socket
        }
        endpoints.enrolment = enrolment.endpoints.first ?? ""
        stream = try RebindableSocket(configuration.stream) {
            let socket = try listener(ZMQ_XPUB, .stream, bytesMax: 512, thread: Self.otherThread)
            socket.set(ZMQ_SNDHWM, 1_000)
            return socket
        }
        endpoints.stream = stream.endpoints
        watchEnrolment()
    }

    /// Runs until the link is closed.
    func run() {
        while obeyWishes() {
            serveAdmission()
            serveControl()
            serveTelemetry()
            serveEnrolment()
            serveStream()
            sendOutgoing()
            var sockets = [zap, control, telemetry]
            if let socket = enrolment.socket { sockets.append(socket) }
            if let socket = stream.socket { sockets.append(socket) }
            if let monitor { sockets.append(monitor.socket) }
            let rebinding = enrolment.socket == nil || stream.socket == nil
            waitForInput(sockets, shared.wakeup, milliseconds: rebinding ? 20 : 1000)
        }
        monitor = nil
        enrolment.rebind()
        stream.rebind()
        control.close()
        telemetry.close()
        // Last: while a socket has no handler to ask, libzmq lets everybody in.
        zap.close()
        shared.enrolments.finish()
        shared.frames.finish()
        shared.metrics.finish()
    }

    private func obeyWishes() -> Bool {
        admitWished()
        enrolment.retry()
        stream.retry()
        if enrolment.socket != nil, monitor == nil { watchEnrolment() }
        return shared.wishes.withLock { !$0.closed }
    }

    /// Takes the newest keys.
    ///
    /// A reader's connection cannot be closed alone: all are, and the others come again by themselves.
    private func admitWished() {
        let keys = shared.wishes.withLock { wishes in
            defer { wishes.keys = nil }
            return wishes.keys
        }
        if let keys, rules.admit(keys) { stream.rebind() }
    }

    /// ZeroMQ RFC 27: each handshake asks here.
    private func serveAdmission() {
        for _ in 0..<Self.turnMax {
            guard let message = zap.receive() else { return }
            let frames = message.frames
            // Peer, empty, version, request, domain, address, routing id, mechanism, credentials.
            guard frames.count >= 8 else { continue }
            var decision = AdmissionRules.Decision.refuse
            if frames.count == 9, let key = CurvePublicKey(bytes: frames[8]),
                let domain = AdmissionDomain(
                    rawValue: String(decoding: frames[4], as: UTF8.self)
                ),
                String(decoding: frames[7], as: UTF8.self) == "CURVE"
            {
                decision = rules.judge(
                    key,
                    domain: domain,
                    address: plainAddress(String(decoding: frames[5], as: UTF8.self)),
                    at: time.elapsed
                )
                if case .admit = decision {
                } else {
                    shared.count(domain) { $0.droppedMessages += 1 }
                }
            }
            let (status, text, userID) =
                switch decision {
                case .admit(let userID): ("200", "OK", userID)
                case .later: ("300", "later", "")
                case .refuse: ("400", "unknown key", "")
                }
            let answer = ["1.0", "", status, text, userID, ""].map { Array($0.utf8) }
            var reply = [frames[0], frames[1]] + answer
            reply[3] = frames[3]
            _ = zap.send(reply)
        }
    }

    private func serveControl() {
        for _ in 0..<Self.turnMax {
            guard let message = control.receive() else { return }
            shared.count(.control) { $0.receive(message) }
            guard message.frames.count == 2,
                let frame = decode(WireAgentFrame.self, message.frames[1])
            else {
                shared.count(.control) { $0.droppedMessages += 1 }
                continue
            }
            let peer = Peer(socket: .control, routingID: message.frames[0])
            guard let (identity, key) = rules.sender(message.userID) else {
                shared.count(.control) { $0.droppedMessages += 1 }
                dismiss(peer, session: frame)
                continue
            }
            let arrival = FrameArrival(
                frame: frame,
                sender: identity,
                key: key,
                address: message.address,
                peer: peer
            )
            if !shared.frames.push(arrival, bytes: message.frames[1].count) {
                shared.count(.control) { $0.droppedMessages += 1 }
            }
        }
    }

    /// The connection is of a key that was revoked: its agent has to enrol again.
    private func dismiss(_ peer: Peer, session frame: WireAgentFrame) {
        var goodbye = WireControllerFrame()
        goodbye.version = frame.version
        goodbye.session = frame.session
        goodbye.goodbye.reason = "this key is not bound to a node any more"
        goodbye.goodbye.enrol = true
        guard let bytes = encode(goodbye) else { return }
        _ = control.send([peer.routingID, bytes])
    }

    private func serveTelemetry() {
        for _ in 0..<Self.turnMax {
            guard let message = telemetry.receive() else { return }
            shared.count(.telemetry) { $0.receive(message) }
            guard message.frames.count == 1, let sender = rules.sender(message.userID),
                let batch = decode(WireMetricBatch.self, message.frames[0]),
                WireVersion.accepts(batch.version)
            else {
                shared.count(.telemetry) { $0.droppedMessages += 1 }
                continue
            }
            shared.metrics.push(
                MetricArrival(batch: batch, sender: sender.identity),
                bytes: message.frames[0].count
            )
        }
    }

    private func serveEnrolment() {
        countStrangers()
        guard let socket = enrolment.socket else { return }
        for _ in 0..<64 {
            guard let message = socket.receive() else { return }
            shared.count(.enrolment) { $0.receive(message) }
            guard message.frames.count == 2,
                let key = CurvePublicKey(z85: message.userID)
            else {
                shared.count(.enrolment) { $0.droppedMessages += 1 }
                continue
            }
            let peer = Peer(socket: .enrolment, routingID: message.frames[0])
            guard let request = decode(WireEnrolRequest.self, message.frames[1]) else {
                shared.count(.enrolment) { $0.droppedMessages += 1 }
                refuse(peer, exchange: nil, .malformed, "the request is no EnrolRequest", retry: 0)
                continue
            }
            let arrival = EnrolmentArrival(
                request: request,
                key: key,
                address: message.address,
                peer: peer
            )
            guard rules.allowsRequest(from: message.address, at: time.elapsed),
                shared.enrolments.push(arrival)
            else {
                shared.count(.enrolment) { $0.droppedMessages += 1 }
                refuse(peer, exchange: request, .busy, "too many requests", retry: 5)
                continue
            }
        }
    }

    private func refuse(
        _ peer: Peer,
        exchange request: WireEnrolRequest?,
        _ code: WireRefused.Code,
        _ reason: String,
        retry: UInt32
    ) {
        var reply = WireEnrolReply()
        if let request { reply.exchange = request.exchange }
        reply.refused.code = code
        reply.refused.reason = reason
        reply.refused.retrySeconds = retry
        guard let bytes = encode(reply) else { return }
        _ = enrolment.socket?.send([peer.routingID, bytes])
    }

    /// Connections of strangers hold descriptors: when there are too many, all are closed at once.
    private func countStrangers() {
        while let event = monitor?.next() {
            strangers += event == ZMQ_EVENT_ACCEPTED ? 1 : -1
        }
        guard strangers > configuration.limits.connectionsMax, enrolment.socket != nil else {
            return
        }
        monitor = nil
        strangers = 0
        enrolment.rebind()
    }

    private func watchEnrolment() {
        guard let socket = enrolment.socket else { return }
        monitors += 1
        strangers = 0
        // Without a monitor the count stays zero and the other limits still hold.
        monitor = try? ZeroMQMonitor(
            context,
            of: socket,
            name: "enrolment.\(monitors)",
            events: ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED
        )
    }

    private func serveStream() {
        // Subscriptions; the socket keeps them itself.
        for _ in 0..<Self.turnMax {
            guard stream.socket?.receive() != nil else { break }
        }
        for _ in 0..<Self.turnMax {
            guard let (topic, payload) = shared.published.poll() else { return }
            // Keys that were changed before this was published count for it.
            admitWished()
            let sent = stream.socket?.send([Array(topic.utf8), payload]) ?? false
            shared.count(.stream) { traffic in
                if sent {
                    traffic.sentMessages += 1
                    traffic.sentBytes += UInt64(payload.count)
                } else {
                    traffic.droppedMessages += 1
                }
            }
        }
        if shared.published.count > 0 { shared.wakeup.wake() }
    }

    private func sendOutgoing() {
        while let (peer, bytes) = shared.outgoing.poll() {
            let socket = peer.socket == .control ? control : enrolment.socket
            let sent = socket?.send([peer.routingID, bytes]) ?? false
            shared.count(peer.socket == .control ? .control : .enrolment) { traffic in
                if sent {
                    traffic.sentMessages += 1
                    traffic.sentBytes += UInt64(bytes.count)
                } else {
                    traffic.droppedMessages += 1
                }
            }
        }
    }
}

extension SocketTraffic {
    fileprivate mutating func receive(_ message: ReceivedMessage) {
        receivedMessages += 1
        receivedBytes += message.frames.reduce(0) { $0 + UInt64($1.count) }
    }
}

/// A listening socket that can be closed with all its connections and opened again on the same endpoints.
struct RebindableSocket {
    private(set) var socket: ZeroMQSocket?
    private(set) var endpoints: [String]
    private let make: () throws -> ZeroMQSocket

    init(_ wanted: [String], make: @escaping () throws -> ZeroMQSocket) throws {
        self.make = make
        let socket = try make()
        endpoints = try wanted.map { try socket.bind($0) }
        self.socket = socket
    }

    /// Closes the socket; `retry` opens it again.
    mutating func rebind() { socket = nil }

    /// Opens the socket if it is closed and its endpoints are free by now; libzmq frees them some time
    /// after the close.
    mutating func retry() {
        guard socket == nil else { return }
        do {
            let next = try make()
            for endpoint in endpoints { _ = try next.bind(endpoint) }
            socket = next
        } catch {
            // The next turn tries again; until then nobody can connect, which shows in the traffic.
            socket = nil
        }
    }
}
