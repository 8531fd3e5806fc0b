package import Basics
import FoundationEssentials
import Glibc
package import HostTools

/// A real `rdo-controller` with keys, certificate and state in a folder of its own, on ports of its own.
package final class RunningController {
    package let folder: TemporaryFolder
    /// The port of the API on 127.0.0.1.
    package let port: UInt16
    /// The admin's password.
    package let password: Secret
    /// Its other ports, by their configuration keys.
    package let ports: [String: UInt16]
    private let settings: [String: String]
    private let addresses: [String]
    private let socket: ListeningSocket
    private var process: BackgroundProcess?

    /// The address of the API.
    package var url: String { "https://127.0.0.1:\(port)" }
    package var log: String { folder.path + "/controller.log" }
    package var authority: String { folder.path + "/server.pem" }
    package var cloudsFile: String { folder.path + "/clouds.yaml" }

    /// The process while it runs.
    package var pid: Int32? { process?.identity.pid }

    /// Makes everything that the controller needs; does not start it.
    ///
    /// `settings` go before the ones that tests run with; `addresses` are further ones in its certificate.
    package init(settings: [String: String] = [:], addresses: [String] = []) async throws {
        self.settings = settings
        self.addresses = addresses
        folder = try TemporaryFolder()
        // The API's socket is ours and handed over, so its port cannot be taken by anybody else.
        socket = try ListeningSocket.open("127.0.0.1", port: 0, name: "api")
        port = socket.port
        password = Secret("test-" + SystemRandom().bytes(8).map { String($0) }.joined())
        var ports: [String: UInt16] = [:]
        for key in [
            "boot.port", "agents.enrolment_port", "agents.control_port", "agents.telemetry_port",
            "agents.stream_port", "api.port",
        ] {
            ports[key] = try FreePorts.take()
        }
        self.ports = ports
        for name in [
            "state", "run", "state/tftp", "state/images", "state/http/ramdisk",
            "state/dhcp/hosts.d",
        ] {
            try makeDirectories(folder.path + "/" + name)
        }
        try await makeCertificate()
        try await prepare()
        try writeText(
            """
            clouds:
              rdo:
                auth:
                  auth_url: \(url)/identity/v3
                  username: admin
                  password: "\(password.reveal())"
                  project_name: admin
                  user_domain_name: Default
                  project_domain_name: Default
                cacert: \(authority)
                region_name: RegionOne

            """,
            to: cloudsFile,
            mode: 0o600
        )
    }

    deinit {
        process.map { $0.identity.send(SIGKILL, group: true) }
        socket.close()
    }

    /// The flags of this controller's settings.
    package func arguments(_ more: [String] = []) -> [String] {
        let path = folder.path
        var settings = [
            "state_directory": path + "/state", "run_directory": path + "/run", "api.address": "",
            "api.public_url": url, "api.certificate": path + "/server.pem",
            "api.key": path + "/server.key", "api.authority": path + "/server.pem",
            "boot.address": "127.0.0.1", "dhcp.interface": "lo",
            "agents.curve_key": path + "/curve.key", "identity.sealing_key": path + "/sealing.key",
            "identity.token_key": path + "/token.key", "identity.admin_hash": path + "/admin.hash",
            "baremetal.fake_hardware": "true", "log.level": "debug",
        ]
        for (key, port) in ports { settings[key] = String(port) }
        settings.merge(self.settings) { $1 }
        let flags = settings.sorted { $0.key < $1.key }.flatMap {
            ["--set", "\($0.key)=\($0.value)"]
        }
        return ["--config", path + "/controller.yaml"] + flags + more
    }

    /// Starts it and waits until the API answers.
    /// - Throws: `Fault` with the end of its log when it does not.
    package func start() async throws {
        var request = BackgroundProcess.Request(
            try BuiltProgram.path("rdo-controller"),
            arguments(),
            pidFile: folder.path + "/pid",
            logFile: log
        )
        request.sockets = [socket]
        let process = try BackgroundProcess.start(request)
        self.process = process
        try await eventually("the API of \(url)", within: .seconds(60)) {
            guard process.isAlive else {
                let words = (readText(log) ?? "").split(separator: "\n").suffix(10).joined(
                    separator: "\n"
                )
                throw Fault(.unavailable, "cannot start the controller: \(words)")
            }
            return try await curl(["--output", "/dev/null"], "/").exitCode == 0
        }
    }

    /// Stops it as a service manager does.
    /// - Returns: whether it ended by itself within 15 s.
    package func stop() async throws -> Bool {
        guard let process else { return true }
        process.identity.send(SIGTERM)
        let ended = try await process.ends(within: .seconds(15), time: SystemTime())
        if !ended { try await process.kill(time: SystemTime()) }
        self.process = nil
        return ended
    }

    /// Ends it at once, as a power cut would.
    package func kill() async throws {
        try await process?.kill(time: SystemTime())
        process = nil
    }

    /// Asks the API with curl.
    package func curl(_ options: [String], _ path: String) async throws -> ToolResult {
        try await Tool.run(
            "curl",
            ["--silent", "--show-error", "--max-time", "20", "--cacert", authority] + options + [
                url + path
            ],
            budget: .seconds(30),
            time: SystemTime()
        )
    }

    /// Signs in as the administrator.
    /// - Returns: a token for the admin project.
    package func token() async throws -> String {
        let file = folder.path + "/sign-in.json"
        try writeText(
            """
            {"auth": {"identity": {"methods": ["password"], "password": {"user": {
              "name": "admin", "domain": {"id": "default"}, "password": "\(password.reveal())"}}},
              "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
            """,
            to: file,
            mode: 0o600
        )
        let result = try await curl(
            [
                "--fail", "--data", "@" + file, "--header", "Content-Type: application/json",
                "--output", "/dev/null", "--write-out", "%header{x-subject-token}",
            ],
            "/identity/v3/auth/tokens"
        )
        guard result.exitCode == 0, !result.output.isEmpty else {
            throw Fault(.unauthenticated, "cannot sign in at \(url): \(result.lastWords)")
        }
        return result.output
    }

    private func makeCertificate() async throws {
        _ = try await TestCertificate(
            at: authority,
            key: folder.path + "/server.key",
            name: "localhost",
            alternatives: ["DNS:localhost"] + (["127.0.0.1"] + addresses).map { "IP:\($0)" }
        )
    }

    private func prepare() async throws {
        try writeText("# everything is set by flags\n", to: folder.path + "/controller.yaml")
        try await Tool.require(
            try BuiltProgram.path("rdo-controller"),
            arguments(["--prepare", "--admin-password-from-input"]),
            input: password.revealBytes(),
            budget: .seconds(60),
            time: SystemTime()
        )
    }
}
