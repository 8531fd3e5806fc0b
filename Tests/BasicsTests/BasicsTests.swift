import Basics
import Protocol
import Synchronization
import Testing

@Suite struct SecretTests {
    @Test func `a secret prints as three stars, also inside other values`() {
        struct Holder { var password: Secret }
        let secret = Secret("hunter2")
        var dumped = ""
        dump(Holder(password: secret), to: &dumped)
        for text in [
            "\(secret)", "\(Holder(password: secret))", dumped, String(reflecting: secret),
        ] {
            #expect(!text.contains("hunter2"), "\(text)")
        }
        #expect("\(secret)" == "***")
        #expect(secret.reveal() == "hunter2")
    }

    @Test func `secrets are equal only when all their bytes are`() {
        #expect(Secret("abc") == Secret("abc"))
        #expect(Secret("abc") != Secret("abd"))
        #expect(Secret("abc") != Secret("ab"))
    }
}

@Suite struct FaultTests {
    private struct Unknown: Error {}

    @Test func `an unknown error never shows its inside to people`() {
        let fault = Fault(Unknown())
        #expect(fault.kind == .internalError)
        #expect(!fault.message.contains("Unknown"))
        #expect(fault.report.contains("Unknown"))
    }

    @Test func `a fault stays what it is`() {
        let fault = Fault(Fault(.conflict, "cannot x: y", detail: "z"))
        #expect(fault.kind == .conflict)
        #expect(fault.description == "cannot x: y")
        #expect(fault.report == "cannot x: y (z)")
    }
}

@Suite struct RandomTests {
    @Test func `the same seed gives the same numbers, another seed others`() {
        #expect(SeededRandom(seed: 1).bytes(40) == SeededRandom(seed: 1).bytes(40))
        #expect(SeededRandom(seed: 1).bytes(40) != SeededRandom(seed: 2).bytes(40))
    }

    @Test func `a number stays below its bound`() {
        let random = SeededRandom(seed: 3)
        for _ in 0..<1000 { #expect(random.number(below: 7) < 7) }
    }

    @Test func `the kernel's numbers differ`() {
        #expect(SystemRandom().bytes(16) != SystemRandom().bytes(16))
    }
}

@Suite struct BudgetTests {
    @Test func `an operation within its budget gives its result`() async throws {
        let value = try await withBudget(.seconds(30), for: "seven", on: SystemTime()) { 7 }
        #expect(value == 7)
    }

    @Test func `an operation beyond its budget is cancelled and named`() async {
        let cancelled = Mutex(false)
        await #expect(throws: TimeBudgetExceeded.self) {
            try await withBudget(.milliseconds(20), for: "the BMC's answer", on: SystemTime()) {
                do {
                    try await SystemTime().sleep(for: .seconds(60))
                } catch {
                    cancelled.withLock { $0 = true }
                    throw error
                }
            }
        }
        #expect(cancelled.withLock { $0 })
        let fault = Fault(TimeBudgetExceeded(subject: "the BMC's answer", budget: .seconds(2)))
        #expect(fault.kind == .timeout)
        #expect(fault.message.contains("the BMC's answer"))
    }
}

@Suite struct OwnThreadTests {
    private actor Counter {
        private let executor = OwnThread(name: "counter")
        private var threads: Set<UInt> = []
        nonisolated var unownedExecutor: UnownedSerialExecutor {
            executor.asUnownedSerialExecutor()
        }

        func note() -> Int {
            threads.insert(UInt(bitPattern: currentThread()))
            return threads.count
        }
    }

    private final class Calls: Sendable {
        let list = Mutex<[(number: Int, thread: UInt)]>([])
    }

    @Test func `what is called after the queue runs on the thread, in its turn`() async {
        let executor = OwnThread(name: "calls")
        let calls = Calls()
        await withCheckedContinuation { continuation in
            for index in 0..<100 {
                executor.afterQueued {
                    calls.list.withLock { $0.append((index, UInt(bitPattern: currentThread()))) }
                    if index == 99 { continuation.resume() }
                }
            }
        }
        let all = calls.list.withLock { $0 }
        #expect(all.map(\.number) == Array(0..<100))
        #expect(Set(all.map(\.thread)).count == 1)
    }

    @Test func `an actor on its own thread never leaves it`() async {
        let counter = Counter()
        var most = 0
        for _ in 0..<200 {
            most = max(most, await counter.note())
            await Task.yield()
        }
        #expect(most == 1)
    }

    @Test func `many actors may come and go`() async {
        await withTaskGroup(of: Int.self) { group in
            for _ in 0..<50 {
                group.addTask { await Counter().note() }
            }
            for await count in group { #expect(count == 1) }
        }
    }

    @Test func `what can wait is called once, after the work and before the thread ends`() async {
        let (calls, call) = AsyncStream.makeStream(of: String.self)
        do {
            let executor = OwnThread(name: "spare")
            executor.later(within: .milliseconds(20)) { call.yield("later") }
            executor.later(within: .milliseconds(20)) { call.yield("joined") }
            executor.afterQueued { call.yield("work") }
            var seen: [String] = []
            for await name in calls {
                seen.append(name)
                if seen.count == 2 { break }
            }
            #expect(seen == ["work", "later"])
            executor.later(within: .seconds(3600)) {
                call.yield("at the end")
                call.finish()
            }
        }
        #expect(await calls.reduce(into: []) { $0.append($1) } == ["at the end"])
    }
}
