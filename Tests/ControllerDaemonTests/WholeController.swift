import Basics
import ControllerDaemon
import HTTP
import Harness
import HostTools
import Hummingbird
import Logging
import Rights
import Transport

@testable import ControllerDaemon

/// Every area of a controller with its own database and keys, whose services do not run.
struct WholeController {
    let folder: TemporaryFolder
    let configuration: ControllerConfiguration
    let core: Core
    let areas: Areas
    let surface: Surface
    static let password = Secret("a password of the tests")
    /// Takes the tokens of the rights' tables in place of signed ones.
    static let authenticator = Tokens()

    init() async throws {
        folder = try TemporaryFolder()
        let path = folder.path
        for name in ["state/images", "state/dhcp", "run"] { try makeDirectories("\(path)/\(name)") }
        try writeText("no certificate\n", to: path + "/authority.pem")
        var settings = [
            "state_directory": path + "/state", "run_directory": path + "/run",
            "api.public_url": "https://192.0.2.1:6385", "api.authority": path + "/authority.pem",
            "boot.address": "127.0.0.1", "dhcp.interface": "lo",
            "agents.curve_key": path + "/curve.key", "identity.sealing_key": path + "/sealing.key",
            "identity.token_key": path + "/token.key", "identity.admin_hash": path + "/admin.hash",
            "baremetal.fake_hardware": "true",
        ]
        for key in [
            "boot.port", "agents.enrolment_port", "agents.control_port", "agents.telemetry_port",
            "agents.stream_port", "api.port",
        ] {
            settings[key] = String(try FreePorts.take())
        }
        configuration = try ControllerConfiguration(
            ConfigurationSources(
                flags: settings.map { "\($0.key)=\($0.value)" }.sorted(),
                environment: [:],
                file: nil,
                path: "controller.yaml"
            )
        )
        _ = try Preparation(configuration: configuration, random: SystemRandom())
            .run(adminPassword: Self.password)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        core = try await Core(
            configuration,
            time: SystemTime(),
            random: SystemRandom(),
            logger: logger
        )
        areas = try Areas(core, configuration, logger: logger)
        surface = Controller.makeSurface(
            core,
            areas,
            configuration,
            Self.authenticator,
            logger
        )
    }

    /// Gives its sockets back.
    func close() async { await core.link.close() }
}
