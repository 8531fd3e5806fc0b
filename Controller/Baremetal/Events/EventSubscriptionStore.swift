import Basics
import FoundationEssentials
import GRDB
import HTTP
import Protocol
import Store

/// The BMCs that were told to send their events, also those whose node is gone: a row is written before its BMC is
/// told and taken away after the BMC was told to stop.
let eventTables = Migration(
    name: "baremetal-008",
    sql: """
        CREATE TABLE eventSubscription (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            node TEXT NOT NULL,
            target TEXT NOT NULL,
            sealed BLOB NOT NULL,
            isWanted INTEGER NOT NULL,
            tries INTEGER NOT NULL CHECK (tries >= 0),
            madeAt INTEGER,
            checkedAt INTEGER NOT NULL,
            nextTry INTEGER NOT NULL,
            UNIQUE (node, target)
        ) STRICT;
        """
)

/// A subscription at a BMC as it is stored.
struct StoredSubscription: Sendable, Equatable {
    var node: NodeID
    /// Which BMC, which of its systems, and which address of ours: `EventTarget`.
    var target: String
    /// How the BMC is reached, also once the node is gone.
    var driver: String
    var driverInfo: DriverInfo
    var isWanted: Bool
    /// Failures in a row.
    var tries = 0
    /// When it was made last; `nil` before the first time.
    var madeAt: Timestamp?
    var checkedAt: Timestamp
    var nextTry: Timestamp
}

extension Transaction {
    private static func context(_ node: NodeID) -> String { "event_subscription/\(node)" }

    /// Whether the time of a try has not come: what is later than the longest pause was planned before somebody set
    /// the clock back.
    private static func isEarly(_ column: String) -> String { "\(column) BETWEEN ? AND ?" }

    private static func early(_ now: Timestamp) -> StatementArguments {
        [now.nanoseconds + 1, (now + EventSubscriber.lookAtUnable).nanoseconds]
    }

    /// Nodes whose subscription is due to be looked at, the oldest first.
    func nodesToSubscribe(at now: Timestamp, limit: Int) throws -> [NodeID] {
        try String.fetchAll(
            sql,
            sql: """
                SELECT node.id FROM node
                LEFT JOIN eventSubscription AS own ON own.node = node.id AND own.isWanted
                WHERE node.driver = 'redfish' AND node.provisionState NOT IN ('enroll', 'verifying')
                    AND (own.serial IS NULL OR NOT (\(Self.isEarly("own.nextTry")))
                        OR COALESCE(node.updatedAt, 0) > own.checkedAt)
                ORDER BY COALESCE(own.nextTry, 0), node.serial LIMIT ?
                """,
            arguments: Self.early(now) + [limit]
        ).map(NodeID.init(unchecked:))
    }

    /// Says of subscriptions whose node is gone, or has no such BMC any more, that they are to be ended.
    ///
    /// `all`: of every one, because none is wanted.
    func dismissSubscriptions(all: Bool, at now: Timestamp) throws {
        try sql.execute(
            sql: """
                UPDATE eventSubscription SET isWanted = 0, tries = 0, nextTry = ?
                WHERE isWanted AND (? OR NOT EXISTS (
                    SELECT 1 FROM node WHERE id = eventSubscription.node AND driver = 'redfish'))
                """,
            arguments: [now.nanoseconds, all]
        )
    }

    /// Subscriptions that are to be ended now.
    func subscriptionsToEnd(
        at now: Timestamp,
        limit: Int,
        sealer: Sealer
    ) throws -> [StoredSubscription] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM eventSubscription WHERE NOT isWanted AND NOT (\(Self.isEarly("nextTry")))
                ORDER BY nextTry, serial LIMIT ?
                """,
            arguments: Self.early(now) + [limit]
        ).map { try StoredSubscription(row: $0, sealer) }
    }

    /// A node's subscriptions, wanted or not.
    func subscriptions(of node: NodeID, sealer: Sealer) throws -> [StoredSubscription] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM eventSubscription WHERE node = ? ORDER BY serial",
            arguments: [node.text]
        ).map { try StoredSubscription(row: $0, sealer) }
    }

    /// Keeps a subscription, in place of what was known of the same target.
    func save(_ subscription: StoredSubscription, sealer: Sealer) throws {
        let info = subscription.driverInfo
        let text: JSONValue = [
            "driver": .string(subscription.driver), "fields": .object(info.fields),
            "secrets": .object(info.secrets.mapValues { .string($0.reveal()) }),
        ]
        let sealed = try sealer.seal(
            Secret(text.canonicalText),
            for: Self.context(subscription.node)
        )
        try sql.execute(
            sql: """
                INSERT INTO eventSubscription
                    (node, target, sealed, isWanted, tries, madeAt, checkedAt, nextTry)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (node, target) DO UPDATE SET
                    sealed = excluded.sealed, isWanted = excluded.isWanted,
                    tries = excluded.tries, madeAt = excluded.madeAt,
                    checkedAt = excluded.checkedAt, nextTry = excluded.nextTry
                """,
            arguments: [
                subscription.node.text, subscription.target, Data(sealed), subscription.isWanted,
                subscription.tries, subscription.madeAt?.nanoseconds,
                subscription.checkedAt.nanoseconds, subscription.nextTry.nanoseconds,
            ]
        )
    }

    /// Forgets a subscription.
    func deleteSubscription(of node: NodeID, to target: String) throws {
        try sql.execute(
            sql: "DELETE FROM eventSubscription WHERE node = ? AND target = ?",
            arguments: [node.text, target]
        )
    }
}

extension StoredSubscription {
    fileprivate init(row: Row, _ sealer: Sealer) throws {
        let node = NodeID(unchecked: row["node"])
        let sealed: Data = row["sealed"]
        let secret = try sealer.open(Array(sealed), for: "event_subscription/\(node)")
        let value = try JSONValue(parsing: secret.revealBytes())
        self.init(
            node: node,
            target: row["target"],
            driver: value["driver"]?.text ?? "",
            driverInfo: DriverInfo(
                fields: value["fields"]?.members ?? [:],
                secrets: (value["secrets"]?.members ?? [:]).mapValues { Secret($0.text ?? "") }
            ),
            isWanted: row["isWanted"],
            tries: row["tries"],
            madeAt: (row["madeAt"] as Int64?).map(Timestamp.init(nanoseconds:)),
            checkedAt: Timestamp(nanoseconds: row["checkedAt"]),
            nextTry: Timestamp(nanoseconds: row["nextTry"])
        )
    }
}
