package import Agents
package import Basics
package import Logging
package import Protocol
import ServiceLifecycle
package import Store
import Synchronization

/// Carries running deployments forward: sends what a run demands, stores what agents report.
///
/// One run is handled at a time; handling one is short, because sending only queues.
package final class DeploymentReconciler: Service {
    private let database: Database
    private let agents: any AgentCommands
    private let sealer: any SpecificationSealer
    private let time: any TimeSource
    private let logger: Logger
    private let wakes: AsyncStream<DeploymentID>
    private let wakeUp: AsyncStream<DeploymentID>.Continuation
    /// The session that each command was handed to, so that it is sent once per session.
    private let sent = Mutex<[CommandID: String]>([:])
    /// The command of each node whose result came last; a session may name it a little longer.
    private let settled = Mutex<[NodeID: CommandID]>([:])

    /// Wake-ups that wait; more are not lost, because the timer finds every running deployment.
    package static let wakesMax = 1024
    /// How often running deployments are looked at without a wake-up.
    package static let period: Duration = .seconds(5)

    package init(
        database: Database,
        agents: any AgentCommands,
        sealer: any SpecificationSealer,
        time: any TimeSource,
        logger: Logger
    ) {
        self.database = database
        self.agents = agents
        self.sealer = sealer
        self.time = time
        self.logger = logger
        (wakes, wakeUp) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.wakesMax))
    }

    /// Asks for a run to be looked at soon.
    package func wake(_ id: DeploymentID) { wakeUp.yield(id) }

    package func run() async throws {
        try await cancelWhenGracefulShutdown { try await self.work() }
    }

    /// Works until cancelled; starts no task outside its own.
    package func work() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(name: "deployment timer") { try await self.tick() }
            group.addTask(name: "deployment reconciler") {
                for await id in self.wakes { await self.reconcile(id) }
            }
            do {
                try await group.next()
            } catch is CancellationError {}  // A stop is no failure.
            group.cancelAll()
        }
    }

    private func tick() async throws {
        while !Task.isCancelled {
            do {
                for id in try await database.read({ try $0.runningDeployments() }) { wake(id) }
            } catch {
                logger.warning(
                    "running deployments cannot be listed",
                    metadata: [LogKey.error: "\(Fault(error).report)"]
                )
            }
            try await time.sleep(for: Self.period)
        }
    }

    /// Fails what is overdue and hands out the commands of the present state.
    package func reconcile(_ id: DeploymentID) async {
        do {
            let deployment = try await change(id, cause: "time passed", .timePassed)
            guard let deployment, deployment.state == .running else { return }
            for action in deployment.actions {
                await perform(deployment.command(for: action))
            }
        } catch {
            logger.error(
                "deployment cannot be reconciled",
                metadata: [
                    LogKey.deploymentID: "\(id)", LogKey.error: "\(Fault(error).report)",
                ]
            )
        }
    }

    private func perform(_ command: WireCommand) async {
        guard let node = NodeID(command.node), let id = CommandID(command.id),
            let session = await agents.session(of: node, role: .overcloud),
            sent.withLock({ $0[id] }) != session.session
        else { return }
        if let current = session.currentCommand, current != id,
            settled.withLock({ $0[node] }) != current
        {
            // Of a run that is over; the agent takes no other beside it. The timer tries again.
            await agents.cancel(current, on: node, role: .overcloud)
            return
        }
        guard await agents.send(command, to: node, role: .overcloud) else { return }
        sent.withLock { $0[id] = session.session }
        logger.info(
            "command sent",
            metadata: [
                LogKey.nodeID: "\(node)", LogKey.commandID: "\(id)",
                LogKey.attempt: "\(command.attempt)",
            ]
        )
    }

    /// Applies an event to a stored run.
    ///
    /// Nothing is written when nothing changed.
    /// - Returns: the run as it is now; `nil` when there is none.
    @discardableResult
    private func change(
        _ id: DeploymentID,
        cause: String,
        _ event: DeploymentEvent
    ) async throws -> Deployment? {
        let now = time.now
        let (before, after) = try await database.write { [sealer] transaction in
            guard let old = try transaction.deployment(id, sealer: sealer) else {
                return (nil as Deployment?, nil as Deployment?)
            }
            var new = old
            try new.apply(event, at: now)
            if new.state != old.state || new.records != old.records {
                try transaction.save(new, before: old.stateName, cause: cause, sealer: sealer)
            }
            return (old, new)
        }
        if let before, let after, before.stateName != after.stateName {
            logger.notice(
                "deployment changed",
                metadata: [
                    LogKey.deploymentID: "\(id)", LogKey.nodeState: "\(after.stateName)",
                    LogKey.reason: "\(after.lastError ?? cause)",
                ]
            )
        }
        return after
    }
}

extension DeploymentReconciler: AgentReports {
    package func agentConnected(_ session: AgentSession) async {
        guard session.role == .overcloud else { return }
        // A new session may have lost what was sent to the old one: it is sent again.
        guard
            let running = try? await database.read({  // on failure the timer wakes it
                try $0.runningDeployment(of: session.node)
            })
        else { return }
        wake(running.id)
    }

    package func agentLost(_ node: NodeID, role: AgentRole) async {}

    package func agentProgress(
        _ progress: WireProgress,
        from node: NodeID,
        role: AgentRole
    ) async {}

    package func agentLog(_ lines: WireLogLines, from node: NodeID) async {}

    package func agentResult(
        _ result: WireCommandResult,
        from node: NodeID,
        role: AgentRole
    ) async throws -> Bool {
        guard role == .overcloud, let command = CommandID(result.command) else { return false }
        settled.withLock { $0[node] = command }
        let running = try await database.read { [sealer] transaction in
            try transaction.runningDeployment(of: node).flatMap {
                try transaction.deployment($0.id, sealer: sealer)
            }
        }
        guard let deployment = running, let event = deployment.event(for: result, command, node)
        else { return sent.withLock { $0.removeValue(forKey: command) } != nil }
        try await change(deployment.id, cause: "result of node \(node)", event)
        sent.withLock { _ = $0.removeValue(forKey: command) }
        wake(deployment.id)
        return true
    }
}

extension Deployment {
    /// What a result means to this run; `nil` when it belongs to nothing that is waited for.
    func event(
        for result: WireCommandResult,
        _ command: CommandID,
        _ node: NodeID
    ) -> DeploymentEvent? {
        guard let step, let progress = records.last?.nodes[node],
            result.attempt == attempt.number
        else { return nil }
        let tries = progress.tries
        switch (progress.phase, result.outcome) {
        case (.applying, let outcome)
        where command == commandID("apply", node, step.number, tries):
            return applyEvent(outcome, node, tries)
        case (.validating, let outcome)
        where command == commandID("validate", node, step.number, tries):
            return validateEvent(outcome, node, tries)
        case (.applying, _), (.validating, _), (.applied, _), (.passed, _), (.failed, _):
            return nil
        }
    }

    private func applyEvent(
        _ outcome: WireCommandResult.OneOf_Outcome?,
        _ node: NodeID,
        _ tries: Int
    ) -> DeploymentEvent {
        switch outcome {
        case .stepApplied(let applied)
        where [0, 2].contains(applied.exitCode) && applied.failed.isEmpty:
            return .applied(
                node: node,
                tries: tries,
                attempt: attempt,
                changedResources: applied.changedResources
            )
        case .stepApplied(let applied):
            let names = applied.failed.prefix(5).map(\.resource).joined(separator: ", ")
            return .applyFailed(
                node: node,
                tries: tries,
                attempt: attempt,
                message: names.isEmpty
                    ? "Puppet ended with exit code \(applied.exitCode)"
                    : "Puppet ended with exit code \(applied.exitCode); failed: \(names)",
                lines: applied.failed.flatMap { ["\($0.resource):"] + $0.lines }
            )
        case .failure(let failure):
            return .applyFailed(
                node: node,
                tries: tries,
                attempt: attempt,
                message: failure.message,
                lines: failure.lines
            )
        default:
            return .applyFailed(
                node: node,
                tries: tries,
                attempt: attempt,
                message: "the agent answered a Puppet run with something else",
                lines: []
            )
        }
    }

    private func validateEvent(
        _ outcome: WireCommandResult.OneOf_Outcome?,
        _ node: NodeID,
        _ tries: Int
    ) -> DeploymentEvent {
        let failures: [String]
        switch outcome {
        case .validated(let validated):
            failures = validated.outcomes.filter { !$0.passed }
                .map { "\($0.name): \($0.message)" }
        case .failure(let failure): failures = [failure.message] + failure.lines
        default: failures = ["the agent answered the validations with something else"]
        }
        return .validated(node: node, tries: tries, attempt: attempt, failures: failures)
    }
}
