package import Protocol

/// What agents report, for the areas that act on it.
///
/// Each area ignores what is not its own.
///
/// Calls about one node come in the order of its frames and never overlap; calls about different nodes do.
package protocol AgentReports: Sendable {
    /// An agent began a session, or took it up again after its connection was lost.
    func agentConnected(_ session: AgentSession) async

    /// Nothing was heard for 30 s, or the agent's key was revoked.
    func agentLost(_ node: NodeID, role: AgentRole) async

    /// How far a command is.
    func agentProgress(_ progress: WireProgress, from node: NodeID, role: AgentRole) async

    /// The outcome of a command, from the agent that proved to be the node's in this role.
    /// - Returns: true when it was stored or is out of date; only then is the agent told to forget it.
    ///   False when the command is not this area's.
    /// - Throws: when it could not be stored; the agent repeats it.
    func agentResult(
        _ result: WireCommandResult,
        from node: NodeID,
        role: AgentRole
    ) async throws -> Bool

    /// Lines of a command's console.
    func agentLog(_ lines: WireLogLines, from node: NodeID) async
}

/// Sends commands to agents.
package protocol AgentCommands: Sendable {
    /// The live session of a node; `nil` when there is none.
    func session(of node: NodeID, role: AgentRole) async -> AgentSession?

    /// Hands the command to the node's live session, which repeats it until the agent has taken it.
    /// Idempotent by command id.
    /// - Returns: false when there is no session.
    func send(_ command: WireCommand, to node: NodeID, role: AgentRole) async -> Bool

    /// Asks the agent to stop a command. Its result, if any, still arrives.
    func cancel(_ command: CommandID, on node: NodeID, role: AgentRole) async
}

/// Takes machines that nobody registered; implemented by Baremetal.
package protocol UnknownMachines: Sendable {
    /// Finds or makes the node of a machine that came with an open-discovery token.
    ///
    /// `address` is the IP address the machine speaks from.
    /// - Throws: `Fault` when discovery is closed or the machine is not welcome.
    func enrolUnknown(_ request: WireEnrolRequest, address: String) async throws -> NodeID
}

/// Tells which address a machine holds; implemented by Boot's lease table.
package protocol LeaseLookup: Sendable {
    /// The IP address that the DHCP server gave to a MAC (lower case, colons); `nil` without a lease.
    func leasedAddress(of mac: String) async -> String?

    /// From where the ramdisk of a node speaks that did not ask our DHCP server; `nil` when it did.
    func placement(of node: NodeID) async throws -> AgentPlacement?
}

extension LeaseLookup {
    /// For those who know leases only.
    package func placement(of node: NodeID) async throws -> AgentPlacement? { nil }
}

/// From where an agent speaks whose token came another way than over the network.
package enum AgentPlacement: Sendable, Equatable {
    /// Another DHCP server gave it its address.
    case anywhere
    /// It was told to take this address.
    case at(String)
}

/// Takes metric batches of agents.
package protocol MetricSink: Sendable {
    /// Takes a batch; must be quick, later batches wait meanwhile and the oldest of them are dropped.
    func metrics(_ batch: WireMetricBatch, from node: NodeID) async
}

/// Looks into machines' BMCs; implemented by Baremetal.
package protocol MachineProofs: Sendable {
    /// Whether a record of the event log of a node's BMC holds these bytes and is a proof.
    ///
    /// Takes as long as the BMC does, within the bounds of its driver.
    func check(_ record: UInt16, holds data: [UInt8], of node: NodeID) async -> ProofVerdict

    /// Takes a record that did its service out of the event log; one that stays does no harm.
    func forget(_ record: UInt16, of node: NodeID) async

    /// Writes a sentence into the node's history.
    func tell(_ sentence: String, of node: NodeID) async throws

    /// Whether a machine may leave its proof in `AssetTag`: what stands there is stored then.
    func keepTag(of node: NodeID) async -> Bool

    /// Whether the `AssetTag` of a node's machine is this proof; its BMC is looked at by the network.
    func check(tag: String, of node: NodeID) async -> ProofVerdict

    /// Puts back what stood in `AssetTag`, where a proof stands there now; tried again later when it fails.
    func restoreTag(of node: NodeID) async

    /// The same for all nodes whose time has come.
    ///
    /// `all`: also for the others, whose challenges nobody knows any more.
    func restoreTags(all: Bool) async
}

extension MachineProofs {
    /// For those who know event logs only.
    package func keepTag(of node: NodeID) async -> Bool { false }
    package func check(tag: String, of node: NodeID) async -> ProofVerdict {
        .impossible("no AssetTag can be read")
    }
    package func restoreTag(of node: NodeID) async {}
    package func restoreTags(all: Bool) async {}
}

/// What the BMC of a node says about a machine.
package enum ProofVerdict: Sendable, Equatable {
    /// The machine that enrols wrote into this BMC from within.
    case proven
    /// It did not: why, for people.
    case refused(String)
    /// This BMC cannot tell.
    case impossible(String)
    /// Just now it cannot be asked.
    case later(String)
}
