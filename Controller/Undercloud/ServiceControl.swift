package import Basics
import FoundationEssentials
import HostTools

/// Starts and stops the undercloud's two services: through systemd where it runs the host, by itself
/// elsewhere and in a lab's network namespace.
package struct ServiceControl: Sendable {
    /// One service as it is now.
    package struct Status: Sendable, Equatable {
        package let name: String
        package let isRunning: Bool
        /// The process's number, where we started it.
        package let pid: Int32?
        package let log: String
    }

    private let layout: UndercloudLayout
    private let settings: UndercloudSettings
    private let time: any TimeSource

    package init(layout: UndercloudLayout, settings: UndercloudSettings, time: any TimeSource) {
        self.layout = layout
        self.settings = settings
        self.time = time
    }

    /// Whether systemd is in charge of these services.
    package var usesSystemd: Bool {
        settings.namespace == nil && FileManager.default.fileExists(atPath: "/run/systemd/system")
    }

    /// Starts what does not run.
    /// - Throws: `Fault` that names the service and the reason.
    package func start() async throws {
        if usesSystemd {
            for unit in SystemdUnits.all {
                try await systemctl(["enable", "--now", unit.name])
            }
            return
        }
        try startDNSMasq()
        try startController()
    }

    /// Stops both; what does not run is let be.
    package func stop() async throws {
        if usesSystemd {
            for unit in SystemdUnits.all.reversed() { try await systemctl(["stop", unit.name]) }
            return
        }
        for file in [layout.controllerPID, layout.dnsmasqPID] {
            try await BackgroundProcess(pidFile: file)?.stop(within: .seconds(15), time: time)
        }
    }

    /// Both services.
    package func status() async throws -> [Status] {
        let own = [
            ("rdo-controller", layout.controllerPID, layout.controllerLog),
            ("rdo-dnsmasq", layout.dnsmasqPID, layout.dnsmasqLog),
        ]
        var list: [Status] = []
        for (name, file, log) in own {
            if usesSystemd {
                let result = try await Tool.run(
                    "systemctl",
                    ["is-active", "--quiet", name + ".service"],
                    budget: .seconds(30),
                    time: time
                )
                list.append(Status(name: name, isRunning: result.exitCode == 0, pid: nil, log: log))
            } else {
                let process = BackgroundProcess(pidFile: file).flatMap { $0.isAlive ? $0 : nil }
                list.append(
                    Status(
                        name: name,
                        isRunning: process != nil,
                        pid: process?.identity.pid,
                        log: log
                    )
                )
            }
        }
        return list
    }

    /// The last lines of a log, for a failure's message.
    package static func tail(of log: String, lines: Int = 5) -> String {
        let text = readText(log) ?? ""
        return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
    }

    private func systemctl(_ arguments: [String]) async throws {
        try await Tool.require("systemctl", arguments, budget: .seconds(90), time: time)
    }

    private func isRunning(_ pidFile: String) -> Bool {
        BackgroundProcess(pidFile: pidFile)?.isAlive ?? false
    }

    private func startDNSMasq() throws {
        guard !isRunning(layout.dnsmasqPID) else { return }
        var request = BackgroundProcess.Request(
            "dnsmasq",
            ["--keep-in-foreground", "--conf-file=\(layout.dnsmasqConfiguration)"],
            pidFile: layout.dnsmasqPID,
            logFile: layout.dnsmasqLog
        )
        request.networkNamespace = settings.namespace
        _ = try BackgroundProcess.start(request)
    }

    private func startController() throws {
        guard !isRunning(layout.controllerPID) else { return }
        var request = BackgroundProcess.Request(
            layout.programs + "/rdo-controller",
            ["--config", layout.configuration],
            pidFile: layout.controllerPID,
            logFile: layout.controllerLog
        )
        request.networkNamespace = settings.namespace
        request.user = UndercloudInstaller.userName
        var sockets: [ListeningSocket] = []
        if settings.namespace != nil {
            // Clients on the host reach the API on loopback, although its process lives elsewhere.
            sockets.append(
                try ListeningSocket.open("127.0.0.1", port: UInt16(settings.apiPort), name: "api")
            )
        }
        request.sockets = sockets
        defer { for socket in sockets { socket.close() } }
        _ = try BackgroundProcess.start(request)
    }
}
