import Basics
import Glibc
import HTTP
import Protocol

/// Rules at work on what an inspection found.
///
/// Core: values in, values out. Texts may hold `{inventory[cpu][count]}`, `{plugin_data[macs][0]}`,
/// `{node[properties][cpus]}` or `{node.name}`; secrets read as `******`.
struct InspectionRun: Sendable, Equatable {
    /// What a rule does to the node.
    private enum Change: Sendable, Equatable {
        case set([String], JSONValue, extending: Bool)
        case remove([String])
        case trait(String, isSet: Bool)
        /// `nil` takes the capability away.
        case capability(String, String?)
    }

    /// All that was done, in order.
    private var changes: [Change] = []
    private var document: JSONValue
    private var traits: [String]
    private let inventory: JSONValue
    private(set) var pluginData: JSONValue

    /// Characters of a value that a regular expression looks at.
    private static let textMax = 4096

    init(node: Node, inventory: JSONValue, pluginData: JSONValue) {
        document = NodeEdits.document(of: node)
        traits = node.traits
        self.inventory = inventory
        self.pluginData = pluginData
    }

    /// Applies a rule if all its conditions hold.
    /// - Throws: `Fault` when the rule fails the inspection or cannot be applied.
    mutating func apply(_ rule: Resource) throws {
        for condition in rule.values["conditions"]?.elements ?? [] {
            let step = try RuleStep(condition, InspectionRules.operators, "a condition")
            guard try holds(step) else { return }
        }
        for action in rule.values["actions"]?.elements ?? [] {
            let step = try RuleStep(action, InspectionRules.actions, "an action")
            for item in step.items {
                try act(
                    step.operation,
                    step.arguments.mapValues { filled($0, item) },
                    of: rule
                )
            }
        }
    }

    /// Does to a node what the rules did to the one that they looked at.
    ///
    /// What somebody edited meanwhile stays, as far as no rule is about it.
    func change(_ node: inout Node, at now: Timestamp) throws {
        try change(&node, by: changes, at: now)
    }

    /// As `change`, but what no longer fits the node is left out.
    ///
    /// - Returns: why something was left out, one sentence each.
    func changeAsFarAsPossible(_ node: inout Node, at now: Timestamp) -> [String] {
        var whole = node
        do {
            try change(&whole, at: now)
            node = whole
            return []
        } catch {
            var complaints: [String] = []
            for step in changes {
                var next = node
                do {
                    try change(&next, by: [step], at: now)
                    node = next
                } catch {
                    complaints.append(Fault(error).message)
                }
            }
            return complaints
        }
    }

    private func change(_ node: inout Node, by changes: [Change], at now: Timestamp) throws {
        var document = NodeEdits.document(of: node)
        let old = document.members ?? [:]
        var traits = node.traits
        for change in changes { try Self.make(change, in: &document, &traits) }
        let new = (document.members ?? [:]).filter { old[$0.key] != $0.value }
        for name in new.keys.sorted() where !InspectionRules.attributes.contains(name) {
            throw Fault(.invalid, "cannot apply the inspection rules: they may not change \(name)")
        }
        for trait in traits { try Trait.check(trait, "a trait") }
        try NodeEdits.read(new, into: &node, at: now)
        node.traits = traits.sorted()
    }

    /// The names of a path, with slashes or dots between them.
    static func names(_ path: String) -> [String] {
        let separator: Character = path.contains("/") ? "/" : "."
        return path.split(separator: separator).map(String.init)
    }

    // MARK: - Conditions

    private func holds(_ step: RuleStep) throws -> Bool {
        var results: [Bool] = []
        for item in step.items {
            let arguments = step.arguments.mapValues { filled($0, item, step.operation) }
            results.append(try Self.test(step.operation, arguments) != step.isInverted)
        }
        switch step.multiple {
        case "all": return results.allSatisfy { $0 }
        case "last": return results.last ?? false
        default: return results.contains(true)
        }
    }

    private static func test(_ operation: String, _ arguments: [String: JSONValue]) throws -> Bool {
        let value = arguments["value"] ?? .null
        switch operation {
        case "eq", "lt", "gt":
            let values = arguments["values"]?.elements ?? []
            return zip(values, values.dropFirst()).allSatisfy { compare(operation, $0, $1) }
        case "is-empty": return ["", "None", "[]", "{}"].contains(text(value))
        case "is-none": return value == .null || value == "None"
        case "is-true":
            return value.bool ?? ["yes", "true", "1"].contains(text(value).lowercased())
        case "is-false":
            return value.bool.map { !$0 }
                ?? ["no", "false", "0", "none"].contains(text(value).lowercased())
        case "one-of":
            return (arguments["values"]?.elements ?? []).contains { compare("eq", value, $0) }
        case "in-net":
            return try isIn(text(arguments["address"] ?? .null), text(arguments["subnet"] ?? .null))
        default:
            let subject = String(text(value).prefix(textMax))
            let pattern = text(arguments["regex"] ?? .null)
            do {
                let regex = try Regex(pattern)
                return operation == "matches"
                    ? try regex.wholeMatch(in: subject) != nil
                    : try regex.firstMatch(in: subject) != nil
            } catch {
                throw Fault(
                    .invalid,
                    "cannot apply an inspection rule: “\(pattern.prefix(80))” is no regular expression"
                )
            }
        }
    }

    /// Numbers are compared as numbers, also those in texts; everything else as text.
    private static func compare(_ operation: String, _ left: JSONValue, _ right: JSONValue) -> Bool
    {
        if let first = Double(text(left)), let second = Double(text(right)) {
            return operation == "eq"
                ? first == second : operation == "lt" ? first < second : first > second
        }
        let (first, second) = (text(left), text(right))
        return operation == "eq"
            ? first == second : operation == "lt" ? first < second : first > second
    }

    private static func isIn(_ address: String, _ subnet: String) throws -> Bool {
        let parts = subnet.split(separator: "/", maxSplits: 1).map(String.init)
        guard let network = parts.first.flatMap(bytes) else {
            throw Fault(
                .invalid,
                "cannot apply an inspection rule: “\(subnet.prefix(80))” is no subnet"
            )
        }
        let bits = parts.count == 2 ? Int(parts[1]) : network.count * 8
        guard let bits, (0...network.count * 8).contains(bits), let own = bytes(address),
            own.count == network.count
        else { return false }
        return (0..<bits).allSatisfy { bit in
            let mask = UInt8(0x80) >> UInt8(bit % 8)
            return own[bit / 8] & mask == network[bit / 8] & mask
        }
    }

    private static func bytes(_ address: String) -> [UInt8]? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, address, &bytes) == 1 { return bytes }
        }
        return nil
    }

    // MARK: - Actions

    private mutating func act(
        _ operation: String,
        _ arguments: [String: JSONValue],
        of rule: Resource
    ) throws {
        let path = Self.names(arguments["path"]?.text ?? "")
        let value = arguments["value"] ?? .null
        let name = arguments["name"]?.text ?? ""
        switch operation {
        case "fail":
            throw Fault(
                .invalid,
                "cannot inspect the node: rule \(rule.text("description") ?? rule.id.text) says: \(Self.text(arguments["msg"] ?? .null).prefix(400))"
            )
        case "set-attribute": try note(.set(path, value, extending: false))
        case "extend-attribute": try note(.set(path, value, extending: true))
        case "del-attribute": try note(.remove(path))
        case "set-plugin-data": try pluginData.set(path[...], value, extending: false)
        case "extend-plugin-data": try pluginData.set(path[...], value, extending: true)
        case "unset-plugin-data": pluginData.remove(path[...])
        case "add-trait": try note(.trait(name, isSet: true))
        case "remove-trait": try note(.trait(name, isSet: false))
        case "set-capability": try note(.capability(name, Self.text(value)))
        case "unset-capability": try note(.capability(name, nil))
        // `log`: the rule itself is the record.
        default: return
        }
    }

    private mutating func note(_ change: Change) throws {
        try Self.make(change, in: &document, &traits)
        changes.append(change)
    }

    private static func make(
        _ change: Change,
        in document: inout JSONValue,
        _ traits: inout [String]
    ) throws {
        switch change {
        case .set(let path, let value, let extending):
            try document.set(path[...], value, extending: extending)
        case .remove(let path) where path.count == 1:
            let isObject = document[path[0]]?.members != nil
            document[path[0]] = isObject ? [:] : JSONValue.null
        case .remove(let path): document.remove(path[...])
        case .trait(let name, let isSet):
            traits.removeAll { $0 == name }
            if isSet { traits.append(name) }
        case .capability(let name, let value): setCapability(name, value, in: &document)
        }
    }

    private static func setCapability(
        _ name: String,
        _ value: String?,
        in document: inout JSONValue
    ) {
        let old = document["properties"]?["capabilities"]?.text ?? ""
        var pairs = old.split(separator: ",").map(String.init)
        pairs.removeAll { $0.hasPrefix(name + ":") }
        if let value { pairs.append("\(name):\(value)") }
        var properties = document["properties"] ?? [:]
        properties["capabilities"] = .string(pairs.sorted().joined(separator: ","))
        document["properties"] = properties
    }

    // MARK: - Texts with places to fill

    private func filled(
        _ value: JSONValue,
        _ item: JSONValue?,
        _ operation: String = ""
    ) -> JSONValue {
        switch value {
        case .string(let text):
            // What an item brings may have places to fill itself.
            let once = filled(text, item, operation)
            guard item != nil, let again = once.text, again != text else { return once }
            return filled(again, nil, operation)
        case .array(let values): return .array(values.map { filled($0, item, operation) })
        case .object(let members):
            return .object(members.mapValues { filled($0, item, operation) })
        case .null, .bool, .integer, .number: return value
        }
    }

    private func filled(_ text: String, _ item: JSONValue?, _ operation: String) -> JSONValue {
        var result = ""
        var rest = text[...]
        while let open = rest.firstIndex(of: "{") {
            guard let close = rest[open...].firstIndex(of: "}") else { break }
            result += rest[..<open]
            let place = rest[rest.index(after: open)..<close]
            if let found = look(place, item) {
                result += Self.text(found)
            } else if operation == "is-empty" {
                return .null
            } else {
                result += rest[open...close]
            }
            rest = rest[rest.index(after: close)...]
        }
        return .string(result + rest)
    }

    private func look(_ place: Substring, _ item: JSONValue?) -> JSONValue? {
        let names = place.split { $0 == "[" || $0 == "]" || $0 == "." }.map(String.init)
        var value: JSONValue?
        switch names.first {
        case "inventory": value = inventory
        case "plugin_data": value = pluginData
        case "node": value = document
        case "item": value = item
        default: return nil
        }
        for name in names.dropFirst() {
            switch value {
            case .object(let members): value = members[name]
            case .array(let values):
                value = Int(name).flatMap { values.indices.contains($0) ? values[$0] : nil }
            default: return nil
            }
        }
        return value
    }

    /// As Ironic writes a value into a text.
    private static func text(_ value: JSONValue) -> String {
        switch value {
        case .null: "None"
        case .bool(let truth): truth ? "True" : "False"
        case .string, .integer, .number: value.plainText ?? ""
        case .array, .object: value.canonicalText
        }
    }
}

extension JSONValue {
    /// Sets what a path names, or adds to the list there; objects on the way are made.
    /// - Throws: `Fault` of kind `invalid` when something on the way is no object.
    fileprivate mutating func set(
        _ path: ArraySlice<String>,
        _ value: JSONValue,
        extending: Bool
    ) throws {
        let wrong = Fault(
            .invalid,
            "cannot apply an inspection rule: its path ends at “\(path.joined(separator: "/").prefix(80))”"
        )
        guard let name = path.first, var members else { throw wrong }
        if path.count > 1 {
            var child = members[name] ?? [:]
            if child == .null { child = [:] }
            try child.set(path.dropFirst(), value, extending: extending)
            members[name] = child
        } else if extending {
            guard let list = (members[name] ?? []).elements else { throw wrong }
            members[name] = .array(list.contains(value) ? list : list + [value])
        } else {
            members[name] = value
        }
        self = .object(members)
    }

    /// Takes away what a path names, if it is there.
    fileprivate mutating func remove(_ path: ArraySlice<String>) {
        guard let name = path.first, var members, var child = members[name] else { return }
        if path.count > 1 {
            child.remove(path.dropFirst())
            members[name] = child
        } else {
            members[name] = nil
        }
        self = .object(members)
    }
}
