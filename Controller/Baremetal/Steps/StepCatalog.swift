import HTTP
import Power
package import Protocol

/// What a step may be told.
package struct StepArgument: Sendable, Equatable {
    package let name: String
    package let isRequired: Bool
    package let description: String

    package init(_ name: String, isRequired: Bool = false, _ description: String) {
        self.name = name
        self.isRequired = isRequired
        self.description = description
    }
}

/// What is known of a step before somebody asks for it.
package struct StepDescription: Sendable, Equatable {
    package let interface: String
    package let step: String
    /// Its turn in automated cleaning, 0 when it is taken on request only; `nil` when it cleans nothing.
    package let clean: Int?
    /// Its turn in a deployment; `nil` when it is of no use there.
    package let deploy: Int?
    /// Whether it may be taken while the machine keeps its system.
    package let isService: Bool
    package let isAbortable: Bool
    package let arguments: [StepArgument]
    package let work: StepWork

    package init(
        _ interface: String,
        _ step: String,
        clean: Int? = nil,
        deploy: Int? = nil,
        isService: Bool = false,
        isAbortable: Bool = true,
        arguments: [StepArgument] = [],
        work: StepWork
    ) {
        self.interface = interface
        self.step = step
        self.clean = clean
        self.deploy = deploy
        self.isService = isService
        self.isAbortable = isAbortable
        self.arguments = arguments
        self.work = work
    }

    /// `interface.step`, as Ironic writes it.
    package var id: String { "\(interface).\(step)" }

    func made(priority: Int, args: [String: JSONValue] = [:]) -> NodeStep {
        NodeStep(
            interface: interface,
            step: step,
            args: args,
            priority: priority,
            isAbortable: isAbortable,
            work: work
        )
    }
}

/// The steps of every driver with an agent, by Ironic's names.
package enum StepCatalog {
    /// Steps of the agent and of the controller itself.
    package static let all: [StepDescription] =
        [
            StepDescription(
                "deploy",
                "erase_devices_metadata",
                clean: 99,
                deploy: 0,
                work: .agent(.eraseMetadata)
            ),
            StepDescription("deploy", "erase_devices", clean: 0, work: .agent(.eraseDisks)),
            StepDescription(
                "deploy",
                "erase_devices_express",
                clean: 0,
                work: .agent(.eraseExpress)
            ),
            StepDescription(
                "deploy",
                "burnin_memory",
                clean: 0,
                isService: true,
                work: .agent(.burnInMemory)
            ),
            writeImage,
            chooseDisk,
            bootInstance,
        ] + RAIDSteps.all

    /// The image is put on the disk.
    static let writeImage = StepDescription(
        "deploy",
        "write_image",
        deploy: 80,
        work: .agent(.writeImage)
    )
    static let chooseDisk = StepDescription(
        "deploy",
        "prepare_instance_boot",
        deploy: 60,
        work: .chooseDisk
    )
    /// Ends a deployment: nothing comes after it.
    static let bootInstance = StepDescription(
        "deploy",
        "boot_instance",
        deploy: 20,
        work: .bootInstance
    )

    /// What no deployment can do without.
    static let core = [writeImage, chooseDisk, bootInstance]

    /// Steps that steer: any interface may name them.
    static let flow: [StepDescription] = [
        steering("power_on", .power(.on)),
        steering("power_off", .power(.off)),
        steering("reboot", .power(.reboot)),
        steering("hold", .hold),
        StepDescription(
            "",
            "wait",
            clean: 0,
            deploy: 0,
            isService: true,
            arguments: [StepArgument("seconds", "How long to wait, 0 to \(waitSecondsMax).")],
            work: .wait
        ),
    ]

    private static func steering(_ step: String, _ work: StepWork) -> StepDescription {
        StepDescription("", step, clean: 0, deploy: 0, isService: true, work: work)
    }

    /// What a `wait` may last.
    package static let waitSecondsMax: Int64 = 240

    /// Of two steps with the same priority the one with the higher number here comes first, as in Ironic.
    static let order = [
        "vendor": 7, "power": 6, "management": 5, "firmware": 4, "deploy": 3, "bios": 2, "raid": 1,
    ]

    /// By priority, then by interface.
    static func sorted(_ steps: [NodeStep]) -> [NodeStep] {
        steps.enumerated().sorted { left, right in
            let (one, two) = (left.element, right.element)
            if one.priority != two.priority { return one.priority > two.priority }
            let turns = (order[one.interface] ?? 0, order[two.interface] ?? 0)
            return turns.0 == turns.1 ? left.offset < right.offset : turns.0 > turns.1
        }.map(\.element)
    }

    /// A deployment without anything asked for.
    static let coreSteps = core.map { $0.made(priority: $0.deploy ?? 0) }
}

/// Takes a driver's own steps, those that go through the BMC.
package protocol DriverSteps: Sendable {
    /// The steps that the driver has beside those of the agent; their work is `driver`.
    var steps: [StepDescription] { get }

    /// Begins a step or goes on with it.
    ///
    /// Called again and again until it is done, also after a restart of the controller in the middle; what it
    /// returns is stored before it is called again.
    /// - Parameters:
    ///   - step: what to do.
    ///   - progress: what the call before returned; `nil` at first.
    ///   - node: on which machine.
    ///   - now: the time.
    /// - Returns: how far it came.
    /// - Throws: `PowerFault`, or `Fault` of kind `invalid`, when it cannot be done.
    func take(
        _ step: NodeStep,
        after progress: StepProgress?,
        of node: Node,
        at now: Timestamp
    ) async throws -> DriverStepOutcome
}

/// How far a driver came with its step.
package enum DriverStepOutcome: Sendable, Equatable {
    case done
    /// The same, with lines for the node's history.
    case doneWith([String])
    /// Ask again in a while.
    case waits(StepProgress)
    /// The machine has to be switched off and on; ask again when it is.
    case restarts(StepProgress)
}
