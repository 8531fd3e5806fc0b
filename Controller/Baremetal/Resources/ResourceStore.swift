import Basics
import GRDB
import HTTP
import Protocol
import Store

/// Which resources a list shows and in which order.
struct ResourceQuery: Sendable {
    /// By the API's names.
    var equal: [String: JSONValue] = [:]
    /// Only those of nodes in one of these shards or conductor groups.
    var shards: [String]?
    var conductorGroups: [String]?
    /// Only those with these words in their description.
    var descriptionContains: String?
    /// Only what this project may see; `nil` sees all.
    var visibleTo: String?
    var marker: ResourceID?
    var limit = NodeQuery.limitMax
    /// A field's name, `created_at`, `updated_at`, `uuid` or `id`, the order of registration.
    var sortKey = "id"
    var descending = false
}

extension ResourceKind {
    /// An expression without NULL to sort by; `nil` when there is none for this name.
    func sortColumn(_ name: String) -> String? {
        switch name {
        case "id": return "serial"
        case "uuid": return "id"
        case "created_at": return "createdAt"
        case "updated_at": return "COALESCE(updatedAt, 0)"
        default:
            guard let field = field(name), let column = field.column else { return nil }
            switch field.shape {
            case .text, .node, .reference: return "COALESCE(\(column), '')"
            case .truth, .integer: return "COALESCE(\(column), 0)"
            case .object, .list: return nil
            }
        }
    }

    /// The condition by which a project sees a row, with one `:project`; empty where only the whole
    /// installation sees any.
    fileprivate var visibility: String {
        switch scope {
        case .installation: "1 = 0"
        case .node:
            """
            EXISTS (SELECT 1 FROM node WHERE node.id = \(table).node
                    AND (node.owner = :project OR node.lessee = :project))
            """
        case .owner(let shared, _):
            "(owner = :project\(shared.map { " OR \(field($0)?.column ?? "0") = TRUE" } ?? ""))"
        }
    }

    fileprivate func resource(_ row: Row) throws -> Resource {
        var resource = make(
            id: ResourceID(unchecked: row["id"]),
            at: Timestamp(nanoseconds: row["createdAt"])
        )
        resource.updatedAt = (row["updatedAt"] as Int64?).map(Timestamp.init(nanoseconds:))
        for field in fields {
            guard let column = field.column, row.hasNonNullValue(atColumn: column) else { continue }
            resource.values[field.name] =
                switch field.shape {
                case .text, .node, .reference: .string(row[column])
                case .truth: .bool(row[column])
                case .integer: .integer(row[column])
                case .object, .list: try JSONValue(parsing: (row[column] as String).utf8)
                }
        }
        return resource
    }

    fileprivate func columns(
        _ resource: Resource
    ) -> [String: (any DatabaseValueConvertible)?] {
        var columns: [String: (any DatabaseValueConvertible)?] = [
            "id": resource.id.text, "createdAt": resource.createdAt.nanoseconds,
            "updatedAt": resource.updatedAt?.nanoseconds,
        ]
        for field in fields {
            guard let column = field.column else { continue }
            columns[column] = field.stored(resource.values[field.name] ?? field.initial)
        }
        return columns
    }
}

extension Row {
    fileprivate func hasNonNullValue(atColumn column: String) -> Bool {
        guard let value: DatabaseValue = self[column] else { return false }
        return !value.isNull
    }
}

extension ResourceField {
    fileprivate func stored(_ value: JSONValue) -> (any DatabaseValueConvertible)? {
        switch value {
        case .null: nil
        case .string(let text): text
        case .bool(let truth): truth
        case .integer(let number): number
        case .number(let number): number
        case .array, .object: value.canonicalText
        }
    }
}

extension Transaction {
    /// The resource with this UUID, or with this name where the kind has names; `nil` when there is none.
    func resource(_ kind: ResourceKind, _ reference: String) throws -> Resource? {
        if let id = ResourceID(reference) {
            let row = try Row.fetchOne(
                sql,
                sql: "SELECT * FROM \(kind.table) WHERE id = ?",
                arguments: [id.text]
            )
            if let row { return try kind.resource(row) }
        }
        guard kind.isNamed else { return nil }
        return try Row.fetchOne(
            sql,
            sql: "SELECT * FROM \(kind.table) WHERE name = ?",
            arguments: [reference]
        ).map(kind.resource)
    }

    /// The resources of one page.
    /// - Throws: `Fault` of kind `invalid` for a sort key or a marker that is none.
    func resources(_ kind: ResourceKind, _ query: ResourceQuery) throws -> [Resource] {
        var conditions: [String] = []
        var arguments: [String: (any DatabaseValueConvertible)?] = [:]
        for (name, value) in query.equal.sorted(by: { $0.key < $1.key }) {
            guard let field = kind.field(name), let column = field.column else { continue }
            conditions.append("\(column) = :equal_\(column)")
            arguments["equal_\(column)"] = field.stored(value)
        }
        for (column, values) in [
            ("shard", query.shards), ("conductorGroup", query.conductorGroups),
        ] {
            guard let values, !values.isEmpty else { continue }
            let names = values.indices.map { ":\(column)_\($0)" }
            for (index, value) in values.enumerated() { arguments["\(column)_\(index)"] = value }
            conditions.append(
                """
                EXISTS (SELECT 1 FROM node WHERE node.id = \(kind.table).node
                        AND node.\(column) IN (\(names.joined(separator: ", "))))
                """
            )
        }
        if let words = query.descriptionContains {
            conditions.append("instr(COALESCE(description, ''), :words) > 0")
            arguments["words"] = words
        }
        if let project = query.visibleTo {
            conditions.append(kind.visibility)
            if kind.visibility.contains(":project") { arguments["project"] = project }
        }
        guard let column = kind.sortColumn(query.sortKey) else {
            throw Fault(
                .invalid,
                "cannot sort \(kind.item) by “\(query.sortKey.prefix(40))”: choose another field"
            )
        }
        if let marker = query.marker {
            guard try resource(kind, marker.text) != nil else {
                throw Fault(
                    .invalid,
                    "cannot list \(kind.item): the marker \(marker) is none; start anew"
                )
            }
            conditions.append(
                """
                (\(column), serial) \(query.descending ? "<" : ">")
                (SELECT \(column), serial FROM \(kind.table) WHERE id = :marker)
                """
            )
            arguments["marker"] = marker.text
        }
        let filter = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
        let order = query.descending ? "DESC" : "ASC"
        arguments["limit"] = min(max(query.limit, 1), NodeQuery.limitMax)
        return try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM \(kind.table) \(filter)
                ORDER BY \(column) \(order), serial \(order) LIMIT :limit
                """,
            arguments: StatementArguments(arguments)
        ).map(kind.resource)
    }

    /// Stores a resource, new (without `before`) or changed.
    /// - Throws: `Fault` of kind `conflict` when another one has what only one may have.
    func save(
        _ kind: ResourceKind,
        _ resource: Resource,
        before: Resource?,
        at now: Timestamp
    ) throws {
        for names in kind.unique { try checkUnique(kind, resource, names) }
        let values = kind.columns(resource)
        if before == nil {
            let names = values.keys.sorted()
            try sql.execute(
                sql: """
                    INSERT INTO \(kind.table) (\(names.joined(separator: ", ")))
                    VALUES (\(names.map { ":\($0)" }.joined(separator: ", ")))
                    """,
                arguments: StatementArguments(values)
            )
        } else {
            let names = values.keys.filter { $0 != "id" }.sorted()
            try sql.execute(
                sql: """
                    UPDATE \(kind.table)
                    SET \(names.map { "\($0) = :\($0)" }.joined(separator: ", ")) WHERE id = :id
                    """,
                arguments: StatementArguments(values)
            )
        }
        try record(
            kind: kind.table,
            id: resource.id.text,
            before: before == nil ? "" : "present",
            after: "present",
            cause: before == nil ? "registered" : "updated",
            at: now
        )
    }

    private func checkUnique(_ kind: ResourceKind, _ resource: Resource, _ names: [String]) throws {
        let fields = names.compactMap(kind.field)
        let values = fields.map { $0.stored(resource.values[$0.name] ?? .null) }
        guard values.allSatisfy({ $0 != nil }) else { return }
        let conditions = fields.compactMap(\.column).map { "\($0) = ?" }
        let isTaken = try Bool.fetchOne(
            sql,
            sql: """
                SELECT EXISTS (SELECT 1 FROM \(kind.table)
                               WHERE \(conditions.joined(separator: " AND ")) AND id <> ?)
                """,
            arguments: StatementArguments(values + [resource.id.text])
        )
        guard isTaken == true else { return }
        // Which one has it is not said: it may be of a project that the caller knows nothing of.
        let described = fields.map {
            "\($0.name) “\(resource.values[$0.name]?.plainText?.prefix(80) ?? "")”"
        }
        throw Fault(
            .conflict,
            "cannot save \(kind.item) \(resource.id): another one has \(described.joined(separator: " and ")) already; choose another or delete it first"
        )
    }

    /// Takes a resource away.
    func delete(_ kind: ResourceKind, _ resource: Resource, at now: Timestamp) throws {
        try sql.execute(
            sql: "DELETE FROM \(kind.table) WHERE id = ?",
            arguments: [resource.id.text]
        )
        try record(
            kind: kind.table,
            id: resource.id.text,
            before: "present",
            after: "",
            cause: "removed",
            at: now
        )
    }

    /// How many rows of another table name a resource: a chassis's nodes, a port group's ports.
    func count(_ table: String, where column: String, is id: String) throws -> Int {
        try Int.fetchOne(
            sql,
            sql: "SELECT COUNT(*) FROM \(table) WHERE \(column) = ?",
            arguments: [id]
        ) ?? 0
    }
}
