/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
package struct Timestamp: Hashable, Comparable, Sendable, Codable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package init(seconds: Double) { nanoseconds = Int64(seconds * 1_000_000_000) }

    package var seconds: Double { Double(nanoseconds) / 1_000_000_000 }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    package static func + (time: Timestamp, span: Duration) -> Timestamp {
        Timestamp(nanoseconds: time.nanoseconds &+ span.wholeNanoseconds)
    }

    package static func - (time: Timestamp, span: Duration) -> Timestamp {
        Timestamp(nanoseconds: time.nanoseconds &- span.wholeNanoseconds)
    }

    package static func - (later: Timestamp, earlier: Timestamp) -> Duration {
        .nanoseconds(later.nanoseconds &- earlier.nanoseconds)
    }

    package init(from decoder: any Decoder) throws {
        nanoseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(nanoseconds)
    }
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC with whole seconds: `2026-11-23T02:44:27+00:00`, as OpenStack writes times.
    package var description: String { rfc3339(suffix: "+00:00") }

    /// RFC 3339 in UTC with the given zone suffix (`Z` or `+00:00`).
    package func rfc3339(suffix: String) -> String {
        let seconds = Int64((Double(nanoseconds) / 1_000_000_000).rounded(.down))
        let days = Int64((Double(seconds) / 86_400).rounded(.down))
        let rest = seconds - days * 86_400
        let (year, month, day) = civilDate(daysSince1970: days)
        let suffix = suffix.utf8
        // A list of nodes has thousands of these: one buffer instead of a dozen of texts. Nanoseconds in 64
        // bits end in 2262, so that a year has four digits.
        return String(unsafeUninitializedCapacity: 19 + suffix.count) { buffer in
            var place = 0
            func put(_ byte: UInt8) {
                buffer.initializeElement(at: place, to: byte)
                place += 1
            }
            func two(_ value: Int64, then mark: UInt8? = nil) {
                put(UInt8(ascii: "0") + UInt8(value / 10))
                put(UInt8(ascii: "0") + UInt8(value % 10))
                if let mark { put(mark) }
            }
            two(year / 100)
            two(year % 100, then: UInt8(ascii: "-"))
            two(month, then: UInt8(ascii: "-"))
            two(day, then: UInt8(ascii: "T"))
            two(rest / 3600, then: UInt8(ascii: ":"))
            two(rest / 60 % 60, then: UInt8(ascii: ":"))
            two(rest % 60)
            for byte in suffix { put(byte) }
            return place
        }
    }
}

/// Days to a date of the Gregorian calendar (Hinnant, “chrono-compatible low-level date algorithms”).
private func civilDate(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra =
        (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, day)
}

extension Duration {
    /// The span in whole nanoseconds, saturating.
    package var wholeNanoseconds: Int64 {
        let (whole, overflow) = components.seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return components.seconds < 0 ? .min : .max }
        return whole &+ components.attoseconds / 1_000_000_000
    }

    /// The span in seconds.
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}

/// A number of bytes.
package struct ByteCount: Hashable, Comparable, Sendable, Codable {
    package var bytes: Int64

    package init(_ bytes: Int64) { self.bytes = bytes }

    /// So many times 1024 bytes.
    package static func kibibytes(_ count: Int64) -> ByteCount { ByteCount(count << 10) }
    /// So many times 1024² bytes.
    package static func mebibytes(_ count: Int64) -> ByteCount { ByteCount(count << 20) }
    /// So many times 1024³ bytes.
    package static func gibibytes(_ count: Int64) -> ByteCount { ByteCount(count << 30) }

    package static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }

    package init(from decoder: any Decoder) throws {
        bytes = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(bytes)
    }
}

extension ByteCount: CustomStringConvertible {
    /// Binary units with one decimal above a kibibyte: `1.5 GiB`.
    package var description: String {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB"]
        guard bytes >= 1024 else { return "\(bytes) B" }
        // In two parts, as ten times the number of bytes may not fit.
        var tenths = bytes / 1024 * 10 + bytes % 1024 * 10 / 1024
        var unit = 0
        while tenths >= 10_240, unit + 1 < units.count {
            tenths /= 1024
            unit += 1
        }
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }
}
