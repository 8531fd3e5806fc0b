package import Protocol

/// A step of a manual cleaning or a service that this server can take today.
///
/// The raw values are Ironic's names.
package enum NodeStep: String, Sendable, Codable, CaseIterable {
    /// Wipes the metadata of the disks; takes the ramdisk.
    case eraseMetadata = "erase_devices_metadata"
    /// Waits until somebody says `unhold`.
    case hold
    case powerOn = "power_on"
    case powerOff = "power_off"
    case reboot

    /// Whether the ramdisk's agent does it.
    package var takesAgent: Bool { self == .eraseMetadata }

    /// What it asks of the power; `nil` for a step that asks nothing.
    package var power: PowerWish.Target? {
        switch self {
        case .eraseMetadata, .hold: nil
        case .powerOn: .on
        case .powerOff: .off
        case .reboot: .reboot
        }
    }

    /// The steps of a manual cleaning: what the agent can do, and a rest.
    package static let cleaning: [NodeStep] = [.eraseMetadata, .hold]
    /// The steps of a service: those that leave the disk alone.
    package static let service: [NodeStep] = [.hold, .powerOn, .powerOff, .reboot]
}

/// Steps that an operator asked for, and how far they are.
package struct StepPlan: Sendable, Equatable, Codable {
    package let steps: [NodeStep]
    /// How long each change of the power may take.
    package let powerBudget: Duration
    /// The place of the present step; the number of steps when all are taken.
    package private(set) var index = 0

    package init(steps: [NodeStep], powerBudget: Duration) {
        self.steps = steps
        self.powerBudget = powerBudget
    }

    /// The present step; `nil` when all are taken.
    package var current: NodeStep? { index < steps.count ? steps[index] : nil }

    /// Goes on to the next step.
    package mutating func advance() { index += 1 }
}

/// Work on a machine whose system stays as it is.
package struct ServiceJob: Sendable, Equatable, Codable {
    package let installation: Installation
    package var plan: StepPlan
    /// When the present step began.
    package var since: Timestamp
}

// The rules of manual cleaning, service, rescue and adoption.
extension Node {
    /// Cleaning by the operator's steps; without a ramdisk only rests are left.
    mutating func beginCleaning(_ plan: StepPlan, ramdisk: Bool, at now: Timestamp) {
        var job = RamdiskJob(at: now)
        job.plan = plan
        begin(ramdisk ? .cleaning(job: job) : .cleanHold(job: job))
    }

    /// The present step of a cleaning is over.
    mutating func endCleaningStep(_ job: RamdiskJob, at now: Timestamp) {
        guard var plan = job.plan else {
            state = .available
            return
        }
        plan.advance()
        switch plan.current {
        case nil: state = .manageable
        case .hold:
            var next = job
            next.plan = plan
            state = .cleanHold(job: next)
        case .eraseMetadata, .powerOn, .powerOff, .reboot:
            attempt = attempt.next
            var next = RamdiskJob(at: now)
            next.plan = plan
            state = .cleaning(job: next)
        }
    }

    /// A cleaning that goes on: its ramdisk is up and its step is a rest.
    func resting(_ job: RamdiskJob) -> ProvisionState {
        job.plan?.current == .hold && job.command != nil
            ? .cleanHold(job: job) : .cleaning(job: job)
    }

    mutating func beginService(_ plan: StepPlan, at now: Timestamp) {
        guard let installation = state.installation else { return }
        let job = ServiceJob(installation: installation, plan: plan, since: now)
        begin(.servicing(job: job))
        take(step: job, at: now)
    }

    mutating func endServiceStep(_ job: ServiceJob, at now: Timestamp) {
        var job = job
        job.plan.advance()
        take(step: job, at: now)
    }

    private mutating func take(step job: ServiceJob, at now: Timestamp) {
        var job = job
        job.since = now
        switch job.plan.current {
        case nil: state = .active(installation: job.installation)
        case .hold: state = .serviceHold(job: job)
        case .eraseMetadata: fail(.serviceFailed(installation: job.installation), "cannot erase")
        case .powerOn, .powerOff, .reboot:
            state = .servicing(job: job)
            guard let target = job.plan.current?.power else { return }
            powerWish = PowerWish(
                target: target,
                phase: .ask,
                since: now,
                deadline: now + job.plan.powerBudget
            )
        }
    }

    mutating func takeServicing(_ job: ServiceJob, _ fact: NodeFact, at now: Timestamp) {
        let failed = ProvisionState.serviceFailed(installation: job.installation)
        switch fact {
        case .stepDone: endServiceStep(job, at: now)
        case .refused(let message):
            powerWish = nil
            fail(failed, message)
        case .budgetExceeded:
            powerWish = nil
            fail(failed, "cannot service node \(label): \(heldUp("its step took too long"))")
        case .bmcVerified, .bootStarted, .agentReady, .agentMissing, .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed, .tornDown, .rescued, .unrescued:
            return
        }
    }

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
        case .unrescued where !isEntering: state = .active(installation: installation)
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
