import Basics
import FoundationEssentials
import HostTools

/// Everything that one call of the bench found out.
package struct Report: Sendable, Codable {
    /// A figure of a peer beside ours, both from the same call.
    package struct Comparison: Sendable, Codable {
        /// The key of our figure.
        package var key: String
        package var peer: Figure
        /// Why the two must not be compared; `nil` when they may.
        package var incomparable: String?

        package init(key: String, peer: Figure, incomparable: String? = nil) {
            self.key = key
            self.peer = peer
            self.incomparable = incomparable
        }
    }

    /// Machine, time and versions, in the order of the report's head.
    package var head: [String]
    package var figures: [Figure] = []
    package var comparisons: [Comparison] = []
    /// Sections that were left out, and why.
    package var skipped: [String] = []
    /// Whether a section broke off; one that only lacks a tool here is merely named in `skipped`.
    package var isBroken = false

    package init(head: [String]) { self.head = head }

    /// Writes the report as JSON, for comparison over time.
    package func write(to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try writeText(String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: path)
    }

    /// The report as Markdown: head, table of ours, table of the comparison, what was left out.
    package var markdown: String {
        var lines = head.map { "- " + $0 }
        lines += [
            "", "| figure | median | lowest – highest | runs | server CPU each | target | |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        lines += figures.map(row)
        let notes = figures.filter { $0.note != nil }
        if !notes.isEmpty {
            lines.append("")
            lines += notes.map { "- \($0.name): \($0.note ?? "")" }
        }
        if !comparisons.isEmpty {
            lines += [
                "", "| figure | ours | peer | ratio | server CPU, ours / peer | ratio |",
                "| --- | ---: | ---: | ---: | ---: | ---: |",
            ]
            lines += comparisons.compactMap(row)
        }
        if !skipped.isEmpty {
            lines.append("")
            lines += skipped.map { "- not measured: \($0)" }
        }
        return lines.joined(separator: "\n")
    }

    private func row(_ figure: Figure) -> String {
        let span =
            "\(number(figure.values.min() ?? 0)) – \(number(figure.values.max() ?? 0))"
        let cpu = figure.cpuMilliseconds.map { number($0) + " ms" } ?? ""
        let sign = figure.better == .lower ? "≤" : "≥"
        let target = figure.target.map { "\(sign) \(number($0)) \(figure.unit)" } ?? ""
        let verdict = figure.verdict?.rawValue ?? ""
        return "| \(figure.name) | \(number(figure.median)) \(figure.unit) | \(span) "
            + "| \(figure.values.count) | \(cpu) | \(target) | \(verdict) |"
    }

    private func row(_ comparison: Comparison) -> String? {
        guard let ours = figures.first(where: { $0.key == comparison.key }) else { return nil }
        let peer = comparison.peer
        var ratio = ours.ratio(to: peer).map { "\(number($0)) ×" } ?? ""
        if let reason = comparison.incomparable { ratio = "not comparable: \(reason)" }
        var cpu = ""
        var cpuRatio = ""
        if let mine = ours.cpuMilliseconds, let theirs = peer.cpuMilliseconds {
            cpu = "\(number(mine)) / \(number(theirs)) ms"
            if mine > 0, comparison.incomparable == nil { cpuRatio = "\(number(theirs / mine)) ×" }
        }
        return "| \(peer.name) | \(number(ours.median)) \(ours.unit) "
            + "| \(number(peer.median)) \(peer.unit) | \(ratio) | \(cpu) | \(cpuRatio) |"
    }
}

/// Three significant digits, without a locale.
package func number(_ value: Double) -> String {
    let size = abs(value)
    if size >= 100 || size == size.rounded(), size < 1e15 {
        return grouped(Int64(value.rounded()))
    }
    let digits = size >= 10 ? 1 : size >= 1 ? 2 : 3
    let factor = [1.0, 10, 100, 1000][digits]
    let scaled = Int64((size * factor).rounded())
    let whole = scaled / Int64(factor)
    let rest = String(scaled % Int64(factor))
    let zeros = String(repeating: "0", count: digits - rest.count)
    return "\(value < 0 ? "-" : "")\(whole).\(zeros)\(rest)"
}

private func grouped(_ value: Int64) -> String {
    let digits = String(value.magnitude)
    var text = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { text += "," }
        text.append(digit)
    }
    return value < 0 ? "-" + text : text
}
