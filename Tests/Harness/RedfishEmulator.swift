import Basics
import Glibc
import HostTools

/// sushy-tools' Redfish emulator, a real process with machines that exist in its memory.
package final class RedfishEmulator {
    package let port: UInt16
    package let folder: TemporaryFolder
    private var process: BackgroundProcess?
    private let isSecure: Bool

    package static let user = "admin"
    package static let password = "a secret of the tests"
    /// bcrypt of the password, at the lowest cost, as the emulator keeps it.
    package static let passwordHash = "$2b$04$AxME3UiIGhRoj2bJ6n6pX.RN0CYf6vx3BATqKyhlWubQEzNq/po0S"
    /// The first machine's path.
    package static let system = "/redfish/v1/Systems/" + machine
    /// The first machine's UUID.
    package static let machine = machines[0]

    private static let machines = (1...4).map { "27946b59-9e44-4fa7-8e91-f3527a1ef09\($0)" }

    package var log: String { folder.path + "/emulator.log" }
    /// The certificate that it shows, when it speaks TLS.
    package var certificate: String { folder.path + "/emulator.pem" }

    /// Where the emulator is installed: `TEST_EMULATOR_VENV`, as `packaging/check` sets it.
    package static let program: String = {
        let folder = getenv("TEST_EMULATOR_VENV").map { String(cString: $0) }
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let places = [folder, root + "/.build/emulator"].compactMap(\.self)
        return places.map { $0 + "/bin/sushy-emulator" }.first { Tool.locate($0) != nil }
            ?? "/nonexistent/sushy-emulator"
    }()

    /// Starts it and waits until it answers.
    /// - Throws: `Fault` with the end of its log when it does not.
    package init(isSecure: Bool = false) async throws {
        self.isSecure = isSecure
        port = try FreePorts.take()
        folder = try TemporaryFolder()
        let path = folder.path
        try makeDirectories(path + "/state")
        try writeText(
            "\(Self.user):\(Self.passwordHash)\n",
            to: path + "/users",
            mode: 0o600
        )
        let systems = Self.machines.enumerated().map { index, id in
            "{'uuid': '\(id)', 'name': 'm\(index)', 'power_state': 'Off', 'external_notifier': False, "
                + "'nics': [{'mac': '52:54:00:c0:00:0\(index)', 'ip': '192.0.2.10\(index)'}]}"
        }
        try writeText(
            """
            SUSHY_EMULATOR_FAKE_DRIVER = True
            SUSHY_EMULATOR_FAKE_SYSTEMS = [\(systems.joined(separator: ", "))]
            SUSHY_EMULATOR_STATE_DIR = '\(path)/state'
            SUSHY_EMULATOR_AUTH_FILE = '\(path)/users'

            """,
            to: path + "/emulator.conf"
        )
        if isSecure { try await makeCertificate() }
        try await start()
    }

    /// Starts it, also after it was killed: on the same port, with the same machines.
    /// - Throws: `Fault` with the end of its log when it does not.
    package func start() async throws {
        let path = folder.path
        var arguments = [
            "--config", path + "/emulator.conf", "--interface", "127.0.0.1", "--port", "\(port)",
        ]
        if isSecure {
            arguments += ["--ssl-certificate", certificate, "--ssl-key", path + "/emulator.key"]
        }
        let process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                Self.program,
                arguments,
                pidFile: path + "/pid",
                logFile: path + "/emulator.log"
            )
        )
        self.process = process
        try await eventually("the Redfish emulator", within: .seconds(60)) {
            guard process.isAlive else {
                throw Fault(.unavailable, "cannot start the emulator: \(readText(log) ?? "no log")")
            }
            let scheme = isSecure ? "https" : "http"
            let result = try await Tool.run(
                "curl",
                ["--silent", "--insecure", "\(scheme)://127.0.0.1:\(port)/redfish/v1/"],
                budget: .seconds(60),
                time: SystemTime()
            )
            return result.exitCode == 0
        }
    }

    /// Lets it take connections and answer nothing.
    package func freeze() { process?.identity.send(SIGSTOP, group: true) }

    /// Lets it answer again.
    package func thaw() { process?.identity.send(SIGCONT, group: true) }

    deinit { process.map { $0.identity.send(SIGKILL, group: true) } }

    /// Ends it at once.
    package func kill() async throws {
        try await process?.kill(time: SystemTime())
        process = nil
    }

    private func makeCertificate() async throws {
        _ = try await TestCertificate(
            at: certificate,
            key: folder.path + "/emulator.key",
            name: "bmc",
            alternatives: ["IP:127.0.0.1"]
        )
    }
}
