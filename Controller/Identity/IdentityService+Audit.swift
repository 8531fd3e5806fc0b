import Basics
package import HTTP
import Logging
package import Protocol
import Store
import Synchronization

/// The audit trail.
extension IdentityService {
    package func keep(_ record: AuditRecord) async {
        guard record.sequence == 0 else {
            return await database.writeLater(
                { try $0.closeAudit(record) },
                failed: { self.lost(record, $0) }
            )
        }
        guard let record = state.withLock({ $0.flood.admit(record) }) else { return }
        do {
            try await database.write { _ = try $0.addAudit(record) }
        } catch {
            lost(record, error)
        }
    }

    /// The record is counted by no `RefusalFlood`: it is a signed-in caller's.
    package func accompany<Answer>(
        _ call: AuditedCall,
        _ work: () async throws -> Answer
    ) async rethrows -> Answer {
        let sequence = Mutex<Int64>(0)
        let companion = Companion { transaction in
            let place = try transaction.addAudit(call.record)
            sequence.withLock { $0 = place }
        }
        defer { if companion.isStored { call.stored(at: sequence.withLock { $0 }) } }
        return try await companion.following(work)
    }

    private func lost(_ record: AuditRecord, _ error: any Error) {
        logger.error(
            "an audit record was lost",
            metadata: [
                LogKey.requestID: .string(record.requestID),
                LogKey.error: .string(Fault(error).report),
            ]
        )
    }

    /// Records for an administrator, newest first.
    func auditRecords(
        _ filter: AuditFilter,
        as principal: Principal
    ) async throws -> [AuditRecord] {
        try principal.requireEverything(to: "read the audit trail")
        // A write comes after all those before it, also those that wait for company.
        return try await database.write { try $0.auditRecords(filter) }
    }

    /// Forgets audit records older than `time`.
    package func trimAudit(olderThan time: Timestamp) async throws {
        try await database.write { try $0.trimAudit(olderThan: time) }
    }
}
