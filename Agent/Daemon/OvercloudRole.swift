import AgentCore
import AgentSteps
import AgentSystem
import Basics
import Logging
import Protocol
import Transport

/// The agent of an installed node: enrols once with the config drive's token, then by its kept key.
struct OvercloudRole {
    /// udev may still be making device files when systemd starts us.
    private static let configDriveAppearsWithin = Duration.seconds(60)

    private let state: NodeState
    private let log: Logger
    private let live = Live()

    init(state directory: String, log: Logger) {
        state = NodeState(directory: directory)
        self.log = log
    }

    /// Obeys the controller until systemd stops it.
    func run() async throws {
        log.notice("rdo-agent \(agentVersion) of an installed node")
        let keys = try state.keys()
        let drive = try await configDrive()
        let connection = try connection(drive)
        let live = live
        let agent = Agent(
            applicant: Applicant(
                role: .overcloud,
                token: connection.token,
                bootMAC: connection.bootMAC,
                agentVersion: agentVersion
            ),
            link: try live.link(connection, keys: keys),
            machine: live.machine,
            journal: FileJournal(path: state.journalPath),
            steps: live.overcloudSteps(),
            power: SystemdPowerSwitch(),
            duties: AgentDuties(
                // NTP keeps the time here; only a wrong date would break TLS.
                takeTime: live.timeTaker(tolerance: .seconds(30), log: log),
                admitted: { [state, log] admission in
                    try state.keep(admission, connection)
                    do {
                        try Systemd.setTimeServers(admission.timeServers)
                    } catch {
                        log.warning("cannot set time servers", metadata: [LogKey.error: "\(error)"])
                    }
                    do {
                        try drive?.forgetToken()
                    } catch {
                        // It was used up by this enrolment; it only should not lie about.
                        log.error(
                            "the token is still on the config drive",
                            metadata: [LogKey.error: "\(error)"]
                        )
                    }
                }
            ),
            random: live.random,
            time: live.time,
            log: log
        )
        // A fresh token means a new deployment, whose old admission is worth nothing.
        let kept = connection.token.isEmpty ? state.admission() : nil
        try await agent.run(kept: kept)
    }

    private func connection(_ drive: ConfigDrive?) throws -> ConnectionFile {
        if let drive {
            let bytes = try drive.file(ConfigDrive.agentFile)
            let fresh = try ConnectionFile(json: bytes, name: ConfigDrive.agentFile)
            if !fresh.token.isEmpty || state.connection() == nil { return fresh }
        }
        guard let kept = state.connection() else {
            throw Fault(
                .notFound,
                "cannot find the controller: there is no config drive with \(ConfigDrive.agentFile) "
                    + "and nothing was kept; deploy the node anew"
            )
        }
        return kept
    }

    /// The config drive; `nil` when there is none and one is not needed.
    private func configDrive() async throws -> ConfigDrive? {
        let end = live.time.elapsed + Self.configDriveAppearsWithin
        while true {
            if let found = ConfigDrive.find(tree: live.tree, disks: SystemDisks()).first {
                return found
            }
            guard state.connection() == nil, live.time.elapsed < end else { return nil }
            try await live.time.sleep(for: .seconds(1))
        }
    }
}
