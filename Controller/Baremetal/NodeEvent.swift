import Power
package import Protocol

/// What can happen to a node.
package enum NodeEvent: Sendable, Equatable {
    /// Somebody asks for something.
    case wish(NodeWish)
    /// Something came to pass.
    case fact(NodeFact)

    package var name: String {
        switch self {
        case .wish(let wish): wish.name.rawValue
        case .fact(let fact): fact.name.rawValue
        }
    }
}

/// What an operator asks of a node; refused in states that have no row for it.
package enum NodeWish: Sendable, Equatable {
    case manage
    case inspect
    /// With steps of automated cleaning, if there are any.
    case provide(StepPlan?)
    case deploy(DeployOrder, StepPlan)
    case rebuild(DeployOrder, StepPlan)
    case delete
    case abort
    /// Takes over a machine that runs already.
    case adopt(DeployOrder)
    /// Takes the operator's steps; the ramdisk is brought up before when `ramdisk` is true.
    case clean(StepPlan, ramdisk: Bool)
    case service(StepPlan)
    /// Ends a rest.
    case unhold
    case rescue
    case unrescue

    /// The wish without its details, for tables.
    package enum Name: String, Sendable, CaseIterable {
        case manage
        case inspect
        case provide
        case deploy
        case rebuild
        case delete
        case abort
        case adopt
        case clean
        case service
        case unhold
        case rescue
        case unrescue
    }

    package var name: Name {
        switch self {
        case .manage: .manage
        case .inspect: .inspect
        case .provide: .provide
        case .deploy: .deploy
        case .rebuild: .rebuild
        case .delete: .delete
        case .abort: .abort
        case .adopt: .adopt
        case .clean: .clean
        case .service: .service
        case .unhold: .unhold
        case .rescue: .rescue
        case .unrescue: .unrescue
        }
    }
}

/// What the world reports.
///
/// A fact that does not fit the phase is out of date and changes nothing.
package enum NodeFact: Sendable, Equatable {
    /// The BMC took the password and told the power state.
    case bmcVerified
    /// An action cannot succeed until somebody changes something; the text says what.
    case refused(String)
    /// The machine was switched on into the ramdisk; it was off at `poweredAt`.
    case bootStarted(poweredAt: Timestamp)
    /// The ramdisk's agent of the present boot is there; it will get this command.
    case agentReady(bootID: String, command: CommandID)
    /// The ramdisk's agent went away and did not come back in time.
    case agentMissing
    /// The agent finished the command. `device` is what it wrote to, if it wrote.
    case commandDone(CommandID, device: String)
    case commandFailed(CommandID, message: String, isRetryable: Bool)
    /// The firmware is told to boot from the disk; `restart` will be the agent's next command.
    case bootDeviceSet(restart: CommandID)
    /// The machine left the ramdisk.
    case restarted
    /// The installed system runs.
    case installed
    /// Keys are revoked and the power is off; what comes are the steps of automated cleaning.
    case tornDown(StepPlan?)
    /// The controller has done the present step.
    case stepDone
    /// The rescue system runs.
    case rescued
    /// The installed system runs again.
    case unrescued
    /// The time budget of the present phase ran out.
    case budgetExceeded

    /// The fact without its details, for tables.
    package enum Name: String, Sendable, CaseIterable {
        case bmcVerified
        case refused
        case bootStarted
        case agentReady
        case agentMissing
        case commandDone
        case commandFailed
        case bootDeviceSet
        case restarted
        case installed
        case tornDown
        case stepDone
        case rescued
        case unrescued
        case budgetExceeded
    }

    package var name: Name {
        switch self {
        case .bmcVerified: .bmcVerified
        case .refused: .refused
        case .bootStarted: .bootStarted
        case .agentReady: .agentReady
        case .agentMissing: .agentMissing
        case .commandDone: .commandDone
        case .commandFailed: .commandFailed
        case .bootDeviceSet: .bootDeviceSet
        case .restarted: .restarted
        case .installed: .installed
        case .tornDown: .tornDown
        case .stepDone: .stepDone
        case .rescued: .rescued
        case .unrescued: .unrescued
        case .budgetExceeded: .budgetExceeded
        }
    }
}

/// What must be true of the world while a node is in its present state.
package enum NodeAction: Sendable, Equatable {
    /// The BMC answers to the address and password in the node's driver information.
    case verifyBMC
    /// The ramdisk runs on the machine; agents that spoke before `since` do not count.
    case bringUpRamdisk(since: Timestamp?)
    /// The agent of a boot after `poweredAt` speaks.
    case awaitRamdisk(poweredAt: Timestamp)
    /// The ramdisk's agent works on this command.
    case run(AgentWork, command: CommandID, bootID: String)
    /// The firmware boots from the disk next time.
    case chooseDisk
    /// The ramdisk of this boot has ended.
    case leaveRamdisk(command: CommandID, bootID: String)
    /// The installed system runs; with an agent, that agent has spoken.
    case awaitInstalled(hasAgent: Bool, bootID: String, since: Timestamp)
    /// No key of the node is valid and the machine is off.
    case tearDown
    /// The power change of the present step is over.
    case endPowerStep
    /// The present step's time has passed.
    case endWait(until: Timestamp)
    /// The driver has done this step.
    case takeDriverStep(NodeStep)
    /// The rescue system runs.
    case enterRescue
    /// The installed system runs again.
    case leaveRescue
    /// The power is as somebody asked.
    case changePower(PowerWish)
    /// No boot image of ours is in the BMC's drive.
    case ejectMedium

    /// Whether it may switch the machine.
    package var touchesPower: Bool {
        switch self {
        case .bringUpRamdisk, .chooseDisk, .leaveRamdisk, .tearDown, .changePower, .enterRescue,
            .leaveRescue, .takeDriverStep:
            true
        case .verifyBMC, .awaitRamdisk, .run, .awaitInstalled, .endPowerStep, .endWait,
            .ejectMedium:
            false
        }
    }
}

/// What the ramdisk's agent is told to do.
package enum AgentWork: Sendable, Equatable {
    case inspect
    case writeImage(DeployOrder)
    /// A step of a plan.
    case step(NodeStep)
    /// Somebody may log in to the ramdisk.
    case startRescue
}

/// Says that a node's state has no row for a wish.
package struct InvalidTransition: Error, Sendable, Equatable {
    package let node: String
    package let state: String
    package let event: String
}
