import ArgumentParser
import Basics
import FoundationEssentials
import Glibc
import HostTools
import Undercloud

/// `rdo undercloud …`: this host as an undercloud.
struct UndercloudCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undercloud",
        abstract: "Install, start and stop the undercloud on this host.",
        subcommands: [
            UndercloudInstallCommand.self, UndercloudStartCommand.self, UndercloudStopCommand.self,
            UndercloudStatusCommand.self, UndercloudUninstallCommand.self,
        ]
    )
}

/// What every undercloud command needs to know.
enum ThisUndercloud {
    static let layout = UndercloudLayout()

    /// The settings of the last install.
    static func settings() throws -> UndercloudSettings {
        guard let text = readText(layout.installed) else {
            throw Fault(
                .notFound,
                "cannot find an undercloud on this host: \(layout.installed) is missing; run “rdo undercloud install”"
            )
        }
        return try UndercloudSettings(INIFile(text, path: layout.installed), path: layout.installed)
    }

    static func control() throws -> ServiceControl {
        ServiceControl(layout: layout, settings: try settings(), time: SystemTime())
    }

    static func person() throws -> Account {
        guard let person = Account.operatorAccount(environment: environment()) else {
            throw Fault(.notFound, "cannot tell who runs this command: this user has no account")
        }
        return person
    }

    static func requireRoot(_ what: String) throws {
        guard isRoot else { throw Fault(.forbidden, "cannot \(what): run it as root") }
    }

    /// Waits until the API answers, or tells why it does not.
    static func waitForAPI(_ control: ServiceControl, settings: UndercloudSettings) async throws {
        let time = SystemTime()
        let deadline = time.elapsed + .seconds(60)
        let host = settings.namespace == nil ? settings.publicHost : "127.0.0.1"
        while true {
            if await Probe.answers(
                "https://\(host):\(settings.apiPort)/",
                authority: layout.authority
            ) {
                return
            }
            for service in try await control.status() where !service.isRunning {
                throw Fault(
                    .unavailable,
                    "cannot start \(service.name): it ended at once; its log \(service.log) ends with:\n\(ServiceControl.tail(of: service.log))"
                )
            }
            guard time.elapsed < deadline else {
                throw Fault(
                    .timeout,
                    "cannot reach the API at https://\(host):\(settings.apiPort) within 60 s; see \(layout.controllerLog)"
                )
            }
            try await time.sleep(for: .milliseconds(250))
        }
    }
}

/// `rdo undercloud install`.
struct UndercloudInstallCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "install",
        abstract:
            "Make this host an undercloud and start it; running it again changes only what differs.",
        discussion: """
            Makes the service user, directories, certificate, keys, admin password, clouds.yaml, DHCP and \
            units. The password is written to clouds.yaml only and never shown.
            """
    )

    @Option(name: .long, help: "The settings, in undercloud.conf format.")
    var config: String?

    @Option(
        name: .long,
        help: "The folder with the built programs (default: where this one stands)."
    )
    var programs: String?

    @Flag(name: .customLong("no-start"), help: "Do not start the services.")
    var isNotStarted = false

    func run() async throws {
        try ThisUndercloud.requireRoot("install the undercloud")
        var text = ""
        if let config {
            guard let content = readText(config) else {
                throw Fault(
                    .notFound,
                    "cannot read \(config): there is no such file, or you may not read it"
                )
            }
            text = content
        }
        let path = config ?? "undercloud.conf"
        let settings = try UndercloudSettings(INIFile(text, path: path), path: path)
        for key in settings.ignored {
            Console.progress.line(
                "\(path): \(key) has no effect here; discovery uses the same network"
            )
        }
        let layout = ThisUndercloud.layout
        let time = SystemTime()
        let outcome = try await UndercloudInstaller(
            layout: layout,
            settings: settings,
            programs: try programs ?? Self.ownFolder(),
            person: try ThisUndercloud.person(),
            time: time,
            random: SystemRandom()
        ).install()
        for change in outcome.changes { Console.progress.line(change) }
        try writeText(text, to: layout.installed)

        let control = ServiceControl(layout: layout, settings: settings, time: time)
        if !isNotStarted {
            if outcome.needsRestart { try await control.stop() }
            try await control.start()
            try await ThisUndercloud.waitForAPI(control, settings: settings)
        }
        Console.output.line(
            """
            The undercloud is ready: https://\(settings.publicHost):\(settings.apiPort)
            Dashboard: https://\(settings.publicHost):\(settings.apiPort)/dashboard
            Try: openstack --os-cloud rdo baremetal node list   (\(outcome.cloudsFile))
            """
        )
    }

    private static func ownFolder() throws -> String {
        let path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return path.split(separator: "/").dropLast().reduce(into: "") { $0 += "/\($1)" }
    }
}

/// `rdo undercloud start`.
struct UndercloudStartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start what does not run."
    )

    func run() async throws {
        try ThisUndercloud.requireRoot("start the undercloud")
        let control = try ThisUndercloud.control()
        try await control.start()
        try await ThisUndercloud.waitForAPI(control, settings: try ThisUndercloud.settings())
        Console.output.line("The undercloud runs.")
    }
}

/// `rdo undercloud stop`.
struct UndercloudStopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "Stop the services; machines and data are let be."
    )

    func run() async throws {
        try ThisUndercloud.requireRoot("stop the undercloud")
        try await ThisUndercloud.control().stop()
        Console.output.line("The undercloud is stopped.")
    }
}

/// `rdo undercloud status`.
struct UndercloudStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show which services run; exits 1 when one does not."
    )

    func run() async throws {
        let list = try await ThisUndercloud.control().status()
        for service in list {
            let state = service.isRunning ? "running" : "stopped"
            let number = service.pid.map { " (process \($0))" } ?? ""
            Console.output.line("\(service.name): \(state)\(number), log \(service.log)")
        }
        if list.contains(where: { !$0.isRunning }) { throw ExitCode.failure }
    }
}

/// `rdo undercloud uninstall`.
struct UndercloudUninstallCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uninstall",
        abstract: "Stop the services and remove everything that install made, data included."
    )

    @Flag(name: .long, help: "Yes, delete the database, images and keys.")
    var deleteData = false

    func run() async throws {
        try ThisUndercloud.requireRoot("uninstall the undercloud")
        guard deleteData else {
            throw ValidationError(
                "This deletes the database, images and keys; say --delete-data if you mean it."
            )
        }
        if FileManager.default.fileExists(atPath: ThisUndercloud.layout.installed) {
            try await ThisUndercloud.control().stop()
        }
        try await UndercloudRemoval(
            layout: ThisUndercloud.layout,
            person: try ThisUndercloud.person(),
            time: SystemTime()
        ).remove()
        Console.output.line("The undercloud is removed.")
    }
}
