package import Protocol

/// A connection that an answer can be sent to; it means nothing after the connection ended.
package struct Peer: Hashable, Sendable {
    /// Which of the controller's sockets the peer is connected to.
    package enum Socket: UInt8, Sendable {
        case enrolment
        case control
    }

    package let socket: Socket
    package let routingID: [UInt8]

    /// Names a connection; only links make them.
    package init(socket: Socket, routingID: [UInt8]) {
        self.socket = socket
        self.routingID = routingID
    }
}

/// A request on the enrolment socket.
package struct EnrolmentArrival: Sendable {
    package let request: WireEnrolRequest
    /// The key that the connection proved to hold.
    package let key: CurvePublicKey
    /// The IP address the request came from.
    package let address: String
    package let peer: Peer

    /// Only links make arrivals.
    package init(request: WireEnrolRequest, key: CurvePublicKey, address: String, peer: Peer) {
        self.request = request
        self.key = key
        self.address = address
        self.peer = peer
    }
}

/// Whom a key belongs to.
package struct AgentIdentity: Hashable, Comparable, Sendable {
    package let node: NodeID
    package let role: AgentRole

    package init(node: NodeID, role: AgentRole) {
        self.node = node
        self.role = role
    }

    package static func < (left: AgentIdentity, right: AgentIdentity) -> Bool {
        (left.node, left.role) < (right.node, right.role)
    }
}

/// A frame on the control socket.
package struct FrameArrival: Sendable {
    package let frame: WireAgentFrame
    /// From the connection's key; never from the frame.
    package let sender: AgentIdentity
    package let key: CurvePublicKey
    package let address: String
    package let peer: Peer

    /// Only links make arrivals.
    package init(
        frame: WireAgentFrame,
        sender: AgentIdentity,
        key: CurvePublicKey,
        address: String,
        peer: Peer
    ) {
        self.frame = frame
        self.sender = sender
        self.key = key
        self.address = address
        self.peer = peer
    }
}

/// A batch on the telemetry socket.
package struct MetricArrival: Sendable {
    package let batch: WireMetricBatch
    package let sender: AgentIdentity

    /// Only links make arrivals.
    package init(batch: WireMetricBatch, sender: AgentIdentity) {
        self.batch = batch
        self.sender = sender
    }
}

/// What the controller sends to one peer.
package enum ControllerMessage: Sendable {
    /// Only to a peer of the enrolment socket.
    case reply(WireEnrolReply)
    /// Only to a peer of the control socket.
    case frame(WireControllerFrame)
}

/// All keys that are let in, at one moment.
package struct AdmittedKeys: Sendable, Equatable {
    /// Grows with each change, from 1; a link ignores a snapshot that is older than the one it has.
    package var generation: UInt64
    /// Keys of agents, let in at control and telemetry.
    package var agents: [CurvePublicKey: AgentIdentity]
    /// Keys of readers and their names: stream only.
    package var readers: [CurvePublicKey: String]

    package init(
        generation: UInt64,
        agents: [CurvePublicKey: AgentIdentity] = [:],
        readers: [CurvePublicKey: String] = [:]
    ) {
        self.generation = generation
        self.agents = agents
        self.readers = readers
    }
}

/// Publishes to whoever subscribed to the stream.
package protocol StreamPublisher: Sendable {
    /// Queues a message; never waits. The oldest is dropped when 4096 wait.
    /// - Parameters:
    ///   - topic: `metric.<node>.<name>` or `event.<kind>.<id>`.
    ///   - payload: a protobuf message, `StreamMetric` or `StreamEvent`.
    func publish(topic: String, payload: [UInt8])
}

/// The controller's line to all agents and readers.
///
/// Nothing here waits. Each kind of message has its own bounded queue, so that a flood of one delays no other.
package protocol ControllerLink: StreamPublisher {
    /// Requests to be admitted; 64 wait at most, then the newest is refused. One consumer.
    var enrolments: Inbox<EnrolmentArrival> { get }

    /// Control frames; 1024 or 64 MiB wait at most, then the newest is refused. One consumer.
    var frames: Inbox<FrameArrival> { get }

    /// Metric batches; 1024 or 16 MiB wait at most, then the oldest is dropped. One consumer.
    var metrics: Inbox<MetricArrival> { get }

    /// Queues a message to one peer.
    /// - Returns: false when the queue is full (4096 messages); whoever sent repeats what matters.
    @discardableResult
    func send(_ message: ControllerMessage, to peer: Peer) -> Bool

    /// Replaces the keys that are let in. Messages of keys that are no longer among them are dropped
    /// from now on, also on connections that are open, and subscribers are disconnected.
    func admit(_ keys: AdmittedKeys)
}
