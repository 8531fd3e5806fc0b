import Basics
import CZeroMQ
import Protocol
import Synchronization

/// The sockets of an agent, on their thread.
final class AgentSockets {
    /// One enrolment that waits for its reply.
    private struct Pending {
        let enrolment: ZeroMQAgentLink.Enrolment
        let socket: ZeroMQSocket
        let monitor: ZeroMQMonitor
        let deadline: Duration
        var sent = false
    }

    static let closedFault = Fault(
        .unavailable,
        "cannot use the line to the controller: it was closed"
    )

    /// How long an enrolment waits for its reply.
    static let replyWithin = Duration.seconds(10)
    /// Pause before a connection that ended by a protocol error is made anew.
    private static let anewAfter = Duration.seconds(5)
    /// Size of a message from the controller.
    private static let controlBytesMax = 4 << 20
    private static let replyBytesMax = 64 << 10
    private static let connectionEvents =
        ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
        | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | ZMQ_EVENT_DISCONNECTED

    private let configuration: AgentLinkConfiguration
    private let shared: ZeroMQAgentLink.Shared
    private let time: any TimeSource
    private let context = ZeroMQContext(threads: 1)
    private var pending: [Pending] = []
    private var opened: UInt64 = 0
    private var control: ZeroMQSocket?
    private var monitor: ZeroMQMonitor?
    private var telemetry: ZeroMQSocket?
    private var connected = false
    private var anewAt: Duration?
    private var waitingFrame: [UInt8]?
    private var monitors = 0

    init(
        _ configuration: AgentLinkConfiguration,
        shared: ZeroMQAgentLink.Shared,
        time: any TimeSource
    ) {
        self.configuration = configuration
        self.shared = shared
        self.time = time
    }

    /// Runs until the link is closed.
    func run() {
        while obeyWishes() {
            serveEnrolments()
            serveControl()
            serveTelemetry()
            var sockets = pending.flatMap { [$0.socket, $0.monitor.socket] }
            if let control { sockets.append(control) }
            if let monitor { sockets.append(monitor.socket) }
            waitForInput(sockets, shared.wakeup, milliseconds: waitMilliseconds)
        }
        for entry in pending {
            entry.enrolment.continuation.resume(throwing: Self.closedFault)
        }
        pending = []
        disconnect()
        shared.events.finish()
    }

    /// Something that waits for room or for a deadline makes the thread look again soon.
    private var waitMilliseconds: Int {
        if waitingFrame != nil { return 20 }
        if !pending.isEmpty || anewAt != nil { return 200 }
        return 1000
    }

    private func obeyWishes() -> Bool {
        let wishes = shared.wishes.withLock { wishes in
            defer {
                wishes.enrolments = []
                wishes.cancelled = []
            }
            return wishes
        }
        for enrolment in wishes.enrolments {
            if wishes.closed {
                enrolment.continuation.resume(throwing: Self.closedFault)
            } else {
                begin(enrolment)
            }
        }
        for id in wishes.cancelled {
            guard let index = pending.firstIndex(where: { $0.enrolment.id == id }) else { continue }
            pending.remove(at: index).enrolment.continuation.resume(throwing: CancellationError())
        }
        guard !wishes.closed else { return false }
        if wishes.opened != opened {
            opened = wishes.opened
            connect()
        }
        if let anewAt, time.elapsed >= anewAt { connect() }
        return true
    }

    private func begin(_ enrolment: ZeroMQAgentLink.Enrolment) {
        do {
            let socket = try ZeroMQSocket(context, type: ZMQ_DEALER)
            prepare(socket, bytesMax: Self.replyBytesMax)
            let monitor = try watch(socket)
            try socket.connect(configuration.endpoint(configuration.enrolmentPort))
            pending.append(
                Pending(
                    enrolment: enrolment,
                    socket: socket,
                    monitor: monitor,
                    deadline: time.elapsed + Self.replyWithin
                )
            )
        } catch {
            enrolment.continuation.resume(throwing: error)
        }
    }

    private func serveEnrolments() {
        let now = time.elapsed
        pending = pending.compactMap { entry in
            var entry = entry
            let continuation = entry.enrolment.continuation
            let exchange = entry.enrolment.request.exchange
            while let message = entry.socket.receive() {
                guard message.frames.count == 1,
                    let reply = decode(WireEnrolReply.self, message.frames[0]),
                    reply.exchange == exchange, reply.outcome != nil
                else { continue }
                continuation.resume(returning: reply)
                return nil
            }
            while let event = entry.monitor.next() {
                // A refusal ends the connection for good; the caller tries again after a pause.
                guard
                    event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
                        || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
                else { continue }
                continuation.resume(
                    throwing: Fault(
                        .unavailable,
                        "cannot enrol at \(configuration.address): the controller refused the connection; it is tried again"
                    )
                )
                return nil
            }
            if !entry.sent, let bytes = encode(entry.enrolment.request) {
                entry.sent = entry.socket.send([bytes])
            }
            guard now < entry.deadline else {
                continuation.resume(
                    throwing: Fault(
                        .timeout,
                        "cannot enrol at \(configuration.address): no reply within \(Self.replyWithin.components.seconds) s; check that the controller runs and that its CURVE key is the one this machine was given"
                    )
                )
                return nil
            }
            return entry
        }
    }

    private func connect() {
        disconnect()
        do {
            let control = try ZeroMQSocket(context, type: ZMQ_DEALER)
            prepare(control, bytesMax: Self.controlBytesMax)
            control.set(ZMQ_SNDHWM, 64)
            monitor = try watch(control)
            try control.connect(configuration.endpoint(configuration.controlPort))
            self.control = control
            let telemetry = try ZeroMQSocket(context, type: ZMQ_PUSH)
            prepare(telemetry, bytesMax: Self.replyBytesMax)
            telemetry.set(ZMQ_SNDHWM, 2)
            try telemetry.connect(configuration.endpoint(configuration.telemetryPort))
            self.telemetry = telemetry
        } catch {
            disconnect()
            anewAt = time.elapsed + Self.anewAfter
        }
    }

    private func disconnect() {
        monitor = nil
        control = nil
        telemetry = nil
        waitingFrame = nil
        anewAt = nil
        if connected { shared.events.push(.disconnected) }
        connected = false
    }

    private func prepare(_ socket: ZeroMQSocket, bytesMax: Int) {
        socket.present(configuration.keys, to: configuration.serverKey)
        socket.limitFrames(bytesMax: bytesMax)
        // Frames wait in our own queues, not in those of connections that do not stand yet.
        socket.set(ZMQ_IMMEDIATE, 1)
        socket.set(ZMQ_RECONNECT_IVL, 200)
        socket.set(ZMQ_RECONNECT_IVL_MAX, 10_000)
        socket.set(ZMQ_CONNECT_TIMEOUT, 5_000)
        socket.set(ZMQ_HANDSHAKE_IVL, 10_000)
        socket.set(ZMQ_HEARTBEAT_IVL, 10_000)
        socket.set(ZMQ_HEARTBEAT_TIMEOUT, 30_000)
        socket.set(ZMQ_IPV6, 1)
    }

    private func watch(_ socket: ZeroMQSocket) throws -> ZeroMQMonitor {
        monitors += 1
        return try ZeroMQMonitor(
            context,
            of: socket,
            name: "agent.\(monitors)",
            events: Self.connectionEvents
        )
    }

    private func serveControl() {
        readConnectionEvents()
        guard let control else {
            while shared.frames.poll() != nil {}
            return
        }
        for _ in 0..<256 {
            guard let message = control.receive() else { break }
            guard message.frames.count == 1,
                let frame = decode(WireControllerFrame.self, message.frames[0])
            else { continue }
            shared.events.push(.frame(frame), bytes: message.frames[0].count)
        }
        guard connected else { return }
        while let frame = waitingFrame ?? shared.frames.poll() {
            guard control.send([frame]) else {
                waitingFrame = frame
                return
            }
            waitingFrame = nil
        }
    }

    private func readConnectionEvents() {
        while let event = monitor?.next() {
            switch event {
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
                // What was queued for the connection before is out of date: the session repeats it.
                waitingFrame = nil
                while shared.frames.poll() != nil {}
                connected = true
                shared.events.push(.connected)
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
                disconnect()
                shared.events.push(.keyRefused)
                return
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
                disconnect()
                anewAt = time.elapsed + Self.anewAfter
                return
            default:
                guard connected else { continue }
                connected = false
                shared.events.push(.disconnected)
            }
        }
    }

    private func serveTelemetry() {
        guard let telemetry, connected else { return }
        while let batch = shared.metrics.poll() {
            guard let bytes = encode(batch) else { continue }
            guard telemetry.send([bytes]) else {
                shared.metrics.putBack(batch)
                return
            }
        }
    }
}
