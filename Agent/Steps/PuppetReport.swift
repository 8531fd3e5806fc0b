import FoundationEssentials

/// What a Puppet run left: which resources failed or changed, and what was said about them.
struct PuppetReport: Sendable, Equatable {
    static let statusBytesMax = 16 << 20
    static let logBytesMax = 4 << 20
    static let failedMax = 32
    static let linesMax = 16
    static let lineBytesMax = 1024

    /// One line of the structured log.
    struct Line: Sendable, Equatable {
        var level: String
        var source: String
        var message: String
    }

    /// A resource that failed and the error lines that name it.
    struct Failed: Sendable, Equatable {
        var resource: String
        var lines: [String]
    }

    let changed: Int
    let failed: [Failed]
    /// The error lines that belong to no failed resource.
    let otherErrors: [String]

    /// Reads Puppet's report and its JSON log; both may be missing, after a failure to compile for
    /// instance.
    init(report: [UInt8], log: [UInt8]) {
        let statuses = Self.statuses(report)
        let lines = Self.lines(log)
        let errors = lines.filter { ["err", "alert", "emerg", "crit"].contains($0.level) }
        let names = statuses.filter(\.failed).map(\.resource)
        changed = statuses.count { $0.changed }
        // What an exec printed before it failed explains the failure, so levels below error count too.
        failed = names.prefix(Self.failedMax).map { name in
            let own = lines.filter { Self.source($0.source, names: name) }
            return Failed(resource: name, lines: own.suffix(Self.linesMax).map(\.message))
        }
        otherErrors = errors.filter { error in
            !names.contains { Self.source(error.source, names: $0) }
        }.suffix(Self.linesMax).map(\.message)
    }

    /// Sources look like `/Stage[main]/Main/Exec[title]/returns`.
    private static func source(_ source: String, names resource: String) -> Bool {
        source.hasSuffix("/\(resource)") || source.contains("/\(resource)/")
    }

    // MARK: - The log

    private struct WireLine: Decodable {
        let level: String
        let source: String?
        let message: String
    }

    /// The log is a JSON array with one entry per line, whose end is missing when Puppet was killed.
    private static func lines(_ log: [UInt8]) -> [Line] {
        let decoder = JSONDecoder()
        return log.suffix(logBytesMax).split(separator: 10).compactMap { line in
            var line = line
            while let last = line.last, [0x2c, 0x5d, 0x0d, 0x20].contains(last) { line.removeLast() }
            if line.first == UInt8(ascii: "[") { line.removeFirst() }
            guard line.first == UInt8(ascii: "{"),
                // A line that is cut off is no line.
                let entry = try? decoder.decode(WireLine.self, from: Data(line))
            else { return nil }
            let message = String(decoding: entry.message.utf8.prefix(lineBytesMax), as: UTF8.self)
            return Line(level: entry.level, source: entry.source ?? "", message: message)
        }
    }

    // MARK: - The report

    private struct Status {
        var resource: String
        var failed = false
        var changed = false
    }

    /// Reads `resource_statuses` of the YAML report line by line.
    ///
    /// Psych writes it in one fixed shape: entries two spaces deep, their fields four. Nothing else of
    /// YAML is understood, and nothing is executed for its tags.
    private static func statuses(_ report: [UInt8]) -> [Status] {
        var inside = false
        var statuses: [Status] = []
        var name: [UInt8]?
        func endName() {
            guard let text = name, !statuses.isEmpty else { return }
            let resource = plain(text)
            if !resource.isEmpty { statuses[statuses.count - 1].resource = resource }
            name = nil
        }
        for line in report.prefix(statusBytesMax).split(separator: 10) {
            if line.first != 0x20 {
                if inside { break }
                inside = line.elementsEqual("resource_statuses:".utf8)
                continue
            }
            guard inside else { continue }
            let depth = line.prefix { $0 == 0x20 }.count
            let text = line.dropFirst(depth)
            if name != nil, depth > 4 {
                name?.append(0x20)
                name?.append(contentsOf: text)
                continue
            }
            endName()
            if depth == 2, text.first != UInt8(ascii: ":") {
                statuses.append(Status(resource: "an unnamed resource"))
            } else if depth == 4, !statuses.isEmpty {
                if text.starts(with: "resource: ".utf8) {
                    name = Array(text.dropFirst(10))
                } else if text.elementsEqual("failed: true".utf8)
                    || text.elementsEqual("failed_to_restart: true".utf8)
                {
                    statuses[statuses.count - 1].failed = true
                } else if text.elementsEqual("changed: true".utf8) {
                    statuses[statuses.count - 1].changed = true
                }
            }
        }
        endName()
        return statuses
    }

    /// A YAML scalar without its quotes.
    private static func plain(_ scalar: [UInt8]) -> String {
        let text = String(decoding: scalar.prefix(lineBytesMax), as: UTF8.self)
        guard text.count >= 2, let quote = text.first, quote == text.last else { return text }
        let inner = String(text.dropFirst().dropLast())
        switch quote {
        case "'": return inner.replacing("''", with: "'")
        case "\"": return inner.replacing("\\\"", with: "\"").replacing("\\\\", with: "\\")
        default: return text
        }
    }
}
