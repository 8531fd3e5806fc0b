import Agents
package import Basics
package import Boot
import HTTP
import Power
package import Protocol
import Store

/// Decides about network boots and takes machines that nobody registered.
package struct NodeBootPolicy: BootPolicy, UnknownMachines {
    private let service: NodesService
    private let keys: any AgentKeys

    /// How long a token of open discovery is good.
    private static let discoveryTokenBudget: Duration = .seconds(600)

    package init(service: NodesService, keys: any AgentKeys) {
        self.service = service
        self.keys = keys
    }

    package func decision(for mac: MACAddress) async throws -> BootDecision {
        switch try await look(mac) {
        case .expected: .ramdisk
        case .unknown where service.settings.isDiscoveryOpen: .ramdisk
        case .unknown:
            .localDisk(reason: "this machine is not registered and discovery is closed")
        case .finished(let node) where node.bootsFromMedia:
            .localDisk(reason: "node \(node.label) takes its ramdisk from virtual media")
        case .finished(let node):
            .localDisk(reason: "node \(node.label) is \(node.state.ironicName)")
        }
    }

    package func fragment(for mac: MACAddress) async throws -> BootFragment? {
        let token: [UInt8]
        switch try await look(mac) {
        case .finished: return nil
        case .expected(let node):
            let span = service.settings.budgets.agent
            token = try await keys.issueToken(
                for: node.id,
                mac: mac.text,
                role: .ramdisk,
                attempt: node.attempt,
                validFor: span
            )
        case .unknown:
            guard service.settings.isDiscoveryOpen else { return nil }
            token = try await keys.issueToken(
                for: nil,
                mac: mac.text,
                role: .ramdisk,
                attempt: Attempt(0),
                validFor: Self.discoveryTokenBudget
            )
        }
        return BootFragment(
            controller: service.settings.controller,
            token: Secret(bytes: token),
            mac: mac
        )
    }

    package func medium(of capability: Secret) async throws -> BootFragment? {
        try await service.medium(of: capability)
    }

    private enum Machine {
        /// Its node is to run the ramdisk.
        case expected(Node)
        /// Its node is to run its disk, or nothing, or gets its ramdisk elsewhere.
        case finished(Node)
        case unknown
    }

    private func look(_ mac: MACAddress) async throws -> Machine {
        let node = try await service.database.read { [sealer = service.sealer] transaction in
            try transaction.port(at: mac).flatMap { try transaction.node($0.node, sealer: sealer) }
        }
        guard let node else { return .unknown }
        // What comes from a CD is not lent to whoever sends the node's address on the network.
        return node.expectsRamdisk && !node.bootsFromMedia ? .expected(node) : .finished(node)
    }

    private static let takesMedia = Fault(
        .forbidden,
        "cannot take an unknown machine: its node takes its ramdisk from virtual media"
    )

    package func enrolUnknown(
        _ request: WireEnrolRequest,
        address: String
    ) async throws -> NodeID {
        let settings = service.settings
        guard settings.isDiscoveryOpen else {
            throw Fault(.forbidden, "cannot take an unknown machine: discovery is closed")
        }
        guard let booted = MACAddress(request.bootMac) else {
            throw Fault(.invalid, "cannot take an unknown machine: its boot MAC is none")
        }
        let now = service.time.now
        let sealer = service.sealer
        let fresh = Node(id: service.random.identifier(), driver: "ipmi", at: now)
        let portID = service.random.identifier(PortID.self)
        let node = try await service.database.write { transaction -> Node in
            if let port = try transaction.port(at: booted),
                let node = try transaction.node(port.node, sealer: sealer)
            {
                guard !node.bootsFromMedia else { throw Self.takesMedia }
                return node
            }
            var node = fresh
            if settings.trustsFirstBoot, !request.bmcAddress.isEmpty,
                let known = try transaction.portlessNode(bmc: request.bmcAddress, sealer: sealer),
                known.expectsRamdisk
            {
                guard !known.bootsFromMedia else { throw Self.takesMedia }
                node = known
            } else {
                guard try transaction.nodeCount() < Self.nodesMax else {
                    throw Fault(
                        .unavailable,
                        "cannot take an unknown machine: \(Self.nodesMax) nodes are registered"
                    )
                }
                if BMC.isAddress(request.bmcAddress) {
                    node.driverInfo.fields["ipmi_address"] = .string(request.bmcAddress)
                }
                node.extra["rdo_discovered"] = .bool(true)
                try transaction.save(
                    node,
                    before: nil,
                    cause: "discovered",
                    at: now,
                    sealer: sealer
                )
            }
            try transaction.save(
                Port(id: portID, node: node.id, address: booted, at: now),
                cause: "discovered",
                at: now
            )
            return node
        }
        service.queue.wake(node.id)
        return node.id
    }

    /// Registered nodes at most when machines register themselves.
    static let nodesMax = 20_000
}
