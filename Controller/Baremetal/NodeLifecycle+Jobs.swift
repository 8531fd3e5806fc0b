import Protocol

/// What a fact makes of a ramdisk job.
enum JobOutcome: Sendable, Equatable {
    /// The fact is out of date.
    case ignored
    case goesOn(RamdiskJob)
    case done(device: String)
    /// The reason, as a clause.
    case failed(String)
}

extension Node {
    /// One step of a ramdisk job.
    ///
    /// A retry counts the attempt up, so that what the old command still reports is out of date.
    mutating func advance(
        _ job: RamdiskJob,
        _ fact: NodeFact,
        at now: Timestamp
    ) -> JobOutcome {
        switch job.phase {
        case .boot: advanceBoot(job, fact, at: now)
        case .awaitAgent: advanceAwaitAgent(job, fact, at: now)
        case .command(let id, _): advanceCommand(job, id, fact, at: now)
        case .step: advanceStep(fact)
        }
    }

    /// The step is the controller's own.
    private func advanceStep(_ fact: NodeFact) -> JobOutcome {
        switch fact {
        case .stepDone: .done(device: "")
        case .refused(let message): .failed(message)
        case .budgetExceeded: .failed(heldUp("it took too long"))
        case .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady, .agentMissing,
            .commandDone, .commandFailed, .bootDeviceSet, .restarted, .installed, .tornDown:
            .ignored
        }
    }

    private func advanceBoot(
        _ job: RamdiskJob,
        _ fact: NodeFact,
        at now: Timestamp
    ) -> JobOutcome {
        var job = job
        job.since = now
        switch fact {
        case .bootStarted(let poweredAt):
            job.phase = .awaitAgent(poweredAt: poweredAt)
            job.boots += 1
            return .goesOn(job)
        case .agentReady(let bootID, let command):
            job.phase = .command(id: command, bootID: bootID)
            job.commands += 1
            return .goesOn(job)
        case .refused(let message): return .failed(message)
        case .budgetExceeded:
            return .failed(heldUp("its machine could not be switched on into the ramdisk in time"))
        case .stepDone, .rescued, .unrescued, .bmcVerified, .agentMissing, .commandDone,
            .commandFailed, .bootDeviceSet, .restarted,
            .installed, .tornDown:
            return .ignored
        }
    }

    private func advanceAwaitAgent(
        _ job: RamdiskJob,
        _ fact: NodeFact,
        at now: Timestamp
    ) -> JobOutcome {
        var job = job
        job.since = now
        switch fact {
        case .agentReady(let bootID, let command):
            job.phase = .command(id: command, bootID: bootID)
            job.commands += 1
            return .goesOn(job)
        case .refused(let message): return .failed(message)
        case .budgetExceeded:
            guard job.boots < NodeLifecycle.bootsMax else {
                return .failed(
                    heldUp(
                        "no agent of its ramdisk enrolled in time after \(job.boots) boots; look at its console and check that it boots from the network"
                    )
                )
            }
            job.phase = .boot
            return .goesOn(job)
        case .stepDone, .rescued, .unrescued, .bmcVerified, .bootStarted, .agentMissing,
            .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed, .tornDown:
            return .ignored
        }
    }

    private mutating func advanceCommand(
        _ job: RamdiskJob,
        _ command: CommandID,
        _ fact: NodeFact,
        at now: Timestamp
    ) -> JobOutcome {
        switch fact {
        case .commandDone(let id, let device):
            return id == command ? .done(device: device) : .ignored
        case .commandFailed(let id, let message, let isRetryable):
            guard id == command else { return .ignored }
            guard isRetryable, job.commands < NodeLifecycle.commandsMax else {
                return .failed("its agent reports: \(message)")
            }
            return again(job, at: now)
        case .agentMissing:
            guard job.boots < NodeLifecycle.bootsMax else {
                return .failed(
                    "the agent of its ramdisk went away and the machine was booted \(job.boots) times; look at its console"
                )
            }
            return again(job, at: now)
        case .agentReady(let bootID, command):
            // The machine booted anew by itself; the command and its budget stay.
            var job = job
            job.phase = .command(id: command, bootID: bootID)
            return .goesOn(job)
        case .refused(let message): return .failed(message)
        case .budgetExceeded:
            return .failed(heldUp("its agent did not finish the command in time"))
        case .stepDone, .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady,
            .bootDeviceSet, .restarted, .installed,
            .tornDown:
            return .ignored
        }
    }

    /// Back to the ramdisk, for another command.
    private mutating func again(_ job: RamdiskJob, at now: Timestamp) -> JobOutcome {
        attempt = attempt.next
        var job = job
        job.phase = .boot
        job.since = now
        return .goesOn(job)
    }
}
