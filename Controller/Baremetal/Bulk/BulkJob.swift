import Basics
import HTTP
import Protocol

/// A job over many nodes.
struct BulkID: Identifier {
    let text: String
    init(unchecked text: String) { self.text = text }
}

/// One call that is to be made on many nodes, in the name of who asked for it.
///
/// ```
/// running ── every node was asked ──> done
/// running ── cancelled ──> cancelled
/// running ── older than an hour ──> expired
/// running ── who made it may no more ──> revoked
/// ```
struct BulkJob: Sendable {
    enum State: String, Sendable, CaseIterable {
        case running, done, cancelled, expired, revoked
    }

    let id: BulkID
    let order: BulkOrder
    /// The request as it was; it may hold a password or a config drive.
    let request: JSONValue
    let version: Microversion
    /// Whoever asked, with the role of that time until it is looked up again.
    var principal: Principal
    let requestID: String
    let address: String
    var state: State
    let createdAt: Timestamp
    var finishedAt: Timestamp?
}

/// How far a job is.
struct BulkProgress: Sendable, Equatable {
    var waiting = 0
    var accepted = 0
    var refused = 0
    var cancelled = 0

    var total: Int { waiting + accepted + refused + cancelled }
}

/// One node of a job.
struct BulkItem: Sendable, Equatable {
    enum Outcome: String, Sendable, CaseIterable {
        /// It was not asked yet.
        case waiting
        /// The wish is stored, as after a single call's 202.
        case accepted
        /// It was answered as a single call would have been; the message says why not.
        case refused
        /// The job ended before it was asked.
        case cancelled
    }

    let number: Int
    let node: NodeID
    /// What the node was called when the job was made.
    let label: String
    var outcome: Outcome
    var message: String?
    var at: Timestamp?
}

/// What a job asks of each node: the same as the single call with the same body.
enum BulkOrder: Sendable, Equatable {
    case power(PowerOrder)
    /// The body of the call; a runbook in it is looked up for each node.
    case provision([String: JSONValue])
    case maintenance(isSet: Bool, reason: String?)
    /// A JSON Patch.
    case set(JSONValue)

    static let names = ["maintenance", "power", "provision", "set"]

    /// Reads a request and checks it as far as that needs no node.
    /// - Throws: `Fault` in the words of the single call.
    init(_ action: String, _ request: JSONValue, _ version: Microversion) throws {
        func members() throws -> [String: JSONValue] {
            guard let members = request.members else {
                throw Fault(.invalid, "cannot make a job: request must be an object")
            }
            return members
        }
        switch action {
        case "power": self = .power(try PowerOrder(try members(), version))
        case "provision":
            let body = try members()
            // With a runbook the steps are known for each node only.
            if (body["runbook"] ?? .null) == .null { _ = try ProvisionWish(body, version) }
            self = .provision(body)
        case "maintenance":
            let body = try members()
            guard let isSet = body["maintenance"]?.bool else {
                throw Fault(
                    .invalid,
                    "cannot make a job: request.maintenance must be true or false"
                )
            }
            self = .maintenance(
                isSet: isSet,
                reason: body["reason"]?.text.map { String($0.prefix(1024)) }
            )
        case "set":
            _ = try JSONPatchOperation.list(from: request)
            self = .set(request)
        default:
            throw Fault(
                .invalid,
                "cannot make a job: action must be one of \(Self.names.joined(separator: ", "))"
            )
        }
    }

    var action: String {
        switch self {
        case .power: "power"
        case .provision: "provision"
        case .maintenance: "maintenance"
        case .set: "set"
        }
    }

    /// What may be shown of it.
    var target: String? {
        switch self {
        case .power(let order): order.target.rawValue
        case .provision(let body): body["target"]?.text
        case .maintenance(let isSet, _): isSet ? "on" : "off"
        case .set: nil
        }
    }

    /// The part of a node that it changes, for the audit trail.
    var part: String {
        switch self {
        case .power, .provision: "update/states"
        case .maintenance: "update/maintenance"
        case .set: "update"
        }
    }
}

extension NodeQuery {
    /// Reads a job's filter; the names are those of a list's filters.
    /// - Throws: `Fault` of kind `invalid` that names what is wrong.
    init(bulk filter: [String: JSONValue]) throws {
        self.init()
        includesParts = true
        for (name, value) in filter.sorted(by: { $0.key < $1.key }) {
            func text() throws -> String {
                guard let text = value.text, !text.isEmpty else {
                    throw Fault(.invalid, "cannot filter by \(name): it must be a text")
                }
                return text
            }
            func truth() throws -> Bool {
                guard let truth = value.bool else {
                    throw Fault(.invalid, "cannot filter by \(name): it must be true or false")
                }
                return truth
            }
            switch name {
            case "provision_state":
                let state = try text()
                guard ProvisionState.ironicNames.contains(state) else {
                    throw Fault(
                        .invalid,
                        "cannot filter by provision_state “\(state.prefix(40))”: there is no such state"
                    )
                }
                provisionState = state
            case "driver": driver = try text()
            case "resource_class": resourceClass = try text()
            case "conductor_group": conductorGroup = try text()
            case "owner": owner = try text()
            case "lessee": lessee = try text()
            case "shard": shards = [try text()]
            case "chassis_uuid": chassis = try text()
            case "description_contains": descriptionContains = try text()
            case "maintenance": maintenance = try truth()
            case "associated": associated = try truth()
            case "retired": retired = try truth()
            default:
                throw Fault(
                    .invalid,
                    "cannot filter by “\(name.prefix(40))”: there is no such filter"
                )
            }
        }
    }
}
