package import AgentSteps
package import AgentSystem
package import Basics
package import Logging
package import Protocol
package import Transport

/// What an enrolled agent knows of its place; kept by an installed node across restarts.
package struct Admission: Sendable, Equatable {
    package var version: UInt32
    package var node: String
    package var certificateAuthority: String
    package var timeServers: [String]

    package init(_ admitted: WireAdmitted) {
        version = admitted.version
        node = admitted.node
        certificateAuthority = admitted.certificateAuthority
        timeServers = admitted.timeServers
    }

    package init(
        version: UInt32,
        node: String,
        certificateAuthority: String,
        timeServers: [String]
    ) {
        self.version = version
        self.node = node
        self.certificateAuthority = certificateAuthority
        self.timeServers = timeServers
    }
}

/// What the agent's role decides.
package struct AgentDuties: Sendable {
    /// Takes the controller's time; sets the clock when the role wants that.
    package var takeTime: @Sendable (Timestamp) -> Void
    /// Called after each admission, before the session opens: keep what must be kept.
    package var admitted: @Sendable (Admission) throws -> Void

    package init(
        takeTime: @escaping @Sendable (Timestamp) -> Void,
        admitted: @escaping @Sendable (Admission) throws -> Void
    ) {
        self.takeTime = takeTime
        self.admitted = admitted
    }
}

/// The agent: enrols, keeps the session alive, runs commands one at a time, streams metrics.
package struct Agent: Sendable {
    /// How long a restart waits for its own result to be stored.
    package static let restartWaitsMax = Duration.seconds(15)

    private let applicant: Applicant
    private let link: any AgentLink
    private let machine: Machine
    private let keeper: SessionKeeper
    private let enrolment: Enrolment
    private let steps: any StepRunner
    private let power: any PowerSwitch
    private let duties: AgentDuties
    private let time: any TimeSource
    private let log: Logger

    /// Makes the agent; nothing happens before `run`.
    package init(
        applicant: Applicant,
        link: any AgentLink,
        machine: Machine,
        journal: any OutcomeJournal,
        steps: any StepRunner,
        power: any PowerSwitch,
        duties: AgentDuties,
        random: any RandomSource,
        time: any TimeSource,
        log: Logger,
        prover: MachineProver? = nil
    ) {
        self.applicant = applicant
        self.link = link
        self.machine = machine
        self.steps = steps
        self.power = power
        self.duties = duties
        self.time = time
        self.log = log
        enrolment = Enrolment(
            link: link,
            machine: machine,
            random: random,
            time: time,
            log: log,
            prover: prover
        )
        var hello = WireHello()
        hello.role = applicant.role.wire
        hello.agentVersion = applicant.agentVersion
        hello.bootID = machine.bootID()
        keeper = SessionKeeper(
            session: random.bytes(16),
            hello: hello,
            link: link,
            machine: machine,
            journal: journal,
            time: time,
            log: log
        )
    }

    /// Runs until cancelled.
    /// - Parameter kept: what an earlier process learnt; skips the first enrolment.
    /// - Throws: `CancellationError`; whatever `duties.admitted` throws.
    package func run(kept: Admission? = nil) async throws {
        let admissions = Inbox<Admission>(countMax: 4, overflow: .dropOldest)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(name: "session") { try await keepSession(kept, admissions) }
            group.addTask(name: "tick") {
                while true {
                    try await time.sleep(for: .seconds(1))
                    await keeper.tick()
                }
            }
            group.addTask(name: "commands") { try await runCommands(admissions) }
            group.addTask(name: "metrics") { try await streamMetrics() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    // MARK: - Session

    private func keepSession(_ kept: Admission?, _ admissions: Inbox<Admission>) async throws {
        if let kept {
            await open(kept, admissions)
        } else {
            try await enrol(admissions)
        }
        while let event = await link.events.next() {
            switch await keeper.receive(event) {
            case .nothing: break
            case .time(let theirs): duties.takeTime(theirs)
            case .enrol:
                // The controller must not be flooded when it admits and refuses in turn.
                try await time.sleep(for: .seconds(2))
                try await enrol(admissions)
            }
        }
        try Task.checkCancellation()
        throw Fault(.unavailable, "cannot go on: the link to the controller was closed")
    }

    private func enrol(_ admissions: Inbox<Admission>) async throws {
        let admitted = try await enrolment.run(applicant)
        log.notice("enrolled", metadata: [LogKey.nodeID: "\(admitted.node)"])
        duties.takeTime(Timestamp(nanoseconds: admitted.controllerTimeNanoseconds))
        let admission = Admission(admitted)
        try duties.admitted(admission)
        // What the old connection still had to say is out of date.
        while link.events.poll() != nil {}
        await open(admission, admissions)
    }

    private func open(_ admission: Admission, _ admissions: Inbox<Admission>) async {
        admissions.push(admission)
        await keeper.admitted(version: admission.version)
        link.open()
    }

    // MARK: - Commands

    private func runCommands(_ admissions: Inbox<Admission>) async throws {
        var context = StepContext(node: "", certificateAuthority: "", timeServers: [])
        while let command = await keeper.commands.next() {
            while let admission = admissions.poll() {
                context = StepContext(
                    node: admission.node,
                    certificateAuthority: admission.certificateAuthority,
                    timeServers: admission.timeServers
                )
            }
            try await run(command, in: context)
        }
        try Task.checkCancellation()
    }

    private func run(_ command: WireCommand, in context: StepContext) async throws {
        let run = CommandRun(command, steps: steps, context: context, time: time)
        await keeper.begin(run)
        let began = time.elapsed
        guard let result = await run.perform({ await keeper.report($0) }) else {
            throw CancellationError()
        }
        log.notice(
            "command ended",
            metadata: [
                LogKey.commandID: "\(command.id)", LogKey.command: "\(command.name)",
                LogKey.durationMilliseconds:
                    "\((time.elapsed - began).wholeNanoseconds / 1_000_000)",
                LogKey.error: "\(result.failure.message)",
                LogKey.memoryPeak: "\(machine.ownMemoryPeak())",
            ]
        )
        await keeper.end(result)
        if case .restarting = result.outcome, case .restart(let restart) = command.body {
            try await self.restart(restart, after: command.id)
        }
    }

    /// Restarts once the controller knows about it, or after a while without its word.
    private func restart(_ restart: WireRestart, after command: String) async throws {
        let end = time.elapsed + Self.restartWaitsMax
        while await !keeper.isStored(command), time.elapsed < end {
            try await time.sleep(for: .milliseconds(100))
        }
        log.notice("restarting the machine")
        do {
            try power.restart(powerOff: restart.powerOff)
        } catch {
            log.error("cannot restart the machine", metadata: [LogKey.error: "\(error)"])
        }
    }

    // MARK: - Metrics

    private func streamMetrics() async throws {
        // The first reading only gives the ratios something to compare with.
        _ = await machine.samples(at: time.now)
        while true {
            try await time.sleep(for: keeper.metricPause)
            var batch = WireMetricBatch()
            batch.version = WireVersion.current
            batch.samples = await machine.samples(at: time.now)
            link.push(batch)
        }
    }
}
