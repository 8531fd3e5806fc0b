import Protocol

// The rules of a deployment: a plan of steps, the last of which starts what was installed.
extension Node {
    mutating func beginDeploying(_ order: DeployOrder, _ plan: StepPlan, at now: Timestamp) {
        var job = DeployJob(order: order, plan: plan, stage: .step(since: now))
        // The ramdisk that installed it may look alive for half a minute.
        if state.name == .active { job.sessionsSince = now }
        begin(.deploying(job: job))
        takeDeploy(step: job, at: now)
    }

    /// The present step of a deployment is over.
    mutating func endDeployStep(_ job: DeployJob, at now: Timestamp) {
        guard !job.plan.endsAfterStep else { return failAborted(.deployFailed) }
        var next = job
        if job.plan.hasRestarted { next.sessionsSince = now }
        next.plan.advance()
        takeDeploy(step: next, at: now)
    }

    /// Goes to the present step of a deployment.
    private mutating func takeDeploy(step job: DeployJob, at now: Timestamp) {
        var next = job
        guard let step = job.plan.current else {
            return failDeploying(job, "its steps do not end with the start of the system")
        }
        switch step.work {
        case .agent:
            attempt = job.bootID.isEmpty ? attempt : attempt.next
            var ramdisk = RamdiskJob(at: now)
            ramdisk.sessionsSince = job.sessionsSince
            next.stage = .ramdisk(ramdisk)
        case .hold:
            next.stage = .step(since: now)
            state = .deployHold(job: next)
            return
        case .power(let target):
            ask(target, job.plan, at: now)
            next.stage = .step(since: now)
        case .wait, .driver: next.stage = .step(since: now)
        case .chooseDisk: next.stage = .bootDevice(since: now)
        case .bootInstance:
            guard let restart = job.restart else {
                return failDeploying(job, "its boot device was not set")
            }
            next.stage = .restart(command: restart, since: now)
        }
        state = .deploying(job: next)
    }

    mutating func takeDeploying(_ job: DeployJob, _ fact: NodeFact, at now: Timestamp) {
        var next = job
        switch job.stage {
        case .ramdisk(let ramdisk):
            switch advance(ramdisk, fact, at: now) {
            case .ignored: return
            case .goesOn(let ramdisk): next.stage = .ramdisk(ramdisk)
            case .failed(let reason): return failDeploying(job, reason)
            case .done(let device):
                if case .command(_, let bootID) = ramdisk.phase { next.bootID = bootID }
                if job.plan.current?.work == .agent(.writeImage) { next.device = device }
                return endDeployStep(next, at: now)
            }
        case .step:
            switch fact {
            case .stepDone: return endDeployStep(job, at: now)
            case .refused(let message): return failDeploying(job, message)
            case .budgetExceeded: return failDeploying(job, heldUp("it took too long"))
            case .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady, .agentMissing,
                .commandDone, .commandFailed, .bootDeviceSet, .restarted, .installed, .tornDown:
                return
            }
        case .bootDevice:
            switch fact {
            case .bootDeviceSet(let restart):
                next.restart = restart
                return endDeployStep(next, at: now)
            case .refused(let message): return failDeploying(job, message)
            case .budgetExceeded:
                return failDeploying(
                    job,
                    heldUp("its firmware could not be told to boot from the disk")
                )
            case .stepDone, .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady,
                .agentMissing, .commandDone,
                .commandFailed, .restarted, .installed, .tornDown:
                return
            }
        case .restart(let command, _):
            switch fact {
            case .commandDone(command, _), .restarted, .agentMissing:
                next.stage = .awaitInstalled(since: now)
            case .installed: return finishDeploying(job, at: now)
            case .refused(let message): return failDeploying(job, message)
            case .budgetExceeded:
                return failDeploying(job, heldUp("its machine did not leave the ramdisk"))
            case .stepDone, .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady,
                .commandDone, .commandFailed,
                .bootDeviceSet, .tornDown:
                return
            }
        case .awaitInstalled:
            switch fact {
            case .installed: return finishDeploying(job, at: now)
            case .refused(let message): return failDeploying(job, message)
            case .budgetExceeded:
                return failDeploying(
                    job,
                    heldUp(
                        "the agent of the installed system did not say hello in time; look at the machine's console"
                    )
                )
            case .stepDone, .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady,
                .agentMissing, .commandDone,
                .commandFailed, .bootDeviceSet, .restarted, .tornDown:
                return
            }
        }
        state = .deploying(job: next)
    }

    private mutating func failDeploying(_ job: DeployJob, _ reason: String) {
        powerWish = nil
        let step = job.plan.current.map { "step \($0.id): " } ?? ""
        fail(.deployFailed, "cannot deploy node \(label): \(step)\(reason)")
    }

    private mutating func finishDeploying(_ job: DeployJob, at now: Timestamp) {
        state = .active(
            installation: Installation(
                image: job.order.image,
                hasAgent: job.order.hasAgent,
                device: job.device,
                attempt: attempt,
                since: now
            )
        )
    }
}
