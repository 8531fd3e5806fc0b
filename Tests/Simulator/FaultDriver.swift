import Baremetal
import CFaultVFS
import Protocol

/// Lets faults happen, as long as the world has any.
struct FaultDriver {
    let world: World
    private let dice: Confined<Dice>

    init(world: World) {
        self.world = world
        dice = Confined(Dice(seed: world.seed, "faults"))
    }

    /// Sets everything up that happens now and then.
    func start() {
        every(.controllerCrash, .seconds(40), .seconds(300)) {
            world.jobsUntilCrash.value = dice.value.below(400)
        }
        every(.controllerPowerCut, .seconds(60), .seconds(400)) {
            // The power goes in the middle of a transaction.
            world.store.fail(RDO_FAULT_SHORT, after: dice.value.below(12), count: 100_000)
            world.jobsUntilCrash.value = 100 + dice.value.below(300)
        }
        every(.storeErrors, .seconds(20), .seconds(120)) {
            world.store.fail(
                dice.value.happens(500) ? RDO_FAULT_IO : RDO_FAULT_SHORT,
                after: dice.value.below(10),
                count: 1 + dice.value.below(3)
            )
        }
        every(.storeFull, .seconds(60), .seconds(300)) {
            world.log.add("store", "is full")
            world.store.fail(RDO_FAULT_FULL, after: 0, count: 100_000)
            world.executor.after(dice.value.span(.seconds(2), .seconds(30))) {
                world.log.add("store", "has room again")
                world.store.heal()
            }
        }
        every(.partition, .seconds(20), .seconds(200)) {
            let address = dice.value.pick(world.machines).address
            world.network.setCut(true, address: address)
            world.executor.after(dice.value.span(.seconds(1), .seconds(100))) {
                world.network.setCut(false, address: address)
            }
        }
        every(.agentCrash, .seconds(30), .seconds(250)) {
            dice.value.pick(world.machines).crashAgent()
        }
        startMachineFaults()
    }

    private func startMachineFaults() {
        every(.machinePowerCut, .seconds(30), .seconds(250)) {
            let machine = dice.value.pick(world.machines)
            if dice.value.happens(600) {
                machine.state.value.cutAfterWrites = dice.value.below(60)
            } else {
                machine.powerCut(for: dice.value.span(.seconds(2), .seconds(60)))
            }
        }
        let troubles: [(FaultKind, BMCTrouble)] = [
            (.slowBMC, .slow), (.lyingBMC, .lying), (.refusingBMC, .refusing),
            (.wrongPassword, .wrongPassword), (.deadBMC, .dead),
        ]
        for (kind, trouble) in troubles {
            every(kind, .seconds(20), .seconds(200)) {
                let machine = dice.value.pick(world.machines)
                machine.note("its BMC is \(trouble.rawValue)")
                machine.state.value.bmc = trouble
                world.executor.after(dice.value.span(.seconds(5), .seconds(120))) {
                    if machine.state.value.bmc == trouble { machine.state.value.bmc = .none }
                }
            }
        }
        let attacker = Attacker(world: world)
        every(.forgery, .seconds(3), .seconds(30)) { attacker.forge() }
        every(.replay, .seconds(2), .seconds(20)) { attacker.replay() }
        every(.twinMachine, .seconds(2), .seconds(40)) { attacker.bootTwin() }
    }

    /// Does something again and again while this kind of fault is switched on.
    private func every(
        _ kind: FaultKind,
        _ low: Duration,
        _ high: Duration,
        _ body: @escaping () -> Void
    ) {
        guard world.faults.contains(kind) else { return }
        world.executor.after(dice.value.span(low, high)) {
            guard world.faults.contains(kind) else { return }
            body()
            every(kind, low, high, body)
        }
    }
}
