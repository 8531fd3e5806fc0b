import Basics
import FoundationEssentials
import GRDB
import Protocol
package import Store

/// The schema of webhooks.
package enum WebhookSchema {
    package static let migrations = [
        Migration(
            name: "webhook-001",
            sql: """
                CREATE TABLE webhook (
                    serial INTEGER PRIMARY KEY AUTOINCREMENT,
                    id TEXT NOT NULL UNIQUE,
                    project TEXT,
                    url TEXT NOT NULL,
                    sealed BLOB,
                    disabledReason TEXT,
                    position INTEGER NOT NULL,
                    failures INTEGER NOT NULL,
                    nextTry INTEGER NOT NULL,
                    lastError TEXT,
                    createdAt INTEGER NOT NULL
                ) STRICT;
                CREATE INDEX webhookProject ON webhook (project);
                """
        )
    ]
}

extension Transaction {
    /// Every hook, or those of one project; `nil` inside is the whole installation.
    func webhooks(of project: String??, sealer: Sealer) throws -> [Webhook] {
        let rows =
            if case .some(let project) = project {
                try Row.fetchAll(
                    sql,
                    sql: "SELECT * FROM webhook WHERE project IS ? ORDER BY serial",
                    arguments: [project]
                )
            } else {
                try Row.fetchAll(sql, sql: "SELECT * FROM webhook ORDER BY serial")
            }
        return try rows.map { try Webhook(row: $0, sealer: sealer) }
    }

    /// The hook with this identifier.
    func webhook(_ id: String, sealer: Sealer) throws -> Webhook? {
        try row("SELECT * FROM webhook WHERE id = ?", [id]).map {
            try Webhook(row: $0, sealer: sealer)
        }
    }

    /// Hooks that have something to try now.
    func dueWebhooks(at now: Timestamp, sealer: Sealer) throws -> [Webhook] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM webhook WHERE disabledReason IS NULL AND nextTry <= ?
                    AND position < (SELECT COALESCE(MAX(sequence), 0) FROM change) ORDER BY serial
                """,
            arguments: [now.nanoseconds]
        ).map { try Webhook(row: $0, sealer: sealer) }
    }

    /// The newest change; what a new hook begins after.
    func newestChange() throws -> Int64 {
        try row("SELECT COALESCE(MAX(sequence), 0) AS newest FROM change", [])?["newest"] ?? 0
    }

    /// How many hooks there are.
    func webhookCount() throws -> Int {
        try row("SELECT COUNT(*) AS count FROM webhook", [])?["count"] ?? 0
    }

    /// Stores a hook, new or changed.
    func save(_ hook: Webhook, sealer: Sealer) throws {
        let sealed = try hook.secret.map {
            Data(try sealer.seal($0, for: hook.sealing))
        }
        try execute(
            """
            INSERT INTO webhook (id, project, url, sealed, disabledReason, position, failures,
                nextTry, lastError, createdAt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET url = excluded.url, sealed = excluded.sealed,
                disabledReason = excluded.disabledReason, position = excluded.position,
                failures = excluded.failures, nextTry = excluded.nextTry,
                lastError = excluded.lastError
            """,
            [
                hook.id.text, hook.project, hook.url, sealed, hook.disabledReason, hook.position,
                hook.failures, hook.nextTry.nanoseconds, hook.lastError, hook.createdAt.nanoseconds,
            ]
        )
    }

    /// Forgets a hook.
    func deleteWebhook(_ id: WebhookID) throws {
        try execute("DELETE FROM webhook WHERE id = ?", [id.text])
    }
}

extension Webhook {
    /// What its secret is sealed for: a row that somebody gave another address cannot be opened.
    var sealing: String { "webhook/\(id)/\(url)" }

    fileprivate init(row: Row, sealer: Sealer) throws {
        id = WebhookID(unchecked: row["id"])
        project = row["project"]
        url = row["url"]
        disabledReason = row["disabledReason"]
        position = row["position"]
        failures = row["failures"]
        nextTry = Timestamp(nanoseconds: row["nextTry"])
        lastError = row["lastError"]
        createdAt = Timestamp(nanoseconds: row["createdAt"])
        let sealed = row["sealed"] as Data?
        secret = try sealed.map { try sealer.open(Array($0), for: "webhook/\(id)/\(url)") }
    }
}
