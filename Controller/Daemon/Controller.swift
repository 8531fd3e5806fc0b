import Agents
import Baremetal
import Basics
import Boot
import Crypto
import Dashboard
import Deployment
import FoundationEssentials
import Glibc
import HTTP
import HostTools
import Identity
import Images
import Logging
import Power
import Protocol
import ServiceLifecycle
import Store
import Telemetry
import Transport
import UnixSignals

/// Puts the areas together and runs them; the only place that names live implementations.
enum Controller {
    /// Graceful shutdown takes at most this long; then what still runs is cancelled.
    private static let shutdownBudget: Duration = .seconds(10)

    /// Serves until the process is asked to stop.
    /// - Throws: `Fault` in one sentence when something that it needs is missing or wrong.
    static func run(_ configuration: ControllerConfiguration) async throws {
        let logger = makeLogger(configuration)
        let time = SystemTime()
        let random = SystemRandom()
        try checkDirectories(configuration)
        let sockets = ListeningSocket.handedOver()
        let core = try await Core(configuration, time: time, random: random, logger: logger)
        let areas = try Areas(core, configuration, logger: logger)

        let surface = Surface(
            authenticator: core.identity,
            audit: core.identity,
            logger: logger,
            time: time,
            random: random
        )
        for area in areas.routes { area.addRoutes(to: surface) }
        let bootSurface = Surface(authenticator: nil, logger: logger, time: time, random: random)
        areas.bootRoutes.addRoutes(to: bootSurface)

        var endpoints = sockets.filter { $0.name == "api" }.map {
            ListenerEndpoint.handedOver(descriptor: $0.descriptor)
        }
        if let address = configuration.api.address {
            endpoints.append(.address(host: address, port: configuration.api.port))
        }
        guard !endpoints.isEmpty else {
            throw Fault(
                .invalid,
                "cannot serve the API: api.address is empty and no socket was handed over; set api.address"
            )
        }
        let api = HTTPServer(
            endpoints: endpoints,
            tls: TLSFiles(
                certificatePath: configuration.api.certificate,
                keyPath: configuration.api.key
            ),
            router: surface.makeRouter(),
            logger: logger,
            time: time
        )
        let boot = HTTPServer(
            endpoints: [
                .address(host: configuration.boot.address, port: Int(configuration.boot.port))
            ],
            tls: nil,
            router: bootSurface.makeRouter(),
            logger: logger,
            time: time
        )

        var services: [any Service] = [areas.gateway, areas.reconciler, areas.deployments]
        services += [
            boot, api,
            Housekeeping(
                database: core.database,
                identity: core.identity,
                keep: configuration.eventsKeep,
                time: time
            ),
        ]
        var group = ServiceGroupConfiguration(
            services: services,
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: logger
        )
        group.maximumGracefulShutdownDuration = shutdownBudget
        logger.notice(
            "controller starts",
            metadata: [LogKey.path: "\(configuration.stateDirectory)"]
        )
        try await ServiceGroup(configuration: group).run()
        await core.link.close()
        logger.notice("controller ends")
    }

    private static func makeLogger(_ configuration: ControllerConfiguration) -> Logger {
        let level = Logger.Level(rawValue: configuration.logLevel) ?? .info
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
        return Logger(label: "rdo-controller")
    }

    private static func checkDirectories(_ configuration: ControllerConfiguration) throws {
        for (name, path) in [
            ("state", configuration.stateDirectory), ("run", configuration.runDirectory),
        ] where access(path, R_OK | W_OK | X_OK) != 0 {
            throw Fault(
                .unavailable,
                "cannot use the \(name) directory \(path): \(String(cString: strerror(errno)).lowercased()); run “rdo undercloud install” or set \(name)_directory"
            )
        }
    }
}

/// What every area stands on: database, keys, identity, images, the wire.
struct Core {
    let time: any TimeSource
    let random: any RandomSource
    let feed: ChangeFeed
    let database: Database
    let sealer: Sealer
    let identity: IdentityService
    let images: ImagesService
    let link: ZeroMQControllerLink
    let publicKey: CurvePublicKey
    let authority: String
    /// Held for as long as the controller runs.
    private let lock: StateLock

    init(
        _ configuration: ControllerConfiguration,
        time: SystemTime,
        random: SystemRandom,
        logger: Logger
    ) async throws {
        self.time = time
        self.random = random
        lock = try StateLock(directory: configuration.stateDirectory)
        let sealingKey = try KeyFile.read(configuration.identity.sealingKey)
        sealer = try Sealer(keyFile: configuration.identity.sealingKey)
        let curve = try CurveKeyPair(secret: try KeyFile.read(configuration.agents.curveKey))
        publicKey = curve.publicKey
        let signer = try TokenSigner(key: try KeyFile.read(configuration.identity.tokenKey))
        let hash = try KeyFile.read(configuration.identity.adminHash)
        guard let authority = readText(configuration.api.authority) else {
            throw Fault(
                .unavailable,
                "cannot read the certificate authority \(configuration.api.authority): run “rdo undercloud install”"
            )
        }
        self.authority = authority
        feed = ChangeFeed()
        database = try Database(
            path: configuration.stateDirectory + "/controller.sqlite",
            migrations: IdentityStore.migrations + ImageStore.migrations + AgentStore.migrations
                + baremetalMigrations + DeploymentSchema.migrations,
            feed: feed
        )
        identity = IdentityService(
            database: database,
            signer: signer,
            tokenValidity: configuration.identity.tokenLifetime,
            time: time,
            random: random,
            logger: logger
        )
        let line = hash.reveal().filter { !$0.isWhitespace }
        try await identity.bootstrap(hash: Secret(line))
        let capabilityKey = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: sealingKey.revealBytes()),
            info: Array("rdo image capability".utf8),
            outputByteCount: 32
        )
        images = try ImagesService(
            database: database,
            configuration: ImagesService.Configuration(
                directory: configuration.stateDirectory + "/images"
            ),
            capabilityKey: Secret(bytes: capabilityKey.withUnsafeBytes { Array($0) }),
            time: time,
            random: random,
            logger: logger
        )
        try await images.recover()
        let agents = configuration.agents
        link = try await ZeroMQControllerLink(
            ControllerLinkConfiguration(
                address: configuration.boot.address,
                enrolmentPort: agents.enrolmentPort,
                controlPort: agents.controlPort,
                telemetryPort: agents.telemetryPort,
                streamPort: agents.streamPort,
                streamPath: configuration.runDirectory + "/stream.socket",
                keys: curve
            ),
            time: time
        )
    }
}

/// The service areas, connected.
struct Areas {
    let routes: [any RouteArea]
    let bootRoutes: BootRoutes
    let gateway: AgentGateway
    let reconciler: NodeReconciler
    let deployments: DeploymentReconciler

    init(_ core: Core, _ configuration: ControllerConfiguration, logger: Logger) throws {
        let (time, random) = (SystemTime(), SystemRandom())
        let registry = AgentRegistry(
            database: core.database,
            link: core.link,
            time: time,
            random: random
        )
        let dispatcher = AgentDispatcher(
            link: core.link,
            registry: registry,
            metricSeconds: UInt32(configuration.agents.metricInterval.components.seconds),
            time: time,
            logger: logger
        )
        var drivers = [NodeDriver.ipmi(IPMIPower(settings: IPMIPower.Settings(), time: time))]
        if configuration.fakeHardware { drivers.append(.fake()) }
        let nodes = NodesService(
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
        let sealer = RunSealer(sealer: core.sealer)
        deployments = DeploymentReconciler(
            database: core.database,
            agents: dispatcher,
            sealer: sealer,
            time: time,
            logger: logger
        )
        let runs = DeploymentsService(
            database: core.database,
            nodes: ActiveNodes(nodes: nodes),
            sealer: sealer,
            reconciler: deployments,
            time: time,
            random: random
        )
        let overviews = Overviews(nodes: nodes)
        let telemetry = TelemetryService(
            nodes: overviews,
            stream: core.link,
            bus: LinkTraffic(link: core.link),
            time: time,
            logger: logger
        )
        let policy = NodeBootPolicy(service: nodes, keys: registry)
        let leases = LeaseTable(path: configuration.stateDirectory + "/dhcp/leases", time: time)
        gateway = AgentGateway(
            link: core.link,
            registry: registry,
            dispatcher: dispatcher,
            policy: EnrolmentPolicy(
                trustFirstBoot: configuration.agents.trustsFirstBoot,
                certificateAuthority: core.authority
            ),
            leases: leases,
            unknown: policy,
            reports: [reconciler, deployments],
            sinks: [telemetry],
            feed: core.feed,
            time: time,
            logger: logger
        )
        guard let address = IPv4Address(configuration.boot.address) else {
            throw Fault(
                .invalid,
                "cannot use “\(configuration.boot.address)” for boot.address: it is no IPv4 address"
            )
        }
        bootRoutes = BootRoutes(
            policy: policy,
            leases: leases,
            script: BootScript(address: address, port: configuration.boot.port),
            directory: configuration.stateDirectory + "/http",
            logger: logger
        )
        let url = configuration.api.publicURL
        let stylesheet = configuration.stylesheet.flatMap(readText) ?? ""
        routes = [
            BareMetalDiscovery(
                publicURL: url,
                minimum: Microversion.minimum.text,
                maximum: Microversion.maximum.text
            ),
            IdentityAPI(service: core.identity, catalog: Catalog(publicURL: url), publicURL: url),
            ImagesAPI(service: core.images, publicURL: url), AgentImagesAPI(service: core.images),
            NodesAPI(service: nodes, publicURL: url), PortsAPI(service: nodes, publicURL: url),
            DriversAPI(service: nodes, publicURL: url),
            DeploymentsAPI(service: runs),
            EventsAPI(database: core.database, feed: core.feed, time: time),
            TelemetryAPI(service: telemetry),
            AccessAPI(registry: registry, identity: core.identity, publicKey: core.publicKey.z85),
            DashboardAPI(
                pages: try DashboardPages(),
                sessions: DashboardSessions(time: time, random: random),
                signIn: PasswordSignIn(identity: core.identity),
                source: DashboardSource(
                    nodes: overviews,
                    telemetry: telemetry,
                    deployments: runs,
                    database: core.database,
                    time: time
                ),
                bootstrap: Array(stylesheet.utf8),
                time: time
            ),
        ]
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
        settings.automatedClean = configuration.automatedClean
        settings.isDiscoveryOpen = configuration.boot.discovery
        settings.trustsFirstBoot = agents.trustsFirstBoot
        settings.powerPoll = configuration.powerPoll
        return settings
    }
}
