import Basics
import HTTP
import Protocol
import Store

/// The UUID of a simple resource.
struct ResourceID: Identifier {
    let text: String
    init(unchecked text: String) { self.text = text }
}

/// One chassis, port group, template …: a row whose fields the API shows as they are.
struct Resource: Sendable, Equatable {
    let id: ResourceID
    /// By the API's names; every field of the kind is there.
    var values: [String: JSONValue]
    let createdAt: Timestamp
    var updatedAt: Timestamp?

    /// A field's text; `nil` when it is null or no text.
    func text(_ name: String) -> String? { values[name]?.text }

    /// The node that it belongs to, of kinds that belong to one.
    var node: NodeID? { text("node_uuid").map(NodeID.init(unchecked:)) }
}

/// One field of a kind of resource.
struct ResourceField: Sendable {
    /// What a field may hold.
    enum Shape: Sendable, Equatable {
        /// A text of at most so many bytes.
        case text(max: Int)
        case truth
        case integer(ClosedRange<Int64>)
        case object
        case list
        /// A node, by UUID or name in requests, by UUID in answers.
        case node
        /// The UUID of another resource.
        case reference
    }

    /// The API's name.
    let name: String
    /// The table's column; `nil` for a field that always shows its initial value.
    let column: String?
    let shape: Shape
    /// The minor version that brought it.
    let minor: Int
    /// What a resource has whose request does not name the field; `null` where it may be empty.
    let initial: JSONValue
    let isRequired: Bool
    /// Whether a request may set it at all; when made, and later.
    let isSettable: Bool
    let isPatchable: Bool

    init(
        _ name: String,
        _ column: String?,
        _ shape: Shape,
        minor: Int = 1,
        initial: JSONValue = .null,
        isRequired: Bool = false,
        isSettable: Bool = true,
        isPatchable: Bool? = nil
    ) {
        self.name = name
        self.column = column
        self.shape = shape
        self.minor = minor
        self.initial = initial
        self.isRequired = isRequired
        self.isSettable = isSettable
        self.isPatchable = isPatchable ?? isSettable
    }

    /// Bytes of an object or a list, and levels in it.
    private static let documentBytesMax = 64 << 10
    private static let depthMax = 16

    /// Reads what a request wants the field to be; null is the initial value.
    /// - Throws: `Fault` of kind `invalid` that names the field.
    func read(_ value: JSONValue, of kind: ResourceKind) throws -> JSONValue {
        func wrong(_ what: String) -> Fault {
            Fault(.invalid, "cannot set \(name) of a \(kind.item): it must be \(what)")
        }
        if value == .null {
            guard !isRequired else { throw wrong("there") }
            return initial
        }
        switch shape {
        case .text(let max):
            guard let text = value.text, text.utf8.count <= max, !isRequired || !text.isEmpty else {
                throw wrong("a text of at most \(max) bytes")
            }
        case .node:
            guard let text = value.text, !text.isEmpty else { throw wrong("a node's UUID") }
        case .reference:
            guard let id = value.text.flatMap({ ResourceID($0) }) else { throw wrong("a UUID") }
            return .string(id.text)
        case .truth:
            guard let truth = value.truth else { throw wrong("true or false") }
            return .bool(truth)
        case .integer(let range):
            guard let number = value.wholeNumber, range.contains(number) else {
                throw wrong("a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return .integer(number)
        case .object: guard value.members != nil else { throw wrong("an object") }
        case .list: guard value.elements != nil else { throw wrong("a list") }
        }
        if shape == .object || shape == .list {
            guard value.depth <= Self.depthMax,
                value.canonicalText.utf8.count <= Self.documentBytesMax
            else { throw wrong("shorter or less deep") }
        }
        return value
    }
}

/// A kind of simple resource: its table, its fields, who may see and change it, and its own rules.
///
/// Everything that such resources have in common is driven by this description; `ResourceKind+….swift`
/// holds one description each.
struct ResourceKind: Sendable {
    /// Resources of one kind that a project may own.
    static let ownedMax = 500

    /// Whose a resource is.
    enum Scope: Sendable, Equatable {
        /// The whole installation's; a change takes this role, making and deleting take `admin`.
        case installation(change: Role)
        /// Its node's.
        case node
        /// The project's in the field `owner`; those marked in the field `shared` are for all to see.
        case owner(shared: String?, change: Role)
    }

    /// Below the API's root: `/v1/chassis`.
    let path: String
    let table: String
    /// For messages: `chassis`.
    let item: String
    /// The member of a list's answer.
    let list: String
    /// The minor versions that brought the resource and its PATCH.
    let minor: Int
    var patchMinor: Int = 1
    let scope: Scope
    let fields: [ResourceField]
    /// What a list without details shows.
    let summary: [String]
    /// Whether `…/detail` exists.
    var hasDetail = false
    /// Whether it is found by name as well.
    var isNamed: Bool { fields.contains { $0.name == "name" } }
    /// What a resource of a node takes; to make and delete it, and to change it.
    var making = NodeAccess.Rule.wire
    var changing = NodeAccess.Rule.manage
    /// Fields whose values together belong to one resource only.
    var unique: [[String]] = []
    /// Links to what lies below.
    var below: [String] = []
    /// Names of a query that must equal a field's value.
    var filters: [String] = []
    /// The kind's own rules about values; makes them uniform.
    var check: @Sendable (inout Resource, _ before: Resource?) throws -> Void = { _, _ in }
    /// Rules that need the stored state; a new resource has no `before`.
    var beforeSave: @Sendable (Transaction, Resource, _ before: Resource?) throws -> Void =
        { _, _, _ in }
    var beforeDelete: @Sendable (Transaction, Resource) throws -> Void = { _, _ in }
    /// Changes what an answer shows: hides secrets.
    var mask: @Sendable (inout [String: JSONValue]) -> Void = { _ in }

    /// The field with this name.
    func field(_ name: String) -> ResourceField? { fields.first { $0.name == name } }

    /// A new resource with the initial values.
    func make(id: ResourceID, at now: Timestamp) -> Resource {
        Resource(
            id: id,
            values: Dictionary(
                fields.map { ($0.name, $0.initial) },
                uniquingKeysWith: { $1 }
            ),
            createdAt: now
        )
    }

    /// Puts what a request holds into a resource.
    /// - Throws: `Fault` of kind `invalid` that names the field, `notAcceptable` for a newer version's.
    func read(
        _ members: [String: JSONValue],
        into resource: inout Resource,
        _ version: Microversion,
        isNew: Bool
    ) throws {
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let field = field(name), isNew ? field.isSettable : field.isPatchable else {
                throw Fault(
                    .invalid,
                    "cannot set “\(name.prefix(40))” of a \(item): it has no such field that may be set"
                )
            }
            guard field.minor <= version.minor else {
                throw Fault(
                    .notAcceptable,
                    "cannot set \(name) of a \(item) in API version \(version.text): it exists since 1.\(field.minor)"
                )
            }
            resource.values[name] = try field.read(value, of: self)
        }
        for field in fields where field.isRequired && resource.values[field.name] == .null {
            throw Fault(
                .invalid,
                "cannot make a \(item): the request has no \(field.name)"
            )
        }
    }

    /// Applies a JSON Patch; removing a whole field gives it its initial value.
    /// - Throws: `Fault` of kind `invalid` that names the path.
    func patch(_ patch: JSONValue, _ resource: inout Resource, _ version: Microversion) throws {
        let before = resource
        var document = JSONValue.object(before.values)
        var touched: Set<String> = []
        for operation in try JSONPatchOperation.list(from: patch) {
            let first = operation.path[0]
            guard let field = field(first), field.isPatchable else {
                throw Fault(
                    .invalid,
                    "cannot change /\(operation.path.joined(separator: "/").prefix(80)): a \(item) has no such field that may be changed"
                )
            }
            if operation.verb != .test { touched.insert(first) }
            if operation.path.count == 1, operation.verb == .remove {
                document[first] = field.isRequired ? JSONValue.null : field.initial
            } else {
                try document.apply(operation)
            }
        }
        let members = (document.members ?? [:]).filter { touched.contains($0.key) }
        try read(members, into: &resource, version, isNew: false)
    }
}
