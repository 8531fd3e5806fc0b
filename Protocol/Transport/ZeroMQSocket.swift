import Basics
import CZeroMQ
import Glibc
import Synchronization

/// A ZeroMQ context: the I/O threads behind a process's sockets.
final class ZeroMQContext {
    let handle: UnsafeMutableRawPointer

    /// - Parameter threads: I/O threads; a socket can be tied to some of them.
    init(threads: Int32) {
        guard let handle = zmq_ctx_new() else {
            preconditionFailure("cannot make a ZeroMQ context")
        }
        self.handle = handle
        zmq_ctx_set(handle, ZMQ_IO_THREADS, threads)
        zmq_ctx_set(handle, ZMQ_BLOCKY, 0)
    }

    /// Waits until all sockets' connections are closed; all sockets must be closed before.
    deinit {
        while zmq_ctx_term(handle) != 0, errno == EINTR {}
    }
}

/// A message that arrived: its frames, and who sent it according to the connection.
struct ReceivedMessage {
    var frames: [[UInt8]] = []
    /// ZAP's User-Id; empty where no ZAP handler is asked.
    var userID = ""
    /// IP address of the peer; empty for other transports.
    var address = ""
}

/// A ZeroMQ socket; made, used and closed by one thread.
final class ZeroMQSocket {
    let handle: UnsafeMutableRawPointer
    private var closed = false
    // The context must outlive its sockets.
    private let context: ZeroMQContext

    /// Frames that a message may have; the rest is read and thrown away.
    static let framesMax = 16

    init(_ context: ZeroMQContext, type: Int32) throws {
        guard let handle = zmq_socket(context.handle, type) else {
            throw Fault(
                .unavailable,
                "cannot make a ZeroMQ socket: \(ZeroMQSocket.reason()); free descriptors"
            )
        }
        self.handle = handle
        self.context = context
        set(ZMQ_LINGER, 0)
    }

    deinit { close() }

    /// Closes the socket and its connections; nothing else may be called afterwards.
    func close() {
        guard !closed else { return }
        closed = true
        zmq_close(handle)
    }

    /// The present thread's last ZeroMQ error in words.
    static func reason() -> String { String(cString: zmq_strerror(zmq_errno())) }

    func set(_ option: Int32, _ value: Int32) {
        var value = value
        let status = zmq_setsockopt(handle, option, &value, MemoryLayout<Int32>.size)
        precondition(status == 0, "option \(option) = \(value): \(ZeroMQSocket.reason())")
    }

    /// Limits the size of a received frame; a peer that sends more is disconnected.
    func limitFrames(bytesMax: Int) {
        var value = Int64(bytesMax)
        let status = zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &value, MemoryLayout<Int64>.size)
        precondition(status == 0, "frame limit \(value): \(ZeroMQSocket.reason())")
    }

    /// Ties the socket's connections to some of the context's I/O threads, by a bit mask.
    func useThreads(_ mask: Int64) {
        var value = UInt64(bitPattern: mask)
        let status = zmq_setsockopt(handle, ZMQ_AFFINITY, &value, MemoryLayout<UInt64>.size)
        precondition(status == 0, "thread mask \(value): \(ZeroMQSocket.reason())")
    }

    func set(_ option: Int32, _ bytes: [UInt8]) {
        let status = zmq_setsockopt(handle, option, bytes, bytes.count)
        precondition(status == 0, "option \(option): \(ZeroMQSocket.reason())")
    }

    func set(_ option: Int32, _ text: String) { set(option, Array(text.utf8)) }

    /// Makes the socket a CURVE server that asks ZAP under `domain`.
    ///
    /// libzmq lets every key in while no ZAP handler is bound: bind it first and close it last.
    func serve(_ keys: CurveKeyPair, domain: String) {
        set(ZMQ_CURVE_SERVER, 1)
        set(ZMQ_CURVE_SECRETKEY, Z85.decode(keys.secretKey.reveal()) ?? [])
        set(ZMQ_ZAP_DOMAIN, domain)
    }

    /// Makes the socket a CURVE client of the server that holds `server`.
    func present(_ keys: CurveKeyPair, to server: CurvePublicKey) {
        set(ZMQ_CURVE_SERVERKEY, server.bytes)
        set(ZMQ_CURVE_PUBLICKEY, keys.publicKey.bytes)
        set(ZMQ_CURVE_SECRETKEY, Z85.decode(keys.secretKey.reveal()) ?? [])
    }

    /// Binds; the socket's address with the port that was chosen is returned.
    func bind(_ endpoint: String) throws -> String {
        guard zmq_bind(handle, endpoint) == 0 else {
            let busy = zmq_errno() == EADDRINUSE
            throw Fault(
                busy ? .conflict : .unavailable,
                "cannot listen on \(endpoint): \(ZeroMQSocket.reason()); \(busy ? "stop what uses it or choose another port" : "check the address and the rights")"
            )
        }
        var text = [CChar](repeating: 0, count: 256)
        var size = text.count
        guard zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, &text, &size) == 0 else { return endpoint }
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }

    func connect(_ endpoint: String) throws {
        guard zmq_connect(handle, endpoint) == 0 else {
            throw Fault(
                .invalid,
                "cannot connect to \(endpoint): \(ZeroMQSocket.reason()); check the address"
            )
        }
    }

    /// Sends without waiting.
    /// - Returns: false when the message cannot be taken now or its receiver is gone.
    func send(_ frames: [[UInt8]]) -> Bool {
        for (index, frame) in frames.enumerated() {
            let flags = ZMQ_DONTWAIT | (index + 1 < frames.count ? ZMQ_SNDMORE : 0)
            while true {
                if zmq_send(handle, frame, frame.count, flags) >= 0 { break }
                if zmq_errno() != EINTR { return false }
            }
        }
        return true
    }

    /// Receives without waiting; `nil` when nothing has arrived.
    func receive() -> ReceivedMessage? {
        var received = ReceivedMessage()
        while true {
            var message = zmq_msg_t()
            zmq_msg_init(&message)
            defer { zmq_msg_close(&message) }
            guard zmq_msg_recv(&message, handle, ZMQ_DONTWAIT) >= 0 else {
                if zmq_errno() == EINTR { continue }
                return nil
            }
            let more = zmq_msg_more(&message) != 0
            if received.frames.count < Self.framesMax {
                let bytes = UnsafeRawBufferPointer(
                    start: zmq_msg_data(&message),
                    count: zmq_msg_size(&message)
                )
                received.frames.append(Array(bytes))
            }
            if more { continue }
            received.userID = zmq_msg_gets(&message, "User-Id").map { String(cString: $0) } ?? ""
            received.address =
                zmq_msg_gets(&message, "Peer-Address").map { plainAddress(String(cString: $0)) }
                ?? ""
            return received
        }
    }
}

/// Events of a socket's connections.
final class ZeroMQMonitor {
    let socket: ZeroMQSocket
    private let watched: ZeroMQSocket

    init(_ context: ZeroMQContext, of watched: ZeroMQSocket, name: String, events: Int32) throws {
        self.watched = watched
        socket = try ZeroMQSocket(context, type: ZMQ_PAIR)
        let endpoint = "inproc://monitor.\(name)"
        guard zmq_socket_monitor(watched.handle, endpoint, events) == 0 else {
            throw Fault(.unavailable, "cannot watch a ZeroMQ socket: \(ZeroMQSocket.reason())")
        }
        try socket.connect(endpoint)
    }

    deinit { zmq_socket_monitor(watched.handle, nil, 0) }

    /// The next event's number (`ZMQ_EVENT_…`); `nil` when there is none.
    func next() -> Int32? {
        guard let message = socket.receive(), let first = message.frames.first, first.count >= 2
        else { return nil }
        return Int32(first[0]) | Int32(first[1]) << 8
    }
}

/// Wakes a thread that waits in `zmq_poll`.
final class Wakeup: Sendable {
    let readEnd: Int32
    private let writeEnd: Int32
    /// Whether a call has come that the thread has not heard yet: one byte is enough for all of them.
    private let called = Atomic<Bool>(false)

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw Fault(
                .unavailable,
                "cannot make a pipe: error \(errno); raise the limit of open files"
            )
        }
        for end in ends {
            _ = fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// Makes the thread look at its queues; may be called by any thread.
    func wake() {
        guard !called.exchange(true, ordering: .acquiringAndReleasing) else { return }
        var byte: UInt8 = 1
        // A full pipe wakes as well.
        _ = write(writeEnd, &byte, 1)
    }

    /// Forgets earlier calls; whoever calls this looks at its queues afterwards.
    func clear() {
        called.store(false, ordering: .sequentiallyConsistent)
        var bytes = [UInt8](repeating: 0, count: 256)
        while read(readEnd, &bytes, bytes.count) == bytes.count {}
    }
}

/// Waits until something can be received from one of the sockets, the thread is woken or time is up.
func waitForInput(_ sockets: [ZeroMQSocket], _ wakeup: Wakeup, milliseconds: Int) {
    var items = [
        zmq_pollitem_t(socket: nil, fd: wakeup.readEnd, events: Int16(ZMQ_POLLIN), revents: 0)
    ]
    for socket in sockets {
        items.append(
            zmq_pollitem_t(socket: socket.handle, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0)
        )
    }
    zmq_poll(&items, Int32(items.count), milliseconds)
    wakeup.clear()
}

/// An IPv4 address without the IPv6 mapping (`::ffff:192.0.2.5`) that a socket of both families gives it.
func plainAddress(_ text: String) -> String {
    text.hasPrefix("::ffff:") && text.contains(".") ? String(text.dropFirst(7)) : text
}
