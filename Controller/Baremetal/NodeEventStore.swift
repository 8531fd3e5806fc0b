import GRDB
import HTTP
import Protocol
import Store

/// One entry of a node's history.
struct NodeHistoryEntry: Sendable, Equatable {
    let sequence: Int64
    let node: NodeID
    let at: Timestamp
    /// `INFO` or `ERROR`.
    let severity: String
    let event: String
    let user: String?
    let project: String?
    let state: String
    let target: String?
    /// How long the node was in the state before.
    let seconds: Int64

    /// Made of the node's UUID and the sequence, so that an entry is found without a UUID of its own.
    var id: String {
        let digits = String(sequence, radix: 16)
        return node.text.prefix(24) + String(repeating: "0", count: max(0, 12 - digits.count))
            + digits
    }

    /// The sequence in the UUID of an entry; `nil` when that is none of this node.
    static func sequence(_ text: String, of node: NodeID) -> Int64? {
        guard text.utf8.count == 36, text.lowercased().hasPrefix(node.text.prefix(24)) else {
            return nil
        }
        return Int64(text.suffix(12), radix: 16)
    }
}

extension Transaction {
    /// Entries that one node keeps; older ones are forgotten.
    private static let entriesMax = 300

    /// Adds to a node's history when its state or its last error changed.
    func recordEvent(
        of node: Node,
        before: Node?,
        cause: String,
        by author: Principal?,
        at now: Timestamp
    ) throws {
        let isError = node.lastError != nil && node.lastError != before?.lastError
        guard isError || before?.state.ironicName != node.state.ironicName else { return }
        let seconds = before.map { (now - $0.stateSince).components.seconds } ?? 0
        try sql.execute(
            sql: """
                INSERT INTO nodeEvent (node, at, severity, event, user, project, state, target,
                    seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                node.id.text, now.nanoseconds, isError ? "ERROR" : "INFO",
                isError ? node.lastError ?? cause : cause, author?.userID, author?.projectID,
                node.state.ironicName, node.state.ironicTarget, max(0, seconds),
            ]
        )
        guard sql.lastInsertedRowID % 16 == 0 else { return }
        try sql.execute(
            sql: """
                DELETE FROM nodeEvent WHERE node = ? AND sequence <= (
                    SELECT sequence FROM nodeEvent WHERE node = ?
                    ORDER BY sequence DESC LIMIT 1 OFFSET ?)
                """,
            arguments: [node.id.text, node.id.text, Self.entriesMax]
        )
    }

    /// Adds a sentence to a node's history.
    func recordEvent(of node: Node, _ sentence: String, at now: Timestamp) throws {
        try sql.execute(
            sql: """
                INSERT INTO nodeEvent (node, at, severity, event, state, target, seconds)
                VALUES (?, ?, 'INFO', ?, ?, ?, 0)
                """,
            arguments: [
                node.id.text, now.nanoseconds, sentence, node.state.ironicName,
                node.state.ironicTarget,
            ]
        )
    }

    /// A node's history, oldest first unless `descending`.
    func history(
        of node: NodeID,
        after marker: Int64?,
        descending: Bool,
        limit: Int
    ) throws -> [NodeHistoryEntry] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM nodeEvent
                WHERE node = ? AND (? IS NULL OR sequence \(descending ? "<" : ">") ?)
                ORDER BY sequence \(descending ? "DESC" : "ASC") LIMIT ?
                """,
            arguments: [node.text, marker, marker, limit]
        ).map(NodeHistoryEntry.init(row:))
    }

    /// One entry of a node's history; `nil` when it is not kept.
    func historyEntry(_ sequence: Int64, of node: NodeID) throws -> NodeHistoryEntry? {
        try Row.fetchOne(
            sql,
            sql: "SELECT * FROM nodeEvent WHERE sequence = ? AND node = ?",
            arguments: [sequence, node.text]
        ).map(NodeHistoryEntry.init(row:))
    }
}

extension NodeHistoryEntry {
    fileprivate init(row: Row) {
        self.init(
            sequence: row["sequence"],
            node: NodeID(unchecked: row["node"]),
            at: Timestamp(nanoseconds: row["at"]),
            severity: row["severity"],
            event: row["event"],
            user: row["user"],
            project: row["project"],
            state: row["state"],
            target: row["target"],
            seconds: row["seconds"]
        )
    }
}
