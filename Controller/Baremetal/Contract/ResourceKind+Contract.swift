import HTTP

// What the routes of simple resources take and answer, made from their descriptions.

extension ResourceKind {
    /// `VolumeTarget`, from `volume target`.
    private var typeName: String {
        item.split(separator: " ").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// As answers show it; older versions, `fields` and lists show fewer members.
    private var schema: Schema {
        var members = Dictionary(
            fields.map { ($0.name, $0.answered) },
            uniquingKeysWith: { $1 }
        )
        members["uuid"] = .uuid
        members["created_at"] = .time
        members["updated_at"] = .timeOrNull
        for name in below + ["links"] { members[name] = .links }
        return Schema.object(members, required: ["links"]).named(typeName)
    }

    private var draft: Schema {
        var members = Dictionary(
            fields.filter(\.isSettable).map { ($0.name, $0.requested) },
            uniquingKeysWith: { $1 }
        )
        members["uuid"] = Schema.uuid.orNull
        var required = fields.filter { $0.isSettable && $0.isRequired }.map(\.name)
        if table == Self.port.table {
            // Since 1.94 it may be named in either way.
            members["node_ident"] = .text
            required.removeAll { $0 == "node_uuid" }
        }
        if table == Self.allocation.table { members["node"] = .text }
        return Schema.object(members, required: required).named("New" + typeName)
    }

    private var parameters: [Operation.Parameter] {
        var parameters: [Operation.Parameter] = .listing
        parameters += filters.map { name in .init(name) }
        if field("node_uuid") != nil { parameters += [.init("node"), .init("node_uuid")] }
        if field("address") != nil { parameters.append(.init("address")) }
        parameters += datedFilters.map { .init($0.name, .text, "Since 1.\($0.minor).") }
        if scope == .node { parameters += [.init("shard"), .init("conductor_groups")] }
        if table == Self.port.table { parameters.append(.init("portgroup")) }
        return parameters.reduce(into: []) { all, parameter in
            if !all.contains(where: { $0.name == parameter.name }) { all.append(parameter) }
        }
    }

    /// A list; `what` says of what: ` of a node`.
    func listing(_ what: String = "", isDetailed: Bool) -> Operation {
        Operation(
            "List \(list.replacing("_", with: " "))\(what)\(isDetailed ? " with all fields" : "")",
            parameters,
            answers: .ok(.page(list, of: schema))
        )
    }

    func showing(_ what: String = "") -> Operation {
        Operation("Show a \(item)\(what)", [.fields], answers: .ok(schema))
    }

    var creation: Operation {
        Operation("Create a \(item)", takes: .json(draft), answers: .created(schema))
    }

    var change: Operation {
        Operation("Change a \(item)", takes: .json(.patch), answers: .ok(schema))
    }

    func deletion(_ what: String = "") -> Operation {
        Operation("Delete a \(item)\(what)", answers: .nothing)
    }
}

extension Operation {
    static let showVolume = Operation(
        "Show where volume connectors and targets are",
        answers: .ok(
            .object(
                ["links": .links, "connectors": .links, "targets": .links],
                required: ["links", "connectors", "targets"]
            )
        )
    )
}

extension ResourceField {
    /// As a request may write it; null is the initial value.
    fileprivate var requested: Schema {
        let schema: Schema =
            switch shape {
            case .text(let max): .text(max: max, min: isRequired ? 1 : 0)
            case .truth: .truth
            case .integer(let range): .integer(range)
            case .object: .document
            case .list: .list(of: .any)
            case .node: .text(max: 255, min: 1)
            case .reference: .uuid
            }
        return isRequired ? schema : schema.orNull
    }

    /// As an answer shows it; secrets may be hidden by null.
    fileprivate var answered: Schema {
        let schema: Schema =
            switch shape {
            case .text: .text
            case .truth: .truth
            case .integer: .integer
            case .object: .document
            case .list: .list(of: .any)
            case .node, .reference: .uuid
            }
        let noted = minor > 1 ? schema.orNull.note("Since 1.\(minor).") : schema.orNull
        return noted
    }
}
