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
    package var fault: String?
    package var retired: Bool?
    package var descriptionContains: String?
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
            case .createdAt: "createdAt"
            case .updatedAt: "COALESCE(updatedAt, 0)"
            case .stateSince: "stateSince"
            }
        }
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
        func present(_ column: String, _ value: Bool?) {
            guard let value else { return }
            conditions.append("\(column) IS \(value ? "NOT NULL" : "NULL")")
        }
        present("maintenance", query.maintenance)
        present("instanceID", query.associated)
        if let retired = query.retired {
            conditions.append("retired = ?")
            arguments.append(retired)
        }
        if query.fault != nil { conditions.append("0") }  // no node of ours has a fault
        if let words = query.descriptionContains {
            conditions.append("instr(COALESCE(description, ''), ?) > 0")
            arguments.append(words)
        }
        if let project = query.visibleTo {
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
        return (
            "\(filter) ORDER BY \(column) \(order), serial \(order) LIMIT ?",
            StatementArguments(arguments)
        )
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
