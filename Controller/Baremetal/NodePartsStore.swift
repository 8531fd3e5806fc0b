import Basics
import GRDB
import HTTP
import Protocol
import Store

// What belongs to nodes and has no fields of its own: networks, parts, shards.
extension Transaction {
    /// A machine's power state as it was last seen.
    func powerState(of node: NodeID) throws -> String? {
        try Row.fetchOne(
            sql,
            sql: "SELECT powerState FROM node WHERE id = ?",
            arguments: [node.text]
        ).flatMap { $0["powerState"] }
    }

    /// Whether a node exists and is no part of another.
    func isTop(_ node: NodeID) throws -> Bool {
        try Bool.fetchOne(
            sql,
            sql: "SELECT EXISTS (SELECT 1 FROM node WHERE id = ? AND parentNode IS NULL)",
            arguments: [node.text]
        ) ?? false
    }

    /// Forgets the allocation of a node that is free again.
    func forget(allocation: String) throws {
        try sql.execute(sql: "DELETE FROM allocation WHERE id = ?", arguments: [allocation])
    }

    /// How many nodes each shard has; those without one come under `nil`.
    func shards() throws -> [(name: String?, count: Int)] {
        try Row.fetchAll(
            sql,
            sql:
                "SELECT shard, COUNT(*) AS count FROM node GROUP BY shard ORDER BY count DESC, shard"
        ).map { ($0["shard"], $0["count"]) }
    }

    /// The parts of a node, in the order of registration; only those of a project, if given.
    func children(of node: NodeID, visibleTo project: String?) throws -> [NodeID] {
        try String.fetchAll(
            sql,
            sql: """
                SELECT id FROM node
                WHERE parentNode = ? AND (? IS NULL OR owner = ? OR lessee = ?) ORDER BY serial
                """,
            arguments: [node.text, project, project, project]
        ).map(NodeID.init(unchecked:))
    }

    /// The networks that are attached to a node.
    func vifs(of node: NodeID) throws -> [JSONValue] {
        try String.fetchAll(
            sql,
            sql: "SELECT document FROM vif WHERE node = ? ORDER BY serial",
            arguments: [node.text]
        ).map { try JSONValue(parsing: $0.utf8) }
    }

    /// Attaches a network.
    /// - Throws: `Fault`: `conflict` when it is attached already, `invalid` when no port is free.
    func attach(vif id: String, _ document: JSONValue, to node: Node) throws {
        guard try count("vif", where: "id", is: id) == 0 else {
            // To which node is not said: it may be of a project that the caller knows nothing of.
            throw Fault(
                .conflict,
                "cannot attach VIF \(id.prefix(80)) to node \(node.label): it is attached already; detach it first"
            )
        }
        let ports =
            try count("port", where: "node", is: node.id.text)
            + count("portgroup", where: "node", is: node.id.text)
        guard try count("vif", where: "node", is: node.id.text) < ports else {
            throw Fault(
                .invalid,
                "cannot attach VIF \(id.prefix(80)) to node \(node.label): none of its \(ports) ports and port groups is free"
            )
        }
        try sql.execute(
            sql: "INSERT INTO vif (id, node, document) VALUES (?, ?, ?)",
            arguments: [id, node.id.text, document.canonicalText]
        )
    }

    /// Detaches a network.
    /// - Throws: `Fault` of kind `invalid` when it is not attached.
    func detach(vif id: String, from node: Node) throws {
        try sql.execute(
            sql: "DELETE FROM vif WHERE id = ? AND node = ?",
            arguments: [id, node.id.text]
        )
        guard sql.changesCount == 1 else {
            throw Fault(
                .invalid,
                "cannot detach VIF \(id.prefix(80)) from node \(node.label): it is not attached to it"
            )
        }
    }
}
