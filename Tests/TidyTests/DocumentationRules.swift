/// Every `package` type and function says in a `///` what it is.
///
/// Properties are left to judgement: a good name with a type of its own says more than a sentence that
/// repeats both.
enum DocumentationRules {
    private static let kinds: Set<Substring> = [
        "struct", "class", "enum", "actor", "protocol", "typealias", "func", "subscript",
    ]

    /// Witnesses of well-known protocols: their meaning stands there.
    private static let witnesses: Set<Substring> = [
        "hash", "encode", "run", "validate", "enqueue", "asUnownedSerialExecutor",
        "makeAsyncIterator",
        "next",
    ]

    /// Functions that some protocol of ours demands; its own comment holds for every witness.
    static func requirements(in files: [SourceFile]) -> Set<String> {
        var names: Set<String> = []
        for file in files where file.text.contains("protocol ") {
            let code = SwiftText(file.text).code
            for start in code.positions(of: "protocol") {
                guard let open = code[start...].firstIndex(of: UInt8(ascii: "{")),
                    let end = code[open...].firstIndex(of: UInt8(ascii: "}"))
                else { continue }
                // Accessors close braces early: read up to a line that begins with the closing one.
                let close = closingLine(of: code, from: end)
                for position in code.positions(of: "func") where (open..<close).contains(position) {
                    let name = code[(position + 5)...].prefix(while: isWord)
                    names.insert(String(decoding: name, as: UTF8.self))
                }
            }
        }
        return names
    }

    private static func closingLine(of code: [UInt8], from start: Int) -> Int {
        var position = start
        while position > 0, position < code.count {
            if code[position] == UInt8(ascii: "}"), code[position - 1] == UInt8(ascii: "\n") {
                return position
            }
            position += 1
        }
        return code.count
    }

    static func violations(in file: SourceFile, requirements: Set<String> = []) -> [Violation] {
        let text = SwiftText(file.text)
        let documented = Set(text.comments.filter { $0.text.hasPrefix("///") }.map(\.line))
        let lines = text.lines
        return lines.indices.filter { lines[$0].contains("package ") }.compactMap { index in
            guard let name = name(lines[index]), !isWitness(name),
                !requirements.contains(String(name))
            else { return nil }
            var above = index - 1
            while above >= 0, isAttribute(lines[above]) && !documented.contains(above + 1) {
                above -= 1
            }
            guard !documented.contains(above + 1) else { return nil }
            return Violation(
                path: file.path,
                line: index + 1,
                message: "the package declaration “\(name)” has no /// comment"
            )
        }
    }

    private static func isWitness(_ name: Substring) -> Bool {
        guard let first = name.utf8.first else { return true }
        return witnesses.contains(name) || !isWord(first)
    }

    private static func isAttribute(_ line: String) -> Bool {
        line.drop { $0 == " " }.first == "@"
    }

    /// What the line declares with `package`, if it does.
    private static func name(_ line: String) -> Substring? {
        let words = line.split(separator: " ").drop { $0.hasPrefix("@") }
        guard words.first == "package" else { return nil }
        guard
            let kind = words.first(where: { word in
                kinds.contains(word.prefix { $0 != "(" && $0 != "?" && $0 != "<" && $0 != "[" })
            })
        else { return nil }
        if kind.hasPrefix("subscript") { return "subscript" }
        guard let position = words.firstIndex(of: kind), position + 1 < words.endIndex else {
            return nil
        }
        return words[position + 1].prefix { character in
            character.utf8.allSatisfy(isWord) || "=<>+-*/".contains(character)
        }
    }
}
