import Basics
package import HTTP
import HTTPTypes
import Logging
import Protocol
import ServiceLifecycle
import Store

/// Says that a job ended before this node was asked.
private struct JobEnded: Error {}

/// Jobs over many nodes: each node is asked as a single call would ask it, by the same functions and with the
/// same rights, and its outcome is stored in the transaction that changes it.
///
/// So a stop at any time neither asks a node twice nor forgets what came of it.
package final class BulkService: Service {
    let nodes: NodesService
    private let audit: (any AuditTrail)?
    private let rights: any StandingRights
    private let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation

    /// Nodes of one job.
    static let nodesMax = 10_000
    /// Jobs of one party that run at a time.
    static let jobsMax = 8
    /// Finished jobs that are kept.
    static let keptMax = 500
    /// Nodes that are asked at a time; jobs take turns after as many.
    private static let atATime = 16
    /// A job ends after this time: what was wanted then should not happen much later.
    static let lifetime: Duration = .seconds(3600)
    /// After a fault of the store.
    private static let pause: Duration = .seconds(5)

    /// - audit: gets a record for each node, beside the one of the call that made the job.
    /// - rights: says before each batch of nodes what whoever made the job may do by now.
    package init(nodes: NodesService, audit: (any AuditTrail)?, rights: any StandingRights) {
        self.nodes = nodes
        self.audit = audit
        self.rights = rights
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        signal.yield()
    }

    // MARK: - The door

    /// Makes a job over the nodes of a list, or over those that a filter finds for the principal.
    func create(
        _ order: BulkOrder,
        request: JSONValue,
        version: Microversion,
        references: [String]?,
        filter: NodeQuery?,
        by principal: Principal,
        requestID: String,
        address: String
    ) async throws -> BulkJob {
        let job = BulkJob(
            id: nodes.random.identifier(),
            order: order,
            request: request,
            version: version,
            principal: principal,
            requestID: requestID,
            address: address,
            state: .running,
            createdAt: nodes.time.now
        )
        let items = try await items(references, filter, by: principal)
        let sealer = nodes.sealer
        try await nodes.database.write { transaction in
            let running = try transaction.runningBulkJobs(of: NodesService.party(of: principal))
            guard running < Self.jobsMax else {
                throw Fault(
                    .tooMany,
                    "cannot make a job: \(Self.jobsMax) of yours are running; wait for one or cancel it"
                )
            }
            try transaction.insert(job, items, sealer: sealer)
            try transaction.trimBulkJobs(keep: Self.keptMax)
        }
        signal.yield()
        return job
    }

    private func items(
        _ references: [String]?,
        _ filter: NodeQuery?,
        by principal: Principal
    ) async throws -> [BulkItem] {
        let now = nodes.time.now
        func refuseMore(than count: Int) throws {
            guard count > Self.nodesMax else { return }
            throw Fault(
                .invalid,
                "cannot make a job: it is about more than \(Self.nodesMax) nodes; make several"
            )
        }
        if let references {
            try refuseMore(than: references.count)
            let sealer = nodes.sealer
            return try await nodes.database.read { transaction in
                var seen: Set<NodeID> = []
                var items: [BulkItem] = []
                for reference in references {
                    do {
                        let node = try transaction.visibleNode(
                            reference,
                            to: principal,
                            sealer: sealer
                        )
                        guard seen.insert(node.id).inserted else { continue }
                        items.append(BulkItem(items.count, node.id, node.label))
                    } catch let fault as Fault {
                        var item = BulkItem(
                            items.count,
                            NodeID(reference) ?? NodeID(unchecked: ""),
                            String(reference.prefix(255))
                        )
                        item.outcome = .refused
                        item.message = fault.message
                        item.at = now
                        items.append(item)
                    }
                }
                return items
            }
        }
        var query = filter ?? NodeQuery()
        var items: [BulkItem] = []
        while true {
            let page = try await nodes.nodes(query, by: principal)
            for node in page { items.append(BulkItem(items.count, node.id, node.label)) }
            try refuseMore(than: items.count)
            guard page.count == query.limit, let last = page.last else { return items }
            query.marker = last.id
        }
    }

    /// Whose jobs a principal sees: all with system scope, its project's otherwise.
    private static func scope(_ principal: Principal) -> String? {
        principal.isSystem ? nil : NodesService.party(of: principal)
    }

    /// The newest jobs, with how far they are.
    func jobs(by principal: Principal) async throws -> [(BulkJob, BulkProgress)] {
        let sealer = nodes.sealer
        return try await nodes.database.read { transaction in
            try transaction.bulkJobs(
                party: Self.scope(principal),
                limit: Self.keptMax,
                sealer: sealer
            ).map { ($0, try transaction.bulkProgress($0.id)) }
        }
    }

    /// One job, a page of its nodes, and these as they are now, as far as the principal sees them.
    func job(
        _ id: String,
        after number: Int,
        limit: Int,
        by principal: Principal
    ) async throws -> (BulkJob, BulkProgress, [BulkItem], [NodeID: Node]) {
        let sealer = nodes.sealer
        return try await nodes.database.read { transaction in
            let job = try transaction.require(id, Self.scope(principal), sealer: sealer)
            let items = try transaction.bulkItems(job.id, after: number, limit: limit)
            var present: [NodeID: Node] = [:]
            for item in items {
                guard let node = try transaction.node(item.node, sealer: sealer),
                    NodeAccess.isVisible(node, to: principal)
                else { continue }
                present[node.id] = node
            }
            return (job, try transaction.bulkProgress(job.id), items, present)
        }
    }

    /// Ends a job; what its nodes were asked already goes on.
    func cancel(_ id: String, by principal: Principal) async throws {
        let (now, sealer) = (nodes.time.now, nodes.sealer)
        try await nodes.database.write { transaction in
            let job = try transaction.require(id, Self.scope(principal), sealer: sealer)
            try transaction.end(job.id, .cancelled, at: now)
        }
    }

    // MARK: - The work

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.work() }
    }

    /// Works until cancelled.
    package func work() async {
        for await _ in signals {
            while await workOnce() {}
        }
    }

    /// Asks some nodes of each running job.
    /// - Returns: whether there may be more to do.
    func workOnce() async -> Bool {
        do {
            let sealer = nodes.sealer
            let jobs = try await nodes.database.read { transaction in
                try transaction.bulkJobs(state: .running, limit: .max, sealer: sealer)
            }
            for job in jobs.reversed() {
                guard !Task.isCancelled else { return false }
                try await advance(job)
            }
            return !jobs.isEmpty
        } catch {
            guard !(error is CancellationError), !Task.isCancelled else { return false }
            nodes.logger.warning(
                "jobs over many nodes pause",
                metadata: [LogKey.error: "\(Fault(error).report)"]
            )
            // Cancelled: the loop ends.
            try? await nodes.time.sleep(for: Self.pause)
            return !Task.isCancelled
        }
    }

    private func advance(_ job: BulkJob) async throws {
        let now = nodes.time.now
        guard now - job.createdAt < Self.lifetime else {
            return try await nodes.database.write { try $0.end(job.id, .expired, at: now) }
        }
        var job = job
        do {
            job.principal = try await rights.present(job.principal)
        } catch let fault as Fault where fault.kind == .unauthenticated {
            return try await nodes.database.write { [id = job.id] in
                try $0.end(id, .revoked, at: now)
            }
        }
        let items = try await nodes.database.read { [id = job.id] in
            try $0.waitingBulkItems(id, limit: Self.atATime)
        }
        guard !items.isEmpty else {
            return try await nodes.database.write { [id = job.id] in
                try $0.end(id, .done, at: now)
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { [job] group in
            for item in items {
                group.addTask(name: "job \(job.id) node \(item.number)") {
                    try await self.ask(item, of: job)
                }
            }
            try await group.waitForAll()
        }
    }

    private func ask(_ item: BulkItem, of job: BulkJob) async throws {
        let now = nodes.time.now
        var fault: Fault?
        do {
            try await perform(job, item.node) { transaction, _ in
                guard try transaction.settle(job.id, item.number, .accepted, at: now) else {
                    throw JobEnded()
                }
            }
        } catch is JobEnded {
            return
        } catch let error as CancellationError {
            throw error
        } catch {
            fault = Fault(error)
        }
        let outcome: BulkItem.Outcome = fault == nil ? .accepted : .refused
        let message = fault?.message
        // Of a node that was as wished already nothing was stored yet.
        try await nodes.database.write { transaction in
            _ = try transaction.settle(job.id, item.number, outcome, message: message, at: now)
        }
        await keepRecord(of: item, job, fault)
    }

    private func perform(
        _ job: BulkJob,
        _ node: NodeID,
        noting note: @escaping @Sendable (Transaction, Node) throws -> Void
    ) async throws {
        let (reference, principal) = (node.text, job.principal)
        switch job.order {
        case .power(let order):
            _ = try await nodes.requestPower(
                order.target,
                of: reference,
                within: order.budget,
                by: principal,
                also: note
            )
        case .provision(var body):
            try await nodes.expandRunbook(&body, reference, job.version, by: principal)
            _ = try await nodes.request(
                try ProvisionWish(body, job.version),
                for: reference,
                by: principal,
                also: note
            )
        case .maintenance(let isSet, let reason):
            try await nodes.setMaintenance(
                isSet,
                reason: reason,
                of: reference,
                by: principal,
                also: note
            )
        case .set(let patch):
            let now = nodes.time.now
            _ = try await nodes.update(reference, by: principal, also: note) {
                try NodeEdits.apply(patch, to: &$0, at: now)
            }
        }
    }

    private func keepRecord(of item: BulkItem, _ job: BulkJob, _ fault: Fault?) async {
        await audit?.keep(
            AuditRecord(
                time: nodes.time.now,
                requestID: job.requestID,
                principal: job.principal,
                address: job.address,
                method: "POST",
                path: "/v1/bulk/\(job.id)",
                subject: AuditSubject(
                    action: job.order.part,
                    targetType: "baremetal/nodes",
                    targetID: item.node.text
                ),
                status: fault?.kind.status.code ?? 202
            )
        )
    }
}

extension BulkItem {
    fileprivate init(_ number: Int, _ node: NodeID, _ label: String) {
        self.init(number: number, node: node, label: label, outcome: .waiting)
    }
}

extension Transaction {
    /// - Throws: `Fault` of kind `notFound`, also for another party's job.
    fileprivate func require(_ id: String, _ party: String?, sealer: Sealer) throws -> BulkJob {
        guard let job = try bulkJob(id, party: party, sealer: sealer) else {
            throw Fault(.notFound, "cannot find job \(id.prefix(40)): there is none with this UUID")
        }
        return job
    }
}
