import Basics
import GRDB
import Protocol
import Store

/// What stood in the asset tags of machines that may leave a proof there; a row is written before its machine is told so,
/// and taken away after the text was put back.
let assetTagTables = Migration(
    name: "baremetal-010",
    sql: """
        CREATE TABLE assetTag (
            node TEXT PRIMARY KEY,
            target TEXT NOT NULL,
            earlier TEXT NOT NULL,
            tries INTEGER NOT NULL CHECK (tries >= 0),
            nextTry INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """
)

/// The asset tag of a machine from before its proof.
struct KeptTag: Sendable, Equatable {
    var node: NodeID
    /// Which BMC, and which of its systems.
    var target: String
    var earlier: String
    /// Tries to put it back that failed.
    var tries = 0
    /// When it is to be put back.
    var nextTry: Timestamp
}

extension Transaction {
    private static func tag(_ row: Row) -> KeptTag {
        KeptTag(
            node: NodeID(unchecked: row["node"]),
            target: row["target"],
            earlier: row["earlier"],
            tries: row["tries"],
            nextTry: Timestamp(nanoseconds: row["nextTry"])
        )
    }

    func keptTag(of node: NodeID) throws -> KeptTag? {
        try Row.fetchOne(
            sql,
            sql: "SELECT * FROM assetTag WHERE node = ?",
            arguments: [node.text]
        ).map(Self.tag)
    }

    /// Tags that are to be put back, those that wait longest first.
    ///
    /// `now`: `nil` for those as well whose time has not come.
    func tagsToRestore(at now: Timestamp?, limit: Int) throws -> [KeptTag] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM assetTag WHERE nextTry <= ? ORDER BY nextTry, node LIMIT ?",
            arguments: [now?.nanoseconds ?? .max, limit]
        ).map(Self.tag)
    }

    func save(_ tag: KeptTag) throws {
        try sql.execute(
            sql: """
                INSERT INTO assetTag (node, target, earlier, tries, nextTry)
                VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (node) DO UPDATE SET
                    target = excluded.target, earlier = excluded.earlier,
                    tries = excluded.tries, nextTry = excluded.nextTry
                """,
            arguments: [
                tag.node.text, tag.target, tag.earlier, tag.tries, tag.nextTry.nanoseconds,
            ]
        )
    }

    /// Forgets a tag, unless it was kept anew meanwhile.
    func delete(_ tag: KeptTag) throws {
        try sql.execute(
            sql: "DELETE FROM assetTag WHERE node = ? AND nextTry = ?",
            arguments: [tag.node.text, tag.nextTry.nanoseconds]
        )
    }
}
