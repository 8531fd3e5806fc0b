import Basics
import HTTPTypes
import Hummingbird
package import Protocol
import Synchronization

/// What a call was about, in the words of CADF (DMTF DSP0262): an action on a target.
package struct AuditSubject: Sendable, Equatable {
    /// `create`, `read`, `update`, `delete` or `authenticate`, with the part it is about: `update/states`.
    package let action: String
    /// Service and kind of object: `baremetal/nodes`.
    package let targetType: String
    /// The object's name or identifier as the path has it, or as the handler noted it; empty when there is none.
    package let targetID: String

    package init(action: String, targetType: String, targetID: String) {
        self.action = action
        self.targetType = targetType
        self.targetID = targetID
    }

    /// Reads it from a request; `noted` is what the handler knew better.
    package init(method: String, path: String, noted: String? = nil) {
        let (service, rest) = AccessRule.service(of: path)
        var parts = rest.split(separator: "/")[...]
        if let first = parts.first, Self.isVersion(first) { parts.removeFirst() }
        // Keystone's extensions are about the same objects.
        if let first = parts.first, first.hasPrefix("OS-") { parts.removeFirst() }
        if parts.starts(with: ["auth", "tokens"]) {
            targetType = "\(service)/tokens"
            targetID = noted ?? ""
            action = method == "POST" ? "authenticate" : Self.verb(method)
            return
        }
        targetType = "\(service)/\(parts.first ?? "")"
        let id = parts.dropFirst().first
        let part = parts.dropFirst(2).first
        targetID = noted ?? id.map(String.init) ?? ""
        let verb = method == "POST" && id != nil && part != nil ? "update" : Self.verb(method)
        action = part.map { "\(verb)/\($0)" } ?? verb
    }

    private static func isVersion(_ part: Substring) -> Bool {
        part.first == "v" && part.count > 1
            && part.dropFirst().allSatisfy { $0.isNumber || $0 == "." }
    }

    private static func verb(_ method: String) -> String {
        switch method {
        case "POST": "create"
        case "PUT", "PATCH": "update"
        case "DELETE": "delete"
        default: "read"
        }
    }
}

/// A call that may have changed something, or was refused, for the audit trail.
package struct AuditRecord: Sendable, Equatable {
    /// How it ended, in CADF's words.
    ///
    /// `pending` is what a record says between the call's first change and its answer, and for ever when the
    /// controller was killed between them.
    package enum Outcome: String, Sendable, CaseIterable {
        case success, failure, pending
    }

    /// The place in the trail; 0 before it is stored.
    package var sequence: Int64 = 0
    package let time: Timestamp
    package let requestID: String
    /// Empty when nobody had signed in.
    package let userID: String
    package let userName: String
    /// What the token spoke for: `system`, `project:…`, `domain:…`; empty without a scope.
    package let scope: String
    package let address: String
    package let method: String
    package let path: String
    package let subject: AuditSubject
    /// The answer's status; 0 before there is one.
    package let status: Int
    /// Refusals from the same address before this one that were counted and not kept.
    package var omitted = 0

    /// Whether a capability in the path let it in, as the path shows by `***`.
    package var isByCapability: Bool { path.contains("/***") }
    package var outcome: Outcome { status == 0 ? .pending : status < 400 ? .success : .failure }

    package init(
        time: Timestamp,
        requestID: String,
        principal: Principal?,
        address: String,
        method: String,
        path: String,
        subject: AuditSubject,
        status: Int
    ) {
        self.init(
            time: time,
            requestID: requestID,
            userID: principal?.userID ?? "",
            userName: principal?.userName ?? "",
            scope: principal.map { Self.text(of: $0.scope) } ?? "",
            address: address,
            method: method,
            path: path,
            subject: subject,
            status: status
        )
    }

    /// As it was stored.
    package init(
        time: Timestamp,
        requestID: String,
        userID: String,
        userName: String,
        scope: String,
        address: String,
        method: String,
        path: String,
        subject: AuditSubject,
        status: Int
    ) {
        self.time = time
        self.requestID = requestID
        self.userID = userID
        self.userName = userName
        self.scope = scope
        self.address = address
        self.method = method
        self.path = path
        self.subject = subject
        self.status = status
    }

    private static func text(of scope: Principal.Scope) -> String {
        switch scope {
        case .none: ""
        case .project(let id, _): "project:\(id)"
        case .domain(let id, _): "domain:\(id)"
        case .system: "system"
        }
    }
}

/// Keeps audit records.
///
/// Identity implements it.
package protocol AuditTrail: Sendable {
    /// Stores the record, or logs why it cannot; one with a `sequence` corrects what is stored there.
    func keep(_ record: AuditRecord) async

    /// Runs `work`; the first transaction that it stores stores the record of `call` too, so that no change
    /// is without one, whenever the controller is killed.
    func accompany<Answer>(
        _ call: AuditedCall,
        _ work: () async throws -> Answer
    ) async rethrows -> Answer
}

/// A call that is being answered, for the audit trail.
package final class AuditedCall: Sendable {
    private let make: @Sendable () -> AuditRecord
    private let place = Mutex<Int64>(0)

    init(_ make: @escaping @Sendable () -> AuditRecord) { self.make = make }

    /// As much as is known now; its outcome is `pending`.
    package var record: AuditRecord { make() }
    /// Where the record was stored along with a change; 0 when it was not.
    var sequence: Int64 { place.withLock { $0 } }
    /// Notes where the record was stored.
    package func stored(at sequence: Int64) { place.withLock { $0 = sequence } }
}

/// Makes the audit records of calls.
struct Auditor: Sendable {
    let paths: RoutePaths
    let time: any TimeSource

    /// Every call that may change something, and every call that was refused.
    static func isAudited(_ method: HTTPRequest.Method, _ status: HTTPResponse.Status) -> Bool {
        mayChange(method) || [401, 403, 429].contains(status.code)
    }

    static func mayChange(_ method: HTTPRequest.Method) -> Bool {
        method != .get && method != .head
    }

    func record(of request: Request, status: Int, _ context: APIContext) -> AuditRecord {
        let path = paths.printable(request.uri.path)
        return AuditRecord(
            time: time.now,
            requestID: context.requestID,
            principal: context.who.principal,
            address: context.remoteAddress,
            method: request.method.rawValue,
            path: path,
            subject: AuditSubject(
                method: request.method.rawValue,
                path: path,
                noted: context.who.target.map(RoutePaths.printable)
            ),
            status: status
        )
    }
}
