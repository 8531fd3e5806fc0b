package import Basics
package import Protocol
package import Store

/// Finds the nodes that a run names; the bare metal area does it.
package protocol ConfigurableNodes: Sendable {
    /// The identifier and name of the node that a UUID or a name refers to.
    ///
    /// - Parameter reference: a UUID or a name.
    /// - Returns: both.
    /// - Throws: `Fault` when there is no such node or it is not `active`.
    func activeNode(_ reference: String) async throws -> (id: NodeID, name: String)
}

/// The door of this area: makes, resumes, cancels and shows configuration runs.
package struct DeploymentsService: Sendable {
    private let database: Database
    private let nodes: any ConfigurableNodes
    private let sealer: any SpecificationSealer
    private let reconciler: DeploymentReconciler
    private let time: any TimeSource
    private let random: any RandomSource

    /// Runs that are kept in a list answer at most.
    package static let listMax = 1000

    package init(
        database: Database,
        nodes: any ConfigurableNodes,
        sealer: any SpecificationSealer,
        reconciler: DeploymentReconciler,
        time: any TimeSource,
        random: any RandomSource
    ) {
        self.database = database
        self.nodes = nodes
        self.sealer = sealer
        self.reconciler = reconciler
        self.time = time
        self.random = random
    }

    /// Stores a new run and starts it.
    ///
    /// Returns once it is stored.
    /// - Throws: `Fault` `.invalid` for a bad request, `.conflict` when a node takes part in another
    ///   running deployment or is not active.
    package func create(_ request: DeploymentRequest) async throws -> Deployment {
        guard request.nodes.count <= DeploymentSpecification.membersMax else {
            throw Fault(
                .invalid,
                "cannot create deployment “\(request.name)”: \(request.nodes.count) nodes are more than \(DeploymentSpecification.membersMax)"
            )
        }
        var members: [DeploymentSpecification.Member] = []
        for wanted in request.nodes {
            let node = try await nodes.activeNode(wanted.node)
            members.append(
                DeploymentSpecification.Member(
                    node: node.id,
                    name: node.name,
                    role: wanted.role ?? "",
                    hieradata: wanted.hieradata ?? [:]
                )
            )
        }
        let specification = try request.specification(members: members)
        let id = random.identifier(DeploymentID.self)
        let now = time.now
        let deployment = try await database.write { [sealer] transaction in
            for member in specification.members {
                guard let other = try transaction.runningDeployment(of: member.node) else {
                    continue
                }
                throw Fault(
                    .conflict,
                    "cannot create deployment “\(specification.name)”: node \(member.name) takes part in deployment \(other.name) (\(other.id)), which is running; wait or cancel it"
                )
            }
            let deployment = Deployment(
                id: id,
                specification: specification,
                attempt: try transaction.nextDeploymentAttempt(),
                at: now
            )
            try transaction.save(deployment, before: "", cause: "requested", sealer: sealer)
            return deployment
        }
        reconciler.wake(id)
        return deployment
    }

    /// The run with this identifier.
    /// - Throws: `Fault` `.notFound`.
    package func deployment(_ id: DeploymentID) async throws -> Deployment {
        let found = try await database.read { [sealer] transaction in
            try transaction.deployment(id, sealer: sealer)
        }
        guard let found else { throw Self.missing(id) }
        return found
    }

    /// The newest runs, at most `listMax`.
    package func deployments() async throws -> [Deployment] {
        try await database.read { [sealer] transaction in
            try transaction.deployments(limit: Self.listMax, sealer: sealer)
        }
    }

    /// Goes on with a run that failed or was cancelled, at the step where it stopped, with files that
    /// correct the cause if there are any.
    /// - Throws: `Fault` `.conflict` when it is running, complete, or a node is busy in another run.
    package func resume(
        _ id: DeploymentID,
        with correction: DeploymentResumeRequest
    ) async throws -> Deployment {
        let now = time.now
        let deployment = try await database.write { [sealer] transaction in
            guard var deployment = try transaction.deployment(id, sealer: sealer) else {
                throw Self.missing(id)
            }
            let before = deployment.stateName
            try deployment.specification.replaceFiles(with: correction)
            for member in deployment.specification.members {
                guard let other = try transaction.runningDeployment(of: member.node),
                    other.id != id
                else { continue }
                throw Fault(
                    .conflict,
                    "cannot resume deployment \(id): node \(member.name) takes part in deployment \(other.name) (\(other.id)), which is running; wait or cancel it"
                )
            }
            let attempt = try transaction.nextDeploymentAttempt()
            try deployment.apply(.resumeRequested(attempt: attempt), at: now)
            try transaction.save(deployment, before: before, cause: "resumed", sealer: sealer)
            return deployment
        }
        reconciler.wake(id)
        return deployment
    }

    /// Stops a run where it is.
    ///
    /// Puppet that runs already is not interrupted; its result is ignored.
    /// - Throws: `Fault` `.conflict` when it is not running.
    package func cancel(_ id: DeploymentID) async throws -> Deployment {
        let now = time.now
        return try await database.write { [sealer] transaction in
            guard var deployment = try transaction.deployment(id, sealer: sealer) else {
                throw Self.missing(id)
            }
            let before = deployment.stateName
            try deployment.apply(.cancelRequested, at: now)
            try transaction.save(deployment, before: before, cause: "cancelled", sealer: sealer)
            return deployment
        }
    }

    /// Forgets a run that is over.
    /// - Throws: `Fault` `.conflict` when it is running.
    package func delete(_ id: DeploymentID) async throws {
        let now = time.now
        try await database.write { [sealer] transaction in
            guard let deployment = try transaction.deployment(id, sealer: sealer) else {
                throw Self.missing(id)
            }
            guard deployment.state != .running else {
                throw Fault(
                    .conflict,
                    "cannot delete deployment \(id): it is running; cancel it first"
                )
            }
            try transaction.deleteDeployment(deployment, at: now)
        }
    }

    private static func missing(_ id: DeploymentID) -> Fault {
        Fault(.notFound, "cannot find deployment \(id): see the list of deployments")
    }
}

extension DeploymentSpecification {
    /// Puts corrected files in the place of those with the same names, or beside them.
    fileprivate mutating func replaceFiles(with correction: DeploymentResumeRequest) throws {
        hieradata.merge(correction.hieradata ?? [:]) { _, new in new }
        manifests.merge(correction.manifests ?? [:]) { _, new in new }
        for (reference, files) in (correction.nodes ?? [:]).sorted(by: { $0.key < $1.key }) {
            let index = members.firstIndex { $0.name == reference || $0.node.text == reference }
            guard let index else {
                throw Fault(
                    .invalid,
                    "cannot resume deployment “\(name)”: node “\(reference)” takes no part in it"
                )
            }
            members[index].hieradata.merge(files) { _, new in new }
        }
        let problems = problems()
        guard problems.isEmpty else {
            throw Fault(
                .invalid,
                "cannot resume deployment “\(name)”: \(problems.prefix(10).joined(separator: "; "))"
            )
        }
    }
}

extension InvalidDeploymentTransition: FaultConvertible {
    package var fault: Fault {
        let advice =
            switch state {
            case .running: "wait until it is over or cancel it"
            case .complete: "make a new deployment"
            case .failed, .cancelled: "resume it"
            }
        return Fault(.conflict, "cannot \(event) deployment \(name): it is \(state); \(advice)")
    }
}
