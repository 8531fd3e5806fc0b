import GRDB
import Protocol
import Store

/// Whose work it is, since when it waits for its turn, and what past work took.
let turnTables = Migration(
    name: "baremetal-003",
    sql: """
        ALTER TABLE node ADD COLUMN party TEXT NOT NULL DEFAULT '';
        ALTER TABLE node ADD COLUMN queuedAt INTEGER;
        ALTER TABLE node ADD COLUMN startedAt INTEGER;
        CREATE INDEX nodeQueued ON node (state, party, queuedAt, serial, id)
            WHERE queuedAt IS NOT NULL AND maintenance IS NULL AND lockout IS NULL;
        CREATE INDEX nodeWorking ON node (state, party, startedAt)
            WHERE queuedAt IS NULL AND maintenance IS NULL AND lockout IS NULL;
        CREATE TABLE workTurn (
            kind TEXT NOT NULL,
            party TEXT NOT NULL,
            servedAt INTEGER NOT NULL,
            PRIMARY KEY (kind, party)
        ) STRICT;
        CREATE TABLE workPace (
            kind TEXT PRIMARY KEY,
            nanoseconds INTEGER NOT NULL
        ) STRICT;
        """
)

extension WorkKind {
    /// For an SQL list.
    fileprivate var stateList: String {
        states.map { "'\($0.rawValue)'" }.joined(separator: ", ")
    }

    /// Those that wait for their turn and may have it.
    fileprivate var queued: String {
        "state IN (\(stateList)) AND queuedAt IS NOT NULL AND maintenance IS NULL AND lockout IS NULL"
    }

    /// Those that are worked on.
    fileprivate var working: String {
        "state IN (\(stateList)) AND queuedAt IS NULL AND maintenance IS NULL AND lockout IS NULL"
    }
}

extension Transaction {
    /// How long a party's last turn is remembered.
    private static let turnKept: Duration = .seconds(7 * 86_400)

    /// Nodes that are worked on.
    func working(_ kind: WorkKind) throws -> Int {
        try row("SELECT COUNT(*) AS count FROM node WHERE \(kind.working)", [])?["count"] ?? 0
    }

    /// Whether a node waits for its turn and may have it.
    func isAnyQueued(_ kind: WorkKind) throws -> Bool {
        try exists("SELECT 1 FROM node WHERE \(kind.queued) LIMIT 1", [])
    }

    /// Nodes that wait for their turn and may have it, of all kinds.
    func queuedCount() throws -> Int {
        try row(
            """
            SELECT COUNT(*) AS count FROM node
            WHERE queuedAt IS NOT NULL AND maintenance IS NULL AND lockout IS NULL
            """,
            []
        )?["count"] ?? 0
    }

    /// When the work under way began, as far as that is known.
    func workStarts(_ kind: WorkKind) throws -> [Timestamp] {
        try Int64.fetchAll(
            sql,
            sql: "SELECT COALESCE(startedAt, stateSince) FROM node WHERE \(kind.working)"
        ).map(Timestamp.init(nanoseconds:))
    }

    /// Who waits, and what counts for the order.
    func turnOrder(_ kind: WorkKind) throws -> TurnOrder {
        var waiting: [String: (ids: [NodeID], first: Timestamp)] = [:]
        let rows = try Row.fetchCursor(
            sql,
            sql: """
                SELECT id, party, queuedAt FROM node WHERE \(kind.queued)
                ORDER BY queuedAt, serial
                """
        )
        while let row = try rows.next() {
            let first = Timestamp(nanoseconds: row[2])
            waiting[row[1], default: ([], first)].ids.append(NodeID(unchecked: row[0]))
        }
        guard !waiting.isEmpty else { return TurnOrder(parties: []) }
        var running: [String: Int] = [:]
        for row in try Row.fetchAll(
            sql,
            sql: "SELECT party, COUNT(*) FROM node WHERE \(kind.working) GROUP BY party"
        ) {
            running[row[0]] = row[1]
        }
        var served: [String: Timestamp] = [:]
        for row in try Row.fetchAll(
            sql,
            sql: "SELECT party, servedAt FROM workTurn WHERE kind = ?",
            arguments: [kind.rawValue]
        ) {
            served[row[0]] = Timestamp(nanoseconds: row[1])
        }
        return TurnOrder(
            parties: waiting.sorted { $0.key < $1.key }.map { name, queue in
                TurnOrder.Party(
                    name: name,
                    running: running[name] ?? 0,
                    servedAt: served[name],
                    waiting: queue.ids,
                    firstAt: queue.first
                )
            }
        )
    }

    /// Notes that one of a party's nodes had its turn.
    func noteTurn(_ kind: WorkKind, of party: String, at now: Timestamp) throws {
        try execute(
            """
            INSERT INTO workTurn (kind, party, servedAt) VALUES (?, ?, ?)
            ON CONFLICT (kind, party) DO UPDATE SET servedAt = excluded.servedAt
            """,
            [kind.rawValue, party, now.nanoseconds]
        )
        try execute(
            "DELETE FROM workTurn WHERE servedAt < ?",
            [(now - Self.turnKept).nanoseconds]
        )
    }

    /// What work of this kind takes, as measured; `nil` before any was.
    func pace(_ kind: WorkKind) throws -> Duration? {
        let row = try row("SELECT nanoseconds FROM workPace WHERE kind = ?", [kind.rawValue])
        return row.map { .nanoseconds($0["nanoseconds"] as Int64) }
    }

    /// Learns from work that came to its end: the newest counts for a fifth.
    func learnPace(_ kind: WorkKind, _ span: Duration) throws {
        let new = span.wholeNanoseconds
        let old = try pace(kind)?.wholeNanoseconds ?? new
        try execute(
            """
            INSERT INTO workPace (kind, nanoseconds) VALUES (?, ?)
            ON CONFLICT (kind) DO UPDATE SET nanoseconds = excluded.nanoseconds
            """,
            [kind.rawValue, old / 5 * 4 + new / 5]
        )
    }
}
