import Basics
import FoundationEssentials
import GRDB
import HTTP
import Protocol
import Store

/// Jobs over many nodes, and what came of each node.
let bulkTables = Migration(
    name: "baremetal-004",
    sql: """
        CREATE TABLE bulkJob (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            action TEXT NOT NULL,
            sealed BLOB NOT NULL,
            minor INTEGER NOT NULL,
            principal TEXT NOT NULL,
            party TEXT NOT NULL,
            requestID TEXT NOT NULL,
            address TEXT NOT NULL,
            state TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            finishedAt INTEGER
        ) STRICT;
        CREATE INDEX bulkJobState ON bulkJob (state, party);
        CREATE TABLE bulkItem (
            job TEXT NOT NULL REFERENCES bulkJob (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            node TEXT NOT NULL,
            label TEXT NOT NULL,
            outcome TEXT NOT NULL,
            message TEXT,
            at INTEGER,
            PRIMARY KEY (job, number)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX bulkItemWaiting ON bulkItem (job, number) WHERE outcome = 'waiting';
        """
)

/// Who asked, as it is kept with a job: what a token proved, and its identifier, which opens nothing.
private struct StoredPrincipal: Codable {
    var user: String
    var name: String
    var domain: String
    var project: String?
    var projectName: String?
    var role: Role?
    var isAdminProject: Bool
    /// What its rights are looked up again by; jobs of earlier releases have none.
    var token: String?
    var generation: Int64?
    var credential: String?

    init(_ principal: Principal) {
        user = principal.userID
        name = principal.userName
        domain = principal.userDomainID
        if case .project(let id, let name) = principal.scope { (project, projectName) = (id, name) }
        role = principal.role
        isAdminProject = principal.isAdminProject
        token = principal.tokenID
        generation = principal.generation
        credential = principal.delegation?.credentialID
    }

    var principal: Principal {
        Principal(
            userID: user,
            userName: name,
            userDomainID: domain,
            scope: project.map { .project(id: $0, name: projectName ?? "") } ?? .system,
            role: role,
            isAdminProject: isAdminProject,
            tokenID: token ?? "",
            generation: generation ?? 0,
            // Which requests it lets through was asked when the job was made.
            delegation: credential.map {
                .init(credentialID: $0, isUnrestricted: false, rules: nil)
            }
        )
    }
}

extension Transaction {
    /// Stores a new job with its nodes.
    func insert(_ job: BulkJob, _ items: [BulkItem], sealer: Sealer) throws {
        let sealed = try sealer.seal(
            Secret(job.request.canonicalText),
            for: "bulk/\(job.id)/request"
        )
        let principal = try JSONEncoder().encode(StoredPrincipal(job.principal))
        try execute(
            """
            INSERT INTO bulkJob (id, action, sealed, minor, principal, party, requestID, address,
                state, createdAt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                job.id.text, job.order.action, Data(sealed), job.version.minor,
                String(decoding: principal, as: UTF8.self), NodesService.party(of: job.principal),
                job.requestID, job.address, job.state.rawValue, job.createdAt.nanoseconds,
            ]
        )
        for item in items {
            try execute(
                """
                INSERT INTO bulkItem (job, number, node, label, outcome, message, at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    job.id.text, item.number, item.node.text, item.label, item.outcome.rawValue,
                    item.message, item.at?.nanoseconds,
                ]
            )
        }
    }

    /// Jobs, newest first; only those of one party when it is given.
    func bulkJobs(
        party: String? = nil,
        state: BulkJob.State? = nil,
        limit: Int,
        sealer: Sealer
    ) throws -> [BulkJob] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM bulkJob WHERE (? IS NULL OR party = ?) AND (? IS NULL OR state = ?)
                ORDER BY serial DESC LIMIT ?
                """,
            arguments: [party, party, state?.rawValue, state?.rawValue, limit]
        ).map { try BulkJob(row: $0, sealer: sealer) }
    }

    /// The job with this identifier, if it belongs to the party or `party` is `nil`.
    func bulkJob(_ id: String, party: String?, sealer: Sealer) throws -> BulkJob? {
        try row(
            "SELECT * FROM bulkJob WHERE id = ? AND (? IS NULL OR party = ?)",
            [id, party, party]
        ).map { try BulkJob(row: $0, sealer: sealer) }
    }

    /// How many jobs of a party run.
    func runningBulkJobs(of party: String) throws -> Int {
        try row(
            "SELECT COUNT(*) AS count FROM bulkJob WHERE state = 'running' AND party = ?",
            [party]
        )?["count"] ?? 0
    }

    /// Forgets the oldest finished jobs beyond `keep`.
    func trimBulkJobs(keep: Int) throws {
        try execute(
            """
            DELETE FROM bulkJob WHERE state <> 'running' AND serial <= (
                SELECT COALESCE(MAX(serial), 0) - ? FROM bulkJob)
            """,
            [keep]
        )
    }

    /// How far a job is.
    func bulkProgress(_ id: BulkID) throws -> BulkProgress {
        var progress = BulkProgress()
        for row in try Row.fetchAll(
            sql,
            sql: "SELECT outcome, COUNT(*) FROM bulkItem WHERE job = ? GROUP BY outcome",
            arguments: [id.text]
        ) {
            switch BulkItem.Outcome(rawValue: row[0]) {
            case .waiting: progress.waiting = row[1]
            case .accepted: progress.accepted = row[1]
            case .refused: progress.refused = row[1]
            case .cancelled, nil: progress.cancelled = row[1]
            }
        }
        return progress
    }

    /// A job's nodes after `number`, in its order.
    func bulkItems(_ id: BulkID, after number: Int, limit: Int) throws -> [BulkItem] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM bulkItem WHERE job = ? AND number > ? ORDER BY number LIMIT ?",
            arguments: [id.text, number, limit]
        ).map(BulkItem.init(row:))
    }

    /// The next nodes that were not asked yet.
    func waitingBulkItems(_ id: BulkID, limit: Int) throws -> [BulkItem] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM bulkItem WHERE job = ? AND outcome = 'waiting' ORDER BY number LIMIT ?
                """,
            arguments: [id.text, limit]
        ).map(BulkItem.init(row:))
    }

    /// Notes what came of a node, unless that is known or the job has ended.
    /// - Returns: whether it was noted.
    @discardableResult
    func settle(
        _ job: BulkID,
        _ number: Int,
        _ outcome: BulkItem.Outcome,
        message: String? = nil,
        at now: Timestamp
    ) throws -> Bool {
        try execute(
            """
            UPDATE bulkItem SET outcome = ?, message = ?, at = ?
            WHERE job = ? AND number = ? AND outcome = 'waiting'
            """,
            [outcome.rawValue, message, now.nanoseconds, job.text, number]
        )
        return sql.changesCount == 1
    }

    /// Ends a job that runs; nodes that were not asked yet never will be.
    func end(_ job: BulkID, _ state: BulkJob.State, at now: Timestamp) throws {
        try execute(
            "UPDATE bulkJob SET state = ?, finishedAt = ? WHERE id = ? AND state = 'running'",
            [state.rawValue, now.nanoseconds, job.text]
        )
        guard sql.changesCount == 1 else { return }
        try execute(
            """
            UPDATE bulkItem SET outcome = 'cancelled', at = ? WHERE job = ? AND outcome = 'waiting'
            """,
            [now.nanoseconds, job.text]
        )
    }
}

extension BulkItem {
    fileprivate init(row: Row) {
        number = row["number"]
        node = NodeID(unchecked: row["node"])
        label = row["label"]
        outcome = Outcome(rawValue: row["outcome"]) ?? .cancelled
        message = row["message"]
        at = (row["at"] as Int64?).map(Timestamp.init(nanoseconds:))
    }
}

extension BulkJob {
    fileprivate init(row: Row, sealer: Sealer) throws {
        id = BulkID(unchecked: row["id"])
        let sealed = row["sealed"] as Data
        let text = try sealer.open(Array(sealed), for: "bulk/\(id)/request").reveal()
        request = try JSONValue(parsing: text.utf8)
        version = Microversion(minor: row["minor"])
        order = try BulkOrder(row["action"], request, version)
        let principal = row["principal"] as String
        self.principal = try JSONDecoder().decode(
            StoredPrincipal.self,
            from: Data(principal.utf8)
        ).principal
        requestID = row["requestID"]
        address = row["address"]
        state = State(rawValue: row["state"]) ?? .expired
        createdAt = Timestamp(nanoseconds: row["createdAt"])
        finishedAt = (row["finishedAt"] as Int64?).map(Timestamp.init(nanoseconds:))
    }
}
