import Basics
import Boot
import HTTP
import Protocol
import Store

// What machines are made of and stand in: chassis, ports, port groups, volumes.
extension ResourceKind {
    static let chassis = ResourceKind(
        path: "/v1/chassis",
        table: "chassis",
        item: "chassis",
        list: "chassis",
        minor: 1,
        scope: .installation(change: .member),
        fields: [
            ResourceField("description", "description", .text(max: 255)),
            ResourceField("extra", "extra", .object, initial: [:]),
        ],
        summary: ["uuid", "description"],
        hasDetail: true,
        below: ["nodes"],
        beforeDelete: { transaction, chassis in
            let nodes = try transaction.count("node", where: "chassis", is: chassis.id.text)
            guard nodes == 0 else {
                throw Fault(
                    .invalid,
                    "cannot delete chassis \(chassis.id): \(nodes) nodes stand in it; take them out first"
                )
            }
        }
    )

    static let port: ResourceKind = ResourceKind(
        path: "/v1/ports",
        table: "port",
        item: "port",
        list: "ports",
        minor: 1,
        scope: .node,
        fields: [
            ResourceField("address", "address", .text(max: 40), isRequired: true),
            ResourceField("node_uuid", "node", .node, isRequired: true),
            ResourceField("extra", "extra", .object, initial: [:]),
            ResourceField(
                "internal_info",
                nil,
                .object,
                minor: 18,
                initial: [:],
                isSettable: false
            ),
            ResourceField("local_link_connection", "localLink", .object, minor: 19, initial: [:]),
            ResourceField("pxe_enabled", "isPXEEnabled", .truth, minor: 19, initial: true),
            ResourceField("portgroup_uuid", "portgroup", .reference, minor: 24),
            ResourceField("physical_network", "physicalNetwork", .text(max: 64), minor: 34),
            ResourceField("is_smartnic", "isSmartNIC", .truth, minor: 53, initial: false),
            ResourceField("name", "name", .text(max: 255), minor: 88),
            ResourceField("description", "description", .text(max: 255), minor: 97),
            ResourceField("vendor", "vendor", .text(max: 32), minor: 100),
            ResourceField("category", "category", .text(max: 80), minor: 101),
            ResourceField(
                "available_for_dynamic_portgroup",
                "isAvailableForDynamicPortgroup",
                .truth,
                minor: 111,
                initial: true
            ),
        ],
        summary: ["uuid", "address", "name"],
        hasDetail: true,
        unique: [["address"], ["name"]],
        filters: [],
        check: { port, _ in
            port.values["address"] = .string(
                try ResourceKind.port.address(port.text("address") ?? "")
            )
            try Self.checkLocalLink(port.values["local_link_connection"] ?? .null)
        },
        beforeSave: { transaction, port, _ in
            guard let id = port.text("portgroup_uuid") else { return }
            guard let group = try transaction.resource(.portGroup, id) else {
                throw Fault(.invalid, "cannot save port \(port.id): there is no port group \(id)")
            }
            guard group.node == port.node else {
                throw Fault(
                    .invalid,
                    "cannot save port \(port.id): port group \(id) is of another node"
                )
            }
        }
    )

    static let portGroup: ResourceKind = ResourceKind(
        path: "/v1/portgroups",
        table: "portgroup",
        item: "port group",
        list: "portgroups",
        minor: 23,
        scope: .node,
        fields: [
            ResourceField("address", "address", .text(max: 40)),
            ResourceField("node_uuid", "node", .node, isRequired: true),
            ResourceField("name", "name", .text(max: 255)),
            ResourceField("extra", "extra", .object, initial: [:]),
            ResourceField("internal_info", nil, .object, initial: [:], isSettable: false),
            ResourceField(
                "standalone_ports_supported",
                "hasStandalonePorts",
                .truth,
                initial: true
            ),
            ResourceField("mode", "mode", .text(max: 255), minor: 26, initial: "active-backup"),
            ResourceField("properties", "properties", .object, minor: 26, initial: [:]),
            ResourceField("physical_network", "physicalNetwork", .text(max: 64), minor: 102),
            ResourceField("category", "category", .text(max: 80), minor: 103),
            ResourceField(
                "dynamic_portgroup",
                nil,
                .truth,
                minor: 111,
                initial: false,
                isSettable: false
            ),
        ],
        summary: ["uuid", "address", "name"],
        hasDetail: true,
        unique: [["address"], ["name"]],
        below: ["ports"],
        check: { group, _ in
            if let address = group.text("address") {
                group.values["address"] = .string(try ResourceKind.portGroup.address(address))
            }
            try Self.checkName(group, "port group")
        },
        beforeSave: { transaction, group, before in
            guard let before, before.node != group.node else { return }
            let ports = try transaction.count("port", where: "portgroup", is: group.id.text)
            guard ports == 0 else {
                throw Fault(
                    .conflict,
                    "cannot move port group \(group.id) to another node: it contains \(ports) ports; take them out first"
                )
            }
        },
        beforeDelete: { transaction, group in
            let ports = try transaction.count("port", where: "portgroup", is: group.id.text)
            guard ports == 0 else {
                throw Fault(
                    .invalid,
                    "cannot delete port group \(group.id): it contains \(ports) ports; take them out first"
                )
            }
        }
    )

    /// A MAC in its one form.
    /// - Throws: `Fault` of kind `invalid`.
    func address(_ text: String) throws -> String {
        guard let mac = MACAddress(text) else {
            throw Fault(
                .invalid,
                "cannot use the address “\(text.prefix(40))” of a \(item): it is no MAC"
            )
        }
        return mac.text
    }

    /// - Throws: `Fault` of kind `invalid` when a name could not stand in a path.
    static func checkName(_ resource: Resource, _ item: String) throws {
        guard let name = resource.text("name"), !NodesService.isName(name) else { return }
        throw Fault(
            .invalid,
            "cannot use the name “\(name.prefix(80))” of a \(item): a name has letters, digits, “-”, “_”, “.” or “~” and is no UUID"
        )
    }

    private static let localLinkTexts: Set<String> = [
        "port_id", "switch_id", "hostname", "switch_info", "network_type", "vtep-logical-switch",
        "vtep-physical-switch",
    ]

    private static func checkLocalLink(_ link: JSONValue) throws {
        for (name, value) in (link.members ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard localLinkTexts.contains(name), value.text != nil,
                name != "network_type" || ["managed", "unmanaged"].contains(value.text)
            else {
                throw Fault(
                    .invalid,
                    "cannot set local_link_connection of a port: “\(name.prefix(40))” is unknown or of the wrong type"
                )
            }
        }
    }
}

extension ResourceKind {
    static let volumeConnector = ResourceKind(
        path: "/v1/volume/connectors",
        table: "volumeConnector",
        item: "volume connector",
        list: "connectors",
        minor: 32,
        scope: .node,
        fields: [
            ResourceField("node_uuid", "node", .node, isRequired: true),
            ResourceField("type", "type", .text(max: 32), isRequired: true),
            ResourceField("connector_id", "connectorID", .text(max: 255), isRequired: true),
            ResourceField("extra", "extra", .object, initial: [:]),
        ],
        summary: ["uuid", "node_uuid", "type", "connector_id"],
        making: .store,
        changing: .operate,
        unique: [["type", "connector_id"]],
        beforeSave: { transaction, connector, before in
            guard let before else { return }
            // Both machines: the one that it is taken from and the one that gets it.
            try transaction.requireOff(before, "volume connector")
            try transaction.requireOff(connector, "volume connector")
        },
        beforeDelete: { try $0.requireOff($1, "volume connector") }
    )

    static let volumeTarget = ResourceKind(
        path: "/v1/volume/targets",
        table: "volumeTarget",
        item: "volume target",
        list: "targets",
        minor: 32,
        scope: .node,
        fields: [
            ResourceField("node_uuid", "node", .node, isRequired: true),
            ResourceField("volume_type", "volumeType", .text(max: 64), isRequired: true),
            ResourceField("volume_id", "volumeID", .text(max: 255), isRequired: true),
            ResourceField("boot_index", "bootIndex", .integer(0...1024), isRequired: true),
            ResourceField("properties", "properties", .object, initial: [:]),
            ResourceField("extra", "extra", .object, initial: [:]),
        ],
        summary: ["uuid", "node_uuid", "volume_type", "boot_index", "volume_id"],
        making: .store,
        changing: .operate,
        unique: [["node_uuid", "boot_index"]],
        beforeSave: { transaction, target, before in
            guard let before else { return }
            // Both machines: the one that it is taken from and the one that gets it.
            try transaction.requireOff(before, "volume target")
            try transaction.requireOff(target, "volume target")
        },
        beforeDelete: { try $0.requireOff($1, "volume target") },
        mask: { members in
            guard let properties = members["properties"]?.members else { return }
            members["properties"] = .object(DriverInfo.mask(properties))
        }
    )
}

extension Transaction {
    /// - Throws: `Fault` of kind `invalid` unless the machine of the resource's node is switched off.
    func requireOff(_ resource: Resource, _ item: String) throws {
        guard let node = resource.node else { return }
        let power = try powerState(of: node)
        guard power == "power off" else {
            throw Fault(
                .invalid,
                "cannot change \(item) \(resource.id): its node's power state is “\(power ?? "unknown")”; switch it off first"
            )
        }
    }
}
