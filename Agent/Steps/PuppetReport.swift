/// What a Puppet report says about its resources.
///
/// Puppet writes `last_run_report.yaml` (report format 12). Only three scalars per resource are needed,
/// which stand on lines of their own at a fixed depth, so that it is read line by line: a YAML library
/// would be the largest part of the agent, and the file comes from a node that may be hostile.
package struct PuppetReport: Sendable, Equatable {
    /// Resources by reference, `Service[httpd]`, in the order of the report.
    package var failed: [String] = []
    package var changed: UInt32 = 0
    package var total: UInt32 = 0

    /// A report larger than this is not read; one of 5,000 resources takes some 6 MiB.
    package static let bytesMax = 16 << 20
    /// Failed resources that are kept.
    package static let failedMax = 64

    fileprivate struct Entry {
        var reference = ""
        var failed = false
        var changed = false
    }

    /// Reads the file's text.
    ///
    /// What it does not understand it passes over.
    package init(text: some StringProtocol) {
        var inside = false
        var entry: Entry?
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let indent = line.prefix { $0 == UInt8(ascii: " ") }.count
            if indent == 0 {
                add(entry)
                entry = nil
                inside = line.elementsEqual("resource_statuses:".utf8)
            } else if inside, indent == 2 {
                // A long key stands as “? key” and “: value”; both begin at the same depth.
                let first = line.dropFirst(2).first
                if first == UInt8(ascii: ":") { continue }
                add(entry)
                entry = Entry()
            } else if inside, indent == 4 {
                entry?.read(String(decoding: line.dropFirst(4), as: UTF8.self))
            }
        }
        add(entry)
    }

    private mutating func add(_ entry: Entry?) {
        guard let entry else { return }
        total += 1
        if entry.changed { changed += 1 }
        if entry.failed, failed.count < Self.failedMax {
            failed.append(entry.reference.isEmpty ? "a resource without a name" : entry.reference)
        }
    }
}

extension PuppetReport.Entry {
    fileprivate mutating func read(_ line: String) {
        guard let colon = line.firstIndex(of: ":") else { return }
        let value = line[line.index(after: colon)...].drop { $0 == " " }
        switch line[..<colon] {
        case "resource": reference = String(unquoted(value).prefix(256))
        case "failed", "failed_to_restart": failed = failed || value == "true"
        case "changed": changed = value == "true"
        default: break
        }
    }
}

/// A YAML scalar without its quotation marks.
private func unquoted(_ text: Substring) -> Substring {
    guard text.count >= 2, let first = text.first, first == text.last,
        first == "\"" || first == "'"
    else { return text }
    return text.dropFirst().dropLast()
}

/// The lines of Puppet's console that tell why a resource failed.
///
/// - Parameters:
///   - reference: `Service[httpd]`.
///   - console: Puppet's output, line by line.
/// - Returns: at most 16 lines that name the resource.
package func puppetLines(about reference: String, in console: [String]) -> [String] {
    console.filter { line in
        (line.hasPrefix("Error:") || line.hasPrefix("Warning:") || line.hasPrefix("Notice:"))
            && line.contains(reference)
    }.suffix(16)
}
