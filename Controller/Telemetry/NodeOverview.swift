package import Protocol

/// What dashboards and metrics say of one node.
package struct NodeOverview: Sendable, Equatable {
    package var id: NodeID
    /// The node's name, or its identifier when it has none.
    package var name: String
    /// The provision state by its API name: `inspect wait`.
    package var state: String
    package var power: String
    package var maintenance: Bool
    package var since: Timestamp
    /// What the node waits for; `nil` when it is settled.
    package var waitingFor: String?
    /// When waiting ends by itself.
    package var until: Timestamp?
    package var lastError: String?
    /// Phase and bytes of the command that runs, if any.
    package var progress: NodeProgress?

    package init(
        id: NodeID,
        name: String,
        state: String,
        power: String,
        maintenance: Bool,
        since: Timestamp,
        waitingFor: String?,
        until: Timestamp?,
        lastError: String?,
        progress: NodeProgress?
    ) {
        self.id = id
        self.name = name
        self.state = state
        self.power = power
        self.maintenance = maintenance
        self.since = since
        self.waitingFor = waitingFor
        self.until = until
        self.lastError = lastError
        self.progress = progress
    }
}

/// How far an agent's command is, as last reported.
package struct NodeProgress: Sendable, Equatable, Codable {
    package var phase: String
    package var doneBytes: UInt64
    package var totalBytes: UInt64
    package var bytesPerSecond: Double
    package var text: String

    package init(
        phase: String,
        doneBytes: UInt64,
        totalBytes: UInt64,
        bytesPerSecond: Double,
        text: String
    ) {
        self.phase = phase
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
        self.bytesPerSecond = bytesPerSecond
        self.text = text
    }

    enum CodingKeys: String, CodingKey {
        case phase, text
        case doneBytes = "done_bytes"
        case totalBytes = "total_bytes"
        case bytesPerSecond = "bytes_per_second"
    }
}

/// Tells how all nodes are; the bare metal area does it.
package protocol NodeOverviews: Sendable {
    /// Every node, by name.
    func overviews() async throws -> [NodeOverview]

    /// What people call a node; `nil` when it does not exist.
    func name(of node: NodeID) async throws -> String?
}
