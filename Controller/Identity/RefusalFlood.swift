import HTTP
import Protocol

/// Bounds what strangers can make the audit trail keep.
///
/// Of the refusals from one address where nobody had signed in, and of what machines tell that have a
/// capability (BMCs their events), so many a minute are kept one by one; the next one that is kept says how
/// many were not.
struct RefusalFlood {
    private struct Count {
        var kept = 0
        var omitted = 0
        var since: Timestamp
    }

    static let keptMax = 30
    static let window = Duration.seconds(60)
    /// Addresses that are remembered; then the one whose window is the oldest is forgotten.
    static let addressesMax = 1024

    private var counts: [String: Count] = [:]

    /// The record as it shall be kept; `nil` when it is only counted.
    mutating func admit(_ record: AuditRecord) -> AuditRecord? {
        guard record.userID.isEmpty, record.outcome == .failure || record.isByCapability else {
            return record
        }
        var count = counts[record.address] ?? Count(since: record.time)
        if record.time - count.since >= Self.window || record.time < count.since {
            count = Count(omitted: count.omitted, since: record.time)
        }
        defer {
            counts[record.address] = count
            forgetOldest()
        }
        guard count.kept < Self.keptMax else {
            count.omitted += 1
            return nil
        }
        var record = record
        record.omitted = count.omitted
        count.kept += 1
        count.omitted = 0
        return record
    }

    private mutating func forgetOldest() {
        guard counts.count > Self.addressesMax else { return }
        let oldest = counts.min { ($0.value.since, $0.key) < ($1.value.since, $1.key) }
        if let oldest { counts[oldest.key] = nil }
    }
}
