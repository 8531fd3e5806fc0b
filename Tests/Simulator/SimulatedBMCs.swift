import Basics
import Power
import Protocol

/// The BMCs of all machines, as one run of the controller reaches them.
struct SimulatedBMCs: PowerControl {
    let world: World
    let life: Life

    /// As ipmitool with its retries.
    static let answerWithin = Duration.seconds(10)
    /// Where no BMC ever answers.
    static let emptyNetwork = "198.51."

    /// Reaches a machine's BMC, after the time that it takes.
    private func reach(_ bmc: BMC) async throws -> SimulatedMachine {
        try life.check()
        if bmc.host.hasPrefix(Self.emptyNetwork) {
            let time = SimulatedTime(executor: world.executor, life: life)
            try await time.sleep(for: Self.answerWithin)
            throw PowerFault(.noAnswer, "cannot reach BMC \(bmc.endpoint): it does not answer")
        }
        guard let machine = world.machines.first(where: { $0.bmcUser == bmc.user }) else {
            throw PowerFault(.credentials, "cannot use BMC \(bmc.endpoint): the user is unknown")
        }
        let trouble = machine.state.value.bmc
        let time = SimulatedTime(executor: world.executor, life: life)
        let slowness: Duration =
            switch trouble {
            case .dead: Self.answerWithin
            case .slow: machine.state.value.dice.span(.seconds(1), .seconds(9))
            case .none, .lying, .refusing, .wrongPassword:
                machine.state.value.dice.span(.milliseconds(10), .milliseconds(300))
            }
        try await time.sleep(for: slowness)
        switch trouble {
        case .dead:
            throw PowerFault(.noAnswer, "cannot reach BMC \(bmc.endpoint): it does not answer")
        case .refusing:
            throw PowerFault(.refused, "cannot use BMC \(bmc.endpoint): it answers nonsense")
        case .wrongPassword:
            throw PowerFault(
                .credentials,
                "cannot use BMC \(bmc.endpoint): it refused the password"
            )
        case .none, .slow, .lying: break
        }
        guard bmc.password == machine.bmcPassword else {
            throw PowerFault(.credentials, "cannot use BMC \(bmc.endpoint): wrong password")
        }
        return machine
    }

    func power(of bmc: BMC) async throws -> PowerState {
        try await reach(bmc).state.value.power
    }

    func change(_ change: PowerChange, of bmc: BMC) async throws {
        world.invariants.switches(change, user: bmc.user)
        let machine = try await reach(bmc)
        guard machine.state.value.bmc != .lying else {
            return machine.note("its BMC lies about \(change.rawValue)")
        }
        let (low, high): (Duration, Duration) = (.milliseconds(100), .seconds(4))
        let world = world
        world.executor.after(machine.state.value.dice.span(low, high)) {
            switch change {
            case .on: machine.powerOn()
            case .off, .softOff: machine.powerOff()
            case .cycle:
                machine.powerOff()
                world.executor.after(.seconds(1)) { machine.powerOn() }
            }
        }
    }

    func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {
        let machine = try await reach(bmc)
        guard machine.state.value.bmc != .lying else { return }
        machine.note("boots \(device.rawValue) \(persistent ? "always" : "once")")
        if persistent {
            machine.state.value.bootAlways = device
            machine.state.value.bootOnce = nil
        } else {
            machine.state.value.bootOnce = device
        }
    }

    func bootDevice(of bmc: BMC) async throws -> BootChoice {
        let machine = try await reach(bmc)
        return BootChoice(
            device: machine.state.value.bootOnce ?? machine.state.value.bootAlways,
            isPersistent: machine.state.value.bootOnce == nil
        )
    }

    func identity(of bmc: BMC) async throws -> String? {
        try await reach(bmc).systemUUID
    }
}
