import Basics
import FoundationEssentials
import Harness
import HostTools

/// A server that is measured.
package protocol MeasuredServer: Sendable {
    /// Its process.
    var pid: Int32 { get }

    /// Where its Bare Metal API is, with what it wants to see of us.
    var target: LoadTarget { get }

    /// Ends it.
    func stop() async throws
}

/// Our controller, with keys, certificate and state in a temporary folder.
///
/// TLS and tokens are on, as they always are: there is no other way.
package final class ControllerServer: MeasuredServer {
    // SAFETY: used by one section at a time, never by two tasks.
    nonisolated(unsafe) private let controller: RunningController
    package let pid: Int32
    package let target: LoadTarget
    /// Plain HTTP, as machines boot.
    let boot: LoadTarget
    /// The folder of its state and keys.
    let folder: String

    private init(_ controller: RunningController, token: String, _ target: LoadTarget) {
        self.controller = controller
        pid = controller.pid ?? 0
        self.target = target.with("X-Auth-Token", token)
        boot = LoadTarget(host: "127.0.0.1", port: controller.ports["boot.port"] ?? 0)
        folder = controller.folder.path
    }

    /// Starts one with settings as installed, apart from ports, directories, and the driver without hardware.
    static func start(_ options: BenchOptions) async throws -> ControllerServer {
        let controller = try await RunningController(
            settings: ["log.level": "info", "agents.trust_first_boot": "true"]
        )
        try await controller.start()
        let authority = readText(controller.authority) ?? ""
        let open = LoadTarget(
            host: "127.0.0.1",
            port: controller.port,
            trust: try LoadTrust(pem: authority)
        )
        return ControllerServer(
            controller,
            token: try signIn(open, controller.password.reveal()),
            open
        )
    }

    private static func signIn(_ target: LoadTarget, _ password: String) throws -> String {
        let body = """
            {"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin",\
            "domain":{"name":"Default"},"password":"\(password)"}}},\
            "scope":{"project":{"name":"admin","domain":{"name":"Default"}}}}}
            """
        let answer = try LoadConnection(target).ask(
            "POST",
            "/identity/v3/auth/tokens",
            Array(body.utf8)
        )
        guard answer.status == 201, let token = answer.header("X-Subject-Token") else {
            throw Fault(
                .unavailable,
                "cannot sign in at the controller: status \(answer.status); look at its log"
            )
        }
        return token
    }

    package func stop() async throws { _ = try await controller.stop() }

    /// One of its ports, by its configuration key.
    func port(_ key: String) -> UInt16 { controller.ports[key] ?? 0 }

    /// What it has logged so far.
    var log: String { readText(controller.log) ?? "" }

    /// The certificate that its API has.
    var authority: String { readText(controller.authority) ?? "" }
}

/// Ironic in one process, with SQLite and its driver without hardware.
package final class IronicServer: MeasuredServer {
    /// How Ironic is set up.
    package enum Mode: String, Sendable, CaseIterable {
        /// With a password per request and TLS, as ours has.
        case likeForLike = "http_basic"
        /// As its own documents begin: no password, no TLS.
        case open = "noauth"

        var words: String {
            switch self {
            case .likeForLike: "password and TLS"
            case .open: "no password, no TLS"
            }
        }
    }

    private let process: BackgroundProcess
    package let target: LoadTarget
    package let version: String
    package var pid: Int32 { process.identity.pid }

    private init(_ process: BackgroundProcess, _ target: LoadTarget, _ version: String) {
        self.process = process
        self.target = target
        self.version = version
    }

    /// Installs Ironic into a virtual environment (once) and starts it on a fresh database.
    static func start(_ mode: Mode, _ options: BenchOptions) async throws -> IronicServer {
        let script = options.repository + "/packaging/bench.d/ironic"
        let folder = options.repository + "/.build/bench/ironic"
        let socket = try ListeningSocket.open("127.0.0.1", port: 0)
        let port = socket.port
        socket.close()
        let prepared = try await Tool.require(
            script,
            ["prepare", folder, mode.rawValue, String(port)],
            budget: .seconds(900),
            time: SystemTime()
        )
        let process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                script,
                ["serve", folder],
                pidFile: folder + "/pid",
                logFile: folder + "/ironic.out"
            )
        )
        var target = LoadTarget(host: "127.0.0.1", port: port)
        if mode == .likeForLike {
            target.trust = try LoadTrust(pem: readText(folder + "/server.pem") ?? "")
            let pair = Data("admin:bench".utf8).base64EncodedString()
            target = target.with("Authorization", "Basic \(pair)")
        }
        let server = IronicServer(
            process,
            target,
            String(prepared.output.split(separator: "\n").last ?? "Ironic")
        )
        let probe = target
        try await eventually("Ironic", within: .seconds(60)) {
            guard process.isAlive else {
                throw Fault(.unavailable, "cannot start Ironic: look at \(folder)/ironic.out")
            }
            // Nothing listens at first.
            guard let answer = try? LoadConnection(probe).ask("GET", "/v1/drivers") else {
                return false
            }
            return String(decoding: answer.body, as: UTF8.self).contains("fake-hardware")
        }
        return server
    }

    package func stop() async throws { try await process.kill(time: SystemTime()) }
}
