package import Protocol

/// A live line to one agent, as the rest of the controller sees it.
package struct AgentSession: Sendable, Equatable {
    package let node: NodeID
    package let role: AgentRole
    /// Thirty-two hexadecimal digits that the agent made at its start.
    package let session: String
    /// The kernel's boot identity; changes with every boot of the machine.
    package let bootID: String
    /// When the session began, by the controller's clock.
    package let since: Timestamp
    package var lastHeard: Timestamp
    /// What the agent says it works on.
    package var currentCommand: CommandID?
    /// The IP address the agent speaks from.
    package var address: String
    /// The agent's clock minus the controller's, in seconds, when last heard.
    package var skewSeconds: Double
    package var agentVersion: String
    /// Seconds since the machine's kernel started, when last heard.
    package var uptimeSeconds: Double

    package init(
        node: NodeID,
        role: AgentRole,
        session: String,
        bootID: String,
        since: Timestamp,
        lastHeard: Timestamp,
        currentCommand: CommandID? = nil,
        address: String = "",
        skewSeconds: Double = 0,
        agentVersion: String = "",
        uptimeSeconds: Double = 0
    ) {
        self.node = node
        self.role = role
        self.session = session
        self.bootID = bootID
        self.since = since
        self.lastHeard = lastHeard
        self.currentCommand = currentCommand
        self.address = address
        self.skewSeconds = skewSeconds
        self.agentVersion = agentVersion
        self.uptimeSeconds = uptimeSeconds
    }
}
