import Protocol

/// Slows down whoever guesses passwords.
///
/// Counts failures of a user name from an address, and of an address over all names. A name alone is never
/// locked: else anybody could lock the administrator out.
struct LoginGuard {
    private struct Failures {
        var count = 0
        var lockedUntil = Timestamp(nanoseconds: .min)
        var last: Timestamp
    }

    /// Failures of one name from one address that cost nothing.
    static let freeFailures = 5
    /// Failures of one address over all names that cost nothing.
    static let freeAddressFailures = 50
    /// Failures older than this are forgotten.
    static let memory = Duration.seconds(900)
    static let lockMax = Duration.seconds(900)
    /// What is remembered at most; then the oldest is forgotten.
    static let entriesMax = 4096

    private var failures: [String: Failures] = [:]

    /// When the next try is allowed; `nil` when it is now.
    func lockedUntil(user: String, address: String, at now: Timestamp) -> Timestamp? {
        let until = [Self.key(user, address), Self.key(address)].compactMap {
            failures[$0]?.lockedUntil
        }.max()
        guard let until, until > now else { return nil }
        return until
    }

    mutating func failed(user: String, address: String, at now: Timestamp) {
        count(Self.key(user, address), free: Self.freeFailures, at: now)
        count(Self.key(address), free: Self.freeAddressFailures, at: now)
    }

    mutating func succeeded(user: String, address: String) {
        failures[Self.key(user, address)] = nil
    }

    private mutating func count(_ key: String, free: Int, at now: Timestamp) {
        var entry = failures[key] ?? Failures(last: now)
        if now - entry.last > Self.memory { entry = Failures(last: now) }
        entry.count += 1
        entry.last = now
        if entry.count >= free {
            // 2 s, 4 s, 8 s … after the last free one.
            let doublings = min(entry.count - free, 10)
            entry.lockedUntil = now + min(.seconds(2 << doublings), Self.lockMax)
        }
        failures[key] = entry
        guard failures.count > Self.entriesMax else { return }
        let oldest = failures.min { ($0.value.last, $0.key) < ($1.value.last, $1.key) }
        if let oldest { failures[oldest.key] = nil }
    }

    private static func key(_ user: String, _ address: String) -> String { "\(address)\n\(user)" }
    private static func key(_ address: String) -> String { address }
}
