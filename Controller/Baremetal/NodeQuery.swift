import Basics
import GRDB
package import Protocol
package import Store

/// Which nodes a list shows and in which order.
package struct NodeQuery: Sendable, Equatable {
    package var provisionState: String?
    package var maintenance: Bool?
    /// Whether an instance is on the node.
    package var associated: Bool?
    package var instanceID: String?
    package var driver: String?
    package var resourceClass: String?
    package var conductorGroup: String?
    package var owner: String?
    package var lessee: String?
    package var retired: Bool?
    package var descriptionContains: String?
    package var instanceName: String?
    package var chassis: String?
    /// Only the parts of this node.
    package var parent: NodeID?
    /// Whether parts of nodes are listed as well; without `parent`.
    package var includesParts = false
    package var shards: [String]?
    /// Whether the node is in a shard.
    package var sharded: Bool?
    /// Only nodes that this project owns or leases.
    package var project: String?
    /// Whether nothing is asked for that any node has: another conductor's nodes, faults.
    package var isEmpty = false
    /// Only nodes of this owner or lessee; set for those who do not speak for the whole installation.
    package var visibleTo: String?
    /// The last node of the page before.
    package var marker: NodeID?
    /// 1 ...
    ///
    /// `limitMax`.
    package var limit = NodeQuery.limitMax
    package var sortKey: SortKey = .serial
    package var descending = false

    /// Nodes of one page.
    package static let limitMax = 1000

    package init() {}

    /// By what a list may be sorted.
    ///
    /// The raw values are the API's names.
    package enum SortKey: String, Sendable, CaseIterable {
        case serial = "id"
        case id = "uuid"
        case name
        case driver
        case provisionState = "provision_state"
        case powerState = "power_state"
        case instanceID = "instance_uuid"
        case resourceClass = "resource_class"
        case owner
        case lessee
        case shard
        case description
        case conductorGroup = "conductor_group"
        case instanceName = "instance_name"
        case chassis = "chassis_uuid"
        case allocation = "allocation_uuid"
        case parent = "parent_node"
        case maintenance
        case retired
        case protected
        case lastError = "last_error"
        case inspectionStartedAt = "inspection_started_at"
        case inspectionFinishedAt = "inspection_finished_at"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
        case stateSince = "provision_updated_at"

        /// An expression without NULL, so that a page can begin after any row.
        var column: String {
            switch self {
            case .serial: "serial"
            case .id: "id"
            case .name: "COALESCE(name, '')"
            case .driver: "driver"
            case .provisionState: "provisionState"
            case .powerState: "COALESCE(powerState, '')"
            case .instanceID: "COALESCE(instanceID, '')"
            case .resourceClass: "COALESCE(resourceClass, '')"
            case .owner: "COALESCE(owner, '')"
            case .lessee: "COALESCE(lessee, '')"
            case .shard: "COALESCE(shard, '')"
            case .description: "COALESCE(description, '')"
            case .conductorGroup: "conductorGroup"
            case .instanceName: "COALESCE(instanceName, '')"
            case .chassis: "COALESCE(chassis, '')"
            case .allocation: "COALESCE(allocation, '')"
            case .parent: "COALESCE(parentNode, '')"
            case .maintenance: "CASE WHEN maintenance IS NULL THEN 0 ELSE 1 END"
            case .retired: "retired"
            case .protected: "protected"
            case .lastError: "COALESCE(lastError, '')"
            case .inspectionStartedAt: "COALESCE(inspectionStartedAt, 0)"
            case .inspectionFinishedAt: "COALESCE(inspectionFinishedAt, 0)"
            case .createdAt: "createdAt"
            case .updatedAt: "COALESCE(updatedAt, 0)"
            case .stateSince: "stateSince"
            }
        }
    }
}

/// The conditions of a query, and their arguments in order.
private struct NodeConditions {
    var texts: [String] = []
    var arguments: [(any DatabaseValueConvertible)?] = []

    init(_ query: NodeQuery) {
        for (column, value) in [
            ("provisionState", query.provisionState), ("instanceID", query.instanceID),
            ("driver", query.driver), ("resourceClass", query.resourceClass),
            ("conductorGroup", query.conductorGroup), ("owner", query.owner),
            ("lessee", query.lessee), ("instanceName", query.instanceName),
            ("chassis", query.chassis), ("parentNode", query.parent?.text),
        ] {
            guard let value else { continue }
            add("\(column) = ?", value)
        }
        for (column, value) in [
            ("maintenance", query.maintenance), ("instanceID", query.associated),
            ("shard", query.sharded),
        ] {
            guard let value else { continue }
            add("\(column) IS \(value ? "NOT NULL" : "NULL")")
        }
        if query.parent == nil, !query.includesParts { add("parentNode IS NULL") }
        if query.isEmpty || query.shards?.isEmpty == true { add("1 = 0") }
        if let shards = query.shards, !shards.isEmpty {
            add("shard IN (\(shards.map { _ in "?" }.joined(separator: ", ")))")
            arguments += shards.map { $0 }
        }
        if let retired = query.retired { add("retired = ?", retired) }
        if let words = query.descriptionContains {
            add("instr(COALESCE(description, ''), ?) > 0", words)
        }
        for project in [query.visibleTo, query.project].compactMap({ $0 }) {
            add("(owner = ? OR lessee = ?)", project, project)
        }
    }

    mutating func add(_ text: String, _ values: any DatabaseValueConvertible...) {
        texts.append(text)
        for value in values { arguments.append(value) }
    }
}

/// What a list without details shows of a node.
struct NodeSummary: Sendable {
    let id: String
    let name: String?
    let instanceID: String?
    let powerState: String?
    let isInMaintenance: Bool
    let provisionState: String
}

extension Transaction {
    /// The nodes of one page.
    /// - Throws: `Fault` of kind `invalid` when the marker is no node.
    package func nodes(_ query: NodeQuery, sealer: Sealer) throws -> [Node] {
        let (tail, arguments) = try selection(query)
        let rows = try Row.fetchCursor(
            sql,
            SQLRequest(
                sql: "SELECT \(NodeColumn.list) FROM node \(tail)",
                arguments: arguments,
                cached: true
            )
        )
        var nodes: [Node] = []
        while let row = try rows.next() { nodes.append(try Node(row: row, sealer: sealer)) }
        return nodes
    }

    /// The nodes of one page without what takes time to read.
    /// - Throws: `Fault` of kind `invalid` when the marker is no node.
    func summaries(_ query: NodeQuery) throws -> [NodeSummary] {
        let (tail, arguments) = try selection(query)
        let columns = "id, name, instanceID, powerState, maintenance IS NOT NULL, provisionState"
        let rows = try Row.fetchCursor(
            sql,
            SQLRequest(
                sql: "SELECT \(columns) FROM node \(tail)",
                arguments: arguments,
                cached: true
            )
        )
        var summaries: [NodeSummary] = []
        while let row = try rows.next() {
            summaries.append(
                NodeSummary(
                    id: row[0],
                    name: row[1],
                    instanceID: row[2],
                    powerState: row[3],
                    isInMaintenance: row[4],
                    provisionState: row[5]
                )
            )
        }
        return summaries
    }

    /// Everything after the name of the table.
    private func selection(
        _ query: NodeQuery
    ) throws -> (tail: String, arguments: StatementArguments) {
        var conditions = NodeConditions(query)
        let column = query.sortKey.column
        let order = query.descending ? "DESC" : "ASC"
        if let marker = query.marker {
            let sign = query.descending ? "<" : ">"
            let known = try Bool.fetchOne(
                sql,
                sql: "SELECT EXISTS (SELECT 1 FROM node WHERE id = ?)",
                arguments: [marker.text]
            )
            guard known == true else {
                throw Fault(
                    .invalid,
                    "cannot list nodes: the marker \(marker) is no node; start anew"
                )
            }
            conditions.add(
                "(\(column), serial) \(sign) (SELECT \(column), serial FROM node WHERE id = ?)",
                marker.text
            )
        }
        let texts = conditions.texts
        let filter = texts.isEmpty ? "" : "WHERE " + texts.joined(separator: " AND ")
        let arguments = conditions.arguments + [min(max(query.limit, 1), NodeQuery.limitMax)]
        return (
            "\(filter) ORDER BY \(column) \(order), serial \(order) LIMIT ?",
            StatementArguments(arguments)
        )
    }

    /// Nodes whose driver's fields have `text` somewhere, such as a BMC's address.
    func nodes(naming text: String, sealer: Sealer) throws -> [Node] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT \(NodeColumn.list) FROM node
                WHERE instr(lower(driverFields), lower(?)) > 0 ORDER BY serial
                """,
            arguments: [text]
        ).map { try Node(row: $0, sealer: sealer) }
    }

    /// The only node with this BMC address that has no port yet; `nil` when there is none or several.
    func portlessNode(bmc address: String, sealer: Sealer) throws -> Node? {
        let rows = try Row.fetchAll(
            sql,
            sql: """
                SELECT \(NodeColumn.list) FROM node
                WHERE json_extract(driverFields, '$.ipmi_address') = ?
                  AND NOT EXISTS (SELECT 1 FROM port WHERE port.node = node.id)
                LIMIT 2
                """,
            arguments: [address]
        )
        guard rows.count == 1 else { return nil }
        return try Node(row: rows[0], sealer: sealer)
    }
}
