/// A kind of fault that a seed may switch on.
package enum FaultKind: String, CaseIterable, Sendable {
    case messageLoss
    case messageDelay
    case messageDuplication
    case messageReordering
    case partition
    case controllerCrash
    case controllerPowerCut
    case storeErrors
    case storeFull
    case machinePowerCut
    case lostWrites
    case agentCrash
    case slowBMC
    case lyingBMC
    case refusingBMC
    case wrongPassword
    case deadBMC
    case diskErrors
    case wrongClock
    case forgery
    case replay
    case operatorHolds
    case operatorAborts
    case imageServer
    case puppetFails
    case twinMachine
    case tardyMachine
}

/// Which kinds of fault a world has, and what else distinguishes it.
package struct FaultPlan: Sendable {
    package let kinds: Set<FaultKind>
    /// Machines of the world.
    package let machines: Int
    /// How long the faults last.
    package let faultsLast: Duration
    /// The plan of a seed: every tenth world is without faults, the others have about a third of the kinds.
    package init(seed: UInt64) {
        var dice = Dice(seed: seed, "plan")
        let permille = dice.happens(100) ? 0 : 150 + dice.below(350)
        // Kinds that came later have dice of their own, so that older seeds keep their worlds.
        var later = Dice(seed: seed, "later kinds")
        kinds = Set(
            FaultKind.allCases.filter { kind in
                switch kind {
                case .twinMachine, .tardyMachine: later.happens(permille)
                default: dice.happens(permille)
                }
            }
        )
        machines = dice.pick([1, 1, 2, 2, 3])
        faultsLast = kinds.isEmpty ? .seconds(60) : .seconds(200 + dice.below(500))
    }

    /// A plan with exactly these.
    package init(kinds: Set<FaultKind>, machines: Int, faultsLast: Duration) {
        self.kinds = kinds
        self.machines = machines
        self.faultsLast = faultsLast
    }

    /// Its kinds in order, for people.
    package var description: String {
        kinds.isEmpty ? "none" : kinds.map(\.rawValue).sorted().joined(separator: " ")
    }
}
