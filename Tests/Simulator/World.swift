import Agents
import Baremetal
import Basics
import Boot
import FoundationEssentials
import Glibc
import Logging
import Protocol
import Store
import Synchronization

/// One simulated data centre: a controller, machines, the network between them, an operator, an attacker.
package final class World: Sendable {
    package let seed: UInt64
    package let plan: FaultPlan
    let executor: SimulatedExecutor
    package let log: EventLog
    let faults: ActiveFaults
    let network: SimulatedNetwork
    let images: SimulatedImages
    let store: SimulatedStore
    let invariants: Invariants
    /// Where Puppet's files of this world lie.
    let directory: String

    private let made = Confined<[SimulatedMachine]>([])
    private let current = Confined<Incarnation?>(nil)
    private let incarnations = Confined(0)
    private let dice: Confined<Dice>
    private let healed = Confined<Duration?>(nil)
    private let tasks = Confined<[Task<Void, Never>]>([])
    /// Jobs until the controller crashes; `nil` when it does not.
    let jobsUntilCrash = Confined<Int?>(nil)
    /// Whether every power cut loses what was not flushed, whatever the plan says.
    let alwaysLosesWrites: Bool
    /// How the controller calls `ipmitool`; `nil` where the BMCs stand in for its whole driver.
    let tool: ToolBounds?
    private static let worlds = Atomic<Int>(0)

    /// Makes a world and switches nothing on yet.
    package init(
        seed: UInt64,
        plan: FaultPlan? = nil,
        tool: ToolBounds? = nil,
        trace: (@Sendable (String) -> Void)? = nil
    ) {
        self.seed = seed
        self.tool = tool
        let plan = plan ?? FaultPlan(seed: seed)
        self.plan = plan
        executor = SimulatedExecutor(dice: Dice(seed: seed, "order"))
        log = EventLog(executor: executor, trace: trace)
        faults = ActiveFaults(plan.kinds)
        network = SimulatedNetwork(
            executor: executor,
            dice: Dice(seed: seed, "network"),
            faults: faults,
            log: log
        )
        images = SimulatedImages(seed: seed, executor: executor, faults: faults)
        store = SimulatedStore(seed: seed)
        invariants = Invariants()
        let number = Self.worlds.add(1, ordering: .relaxed).newValue
        directory = "/dev/shm/rdo-simulator-\(getpid())-\(number)"
        dice = Confined(Dice(seed: seed, "world"))
        alwaysLosesWrites = plan.kinds.contains(.lostWrites)
        invariants.world.value = self
        made.value = (1...plan.machines).map {
            SimulatedMachine(number: $0, seed: seed, world: self)
        }
        let watch = invariants
        network.sent.value = { watch.sent($1, to: $0) }
        network.spoken.value = { watch.spoken($1, by: $0) }
        network.received.value = { watch.received($1, by: $0) }
    }

    package var elapsed: Duration { executor.elapsed }
    package var jobs: UInt64 { executor.jobs }
    var machines: [SimulatedMachine] { made.value }
    /// The controller that runs; `nil` while it is down.
    var incarnation: Incarnation? { current.value }
    /// When everything was healed; `nil` before.
    var healedAt: Duration? { healed.value }

    func logger(_ who: String) -> Logger { Logger(label: who) { _ in SwiftLogNoOpLogHandler() } }

    /// Starts a task of this world.
    @discardableResult
    func spawn(
        _ name: String,
        _ body: @escaping @Sendable () async -> Void
    ) -> Task<Void, Never> {
        let task = Task(name: name, executorPreference: executor) { await body() }
        tasks.value.append(task)
        return task
    }

    // MARK: - The controller

    /// Starts the controller on what its disk kept.
    func startController() {
        guard current.value == nil else { return }
        incarnations.value += 1
        log.add("controller", "starts, run \(incarnations.value)")
        let incarnation: Incarnation
        do {
            incarnation = try Incarnation(
                number: incarnations.value,
                path: store.open(),
                random: dice.value.next(),
                world: self
            )
        } catch {
            log.add("controller", "cannot start: \(error)")
            network.stopController()
            store.cut(keepsUnsynced: true)
            executor.after(.seconds(2)) { [weak self] in self?.startController() }
            return
        }
        current.value = incarnation
        incarnation.task.value = spawn("controller \(incarnation.number)") { [weak self] in
            await incarnation.run()
            guard incarnation.life.isAlive else { return }
            self?.log.add("controller", "ends by itself")
            self?.stopController(keepsUnsynced: true)
        }
    }

    /// Ends the controller between two of its jobs; the service manager starts it again.
    func stopController(keepsUnsynced: Bool) {
        jobsUntilCrash.value = nil
        guard let old = current.value else { return }
        log.add("controller", keepsUnsynced ? "dies" : "loses its power")
        current.value = nil
        old.life.end()
        store.cut(keepsUnsynced: keepsUnsynced)
        store.heal()
        network.stopController()
        old.task.value?.cancel()
        executor.after(dice.value.span(.seconds(1), .seconds(20))) { [weak self] in
            self?.startController()
        }
    }

    /// Asks the controller what a machine boots; `nil` when it does not answer.
    func askBootScript(of machine: SimulatedMachine) async -> BootDecision? {
        guard network.controller(for: machine.address) != nil, let incarnation,
            let mac = MACAddress(machine.mac)
        else { return nil }
        // Whatever goes wrong, the machine gets no script.
        let decision = try? await incarnation.policy.decision(for: mac)
        return incarnation.life.isAlive ? decision : nil
    }

    /// Asks the controller for a machine's fragment, from the address that holds the machine's lease.
    func askFragment(of machine: SimulatedMachine) async -> BootFragment? {
        guard network.controller(for: machine.address) != nil, let incarnation,
            let mac = MACAddress(machine.mac)
        else { return nil }
        let fragment = try? await incarnation.policy.fragment(for: mac)
        return incarnation.life.isAlive ? fragment : nil
    }

    // MARK: - Running

    /// Ends every fault; from now on everything must come right by itself.
    func heal() {
        log.add("world", "is healed")
        faults.heal()
        store.heal()
        jobsUntilCrash.value = nil
        for machine in machines {
            machine.state.value.bmc = .none
            machine.state.value.cutAfterWrites = nil
            network.setCut(false, address: machine.address)
        }
        healed.value = executor.elapsed
    }

    /// One job, or the passing of time; then every checker.
    /// - Returns: false when nothing is left to happen.
    func step() -> Bool {
        guard executor.step() else { return false }
        if let left = jobsUntilCrash.value {
            jobsUntilCrash.value = left - 1
            if left <= 0 { stopController(keepsUnsynced: dice.value.happens(500)) }
        }
        invariants.look()
        return true
    }

    /// Ends everything, so that the world can be released.
    func close() {
        for machine in machines {
            machine.state.value.boot.end()
            machine.endAgent()
        }
        if let old = current.value {
            current.value = nil
            old.life.end()
            network.stopController()
            old.task.value?.cancel()
        }
        for line in network.lines { line.finish() }
        for task in tasks.value { task.cancel() }
        tasks.value = []
        executor.clear()
        var left = 100_000
        while left > 0, executor.step() { left -= 1 }
        executor.clear()
        // The world and its parts know each other.
        made.value = []
        invariants.world.value = nil
        network.sent.value = { _, _ in }
        network.spoken.value = { _, _ in }
        network.received.value = { _, _ in }
        // Nothing is there when no node was configured.
        try? FileManager.default.removeItem(atPath: directory)
    }
}
