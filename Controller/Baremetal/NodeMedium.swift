package import Agents
import Basics
import Boot
import FoundationEssentials
import HTTP
import Logging
import Power
package import Protocol
import Store

/// The boot image that a node's BMC was told to show, sealed: it lets an agent enrol.
let mediaTables = Migration(
    name: "media-001",
    sql: "ALTER TABLE node ADD COLUMN bootMedium BLOB;"
)

extension BootMedium {
    private static func context(_ node: NodeID) -> String { "node/\(node)/boot_medium" }

    init(sealed: [UInt8], of node: NodeID, _ sealer: Sealer) throws {
        let text = try sealer.open(sealed, for: Self.context(node))
        let value = try JSONValue(parsing: text.revealBytes())
        guard let key = value["key"]?.text,
            let token = value["token"]?.text.flatMap({ Base64URL.decode($0) })
        else {
            throw Fault(.internalError, "cannot read the boot image of node \(node): it is damaged")
        }
        self.init(key: Secret(key), token: Secret(bytes: token))
    }

    func sealed(for node: NodeID, _ sealer: Sealer) throws -> [UInt8] {
        let value: JSONValue = [
            "key": .string(key.reveal()),
            "token": .string(Base64URL.encode(token.revealBytes())),
        ]
        return try sealer.seal(Secret(value.canonicalText), for: Self.context(node))
    }
}

extension Node {
    /// Whether its ramdisk comes from a CD that its BMC shows, and not from the network.
    var bootsFromMedia: Bool { interface("boot") == "redfish-virtual-media" }

    /// Whether the machine is being started into the ramdisk, whose agent was not heard yet.
    var isStartingRamdisk: Bool {
        guard !isQueued else { return false }
        switch state.ramdiskJob?.phase {
        case .boot, .awaitAgent: return true
        case .command, .step, nil: return false
        }
    }

    /// The image's name in its address: whose it is, and what nobody can guess.
    func capability(of medium: BootMedium) -> String { "\(id.text).\(medium.key.reveal())" }

    /// What the ramdisk is told about its network; `nil` where it asks a DHCP server.
    /// - Throws: `Fault` of kind `invalid` that says what is wrong with the node's `network_data`.
    func bootNetwork(toward controller: String) throws -> BootNetwork? {
        guard bootsFromMedia, !networkData.isEmpty else { return nil }
        return try NetworkData(networkData, label: label).network(toward: IPv4Address(controller))
    }
}

extension NodesService {
    /// Makes a boot image's key and token and keeps them, in place of older ones.
    /// - Returns: the address from which the BMC reads the image.
    /// - Throws: `WorkOvertaken` when the node changed meanwhile; `Fault` when its network data is of no use.
    func makeMedium(of node: Node, _ keys: any AgentKeys) async throws -> String {
        _ = try node.bootNetwork(toward: settings.controller.address)
        let token = try await keys.issueToken(
            for: node.id,
            mac: nil,
            role: .ramdisk,
            attempt: node.attempt,
            validFor: settings.budgets.powerOn + settings.budgets.agent
        )
        let medium = BootMedium(
            key: Secret(Base64URL.encode(random.bytes(32))),
            token: Secret(bytes: token)
        )
        try await apply(nil, to: node, cause: "a boot image was made") { $0.bootMedium = medium }
        guard try await find(node.id)?.bootMedium == medium else { throw WorkOvertaken() }
        return "\(settings.bootURL)/boot/media/\(node.capability(of: medium))/ramdisk.iso"
    }

    /// What the boot image of this capability holds; `nil` when no boot is expected by it.
    func medium(of capability: Secret) async throws -> BootFragment? {
        let parts = capability.reveal().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let id = NodeID(String(parts[0])), let node = try await find(id),
            let medium = node.bootMedium, medium.key == Secret(String(parts[1])),
            node.isStartingRamdisk, node.bootsFromMedia
        else { return nil }
        let network = try node.bootNetwork(toward: settings.controller.address)
        var mac = network?.mac
        if mac == nil {
            let ports = try await database.read { try $0.ports(of: id) }
            mac = (ports.first { $0.isPXEEnabled } ?? ports.first)?.address
        }
        return BootFragment(
            controller: settings.controller,
            token: medium.token,
            mac: mac,
            network: network
        )
    }

    /// From where the ramdisk of a node speaks that was started from virtual media; `nil` for others.
    package func mediaPlacement(of id: NodeID) async throws -> AgentPlacement? {
        guard let node = try await find(id), node.bootMedium != nil, node.bootsFromMedia else {
            return nil
        }
        let network = try node.bootNetwork(toward: settings.controller.address)
        return network.map { .at($0.address.text) } ?? .anywhere
    }

    /// Whether a node can be started as its boot interface says.
    /// - Throws: `Fault` of kind `invalid` that says what is missing.
    func checkBoot(of node: Node) throws {
        guard node.bootsFromMedia else { return }
        guard try driver(of: node).media != nil else { throw Fault.unsupported("boot", of: node) }
        _ = try node.bootNetwork(toward: settings.controller.address)
    }
}

extension NodeReconciler {
    /// Puts the ramdisk where the machine will start from: into the BMC's drive, or nowhere when it comes over
    /// the network.
    /// - Returns: the boot device.
    func provideRamdisk(_ node: Node, _ bmc: BMC) async throws -> BootDevice {
        guard node.bootsFromMedia else { return .pxe }
        guard let media = service.drivers[node.driver]?.media else {
            throw Fault(
                .invalid,
                "cannot boot node \(node.label) from virtual media: driver “\(node.driver)” has none; set another boot_interface"
            )
        }
        let image = try await service.makeMedium(of: node, keys)
        do {
            try await media.insert(image, into: .cdrom, of: bmc)
        } catch let fault as PowerFault {
            // Some BMCs repeat the address, and everybody who may look at the node reads why it waits.
            throw PowerFault(
                fault.reason,
                BootMedium.masked(fault.message),
                detail: BootMedium.masked(fault.detail)
            )
        }
        return .cdrom
    }

    /// Takes the boot image out of the BMC's drive; the ramdisk runs in memory, or is not wanted any more.
    ///
    /// The work goes on whatever comes of it: a drive that keeps its image is at most started from once more,
    /// and gets nothing.
    func ejectMedium(_ node: Node) async throws -> Outcome {
        do {
            let driver = try service.driver(of: node)
            if let media = driver.media {
                let bmc = try driver.bmc(of: node)
                // Somebody may have put an image of his own into the drive meanwhile.
                let isOurs = try await media.media(of: bmc).contains {
                    $0.isInserted && $0.image.map(BootMedium.isBootImage) != false
                }
                if isOurs { try await media.eject([.cdrom], of: bmc) }
            }
        } catch let fault as PowerFault {
            logger.warning(
                "boot image not ejected",
                metadata: [
                    LogKey.nodeID: "\(node.id)", LogKey.reason: "\(fault.message)",
                    LogKey.error: "\(fault.detail)",
                ]
            )
            // A BMC that is silent is asked until it answers, one that refuses is let be some time.
            let isHopeful = fault.reason != .refused || mayEjectAgain(node.id)
            if fault.isTransient, isHopeful {
                return .wait("the BMC to eject the boot image", until: time.now + Self.ejectAgain)
            }
        } catch let fault as Fault where fault.kind == .invalid {
            logger.warning(
                "boot image not ejected",
                metadata: [LogKey.nodeID: "\(node.id)", LogKey.reason: "\(fault.message)"]
            )
        }
        forgetEjections(of: node.id)
        let medium = node.bootMedium
        try await service.apply(nil, to: node, cause: "the boot image was ejected") {
            if $0.bootMedium == medium { $0.bootMedium = nil }
        }
        return .changed
    }

    private static var ejectAgain: Duration { .seconds(60) }
}
