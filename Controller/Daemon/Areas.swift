import Agents
import Baremetal
import Basics
import Boot
import Dashboard
import Deployment
import Glibc
import HTTP
import HostTools
import Identity
import Images
import Logging
import Power
import Protocol
import Telemetry
import Transport

/// The service areas, connected.
struct Areas {
    let routes: [any RouteArea]
    let bootRoutes: BootRoutes
    let gateway: AgentGateway
    let reconciler: NodeReconciler
    let redfish: RedfishPower
    let deployments: DeploymentReconciler
    let bulk: BulkService
    let webhooks: WebhooksService
    let events: EventSubscriber

    init(_ core: Core, _ configuration: ControllerConfiguration, logger: Logger) throws {
        let (time, sealer) = (SystemTime(), RunSealer(sealer: core.sealer))
        let metal = BareMetal(core, configuration, logger: logger)
        let overviews = Overviews(nodes: metal.nodes)
        let telemetry = TelemetryService(
            nodes: overviews,
            stream: core.link,
            bus: LinkTraffic(link: core.link),
            time: time,
            logger: logger
        )
        let deployments = DeploymentReconciler(
            database: core.database,
            agents: metal.dispatcher,
            sealer: sealer,
            time: time,
            logger: logger
        )
        let runs = DeploymentsService(
            database: core.database,
            nodes: ActiveNodes(nodes: metal.nodes),
            sealer: sealer,
            reconciler: deployments,
            time: time,
            random: SystemRandom()
        )
        let policy = NodeBootPolicy(service: metal.nodes, keys: metal.registry)
        let leases = LeaseTable(path: configuration.stateDirectory + "/dhcp/leases", time: time)
        gateway = AgentGateway(
            link: core.link,
            registry: metal.registry,
            dispatcher: metal.dispatcher,
            policy: Self.enrolmentPolicy(core, configuration),
            leases: AgentAddresses(leases: leases, nodes: metal.nodes),
            unknown: policy,
            proofs: metal.nodes,
            reports: [metal.reconciler, deployments],
            sinks: [telemetry],
            feed: core.feed,
            time: time,
            logger: logger
        )
        bootRoutes = try Self.bootRoutes(policy, leases, configuration, logger)
        (reconciler, redfish, self.deployments) = (metal.reconciler, metal.redfish, deployments)
        bulk = BulkService(nodes: metal.nodes, audit: core.identity, rights: core.identity)
        webhooks = WebhooksService(core, metal.nodes, configuration, logger: logger)
        events = EventSubscriber(service: metal.nodes)
        let dashboard = try Self.dashboard(
            core,
            configuration,
            DashboardSource(
                nodes: overviews,
                telemetry: telemetry,
                deployments: runs,
                database: core.database,
                time: time
            )
        )
        routes =
            Self.openStack(core, metal, bulk, configuration.api.publicURL) + [
                WebhooksAPI(service: webhooks), AgentImagesAPI(service: core.images),
                DeploymentsAPI(service: runs), TelemetryAPI(service: telemetry),
                EventsAPI(database: core.database, feed: core.feed, time: time),
                AccessAPI(
                    registry: metal.registry,
                    identity: core.identity,
                    publicKey: core.publicKey.z85
                ), dashboard,
            ]
    }

    private static func enrolmentPolicy(
        _ core: Core,
        _ configuration: ControllerConfiguration
    ) -> EnrolmentPolicy {
        EnrolmentPolicy(
            trustFirstBoot: configuration.agents.trustsFirstBoot,
            proof: configuration.agents.proof,
            certificateAuthority: core.authority
        )
    }

    private static func bootRoutes(
        _ policy: NodeBootPolicy,
        _ leases: LeaseTable,
        _ configuration: ControllerConfiguration,
        _ logger: Logger
    ) throws -> BootRoutes {
        BootRoutes(
            policy: policy,
            leases: leases,
            script: try script(configuration),
            directory: configuration.stateDirectory + "/http",
            logger: logger
        )
    }

    private static func openStack(
        _ core: Core,
        _ metal: BareMetal,
        _ bulk: BulkService,
        _ url: String
    ) -> [any RouteArea] {
        [
            BareMetalDiscovery(
                publicURL: url,
                minimum: Microversion.minimum.text,
                maximum: Microversion.maximum.text
            ),
            IdentityAPI(service: core.identity, publicURL: url),
            AuditAPI(service: core.identity),
            ImagesAPI(service: core.images, publicURL: url),
            NodesAPI(service: metal.nodes, publicURL: url),
            ResourcesAPI(service: metal.nodes, publicURL: url),
            DriversAPI(service: metal.nodes, publicURL: url), RamdiskAPI(),
            BulkAPI(service: bulk, publicURL: url), BMCEventsAPI(service: metal.nodes),
        ]
    }

    private static func script(_ configuration: ControllerConfiguration) throws -> BootScript {
        guard let address = IPv4Address(configuration.boot.address) else {
            throw Fault(
                .invalid,
                "cannot use “\(configuration.boot.address)” for boot.address: it is no IPv4 address"
            )
        }
        return BootScript(address: address, port: configuration.boot.port)
    }

    private static func dashboard(
        _ core: Core,
        _ configuration: ControllerConfiguration,
        _ source: DashboardSource
    ) throws -> DashboardAPI {
        let stylesheet = configuration.stylesheet.flatMap(readText) ?? ""
        return DashboardAPI(
            pages: try DashboardPages(),
            sessions: DashboardSessions(time: SystemTime(), random: SystemRandom()),
            signIn: PasswordSignIn(identity: core.identity),
            source: source,
            bootstrap: Array(stylesheet.utf8),
            time: SystemTime()
        )
    }
}

/// Nodes, their agents and what works on them.
struct BareMetal {
    let registry: AgentRegistry
    let dispatcher: AgentDispatcher
    let nodes: NodesService
    let reconciler: NodeReconciler
    let redfish: RedfishPower

    init(_ core: Core, _ configuration: ControllerConfiguration, logger: Logger) {
        let (time, random) = (SystemTime(), SystemRandom())
        registry = AgentRegistry(
            database: core.database,
            link: core.link,
            time: time,
            random: random
        )
        dispatcher = AgentDispatcher(
            link: core.link,
            registry: registry,
            metricSeconds: UInt32(configuration.agents.metricInterval.components.seconds),
            time: time,
            logger: logger
        )
        redfish = RedfishPower(settings: RedfishSettings(), time: time)
        var drivers = [
            NodeDriver.ipmi(IPMIPower(settings: IPMIPower.Settings(), time: time)),
            .redfish(redfish), .manual(),
        ]
        if configuration.fakeHardware { drivers.append(.fake()) }
        nodes = NodesService(
            database: core.database,
            sealer: core.sealer,
            images: core.images,
            drivers: drivers,
            queue: NodeQueue(),
            settings: Self.settings(core, configuration),
            time: time,
            random: random,
            logger: logger
        )
        reconciler = NodeReconciler(service: nodes, agents: dispatcher, keys: registry)
    }

    private static func settings(
        _ core: Core,
        _ configuration: ControllerConfiguration
    ) -> BaremetalSettings {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let agents = configuration.agents
        var settings = BaremetalSettings(
            imageURL: "https://\(configuration.boot.address):\(configuration.api.port)",
            controller: BootFragment.Controller(
                address: configuration.boot.address,
                enrolmentPort: agents.enrolmentPort,
                controlPort: agents.controlPort,
                telemetryPort: agents.telemetryPort,
                curveKey: core.publicKey.z85
            ),
            hostName: String(
                decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
                as: UTF8.self
            )
        )
        settings.bootURL = "http://\(configuration.boot.address):\(configuration.boot.port)"
        settings.automatedClean = configuration.automatedClean
        settings.cleanPriorities = configuration.cleanPriorities
        settings.isDiscoveryOpen = configuration.boot.discovery
        settings.trustsFirstBoot = agents.trustsFirstBoot
        settings.rotatesCredentials = configuration.rotatesCredentials
        if configuration.redfishEvents { settings.eventsURL = configuration.api.publicURL }
        settings.powerPoll = configuration.powerPoll
        settings.work = configuration.work
        return settings
    }
}

extension WebhooksService {
    convenience init(
        _ core: Core,
        _ nodes: NodesService,
        _ configuration: ControllerConfiguration,
        logger: Logger
    ) {
        self.init(
            database: core.database,
            sealer: core.sealer,
            sender: HTTPSWebhookSender(
                rules: configuration.webhooks,
                authority: configuration.webhookAuthority
            ),
            scope: NodeEventScope(nodes: nodes),
            rules: configuration.webhooks,
            time: SystemTime(),
            random: SystemRandom(),
            logger: logger
        )
    }
}

/// A node's events are seen by whom the node is owned or leased.
struct NodeEventScope: EventScope {
    let nodes: NodesService

    func isVisible(node: String, to project: String) async throws -> Bool {
        guard let id = NodeID(node), let node = try await nodes.find(id) else { return false }
        return node.owner == project || node.lessee == project
    }
}
