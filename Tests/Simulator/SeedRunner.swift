import Basics
import Glibc
import Synchronization

/// Runs many seeds, each whole world on one of several threads.
///
/// `each` is told of every report as it comes, from those threads, one at a time.
/// - Returns: the reports in the order of the seeds.
package func runSeeds(
    _ seeds: [UInt64],
    threads: Int,
    each: @escaping @Sendable (Simulation.Report) -> Void = { _ in }
) -> [Simulation.Report] {
    let work = SeedWork(seeds)
    for number in 0..<max(1, min(threads, seeds.count)) {
        work.start(number, each)
    }
    return work.wait()
}

/// Seeds that wait, and reports.
private final class SeedWork: Sendable {
    private struct State {
        var next = 0
        var running = 0
        var reports: [Int: Simulation.Report] = [:]
    }

    private let seeds: [UInt64]
    private let state = Mutex(State())
    // SAFETY: semaphores are made to be shared by threads; this one is never freed.
    nonisolated(unsafe) private let ended: UnsafeMutablePointer<sem_t>

    init(_ seeds: [UInt64]) {
        self.seeds = seeds
        ended = .allocate(capacity: 1)
        sem_init(ended, 0, 0)
    }

    func start(_ number: Int, _ each: @escaping @Sendable (Simulation.Report) -> Void) {
        state.withLock { $0.running += 1 }
        startThread(name: "seeds-\(number)") { [self] in
            while let index = take() {
                let report = Simulation(seed: seeds[index]).run()
                state.withLock { state in
                    state.reports[index] = report
                    each(report)
                }
            }
            state.withLock { $0.running -= 1 }
            sem_post(ended)
        }
    }

    private func take() -> Int? {
        state.withLock { state in
            guard state.next < seeds.count else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    func wait() -> [Simulation.Report] {
        while state.withLock({ $0.running }) > 0 {
            while sem_wait(ended) != 0, errno == EINTR {}
        }
        return state.withLock { $0.reports.sorted { $0.key < $1.key }.map(\.value) }
    }
}
