import Basics
import HTTP
import Protocol

/// Reads what a request wants a node's fields to be.
enum NodeEdits {
    /// Their names.
    static let names =
        [
            "name", "driver", "driver_info", "properties", "extra", "instance_info",
            "instance_uuid", "network_data", "description", "resource_class", "conductor_group",
            "owner", "lessee", "automated_clean", "protected", "protected_reason", "retired",
            "retired_reason", "chassis_uuid", "parent_node", "shard", "instance_name",
            "disable_power_off", "maintenance", "maintenance_reason",
        ] + DriverInterfaces.ipmi.keys.sorted()

    /// The fields that an operator may set.
    static func document(of node: Node) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": JSONValue(node.name), "driver": .string(node.driver),
            "driver_info": .object(node.driverInfo.masked),
            "properties": .object(node.properties), "extra": .object(node.extra),
            "instance_info": .object(node.instanceInfo),
            "instance_uuid": JSONValue(node.instanceID),
            "network_data": .object(node.networkData),
            "description": JSONValue(node.description),
            "resource_class": JSONValue(node.resourceClass),
            "conductor_group": .string(node.conductorGroup), "owner": JSONValue(node.owner),
            "lessee": JSONValue(node.lessee),
            "automated_clean": node.automatedClean.map(JSONValue.bool) ?? .null,
            "protected": .bool(node.protected.isSet),
            "protected_reason": JSONValue(node.protected.reason),
            "retired": .bool(node.retired.isSet),
            "retired_reason": JSONValue(node.retired.reason),
            "chassis_uuid": JSONValue(node.chassis), "parent_node": JSONValue(node.parent?.text),
            "shard": JSONValue(node.shard), "instance_name": JSONValue(node.instanceName),
            "disable_power_off": .bool(node.isPowerOffDisabled),
            "maintenance": .bool(node.maintenance != nil),
            "maintenance_reason": JSONValue(node.maintenance?.reason),
        ]
        for name in DriverInterfaces.ipmi.keys {
            members[name] = JSONValue(node.interfaces[name])
        }
        return .object(members)
    }

    /// Applies a JSON Patch.
    /// - Throws: `Fault` of kind `invalid` that names the path.
    static func apply(_ patch: JSONValue, to node: inout Node, at now: Timestamp) throws {
        try apply(JSONPatchOperation.list(from: patch), to: &node, at: now)
    }

    /// The same with operations that were read already.
    static func apply(
        _ patch: [JSONPatchOperation],
        to node: inout Node,
        at now: Timestamp
    ) throws {
        var document = document(of: node)
        for operation in patch {
            guard let first = operation.path.first, document[first] != nil else {
                throw Fault(
                    .invalid,
                    "cannot change /\(operation.path.joined(separator: "/").prefix(80)): a node has no such field that may be set"
                )
            }
            guard operation.path.count == 1, operation.verb == .remove else {
                try document.apply(operation)
                continue
            }
            switch document[first] {
            case .object: document[first] = .object([:])
            case .bool where first != "automated_clean": document[first] = .bool(false)
            default: document[first] = JSONValue.null
            }
        }
        try read(document.members ?? [:], into: &node, at: now)
    }

    /// Reads fields into a node; those that are not named stay.
    static func read(
        _ members: [String: JSONValue],
        into node: inout Node,
        at now: Timestamp
    ) throws {
        // The driver first: it says what each interface may be.
        if let value = members["driver"] {
            guard let driver = try text(value, "driver") else {
                throw wrong("driver", "a driver's name")
            }
            node.driver = driver
        }
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            switch name {
            case "uuid", "driver", "protected_reason", "retired_reason", "maintenance_reason":
                continue
            case "name":
                let text = try text(value, name)
                node.name = text?.isEmpty == true ? nil : text
            case "driver_info":
                node.driverInfo = DriverInfo(
                    merging: try object(value, name),
                    over: node.driverInfo
                )
            case "properties": node.properties = try object(value, name)
            case "extra": node.extra = try object(value, name)
            case "instance_info": node.instanceInfo = try object(value, name)
            case "network_data": node.networkData = try object(value, name)
            case "instance_uuid":
                let text = try text(value, name)
                guard text == nil || NodeID(text ?? "") != nil else { throw wrong(name, "a UUID") }
                node.instanceID = text
                if text == nil { node.allocation = nil }
            case "description": node.description = try text(value, name)
            case "resource_class": node.resourceClass = try text(value, name)
            case "conductor_group": node.conductorGroup = try text(value, name) ?? ""
            case "owner": node.owner = try text(value, name)
            case "lessee": node.lessee = try text(value, name)
            case "automated_clean":
                node.automatedClean = value == .null ? nil : try truth(value, name)
            case "protected": node.protected.isSet = try truth(value, name)
            case "retired": node.retired.isSet = try truth(value, name)
            case "chassis_uuid":
                let text = try text(value, name)
                guard text == nil || ResourceID(text ?? "") != nil else {
                    throw wrong(name, "the UUID of a chassis")
                }
                node.chassis = text
            case "parent_node":
                let text = try text(value, name)
                node.parent = text.flatMap { NodeID($0) }
                guard (text == nil) == (node.parent == nil) else {
                    throw wrong(name, "the UUID of a node")
                }
            case "shard": node.shard = try text(value, name)
            case "instance_name": node.instanceName = try text(value, name)
            case "disable_power_off": node.isPowerOffDisabled = try truth(value, name)
            case "maintenance":
                let isSet = try truth(value, name)
                if isSet != (node.maintenance != nil) {
                    node.setMaintenance(isSet ? Maintenance(reason: nil, since: now) : nil)
                }
            default: try readInterface(name, value, into: &node)
            }
        }
        try readReasons(members, into: &node)
    }

    private static func readReasons(
        _ members: [String: JSONValue],
        into node: inout Node
    ) throws {
        if let value = members["protected_reason"] {
            node.protected.reason = try text(value, "protected_reason")
        }
        if !node.protected.isSet { node.protected.reason = nil }
        if let value = members["retired_reason"] {
            node.retired.reason = try text(value, "retired_reason")
        }
        if !node.retired.isSet { node.retired.reason = nil }
        if let value = members["maintenance_reason"], var maintenance = node.maintenance {
            maintenance.reason = try text(value, "maintenance_reason")
            node.setMaintenance(maintenance)
        }
    }

    private static func readInterface(
        _ name: String,
        _ value: JSONValue,
        into node: inout Node
    ) throws {
        guard let enabled = DriverInterfaces.of(node.driver)[name] else {
            throw Fault(
                .invalid,
                "cannot set “\(name.prefix(40))”: a node has no such field"
            )
        }
        guard let text = try text(value, name) else {
            node.interfaces[name] = nil
            return
        }
        guard enabled.contains(text) else {
            throw wrong(name, "one of \(enabled.joined(separator: ", "))")
        }
        node.interfaces[name] = text
    }

    private static func wrong(_ name: String, _ what: String) -> Fault {
        Fault(.invalid, "cannot set \(name): it must be \(what)")
    }

    private static func text(_ value: JSONValue, _ name: String) throws -> String? {
        if value == .null { return nil }
        guard let text = value.text else { throw wrong(name, "a text") }
        return text
    }

    private static func truth(_ value: JSONValue, _ name: String) throws -> Bool {
        guard let truth = value.truth else { throw wrong(name, "true or false") }
        return truth
    }

    private static func object(_ value: JSONValue, _ name: String) throws -> [String: JSONValue] {
        if value == .null { return [:] }
        guard let members = value.members else { throw wrong(name, "an object") }
        return members
    }
}
