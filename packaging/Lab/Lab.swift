package import Basics
import FoundationEssentials
import Glibc
import HostTools

/// A virtual data centre: machines with firmware, disks and BMCs on a network of their own.
///
/// ```
/// (nothing) ── up ──> up ── down ──> (nothing)
/// ```
/// `up` makes what is missing and `down` removes what is there, so each may follow a crash or itself.
package struct Lab: Sendable {
    package let places: LabPlaces
    package let network: LabNetwork
    private let time: any TimeSource
    private let random: any RandomSource

    package init(
        places: LabPlaces = LabPlaces(),
        time: any TimeSource,
        random: any RandomSource
    ) {
        self.places = places
        network = LabNetwork(places: places, time: time)
        self.time = time
        self.random = random
    }

    /// The plan of the lab that is up, or `nil`.
    /// - Throws: `Fault` when its file cannot be understood.
    package func plan() throws -> LabPlan? {
        guard let text = readText(places.planFile) else { return nil }
        do {
            return try LabPlan(text: text)
        } catch {
            throw Fault(
                .internalError,
                "cannot read the lab's plan \(places.planFile); run “rdo lab down” and “rdo lab up”",
                cause: error
            )
        }
    }

    /// Brings the lab up; the machines stay off until somebody powers them on.
    ///
    /// `hook` is the command by which a BMC calls us back: the path of `rdo`, `lab`, `chassis` and options;
    /// the machine's name is added.
    /// - Throws: `Fault`: `unavailable` with everything that is missing, `conflict` when another lab is up.
    package func up(_ wanted: LabPlan, hook: [String]) async throws {
        try Prerequisites.check(wanted)
        if let present = try plan(), present != wanted {
            throw Fault(
                .conflict,
                "cannot bring up the lab: one with other machines is there; run “rdo lab down” first"
            )
        }
        guard (1...LabPlan.machinesMax).contains(wanted.machines.count) else {
            throw Fault(
                .invalid,
                "cannot bring up a lab of \(wanted.machines.count) machines: choose 1 to \(LabPlan.machinesMax)"
            )
        }
        try makeDirectories(places.root)
        // First the plan: whatever happens next, `down` knows what to look for.
        try writeText(try wanted.text, to: places.planFile)
        let password = try password()
        try await network.up(wanted.machines)
        for machine in wanted.machines {
            try makeMachine(machine)
            try await BMC(machine: machine, lab: places, time: time)
                .start(password: password, hook: hook + [machine.name])
        }
        try writeText(
            try NodeList.text(wanted, password: password),
            to: places.nodeFile,
            mode: 0o600
        )
    }

    /// Removes every process, namespace and file of the lab.
    /// - Throws: `Fault` (`conflict`) before anything is touched when processes that are not the lab's live
    ///   in the undercloud's namespace, unless `force`, which ends them.
    package func down(force: Bool) async throws {
        let strangers = try await network.processes(in: places.undercloudNamespace)
        guard strangers.isEmpty || force else {
            let names = strangers.map { process in
                let name =
                    readText("/proc/\(process.pid)/comm")?
                    .split(whereSeparator: \.isNewline).first ?? "?"
                return "\(name) (\(process.pid))"
            }
            throw Fault(
                .conflict,
                "cannot take the lab down: \(names.joined(separator: ", ")) run in namespace \(places.undercloudNamespace); stop the undercloud first, or use --force"
            )
        }
        // The plan may be damaged: directories tell the machines too.
        for name in machineDirectories() {
            let machine = places.machine(name)
            try await BackgroundProcess(pidFile: machine.bmcPidFile)?.kill(time: time)
            try await BackgroundProcess(pidFile: machine.pidFile)?.kill(time: time)
        }
        try await end(strangers + network.processes(in: places.labNamespace))
        try await network.down()
        try removeTree(places.root)
    }

    /// The control of one machine.
    /// - Throws: `Fault` (`notFound`) when the lab is down or has no such machine.
    package func control(of name: String) throws -> MachineControl {
        guard let plan = try plan() else {
            throw Fault(.notFound, "cannot find the lab: it is down; run “rdo lab up”")
        }
        guard let machine = plan.machines.first(where: { $0.name == name }) else {
            let names = plan.machines.map(\.name).joined(separator: ", ")
            throw Fault(.notFound, "cannot find lab machine \(name): there are \(names)")
        }
        return MachineControl(
            machine: machine,
            lab: places,
            accelerator: plan.accelerator,
            time: time
        )
    }

    private func password() throws -> Secret {
        if let text = readText(places.passwordFile), !text.isEmpty { return Secret(text) }
        let password = BMCConfiguration.makePassword(random)
        try writeText(password.reveal(), to: places.passwordFile, mode: 0o600)
        return password
    }

    private func makeMachine(_ machine: LabMachine) throws {
        let files = places.machine(machine.name)
        try makeDirectories(files.directory, mode: 0o700)
        let disk = open(files.disk, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard disk >= 0 else { throw systemFault("make disk \(files.disk)") }
        defer { close(disk) }
        guard ftruncate(disk, off_t(machine.diskGibibytes) << 30) == 0 else {
            throw systemFault("make disk \(files.disk)")
        }
        if machine.firmware == .uefi, access(files.variables, F_OK) != 0 {
            try FileManager.default.copyItem(
                atPath: QEMUArguments.firmwareVariables,
                toPath: files.variables
            )
        }
    }

    private func machineDirectories() -> [String] {
        // No directory, no machines.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: places.root)) ?? []
        return names.filter { $0.first == "c" && Int($0.dropFirst()) != nil }.sorted()
    }

    private func end(_ processes: [ProcessIdentity]) async throws {
        for process in processes { process.send(SIGKILL) }
        let deadline = time.elapsed + .seconds(10)
        while let process = processes.first(where: \.isAlive) {
            guard time.elapsed < deadline else {
                throw Fault(.timeout, "cannot end process \(process.pid) of the lab")
            }
            try await time.sleep(for: .milliseconds(20))
        }
    }
}
