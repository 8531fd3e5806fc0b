import Basics
package import Protocol

/// What a node can wait for.
///
/// Each has a time budget and a sentence.
package enum NodeWait: String, Sendable, CaseIterable, Codable {
    case turn
    case verify
    case powerOn
    case agent
    case inspect
    case erase
    case eraseDisks
    case raid
    case write
    case bootDevice
    case restart
    case installed
    case tearDown
    case adopt
    case serviceStep
    case driverStep
    case rescue
    case unrescue
    case burnIn

    /// What is waited for, for people.
    package var subject: String {
        switch self {
        case .turn: "its turn"
        case .verify: "the BMC's answer to its address and password"
        case .powerOn: "the BMC to switch the machine on into the ramdisk"
        case .agent: "the ramdisk's agent to enrol"
        case .inspect: "the agent to take stock of the machine"
        case .erase: "the agent to wipe the disks' metadata"
        case .eraseDisks: "the agent to erase the disks"
        case .raid: "the agent to change the disks' software RAID"
        case .write: "the agent to write the image"
        case .bootDevice: "the BMC to take the disk as boot device"
        case .restart: "the machine to leave the ramdisk"
        case .installed: "the installed system's agent to say hello"
        case .tearDown: "keys to be revoked and the machine to be switched off"
        case .adopt: "the BMC's answer, to take the machine over"
        case .serviceStep: "the present step"
        case .driverStep: "the BMC to finish the present step"
        case .rescue: "the rescue system to come up"
        case .unrescue: "the installed system to come up again"
        case .burnIn: "the agent to test the machine"
        }
    }

    /// What happens after that.
    package var next: String {
        switch self {
        case .turn: "the work begins"
        case .verify: "the node becomes manageable"
        case .powerOn: "the ramdisk's agent is waited for"
        case .agent: "the agent gets its command"
        case .inspect: "the inventory is stored and the node becomes manageable"
        case .erase, .eraseDisks, .raid: "the next step, or the node becomes available"
        case .write: "the machine is restarted from its disk"
        case .bootDevice: "the machine is restarted"
        case .restart: "the installed system is waited for"
        case .installed: "the node becomes active"
        case .tearDown: "the node is cleaned"
        case .adopt: "the node becomes active"
        case .serviceStep, .driverStep, .burnIn: "the next step, or the end of the work"
        case .rescue: "the node is in rescue"
        case .unrescue: "the node becomes active"
        }
    }
}

/// How long each wait may last.
///
/// The configuration may change them.
package struct NodeBudgets: Sendable, Equatable {
    package var verify: Duration = .seconds(90)
    package var powerOn: Duration = .seconds(180)
    package var agent: Duration = .seconds(600)
    package var inspect: Duration = .seconds(900)
    package var erase: Duration = .seconds(1800)
    /// Every byte of every disk: a large one that must be overwritten takes more than a day.
    package var eraseDisks: Duration = .seconds(48 * 3600)
    package var raid: Duration = .seconds(900)
    package var write: Duration = .seconds(3600)
    package var bootDevice: Duration = .seconds(180)
    package var restart: Duration = .seconds(300)
    package var installed: Duration = .seconds(900)
    package var tearDown: Duration = .seconds(300)
    /// One step of the controller's own.
    package var serviceStep: Duration = .seconds(300)
    /// One step of the driver, such as new firmware.
    package var driverStep: Duration = .seconds(3600)
    package var rescue: Duration = .seconds(900)
    /// A day, which a test may last, and an hour.
    package var burnIn: Duration = .seconds(90_000)
    /// How long an agent may be away before its machine is booted again.
    package var agentAway: Duration = .seconds(90)
    /// How long an agent may take to obey a restart before the power is cycled.
    package var obey: Duration = .seconds(60)
    /// How long an agent may take to end a command that is no longer wanted, before its machine is booted again.
    package var endCommand: Duration = .seconds(30)
    /// How long a power change may take.
    package var power: Duration = .seconds(120)

    package init() {}

    /// The budget of a wait; `nil` where none runs.
    package subscript(wait: NodeWait) -> Duration? {
        switch wait {
        case .turn: nil
        case .verify: verify
        case .powerOn: powerOn
        case .agent: agent
        case .inspect: inspect
        case .erase: erase
        case .eraseDisks: eraseDisks
        case .raid: raid
        case .write: write
        case .bootDevice: bootDevice
        case .restart: restart
        case .installed: installed
        case .tearDown: tearDown
        case .adopt: verify
        case .serviceStep: serviceStep
        case .driverStep: driverStep
        case .rescue, .unrescue: rescue
        case .burnIn: burnIn
        }
    }
}

/// Why a node waits, since when, until when, and what comes next.
package struct Waiting: Sendable, Equatable {
    package let reason: String
    package let since: Timestamp
    /// `nil` where no time budget runs.
    package let until: Timestamp?
    package let next: String
    /// What holds it up, if anything does.
    package let obstacle: Obstacle?
    /// Where a queued node stands.
    package let place: QueuePlace?
}

extension Node {
    /// What the node waits for and since when; `nil` in a state that lasts.
    package var wait: (NodeWait, since: Timestamp)? {
        if let queuedAt { return (.turn, queuedAt) }
        return wait(in: state)
    }

    private func wait(in state: ProvisionState) -> (NodeWait, since: Timestamp)? {
        switch state {
        case .verifying: (.verify, stateSince)
        case .inspecting(let job): Self.wait(of: job, step: nil)
        case .cleaning(let job): Self.wait(of: job, step: job.plan?.current)
        case .deploying(let job):
            switch job.stage {
            case .ramdisk(let ramdisk): Self.wait(of: ramdisk, step: job.plan.current)
            case .step(let since): (job.plan.current?.wait ?? .serviceStep, since)
            case .bootDevice(let since): (.bootDevice, since)
            case .restart(_, let since): (.restart, since)
            case .awaitInstalled(let since): (.installed, since)
            }
        case .deleting: (.tearDown, stateSince)
        case .adopting: (.adopt, stateSince)
        case .servicing(let job): Self.wait(of: job)
        case .rescuing(_, let job?):
            job.command == nil ? Self.wait(of: job, step: nil) : (.rescue, job.since)
        case .rescuing(_, nil): (.rescue, startedAt ?? stateSince)
        case .unrescuing: (.unrescue, startedAt ?? stateSince)
        case .enroll, .manageable, .inspectFailed, .cleanFailed, .available, .deployFailed,
            .deployHold, .active, .error, .adoptFailed, .cleanHold, .serviceHold, .serviceFailed,
            .rescue, .rescueFailed, .unrescueFailed:
            nil
        }
    }

    private static func wait(of job: ServiceJob) -> (NodeWait, since: Timestamp) {
        if job.returning != nil { return (.unrescue, job.since) }
        if let ramdisk = job.ramdisk { return wait(of: ramdisk, step: job.plan.current) }
        return (job.plan.current?.wait ?? .serviceStep, job.since)
    }

    /// `step`: the agent's step that the job is for; `nil` for an inspection.
    private static func wait(
        of job: RamdiskJob,
        step: NodeStep?
    ) -> (NodeWait, since: Timestamp) {
        switch job.phase {
        case .boot: (.powerOn, job.since)
        case .awaitAgent: (.agent, job.since)
        case .step: (step?.wait ?? .serviceStep, job.since)
        case .command:
            switch step?.work {
            case .agent(.eraseMetadata): (.erase, job.since)
            case .agent(.eraseDisks), .agent(.eraseExpress): (.eraseDisks, job.since)
            case .agent(.buildRAID), .agent(.deleteRAID): (.raid, job.since)
            case .agent(.writeImage): (.write, job.since)
            case .agent(.burnInMemory): (.burnIn, job.since)
            case .power, .hold, .wait, .driver, .chooseDisk, .bootInstance:
                (.serviceStep, job.since)
            case nil: (.inspect, job.since)
            }
        }
    }

    /// When the present wait must end; `nil` in a state that lasts and while the node is queued.
    package func deadline(_ budgets: NodeBudgets) -> Timestamp? {
        wait.flatMap { wait, since in budgets[wait].map { since + $0 } }
    }

    /// What the API shows about a wait; `place` is where a queued node stands.
    package func waiting(_ budgets: NodeBudgets, _ place: QueuePlace? = nil) -> Waiting? {
        guard let (wait, since) = wait else { return nil }
        var reason = "waits for \(driverWaitsFor ?? wait.subject)"
        if let place { reason += ": \(place.sentence)" }
        if let lockout, actions.isEmpty {
            reason += "; held by the power lockout of \(lockout.user): \(lockout.reason)"
        } else if maintenance != nil, actions.isEmpty {
            reason += "; held because the node is in maintenance"
        }
        return Waiting(
            reason: reason,
            since: since,
            until: deadline(budgets),
            next: wait.next,
            obstacle: obstacle,
            place: place
        )
    }

    /// What must be true of the world while the node is in its present state.
    ///
    /// Maintenance leaves out what would switch the machine by itself; a lockout leaves out every power
    /// action.
    package var actions: [NodeAction] {
        var actions = isQueued ? [] : demanded
        if maintenance != nil || lockout != nil { actions.removeAll(where: \.touchesPower) }
        // A step of a queued service is a power change that waits with it.
        let isPowerQueued = isQueued && isPowerStep
        if let powerWish, lockout == nil, !isPowerQueued { actions.append(.changePower(powerWish)) }
        if bootMedium != nil, !isStartingRamdisk, maintenance == nil, lockout == nil {
            actions.append(.ejectMedium)
        }
        return actions
    }

    private var demanded: [NodeAction] {
        switch state {
        case .verifying: [.verifyBMC]
        case .inspecting(let job): actions(of: job, step: nil, work: .inspect)
        case .cleaning(let job):
            actions(of: job, step: job.plan?.current, work: job.plan?.current.map(AgentWork.step))
        case .deploying(let job):
            switch job.stage {
            case .ramdisk(let ramdisk):
                actions(of: ramdisk, step: job.plan.current, work: job.agentWork)
            case .step(let since):
                job.plan.current?.actions(since: since, isPowerAsked: powerWish != nil) ?? []
            case .bootDevice: [.chooseDisk]
            case .restart(let command, _):
                [.leaveRamdisk(command: command, bootID: job.bootID)]
            case .awaitInstalled(let since):
                [.awaitInstalled(hasAgent: job.order.hasAgent, bootID: job.bootID, since: since)]
            }
        case .deleting: [.tearDown]
        case .adopting: [.verifyBMC]
        case .servicing(let job): actions(of: job)
        case .rescuing(_, let job?): actions(of: job, step: nil, work: .startRescue)
        case .rescuing(_, nil): [.enterRescue]
        case .unrescuing: [.leaveRescue]
        case .enroll, .manageable, .inspectFailed, .cleanFailed, .available, .deployFailed,
            .deployHold, .active, .error, .adoptFailed, .cleanHold, .serviceHold, .serviceFailed,
            .rescue, .rescueFailed, .unrescueFailed:
            []
        }
    }

    private func actions(of job: ServiceJob) -> [NodeAction] {
        if job.returning != nil { return [.leaveRescue] }
        let step = job.plan.current
        if let ramdisk = job.ramdisk {
            return actions(of: ramdisk, step: step, work: step.map(AgentWork.step))
        }
        return step?.actions(since: job.since, isPowerAsked: powerWish != nil) ?? []
    }

    private func actions(
        of job: RamdiskJob,
        step: NodeStep?,
        work: AgentWork?
    ) -> [NodeAction] {
        switch job.phase {
        case .boot: [.bringUpRamdisk(since: job.sessionsSince)]
        case .awaitAgent(let poweredAt): [.awaitRamdisk(poweredAt: poweredAt)]
        case .command(let id, let bootID):
            work.map { [.run($0, command: id, bootID: bootID)] } ?? []
        case .step: step?.actions(since: job.since, isPowerAsked: powerWish != nil) ?? []
        }
    }

    /// Whether a network boot of the machine is expected, so that it gets the ramdisk and a token.
    ///
    /// True only while a ramdisk job is under way: a stray network boot of any other node gets its disk.
    package var expectsRamdisk: Bool {
        guard let job = state.ramdiskJob, !isQueued else { return false }
        return job.phase != .step
    }
}

extension DeployJob {
    /// What the agent is told in the present step.
    var agentWork: AgentWork? {
        plan.current.map { $0.work == .agent(.writeImage) ? .writeImage(order) : .step($0) }
    }
}
