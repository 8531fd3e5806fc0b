import Basics
import FoundationEssentials
import GRDB
package import Protocol
package import Store

/// The schema of this area.
package enum DeploymentSchema {
    package static let migrations = [
        Migration(
            name: "deployment-001",
            sql: """
                CREATE TABLE deployment (
                    id TEXT PRIMARY KEY NOT NULL,
                    name TEXT NOT NULL,
                    state TEXT NOT NULL
                        CHECK (state IN ('running', 'complete', 'failed', 'cancelled')),
                    attempt INTEGER NOT NULL,
                    stepIndex INTEGER NOT NULL,
                    specification BLOB NOT NULL,
                    records TEXT NOT NULL,
                    lastError TEXT,
                    created INTEGER NOT NULL,
                    updated INTEGER NOT NULL
                ) STRICT;
                CREATE INDEX deployment_state ON deployment (state, created);
                CREATE TABLE deploymentMember (
                    deployment TEXT NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
                    node TEXT NOT NULL,
                    PRIMARY KEY (deployment, node)
                ) STRICT;
                CREATE INDEX deploymentMember_node ON deploymentMember (node);
                CREATE TABLE deploymentAttempt (number INTEGER NOT NULL) STRICT;
                INSERT INTO deploymentAttempt VALUES (0);
                """
        )
    ]
}

/// Seals and opens specifications, which may hold secrets in their Hiera data.
package protocol SpecificationSealer: Sendable {
    /// Encrypts bytes; they open only with the same context, which says what they belong to.
    func seal(_ bytes: [UInt8], context: String) throws -> [UInt8]
    /// Decrypts what `seal` made.
    func open(_ sealed: [UInt8], context: String) throws -> [UInt8]
}

extension Transaction {
    /// The run with this identifier; `nil` when there is none.
    package func deployment(
        _ id: DeploymentID,
        sealer: any SpecificationSealer
    ) throws -> Deployment? {
        try Row.fetchOne(sql, sql: "SELECT * FROM deployment WHERE id = ?", arguments: [id.text])
            .map { try deployment(from: $0, sealer: sealer) }
    }

    /// Runs, newest first.
    package func deployments(
        limit: Int,
        sealer: any SpecificationSealer
    ) throws -> [Deployment] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM deployment ORDER BY created DESC, id LIMIT ?",
            arguments: [limit]
        ).map { try deployment(from: $0, sealer: sealer) }
    }

    /// Identifiers of the runs that are running, oldest first.
    package func runningDeployments() throws -> [DeploymentID] {
        try String.fetchAll(
            sql,
            sql: "SELECT id FROM deployment WHERE state = 'running' ORDER BY created, id"
        ).map(DeploymentID.init(unchecked:))
    }

    /// The running deployment that a node takes part in; `nil` when there is none.
    package func runningDeployment(of node: NodeID) throws -> (id: DeploymentID, name: String)? {
        try Row.fetchOne(
            sql,
            sql: """
                SELECT d.id, d.name FROM deployment d JOIN deploymentMember m ON m.deployment = d.id
                WHERE m.node = ? AND d.state = 'running' ORDER BY d.created LIMIT 1
                """,
            arguments: [node.text]
        ).map { (DeploymentID(unchecked: $0["id"]), $0["name"]) }
    }

    /// The next attempt number, used once.
    package func nextDeploymentAttempt() throws -> Attempt {
        try sql.execute(sql: "UPDATE deploymentAttempt SET number = number + 1")
        let number = try Int64.fetchOne(sql, sql: "SELECT number FROM deploymentAttempt") ?? 1
        return Attempt(UInt64(number))
    }

    /// Stores a run, new or changed, and records the change.
    package func save(
        _ deployment: Deployment,
        before: String,
        cause: String,
        sealer: any SpecificationSealer
    ) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let specification = try sealer.seal(
            Array(encoder.encode(deployment.specification)),
            context: deployment.id.text
        )
        let records = String(decoding: try encoder.encode(deployment.records), as: UTF8.self)
        try sql.execute(
            sql: """
                INSERT INTO deployment (id, name, state, attempt, stepIndex, specification, records,
                    lastError, created, updated)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt,
                    stepIndex = excluded.stepIndex, specification = excluded.specification,
                    records = excluded.records, lastError = excluded.lastError,
                    updated = excluded.updated
                """,
            arguments: [
                deployment.id.text, deployment.specification.name, deployment.state.rawValue,
                Int64(deployment.attempt.number), deployment.stepIndex, Data(specification),
                records, deployment.lastError, deployment.created.nanoseconds,
                deployment.updated.nanoseconds,
            ]
        )
        for member in deployment.specification.members {
            try sql.execute(
                sql: "INSERT OR IGNORE INTO deploymentMember (deployment, node) VALUES (?, ?)",
                arguments: [deployment.id.text, member.node.text]
            )
        }
        try record(
            kind: "deployment",
            id: deployment.id.text,
            attempt: deployment.attempt,
            before: before,
            after: deployment.stateName,
            cause: cause,
            at: deployment.updated
        )
    }

    /// Forgets a run.
    package func deleteDeployment(_ deployment: Deployment, at now: Timestamp) throws {
        try sql.execute(
            sql: "DELETE FROM deployment WHERE id = ?",
            arguments: [deployment.id.text]
        )
        try record(
            kind: "deployment",
            id: deployment.id.text,
            attempt: deployment.attempt,
            before: deployment.stateName,
            after: "",
            cause: "deleted",
            at: now
        )
    }

    private func deployment(
        from row: Row,
        sealer: any SpecificationSealer
    ) throws -> Deployment {
        let id = DeploymentID(unchecked: row["id"])
        let sealed: Data = row["specification"]
        let decoder = JSONDecoder()
        let specification = try decoder.decode(
            DeploymentSpecification.self,
            from: Data(sealer.open(Array(sealed), context: id.text))
        )
        let records = try decoder.decode(
            [Deployment.StepRecord].self,
            from: Data((row["records"] as String).utf8)
        )
        guard let state = Deployment.State(rawValue: row["state"]) else {
            throw Fault(
                .internalError,
                "cannot read deployment \(id): its state is unknown to this release"
            )
        }
        return Deployment(
            id: id,
            specification: specification,
            state: state,
            attempt: Attempt(UInt64(row["attempt"] as Int64)),
            created: Timestamp(nanoseconds: row["created"]),
            updated: Timestamp(nanoseconds: row["updated"]),
            stepIndex: row["stepIndex"],
            records: records,
            lastError: row["lastError"]
        )
    }
}

extension Deployment {
    /// The state with the step's number, as the change feed shows it: `running step 2`.
    package var stateName: String {
        switch state {
        case .running: "running step \(step?.number ?? 0)"
        case .complete, .failed, .cancelled: state.rawValue
        }
    }
}
