/// Sizes: a file has at most 500 lines, a function at most 70.
enum SizeRules {
    static let fileLinesMax = 500
    static let functionLinesMax = 70

    static func violations(in file: SourceFile) -> [Violation] {
        let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false).count - 1
        var found: [Violation] = []
        if lines > fileLinesMax {
            found.append(
                Violation(
                    path: file.path,
                    line: lines,
                    message:
                        "the file has \(lines) lines, more than \(fileLinesMax): split it by topic"
                )
            )
        }
        let code = SwiftText(file.text).code
        for keyword in ["func", "init", "deinit", "subscript"] {
            for start in code.positions(of: keyword) where isDeclaration(code, keyword, at: start) {
                guard let body = body(of: code, after: start + keyword.utf8.count) else { continue }
                let length = code.line(at: body.upperBound) - code.line(at: start) + 1
                guard length > functionLinesMax else { continue }
                found.append(
                    Violation(
                        path: file.path,
                        line: code.line(at: start),
                        message:
                            "the function has \(length) lines, more than \(functionLinesMax): take parts out of it"
                    )
                )
            }
        }
        return found
    }

    /// `init` also calls an initializer: `self.init(…)`, `.init(…)`.
    private static func isDeclaration(_ code: [UInt8], _ keyword: String, at start: Int) -> Bool {
        guard keyword != "func" else { return true }
        var position = start - 1
        while position >= 0, code[position] == UInt8(ascii: " ") { position -= 1 }
        guard position >= 0 else { return true }
        return code[position] == UInt8(ascii: "\n") || isWord(code[position])
    }

    /// The braces of a declaration; `nil` for a protocol's requirement, which has none.
    private static func body(of code: [UInt8], after start: Int) -> Range<Int>? {
        var depth = 0
        var position = start
        while position < code.count {
            switch code[position] {
            case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "}") where depth == 0: return nil
            case UInt8(ascii: "{") where depth == 0: return braces(of: code, from: position)
            case UInt8(ascii: "\n") where depth == 0 && beginsDeclaration(code, after: position):
                return nil
            default: break
            }
            position += 1
        }
        return nil
    }

    private static func beginsDeclaration(_ code: [UInt8], after newline: Int) -> Bool {
        var start = newline + 1
        while start < code.count, code[start] == UInt8(ascii: " ") { start += 1 }
        var end = start
        while end < code.count, isWord(code[end]) { end += 1 }
        let word = String(decoding: code[start..<end], as: UTF8.self)
        return [
            "func", "init", "var", "let", "static", "mutating", "package", "private", "case",
            "associatedtype",
        ].contains(word)
    }

    private static func braces(of code: [UInt8], from open: Int) -> Range<Int>? {
        var depth = 0
        for position in open..<code.count {
            if code[position] == UInt8(ascii: "{") { depth += 1 }
            if code[position] == UInt8(ascii: "}") { depth -= 1 }
            if depth == 0 { return open..<position }
        }
        return nil
    }
}
