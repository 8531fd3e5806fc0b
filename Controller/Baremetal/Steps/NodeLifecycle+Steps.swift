import HTTP
import Protocol

// The rules of steps: in cleaning and service. Those of a deployment are in `NodeLifecycle+Jobs.swift`.
extension Node {
    /// Cleaning by a plan.
    ///
    /// `ramdisk`: whether the ramdisk is brought up before the first step, whoever takes that.
    mutating func beginCleaning(_ plan: StepPlan, ramdisk: Bool, at now: Timestamp) {
        var job = RamdiskJob(at: now)
        job.plan = plan
        begin(.cleaning(job: job))
        if !ramdisk { takeCleaning(step: job, at: now) }
    }

    /// The present step of a cleaning is over.
    mutating func endCleaningStep(_ job: RamdiskJob, at now: Timestamp) {
        guard var plan = job.plan, !plan.endsAfterStep else { return failAborted(.cleanFailed) }
        let isAfterPower = plan.hasRestarted
        plan.advance()
        var next = RamdiskJob(at: now)
        next.plan = plan
        next.sessionsSince = isAfterPower ? now : job.sessionsSince
        takeCleaning(step: next, at: now)
    }

    /// Goes to the present step of a cleaning.
    mutating func takeCleaning(step job: RamdiskJob, at now: Timestamp) {
        guard let plan = job.plan, let step = plan.current else {
            state = job.plan?.isAutomated == false ? .manageable : .available
            return
        }
        var job = job
        job.since = now
        job.phase = .step
        switch step.work {
        case .agent:
            attempt = attempt.next
            job.phase = .boot
            state = .cleaning(job: job)
        case .hold: state = .cleanHold(job: job)
        case .power(let target):
            ask(target, plan, at: now)
            state = .cleaning(job: job)
        case .wait, .driver: state = .cleaning(job: job)
        case .chooseDisk, .bootInstance:
            fail(.cleanFailed, "cannot clean node \(label): \(step.id) belongs to a deployment")
        }
    }

    /// What a fact makes of a cleaning.
    mutating func takeCleaning(_ job: RamdiskJob, _ fact: NodeFact, at now: Timestamp) {
        switch advance(job, fact, at: now) {
        case .ignored: return
        case .goesOn(let next):
            if next.command != nil, next.plan?.current?.isAgents == false {
                // The ramdisk was wanted for a step that is not its agent's.
                takeCleaning(step: next, at: now)
            } else {
                state = .cleaning(job: next)
            }
        case .failed(let reason):
            powerWish = nil
            let step = job.plan?.current.map { "step \($0.id): " } ?? ""
            fail(.cleanFailed, "cannot clean node \(label): \(step)\(reason)")
        case .done: endCleaningStep(job, at: now)
        }
    }

    /// Stores how far the driver is with the present step, and that the machine has to restart for it.
    mutating func note(_ progress: StepProgress, restart: Bool, at now: Timestamp) {
        var progress = progress
        guard var plan, plan.current?.work == .driver else { return }
        progress.restarts = restart || plan.progress?.restarts == true
        plan.progress = progress
        switch state {
        case .cleaning(var job):
            job.plan = plan
            state = .cleaning(job: job)
        case .servicing(var job):
            job.plan = plan
            state = .servicing(job: job)
        case .deploying(var job):
            job.plan = plan
            state = .deploying(job: job)
        case .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .cleanFailed,
            .cleanHold, .available, .deployFailed, .deployHold, .active, .deleting, .error,
            .adopting, .adoptFailed, .serviceHold, .serviceFailed, .rescuing, .rescue,
            .rescueFailed, .unrescuing, .unrescueFailed:
            return
        }
        if restart { ask(.reboot, plan, at: now) }
    }

    /// Stores what a step asks of the power.
    mutating func ask(_ target: PowerWish.Target, _ plan: StepPlan, at now: Timestamp) {
        powerWish = PowerWish(
            target: target,
            phase: .ask,
            since: now,
            deadline: now + plan.powerBudget
        )
    }

    /// Ends work that somebody aborted.
    mutating func failAborted(_ next: ProvisionState) {
        powerWish = nil
        fail(next, "cannot finish the work on node \(label): it was aborted by request")
    }

    // MARK: - Service

    mutating func beginService(_ plan: StepPlan, at now: Timestamp) {
        guard let installation = state.installation else { return }
        let job = ServiceJob(installation: installation, plan: plan, since: now)
        begin(.servicing(job: job))
        take(step: job, at: now)
    }

    mutating func endServiceStep(_ job: ServiceJob, at now: Timestamp) {
        var job = job
        if job.plan.hasRestarted {
            job.sessionsSince = now
            // Its next start, or the one that was, is from its disk.
            if job.plan.current?.work != .power(.on) { job.installation.mayBeAway = nil }
        }
        job.ramdisk = nil
        guard !job.plan.endsAfterStep else {
            guard job.installation.mayBeAway != true else {
                return beginReturn(.aborted, of: job.installation, at: now)
            }
            return failAborted(.serviceFailed(installation: job.installation))
        }
        job.plan.advance()
        take(step: job, at: now)
    }

    private mutating func take(step job: ServiceJob, at now: Timestamp) {
        var job = job
        job.since = now
        guard let step = job.plan.current else {
            guard job.installation.mayBeAway != true else {
                return beginReturn(.done, of: job.installation, at: now)
            }
            state = .active(installation: job.installation)
            return
        }
        switch step.work {
        case .hold: state = .serviceHold(job: job)
        case .power(let target):
            ask(target, job.plan, at: now)
            state = .servicing(job: job)
        case .wait, .driver: state = .servicing(job: job)
        case .agent(.burnInMemory):
            attempt = attempt.next
            var ramdisk = RamdiskJob(at: now)
            // A ramdisk that installed the system may look alive for half a minute.
            ramdisk.sessionsSince = job.sessionsSince ?? now
            job.sessionsSince = ramdisk.sessionsSince
            job.ramdisk = ramdisk
            job.wasHome = job.installation.mayBeAway != true
            job.installation.mayBeAway = true
            state = .servicing(job: job)
        case .agent(.eraseMetadata), .agent(.eraseDisks), .agent(.eraseExpress),
            .agent(.writeImage), .agent(.buildRAID), .agent(.deleteRAID), .chooseDisk,
            .bootInstance:
            fail(
                .serviceFailed(installation: job.installation),
                "cannot service node \(label): \(step.id) does not leave its system alone"
            )
        }
    }

    /// Lets the machine leave the ramdisk and start from its disk.
    mutating func beginReturn(
        _ reason: ServiceJob.Return,
        of installation: Installation,
        at now: Timestamp
    ) {
        var job = ServiceJob(
            installation: installation,
            plan: StepPlan(steps: [], powerBudget: .zero),
            since: now
        )
        job.returning = reason
        powerWish = nil
        begin(.servicing(job: job))
    }

    mutating func takeServicing(_ job: ServiceJob, _ fact: NodeFact, at now: Timestamp) {
        if job.returning != nil { return takeReturn(job, fact) }
        if let ramdisk = job.ramdisk { return take(ramdisk, of: job, fact, at: now) }
        let failed = ProvisionState.serviceFailed(installation: job.installation)
        let step = job.plan.current.map { "step \($0.id)" } ?? "its steps"
        switch fact {
        case .stepDone: endServiceStep(job, at: now)
        case .refused(let message):
            powerWish = nil
            fail(failed, "cannot service node \(label): \(step): \(message)")
        case .budgetExceeded:
            powerWish = nil
            fail(failed, "cannot service node \(label): \(step): \(heldUp("it took too long"))")
        case .bmcVerified, .bootStarted, .agentReady, .agentMissing, .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed, .tornDown, .rescued, .unrescued:
            return
        }
    }

    /// The present step is the agent's.
    private mutating func take(
        _ ramdisk: RamdiskJob,
        of job: ServiceJob,
        _ fact: NodeFact,
        at now: Timestamp
    ) {
        switch advance(ramdisk, fact, at: now) {
        case .ignored: return
        case .goesOn(let next):
            var job = job
            job.ramdisk = next
            state = .servicing(job: job)
        case .failed(let reason):
            let step = job.plan.current.map { "step \($0.id): " } ?? ""
            fail(
                .serviceFailed(installation: job.installation),
                "cannot service node \(label): \(step)\(reason)"
            )
        case .done: endServiceStep(job, at: now)
        }
    }

    private mutating func takeReturn(_ job: ServiceJob, _ fact: NodeFact) {
        switch fact {
        case .unrescued:
            let installation = job.installation.atHome
            if job.returning == .aborted {
                failAborted(.serviceFailed(installation: installation))
            } else {
                state = .active(installation: installation)
            }
        case .refused(let message):
            fail(
                .serviceFailed(installation: job.installation),
                "cannot end the service of node \(label): \(message)"
            )
        case .budgetExceeded:
            fail(
                .serviceFailed(installation: job.installation),
                "cannot end the service of node \(label): \(heldUp("its machine did not start from its disk in time"))"
            )
        case .bmcVerified, .bootStarted, .agentReady, .agentMissing, .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed, .tornDown, .rescued, .stepDone:
            return
        }
    }
}

// The rules of rescue and adoption.
extension Node {
    mutating func takeAdopting(_ order: DeployOrder, _ fact: NodeFact, at now: Timestamp) {
        switch fact {
        case .bmcVerified:
            state = .active(
                installation: Installation(
                    image: order.image,
                    hasAgent: false,
                    device: "",
                    attempt: attempt,
                    since: now
                )
            )
        case .refused(let message): fail(.adoptFailed, message)
        case .budgetExceeded:
            fail(
                .adoptFailed,
                "cannot adopt node \(label): \(heldUp("its BMC did not answer in time"))"
            )
        case .bootStarted, .agentReady, .agentMissing, .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed, .tornDown, .stepDone, .rescued, .unrescued:
            return
        }
    }

    /// The ramdisk comes up and lets somebody in.
    mutating func takeRescue(
        _ installation: Installation,
        _ job: RamdiskJob,
        _ fact: NodeFact,
        at now: Timestamp
    ) {
        switch advance(job, fact, at: now) {
        case .ignored: return
        case .goesOn(let next): state = .rescuing(installation: installation, job: next)
        case .failed(let reason):
            fail(
                .rescueFailed(installation: installation),
                "cannot rescue node \(label): \(reason)"
            )
        case .done: state = .rescue(installation: installation)
        }
    }

    /// `isEntering`: whether the rescue system is to come up, or the installed one again.
    mutating func takeRescue(
        _ installation: Installation,
        _ fact: NodeFact,
        isEntering: Bool
    ) {
        let failed: ProvisionState =
            isEntering
            ? .rescueFailed(installation: installation)
            : .unrescueFailed(installation: installation)
        switch fact {
        case .rescued where isEntering: state = .rescue(installation: installation)
        case .unrescued where !isEntering: state = .active(installation: installation.atHome)
        case .refused(let message): fail(failed, message)
        case .budgetExceeded:
            fail(failed, "cannot finish the rescue of node \(label): \(heldUp("it took too long"))")
        case .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady, .agentMissing,
            .commandDone, .commandFailed, .bootDeviceSet, .restarted, .installed, .tornDown,
            .stepDone:
            return
        }
    }
}

extension NodeStep {
    /// Whether the ramdisk's agent takes it.
    var isAgents: Bool { if case .agent = work { true } else { false } }

    /// How long a `wait` lasts.
    var pause: Duration { .seconds(args["seconds"]?.wholeNumber ?? 0) }

    /// What must be true of the world while the controller is at this step.
    func actions(since: Timestamp, isPowerAsked: Bool) -> [NodeAction] {
        switch work {
        case .power: isPowerAsked ? [] : [.endPowerStep]
        case .wait: [.endWait(until: since + pause)]
        case .driver: isPowerAsked ? [] : [.takeDriverStep(self)]
        case .agent, .hold, .chooseDisk, .bootInstance: []
        }
    }

    /// What is waited for while the controller is at this step.
    var wait: NodeWait { work == .driver ? .driverStep : .serviceStep }
}

extension StepPlan {
    /// Whether the machine was restarted in the present step.
    var hasRestarted: Bool {
        if case .power = current?.work { return true }
        return progress?.restarts == true
    }
}

extension Node {
    /// The steps of the present work; `nil` outside of it.
    package var plan: StepPlan? {
        switch state {
        case .cleaning(let job), .cleanHold(let job): job.plan
        case .servicing(let job), .serviceHold(let job): job.plan
        case .deploying(let job), .deployHold(let job): job.plan
        case .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .cleanFailed,
            .available, .deployFailed, .active, .deleting, .error, .adopting, .adoptFailed,
            .serviceFailed, .rescuing, .rescue, .rescueFailed, .unrescuing, .unrescueFailed:
            nil
        }
    }

    /// Whether the present step is a change of the power.
    var isPowerStep: Bool { if case .power = plan?.current?.work { true } else { false } }

    /// What the driver waits for in the present step.
    var driverWaitsFor: String? { wait?.0 == .driverStep ? plan?.progress?.waitsFor : nil }

    /// What Ironic calls the field of the present step: `clean`, `deploy` or `service`.
    var planKind: String? {
        switch state.name {
        case .cleaning, .cleanHold: "clean"
        case .servicing, .serviceHold: "service"
        case .deploying, .deployHold: "deploy"
        case .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .cleanFailed,
            .available, .deployFailed, .active, .deleting, .error, .adopting, .adoptFailed,
            .serviceFailed, .rescuing, .rescue, .rescueFailed, .unrescuing, .unrescueFailed:
            nil
        }
    }
}
