import Basics
import HTTP
import Hummingbird
import Protocol

extension NodeQuery {
    /// The filters of a list of nodes, and the minor version that brought each.
    static let filters: [(name: String, minor: Int)] = [
        ("associated", 1), ("maintenance", 1), ("instance_uuid", 1), ("chassis_uuid", 1),
        ("provision_state", 9), ("driver", 16), ("resource_class", 21), ("fault", 42),
        ("conductor_group", 46), ("conductor", 49), ("owner", 50), ("description_contains", 51),
        ("project", 50), ("retired", 61), ("lessee", 65), ("shard", 82), ("sharded", 82),
        ("parent_node", 83), ("include_children", 83), ("instance_name", 104),
    ]

    /// Ironic's faults; `none` is ours.
    private static let faults = [
        "none", "power failure", "clean failure", "rescue abort failure", "service failure",
    ]

    /// What the query of a request asks for, without its marker; `host` is the only conductor.
    init(_ call: BaremetalCall, host: String) throws {
        self.init()
        let request = call.request
        for (name, minor) in Self.filters
        where request.query(name) != nil && call.version.minor < minor {
            throw Fault(
                .notAcceptable,
                "cannot filter nodes by \(name) in API version \(call.version.text): it exists since 1.\(minor)"
            )
        }
        func truth(_ name: String) throws -> Bool? {
            guard let text = request.query(name) else { return nil }
            guard let truth = JSONValue.string(text).truth else {
                throw Fault(
                    .invalid,
                    "cannot filter by \(name): “\(text.prefix(20))” is neither true nor false"
                )
            }
            return truth
        }
        provisionState = request.query("provision_state")
        if let provisionState, !ProvisionState.ironicNames.contains(provisionState) {
            throw Fault(
                .invalid,
                "cannot filter by provision_state “\(provisionState.prefix(40))”: there is no such state"
            )
        }
        maintenance = try truth("maintenance")
        associated = try truth("associated")
        retired = try truth("retired")
        sharded = try truth("sharded")
        includesParts = try truth("include_children") ?? false
        instanceID = try Self.uuid(request.query("instance_uuid"))
        instanceName = request.query("instance_name")
        chassis = request.query("chassis_uuid")
        driver = request.query("driver")
        resourceClass = request.query("resource_class")
        conductorGroup = request.query("conductor_group")
        owner = request.query("owner")
        lessee = request.query("lessee")
        project = request.query("project")
        descriptionContains = request.query("description_contains")
        shards = request.query("shard").map {
            $0.split(separator: ",").prefix(256).map(String.init)
        }
        if let text = request.query("parent_node") {
            parent = NodeID(text)
            isEmpty = parent == nil
        }
        // Trouble of ours is an obstacle that passes, never a fault; and there is one conductor.
        if try Self.isTrouble(request.query("fault")) { isEmpty = true }
        if let conductor = request.query("conductor"), conductor != host { isEmpty = true }
        limit = try call.limit()
        let order = try call.order()
        guard let key = SortKey(rawValue: order.key) else {
            throw Fault(.invalid, "cannot sort by “\(order.key.prefix(40))”: choose another field")
        }
        sortKey = key
        descending = order.descending
    }

    private static func uuid(_ text: String?) throws -> String? {
        guard text == nil || NodeID(text ?? "") != nil else {
            throw Fault(
                .invalid,
                "cannot filter by instance_uuid “\(text?.prefix(40) ?? "")”: it is no UUID"
            )
        }
        return text
    }

    /// Whether only nodes with some fault are asked for.
    private static func isTrouble(_ fault: String?) throws -> Bool {
        guard let fault else { return false }
        guard faults.contains(fault) else {
            throw Fault(
                .invalid,
                "cannot filter by fault “\(fault.prefix(40))”: it must be one of \(faults.joined(separator: ", "))"
            )
        }
        return fault != "none"
    }
}
