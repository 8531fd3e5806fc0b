import Basics
import Protocol

/// One run of one seed: first with its faults, then healed, until everything is in order.
package struct Simulation {
    /// How a run ended.
    package struct Report: Sendable {
        package let seed: UInt64
        /// The broken invariant and what broke it; `nil` when the run went well.
        package let violation: (invariant: Invariant, detail: String)?
        package let digest: UInt64
        package let events: Int
        package let jobs: UInt64
        /// How long the run was in its own time.
        package let elapsed: Duration
        package let last: [String]
        package let faults: String
        /// Whether all of the world went away with its end.
        ///
        /// Otherwise a night's worlds fill the memory.
        package fileprivate(set) var isReleased = false
    }

    /// Jobs of one instant; more means that the system turns in circles.
    private static let jobsWithoutTimeMax: UInt64 = 200_000
    /// After the faults everything is in order within this time.
    private static let settlesWithin = Duration.seconds(4 * 3600)

    private let seed: UInt64
    private let plan: FaultPlan?
    private let trace: (@Sendable (String) -> Void)?

    /// A run of a seed; `plan` in place of the seed's own.
    package init(
        seed: UInt64,
        plan: FaultPlan? = nil,
        trace: (@Sendable (String) -> Void)? = nil
    ) {
        self.seed = seed
        self.plan = plan
        self.trace = trace
    }

    /// Runs it on the calling thread.
    package func run() -> Report {
        weak var left: World?
        var report = runWorld(&left)
        report.isReleased = left == nil
        return report
    }

    private func runWorld(_ left: inout World?) -> Report {
        let world = World(seed: seed, plan: plan, trace: trace)
        left = world
        let human = Operator(world: world)
        world.startController()
        human.start()
        FaultDriver(world: world).start()
        world.executor.after(world.plan.faultsLast) { world.heal() }
        watchClock(of: world)
        play(world, until: { human.isDone })
        if world.invariants.violation == nil {
            for node in world.invariants.state.value.nodes.values {
                world.invariants.checkDisk(of: node)
            }
        }
        let violation = world.invariants.violation
        let report = Report(
            seed: seed,
            violation: violation.map { ($0.invariant, $0.detail) },
            digest: world.log.digest,
            events: world.log.count,
            jobs: world.jobs,
            elapsed: world.elapsed,
            last: world.log.last,
            faults: world.plan.description
        )
        world.close()
        return report
    }

    private func watchClock(of world: World) {
        world.executor.after(.seconds(5)) {
            world.invariants.lookAtClock()
            watchClock(of: world)
        }
    }

    private func play(_ world: World, until isDone: () -> Bool) {
        var instant = world.elapsed
        var jobs = world.jobs
        let invariants = world.invariants
        while invariants.violation == nil, !isDone() {
            guard world.step() else {
                return invariants.fail(.timeGoesOn, "nothing happens any more")
            }
            if world.elapsed != instant { (instant, jobs) = (world.elapsed, world.jobs) }
            if world.jobs - jobs > Self.jobsWithoutTimeMax {
                invariants.fail(.timeGoesOn, "too many jobs without time passing")
            }
            if let healed = world.healedAt, world.elapsed > healed + Self.settlesWithin {
                invariants.fail(.withinBudget, "the world does not come in order")
            }
        }
    }
}

extension Simulation.Report {
    /// What a failure tells people.
    package func explanation(commit: String) -> String {
        guard let violation else { return "seed \(seed) went well" }
        return """
            seed \(seed) at commit \(commit): invariant \(violation.invariant.rawValue) is broken
              \(violation.invariant.sentence)
              \(violation.detail)
              faults: \(faults)
              the last events:
            \(last.map { "    \($0)" }.joined(separator: "\n"))
              again: swift run -c release simulate --seed \(seed) --trace
            """
    }
}
