package import Basics
import HTTP
import Images
import Power
import Protocol
import Store

/// Who may do what with a node.
enum NodeAccess {
    /// Whether a principal sees a node: all nodes with system scope, its project's otherwise.
    static func isVisible(_ node: Node, to principal: Principal?) -> Bool {
        guard let principal, !principal.isSystem else { return true }
        guard let project = principal.projectID else { return false }
        return node.owner == project || node.lessee == project
    }

    /// The weakest role that something takes over the whole installation, in the owner's project and in the
    /// lessee's; `nil` for what a lessee never may.
    ///
    /// Each is one of the check strings of Ironic's secure RBAC (`ironic/common/policy.py`), named in its
    /// comment.
    struct Rule: Sendable {
        let system: Role
        let owner: Role
        let lessee: Role?

        /// SYSTEM_OR_PROJECT_READER.
        static let look = Rule(system: .reader, owner: .reader, lessee: .reader)
        /// SYSTEM_OR_OWNER_READER: history and inventory tell of other tenants.
        static let lookInside = Rule(system: .reader, owner: .reader, lessee: nil)
        /// SYSTEM_OR_PROJECT_MEMBER.
        static let use = Rule(system: .member, owner: .member, lessee: .member)
        /// SYSTEM_OR_OWNER_MEMBER_AND_LESSEE_ADMIN, which holds for managers as well.
        static let operate = Rule(system: .member, owner: .member, lessee: .manager)
        /// SYSTEM_MEMBER_OR_OWNER_MEMBER.
        static let own = Rule(system: .member, owner: .member, lessee: nil)
        /// SYSTEM_MEMBER_OR_OWNER_ADMIN, which holds for managers as well.
        static let manage = Rule(system: .member, owner: .manager, lessee: nil)
        /// SYSTEM_ADMIN_OR_OWNER_ADMIN, likewise: ports and port groups.
        static let wire = Rule(system: .admin, owner: .manager, lessee: nil)
        /// SYSTEM_MEMBER_OR_OWNER_LESSEE_ADMIN, likewise: volumes.
        static let store = Rule(system: .member, owner: .manager, lessee: .manager)
        /// `node:delete` and `node:delete:self_owned_node`.
        static let forget = Rule(system: .admin, owner: .admin, lessee: nil)
    }

    /// Lets those pass whom the rule lets; the controller itself always.
    /// - Throws: `Fault` of kind `forbidden`.
    static func requireChange(
        of node: Node,
        by principal: Principal?,
        to action: String,
        _ rule: Rule = .operate
    ) throws {
        guard let principal else { return }
        if principal.isSystem { return try principal.require(rule.system, to: action) }
        if node.owner != nil, node.owner == principal.projectID {
            return try principal.require(rule.owner, to: action)
        }
        guard let role = rule.lessee, node.lessee != nil, node.lessee == principal.projectID else {
            throw Fault(.forbidden, "cannot \(action): it takes a role in its owner's project")
        }
        try principal.require(role, to: action)
    }

    /// Lets those pass to whom a node belongs: the whole installation and the owner's project, no lessee.
    static func requireOwner(of node: Node, by principal: Principal?, to action: String) throws {
        guard let principal, !principal.isSystem, node.owner != principal.projectID else { return }
        throw Fault(.forbidden, "cannot \(action): the node is leased to you; ask its owner")
    }

    /// Checks an edit field by field.
    ///
    /// Who owns a node and what it is a part of is the installation's to say, who leases it the owner's
    /// administrators', and how it is managed the owner's. A stored BMC password does not follow an
    /// address that somebody gives who may never have read it.
    static func check(
        _ after: Node,
        editedFrom before: Node,
        by principal: Principal?
    ) throws {
        guard let principal, !principal.isSystem else { return }
        func refuse(_ field: String, _ need: String) -> Fault {
            Fault(.forbidden, "cannot change \(field) of node \(before.label): it takes \(need)")
        }
        guard after.owner == before.owner else { throw refuse("owner", "the system scope") }
        guard after.parent == before.parent else { throw refuse("parent_node", "the system scope") }
        let isOwner = before.owner == principal.projectID
        guard after.lessee == before.lessee || (isOwner && principal.has(.admin)) else {
            throw refuse("lessee", "an administrator of the owner's project")
        }
        guard
            isOwner
                || (after.driver == before.driver && after.driverInfo == before.driverInfo
                    && after.protected == before.protected && after.retired == before.retired)
        else { throw refuse("the management", "a member of the owner's project") }
        let moved = [
            "ipmi_address", "ipmi_port", "redfish_address", "redfish_verify_ca",
        ].contains {
            after.driverInfo.fields[$0] != before.driverInfo.fields[$0]
        }
        let keepsSecret = before.driverInfo.secrets.contains {
            !$0.value.isEmpty && after.driverInfo.secrets[$0.key] == $0.value
        }
        guard !moved || !keepsSecret else {
            throw refuse("the BMC's address", "the system scope, or a new password with it")
        }
    }
}

extension Transaction {
    /// The node with this UUID or name, if the principal may see it.
    /// - Throws: `Fault` of kind `notFound`.
    func visibleNode(
        _ reference: String,
        to principal: Principal?,
        sealer: Sealer
    ) throws -> Node {
        guard let node = try node(named: reference, sealer: sealer),
            NodeAccess.isVisible(node, to: principal)
        else {
            throw Fault(
                .notFound,
                "cannot find node \(reference.prefix(255)): there is none with this UUID or name"
            )
        }
        return node
    }

    /// - Throws: `Fault` of kind `conflict` when another node has the name or the instance.
    func checkUnique(_ node: Node) throws {
        if let name = node.name, try nodeNameIsTaken(name, except: node.id) {
            throw Fault(
                .conflict,
                "cannot save node \(node.id): the name “\(name)” is taken; choose another"
            )
        }
        if let instance = node.instanceID, try instanceIsTaken(instance, except: node.id) {
            throw Fault(
                .conflict,
                "cannot save node \(node.label): instance \(instance) is on another node"
            )
        }
        if let chassis = node.chassis, try resource(.chassis, chassis) == nil {
            throw Fault(
                .invalid,
                "cannot save node \(node.label): there is no chassis \(chassis); make it first"
            )
        }
        if let parent = node.parent, try parent == node.id || !isTop(parent) {
            throw Fault(
                .invalid,
                "cannot save node \(node.label): parent_node must be another node that is no part itself"
            )
        }
    }
}

extension NodesService {
    /// Members of each free-form object, and bytes of all together.
    static let membersMax = 256
    static let documentBytesMax = 256 << 10

    /// Whether a node can be stored.
    /// - Throws: `Fault` of kind `invalid` that names the field.
    func check(_ node: Node) throws {
        guard drivers[node.driver] != nil else {
            throw Fault(
                .invalid,
                "cannot use driver “\(node.driver.prefix(80))”: enabled drivers are \(drivers.keys.sorted().joined(separator: ", "))"
            )
        }
        if let name = node.name, !Self.isName(name) {
            throw Fault(
                .invalid,
                "cannot use the node name “\(name.prefix(80))”: a name has 1 to 255 letters, digits, “-”, “_”, “.” or “~” and is no UUID"
            )
        }
        for (field, members) in [
            ("properties", node.properties), ("extra", node.extra),
            ("instance_info", node.instanceInfo), ("driver_info", node.driverInfo.fields),
            ("network_data", node.networkData),
        ] {
            let value = JSONValue.object(members)
            guard members.count <= Self.membersMax, value.depth <= 16,
                value.canonicalText.utf8.count <= Self.documentBytesMax
            else {
                throw Fault(
                    .invalid,
                    "cannot save node \(node.label): \(field) has more than \(Self.membersMax) members, is nested too deeply or is too long"
                )
            }
        }
        for (field, text) in [
            ("description", node.description), ("resource_class", node.resourceClass),
            ("owner", node.owner), ("lessee", node.lessee),
            ("conductor_group", node.conductorGroup as String?), ("shard", node.shard),
            ("instance_name", node.instanceName),
        ] where (text?.utf8.count ?? 0) > (field == "description" ? 4096 : 255) {
            throw Fault(.invalid, "cannot save node \(node.label): \(field) is too long")
        }
        guard node.traits.count <= 50 else {
            throw Fault(.invalid, "cannot save node \(node.label): it has more than 50 traits")
        }
    }

    static func isName(_ name: String) -> Bool {
        guard (1...255).contains(name.utf8.count), NodeID(name) == nil else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."), UInt8(ascii: "~"):
                true
            default: false
            }
        }
    }

    /// What is to be installed, checked against what is known.
    /// - Throws: `Fault` of kind `invalid` that says what is missing or does not fit.
    func order(for node: Node, _ event: String) async throws -> DeployOrder {
        guard NodeLifecycle.targets(of: node.state.name, on: event) != nil else {
            throw InvalidTransition(
                node: node.label,
                state: node.state.ironicName,
                event: event
            )
        }
        return try await checkedOrder(for: node, isWritten: event != "adopt")
    }

    /// As `order`, whatever the node's state.
    ///
    /// `isWritten`: whether the image is to be put on a disk.
    func checkedOrder(for node: Node, isWritten: Bool = true) async throws -> DeployOrder {
        let source = node.instanceInfo["image_source"]?.text ?? ""
        if drivers[node.driver]?.hasAgent == false, source.isEmpty {
            return DeployOrder(image: random.identifier(), hasAgent: false)
        }
        guard !source.isEmpty else {
            throw Fault(
                .invalid,
                "cannot deploy node \(node.label): instance_info has no image_source; set it with openstack baremetal node set --instance-info image_source=IMAGE"
            )
        }
        guard !source.contains("://") else {
            throw Fault(
                .invalid,
                "cannot deploy node \(node.label): image_source must be the UUID or name of an image here, not a URL; upload it with openstack image create"
            )
        }
        let image = try await images.image(source)
        guard image.status == .active, let content = image.content else {
            throw Fault(
                .invalid,
                "cannot deploy node \(node.label): image \(image.name) is \(image.status.rawValue); upload its content first"
            )
        }
        let partitions =
            isWritten
            ? try node.partitionOrder(for: image, imageBytes: content.diskBytes) : nil
        let largest = try await database.read { transaction in
            try transaction.inventory(of: node.id)?.inventory.largestDisk
        }
        let needed = partitions?.totalBytes ?? content.diskBytes
        let goesToRAID = isWritten ? try checkRAID(of: node, for: image, needed: needed) : false
        if !goesToRAID, let largest, needed > largest {
            throw Fault(
                .invalid,
                "cannot deploy node \(node.label): image \(image.name) needs \(ByteCount(needed)), its largest disk has \(ByteCount(largest)); choose a smaller image or another node"
            )
        }
        return DeployOrder(image: image.id, hasAgent: image.hasAgent, partitions: partitions)
    }
}

extension NodesService {
    /// Whether the node's root volume of software RAID takes an image; root device hints go before it.
    /// - Returns: whether the image goes there.
    /// - Throws: `Fault` of kind `invalid`.
    private func checkRAID(of node: Node, for image: Image, needed: Int64) throws -> Bool {
        guard let volume = node.rootVolume, node.rootDeviceHints == WireRootDeviceHints() else {
            return false
        }
        guard let bytes = volume["size_bytes"]?.integer, needed > bytes else { return true }
        throw Fault(
            .invalid,
            "cannot deploy node \(node.label): image \(image.name) needs \(ByteCount(needed)), its root volume has \(ByteCount(bytes)); choose a smaller image or build a larger volume"
        )
    }
}

extension JSONValue {
    /// Bytes of the largest disk of a stored inventory.
    var largestDisk: Int64? {
        self["disks"]?.elements?
            .filter { $0["removable"]?.bool != true && $0["read_only"]?.bool != true }
            .compactMap { $0["size"]?.integer }.max()
    }
}

extension InvalidTransition: FaultConvertible {
    /// As a refusal of the request.
    ///
    /// Ironic answers 400: its clients repeat a 409 on their own.
    package var fault: Fault {
        Fault(
            .invalid,
            "cannot \(event) node \(node): the requested action can not be performed while it is in state “\(state)”; bring it into a state that allows it or wait"
        )
    }
}
