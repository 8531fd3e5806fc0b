import Baremetal
import Basics
import Deployment
import Protocol
import Store

// What the store must say after every transaction, and what time must not do.
extension Invariants {
    private struct Stored: Sendable {
        let nodes: [Node]
        let changes: [Change]
        let runs: [(id: DeploymentID, state: String)]
        let runCommands: [String]
    }

    /// Looks at the store if anything was written to it.
    func look() {
        guard let world = world.value, let incarnation = world.incarnation, violation == nil
        else { return }
        let writes = world.store.writes
        guard writes != state.value.writesSeen || incarnation.number != state.value.runSeen else {
            return
        }
        state.value.writesSeen = writes
        state.value.runSeen = incarnation.number
        let sequence = state.value.sequence
        let sealer = incarnation.sealer
        let stored = read(incarnation) { transaction in
            let runs = try transaction.deployments(limit: 20, sealer: RunSealer(sealer: sealer))
            return Stored(
                nodes: try transaction.nodeIDs().compactMap {
                    try transaction.node($0, sealer: sealer)
                },
                changes: try transaction.changes(after: sequence),
                runs: runs.map { ($0.id, $0.stateName) },
                runCommands: runs.flatMap { run in run.actions.map { run.command(for: $0).id } }
            )
        }
        guard let stored else { return }
        state.value.awaited = Set(
            stored.nodes.compactMap { $0.command?.text } + stored.runCommands
        )
        follow(stored.changes)
        compare(stored)
        checkTurns(stored.nodes, Incarnation.settings(of: world).work)
        for node in stored.nodes { check(node) }
    }

    private func follow(_ changes: [Change]) {
        for change in changes {
            guard change.sequence == state.value.sequence + 1 else {
                return fail(
                    .feedIsComplete,
                    "change \(change.sequence) follows \(state.value.sequence)"
                )
            }
            state.value.sequence = change.sequence
            guard change.kind == "node" || change.kind == "deployment" else { continue }
            let object = "\(change.kind) \(change.id)"
            let before = state.value.fed[object] ?? ""
            if before != change.before {
                fail(.feedIsComplete, "\(object) was “\(before)”, not “\(change.before)”")
            }
            state.value.fed[object] = change.after
            world.value?.log.add(
                "feed",
                "\(object.prefix(19)) “\(change.before)” → “\(change.after)” \(change.attempt): \(change.cause)"
            )
        }
    }

    private func compare(_ stored: Stored) {
        var present: [String: String] = [:]
        for node in stored.nodes { present["node \(node.id)"] = node.state.ironicName }
        for run in stored.runs { present["deployment \(run.id)"] = run.state }
        let fed = state.value.fed.filter { !$0.value.isEmpty }
        guard present != fed else { return }
        let differing = Set(present.keys).union(fed.keys).filter { present[$0] != fed[$0] }.sorted()
        fail(.feedIsComplete, "the feed and the tables differ about \(differing)")
    }

    /// Work that stood still in maintenance or under a lockout may go on beyond the limit.
    private func checkTurns(_ nodes: [Node], _ limits: WorkLimits) {
        let before = state.value.nodes
        for node in nodes where node.isQueued && node.state != before[node.id]?.state {
            if before[node.id]?.isQueued == true, before[node.id]?.attempt == node.attempt {
                fail(.boundedWork, "\(node.label) is worked on before its turn")
            }
        }
        let working = nodes.filter {
            $0.state.workKind != nil && !$0.isQueued && $0.maintenance == nil && $0.lockout == nil
        }
        for kind in WorkKind.allCases {
            let same = working.filter { $0.state.workKind == kind }
            let began = same.filter { $0.startedAt != before[$0.id]?.startedAt }
            let wentOn = same.contains { node in
                before[node.id]?.maintenance != nil || before[node.id]?.lockout != nil
            }
            guard !began.isEmpty, !wentOn, same.count > limits[kind] else { continue }
            let excess = state.value.nodes.values.contains {
                $0.state.workKind == kind && ($0.maintenance != nil || $0.lockout != nil)
            }
            guard !excess else { continue }
            fail(.boundedWork, "\(same.count) nodes of \(kind.rawValue) at a time")
        }
    }

    private static let steps = Set(
        NodeLifecycle.table.flatMap { row in row.to.map { "\(row.from.rawValue) \($0.rawValue)" } }
    )

    private func check(_ node: Node) {
        defer { state.value.nodes[node.id] = node }
        let texts = [node.lastError ?? ""] + node.lastLines
        if texts.contains(where: { $0.contains(Attacker.mark) }) {
            fail(.reportsCount, "a forged report was applied to \(node.label)")
        }
        guard let before = state.value.nodes[node.id] else { return }
        if node.attempt < before.attempt { fail(.tableOnly, "\(node.label)'s attempt shrinks") }
        guard node.state != before.state else { return }
        let (old, new) = (before.state.name, node.state.name)
        if old != new, !Self.steps.contains("\(old.rawValue) \(new.rawValue)") {
            fail(.tableOnly, "\(node.label) goes from \(old) to \(new)")
        }
        checkReports(before, node)
        if new == .active { checkDisk(of: node) }
        let failed: [ProvisionState.Name] = [
            .enroll, .inspectFailed, .cleanFailed, .deployFailed, .error,
        ]
        if failed.contains(new), let since = state.value.healthy[node.id], node.attempt >= since {
            fail(.healthyWorkSucceeds, "\(node.label) is \(new): \(node.lastError ?? "?")")
        }
    }

    private func checkReports(_ before: Node, _ node: Node) {
        if let command = node.command, state.value.closed.contains(command) {
            fail(.reportsCount, "command \(command) of \(node.label) comes back")
        }
        guard let command = before.command, command != node.command else { return }
        state.value.closed.insert(command)
        guard before.state.ramdiskJob?.command == command, node.attempt == before.attempt,
            Self.isDone(before.state, node.state), !state.value.done.contains(command.text)
        else { return }
        fail(.reportsCount, "command \(command) of \(node.label) counts as done; nobody did it")
    }

    /// Whether the step from one state to the other means that a command was done.
    private static func isDone(_ before: ProvisionState, _ after: ProvisionState) -> Bool {
        switch (before, after) {
        case (.inspecting, .manageable), (.cleaning, .available): true
        case (.deploying, .deploying(let job)):
            if case .bootDevice = job.stage { true } else { false }
        default: false
        }
    }

    /// The disk of an active node, as it would be after a power cut.
    func checkDisk(of node: Node) {
        guard case .active(let installation) = node.state, let world = world.value,
            let machine = world.machines.first(where: {
                world.images.nodeOf.value[$0.name] == node.id
            }), let image = world.images.image(installation.image)
        else { return }
        if let difference = image.difference(on: machine.root, durably: true) {
            fail(.activeIsWritten, "\(machine.name) runs \(image.name), but \(difference)")
        }
    }

    // MARK: - Time

    /// Looks at what waits too long; to be called now and then.
    func lookAtClock() {
        guard let world = world.value, let healed = world.healedAt else { return }
        let now = SimulatedTime.beginning + world.elapsed
        let healedAt = SimulatedTime.beginning + healed
        for node in state.value.nodes.values.sorted(by: { $0.id < $1.id }) {
            if let (wait, since) = node.wait, let budget = Incarnation.settings.budgets[wait] {
                let end = max(since, healedAt) + budget + Self.slack
                if now > end { fail(.withinBudget, "\(node.label) still waits for \(wait)") }
            }
            if let wish = node.powerWish, now > max(wish.deadline, healedAt) + .seconds(90) {
                fail(.withinBudget, "\(node.label) still waits for “\(wish.target.rawValue)”")
            }
            for finished in state.value.finished
            where node.command?.text == finished.command && finished.life.isAlive
                && world.elapsed > max(finished.at, healed) + Self.reportWithin
            {
                fail(.reportsCount, "the report of \(finished.command) never arrives")
            }
        }
    }
}
