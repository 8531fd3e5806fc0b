import Glibc
package import Protocol

/// Tells the time and waits.
///
/// The only clock in the product; simulation puts a virtual one in its place.
package protocol TimeSource: Sendable {
    /// Time of day, as the operator's clock shows it. It may jump.
    var now: Timestamp { get }

    /// Time since an arbitrary start; never jumps, does not stop while the machine sleeps.
    var elapsed: Duration { get }

    /// Returns after `span` at the earliest.
    /// - Throws: `CancellationError` when the task is cancelled meanwhile.
    func sleep(for span: Duration) async throws
}

/// The machine's clocks.
package struct SystemTime: TimeSource {
    package init() {}

    package var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    package var elapsed: Duration {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
    }

    package func sleep(for span: Duration) async throws {
        try await Task.sleep(for: span, tolerance: .zero, clock: .continuous)
    }
}

/// Says that an operation did not end within its budget.
package struct TimeBudgetExceeded: Error, Sendable {
    /// What was waited for, as a clause: `the BMC's answer`.
    package let subject: String
    package let budget: Duration

    package init(subject: String, budget: Duration) {
        self.subject = subject
        self.budget = budget
    }
}

/// Runs `operation` and cancels it when it takes longer than `budget`.
///
/// `subject` says what is waited for, for the error's text.
///
/// - Returns: what the operation returns.
/// - Throws: `TimeBudgetExceeded`, or what the operation throws.
package func withBudget<Result: Sendable>(
    _ budget: Duration,
    for subject: String,
    on time: some TimeSource,
    _ operation: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask(name: subject) { try await operation() }
        group.addTask(name: "budget") {
            try await time.sleep(for: budget)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let result = first else {
            throw TimeBudgetExceeded(subject: subject, budget: budget)
        }
        return result
    }
}
