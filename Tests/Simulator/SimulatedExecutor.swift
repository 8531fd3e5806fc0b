import Basics
package import Protocol

/// Runs everything of one simulated world on the thread that calls it, in an order that a seed decides.
///
/// Jobs that are ready run one after the other, drawn at random. When none is ready, time goes on to the
/// next timer. Nothing else lets time pass, so that a virtual hour takes as long as its events.
// SAFETY: one thread makes, runs and drops a world; nothing of it is handed to another.
package final class SimulatedExecutor: SerialExecutor, TaskExecutor, @unchecked Sendable {
    private struct Timer {
        let at: Duration
        let number: UInt64
    }

    private var ready: [UnownedJob] = []
    private var dice: Dice
    private var heap: [Timer] = []
    private var bodies: [UInt64: () -> Void] = [:]
    private var timersMade: UInt64 = 0
    /// Time since the world began.
    package private(set) var elapsed: Duration = .zero
    /// Jobs that ran.
    package private(set) var jobs: UInt64 = 0

    package init(dice: Dice) { self.dice = dice }

    package func enqueue(_ job: consuming ExecutorJob) { ready.append(UnownedJob(job)) }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    package func checkIsolated() {}

    /// Runs one job, or lets time go on and fires what is due.
    /// - Returns: false when nothing will ever happen again.
    package func step() -> Bool {
        guard !ready.isEmpty else { return fireNext() }
        let index = ready.count == 1 ? 0 : dice.below(ready.count)
        ready.swapAt(index, ready.count - 1)
        let job = ready.removeLast()
        jobs += 1
        job.runSynchronously(
            isolatedTo: asUnownedSerialExecutor(),
            taskExecutor: asUnownedTaskExecutor()
        )
        return true
    }

    /// Calls a function once so much time has passed.
    /// - Returns: what `cancel` takes.
    @discardableResult
    package func after(_ span: Duration, _ body: @escaping () -> Void) -> UInt64 {
        timersMade += 1
        bodies[timersMade] = body
        heap.append(Timer(at: elapsed + max(span, .zero), number: timersMade))
        rise(heap.count - 1)
        return timersMade
    }

    /// Forgets a timer.
    package func cancel(_ timer: UInt64) { bodies[timer] = nil }

    /// Forgets everything that is to come, so that the world can be released.
    package func clear() {
        heap = []
        bodies = [:]
    }

    private func fireNext() -> Bool {
        while let first = heap.first {
            heap.swapAt(0, heap.count - 1)
            heap.removeLast()
            sink(0)
            guard let body = bodies.removeValue(forKey: first.number) else { continue }
            elapsed = max(elapsed, first.at)
            body()
            return true
        }
        return false
    }

    private func comesBefore(_ left: Int, _ right: Int) -> Bool {
        (heap[left].at, heap[left].number) < (heap[right].at, heap[right].number)
    }

    private func rise(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard comesBefore(child, parent) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private func sink(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if comesBefore(child, least) { least = child }
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}

/// A value that only the one thread of a world touches.
// SAFETY: as SimulatedExecutor: everything of a world is used by one thread.
package final class Confined<Value>: @unchecked Sendable {
    package var value: Value

    package init(_ value: Value) { self.value = value }
}

/// Random choices that a seed repeats; each part of a world has its own, so that one more throw in one
/// part changes nothing in the others.
package struct Dice {
    private var state: UInt64

    /// The dice of one part of the world that a seed makes.
    package init(seed: UInt64, _ part: String) {
        state = part.utf8.reduce(seed ^ 0xcbf2_9ce4_8422_2325) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        _ = next()
    }

    /// A random word (SplitMix64).
    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    /// A number from 0 to `bound` - 1.
    package mutating func below(_ bound: Int) -> Int {
        Int(UInt64(bound).multipliedFullWidth(by: next()).high)
    }

    /// True so often of a thousand.
    package mutating func happens(_ permille: Int) -> Bool { below(1000) < permille }

    /// A span between two.
    package mutating func span(_ low: Duration, _ high: Duration) -> Duration {
        let width = (high - low).wholeNanoseconds / 1_000_000
        return low + .milliseconds(Int64(below(Int(max(width, 1)))))
    }

    /// One of these.
    package mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[below(elements.count)]
    }

    /// So many random bytes.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            var word = next()
            withUnsafeBytes(of: &word) { bytes.append(contentsOf: $0) }
        }
        return Array(bytes.prefix(count))
    }
}

/// Whether one run of a program, or of a machine, still has an effect on its world.
package final class Life: Sendable {
    private let alive = Confined(true)

    package init() {}

    package var isAlive: Bool { alive.value }

    /// Nothing of this run has an effect any more.
    package func end() { alive.value = false }

    /// - Throws: `CancellationError` once the run has ended.
    package func check() throws { guard isAlive else { throw CancellationError() } }
}

/// A clock of one run of a program.
package struct SimulatedTime: TimeSource {
    /// The day on which worlds begin.
    package static let beginning = Timestamp(seconds: 1_800_000_000)

    private let executor: SimulatedExecutor
    private let life: Life
    /// How wrong the clock is.
    private let skew: Confined<Duration>

    package init(executor: SimulatedExecutor, life: Life, skew: Confined<Duration>) {
        self.executor = executor
        self.life = life
        self.skew = skew
    }

    package init(executor: SimulatedExecutor, life: Life) {
        self.init(executor: executor, life: life, skew: Confined(.zero))
    }

    package var now: Timestamp { Self.beginning + executor.elapsed + skew.value }
    package var elapsed: Duration { executor.elapsed }

    package func sleep(for span: Duration) async throws {
        try Task.checkCancellation()
        try life.check()
        let waiting = Confined<(timer: UInt64, continuation: CheckedContinuation<Void, Never>)?>(
            nil
        )
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume() }
                let timer = executor.after(span) {
                    waiting.value?.continuation.resume()
                    waiting.value = nil
                }
                waiting.value = (timer, continuation)
            }
        } onCancel: {
            guard let (timer, continuation) = waiting.value else { return }
            waiting.value = nil
            executor.cancel(timer)
            continuation.resume()
        }
        try Task.checkCancellation()
        try life.check()
    }

    /// Sets the clock right.
    package func set(_ time: Timestamp) {
        skew.value = time - (Self.beginning + executor.elapsed)
    }
}
