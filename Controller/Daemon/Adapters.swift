import Agents
import Baremetal
import Basics
import Boot
import Dashboard
import Deployment
import HTTP
import Identity
import Power
import Protocol
import ServiceLifecycle
import Store
import Telemetry
import Transport

// Small bridges between areas that must not know each other.

/// Nodes as configuration runs need them.
struct ActiveNodes: ConfigurableNodes {
    let nodes: NodesService

    func activeNode(_ reference: String) async throws -> (id: NodeID, name: String) {
        let node = try await nodes.node(reference)
        guard node.state.ironicName == "active" else {
            throw Fault(
                .conflict,
                "cannot configure node \(node.label): it is \(node.state.ironicName); deploy it first"
            )
        }
        return (node.id, node.label)
    }
}

/// From where agents may speak: by the DHCP server's leases, and by what nodes were told.
struct AgentAddresses: LeaseLookup {
    let leases: LeaseTable
    let nodes: NodesService

    func leasedAddress(of mac: String) async -> String? { await leases.leasedAddress(of: mac) }

    func placement(of node: NodeID) async throws -> AgentPlacement? {
        try await nodes.mediaPlacement(of: node)
    }
}

/// Seals what a run carries: Hiera data may hold passwords.
struct RunSealer: SpecificationSealer {
    let sealer: Sealer

    func seal(_ bytes: [UInt8], context: String) throws -> [UInt8] {
        try sealer.seal(Secret(bytes: bytes), for: context)
    }

    func open(_ sealed: [UInt8], context: String) throws -> [UInt8] {
        try sealer.open(sealed, for: context).revealBytes()
    }
}

/// Nodes as dashboards and metrics show them.
struct Overviews: NodeOverviews {
    let nodes: NodesService

    func name(of node: NodeID) async throws -> String? {
        try await nodes.find(node)?.label
    }

    func overviews() async throws -> [NodeOverview] {
        var all: [Node] = []
        var query = NodeQuery()
        query.includesParts = true
        while true {
            let page = try await nodes.nodes(query)
            all += page
            guard page.count == query.limit, let last = page.last else { break }
            query.marker = last.id
        }
        let places = try await nodes.places(of: all)
        return all.map { node in
            let waiting = node.waiting(nodes.settings.budgets, places[node.id])
            return NodeOverview(
                id: node.id,
                name: node.label,
                state: node.state.ironicName,
                power: node.powerState?.rawValue ?? "unknown",
                maintenance: node.maintenance != nil,
                since: node.stateSince,
                waitingFor: waiting?.reason,
                until: waiting?.until,
                lastError: node.lastError,
                progress: nodes.progress(of: node).map(NodeProgress.init)
            )
        }
    }
}

extension NodeProgress {
    fileprivate init(_ progress: WorkProgress) {
        self.init(
            phase: progress.phase,
            doneBytes: progress.doneBytes,
            totalBytes: progress.totalBytes,
            bytesPerSecond: progress.bytesPerSecond,
            text: progress.text
        )
    }
}

/// What went over the wire, for the scrape.
struct LinkTraffic: BusTraffic {
    let link: ZeroMQControllerLink

    func traffic() -> [(name: String, value: UInt64)] {
        link.traffic().flatMap { socket, traffic in
            [
                ("\(socket)_received_messages", traffic.receivedMessages),
                ("\(socket)_received_bytes", traffic.receivedBytes),
                ("\(socket)_sent_messages", traffic.sentMessages),
                ("\(socket)_sent_bytes", traffic.sentBytes),
                ("\(socket)_dropped_messages", traffic.droppedMessages),
            ]
        }
    }

    func queues() -> [(name: String, length: Int)] {
        [
            ("enrolments", link.enrolments.count), ("frames", link.frames.count),
            ("metrics", link.metrics.count),
        ]
    }
}

/// The dashboard's login is a password sign-in like every other.
struct PasswordSignIn: DashboardSignIn {
    let identity: IdentityService

    func signIn(user: String, password: Secret, address: String) async throws -> Principal {
        let request = SignIn(
            proof: .password(userID: nil, userName: user, password: password),
            scope: .project(id: nil, name: IdentityService.adminProjectName)
        )
        return try await identity.signIn(request, from: address).principal
    }
}

/// Forgets old changes and audit records once an hour.
struct Housekeeping: Service {
    let database: Database
    let identity: IdentityService
    let keep: Duration
    let time: any TimeSource

    private static let period: Duration = .seconds(3600)

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let oldest = time.now - keep
                // A disk that is full or busy is met again in an hour.
                try? await database.write { try $0.trimChanges(olderThan: oldest) }
                try? await identity.trimAudit(olderThan: oldest)
                // Cancelled: the loop ends.
                try? await time.sleep(for: Self.period)
            }
        }
    }
}
