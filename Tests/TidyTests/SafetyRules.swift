/// What the compiler allows and this code base does not.
enum SafetyRules {
    private static let declarations = [
        "struct", "class", "enum", "actor", "protocol", "func", "var", "let", "init", "import",
        "typealias", "final", "static", "extension", "subscript",
    ]

    static func violations(in file: SourceFile) -> [Violation] {
        let text = SwiftText(file.text)
        let commented = Set(text.comments.map(\.line))
        var found: [Violation] = []
        func add(_ line: Int, _ message: String) {
            found.append(Violation(path: file.path, line: line, message: message))
        }
        for keyword in declarations where file.name != "Package.swift" {
            for position in text.code.positions(of: "public " + keyword) {
                add(text.code.line(at: position), "“public” is not used: package or narrower")
            }
        }
        for word in ["try!", "try?"] {
            for position in text.code.positions(of: word) {
                let line = text.code.line(at: position)
                guard commented.isDisjoint(with: line - 3...line), !file.isTest else {
                    continue
                }
                add(line, "“\(word)” needs a comment that says why no error is lost")
            }
        }
        for line in forcedUnwraps(text)
        where !commented.contains(line) && !commented.contains(line - 1) {
            add(line, "a forced unwrap needs a comment that says why it cannot fail")
        }
        for word in ["@unchecked Sendable", "nonisolated(unsafe)"] {
            for position in text.code.positions(of: word) {
                let line = text.code.line(at: position)
                let explained = text.comments.contains {
                    $0.text.contains("SAFETY:") && (line - 8...line).contains($0.line)
                }
                if !explained { add(line, "“\(word)” needs a “// SAFETY:” line above it") }
            }
        }
        for comment in text.comments where comment.text.contains("TO" + "DO") {
            add(comment.line, "no to-do notes in the main branch: open an issue")
        }
        if text.code.positions(of: "XCTest").isEmpty == false {
            add(1, "tests use Testing, not XCTest")
        }
        return found
    }

    /// Lines where an exclamation mark follows an expression or a type.
    private static func forcedUnwraps(_ text: SwiftText) -> [Int] {
        let code = text.code
        return code.indices.dropFirst().compactMap { index in
            guard code[index] == UInt8(ascii: "!") else { return nil }
            let before = code[index - 1]
            let next = index + 1 < code.count ? code[index + 1] : 0
            guard isWord(before) || ")]}\"".utf8.contains(before), next != UInt8(ascii: "=") else {
                return nil
            }
            if index >= 3, code[(index - 3)..<index].elementsEqual("try".utf8) { return nil }
            return code.line(at: index)
        }
    }

    private static let shells: Set<String> = ["sh", "bash", "dash"]

    /// Programs are started by argument vectors; no text is ever interpreted by a shell.
    ///
    /// A shell is started by its path, or by its name with `-c` soon after it. A bare name may also be an
    /// entry in a list of busybox's applets.
    static func shells(in file: SourceFile) -> [Violation] {
        guard !file.isTest else { return [] }
        let text = SwiftText(file.text)
        let literals = text.literals.map(\.text)
        var lines = text.literals.indices.filter { index in
            let name = literals[index].split(separator: "/").last.map(String.init) ?? ""
            guard shells.contains(name) else { return false }
            return literals[index].hasPrefix("/")
                || literals[index...].dropFirst().prefix(2).contains("-c")
        }.map { text.literals[$0].line }
        lines += ["system(", "popen("].flatMap { text.code.positions(of: $0) }
            .map { text.code.line(at: $0) }
        return lines.map {
            Violation(
                path: file.path,
                line: $0,
                message: "a shell is started: use an argument vector"
            )
        }
    }

    /// Hosts of package registries, in parts so that this file does not name them.
    private static let registryHosts = [
        ["deb", "debian", "org"], ["security", "debian", "org"], ["ftp", "debian", "org"],
        ["pypi", "org"], ["files", "pythonhosted", "org"], ["registry", "npmjs", "org"],
        ["proxy", "golang", "org"], ["crates", "io"],
    ].map { $0.joined(separator: ".") }

    static func registryHosts(in file: SourceFile) -> [Violation] {
        registryHosts.filter { file.text.contains($0) }.map { host in
            Violation(
                path: file.path,
                line: 1,
                message:
                    "a package registry's host is named; take it from the machine's own settings"
            )
        }
    }
}
