import ArgumentParser
import Basics
import Glibc
import Protocol
import Simulator
import Synchronization

/// Runs simulated worlds, many or one.
@main struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Runs controller and agents in simulated worlds full of faults."
    )

    @Option(help: "How many seeds to run.") var seeds = 200
    @Option(help: "The first of them.") var first: UInt64 = 1
    @Option(help: "Worlds at the same time.") var jobs = 2
    @Option(help: "Run this one seed.") var seed: UInt64?
    @Flag(help: "Print every event of the one seed.") var trace = false
    @Flag(help: "Go on after a failure.") var keepGoing = false

    func run() throws {
        guard let seed else { return try runMany() }
        let report = Simulation(seed: seed, trace: trace ? Self.say : nil).run()
        print(report.explanation(commit: commit))
        print("faults: \(report.faults)")
        print("\(report.events) events, \(report.jobs) jobs, \(report.elapsed) simulated")
        print("digest \(String(report.digest, radix: 16))")
        if !report.isReleased { print("the world was not released") }
        if report.violation != nil { throw ExitCode.failure }
    }

    @Sendable private static func say(_ line: String) { Swift.print(line) }

    private var commit: String { getenv("TEST_COMMIT").map { String(cString: $0) } ?? "unknown" }

    private func runMany() throws {
        let start = SystemTime().elapsed
        let done = Atomic<Int>(0)
        let (stops, commit, count) = (!keepGoing, commit, seeds)
        let reports = runSeeds(
            (0..<UInt64(max(1, seeds))).map { first + $0 },
            threads: jobs
        ) { report in
            let number = done.add(1, ordering: .relaxed).newValue
            if report.violation != nil {
                print(report.explanation(commit: commit))
                fflush(nil)
                // At once: the other threads still run, and what ends with the process is theirs.
                if stops { _exit(EXIT_FAILURE) }
            } else if number % 100 == 0 {
                print("\(number) of \(count) seeds")
                fflush(nil)
            }
        }
        let failed = reports.filter { $0.violation != nil }
        let seconds = (SystemTime().elapsed - start).inSeconds
        let simulated = reports.reduce(0.0) { $0 + $1.elapsed.inSeconds } / 3600
        print(
            "\(reports.count) seeds, \(Int(simulated)) simulated hours, \(Int(seconds)) s; "
                + "\(failed.count) failed \(failed.map(\.seed))"
        )
        if !failed.isEmpty { throw ExitCode.failure }
    }
}
