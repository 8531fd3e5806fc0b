/// What every README promises.
enum ReadmeRules {
    /// A folder's README ends with the section *Decisions*, which is not empty.
    static func decisions(in file: SourceFile) -> [Violation] {
        let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
        let headings = lines.indices.filter { lines[$0].hasPrefix("## ") }
        guard let last = headings.last, lines[last] == "## Decisions" else {
            return [
                Violation(
                    path: file.path,
                    line: lines.count,
                    message: "the last section is not “## Decisions”"
                )
            ]
        }
        let body = lines[(last + 1)...].filter { !$0.isEmpty }
        guard body.isEmpty else { return [] }
        return [Violation(path: file.path, line: last + 1, message: "“Decisions” is empty")]
    }

    /// Paths in backticks in the table under “Follow one deployment”.
    static func deploymentPaths(in file: SourceFile) -> [String] {
        let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let start = lines.firstIndex(where: { $0.hasPrefix("## Follow one deployment") })
        else { return [] }
        return lines[(start + 1)...].prefix { !$0.hasPrefix("## ") }
            .filter { $0.hasPrefix("|") }
            .flatMap { line in
                line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                    .filter {
                        $0.offset % 2 == 1 && $0.element.contains("/") && $0.element.contains(".")
                    }
                    .map { String($0.element) }
            }
    }

    /// Relative links `](path)` that name no file.
    static func brokenLinks(in file: SourceFile, exists: (String) -> Bool) -> [Violation] {
        let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.enumerated().flatMap { index, line in
            targets(in: line).compactMap { target in
                let path = resolve(target, from: file.folder)
                guard !exists(path) else { return nil }
                return Violation(
                    path: file.path,
                    line: index + 1,
                    message: "the link to “\(target)” leads nowhere"
                )
            }
        }
    }

    private static func targets(in line: Substring) -> [String] {
        var rest = line
        var found: [String] = []
        while let open = rest.firstRange(of: "](") {
            rest = rest[open.upperBound...]
            let target = rest.prefix { $0 != ")" && $0 != "#" && $0 != " " }
            if !target.isEmpty, !target.contains(":") { found.append(String(target)) }
        }
        return found
    }

    private static func resolve(_ target: String, from folder: String) -> String {
        var parts = folder.split(separator: "/").map(String.init)
        for part in target.split(separator: "/") {
            switch part {
            case ".": continue
            case "..": _ = parts.popLast()
            default: parts.append(String(part))
            }
        }
        return parts.joined(separator: "/")
    }
}
