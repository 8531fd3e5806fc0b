import GRDB
import HTTP
import Protocol
import Store

/// Why there is no node for an allocation.
struct NoNode: Error {
    /// As a clause.
    let words: String
}

extension Transaction {
    /// The node that an allocation gets: the one with its name, or else the first registered that fits.
    func freeNode(for allocation: Resource) throws -> Result<NodeID, NoNode> {
        let candidates = allocation.texts("candidate_nodes")
        let traits = Set(allocation.texts("traits"))
        let resourceClass = allocation.text("resource_class") ?? ""
        let places = candidates.map { _ in "?" }.joined(separator: ", ")
        let owner = allocation.text("owner")
        let rows = try Row.fetchAll(
            sql,
            sql: """
                SELECT id, traits FROM node
                WHERE resourceClass = ? AND provisionState = 'available' AND instanceID IS NULL
                  AND allocation IS NULL AND maintenance IS NULL AND powerState IS NOT NULL
                  AND retired = FALSE AND (? IS NULL OR owner = ? OR lessee = ?)
                  \(candidates.isEmpty ? "" : "AND id IN (\(places))")
                ORDER BY CASE WHEN name = ? THEN 0 ELSE 1 END, serial
                """,
            arguments: StatementArguments(
                [resourceClass, owner, owner, owner] + candidates.map { $0 as String? }
                    + [allocation.text("name") ?? ""]
            )
        )
        guard !rows.isEmpty else {
            return .failure(
                NoNode(
                    words: candidates.isEmpty
                        ? "no available node has the resource class \(resourceClass)"
                        : "none of the candidate nodes is available and has the resource class \(resourceClass)"
                )
            )
        }
        for row in rows {
            let stored = try JSONValue(parsing: (row["traits"] as String).utf8)
            let found = Set(stored.elements?.compactMap(\.text) ?? [])
            if found.isSuperset(of: traits) { return .success(NodeID(unchecked: row["id"])) }
        }
        return .failure(
            NoNode(
                words: "no suitable node has the traits \(traits.sorted().joined(separator: ", "))"
            )
        )
    }
}
