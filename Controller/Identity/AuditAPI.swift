import Basics
package import HTTP
import Hummingbird
import Protocol

/// The audit trail over HTTP: `GET /v1/audit`, for administrators of the whole installation.
///
/// Records come newest first, a page at a time; `next` is the address of the following page. Their members are
/// those of CADF (DMTF DSP0262), as far as they say something here.
package struct AuditAPI: RouteArea {
    private let service: IdentityService

    package init(service: IdentityService) { self.service = service }

    package func addRoutes(to surface: Surface) {
        let service = service
        surface.area("/v1/audit", dialect: .plain).get(
            "",
            .installation(.admin),
            .listAudit
        ) { request, context in
            let filter = try AuditFilter(request)
            let records = try await service.auditRecords(filter, as: context.requirePrincipal())
            var answer: JSONValue = ["audit": .array(records.map(Self.shape)), "next": .null]
            if records.count == filter.limit, let last = records.last {
                let kept = (request.uri.query ?? "").split(separator: "&").filter {
                    !$0.hasPrefix("before=")
                }
                let query = (kept + ["before=\(last.sequence)"]).joined(separator: "&")
                answer["next"] = .string("/v1/audit?\(query)")
            }
            return .json(answer)
        }
    }

    private static func shape(_ record: AuditRecord) -> JSONValue {
        var event: JSONValue = [
            "id": .integer(record.sequence),
            "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event", "eventType": "activity",
            "eventTime": .string(record.time.description),
            "action": .string(record.subject.action),
            "outcome": .string(record.outcome.rawValue),
            "initiator": [
                "typeURI": "service/security/account/user", "id": .string(record.userID),
                "name": .string(record.userName), "scope": .string(record.scope),
                "host": ["address": .string(record.address)],
            ],
            "target": [
                "typeURI": .string(record.subject.targetType),
                "id": .string(record.subject.targetID),
            ],
            "observer": ["typeURI": "service/oss/rdo-controller"],
            "requestPath": .string("\(record.method) \(record.path)"),
            "requestID": .string(record.requestID),
        ]
        if record.outcome != .pending {
            event["reason"] = [
                "reasonType": "HTTP", "reasonCode": .string(String(record.status)),
            ]
        }
        if record.omitted > 0 { event["omitted"] = .integer(Int64(record.omitted)) }
        return event
    }
}

extension AuditFilter {
    /// Reads the query.
    init(_ request: Request) throws {
        func wrong(_ name: String, _ what: String) -> Fault {
            Fault(.invalid, "cannot read the query: \(name) must be \(what)")
        }
        func time(_ name: String) throws -> Timestamp? {
            guard let text = request.query(name) else { return nil }
            guard let time = Timestamp(iso8601: text) else {
                throw wrong(name, "a time such as 2026-12-31T23:59:59")
            }
            return time
        }
        if let text = request.query("before") {
            guard let before = Int64(text) else { throw wrong("before", "the id of a record") }
            self.before = before
        }
        if let text = request.query("limit") {
            guard let limit = Int(text), (1...Self.limitMax).contains(limit) else {
                throw wrong("limit", "1 to \(Self.limitMax)")
            }
            self.limit = limit
        }
        if let text = request.query("outcome") {
            guard let outcome = AuditRecord.Outcome(rawValue: text) else {
                throw wrong("outcome", "success, failure or pending")
            }
            self.outcome = outcome
        }
        userID = request.query("user")
        targetType = request.query("target_type")
        targetID = request.query("target")
        action = request.query("action")
        since = try time("since")
        until = try time("until")
    }
}

extension Operation {
    fileprivate static let listAudit = Operation(
        "List audit records, the newest first",
        [
            .init("before", .integer, "Only records older than the one with this id."),
            .init("limit", .integer(1...Int64(AuditFilter.limitMax))),
            .init("outcome", .words(AuditRecord.Outcome.allCases.map(\.rawValue))),
            .init("user"),
            .init("target_type"), .init("target"), .init("action"),
            .init("since", .text, "A time such as 2026-12-31T23:59:59."), .init("until"),
        ],
        answers: .ok(
            .object(
                ["audit": .list(of: record), "next": .textOrNull],
                required: ["audit", "next"]
            )
        )
    )

    private static let record = Schema.object(
        [
            "id": .integer, "typeURI": .text, "eventType": .text, "eventTime": .time,
            "action": .text, "outcome": .text, "initiator": .document, "target": .document,
            "observer": .document, "reason": .document, "requestPath": .text, "requestID": .text,
            "omitted": .integer.note("How many like it were not written down one by one."),
        ],
        required: ["id", "eventTime", "action", "outcome", "initiator", "target", "requestPath"]
    ).named("AuditRecord")
}
