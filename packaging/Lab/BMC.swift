package import Basics
import FoundationEssentials
import Glibc
import HostTools

/// The management controller of one machine: an `ipmi_sim` in the lab's namespace.
package struct BMC: Sendable {
    private let machine: LabMachine
    private let lab: LabPlaces
    private let places: MachinePlaces
    private let time: any TimeSource

    package init(machine: LabMachine, lab: LabPlaces, time: any TimeSource) {
        self.machine = machine
        self.lab = lab
        places = lab.machine(machine.name)
        self.time = time
    }

    package var isRunning: Bool {
        BackgroundProcess(pidFile: places.bmcPidFile)?.isAlive == true
    }

    /// Starts it, unless it runs already.
    ///
    /// What it kept of earlier runs is dropped: `ipmi_sim` would prefer an old password to the file's.
    /// - Throws: `Fault` when it ends in its first moments, with its last words.
    package func start(password: Secret, hook: [String]) async throws {
        guard !isRunning else { return }
        let configuration = try BMCConfiguration(machine: machine, password: password, hook: hook)
        try makeDirectories(places.bmcDirectory, mode: 0o700)
        try removeTree(places.bmcState)
        try makeDirectories(places.bmcState, mode: 0o700)
        try writeText(configuration.lan, to: places.bmcConfiguration, mode: 0o600)
        try writeText(configuration.commands, to: places.bmcCommands)
        var request = BackgroundProcess.Request(
            BMCConfiguration.program,
            [
                "-n", "-c", places.bmcConfiguration, "-f", places.bmcCommands, "-s",
                places.bmcState,
            ],
            pidFile: places.bmcPidFile,
            logFile: places.bmcLog
        )
        request.directory = places.bmcDirectory
        request.networkNamespace = lab.labNamespace
        let process = try BackgroundProcess.start(request)
        try await waitUntilItListens(process)
    }

    /// Ends it.
    package func stop() async throws {
        try await BackgroundProcess(pidFile: places.bmcPidFile)?
            .stop(within: .seconds(2), time: time)
    }

    /// The port is open when the kernel lists it for the process's network.
    private func waitUntilItListens(_ process: BackgroundProcess) async throws {
        let octets = machine.bmcAddress.split(separator: ".").compactMap { UInt8($0) }
        let address = octets.reversed().map { hex($0) }.joined()
        let port = hex(UInt8(BMCConfiguration.port >> 8)) + hex(UInt8(BMCConfiguration.port & 255))
        let deadline = time.elapsed + .seconds(10)
        while true {
            let table = readText("/proc/\(process.identity.pid)/net/udp") ?? ""
            if table.contains(" \(address):\(port) ") { return }
            guard process.isAlive, time.elapsed < deadline else {
                try await process.kill(time: time)
                let words = (readText(places.bmcLog) ?? "").split(whereSeparator: \.isNewline)
                    .suffix(2).joined(separator: "; ")
                throw Fault(
                    .unavailable,
                    "cannot start the BMC of \(machine.name): ipmi_sim ended"
                        + (words.isEmpty ? "" : ": \(words)") + " (see \(places.bmcLog))"
                )
            }
            try await time.sleep(for: .milliseconds(20))
        }
    }

    private func hex(_ byte: UInt8) -> String {
        let text = String(byte, radix: 16, uppercase: true)
        return text.count == 1 ? "0" + text : text
    }
}

/// Removes a file or a directory with all that is in it; what is not there is no error.
func removeTree(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    do {
        try FileManager.default.removeItem(atPath: path)
    } catch {
        throw Fault(.internalError, "cannot remove \(path)", cause: error)
    }
}
