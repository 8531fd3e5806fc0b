package import Agents
import Basics
import Logging
package import Protocol
import ServiceLifecycle
import Synchronization

/// Makes the world be as the nodes' states demand.
///
/// Each node is worked on by one task at a time, on change, on report and when its time has come. A slow
/// BMC holds up its own node only.
package final class NodeReconciler: Service {
    /// How a look at a node ended.
    enum Outcome: Sendable, Equatable {
        /// The node changed: look again at once.
        case changed
        /// Nothing is to be done.
        case settled
        /// Nothing can be done before this time, unless something wakes the node.
        case wait(String, until: Timestamp)
    }

    private struct Memory {
        /// The session that a command was handed to.
        var sent: [NodeID: (command: CommandID, session: String)] = [:]
        /// Since when an agent that should be there is away.
        var missing: [NodeID: Timestamp] = [:]
        /// Restart commands whose machine was power-cycled because its agent did not obey.
        var cycled: [NodeID: CommandID] = [:]
        var powerRead: [NodeID: Timestamp] = [:]
        /// How often a BMC refused to eject a boot image.
        var ejections: [NodeID: Int] = [:]
        /// Beginnings that lie in the future, and when they were first seen.
        var ahead: [NodeID: [Timestamp: Duration]] = [:]
    }

    let service: NodesService
    let agents: any AgentCommands
    let keys: any AgentKeys
    let queue: NodeQueue
    let time: any TimeSource
    let logger: Logger
    private let memory = Mutex(Memory())

    /// How long the clock sleeps at most between two looks at what is due.
    private static let clockPeriod: Duration = .seconds(1)
    /// Tries to eject an image, a minute apart.
    private static let ejectionsMax = 10
    /// How often a state without wake-ups of its own is looked at.
    static let lookAgain: Duration = .seconds(2)
    /// The longest pause between two looks, so that a clock that is set back stops nothing.
    static let pauseMax: Duration = .seconds(60)
    /// How often a queued node looks by itself whether its turn came; whatever makes room wakes it before.
    static let lookAtTurn: Duration = .seconds(60)

    package init(service: NodesService, agents: any AgentCommands, keys: any AgentKeys) {
        self.service = service
        self.agents = agents
        self.keys = keys
        queue = service.queue
        time = service.time
        logger = service.logger
    }

    var budgets: NodeBudgets { service.settings.budgets }

    package func run() async throws {
        try await cancelWhenGracefulShutdown { try await self.work() }
    }

    /// Works until cancelled; starts no task outside its own.
    package func work() async throws {
        for id in try await service.allIDs() { queue.wake(id) }
        let runningMax = service.settings.workersMax
        await withDiscardingTaskGroup { group in
            group.addTask(name: "node clock") { await self.tick() }
            for await _ in self.queue.changes {
                for kind in self.queue.takeRooms() {
                    group.addTask(name: "turns of \(kind.rawValue)") { await self.passTurns(kind) }
                }
                while let id = self.queue.take(runningMax: runningMax) {
                    group.addTask(name: "node \(id)") { await self.work(on: id) }
                }
            }
            group.cancelAll()
        }
    }

    /// Lets the next ones begin; they look again by themselves, should this fail.
    private func passTurns(_ kind: WorkKind) async {
        do {
            try await service.wakeNext(kind)
        } catch {
            logger.warning(
                "turns cannot be passed on",
                metadata: [LogKey.error: "\(Fault(error).report)"]
            )
        }
    }

    private func tick() async {
        while !Task.isCancelled {
            let now = time.elapsed
            let next = queue.releaseDue(at: now)
            let pause = next.map { min($0 - now, Self.clockPeriod) } ?? Self.clockPeriod
            do { try await time.sleep(for: max(pause, .milliseconds(10))) } catch { return }
        }
    }

    private func work(on id: NodeID) async {
        let outcome = await reconcile(id)
        queue.finish(id)
        switch outcome {
        case .changed: queue.wake(id)
        case .settled: break
        case .wait(_, let until):
            let pause = min(max(until - time.now, .milliseconds(50)), Self.pauseMax)
            queue.wake(id, at: time.elapsed + pause)
        }
    }

    /// Looks at one node and does what its state demands.
    func reconcile(_ id: NodeID) async -> Outcome {
        do {
            guard let node = try await service.find(id) else {
                forget(id)
                return .settled
            }
            return try await reconcile(node)
        } catch is CancellationError {
            return .settled
        } catch {
            logger.error(
                "node cannot be reconciled",
                metadata: [
                    LogKey.nodeID: "\(id)", LogKey.error: "\(Fault(error).report)",
                ]
            )
            return .wait("an internal error", until: time.now + .seconds(10))
        }
    }

    private func reconcile(_ node: Node) async throws -> Outcome {
        if node.isQueued, try await service.takeTurn(node) { return .changed }
        let now = now(since: node.wait?.since, of: node.id)
        let deadline = node.deadline(budgets)
        if let deadline, now >= deadline {
            return try await apply(.budgetExceeded, to: node, cause: "the time budget is used up")
        }
        await cancelStaleCommand(of: node)
        let actions = node.actions
        guard !actions.isEmpty else {
            if node.isQueued { return .wait("its turn", until: now + Self.lookAtTurn) }
            if let deadline { return .wait("held", until: deadline) }
            return try await readPower(of: node)
        }
        var until = deadline ?? now + .seconds(60)
        for action in actions {
            if let obstacle = node.obstacle, obstacle.at <= now, obstacle.nextTry > now,
                !action.isAgentsOwn
            {
                until = min(until, obstacle.nextTry)
                continue
            }
            switch try await perform(action, for: node) {
            case .changed: return .changed
            case .settled: continue
            case .wait(_, let time): until = min(until, time)
            }
        }
        return .wait("an action", until: until)
    }

    func apply(
        _ fact: NodeFact,
        to node: Node,
        cause: String,
        edit: @escaping @Sendable (inout Node) -> Void = { _ in }
    ) async throws -> Outcome {
        try await service.apply(fact, to: node, cause: cause, edit: edit)
        return .changed
    }

    /// An agent may work on nothing but the present command.
    private func cancelStaleCommand(of node: Node) async {
        guard let session = await agents.session(of: node.id, role: .ramdisk),
            let current = session.currentCommand, current != node.command
        else { return }
        await agents.cancel(current, on: node.id, role: .ramdisk)
    }

    // MARK: - Memory: lost at a stop without harm

    func wasSent(_ command: CommandID, to session: AgentSession) -> Bool {
        memory.withLock { memory in
            guard let sent = memory.sent[session.node] else { return false }
            return sent == (command, session.session)
        }
    }

    func wasSent(_ command: CommandID, of node: NodeID) -> Bool {
        memory.withLock { $0.sent[node]?.command == command }
    }

    func remember(sent command: CommandID, to session: AgentSession) {
        memory.withLock { $0.sent[session.node] = (command, session.session) }
    }

    /// The time as a node has it whose state, or whose wish, began at `since`.
    ///
    /// A beginning in the future was stored before somebody set the clock back. It is then as if that moment were
    /// the first look at it, so that budgets end although the clock needs hours to come there again.
    func now(since: Timestamp?, of id: NodeID) -> Timestamp {
        let (now, elapsed) = (time.now, time.elapsed)
        return memory.withLock { memory in
            guard let since, since > now else { return now }
            // A node has one state and one wish at a time; what was before them may be forgotten.
            if memory.ahead[id]?.count ?? 0 > 8 { memory.ahead[id] = nil }
            let seen = memory.ahead[id]?[since] ?? elapsed
            memory.ahead[id, default: [:]][since] = seen
            return since + (elapsed - seen)
        }
    }

    /// Since when the agent is away, counted from the first look that did not find it.
    func agentMissing(_ id: NodeID) -> Timestamp {
        let now = time.now
        return memory.withLock { memory in
            let since = min(memory.missing[id] ?? now, now)
            memory.missing[id] = since
            return since
        }
    }

    func agentIsThere(_ id: NodeID) { memory.withLock { $0.missing[id] = nil } }

    func wasCycled(_ command: CommandID, of id: NodeID) -> Bool {
        memory.withLock { $0.cycled[id] == command }
    }

    func remember(cycled command: CommandID, of id: NodeID) {
        memory.withLock { $0.cycled[id] = command }
    }

    /// Counts a refused ejection; after some the image is left where it is.
    func mayEjectAgain(_ id: NodeID) -> Bool {
        memory.withLock { memory in
            memory.ejections[id, default: 0] += 1
            return memory.ejections[id, default: 0] < Self.ejectionsMax
        }
    }

    func forgetEjections(of id: NodeID) { memory.withLock { $0.ejections[id] = nil } }

    func lastPowerRead(of id: NodeID) -> Timestamp? { memory.withLock { $0.powerRead[id] } }

    func rememberPowerRead(of id: NodeID) {
        let now = time.now
        memory.withLock { $0.powerRead[id] = now }
    }

    private func forget(_ id: NodeID) {
        memory.withLock { memory in
            memory.sent[id] = nil
            memory.missing[id] = nil
            memory.cycled[id] = nil
            memory.powerRead[id] = nil
            memory.ahead[id] = nil
        }
        service.hints.withLock { $0.forget(id) }
        queue.forget(id)
    }
}

extension NodeAction {
    /// Whether it needs no BMC, so that a BMC's trouble does not hold it back.
    var isAgentsOwn: Bool {
        switch self {
        case .awaitRamdisk, .run, .awaitInstalled, .endPowerStep, .endWait: true
        case .verifyBMC, .bringUpRamdisk, .chooseDisk, .leaveRamdisk, .tearDown, .changePower,
            .takeDriverStep, .enterRescue, .leaveRescue, .ejectMedium:
            false
        }
    }
}

extension NodeReconciler: AgentReports {
    package func agentConnected(_ session: AgentSession) async { queue.wake(session.node) }

    package func agentLost(_ node: NodeID, role: AgentRole) async { queue.wake(node) }

    package func agentProgress(
        _ progress: WireProgress,
        from node: NodeID,
        role: AgentRole
    ) async {
        guard role == .ramdisk else { return }
        service.take(progress, from: node)
    }

    /// This area commands ramdisks and nobody else does: what one tells belongs here, and what the
    /// installed system's agent tells, which its tenant owns, never does.
    package func agentResult(
        _ result: WireCommandResult,
        from node: NodeID,
        role: AgentRole
    ) async throws -> Bool {
        guard role == .ramdisk else { return false }
        _ = try await service.take(result, from: node)
        return true
    }

    package func agentLog(_ lines: WireLogLines, from node: NodeID) async {}
}
