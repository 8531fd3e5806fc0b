package import Protocol

/// What happens on the agent's control connection.
package enum AgentLinkEvent: Sendable {
    /// The controller let us in (again); say Hello.
    case connected
    /// A frame arrived.
    case frame(WireControllerFrame)
    /// The connection is gone; the link tries again by itself.
    case disconnected
    /// The controller does not know our key (any more); enrol again.
    case keyRefused
}

/// An agent's line to its controller.
///
/// Nothing here waits except `enrol` and `close`: sending puts a frame into a bounded queue. The link
/// reconnects by itself, with growing pauses, until it is closed.
package protocol AgentLink: Sendable {
    /// Events of the control connection, in order. One consumer. When it is full (256 events, 16 MiB),
    /// the newest is refused: the controller repeats what it has no answer to.
    var events: Inbox<AgentLinkEvent> { get }

    /// Sends one request to the enrolment socket and waits for its reply.
    /// - Throws: `Fault` of kind `timeout` when no reply came within 10 s, `unavailable` when the link
    ///   is closed; `CancellationError`.
    func enrol(_ request: WireEnrolRequest) async throws -> WireEnrolReply

    /// Opens the control and telemetry connections; called after each `Admitted`. Harmless when open:
    /// the connections are made anew.
    func open()

    /// Queues a control frame.
    /// - Returns: false when the queue is full (256 frames) or the link is not open; the session repeats
    ///   what matters.
    @discardableResult
    func send(_ frame: WireAgentFrame) -> Bool

    /// Queues a metric batch. The oldest batch is dropped when 64 wait; its samples are added to the
    /// `dropped` count of the next batch that is sent.
    func push(_ batch: WireMetricBatch)

    /// Closes all connections and ends `events`. Returns when the sockets are gone.
    func close() async
}
