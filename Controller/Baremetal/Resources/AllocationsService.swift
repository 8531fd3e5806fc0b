import Basics
import HTTP
import Protocol
import Store

// Allocations: a free node is chosen and reserved in the transaction that makes the allocation, so that two
// never get one node. Ironic's state `allocating` therefore never shows.
extension NodesService {
    /// Nodes that an allocation may name to choose from.
    static let candidatesMax = 256

    /// Makes an allocation and gives it a node, or says in `last_error` why there is none.
    /// - Throws: `Fault`: `invalid`, or `conflict` when the node to fill in is of another instance.
    func allocate(
        _ members: [String: JSONValue],
        _ version: Microversion,
        by principal: Principal
    ) async throws -> Resource {
        let kind = ResourceKind.allocation
        var members = members
        let wantedNode = try Self.node(&members, version)
        let wantedID = try Self.uuid(&members)
        let now = time.now
        let fresh = random.identifier(ResourceID.self)
        return try await database.write { [members, sealer] transaction in
            let node = try wantedNode.map {
                try transaction.named($0, to: principal, sealer: sealer)
            }
            if let node {
                try NodeAccess.requireChange(
                    of: node,
                    by: principal,
                    to: "allocate node \(node.label)"
                )
            }
            // The UUID of an instance that is there already becomes the allocation's.
            let instance = node?.instanceID.flatMap { ResourceID($0) }
            var made = kind.make(id: wantedID ?? instance ?? fresh, at: now)
            try kind.read(members, into: &made, version, isNew: true)
            try kind.adopt(&made, by: principal)
            try kind.check(&made, nil)
            try principal.require(.member, to: "make an allocation")
            for trait in made.texts("traits") { try Trait.check(trait, "a trait") }
            if made.text("resource_class") == nil {
                guard let node else {
                    throw Fault(
                        .invalid,
                        "cannot make an allocation: the request has neither resource_class nor node"
                    )
                }
                made.values["resource_class"] = JSONValue(node.resourceClass)
            }
            let names = Set(made.texts("candidate_nodes"))
            guard names.count <= Self.candidatesMax else {
                throw Fault(
                    .invalid,
                    "cannot make an allocation: it names \(names.count) candidate nodes; name at most \(Self.candidatesMax)"
                )
            }
            let candidates = try names.sorted().map {
                try transaction.named($0, to: principal, sealer: sealer).id
            }
            made.values["candidate_nodes"] = .array(candidates.map { .string($0.text) })
            guard try transaction.resource(kind, made.id.text) == nil else {
                throw Fault(
                    .conflict,
                    "cannot make allocation \(made.id): one with this UUID exists already"
                )
            }
            try transaction.requireRoom(for: made, of: kind, by: principal)
            return try transaction.decide(made, node: node, sealer: sealer, at: now)
        }
    }

    /// Gives an allocation's node back and forgets the allocation.
    /// - Throws: `Fault` of kind `conflict` while the node runs an instance or is worked on.
    func deallocate(_ reference: String, by principal: Principal) async throws {
        let kind = ResourceKind.allocation
        let now = time.now
        try await database.write { [sealer] transaction in
            var allocation = try transaction.visible(
                kind,
                reference,
                to: principal,
                sealer: sealer
            )
            try transaction.requireChange(of: kind, &allocation, by: principal, sealer: sealer)
            guard let id = allocation.node, let before = try transaction.node(id, sealer: sealer)
            else { return try transaction.delete(kind, allocation, at: now) }
            guard before.maintenance != nil || (before.wait == nil && before.state.name != .active)
            else {
                throw Fault(
                    .conflict,
                    "cannot delete allocation \(allocation.id): its node \(before.label) is \(before.state.ironicName); undeploy it first"
                )
            }
            var node = before
            node.allocation = nil
            node.instanceID = nil
            node.updatedAt = now
            // Storing a node without its allocation forgets the allocation.
            try transaction.save(
                node,
                before: before,
                cause: "deallocated",
                at: now,
                sealer: sealer
            )
        }
    }

    /// The allocation that a node is reserved for.
    /// - Throws: `Fault` of kind `notFound`.
    func allocation(of reference: String, by principal: Principal) async throws -> Resource {
        let node = try await node(reference, by: principal)
        guard let allocation = node.allocation else {
            throw Fault(
                .notFound,
                "cannot find an allocation of node \(node.label): it is not allocated"
            )
        }
        return try await resource(.allocation, allocation, by: principal)
    }

    private static func node(
        _ members: inout [String: JSONValue],
        _ version: Microversion
    ) throws -> String? {
        guard let value = members.removeValue(forKey: "node"), value != .null else { return nil }
        guard version.minor >= 58, let text = value.text else {
            throw Fault(
                .invalid,
                "cannot make an allocation for a node that is deployed: that takes API version 1.58 and the node's UUID or name"
            )
        }
        return text
    }

    private static func uuid(_ members: inout [String: JSONValue]) throws -> ResourceID? {
        guard let value = members.removeValue(forKey: "uuid"), value != .null else { return nil }
        guard let id = value.text.flatMap({ ResourceID($0) }) else {
            throw Fault(.invalid, "cannot make an allocation: its uuid is none")
        }
        return id
    }
}

extension Resource {
    /// The texts of a list.
    func texts(_ name: String) -> [String] { values[name]?.elements?.compactMap(\.text) ?? [] }
}

extension Transaction {
    /// A node that a request names; one that is not there makes the request wrong.
    /// - Throws: `Fault` of kind `invalid`.
    fileprivate func named(
        _ reference: String,
        to principal: Principal,
        sealer: Sealer
    ) throws -> Node {
        do {
            return try visibleNode(reference, to: principal, sealer: sealer)
        } catch let fault as Fault where fault.kind == .notFound {
            throw Fault(.invalid, fault.message)
        }
    }

    /// Chooses a node, or takes the one to fill in, and stores both.
    fileprivate func decide(
        _ made: Resource,
        node filled: Node?,
        sealer: Sealer,
        at now: Timestamp
    ) throws -> Resource {
        var allocation = made
        var chosen = filled
        if let filled {
            try check(filled, fits: allocation)
        } else {
            switch try freeNode(for: allocation) {
            case .success(let id): chosen = try node(id, sealer: sealer)
            case .failure(let reason):
                allocation.values["state"] = "error"
                allocation.values["last_error"] = .string(
                    "cannot allocate a node for \(allocation.id): \(reason.words)"
                )
            }
        }
        if let chosen {
            allocation.values["state"] = "active"
            allocation.values["node_uuid"] = .string(chosen.id.text)
        }
        try save(.allocation, allocation, before: nil, at: now)
        if let chosen {
            var node = chosen
            node.allocation = allocation.id.text
            node.instanceID = allocation.id.text
            node.updatedAt = now
            try checkUnique(node)
            try save(node, before: chosen, cause: "allocated", at: now, sealer: sealer)
        }
        return allocation
    }

    /// - Throws: `Fault` of kind `conflict` when a deployed node does not fit what is asked.
    private func check(_ node: Node, fits allocation: Resource) throws {
        func wrong(_ what: String) -> Fault {
            Fault(.conflict, "cannot allocate node \(node.label): \(what)")
        }
        guard node.state.name == .active else {
            throw wrong("it is \(node.state.ironicName), and only an active node can be filled in")
        }
        guard node.allocation == nil else { throw wrong("it has an allocation already") }
        guard node.instanceID == nil || node.instanceID == allocation.id.text else {
            throw wrong("it runs instance \(node.instanceID ?? "")")
        }
        guard allocation.text("resource_class") == node.resourceClass else {
            throw wrong("its resource class is “\(node.resourceClass ?? "")”")
        }
        let missing = Set(allocation.texts("traits")).subtracting(node.traits)
        guard missing.isEmpty else {
            throw wrong("it lacks the traits \(missing.sorted().joined(separator: ", "))")
        }
        let candidates = allocation.texts("candidate_nodes")
        guard candidates.isEmpty || candidates.contains(node.id.text) else {
            throw wrong("it is not among the candidate nodes")
        }
    }
}
