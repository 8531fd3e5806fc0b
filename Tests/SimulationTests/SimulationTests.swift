import Basics
import Glibc
import Simulator
import Synchronization
import Testing

@Suite struct SimulationTests {
    /// The check run's seed: derived from the commit there, fixed on a laptop.
    private static let base: UInt64 =
        getenv("TEST_SIMULATION_SEED").flatMap { UInt64(String(cString: $0)) } ?? 20_261_123

    private static let commit = getenv("TEST_COMMIT").map { String(cString: $0) } ?? "unknown"

    private func expectWell(_ report: Simulation.Report) {
        guard report.violation != nil else { return }
        Issue.record("\(report.explanation(commit: Self.commit))")
    }

    @Test func `without faults a machine becomes active and is configured`() {
        let plan = FaultPlan(kinds: [], machines: 1, faultsLast: .seconds(10))
        let report = Simulation(seed: 1, plan: plan).run()
        expectWell(report)
        #expect(report.elapsed < .seconds(1200))
    }

    @Test func `the same seed is the same world`() {
        let reports = (0..<2).map { _ in Simulation(seed: Self.base).run() }
        #expect(reports[0].digest == reports[1].digest)
        #expect(reports[0].events == reports[1].events)
        #expect(Simulation(seed: Self.base + 1).run().digest != reports[0].digest)
    }

    @Test func `a world that ended gives its memory back`() {
        for seed in Self.base..<(Self.base + 5) {
            #expect(Simulation(seed: seed).run().isReleased, "seed \(seed)")
        }
    }

    /// Runs worlds with one kind of fault; returns their events.
    private func events(_ kind: FaultKind, worlds: UInt64, _ span: Duration) -> [String] {
        let lines = Mutex<[String]>([])
        for seed in Self.base..<(Self.base + worlds) {
            let plan = FaultPlan(kinds: [kind], machines: 2, faultsLast: span)
            expectWell(
                Simulation(seed: seed, plan: plan) { line in lines.withLock { $0.append(line) } }
                    .run()
            )
        }
        return lines.withLock { $0 }
    }

    @Test func `machines whose clocks are years behind are deployed as others are`() {
        let lines = events(.wrongClock, worlds: 4, .seconds(600))
        #expect(lines.contains { $0.contains("its clock is") })
    }

    @Test func `a machine that answers after its time budget holds nothing up`() {
        let lines = events(.tardyMachine, worlds: 3, .seconds(10_000))
        #expect(lines.contains { $0.contains("answers late") })
        #expect(lines.contains { $0.contains("the time budget is used up") })
    }

    @Test func `two hundred seeds come in order`() {
        for report in runSeeds((0..<200).map { Self.base + $0 }, threads: 2) { expectWell(report) }
    }

    @Test func `seeds that failed once go well`() {
        for report in runSeeds(KeptSeeds.all.map(\.seed), threads: 2) { expectWell(report) }
    }
}
