import Basics

/// A file of `[sections]` and `key = value` lines, as oslo.config writes them.
package struct INIFile: Sendable, Equatable {
    /// One value and its line, for messages.
    package struct Entry: Sendable, Equatable {
        package var section: String
        package var key: String
        package var value: String
        package var line: Int
    }

    package private(set) var entries: [Entry] = []

    /// Reads the text; `#` and `;` begin comments at the start of a line.
    /// - Throws: `Fault` that names the line which is neither section, nor setting, nor comment.
    package init(_ text: String, path: String) throws {
        var section = "DEFAULT"
        // “\r\n” is one character, which no other equals.
        let lines = text.split(omittingEmptySubsequences: false) {
            $0 == "\n" || $0 == "\r\n" || $0 == "\r"
        }
        for (index, raw) in lines.enumerated() {
            let line = Self.trim(raw)
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("["), line.hasSuffix("]") {
                section = String(line.dropFirst().dropLast())
                continue
            }
            guard let equals = line.firstIndex(of: "=") else {
                throw Fault(
                    .invalid,
                    "cannot read \(path):\(index + 1): “\(line)” is neither “key = value” nor “[section]”"
                )
            }
            entries.append(
                Entry(
                    section: section,
                    key: Self.trim(line[..<equals]),
                    value: Self.trim(line[line.index(after: equals)...]),
                    line: index + 1
                )
            )
        }
    }

    private static func trim(_ text: Substring) -> String {
        let start = text.drop { $0.isWhitespace }
        guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...end])
    }

    private static func trim(_ text: String) -> String { trim(text[...]) }
}
