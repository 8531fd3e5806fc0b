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

        let (api, boot) = try makeServers(core, areas, configuration, sockets, logger)
        var services: [any Service] = [areas.gateway, areas.reconciler, areas.deployments]
        services += [
            areas.bulk, areas.webhooks, areas.events, boot, api,
            Housekeeping(
                database: core.database,
                identity: core.identity,
                keep: configuration.eventsKeep,
                time: time
            ),
        ]
        // The group's own debugging prints every service with all it holds.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .notice)
        var group = ServiceGroupConfiguration(
            services: services,
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: quiet
        )
        group.maximumGracefulShutdownDuration = shutdownBudget
        logger.notice(
            "controller starts",
            metadata: [LogKey.path: "\(configuration.stateDirectory)"]
        )
        do {
            try await ServiceGroup(configuration: group).run()
        } catch {
            await areas.redfish.shutDown()
            try? await core.database.write { _ in }  // The first error is the one to tell.
            throw error
        }
        await areas.redfish.shutDown()
        // What nobody waited for is stored before the process ends.
        try await core.database.write { _ in }
        await core.link.close()
        logger.notice("controller ends")
    }

    private static func makeServers(
        _ core: Core,
        _ areas: Areas,
        _ configuration: ControllerConfiguration,
        _ sockets: [ListeningSocket],
        _ logger: Logger
    ) throws -> (api: HTTPServer, boot: HTTPServer) {
        let surface = makeSurface(core, areas, configuration, core.identity, logger)
        let bootSurface = Surface(
            authenticator: nil,
            logger: logger,
            time: core.time,
            random: core.random
        )
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
            time: core.time
        )
        let boot = HTTPServer(
            endpoints: [
                .address(host: configuration.boot.address, port: Int(configuration.boot.port))
            ],
            tls: nil,
            router: bootSurface.makeRouter(),
            logger: logger,
            time: core.time
        )
        return (api, boot)
    }

    /// All routes of the API's listener, with their document.
    static func makeSurface(
        _ core: Core,
        _ areas: Areas,
        _ configuration: ControllerConfiguration,
        _ authenticator: any RequestAuthenticator,
        _ logger: Logger
    ) -> Surface {
        let surface = Surface(
            authenticator: authenticator,
            audit: core.identity,
            logger: logger,
            time: core.time,
            random: core.random
        )
        for area in areas.routes { area.addRoutes(to: surface) }
        surface.addDocument(
            at: "/openapi.json",
            title: "RDO-Manager",
            version: Microversion.maximum.text,
            publicURL: configuration.api.publicURL
        )
        return surface
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
    /// The schema of all areas, in their order.
    private static let migrations =
        IdentityStore.migrations + ImageStore.migrations + AgentStore.migrations
        + baremetalMigrations + DeploymentSchema.migrations + WebhookSchema.migrations

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
            migrations: Self.migrations,
            feed: feed
        )
        identity = try IdentityService(
            database: database,
            signer: TokenSigner(key: KeyFile.read(configuration.identity.tokenKey)),
            tokenValidity: configuration.identity.tokenLifetime,
            time: time,
            random: random,
            logger: logger
        )
        try await identity.bootstrap(
            hash: Secret(hash.reveal().filter { !$0.isWhitespace }),
            catalog: Catalog(publicURL: configuration.api.publicURL)
        )
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
