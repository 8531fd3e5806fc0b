import Basics
import HTTP
import Protocol
import Store

/// What inspection rules may say: the operators of Ironic's rule engine that this server applies.
enum InspectionRules {
    /// A condition's operators, with their arguments in the order of the list form.
    static let operators: [String: [String]] = [
        "eq": ["values"], "lt": ["values"], "gt": ["values"], "is-empty": ["value"],
        "in-net": ["address", "subnet"], "matches": ["value", "regex"],
        "contains": ["value", "regex"], "one-of": ["value", "values"], "is-none": ["value"],
        "is-true": ["value"], "is-false": ["value"],
    ]
    /// Actions, with their arguments in the order of the list form.
    ///
    /// Ironic's actions on ports are missing, and so is the one that calls any address.
    static let actions: [String: [String]] = [
        "fail": ["msg"], "log": ["msg"], "set-attribute": ["path", "value"],
        "extend-attribute": ["path", "value"], "del-attribute": ["path"],
        "set-capability": ["name", "value"], "unset-capability": ["name"], "add-trait": ["name"],
        "remove-trait": ["name"], "set-plugin-data": ["path", "value"],
        "extend-plugin-data": ["path", "value"], "unset-plugin-data": ["path"],
    ]
    /// The node's fields that rules may change.
    static let attributes: Set<String> = [
        "driver_info", "properties", "extra", "instance_info", "network_data", "resource_class",
        "description", "owner", "lessee", "shard", "conductor_group", "automated_clean",
        "protected", "protected_reason", "retired", "retired_reason",
    ]

    /// - Throws: `Fault` of kind `invalid` that names the condition or action.
    static func check(_ rule: Resource) throws {
        let conditions = rule.values["conditions"]?.elements ?? []
        for (index, condition) in conditions.enumerated() {
            let step = try RuleStep(condition, operators, "condition \(index)")
            if let regex = step.arguments["regex"]?.text, !regex.contains("{") {
                do {
                    _ = try Regex(regex)
                } catch {
                    throw Fault(
                        .invalid,
                        "cannot take condition \(index) of the inspection rule: “\(regex.prefix(80))” is no regular expression"
                    )
                }
            }
        }
        let actions = rule.values["actions"]?.elements ?? []
        guard !actions.isEmpty else {
            throw Fault(.invalid, "cannot take the inspection rule: it has no actions")
        }
        for (index, action) in actions.enumerated() {
            let step = try RuleStep(action, Self.actions, "action \(index)")
            guard step.operation.hasSuffix("-attribute") else { continue }
            let path = InspectionRun.names(step.arguments["path"]?.text ?? "")
            guard let first = path.first, first.contains("{") || attributes.contains(first) else {
                throw Fault(
                    .invalid,
                    "cannot take action \(index) of the inspection rule: rules may not change “\(path.first?.prefix(40) ?? "")” of a node"
                )
            }
        }
    }
}

/// A condition or an action, its arguments by name.
struct RuleStep: Sendable {
    let operation: String
    /// Whether the condition holds when its operator says no.
    let isInverted: Bool
    let arguments: [String: JSONValue]
    /// What it is repeated for; one time without anything when it has no loop.
    let items: [JSONValue?]
    /// Of a repeated condition: `any`, `all`, `first` or `last` must hold.
    let multiple: String

    /// Reads one of a rule; `place` is named in the message.
    /// - Throws: `Fault` of kind `invalid`.
    init(_ step: JSONValue, _ known: [String: [String]], _ place: String) throws {
        func wrong(_ what: String) -> Fault {
            Fault(.invalid, "cannot take \(place) of the inspection rule: \(what)")
        }
        let word = step["op"]?.text ?? ""
        isInverted = word.hasPrefix("!")
        operation = isInverted ? String(word.dropFirst().drop { $0 == " " }) : word
        guard let wanted = known[operation] else {
            throw wrong("this server has no operator “\(operation.prefix(40))”")
        }
        switch step["args"] {
        case .object(let members): arguments = members
        case .array(let values):
            arguments = Dictionary(zip(wanted, values)) { first, _ in first }
        default: throw wrong("it has no args")
        }
        for name in wanted where arguments[name] == nil {
            throw wrong("\(operation) has no argument \(name)")
        }
        switch step["loop"] {
        case nil, .null: items = [nil]
        case .array(let values) where values.isEmpty: items = [nil]
        case .array(let values): items = values
        case .object(let members): items = [.object(members)]
        default: throw wrong("its loop is neither a list nor an object")
        }
        multiple = step["multiple"]?.text ?? "any"
        guard ["any", "all", "first", "last"].contains(multiple) else {
            throw wrong("multiple must be any, all, first or last")
        }
    }
}

extension NodesService {
    /// What the stored rules make of an inspection, those of high priority first.
    ///
    /// `node` is as the inspection itself leaves it.
    /// - Throws: `Fault` when a rule says that the inspection failed, or cannot be applied.
    func applyRules(
        to node: Node,
        inventory: JSONValue,
        pluginData: JSONValue
    ) async throws -> InspectionRun {
        var query = ResourceQuery()
        query.sortKey = "priority"
        query.descending = true
        let rules = try await database.read { [query] in
            try $0.resources(.inspectionRule, query)
        }
        var run = InspectionRun(node: node, inventory: inventory, pluginData: pluginData)
        for rule in rules { try run.apply(rule) }
        var changed = node
        try run.change(&changed, at: time.now)
        try check(changed)
        return run
    }
}
