import Agents
import Baremetal
import Basics
import Boot
import Deployment
import Logging
import Power
import Protocol
import Store

/// One run of the controller: the real services on what the store kept.
final class Incarnation: Sendable {
    let number: Int
    let life = Life()
    let database: Database
    let sealer = Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32)))
    let registry: AgentRegistry
    let dispatcher: AgentDispatcher
    let nodes: NodesService
    let reconciler: NodeReconciler
    let deployments: DeploymentReconciler
    let runs: DeploymentsService
    let policy: NodeBootPolicy
    let gateway: AgentGateway
    let task = Confined<Task<Void, Never>?>(nil)

    static let migrations =
        AgentStore.migrations + baremetalMigrations + DeploymentSchema.migrations

    /// Puts the services together, as `Controller/Daemon` does.
    init(number: Int, path: String, random seed: UInt64, world: World) throws {
        self.number = number
        let time = SimulatedTime(executor: world.executor, life: life)
        let random = SeededRandom(seed: seed)
        let logger = world.logger("controller")
        let feed = ChangeFeed()
        database = try Database(
            path: path,
            migrations: Self.migrations,
            feed: feed,
            executor: world.executor
        )
        let link = world.network.makeController(life: life)
        registry = AgentRegistry(database: database, link: link, time: time, random: random)
        dispatcher = AgentDispatcher(
            link: link,
            registry: registry,
            metricSeconds: 300,
            time: time,
            logger: logger
        )
        let power = Self.power(of: world, life)
        nodes = NodesService(
            database: database,
            sealer: sealer,
            images: ImageCatalogue(images: world.images, life: life),
            drivers: [NodeDriver(name: "ipmi", power: power, hasAgent: true, needsBMC: true)],
            queue: NodeQueue(),
            settings: Self.settings(of: world),
            time: time,
            random: random,
            logger: logger
        )
        let keys = WatchedKeys(registry: registry, world: world)
        reconciler = NodeReconciler(service: nodes, agents: dispatcher, keys: keys)
        let runSealer = RunSealer(sealer: sealer)
        deployments = DeploymentReconciler(
            database: database,
            agents: dispatcher,
            sealer: runSealer,
            time: time,
            logger: logger
        )
        runs = DeploymentsService(
            database: database,
            nodes: ActiveNodes(nodes: nodes),
            sealer: runSealer,
            reconciler: deployments,
            time: time,
            random: random
        )
        policy = NodeBootPolicy(service: nodes, keys: keys)
        gateway = AgentGateway(
            link: link,
            registry: registry,
            dispatcher: dispatcher,
            policy: EnrolmentPolicy(trustFirstBoot: true),
            leases: SimulatedLeases(world: world),
            unknown: policy,
            reports: [reconciler, deployments],
            sinks: [],
            feed: feed,
            time: time,
            logger: logger
        )
    }

    /// The BMCs themselves, or the controller's own driver with `ipmitool` over them.
    private static func power(of world: World, _ life: Life) -> any PowerControl {
        let bmcs = SimulatedBMCs(world: world, life: life)
        guard let bounds = world.tool else { return bmcs }
        var settings = IPMIPower.Settings()
        settings.callsMax = bounds.calls
        let tool = SimulatedTool(bmcs: bmcs)
        return IPMIPower(
            settings: settings,
            greeter: { host, _ in await bounds.greets ? tool.answers(host) : nil },
            runner: { arguments, environment, _ in try await tool.run(arguments, environment) }
        )
    }

    /// Each world has limits of its own, so that most let nodes wait for their turn.
    static func settings(of world: World) -> BaremetalSettings {
        var settings = settings
        settings.work.inspection = 1 + Int(world.seed % 3)
        settings.work.cleaning = 1 + Int(world.seed / 3 % 3)
        settings.work.deployment = 1 + Int(world.seed / 9 % 3)
        if let workers = world.tool?.workers { settings.workersMax = workers }
        return settings
    }

    static let settings: BaremetalSettings = {
        var settings = BaremetalSettings(
            imageURL: "https://192.0.2.1:6385",
            controller: BootFragment.Controller(
                address: "192.0.2.1",
                curveKey: String(repeating: "0", count: 40)
            ),
            hostName: "undercloud"
        )
        // Shorter than life, so that a world ends soon; longer than a report's longest pause.
        settings.budgets.agent = .seconds(240)
        settings.budgets.inspect = .seconds(420)
        settings.budgets.erase = .seconds(420)
        settings.budgets.write = .seconds(900)
        settings.budgets.installed = .seconds(420)
        return settings
    }()

    /// Runs the daemon's parts until one of them ends.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask(name: "gateway") { [gateway] in try? await gateway.work() }
            group.addTask(name: "nodes") { [reconciler] in try? await reconciler.work() }
            group.addTask(name: "deployments") { [deployments] in try? await deployments.work() }
            await group.next()
            group.cancelAll()
        }
    }
}

/// Addresses that the DHCP server gave out; it outlives the controller.
struct SimulatedLeases: LeaseLookup {
    let world: World

    func leasedAddress(of mac: String) async -> String? {
        world.machines.first { $0.mac == mac }?.address
    }
}

/// Nodes as configuration runs need them.
struct ActiveNodes: ConfigurableNodes {
    let nodes: NodesService

    func activeNode(_ reference: String) async throws -> (id: NodeID, name: String) {
        let node = try await nodes.node(reference)
        guard node.state.name == .active else {
            throw Fault(.conflict, "cannot configure node \(node.label): it is not active")
        }
        return (node.id, node.label)
    }
}

/// Seals what a run carries.
struct RunSealer: SpecificationSealer {
    let sealer: Sealer

    func seal(_ bytes: [UInt8], context: String) throws -> [UInt8] {
        try sealer.seal(Secret(bytes: bytes), for: context)
    }

    func open(_ sealed: [UInt8], context: String) throws -> [UInt8] {
        try sealer.open(sealed, for: context).revealBytes()
    }
}

/// The registry, which tells the world whose each token is.
struct WatchedKeys: AgentKeys {
    let registry: AgentRegistry
    let world: World

    func issueToken(
        for node: NodeID?,
        mac: String?,
        role: AgentRole,
        attempt: Attempt,
        validFor span: Duration
    ) async throws -> [UInt8] {
        let token = try await registry.issueToken(
            for: node,
            mac: mac,
            role: role,
            attempt: attempt,
            validFor: span
        )
        if let node { world.invariants.issued(token, to: node) }
        return token
    }

    func mayReceiveSecrets(_ node: NodeID, role: AgentRole) async throws -> Bool {
        try await registry.mayReceiveSecrets(node, role: role)
    }

    func revokeKeys(of node: NodeID, role: AgentRole?) async throws {
        try await registry.revokeKeys(of: node, role: role)
    }
}
