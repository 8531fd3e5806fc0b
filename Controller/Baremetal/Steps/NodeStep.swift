package import HTTP
package import Protocol

/// What a step comes to: one command to the ramdisk's agent, or one action of the controller.
package enum StepWork: Sendable, Equatable, Codable {
    /// The ramdisk's agent does it.
    case agent(AgentStep)
    /// Changes the power and looks until the machine followed.
    case power(PowerWish.Target)
    /// Rests until somebody says `unhold`.
    case hold
    /// Lets the seconds among its arguments pass.
    case wait
    /// The node's driver does it through the BMC.
    case driver
    /// The firmware is told to boot from the disk.
    case chooseDisk
    /// The machine leaves the ramdisk and starts what was installed.
    case bootInstance

    /// Whether the ramdisk must run for it.
    package var takesRamdisk: Bool {
        switch self {
        case .agent, .chooseDisk, .bootInstance: true
        case .power, .hold, .wait, .driver: false
        }
    }
}

/// What the ramdisk's agent has steps for.
package enum AgentStep: String, Sendable, Codable, CaseIterable {
    case eraseMetadata
    /// Every byte of every disk.
    case eraseDisks
    /// As that where a drive can do it quickly; of others the metadata.
    case eraseExpress
    case writeImage
    case burnInMemory
    case buildRAID
    case deleteRAID
}

/// One step of a plan, with everything that is needed to take it.
package struct NodeStep: Sendable, Equatable, Codable {
    /// The driver's interface that has it, as in `deploy` or `raid`.
    package let interface: String
    /// Ironic's name of it: `erase_devices_metadata`.
    package let step: String
    package let args: [String: JSONValue]
    /// Higher ones come first in automated cleaning and deployment; 0 only on request.
    package let priority: Int
    /// Whether an abort ends it at once; otherwise the work ends after it.
    package let isAbortable: Bool
    package let work: StepWork

    package init(
        interface: String,
        step: String,
        args: [String: JSONValue] = [:],
        priority: Int = 0,
        isAbortable: Bool = true,
        work: StepWork
    ) {
        self.interface = interface
        self.step = step
        self.args = args
        self.priority = priority
        self.isAbortable = isAbortable
        self.work = work
    }

    /// `interface.step`, as Ironic writes it.
    package var id: String { "\(interface).\(step)" }

    /// What Ironic's fields `clean_step`, `deploy_step` and `service_step` show.
    package var document: JSONValue {
        [
            "interface": .string(interface), "step": .string(step),
            "args": .object(DriverInfo.mask(args)), "priority": .integer(Int64(priority)),
            "abortable": .bool(isAbortable),
        ]
    }
}

/// Steps that are taken one after the other, and how far they are: one stored value.
///
/// A controller that starts anew goes on with the step at `index`.
package struct StepPlan: Sendable, Equatable, Codable {
    package let steps: [NodeStep]
    /// How long each change of the power may take.
    package let powerBudget: Duration
    /// Whether the controller itself began it, so that the node is available in the end.
    package let isAutomated: Bool
    /// The place of the present step; the number of steps when all are taken.
    package private(set) var index = 0
    /// Somebody wants to abort while the present step must not be interrupted.
    package private(set) var endsAfterStep = false
    /// How far the driver is with the present step; `nil` before it began, and for other steps.
    package var progress: StepProgress?

    package init(steps: [NodeStep], powerBudget: Duration, isAutomated: Bool = false) {
        self.steps = steps
        self.powerBudget = powerBudget
        self.isAutomated = isAutomated
    }

    /// The present step; `nil` when all are taken.
    package var current: NodeStep? { index < steps.count ? steps[index] : nil }

    /// Goes on to the next step.
    package mutating func advance() {
        index += 1
        progress = nil
    }

    /// Lets the present step end and takes no other.
    package mutating func endAfterStep() { endsAfterStep = true }

    /// Whether one of its steps is the ramdisk's agent's.
    package var takesRamdisk: Bool { steps.contains(where: \.work.takesRamdisk) }
}

/// How far a driver is with its step; stored, so that nothing is done twice.
package struct StepProgress: Sendable, Equatable, Codable {
    /// The driver's own word for what it did last.
    package let phase: String
    package let since: Timestamp
    /// What is waited for, for people.
    package let waitsFor: String
    /// What the driver has to remember.
    package let note: String
    /// Whether the machine was restarted on the way: a ramdisk that ran before is gone.
    package var restarts = false

    package init(_ phase: String, waitsFor: String, note: String = "", since: Timestamp) {
        self.phase = phase
        self.since = since
        self.waitsFor = waitsFor
        self.note = note
    }
}

/// Work on a machine whose system stays as it is.
///
/// ```
/// controller's step ── stepDone ──> next step
/// agent's step: ramdisk ── commandDone ──> next step
/// after the last step, or an abort: back to the disk, where the ramdisk may have run ── unrescued ──> end
/// ```
package struct ServiceJob: Sendable, Equatable, Codable {
    /// Why the machine is on its way back to its disk.
    package enum Return: String, Sendable, Equatable, Codable {
        /// Every step is taken, or nobody wants one any more.
        case done
        case aborted
    }

    package var installation: Installation
    package var plan: StepPlan
    /// When the present step began.
    package var since: Timestamp
    /// The ramdisk's work for the present step; `nil` for a step of the controller's own.
    package var ramdisk: RamdiskJob?
    /// Agents that spoke before this are of an older boot; `nil` before the first agent's step.
    package var sessionsSince: Timestamp?
    /// Whether the installed system ran before the present step of the agent; `nil` before there was one.
    package var wasHome: Bool?
    /// The machine leaves the ramdisk; `nil` while there are steps.
    package var returning: Return?

    package init(installation: Installation, plan: StepPlan, since: Timestamp) {
        self.installation = installation
        self.plan = plan
        self.since = since
    }

    /// Whether an abort may end it at this moment.
    var isInterruptible: Bool {
        if let ramdisk, ramdisk.command == nil { return true }
        return plan.current?.isAbortable ?? true
    }
}

/// A step as an operator, a template or a runbook asks for it.
package struct StepRequest: Sendable, Equatable {
    package let interface: String
    package let step: String
    package let args: [String: JSONValue]
    /// `nil` where steps go in the order in which they stand.
    package let priority: Int?

    package init(
        _ interface: String,
        _ step: String,
        args: [String: JSONValue] = [:],
        priority: Int? = nil
    ) {
        self.interface = interface
        self.step = step
        self.args = args
        self.priority = priority
    }

    /// Of a list that `StepRules` let pass.
    init(_ document: JSONValue) {
        self.init(
            document["interface"]?.text ?? "",
            document["step"]?.text ?? "",
            args: document["args"]?.members ?? [:],
            priority: document["priority"]?.wholeNumber.map { Int(clamping: $0) }
        )
    }

    /// `interface.step`, as Ironic writes it.
    package var id: String { "\(interface).\(step)" }
}
