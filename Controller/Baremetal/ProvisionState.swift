package import Protocol

/// Where a node is on its way, with the data that exists there.
///
/// The diagram is generated from `NodeLifecycle.table`; a test compares the two.
/// ```
/// enroll ── manage ──> verifying
/// verifying ── bmcVerified ──> manageable
/// verifying ── refused ──> enroll
/// verifying ── budgetExceeded ──> enroll
/// verifying ── abort ──> enroll
/// manageable ── inspect ──> inspecting
/// manageable ── provide ──> cleaning or available
/// inspectFailed ── inspect ──> inspecting
/// inspectFailed ── manage ──> manageable
/// cleanFailed ── manage ──> manageable
/// available ── manage ──> manageable
/// available ── deploy ──> deploying or deployHold
/// deployFailed ── deploy ──> deploying or deployHold
/// deployFailed ── rebuild ──> deploying or deployHold
/// deployFailed ── delete ──> deleting
/// active ── rebuild ──> deploying or deployHold
/// active ── delete ──> deleting
/// error ── rebuild ──> deploying or deployHold
/// error ── delete ──> deleting
/// deleting ── tornDown ──> cleaning or available
/// deleting ── refused ──> error
/// deleting ── budgetExceeded ──> error
/// deploying ── delete ──> deleting
/// deploying ── installed ──> active
/// inspecting ── agentMissing ──> inspectFailed
/// inspecting ── commandDone ──> manageable
/// inspecting ── commandFailed ──> inspectFailed
/// inspecting ── refused ──> inspectFailed
/// inspecting ── budgetExceeded ──> inspectFailed
/// inspecting ── abort ──> inspectFailed
/// cleaning ── agentMissing ──> cleanFailed
/// cleaning ── agentReady ──> cleanHold
/// cleaning ── commandDone ──> available or manageable or cleanHold or cleanFailed
/// cleaning ── commandFailed ──> cleanFailed
/// cleaning ── refused ──> cleanFailed
/// cleaning ── budgetExceeded ──> cleanFailed
/// cleaning ── abort ──> cleanFailed
/// cleaning ── stepDone ──> available or manageable or cleanHold or cleanFailed
/// deploying ── agentMissing ──> deployFailed
/// deploying ── commandFailed ──> deployFailed
/// deploying ── refused ──> deployFailed
/// deploying ── budgetExceeded ──> deployFailed
/// deploying ── abort ──> deployFailed
/// deploying ── bootDeviceSet ──> deployHold
/// deploying ── commandDone ──> deployHold or deployFailed
/// deploying ── stepDone ──> deployHold or deployFailed
/// deployHold ── unhold ──> deploying
/// deployHold ── abort ──> deployFailed
/// deployHold ── delete ──> deleting
/// manageable ── clean ──> cleaning or cleanHold
/// cleanHold ── unhold ──> cleaning or manageable
/// cleanHold ── abort ──> cleanFailed
/// manageable ── adopt ──> adopting
/// adoptFailed ── adopt ──> adopting
/// adoptFailed ── manage ──> manageable
/// adopting ── bmcVerified ──> active
/// adopting ── refused ──> adoptFailed
/// adopting ── budgetExceeded ──> adoptFailed
/// active ── service ──> servicing or serviceHold
/// serviceFailed ── service ──> servicing or serviceHold
/// serviceFailed ── abort ──> active or servicing
/// serviceFailed ── delete ──> deleting
/// servicing ── stepDone ──> serviceHold or active or serviceFailed
/// servicing ── unrescued ──> active or serviceFailed
/// serviceHold ── unhold ──> servicing or active
/// serviceHold ── abort ──> serviceFailed or servicing
/// rescuing ── rescued ──> rescue
/// unrescuing ── unrescued ──> active
/// unrescuing ── refused ──> unrescueFailed
/// unrescuing ── budgetExceeded ──> unrescueFailed
/// servicing ── agentMissing ──> serviceFailed
/// servicing ── commandDone ──> serviceHold
/// servicing ── commandFailed ──> serviceFailed
/// servicing ── refused ──> serviceFailed
/// servicing ── budgetExceeded ──> serviceFailed
/// servicing ── abort ──> serviceFailed
/// rescuing ── agentMissing ──> rescueFailed
/// rescuing ── commandDone ──> rescue
/// rescuing ── commandFailed ──> rescueFailed
/// rescuing ── refused ──> rescueFailed
/// rescuing ── budgetExceeded ──> rescueFailed
/// rescuing ── abort ──> rescueFailed
/// active ── rescue ──> rescuing
/// serviceFailed ── rescue ──> rescuing
/// rescue ── rescue ──> rescuing
/// rescueFailed ── rescue ──> rescuing
/// unrescueFailed ── rescue ──> rescuing
/// rescue ── unrescue ──> unrescuing
/// rescueFailed ── unrescue ──> unrescuing
/// unrescueFailed ── unrescue ──> unrescuing
/// rescuing ── delete ──> deleting
/// rescue ── delete ──> deleting
/// rescueFailed ── delete ──> deleting
/// unrescueFailed ── delete ──> deleting
/// ```
package enum ProvisionState: Sendable, Equatable, Codable {
    /// Known by name only; nothing was proven.
    case enroll
    /// The BMC's address and password are being tried.
    case verifying
    /// The BMC works.
    case manageable
    /// The ramdisk takes stock.
    case inspecting(job: RamdiskJob)
    case inspectFailed
    /// The ramdisk wipes the disks' metadata.
    case cleaning(job: RamdiskJob)
    case cleanFailed
    /// Clean and free.
    case available
    /// An image is being put on the disk and started.
    case deploying(job: DeployJob)
    case deployFailed
    /// A deployment rests until somebody says so.
    case deployHold(job: DeployJob)
    /// Runs an image.
    case active(installation: Installation)
    /// The image is being taken away: keys revoked, power off.
    case deleting
    /// Deleting went wrong.
    case error
    /// A machine that runs already is taken over as it is.
    case adopting(order: DeployOrder)
    case adoptFailed
    /// A manual cleaning rests until somebody says so.
    case cleanHold(job: RamdiskJob)
    /// Steps are taken on a machine whose system stays.
    case servicing(job: ServiceJob)
    case serviceHold(job: ServiceJob)
    case serviceFailed(installation: Installation)
    /// A rescue system is being started beside the installed one.
    ///
    /// Without a job it was begun by a release that had none.
    case rescuing(installation: Installation, job: RamdiskJob? = nil)
    case rescue(installation: Installation)
    case rescueFailed(installation: Installation)
    /// The installed system is being started again.
    case unrescuing(installation: Installation)
    case unrescueFailed(installation: Installation)

    /// The name of a state without its data.
    package enum Name: String, Sendable, CaseIterable, Codable {
        case enroll
        case verifying
        case manageable
        case inspecting
        case inspectFailed
        case cleaning
        case cleanFailed
        case available
        case deploying
        case deployFailed
        case deployHold
        case active
        case deleting
        case error
        case adopting
        case adoptFailed
        case cleanHold
        case servicing
        case serviceHold
        case serviceFailed
        case rescuing
        case rescue
        case rescueFailed
        case unrescuing
        case unrescueFailed
    }

    package var name: Name {
        switch self {
        case .enroll: .enroll
        case .verifying: .verifying
        case .manageable: .manageable
        case .inspecting: .inspecting
        case .inspectFailed: .inspectFailed
        case .cleaning: .cleaning
        case .cleanFailed: .cleanFailed
        case .available: .available
        case .deploying: .deploying
        case .deployFailed: .deployFailed
        case .deployHold: .deployHold
        case .active: .active
        case .deleting: .deleting
        case .error: .error
        case .adopting: .adopting
        case .adoptFailed: .adoptFailed
        case .cleanHold: .cleanHold
        case .servicing: .servicing
        case .serviceHold: .serviceHold
        case .serviceFailed: .serviceFailed
        case .rescuing: .rescuing
        case .rescue: .rescue
        case .rescueFailed: .rescueFailed
        case .unrescuing: .unrescuing
        case .unrescueFailed: .unrescueFailed
        }
    }

    /// Ironic's word, as the API shows it.
    ///
    /// Waiting for an agent to appear has words of its own.
    package var ironicName: String {
        switch self {
        case .enroll: "enroll"
        case .verifying: "verifying"
        case .manageable: "manageable"
        case .inspecting(let job): job.isAwaitingAgent ? "inspect wait" : "inspecting"
        case .inspectFailed: "inspect failed"
        case .cleaning(let job): job.isAwaitingAgent ? "clean wait" : "cleaning"
        case .cleanFailed: "clean failed"
        case .available: "available"
        case .deploying(let job):
            job.isAwaitingAgent ? "wait call-back" : "deploying"
        case .deployFailed: "deploy failed"
        case .deployHold: "deploy hold"
        case .active: "active"
        case .deleting: "deleting"
        case .error: "error"
        case .adopting: "adopting"
        case .adoptFailed: "adopt failed"
        case .cleanHold: "clean hold"
        case .servicing(let job):
            job.ramdisk?.isAwaitingAgent == true ? "service wait" : "servicing"
        case .serviceHold: "service hold"
        case .serviceFailed: "service failed"
        case .rescuing(_, let job): job?.isAwaitingAgent == true ? "rescue wait" : "rescuing"
        case .rescue: "rescue"
        case .rescueFailed: "rescue failed"
        case .unrescuing: "unrescuing"
        case .unrescueFailed: "unrescue failed"
        }
    }

    /// The state that the present work is to reach, as Ironic shows it; `nil` where nothing is under way.
    package var ironicTarget: String? {
        switch self {
        case .enroll, .manageable, .available, .active, .rescue: nil
        case .verifying, .inspecting, .inspectFailed: "manageable"
        case .cleaning(let job), .cleanHold(let job):
            job.plan?.isAutomated == false ? "manageable" : "available"
        case .cleanFailed, .deleting, .error: "available"
        case .deploying, .deployFailed, .deployHold, .adopting, .adoptFailed, .servicing,
            .serviceHold,
            .serviceFailed, .unrescuing, .unrescueFailed:
            "active"
        case .rescuing, .rescueFailed: "rescue"
        }
    }

    /// The ramdisk work under way, if any.
    package var ramdiskJob: RamdiskJob? {
        switch self {
        case .inspecting(let job), .cleaning(let job): job
        case .deploying(let deployJob):
            if case .ramdisk(let job) = deployJob.stage { job } else { nil }
        case .rescuing(_, let job): job
        case .servicing(let job): job.ramdisk
        case .enroll, .verifying, .manageable, .inspectFailed, .cleanFailed, .available,
            .deployFailed, .deployHold, .active, .deleting, .error, .adopting, .adoptFailed,
            .cleanHold, .serviceHold, .serviceFailed, .rescue, .rescueFailed, .unrescuing,
            .unrescueFailed:
            nil
        }
    }

    /// What is installed on the machine, in the states that keep it.
    package var installation: Installation? {
        switch self {
        case .active(let installation), .serviceFailed(let installation),
            .rescuing(let installation, _), .rescue(let installation),
            .rescueFailed(let installation), .unrescuing(let installation),
            .unrescueFailed(let installation):
            installation
        case .servicing(let job), .serviceHold(let job): job.installation
        case .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .cleaning,
            .cleanFailed, .available, .deploying, .deployFailed, .deployHold, .deleting, .error,
            .adopting, .adoptFailed, .cleanHold:
            nil
        }
    }

    /// Every word that the API may show for a provision state.
    package static let ironicNames: Set<String> = [
        "enroll", "verifying", "manageable", "inspecting", "inspect wait", "inspect failed",
        "cleaning", "clean wait", "clean failed", "available", "deploying", "wait call-back",
        "deploy failed", "active", "deleting", "error", "adopting", "adopt failed", "clean hold",
        "servicing", "service wait", "service hold", "service failed", "rescuing", "rescue wait",
        "rescue", "rescue failed", "unrescuing", "unrescue failed", "deploy hold",
    ]
}

/// Work that takes a live ramdisk: bring it up, wait for its agent, give the agent one command.
///
/// ```
/// boot ── bootStarted ──> awaitAgent ── agentReady ──> command
/// boot ── agentReady (the ramdisk is still up) ──────> command
/// awaitAgent ── budget, boots left ──> boot
/// command ── agentMissing, boots left ──> boot
/// command ── agentReady (of a later boot) ──> command
/// ```
package struct RamdiskJob: Sendable, Equatable, Codable {
    /// How far the work is.
    package enum Phase: Sendable, Equatable, Codable {
        /// The machine is to be switched on into the ramdisk.
        case boot
        /// It was switched on; sessions that began before `poweredAt` are of an older boot.
        case awaitAgent(poweredAt: Timestamp)
        /// The agent of boot `bootID` works on the command.
        case command(id: CommandID, bootID: String)
        /// The plan's present step is the controller's own.
        case step
    }

    package var phase: Phase
    /// When the phase began.
    package var since: Timestamp
    /// Times that the machine was switched on for this job.
    package var boots: Int
    /// Commands handed out for this job.
    package var commands: Int
    /// The steps of a cleaning; `nil` where the job belongs to other work.
    package var plan: StepPlan?
    /// The machine was switched by a step: agents that spoke before this are of an older boot.
    package var sessionsSince: Timestamp?

    package init(at now: Timestamp) {
        phase = .boot
        since = now
        boots = 0
        commands = 0
    }

    var isAwaitingAgent: Bool {
        if case .awaitAgent = phase { true } else { false }
    }

    /// The command that is out, if any.
    package var command: CommandID? {
        if case .command(let id, _) = phase { id } else { nil }
    }

    /// Whether an abort may end it at this moment.
    var isInterruptible: Bool {
        switch phase {
        case .boot, .awaitAgent: true
        case .command, .step: plan?.current?.isAbortable ?? true
        }
    }
}

/// What a deployment was asked to do.
package struct DeployOrder: Sendable, Equatable, Codable {
    package let image: ImageID
    /// The image carries our agent: the node is active once that agent says hello.
    package let hasAgent: Bool
    /// How the disk is laid out; `nil` for an image of a whole disk.
    package let partitions: PartitionOrder?

    package init(image: ImageID, hasAgent: Bool, partitions: PartitionOrder? = nil) {
        self.image = image
        self.hasAgent = hasAgent
        self.partitions = partitions
    }
}

/// An image on its way to a node's disk.
///
/// Each step of its plan has a stage of its own; without other steps:
/// ```
/// ramdisk ── commandDone ──> bootDevice ── bootDeviceSet ──> restart ── restarted ──> installed system
/// ```
package struct DeployJob: Sendable, Equatable, Codable {
    /// How far the present step is.
    package enum Stage: Sendable, Equatable, Codable {
        /// The ramdisk's agent has the step.
        case ramdisk(RamdiskJob)
        /// The controller has it.
        case step(since: Timestamp)
        /// The firmware is to be told to boot from the disk.
        case bootDevice(since: Timestamp)
        /// The machine is to leave the ramdisk.
        case restart(command: CommandID, since: Timestamp)
        /// The installed system's agent is to say hello.
        case awaitInstalled(since: Timestamp)
    }

    package let order: DeployOrder
    package var plan: StepPlan
    package var stage: Stage
    /// What the agent told about the written disk.
    package var device = ""
    /// The ramdisk's boot that had the last command; empty before there was one.
    package var bootID = ""
    /// The command by which the machine is to leave the ramdisk.
    package var restart: CommandID?
    /// The machine was switched by a step: agents that spoke before this are of an older boot.
    package var sessionsSince: Timestamp?

    package init(order: DeployOrder, plan: StepPlan, stage: Stage) {
        self.order = order
        self.plan = plan
        self.stage = stage
    }

    var isAwaitingAgent: Bool {
        switch stage {
        case .ramdisk(let job): job.isAwaitingAgent
        case .awaitInstalled: true
        case .step, .bootDevice, .restart: false
        }
    }

    /// Whether an abort may end it at this moment.
    var isInterruptible: Bool {
        if case .ramdisk(let job) = stage, job.command == nil { return true }
        return plan.current?.isAbortable ?? true
    }
}

/// What runs on an active node.
package struct Installation: Sendable, Equatable, Codable {
    package let image: ImageID
    package let hasAgent: Bool
    /// The disk that the image was written to, as the ramdisk named it.
    package let device: String
    /// The attempt that installed it.
    package let attempt: Attempt
    package let since: Timestamp
    /// The machine may run the ramdisk in its place, for a service; `nil` is false.
    package var mayBeAway: Bool?

    package init(
        image: ImageID,
        hasAgent: Bool,
        device: String,
        attempt: Attempt,
        since: Timestamp
    ) {
        self.image = image
        self.hasAgent = hasAgent
        self.device = device
        self.attempt = attempt
        self.since = since
    }

    /// The same, started from its disk.
    var atHome: Installation {
        var copy = self
        copy.mayBeAway = nil
        return copy
    }
}
