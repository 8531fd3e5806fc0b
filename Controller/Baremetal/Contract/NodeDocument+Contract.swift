import HTTP

// The shape of a node, from the tables that its answers and edits are made by.

extension Schema {
    /// A link as Ironic writes it.
    static let links = Schema.list(
        of: .object(["href": .text, "rel": .text], required: ["href", "rel"])
    )

    /// A page of a list; `next` is where the following one is.
    static func page(_ name: String, of shape: Schema) -> Schema {
        .object([name: .list(of: shape), "next": .text], required: [name])
    }

    /// Every field of the newest version; older versions, `fields` and lists show fewer.
    static let node = Schema.object(
        Dictionary(
            uniqueKeysWithValues: NodeField.all.map { field in
                let since = "Since 1.\(field.minor)."
                return (
                    field.name, field.minor > 1 ? shape(field.name).note(since) : shape(field.name)
                )
            }
        ),
        required: ["links"]
    ).named("Node")

    static let nodeStates = Schema.object(
        Dictionary(
            uniqueKeysWithValues: [
                "console_enabled", "last_error", "power_state", "provision_state",
                "provision_updated_at", "raid_config", "target_power_state",
                "target_provision_state", "target_raid_config", "boot_mode", "secure_boot",
            ].map { ($0, shape($0)) }
        ),
        required: ["power_state", "provision_state"]
    ).named("NodeStates")

    /// What a request for a new node may say.
    static let newNode = Schema.object(
        Dictionary(
            uniqueKeysWithValues: NodeEdits.names.map { name in
                (name, name == "driver" ? .text : requested(name))
            }
        ).merging(["uuid": Schema.uuid.orNull]) { $1 },
        required: ["driver"]
    ).named("NewNode")

    private static func requested(_ name: String) -> Schema {
        switch name {
        case "protected", "retired", "maintenance", "disable_power_off": .truth
        case "automated_clean": Schema.truth.orNull
        case "driver_info", "properties", "extra", "instance_info", "network_data":
            Schema.document.orNull
        case "instance_uuid", "chassis_uuid", "parent_node": Schema.uuid.orNull
        default: .textOrNull
        }
    }

    /// The shape of one field in an answer.
    private static func shape(_ name: String) -> Schema {
        switch name {
        case "uuid": .uuid
        case "driver", "conductor_group", "conductor": .text
        case "maintenance", "protected", "retired", "console_enabled", "disable_power_off": .truth
        case "automated_clean", "secure_boot": Schema.truth.orNull
        case "driver_info", "driver_internal_info", "extra", "instance_info", "properties",
            "network_data":
            .document
        case "clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config",
            "health":
            .any
        case "traits": .list(of: .text)
        case "links", "ports", "portgroups", "states", "volume": .links
        case "created_at", "provision_updated_at": .time
        case "updated_at", "inspection_started_at", "inspection_finished_at": .timeOrNull
        case "instance_uuid", "chassis_uuid", "parent_node", "allocation_uuid":
            Schema.uuid.orNull
        default: .textOrNull
        }
    }
}
