import Basics
package import HTTP
import Logging
package import Protocol
import Store
import Synchronization

/// The audit trail.
extension IdentityService {
    package func keep(_ record: AuditRecord) async {
        guard let record = state.withLock({ $0.flood.admit(record) }) else { return }
        do {
            try await database.write { try $0.addAudit(record) }
        } catch {
            logger.error(
                "an audit record was lost",
                metadata: [
                    LogKey.requestID: .string(record.requestID),
                    LogKey.error: .string(Fault(error).report),
                ]
            )
        }
    }

    /// Records for an administrator, newest first.
    func auditRecords(
        _ filter: AuditFilter,
        as principal: Principal
    ) async throws -> [AuditRecord] {
        try principal.requireEverything(to: "read the audit trail")
        return try await database.read { try $0.auditRecords(filter) }
    }

    /// Forgets audit records older than `time`.
    package func trimAudit(olderThan time: Timestamp) async throws {
        try await database.write { try $0.trimAudit(olderThan: time) }
    }
}
