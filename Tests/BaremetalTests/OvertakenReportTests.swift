import Basics
import Glibc
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

/// A database's thread that can hold one of its jobs back while others pass it.
private final class HoldingThread: SerialExecutor {
    private struct State {
        var ready: [UnownedJob] = []
        var held: UnownedJob?
        /// Jobs that still pass before one is held; `nil` holds none.
        var passing: Int?
        var isOver = false
    }

    private let state = Mutex(State())
    // SAFETY: semaphores are made to be shared by threads; this one is never freed.
    nonisolated(unsafe) private let arrived: UnsafeMutablePointer<sem_t>

    init() {
        arrived = .allocate(capacity: 1)
        sem_init(arrived, 0, 0)
    }

    func start() {
        startThread(name: "holding") { [self] in
            while true {
                while sem_wait(arrived) != 0, errno == EINTR {}
                let (job, isOver) = state.withLock { state in
                    (state.ready.isEmpty ? nil : state.ready.removeFirst(), state.isOver)
                }
                job?.runSynchronously(on: asUnownedSerialExecutor())
                if isOver { return }
            }
        }
    }

    func end() {
        state.withLock { $0.isOver = true }
        sem_post(arrived)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let isReady = state.withLock { state in
            if state.passing == 0 {
                (state.held, state.passing) = (job, nil)
                return false
            }
            state.passing = state.passing.map { $0 - 1 }
            state.ready.append(job)
            return true
        }
        if isReady { sem_post(arrived) }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    /// Holds the job that comes after so many others.
    func hold(after count: Int) { state.withLock { $0.passing = count } }

    var isHolding: Bool { state.withLock { $0.held != nil } }

    func release() {
        state.withLock { state in
            if let job = state.held { state.ready.append(job) }
            state.held = nil
        }
        sem_post(arrived)
    }
}

/// A report is on its way into the database, and something else gets there before it.
@Suite struct OvertakenReportTests {
    /// A machine whose agent hangs in an inspection; what its report meets is done by `meanwhile`.
    private func report(
        _ meanwhile: (Bench, Node) async throws -> Void
    ) async throws -> (isTaken: Bool, node: Node) {
        let thread = HoldingThread()
        thread.start()
        defer { thread.end() }
        let bench = try Bench(
            database: try Database(
                path: nil,
                migrations: baremetalMigrations,
                feed: ChangeFeed(),
                executor: thread
            )
        )
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.agent = .hangs }
        try await bench.ask(.inspect, id)
        for _ in 0..<40 where bench.world.machine(id)?.command == nil {
            _ = await bench.reconciler.reconcile(id)
            bench.world.time.advance(.seconds(4))
            try await bench.world.advance(id, policy: bench.policy) { _ in true }
        }
        let node = try await bench.service.node("c0")
        var result = WireCommandResult()
        result.command = try #require(node.command).text
        result.attempt = node.attempt.number
        var failure = WireFailure()
        failure.message = "the disk is on fire"
        result.outcome = .failure(failure)
        // The first job reads the node, the second would store what the report says.
        thread.hold(after: 1)
        async let taken = bench.service.take(result, from: id)
        while !thread.isHolding { await Task.yield() }
        try await meanwhile(bench, node)
        thread.release()
        return (try await taken, try await bench.service.node("c0"))
    }

    @Test func `it is not lost when the machine's restart is stored first`() async throws {
        let (isTaken, node) = try await report { bench, node in
            let command = try #require(node.command)
            let changed = try await bench.service.apply(
                .agentReady(bootID: "another", command: command),
                to: node,
                cause: "the machine booted anew"
            )
            #expect(changed)
        }
        #expect(isTaken)
        #expect(node.state.name == .inspectFailed)
        #expect(node.lastError?.contains("on fire") == true)
    }

    @Test func `it changes nothing when an abort is stored first, and its agent may forget it`()
        async throws
    {
        let (isTaken, node) = try await report { bench, node in
            _ = try await bench.service.request(.abort, for: "c0", by: nil)
        }
        #expect(isTaken)
        #expect(node.state.name == .inspectFailed)
        #expect(node.lastError?.contains("on fire") == false)
    }
}
