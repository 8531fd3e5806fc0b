import AgentCore
import AgentSteps
import AgentSystem
import Basics
import FoundationEssentials
import Glibc
import Logging
import Protocol
import Transport

// The real agent on a simulated machine.
extension SimulatedMachine {
    /// The ramdisk is up.
    func startRamdisk(token: Secret) {
        state.value.running = .ramdisk
        note("runs the ramdisk")
        let applicant = Applicant(
            role: .ramdisk,
            token: token,
            bootMAC: mac,
            agentVersion: "simulated"
        )
        start(
            applicant,
            keys: makeKeys(),
            journal: MemoryJournal(),
            kept: nil,
            steps: { $0.ramdiskSteps($1) },
            admitted: { _ in }
        )
    }

    /// The installed system's agent starts, as `OvercloudRole` does.
    func startInstalled() {
        guard case .disk = state.value.running else { return }
        let keys = state.value.installed.keys ?? makeKeys()
        state.value.installed.keys = keys
        let drive = findConfigDrive()
        guard let connection = connection(drive) else {
            note("its agent finds no controller")
            return
        }
        let applicant = Applicant(
            role: .overcloud,
            token: connection.token,
            bootMAC: connection.bootMAC,
            agentVersion: "simulated"
        )
        start(
            applicant,
            keys: keys,
            journal: state.value.installed.journal,
            kept: connection.token.isEmpty ? state.value.installed.admission : nil,
            steps: { $0.installedSteps($1) },
            admitted: { [self] admission in
                state.value.installed.admission = admission
                state.value.installed.connection = connection
                state.value.installed.connection?.token = Secret("")
                // What cannot be overwritten was used up by this enrolment.
                try? drive?.forgetToken()
            }
        )
    }

    /// Some time after its agent died, an installed system starts it again; a ramdisk's kernel is dead.
    func crashAgent() {
        guard state.value.agent != nil else { return }
        note("its agent dies")
        endAgent()
        for disk in disks { disk.releaseAll() }
        if case .disk = state.value.running {
            later(.seconds(10), .seconds(15)) { $0.startInstalled() }
        } else if state.value.dice.happens(500) {
            later(.seconds(10), .seconds(15)) { $0.reset() }
        } else {
            state.value.running = .stuck("kernel panic")
        }
    }

    /// The line breaks while the machine works, and both sides notice.
    func cutLineSoon() {
        later(.milliseconds(100), .seconds(3)) { machine in
            let world = machine.world
            world.network.setCut(true, address: machine.address)
            machine.state.value.agent?.link.disconnect()
            let span = machine.state.value.dice.span(.seconds(1), .seconds(25))
            machine.executor.after(span) {
                world.network.setCut(false, address: machine.address)
            }
        }
    }

    private func makeKeys() -> CurveKeyPair {
        let secret = Secret(Z85.encode(state.value.dice.bytes(32)))
        // Thirty-two bytes in Z85 are always a secret key.
        guard let keys = try? CurveKeyPair(secret: secret) else {
            preconditionFailure("a made-up key was refused")
        }
        return keys
    }

    private func connection(_ drive: ConfigDrive?) -> ConnectionFile? {
        let kept = state.value.installed.connection
        guard let drive, let bytes = try? drive.file(ConfigDrive.agentFile),
            let fresh = try? ConnectionFile(json: bytes, name: ConfigDrive.agentFile)
        else { return kept }
        return !fresh.token.isEmpty || kept == nil ? fresh : kept
    }

    private func findConfigDrive() -> ConfigDrive? {
        let head = root.content(0..<Int64(SimulatedImage.tableBytes), durably: false)
        guard let table = try? PartitionTable(head: head, blockBytes: 512, bytes: root.bytes),
            let (number, partition) = table.partitions.first(where: {
                $0.partition.name == ConfigDriveImage.label
            })
        else { return nil }
        let range = Int64(partition.firstBlock) * 512..<(Int64(partition.lastBlock) + 1) * 512
        let disks = MachineDisks(
            machine: self,
            life: boot,
            purpose: .configDrive,
            part: (number, range)
        )
        return try? ConfigDrive("\(root.device.path)\(number)", disks: disks)
    }

    private func start(
        _ applicant: Applicant,
        keys: CurveKeyPair,
        journal: any OutcomeJournal,
        kept: Admission?,
        steps: (SimulatedMachine, AgentParts) -> StepTable,
        admitted: @escaping @Sendable (Admission) throws -> Void
    ) {
        endAgent()
        let life = Life()
        let link = world.network.makeAgent(
            key: keys.publicKey,
            address: address,
            owner: name,
            life: life
        )
        let skew = Confined(state.value.skew)
        let time = SimulatedTime(executor: executor, life: life, skew: skew)
        let random = SeededRandom(seed: state.value.dice.next())
        let parts = AgentParts(
            life: life,
            time: time,
            random: random,
            machine: machine(),
            role: applicant.role
        )
        let agent = Agent(
            applicant: applicant,
            link: link,
            machine: parts.machine,
            journal: journal,
            steps: ObservedSteps(
                table: steps(self, parts),
                machine: self,
                life: life
            ),
            power: MachinePowerSwitch(machine: self, life: life),
            duties: AgentDuties(
                takeTime: { [self] theirs in
                    guard theirs.nanoseconds > 0 else { return }
                    time.set(theirs)
                    state.value.skew = skew.value
                },
                admitted: { admission in
                    try life.check()
                    try admitted(admission)
                }
            ),
            random: random,
            time: time,
            log: world.logger(name)
        )
        let task = world.spawn("\(name) agent") { [self] in
            do {
                try await agent.run(kept: kept)
            } catch {
                if life.isAlive { note("its agent ends: \(error)") }
            }
        }
        state.value.agent = (life, link, task)
    }

    private func machine() -> Machine {
        let bootID = state.value.bootID
        let bootedAt = state.value.bootedAt
        let executor = executor
        return Machine(
            tree: FileTree { path in
                switch path {
                case "/proc/uptime":
                    Array("\((executor.elapsed - bootedAt).inSeconds) 0".utf8)
                case "/proc/sys/kernel/random/boot_id": Array(bootID.utf8)
                case "/proc/cpuinfo": Array("processor : 0\nflags : hypervisor\n".utf8)
                case "/proc/meminfo": Array("MemTotal: 4194304 kB\n".utf8)
                default: nil
                }
            },
            disks: MachineDevices(disks: disks.map(\.device)),
            network: MachineNetwork(mac: mac, address: address),
            firmware: MachineFirmware(systemUUID: systemUUID, number: number),
            executor: executor
        )
    }

    private func ramdiskSteps(_ parts: AgentParts) -> StepTable {
        var steps = commonSteps(parts)
        let devices = MachineDevices(disks: disks.map(\.device))
        let raid = RAIDWork(
            devices: devices,
            disks: MachineDisks(machine: self, life: parts.life, purpose: .erase, part: nil),
            arrays: NoArrays(),
            time: parts.time,
            random: parts.random
        )
        steps.buildRAID = BuildRAID(raid: raid)
        steps.deleteRAID = DeleteRAID(raid: raid)
        steps.eraseMetadata = EraseMetadata(raid: raid)
        let executor = executor
        steps.eraseDisks = EraseDisks(
            EraseDisks.Seams(
                drives: MachineDrives(),
                raid: raid,
                executor: { _ in executor }
            )
        )
        steps.writeImage = WriteImage(
            WriteImage.Seams(
                devices: devices,
                disks: MachineDisks(machine: self, life: parts.life, purpose: .write, part: nil),
                sources: MachineImageSources(machine: self, time: parts.time, life: parts.life),
                firmware: MachineVariables(machine: self),
                fileSystems: NoFileSystems(),
                arrays: NoArrays(),
                time: parts.time,
                random: parts.random,
                executor: { _ in executor },
                workers: 3
            )
        )
        return steps
    }

    private func installedSteps(_ parts: AgentParts) -> StepTable {
        var steps = commonSteps(parts)
        let directory = "\(world.directory)/\(name)"
        let processes = MachineProcesses(machine: self, time: parts.time, life: parts.life)
        steps.applyStep = ApplyStep(
            processes: processes,
            paths: PuppetPaths(
                hieradata: "\(directory)/hieradata",
                hieraConfiguration: "\(directory)/hiera.yaml",
                work: "\(directory)/puppet"
            ),
            time: parts.time
        )
        steps.validate = Validate(
            processes: processes,
            places: Validate.Places(validations: "\(directory)/validations"),
            time: parts.time
        )
        return steps
    }

    private func commonSteps(_ parts: AgentParts) -> StepTable {
        var steps = StepTable()
        steps.inspect = Inspect(
            machine: parts.machine,
            network: MachineNetwork(mac: mac, address: address),
            lldp: LLDPMemory(),
            bootMAC: parts.role == .ramdisk ? mac : "",
            started: parts.time.elapsed,
            time: parts.time
        )
        steps.restart = RestartMachine()
        return steps
    }
}

/// What the parts of one agent share.
struct AgentParts {
    let life: Life
    let time: SimulatedTime
    let random: SeededRandom
    let machine: Machine
    let role: AgentRole
}

/// Tells the world when a command begins and how it ends.
struct ObservedSteps: StepRunner {
    let table: StepTable
    let machine: SimulatedMachine
    let life: Life

    func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        machine.note("begins \(command.kind) \(command.id.prefix(8)) attempt \(command.attempt)")
        if machine.world.faults.contains(.partition), machine.state.value.dice.happens(250) {
            machine.cutLineSoon()
        }
        do {
            await dawdle("begins")
            let outcome = try await table.run(command, in: context, report: report)
            await dawdle("answers")
            if life.isAlive {
                machine.note("has done \(command.kind) \(command.id.prefix(8))")
                machine.world.invariants.finished(command, on: machine, life: life)
            }
            return outcome
        } catch {
            if life.isAlive {
                machine.note("fails \(command.kind) \(command.id.prefix(8)): \(error)")
                machine.world.invariants.finished(command, on: machine, life: life)
            }
            throw error
        }
    }

    /// Hangs for up to an hour and a half, as a process does that waits for a broken disk: nothing can cancel it.
    ///
    /// That is longer than any time budget of a ramdisk's work but whole erasure.
    private func dawdle(_ what: String) async {
        let world = machine.world
        guard world.faults.contains(.tardyMachine), machine.state.value.dice.happens(200) else {
            return
        }
        let end = world.elapsed + machine.state.value.dice.span(.seconds(60), .seconds(5400))
        machine.note("\(what) late, at \(end.inSeconds) s")
        let life = life
        // A task of its own: the command's may be cancelled.
        await world.spawn("\(machine.name) hangs") {
            let time = SimulatedTime(executor: world.executor, life: life)
            while life.isAlive, world.elapsed < end, world.faults.contains(.tardyMachine) {
                guard (try? await time.sleep(for: .seconds(10))) != nil else { return }
            }
        }.value
    }
}

extension WireCommand {
    /// One word for the log.
    var kind: String {
        switch body {
        case .inspect: "inspect"
        case .eraseMetadata: "erase"
        case .eraseDisks: "erase all"
        case .writeImage: "write"
        case .startRescue: "rescue"
        case .burnInMemory: "burn in"
        case .buildRaid: "build RAID"
        case .deleteRaid: "delete RAID"
        case .restart: "restart"
        case .applyStep(let step): "step \(step.step)"
        case .validate(let step): "validation \(step.step)"
        case nil: "nothing"
        }
    }
}
