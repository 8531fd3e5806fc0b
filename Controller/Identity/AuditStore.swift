import GRDB
import HTTP
import Protocol
import Store

/// Which audit records a reader asks for.
struct AuditFilter: Sendable {
    /// Records of one page at most.
    static let limitMax = 1000

    /// Only records before this one; the newest come first.
    var before: Int64?
    var limit = 100
    var userID: String?
    var targetType: String?
    var targetID: String?
    var action: String?
    var outcome: AuditRecord.Outcome?
    var since: Timestamp?
    var until: Timestamp?
}

extension Transaction {
    /// - Returns: the record's place in the trail.
    func addAudit(_ record: AuditRecord) throws -> Int64 {
        try execute(
            """
            INSERT INTO audit (time, requestID, userID, userName, scope, address, method, path,
                action, targetType, targetID, status, omitted)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                record.time.nanoseconds, record.requestID, record.userID, record.userName,
                record.scope, record.address, record.method, record.path, record.subject.action,
                record.subject.targetType, record.subject.targetID, record.status, record.omitted,
            ]
        )
        return sql.lastInsertedRowID
    }

    /// Writes down how a call ended whose record was stored along with its first change.
    func closeAudit(_ record: AuditRecord) throws {
        try execute(
            "UPDATE audit SET targetID = ?, status = ? WHERE sequence = ?",
            [record.subject.targetID, record.status, record.sequence]
        )
    }

    func trimAudit(olderThan time: Timestamp) throws {
        try sql.execute(sql: "DELETE FROM audit WHERE time < ?", arguments: [time.nanoseconds])
    }

    /// Audit records, newest first.
    func auditRecords(_ filter: AuditFilter) throws -> [AuditRecord] {
        var wanted = Conditions()
        if let before = filter.before { wanted.add(raw: "sequence < ?", [before]) }
        wanted.add("userID", filter.userID)
        wanted.add("targetType", filter.targetType)
        wanted.add("targetID", filter.targetID)
        wanted.add("action", filter.action)
        switch filter.outcome {
        case .success: wanted.add(raw: "status BETWEEN 1 AND 399")
        case .pending: wanted.add(raw: "status = 0")
        case .failure: wanted.add(raw: "status >= 400")
        case nil: break
        }
        if let since = filter.since { wanted.add(raw: "time >= ?", [since.nanoseconds]) }
        if let until = filter.until { wanted.add(raw: "time < ?", [until.nanoseconds]) }
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM audit WHERE \(wanted.sql) ORDER BY sequence DESC LIMIT ?",
            arguments: wanted.arguments(filter.limit)
        ).map { row in
            var record = AuditRecord(
                time: Timestamp(nanoseconds: row["time"]),
                requestID: row["requestID"],
                userID: row["userID"],
                userName: row["userName"],
                scope: row["scope"],
                address: row["address"],
                method: row["method"],
                path: row["path"],
                subject: AuditSubject(
                    action: row["action"],
                    targetType: row["targetType"],
                    targetID: row["targetID"]
                ),
                status: row["status"]
            )
            record.sequence = row["sequence"]
            record.omitted = row["omitted"]
            return record
        }
    }
}
