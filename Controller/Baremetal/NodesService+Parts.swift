import Basics
import HTTP
import Protocol
import Store

// The door for what belongs to nodes.
extension NodesService {
    /// The networks that are attached to a node.
    func vifs(of reference: String, by principal: Principal) async throws -> [JSONValue] {
        try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            return try transaction.vifs(of: node.id)
        }
    }

    /// Attaches a network to a node.
    /// - Throws: `Fault`: `conflict` when it is attached already, `invalid` when no port is free.
    func attach(
        _ vif: [String: JSONValue],
        to reference: String,
        by principal: Principal
    ) async throws {
        let document = JSONValue.object(vif)
        guard let id = vif["id"]?.text, (1...255).contains(id.utf8.count), document.depth <= 4,
            document.canonicalText.utf8.count <= 4096
        else {
            throw Fault(.invalid, "cannot attach the VIF: the request has no id or is too long")
        }
        try await withChangeable(reference, by: principal, to: "attach a VIF to") {
            try $0.attach(vif: id, document, to: $1)
        }
    }

    /// Detaches a network from a node.
    func detach(
        _ vif: String,
        from reference: String,
        by principal: Principal
    ) async throws {
        try await withChangeable(reference, by: principal, to: "detach a VIF from") {
            try $0.detach(vif: vif, from: $1)
        }
    }

    private func withChangeable(
        _ reference: String,
        by principal: Principal,
        to action: String,
        _ body: @escaping @Sendable (Transaction, Node) throws -> Void
    ) async throws {
        try await database.write { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(of: node, by: principal, to: "\(action) \(node.label)")
            try body(transaction, node)
        }
    }

    /// A node and its parts.
    func parts(
        of reference: String,
        by principal: Principal
    ) async throws -> (node: Node, parts: [NodeID]) {
        let project = principal.isSystem ? nil : principal.projectID ?? ""
        return try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            return (node, try transaction.children(of: node.id, visibleTo: project))
        }
    }

    /// How many nodes each shard has.
    func shards(by principal: Principal) async throws -> [(name: String?, count: Int)] {
        try principal.requireSystem(.reader, to: "list the shards")
        return try await database.read { try $0.shards() }
    }

    /// A node's history.
    func history(
        of reference: String,
        after marker: String?,
        descending: Bool,
        limit: Int,
        by principal: Principal
    ) async throws -> [NodeHistoryEntry] {
        try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "look inside node \(node.label)",
                .lookInside
            )
            let after = marker.map { NodeHistoryEntry.sequence($0, of: node.id) }
            guard after != .some(.none) else {
                throw Fault(.invalid, "cannot list the history: the marker is none of its entries")
            }
            return try transaction.history(
                of: node.id,
                after: after ?? nil,
                descending: descending,
                limit: limit
            )
        }
    }

    /// One entry of a node's history.
    /// - Throws: `Fault` of kind `notFound`.
    func historyEntry(
        _ id: String,
        of reference: String,
        by principal: Principal
    ) async throws -> NodeHistoryEntry {
        try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "look inside node \(node.label)",
                .lookInside
            )
            guard let sequence = NodeHistoryEntry.sequence(id, of: node.id),
                let entry = try transaction.historyEntry(sequence, of: node.id)
            else {
                throw Fault(
                    .notFound,
                    "cannot find entry \(id.prefix(80)) in the history of node \(node.label): it is not kept"
                )
            }
            return entry
        }
    }
}
