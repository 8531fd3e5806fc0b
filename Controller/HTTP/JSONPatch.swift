import Basics

/// One operation of a JSON Patch (RFC 6902), as Bare Metal and Image take it: `add`, `replace`, `remove`, `test`.
package struct JSONPatchOperation: Sendable, Equatable {
    /// What to do with the value at the path.
    package enum Verb: String, Sendable {
        case add, replace, remove, test
    }

    package let verb: Verb
    /// The path's names, unescaped; at least one.
    package let path: [String]
    /// `null` for `remove`.
    package let value: JSONValue

    package init(verb: Verb, path: [String], value: JSONValue = .null) {
        self.verb = verb
        self.path = path
        self.value = value
    }

    /// Operations of one patch at most.
    package static let countMax = 256

    /// Reads a patch document.
    /// - Throws: `Fault` of kind `invalid` that names the operation.
    package static func list(from document: JSONValue) throws -> [JSONPatchOperation] {
        guard let elements = document.elements, elements.count <= countMax else {
            throw Fault(
                .invalid,
                "cannot read the patch: it must be a list of at most \(countMax) operations"
            )
        }
        return try elements.enumerated().map { index, element in
            guard let word = element["op"]?.text, let verb = Verb(rawValue: word) else {
                throw Fault(
                    .invalid,
                    "cannot read operation \(index) of the patch: “op” must be add, replace, remove or test"
                )
            }
            guard let pointer = element["path"]?.text, let path = names(of: pointer) else {
                throw Fault(
                    .invalid,
                    "cannot read operation \(index) of the patch: “path” must begin with / and name something"
                )
            }
            guard let value = element["value"] ?? (verb == .remove ? JSONValue.null : nil)
            else {
                throw Fault(
                    .invalid,
                    "cannot read operation \(index) of the patch: it has no “value”"
                )
            }
            return JSONPatchOperation(verb: verb, path: path, value: value)
        }
    }

    /// The names of a JSON Pointer (RFC 6901).
    private static func names(of pointer: String) -> [String]? {
        guard pointer.hasPrefix("/"), pointer.utf8.count > 1 else { return nil }
        return pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map {
            name in
            name.split(separator: "~1", omittingEmptySubsequences: false).map { part in
                part.split(separator: "~0", omittingEmptySubsequences: false).joined(separator: "~")
            }.joined(separator: "/")
        }
    }
}

extension JSONValue {
    /// Applies one operation.
    ///
    /// - Throws: `Fault` of kind `invalid` when the path does not exist, or a test fails (`conflict`).
    package mutating func apply(_ operation: JSONPatchOperation) throws {
        try apply(operation, path: operation.path[...])
    }

    private mutating func apply(_ operation: JSONPatchOperation, path: ArraySlice<String>) throws {
        let missing = Fault(
            .invalid,
            "cannot \(operation.verb.rawValue) /\(operation.path.joined(separator: "/")): there is no such member"
        )
        guard let name = path.first else { throw missing }
        let isLast = path.count == 1
        switch self {
        case .object(var members):
            if isLast {
                try Self.change(&members[name], operation, missing: missing)
            } else {
                guard var child = members[name] else { throw missing }
                members[name] = nil
                try child.apply(operation, path: path.dropFirst())
                members[name] = child
            }
            self = .object(members)
        case .array(var values):
            if isLast, name == "-", operation.verb == .add {
                values.append(operation.value)
            } else {
                guard let index = Int(name), index >= 0 else { throw missing }
                if isLast, operation.verb == .add, index <= values.count {
                    values.insert(operation.value, at: index)
                } else {
                    guard index < values.count else { throw missing }
                    if isLast {
                        var element: JSONValue? = values[index]
                        try Self.change(&element, operation, missing: missing)
                        if let element { values[index] = element } else { values.remove(at: index) }
                    } else {
                        try values[index].apply(operation, path: path.dropFirst())
                    }
                }
            }
            self = .array(values)
        default: throw missing
        }
    }

    private static func change(
        _ member: inout JSONValue?,
        _ operation: JSONPatchOperation,
        missing: Fault
    ) throws {
        switch operation.verb {
        case .add: member = operation.value
        case .replace:
            guard member != nil else { throw missing }
            member = operation.value
        case .remove:
            guard member != nil else { throw missing }
            member = nil
        case .test:
            guard member == operation.value else {
                throw Fault(
                    .conflict,
                    "cannot apply the patch: /\(operation.path.joined(separator: "/")) has another value; read the object again"
                )
            }
        }
    }
}
