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

extension Transaction {
    /// The nodes of one page.
    /// - Throws: `Fault` of kind `invalid` when the marker is no node.
    package func nodes(_ query: NodeQuery, sealer: Sealer) throws -> [Node] {
        var conditions: [String] = []
        var arguments: [(any DatabaseValueConvertible)?] = []
        func equal(_ column: String, _ value: String?) {
            guard let value else { return }
            conditions.append("\(column) = ?")
            arguments.append(value)
        }
        equal("provisionState", query.provisionState)
        equal("instanceID", query.instanceID)
        equal("driver", query.driver)
        equal("resourceClass", query.resourceClass)
        equal("conductorGroup", query.conductorGroup)
        equal("owner", query.owner)
        equal("lessee", query.lessee)
        equal("instanceName", query.instanceName)
        equal("chassis", query.chassis)
        equal("parentNode", query.parent?.text)
        if query.parent == nil, !query.includesParts { conditions.append("parentNode IS NULL") }
        func present(_ column: String, _ value: Bool?) {
            guard let value else { return }
            conditions.append("\(column) IS \(value ? "NOT NULL" : "NULL")")
        }
        present("maintenance", query.maintenance)
        present("instanceID", query.associated)
        present("shard", query.sharded)
        if let shards = query.shards {
            let places = shards.map { _ in "?" }.joined(separator: ", ")
            conditions.append("shard IN (\(places))")
            arguments += shards.map { $0 }
        }
        if let retired = query.retired {
            conditions.append("retired = ?")
            arguments.append(retired)
        }
        if query.isEmpty { conditions.append("1 = 0") }
        if let words = query.descriptionContains {
            conditions.append("instr(COALESCE(description, ''), ?) > 0")
            arguments.append(words)
        }
        for project in [query.visibleTo, query.project].compactMap({ $0 }) {
            conditions.append("(owner = ? OR lessee = ?)")
            arguments += [project, project]
        }
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
            conditions.append(
                "(\(column), serial) \(sign) (SELECT \(column), serial FROM node WHERE id = ?)"
            )
            arguments.append(marker.text)
        }
        let filter = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
        arguments.append(min(max(query.limit, 1), NodeQuery.limitMax))
        return try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM node \(filter)
                ORDER BY \(column) \(order), serial \(order) LIMIT ?
                """,
            arguments: StatementArguments(arguments)
        ).map { try Node(row: $0, sealer: sealer) }
    }

    /// The only node with this BMC address that has no port yet; `nil` when there is none or several.
    func portlessNode(bmc address: String, sealer: Sealer) throws -> Node? {
        let rows = try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM node
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
