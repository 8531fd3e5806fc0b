import Basics
import CZeroMQ
import Glibc
import Transport

/// A ZeroMQ context for thousands of agents' sockets.
///
/// The agent's own link has a thread and a context per agent, as one machine needs; thousands of them in
/// one process would measure the scheduler. So the swarm has plain sockets with the same options.
final class SwarmContext {
    let handle: UnsafeMutableRawPointer

    init(socketsMax: Int32) throws {
        guard let handle = zmq_ctx_new() else {
            throw Fault(
                .unavailable,
                "cannot make a ZeroMQ context: memory or descriptors are used up"
            )
        }
        self.handle = handle
        zmq_ctx_set(handle, ZMQ_MAX_SOCKETS, socketsMax)
        zmq_ctx_set(handle, ZMQ_BLOCKY, 0)
    }

    deinit { while zmq_ctx_term(handle) != 0, errno == EINTR {} }
}

/// One connection of one simulated agent; used by the swarm's thread.
final class SwarmSocket {
    let handle: UnsafeMutableRawPointer
    private let context: SwarmContext

    /// Connects from an address of its own.
    init(
        _ context: SwarmContext,
        type: Int32,
        endpoint: String,
        keys: CurveKeyPair,
        server: CurvePublicKey
    ) throws {
        guard let handle = zmq_socket(context.handle, type) else {
            throw Fault(
                .unavailable,
                "cannot make a simulated agent's socket: descriptors are used up; raise “ulimit -n”"
            )
        }
        self.context = context
        self.handle = handle
        set(ZMQ_LINGER, 0)
        set(ZMQ_HEARTBEAT_IVL, 10_000)
        set(ZMQ_HEARTBEAT_TIMEOUT, 30_000)
        set(ZMQ_RECONNECT_IVL, 200)
        set(ZMQ_CURVE_SERVERKEY, server.z85)
        set(ZMQ_CURVE_PUBLICKEY, keys.publicKey.z85)
        set(ZMQ_CURVE_SECRETKEY, keys.secretKey.reveal())
        guard zmq_connect(handle, endpoint) == 0 else {
            let reason = String(cString: zmq_strerror(zmq_errno()))
            zmq_close(handle)
            throw Fault(.unavailable, "cannot connect to \(endpoint): \(reason)")
        }
    }

    deinit { zmq_close(handle) }

    private func set(_ option: Int32, _ value: Int32) {
        var value = value
        zmq_setsockopt(handle, option, &value, MemoryLayout<Int32>.size)
    }

    private func set(_ option: Int32, _ text: String) {
        zmq_setsockopt(handle, option, text, text.utf8.count)
    }

    /// Becomes readable when something happened to the socket.
    var descriptor: Int32 {
        var file: Int32 = -1
        var size = MemoryLayout<Int32>.size
        zmq_getsockopt(handle, ZMQ_FD, &file, &size)
        return file
    }

    /// Sends without waiting; false when there is no room.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        zmq_send(handle, bytes, bytes.count, ZMQ_DONTWAIT) >= 0
    }

    /// Receives without waiting; `nil` when nothing has arrived.
    func receive() -> [UInt8]? {
        var message = zmq_msg_t()
        zmq_msg_init(&message)
        defer { zmq_msg_close(&message) }
        guard zmq_msg_recv(&message, handle, ZMQ_DONTWAIT) >= 0 else { return nil }
        return Array(
            UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))
        )
    }
}
