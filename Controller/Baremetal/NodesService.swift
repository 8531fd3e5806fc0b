package import Basics
import Boot
package import HTTP
package import Logging
import Power
package import Protocol
package import Store
import Synchronization

/// The only door of this area: every change of a node goes through here, in one transaction.
///
/// Calls with a principal check what it may do; those without are the controller's own.
package final class NodesService: Sendable {
    let database: Database
    let sealer: Sealer
    let images: any ImageSource
    let drivers: [String: NodeDriver]
    let queue: NodeQueue
    package let settings: BaremetalSettings
    let time: any TimeSource
    let random: any RandomSource
    let logger: Logger
    let progress = Mutex<[NodeID: WorkProgress]>([:])
    /// What BMCs told by themselves.
    let hints = Mutex(EventHints())
    /// BMCs and users whose password is being looked after.
    let rotating = Mutex<Set<String>>([])

    package init(
        database: Database,
        sealer: Sealer,
        images: any ImageSource,
        drivers: [NodeDriver],
        queue: NodeQueue,
        settings: BaremetalSettings,
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) {
        self.database = database
        self.sealer = sealer
        self.images = images
        self.drivers = Dictionary(drivers.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
        self.queue = queue
        self.settings = settings
        self.time = time
        self.random = random
        self.logger = logger
    }

    // MARK: - Reading

    /// The node with this UUID or name.
    /// - Throws: `Fault` of kind `notFound`, also for a node that the principal may not see.
    package func node(_ reference: String, by principal: Principal? = nil) async throws -> Node {
        try await database.read { [sealer] transaction in
            try transaction.visibleNode(reference, to: principal, sealer: sealer)
        }
    }

    /// The same for those whom the rule lets.
    func node(
        _ reference: String,
        by principal: Principal?,
        to action: String,
        _ rule: NodeAccess.Rule
    ) async throws -> Node {
        let node = try await node(reference, by: principal)
        try NodeAccess.requireChange(of: node, by: principal, to: "\(action) \(node.label)", rule)
        return node
    }

    /// The nodes of one page.
    package func nodes(_ query: NodeQuery, by principal: Principal? = nil) async throws -> [Node] {
        var query = query
        if let principal, !principal.isSystem { query.visibleTo = principal.projectID ?? "" }
        return try await database.read { [query, sealer] transaction in
            try transaction.nodes(query, sealer: sealer)
        }
    }

    /// The nodes of one page without details.
    func summaries(
        _ query: NodeQuery,
        by principal: Principal?
    ) async throws -> [NodeSummary] {
        var query = query
        if let principal, !principal.isSystem { query.visibleTo = principal.projectID ?? "" }
        return try await database.read { [query] in try $0.summaries(query) }
    }

    /// How many nodes are in each provision state.
    package func counts() async throws -> [String: Int] {
        try await database.read { try $0.nodeCounts() }
    }

    /// How far the agent's present command is; `nil` when nothing was reported.
    package func progress(of node: Node) -> WorkProgress? {
        guard let command = node.command else { return nil }
        return progress.withLock { $0[node.id] }.flatMap { $0.command == command ? $0 : nil }
    }

    /// What a machine is made of, as the last inspection found it.
    /// - Throws: `Fault` of kind `notFound` before the first inspection.
    package func inventory(
        of reference: String,
        by principal: Principal?
    ) async throws -> (inventory: JSONValue, pluginData: JSONValue) {
        try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "look inside node \(node.label)",
                .lookInside
            )
            guard let found = try transaction.inventory(of: node.id) else {
                throw Fault(
                    .notFound,
                    "cannot show the inventory of node \(node.label): it was not inspected yet"
                )
            }
            return found
        }
    }

    // MARK: - Changing

    /// Registers a node in state `enroll`.
    /// - Throws: `Fault`: `forbidden`, `invalid`, or `conflict` when name, UUID or instance is taken.
    package func create(
        id wanted: NodeID?,
        driver: String,
        by principal: Principal?,
        edit: @escaping @Sendable (inout Node) throws -> Void
    ) async throws -> Node {
        try principal?.requireSystem(.admin, to: "create a node")
        var node = Node(id: wanted ?? random.identifier(), driver: driver, at: time.now)
        try edit(&node)
        try check(node)
        let now = time.now
        let created = node
        try await database.write { [sealer] transaction in
            guard try transaction.node(created.id, sealer: sealer) == nil else {
                throw Fault(
                    .conflict,
                    "cannot create node \(created.id): a node with this UUID exists already"
                )
            }
            try transaction.checkUnique(created)
            try transaction.save(
                created,
                before: nil,
                cause: "registered",
                by: principal,
                at: now,
                sealer: sealer
            )
        }
        return created
    }

    /// Changes what an operator may change.
    /// - Throws: `Fault`; the node is unchanged then.
    package func update(
        _ reference: String,
        by principal: Principal?,
        also note: @escaping @Sendable (Transaction, Node) throws -> Void = { _, _ in },
        edit: @escaping @Sendable (inout Node) throws -> Void
    ) async throws -> Node {
        let node = try await change(
            reference,
            by: principal,
            cause: "updated",
            { node in
                let before = node
                try edit(&node)
                let isWorking = before.wait != nil && before.maintenance == nil
                guard !isWorking || before.driver == node.driver else {
                    throw Fault(
                        .conflict,
                        "cannot update node \(before.label): it is \(before.state.ironicName); wait until that is over or abort it"
                    )
                }
                try NodeAccess.check(node, editedFrom: before, by: principal)
                try self.check(node)
            },
            also: note
        )
        queue.wake(node.id)
        return node
    }

    /// Asks for a node to be brought into another provision state.
    ///
    /// Returns once the wish is stored; `note` writes in the same transaction.
    /// - Throws: `InvalidTransition` when the node's state does not allow it; `Fault`.
    package func request(
        _ wish: ProvisionWish,
        for reference: String,
        by principal: Principal?,
        also note: @escaping @Sendable (Transaction, Node) throws -> Void = { _, _ in }
    ) async throws -> Node {
        let seen = try await node(reference, by: principal)
        try NodeAccess.requireChange(of: seen, by: principal, to: "\(wish.verb) node \(seen.label)")
        try checkMaintenance(seen, wish)
        let event = try await event(for: wish, on: seen)
        let rescueHash = rescueHash(for: wish)
        let node = try await change(reference, by: principal, cause: wish.verb) { node in
            try self.checkMaintenance(node, wish)
            guard !(node.protected.isSet && wish.isDestructive) else {
                throw Fault(
                    .forbidden,
                    "cannot \(wish.verb) node \(node.label): it is protected (\(node.protected.reason ?? "no reason given")); unset that first"
                )
            }
            let before = node.attempt
            guard !(node.retired.isSet && wish.verb == "provide") else {
                throw Fault(
                    .conflict,
                    "cannot provide node \(node.label): it is retired; unset that first"
                )
            }
            try self.apply(event, to: &node, seen: seen, wish)
            if node.attempt != before { node.party = Self.party(of: principal) }
        } also: { transaction, node in
            try note(transaction, node)
            if wish.changesRescue {
                try transaction.save(rescueHash: rescueHash, of: node.id, sealer: self.sealer)
            }
            if wish.isDeployment {
                try transaction.save(
                    configDrive: wish.configDrive,
                    of: node.id,
                    sealer: self.sealer
                )
            } else if case .deleting = node.state {
                try transaction.save(configDrive: nil, of: node.id, sealer: self.sealer)
            }
        }
        queue.wake(node.id)
        return node
    }

    /// Asks for another power state.
    ///
    /// Returns once the wish is stored.
    package func requestPower(
        _ target: PowerWish.Target,
        of reference: String,
        within budget: Duration?,
        by principal: Principal?,
        also note: @escaping @Sendable (Transaction, Node) throws -> Void = { _, _ in }
    ) async throws -> Node {
        let node = try await change(
            reference,
            by: principal,
            cause: target.rawValue,
            rule: .use,
            { node in
                try node.requestPower(
                    target,
                    within: budget ?? self.settings.budgets.power,
                    at: self.time.now
                )
            },
            also: note
        )
        queue.wake(node.id)
        return node
    }

    /// Takes a node out of the controller's hands, or with `nil` gives it back.
    package func setMaintenance(
        _ isSet: Bool,
        reason: String?,
        of reference: String,
        by principal: Principal?,
        also note: @escaping @Sendable (Transaction, Node) throws -> Void = { _, _ in }
    ) async throws {
        let node = try await change(
            reference,
            by: principal,
            cause: "maintenance",
            { node in
                node.setMaintenance(isSet ? Maintenance(reason: reason, since: self.time.now) : nil)
            },
            also: note
        )
        queue.wake(node.id)
    }

    /// Forbids every power action on a node, or with `nil` allows them again.
    package func setLockout(
        reason: String?,
        of reference: String,
        by principal: Principal?
    ) async throws {
        let user = principal?.userName ?? "the controller"
        let node = try await change(reference, by: principal, cause: "lockout") { node in
            try NodeAccess.requireOwner(
                of: node,
                by: principal,
                to: "change the lockout of node \(node.label)"
            )
            node.setLockout(reason.map { Lockout(reason: $0, user: user, since: self.time.now) })
        }
        queue.wake(node.id)
    }

    /// Forgets a node.
    ///
    /// Its machine is left as it is.
    /// - Throws: `Fault` of kind `conflict` while it runs an image or work is under way.
    package func delete(_ reference: String, by principal: Principal?) async throws {
        let now = time.now
        let id = try await database.write { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "delete node \(node.label)",
                .forget
            )
            let isFree =
                switch node.state {
                case .enroll, .manageable, .available, .inspectFailed, .cleanFailed, .verifying,
                    .error, .adoptFailed:
                    true
                case .inspecting, .cleaning, .deploying, .deployHold, .deployFailed, .active,
                    .deleting,
                    .adopting, .cleanHold, .servicing, .serviceHold, .serviceFailed, .rescuing,
                    .rescue, .rescueFailed, .unrescuing, .unrescueFailed:
                    false
                }
            guard isFree || node.maintenance != nil else {
                throw Fault(
                    .conflict,
                    "cannot delete node \(node.label): it is \(node.state.ironicName); undeploy it first, or set it into maintenance to forget it as it is"
                )
            }
            guard !node.protected.isSet else {
                throw Fault(
                    .forbidden,
                    "cannot delete node \(node.label): it is protected; unset that first"
                )
            }
            let children = try transaction.count("node", where: "parentNode", is: node.id.text)
            guard children == 0 else {
                throw Fault(
                    .conflict,
                    "cannot delete node \(node.label): \(children) nodes are parts of it; delete them first"
                )
            }
            try transaction.delete(node, at: now)
            self.passOn(transaction, node.place, .none)
            return node.id
        }
        queue.forget(id)
    }

    /// Loads, changes and stores a node in one transaction.
    ///
    /// `also` makes further changes in the same transaction.
    @discardableResult
    func change(
        _ reference: String,
        by principal: Principal?,
        cause: String,
        rule: NodeAccess.Rule = .operate,
        _ edit: @escaping @Sendable (inout Node) throws -> Void,
        also: @escaping @Sendable (Transaction, Node) throws -> Void = { _, _ in }
    ) async throws -> Node {
        let now = time.now
        let (before, after) = try await database.write { [sealer] transaction in
            let before = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(
                of: before,
                by: principal,
                to: "change node \(before.label)",
                rule
            )
            var node = before
            try edit(&node)
            try self.keepMadePassword(in: &node, before, transaction)
            guard node != before else { return (before, before) }
            node.updatedAt = now
            try transaction.checkUnique(node)
            try self.arrangeTurn(transaction, before, &node, isAsked: true, at: now)
            try transaction.save(
                node,
                before: before,
                cause: cause,
                by: principal,
                at: now,
                sealer: sealer
            )
            try also(transaction, node)
            return (before, node)
        }
        note(before, after)
        return after
    }

    func note(_ before: Node, _ after: Node) {
        guard before.state.ironicName != after.state.ironicName else { return }
        var metadata: Logger.Metadata = [
            LogKey.nodeID: "\(after.id)", LogKey.nodeState: "\(after.state.ironicName)",
            LogKey.attempt: "\(after.attempt)",
        ]
        if let error = after.lastError { metadata[LogKey.error] = "\(error)" }
        logger.notice("node changed", metadata: metadata)
    }
}

/// How far an agent's command is.
package struct WorkProgress: Sendable, Equatable {
    package let command: CommandID
    package let phase: String
    package let doneBytes: UInt64
    package let totalBytes: UInt64
    package let bytesPerSecond: Double
    package let text: String
    package let at: Timestamp
}
