/// What one measurement gave, over all its runs.
package struct Figure: Sendable, Codable, Equatable {
    /// How a figure stands to its target.
    package enum Verdict: String, Sendable, Codable {
        case met
        case missed
    }

    /// Which way is good.
    package enum Better: String, Sendable, Codable {
        case lower
        case higher
    }

    /// Stable, so that two reports can be compared: `api.list`.
    package var key: String
    /// What was measured, for people.
    package var name: String
    /// `ms`, `/s`, `MB`, `s`.
    package var unit: String
    package var better: Better
    /// One value per run.
    package var values: [Double]
    /// CPU milliseconds of the measured server per operation, its median; `nil` where it means nothing.
    package var cpuMilliseconds: Double?
    /// What the project promised; `nil` without a promise.
    package var target: Double?
    /// What the reader must know.
    package var note: String?

    package init(
        _ key: String,
        _ name: String,
        _ unit: String,
        _ better: Better,
        values: [Double],
        cpuMilliseconds: Double? = nil,
        target: Double? = nil,
        note: String? = nil
    ) {
        self.key = key
        self.name = name
        self.unit = unit
        self.better = better
        self.values = values
        self.cpuMilliseconds = cpuMilliseconds
        self.target = target
        self.note = note
    }

    package var median: Double { Bench.median(values) }

    /// `nil` without a target or without a value.
    package var verdict: Verdict? {
        guard let target, !values.isEmpty else { return nil }
        let good = better == .lower ? median <= target : median >= target
        return good ? .met : .missed
    }

    /// How many times better this is than `other`; `nil` when one of them has no value.
    package func ratio(to other: Figure) -> Double? {
        guard !values.isEmpty, !other.values.isEmpty, median > 0, other.median > 0 else {
            return nil
        }
        return better == .lower ? other.median / median : median / other.median
    }
}

/// The middle of the values; the mean of both middle ones when their number is even, 0 without any.
package func median(_ values: [Double]) -> Double {
    guard !values.isEmpty else { return 0 }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
