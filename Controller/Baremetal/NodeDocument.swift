import Basics
import HTTP
import Power
import Protocol

/// The shape of a node in the Bare Metal API.
struct NodeDocument: Sendable {
    let node: Node
    let progress: WorkProgress?
    let settings: BaremetalSettings
    /// Where clients reach the API, without a slash at the end.
    let root: String
    /// Old versions have older words for some states.
    var version = Microversion.maximum
    /// Where the node stands while it waits for its turn.
    var place: QueuePlace?

    /// Each field and the minor version that brought it.
    static let fields: [(name: String, minor: Int)] = [
        ("uuid", 1), ("chassis_uuid", 1), ("driver", 1), ("driver_info", 1), ("extra", 1),
        ("instance_info", 1), ("instance_uuid", 1), ("last_error", 1), ("maintenance", 1),
        ("maintenance_reason", 1), ("power_state", 1), ("properties", 1), ("provision_state", 1),
        ("provision_updated_at", 1), ("reservation", 1), ("target_power_state", 1),
        ("target_provision_state", 1), ("console_enabled", 1), ("created_at", 1),
        ("updated_at", 1), ("links", 1), ("ports", 1), ("driver_internal_info", 3), ("name", 5),
        ("inspection_finished_at", 6), ("inspection_started_at", 6), ("clean_step", 7),
        ("raid_config", 12), ("target_raid_config", 12), ("states", 14),
        ("network_interface", 20), ("resource_class", 21), ("portgroups", 23),
        ("boot_interface", 31), ("console_interface", 31), ("deploy_interface", 31),
        ("inspect_interface", 31), ("management_interface", 31), ("power_interface", 31),
        ("raid_interface", 31), ("vendor_interface", 31), ("volume", 32),
        ("storage_interface", 33), ("traits", 37), ("rescue_interface", 38),
        ("bios_interface", 40), ("fault", 42), ("deploy_step", 44), ("conductor_group", 46),
        ("automated_clean", 47), ("protected", 48), ("protected_reason", 48), ("conductor", 49),
        ("owner", 50), ("description", 51), ("allocation_uuid", 52), ("retired", 61),
        ("retired_reason", 61), ("lessee", 65), ("network_data", 66), ("boot_mode", 75),
        ("secure_boot", 75), ("shard", 82), ("parent_node", 83), ("firmware_interface", 86),
        ("service_step", 87), ("disable_power_off", 95), ("instance_name", 104), ("health", 109),
    ]

    /// What a list without details shows.
    static let summary = [
        "instance_uuid", "links", "maintenance", "name", "power_state", "provision_state", "uuid",
    ]

    /// Names that a version shows.
    static func names(_ version: Microversion) -> [String] {
        fields.filter { $0.minor <= version.minor }.map(\.name)
    }

    /// The fields that a request asked for.
    /// - Throws: `Fault`: `invalid` for an unknown field, `notAcceptable` for one of a newer version.
    static func wanted(_ list: String, _ version: Microversion) throws -> [String] {
        let names = list.split(separator: ",").map(String.init)
        for name in names {
            guard let field = fields.first(where: { $0.name == name }) else {
                throw Fault(
                    .invalid,
                    "cannot show the field “\(name.prefix(40))”: a node has none"
                )
            }
            guard field.minor <= version.minor else {
                throw Fault(
                    .notAcceptable,
                    "cannot show the field \(name) in API version \(version.text): it exists since 1.\(field.minor)"
                )
            }
        }
        return names + ["links"]
    }

    func object(_ names: [String]) -> JSONValue {
        var members: [String: JSONValue] = [:]
        for name in names { members[name] = value(name) }
        return .object(members)
    }

    /// Writes the same object as `object`, without making it first.
    func append(_ fields: NodeFields, to text: inout JSONText) {
        text.append(raw: "{")
        for (index, field) in fields.sorted.enumerated() {
            if index > 0 { text.append(raw: ",") }
            text.append(raw: field.key)
            if let below = field.below {
                appendLinks(below, to: &text)
            } else {
                text.append(value(field.name))
            }
        }
        text.append(raw: "}")
    }

    /// Every node has five pairs of links: most of its text.
    private func appendLinks(_ below: String, to text: inout JSONText) {
        text.append(raw: #"[{"href":"#)
        text.append("\(root)/v1/nodes/\(node.id.text)\(below)")
        text.append(raw: #","rel":"self"},{"href":"#)
        text.append("\(root)/nodes/\(node.id.text)\(below)")
        text.append(raw: #","rel":"bookmark"}]"#)
    }

    private func value(_ name: String) -> JSONValue {
        switch name {
        case "uuid": .string(node.id.text)
        case "name": JSONValue(node.name)
        case "driver": .string(node.driver)
        case "driver_info": .object(node.driverInfo.masked)
        case "driver_internal_info": .object(internals)
        case "extra": .object(node.extra)
        case "properties": .object(node.properties)
        case "instance_info": .object(maskedInstanceInfo)
        case "instance_uuid": JSONValue(node.instanceID)
        case "network_data": .object(node.networkData)
        case "description": JSONValue(node.description)
        case "resource_class": JSONValue(node.resourceClass)
        case "conductor_group": .string(node.conductorGroup)
        case "conductor": .string(settings.hostName)
        case "owner": JSONValue(node.owner)
        case "lessee": JSONValue(node.lessee)
        case "chassis_uuid": JSONValue(node.chassis)
        case "parent_node": JSONValue(node.parent?.text)
        case "shard": JSONValue(node.shard)
        case "allocation_uuid": JSONValue(node.allocation)
        case "instance_name": JSONValue(node.instanceName)
        case "disable_power_off": .bool(node.isPowerOffDisabled)
        case "traits": .array(node.traits.map(JSONValue.string))
        case "automated_clean": node.automatedClean.map(JSONValue.bool) ?? .null
        case "boot_mode": JSONValue(node.capabilities["boot_mode"])
        default: name.hasSuffix("_interface") ? interface(name) : state(name)
        }
    }

    private func state(_ name: String) -> JSONValue {
        switch name {
        case "provision_state": provisionState
        case "target_provision_state": JSONValue(node.state.ironicTarget)
        case "provision_updated_at": .string(node.stateSince.description)
        case "power_state": JSONValue(node.powerState?.rawValue)
        case "target_power_state": JSONValue(node.powerWish?.goal.rawValue)
        case "last_error": JSONValue(node.lastError)
        case "maintenance": .bool(node.maintenance != nil)
        case "maintenance_reason": JSONValue(node.maintenance?.reason)
        case "protected": .bool(node.protected.isSet)
        case "protected_reason": JSONValue(node.protected.reason)
        case "retired": .bool(node.retired.isSet)
        case "retired_reason": JSONValue(node.retired.reason)
        case "created_at": .string(node.createdAt.description)
        case "updated_at": JSONValue(node.updatedAt?.description)
        case "inspection_started_at": JSONValue(node.inspectionStartedAt?.description)
        case "inspection_finished_at": JSONValue(node.inspectionFinishedAt?.description)
        case "console_enabled": .bool(false)
        case "clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config":
            .object([:])
        case "links": .array(links(""))
        case "ports", "portgroups", "states", "volume": .array(links("/" + name))
        default: .null
        }
    }

    private var provisionState: JSONValue {
        let word = node.state.ironicName
        if version.minor < 2, word == "available" { return .null }
        return .string(version.minor < 39 && word == "inspect wait" ? "inspecting" : word)
    }

    private func links(_ below: String) -> [JSONValue] {
        [
            ["href": .string("\(root)/v1/nodes/\(node.id)\(below)"), "rel": "self"],
            ["href": .string("\(root)/nodes/\(node.id)\(below)"), "rel": "bookmark"],
        ]
    }

    private func interface(_ name: String) -> JSONValue {
        JSONValue(node.interfaces[name] ?? DriverInterfaces.of(node.driver)[name]?.first)
    }

    private var maskedInstanceInfo: [String: JSONValue] {
        Dictionary(
            uniqueKeysWithValues: node.instanceInfo.map { key, value in
                let hides = DriverInfo.isSecret(key) || ["configdrive", "image_url"].contains(key)
                return (key, hides ? .string(DriverInfo.mask) : value)
            }
        )
    }

    /// What this server knows beyond Ironic's fields; documented in the area's README.
    private var internals: [String: JSONValue] {
        var members: [String: JSONValue] = ["rdo_attempt": .integer(Int64(node.attempt.number))]
        if let waiting { members["rdo_waiting"] = waiting }
        if node.wait == nil, let obstacle = node.obstacle {
            members["rdo_obstacle"] = Self.document(of: obstacle)
        }
        if !node.lastLines.isEmpty {
            members["rdo_last_lines"] = .array(node.lastLines.map(JSONValue.string))
        }
        if let lockout = node.lockout {
            members["rdo_lockout"] = [
                "reason": .string(lockout.reason), "user": .string(lockout.user),
                "since": .string(lockout.since.description),
            ]
        }
        if case .active(let installation) = node.state {
            members["rdo_installed"] = [
                "image": .string(installation.image.text),
                "device": .string(installation.device),
                "since": .string(installation.since.description),
            ]
        }
        return members
    }

    /// Why the node waits; `nil` in a state that lasts.
    var waiting: JSONValue? {
        guard let waiting = node.waiting(settings.budgets, place) else { return nil }
        var members: [String: JSONValue] = [
            "reason": .string(waiting.reason), "since": .string(waiting.since.description),
            "until": JSONValue(waiting.until?.description), "next": .string(waiting.next),
        ]
        if node.isQueued {
            members["queue"] = JSONValue(place?.kind.rawValue ?? node.state.workKind?.rawValue)
            members["position"] = place.map { .integer(Int64($0.position)) } ?? .null
            members["queue_length"] = place.map { .integer(Int64($0.length)) } ?? .null
            members["eta"] = JSONValue(place?.eta?.description)
        }
        if let obstacle = waiting.obstacle { members["obstacle"] = Self.document(of: obstacle) }
        if let progress {
            members["phase"] = .string(progress.phase)
            members["bytes_done"] = .integer(Int64(clamping: progress.doneBytes))
            members["bytes_total"] = .integer(Int64(clamping: progress.totalBytes))
            members["bytes_per_second"] = .number(progress.bytesPerSecond)
            members["text"] = .string(progress.text)
        }
        return .object(members)
    }

    private static func document(of obstacle: Obstacle) -> JSONValue {
        [
            "message": .string(obstacle.message), "tries": .integer(Int64(obstacle.tries)),
            "at": .string(obstacle.at.description),
            "next_try": .string(obstacle.nextTry.description),
        ]
    }
}

/// The fields that an answer shows, made ready once for all its rows.
struct NodeFields: Sendable {
    /// One of them; `key` is the name with its quotation marks and colon, `below` the end of the address
    /// where it is a pair of links.
    struct Field {
        let name: String
        let key: [UInt8]
        let below: String?
    }

    /// In the order of their names.
    let sorted: [Field]

    init(_ names: [String]) {
        sorted = Set(names).sorted().map { name in
            let below: String? =
                switch name {
                case "links": ""
                case "ports", "portgroups", "states", "volume": "/\(name)"
                default: nil
                }
            return Field(name: name, key: Array("\"\(name)\":".utf8), below: below)
        }
    }
}

extension NodeSummary {
    /// Writes what `NodeDocument.summary` names.
    func append(to text: inout JSONText, root: String) {
        func append(_ value: String?) {
            if let value { text.append(value) } else { text.append(raw: "null") }
        }
        text.append(raw: #"{"instance_uuid":"#)
        append(instanceID)
        text.append(raw: #","links":[{"href":"#)
        text.append("\(root)/v1/nodes/\(id)")
        text.append(raw: #","rel":"self"},{"href":"#)
        text.append("\(root)/nodes/\(id)")
        text.append(raw: #","rel":"bookmark"}],"maintenance":"#)
        text.append(raw: isInMaintenance ? "true" : "false")
        text.append(raw: #","name":"#)
        append(name)
        text.append(raw: #","power_state":"#)
        append(powerState)
        text.append(raw: #","provision_state":"#)
        text.append(provisionState)
        text.append(raw: #","uuid":"#)
        text.append(id)
        text.append(raw: "}")
    }
}

/// The interfaces that each driver enables, its default first.
enum DriverInterfaces {
    static let ipmi: [String: [String]] = [
        "bios_interface": ["no-bios"], "boot_interface": ["ipxe", "pxe"],
        "console_interface": ["no-console"], "deploy_interface": ["direct"],
        "firmware_interface": ["no-firmware"], "inspect_interface": ["agent", "no-inspect"],
        "management_interface": ["ipmitool", "noop"], "network_interface": ["noop", "flat"],
        "power_interface": ["ipmitool"], "raid_interface": ["no-raid"],
        "rescue_interface": ["no-rescue"], "storage_interface": ["noop"],
        "vendor_interface": ["no-vendor"],
    ]

    static func of(_ driver: String) -> [String: [String]] {
        guard driver == "fake-hardware" else { return ipmi }
        return ipmi.merging(pretended.map { ($0, ["fake"] + (ipmi[$0] ?? [])) }) { $1 }
    }

    /// What machines that exist only in the database pretend to do.
    private static let pretended = [
        "boot_interface", "deploy_interface", "inspect_interface", "management_interface",
        "power_interface", "rescue_interface",
    ]

    /// `boot`, `deploy` …, in the order of the alphabet.
    static let kinds = ipmi.keys.sorted().map { String($0.dropLast("_interface".count)) }
}
