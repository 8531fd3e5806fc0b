import HTTP
import Power
import Protocol

/// A field of a node in the Bare Metal API: its name, the version that brought it, and what it shows.
struct NodeField: Sendable {
    /// What is shown; texts and truths are written without a `JSONValue` in between, because a list of 1,000
    /// nodes has 70,000 of them.
    private enum Content: Sendable {
        case text(@Sendable (NodeDocument) -> String?)
        case truth(@Sendable (NodeDocument) -> Bool)
        case json(@Sendable (NodeDocument) -> JSONValue)
        /// A pair of links; the end of their address.
        case links(String)
    }

    let name: String
    /// The minor version since which it exists.
    let minor: Int
    /// The name with its quotation marks and colon.
    let key: [UInt8]
    private let content: Content

    private init(_ name: String, _ minor: Int, _ content: Content) {
        self.name = name
        self.minor = minor
        self.content = content
        key = Array("\"\(name)\":".utf8)
    }

    private static func text(
        _ name: String,
        _ minor: Int,
        _ text: @escaping @Sendable (NodeDocument) -> String?
    ) -> NodeField { NodeField(name, minor, .text(text)) }

    private static func truth(
        _ name: String,
        _ minor: Int,
        _ truth: @escaping @Sendable (NodeDocument) -> Bool
    ) -> NodeField { NodeField(name, minor, .truth(truth)) }

    private static func json(
        _ name: String,
        _ minor: Int,
        _ json: @escaping @Sendable (NodeDocument) -> JSONValue
    ) -> NodeField { NodeField(name, minor, .json(json)) }

    private static func links(_ name: String, _ minor: Int, _ below: String) -> NodeField {
        NodeField(name, minor, .links(below))
    }

    private static func interface(_ kind: String, _ minor: Int) -> NodeField {
        let name = "\(kind)_interface"
        return text(name, minor) { $0.interface(name) }
    }

    /// Every field, in the order in which Ironic got them.
    static let all: [NodeField] =
        first + [
            json("driver_internal_info", 3) { .object($0.internals) },
            text("name", 5) { $0.node.name },
            text("inspection_finished_at", 6) { $0.node.inspectionFinishedAt?.description },
            text("inspection_started_at", 6) { $0.node.inspectionStartedAt?.description },
            json("clean_step", 7) { $0.step("clean") },
            json("raid_config", 12) { .object($0.node.raidConfig) },
            json("target_raid_config", 12) { .object($0.node.targetRAIDConfig) },
            links("states", 14, "/states"), interface("network", 20),
            text("resource_class", 21) { $0.node.resourceClass },
            links("portgroups", 24, "/portgroups"), interface("boot", 31), interface("console", 31),
            interface("deploy", 31), interface("inspect", 31), interface("management", 31),
            interface("power", 31), interface("raid", 31), interface("vendor", 31),
            links("volume", 32, "/volume"), interface("storage", 33),
            json("traits", 37) { .array($0.node.traits.map(JSONValue.string)) },
            interface("rescue", 38), interface("bios", 40), text("fault", 42) { _ in nil },
            json("deploy_step", 44) { $0.step("deploy") },
            text("conductor_group", 46) { $0.node.conductorGroup },
            json("automated_clean", 47) { $0.node.automatedClean.map(JSONValue.bool) ?? .null },
            truth("protected", 48) { $0.node.protected.isSet },
            text("protected_reason", 48) { $0.node.protected.reason },
            text("conductor", 49) { $0.settings.hostName }, text("owner", 50) { $0.node.owner },
            text("description", 51) { $0.node.description },
            text("allocation_uuid", 52) { $0.node.allocation },
            truth("retired", 61) { $0.node.retired.isSet },
            text("retired_reason", 61) { $0.node.retired.reason },
            text("lessee", 65) { $0.node.lessee },
            json("network_data", 66) { .object($0.node.networkData) },
            text("boot_mode", 75) {
                $0.node.observedBootMode?.rawValue ?? $0.node.capabilities["boot_mode"]
            },
            json("secure_boot", 75) { $0.node.secureBoot.map(JSONValue.bool) ?? .null },
            text("shard", 82) { $0.node.shard },
            text("parent_node", 83) { $0.node.parent?.text }, interface("firmware", 86),
            json("service_step", 87) { $0.step("service") },
            truth("disable_power_off", 95) { $0.node.isPowerOffDisabled },
            text("instance_name", 104) { $0.node.instanceName }, text("health", 109) { _ in nil },
        ]

    /// Those of version 1.1.
    private static let first: [NodeField] = [
        text("uuid", 1) { $0.node.id.text }, text("chassis_uuid", 1) { $0.node.chassis },
        text("driver", 1) { $0.node.driver },
        json("driver_info", 1) { .object($0.node.driverInfo.masked) },
        json("extra", 1) { .object($0.node.extra) },
        json("instance_info", 1) { .object($0.maskedInstanceInfo) },
        text("instance_uuid", 1) { $0.node.instanceID },
        text("last_error", 1) { $0.node.lastError },
        truth("maintenance", 1) { $0.node.maintenance != nil },
        text("maintenance_reason", 1) { $0.node.maintenance?.reason },
        text("power_state", 1) { $0.node.powerState?.rawValue },
        json("properties", 1) { .object($0.node.properties) },
        text("provision_state", 1) { $0.provisionState },
        text("provision_updated_at", 1) { $0.node.stateSince.description },
        text("reservation", 1) { _ in nil },
        text("target_power_state", 1) { $0.node.powerWish?.goal.rawValue },
        text("target_provision_state", 1) { $0.node.state.ironicTarget },
        truth("console_enabled", 1) { _ in false },
        text("created_at", 1) { $0.node.createdAt.description },
        text("updated_at", 1) { $0.node.updatedAt?.description },
        links("links", 1, ""), links("ports", 1, "/ports"),
    ]

    static let named = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    /// Writes what a node shows here.
    func append(_ document: NodeDocument, to text: inout JSONText) {
        switch content {
        case .text(let body):
            if let value = body(document) { text.append(value) } else { text.append(raw: "null") }
        case .truth(let body): text.append(raw: body(document) ? "true" : "false")
        case .json(let body): text.append(body(document))
        case .links(let below):
            // Every node has five pairs of links: most of its text.
            text.append(raw: #"[{"href":""#)
            text.append(plain: document.root)
            text.append(raw: "/v1/nodes/")
            text.append(plain: document.node.id.text)
            text.append(plain: below)
            text.append(raw: #"","rel":"self"},{"href":""#)
            text.append(plain: document.root)
            text.append(raw: "/nodes/")
            text.append(plain: document.node.id.text)
            text.append(plain: below)
            text.append(raw: #"","rel":"bookmark"}]"#)
        }
    }

    /// The same as a value.
    func value(of document: NodeDocument) -> JSONValue {
        switch content {
        case .text(let body): return JSONValue(body(document))
        case .truth(let body): return .bool(body(document))
        case .json(let body): return body(document)
        case .links(let below):
            let end = "nodes/\(document.node.id)\(below)"
            return [
                ["href": .string("\(document.root)/v1/\(end)"), "rel": "self"],
                ["href": .string("\(document.root)/\(end)"), "rel": "bookmark"],
            ]
        }
    }
}

/// The fields that an answer shows, made ready once for all its rows.
struct NodeFields: Sendable {
    /// In the order of their names.
    let sorted: [NodeField]

    /// Nearly every request wants what its client's version, which seldom changes, shows.
    static let newest = NodeFields(NodeDocument.names(.maximum))

    init(_ names: [String]) {
        sorted = Set(names).sorted().compactMap { NodeField.named[$0] }
    }

    /// All that a version shows.
    static func all(_ version: Microversion) -> NodeFields {
        version == .maximum ? newest : NodeFields(NodeDocument.names(version))
    }
}
