/// A Swift source whose comments and literals are blanked with spaces, byte for byte, so that rules see
/// only code and keep true line numbers.
struct SwiftText {
    /// A comment or the text between the quotes of a literal.
    struct Piece {
        let line: Int
        let text: String
    }

    private(set) var code: [UInt8]
    private(set) var comments: [Piece] = []
    private(set) var literals: [Piece] = []
    private let source: [UInt8]
    private var line = 1

    init(_ text: String) {
        source = Array(text.utf8)
        code = source
        var position = 0
        while position < source.count { position = skipCode(from: position) }
    }

    /// The blanked code by lines; the first has index 0.
    var lines: [String] {
        code.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    private func byte(_ position: Int) -> UInt8 {
        position < source.count ? source[position] : 0
    }

    private func starts(_ text: StaticString, at position: Int) -> Bool {
        guard position + text.utf8CodeUnitCount <= source.count else { return false }
        return (0..<text.utf8CodeUnitCount).allSatisfy {
            source[position + $0] == text.utf8Start[$0]
        }
    }

    private mutating func skipCode(from position: Int) -> Int {
        if starts("//", at: position) { return skipLineComment(from: position) }
        if starts("/*", at: position) { return skipBlockComment(from: position) }
        var hashes = 0
        while byte(position + hashes) == UInt8(ascii: "#") { hashes += 1 }
        if byte(position + hashes) == UInt8(ascii: "\"") {
            return skipLiteral(from: position + hashes, hashes: hashes)
        }
        if source[position] == UInt8(ascii: "\n") { line += 1 }
        return position + 1
    }

    private mutating func blank(_ range: Range<Int>) {
        for index in range {
            if source[index] == UInt8(ascii: "\n") {
                line += 1
            } else {
                code[index] = UInt8(ascii: " ")
            }
        }
    }

    private mutating func skipLineComment(from start: Int) -> Int {
        var end = start
        while end < source.count, source[end] != UInt8(ascii: "\n") { end += 1 }
        comments.append(
            Piece(line: line, text: String(decoding: source[start..<end], as: UTF8.self))
        )
        blank(start..<end)
        return end
    }

    private mutating func skipBlockComment(from start: Int) -> Int {
        var depth = 0
        var end = start
        repeat {
            if starts("/*", at: end) {
                depth += 1
                end += 2
            } else if starts("*/", at: end) {
                depth -= 1
                end += 2
            } else {
                end += 1
            }
        } while depth > 0 && end < source.count
        end = min(end, source.count)
        comments.append(
            Piece(line: line, text: String(decoding: source[start..<end], as: UTF8.self))
        )
        blank(start..<end)
        return end
    }

    /// Blanks a literal; code inside `\(…)` stays code.
    private mutating func skipLiteral(from quote: Int, hashes: Int) -> Int {
        let long = starts("\"\"\"", at: quote)
        let width = long ? 3 : 1
        let firstLine = line
        var position = quote + width
        var text: [UInt8] = []
        while position < source.count {
            if isEnd(at: position, width: width, hashes: hashes) { break }
            if !long, source[position] == UInt8(ascii: "\n") { break }
            guard isEscape(at: position, hashes: hashes) else {
                text.append(source[position])
                blank(position..<(position + 1))
                position += 1
                continue
            }
            let escaped = position + 1 + hashes
            blank(position..<min(escaped, source.count))
            position = escaped
            if byte(escaped) == UInt8(ascii: "(") {
                position = skipInterpolation(from: escaped)
            } else if position < source.count {
                blank(position..<(position + 1))
                position += 1
            }
        }
        literals.append(Piece(line: firstLine, text: String(decoding: text, as: UTF8.self)))
        return min(position + width + hashes, source.count)
    }

    private func isEnd(at position: Int, width: Int, hashes: Int) -> Bool {
        (0..<width).allSatisfy { byte(position + $0) == UInt8(ascii: "\"") }
            && (0..<hashes).allSatisfy { byte(position + width + $0) == UInt8(ascii: "#") }
    }

    private func isEscape(at position: Int, hashes: Int) -> Bool {
        byte(position) == UInt8(ascii: "\\")
            && (0..<hashes).allSatisfy { byte(position + 1 + $0) == UInt8(ascii: "#") }
    }

    private mutating func skipInterpolation(from open: Int) -> Int {
        var depth = 0
        var position = open
        while position < source.count {
            switch source[position] {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"): depth -= 1
            default: break
            }
            position = skipCode(from: position)
            if depth == 0 { break }
        }
        return position
    }
}

/// True for what may stand in an identifier.
func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
        true
    default: false
    }
}

extension [UInt8] {
    /// Where `text` stands, not inside a longer word; blanks in `text` match any run of blanks.
    func positions(of text: String) -> [Int] {
        let pattern = Array(text.utf8)
        guard let first = pattern.first, let last = pattern.last else { return [] }
        var found: [Int] = []
        for start in indices where self[start] == first {
            if isWord(first), start > 0, isWord(self[start - 1]) { continue }
            guard let end = match(pattern, at: start) else { continue }
            if isWord(last), end < count, isWord(self[end]) { continue }
            found.append(start)
        }
        return found
    }

    private func match(_ pattern: [UInt8], at start: Int) -> Int? {
        var position = start
        for byte in pattern {
            if byte == UInt8(ascii: " ") {
                while position < count, self[position] == UInt8(ascii: " ") { position += 1 }
                continue
            }
            guard position < count, self[position] == byte else { return nil }
            position += 1
        }
        return position
    }

    /// The line of a position; the first line is 1.
    func line(at position: Int) -> Int {
        1 + self[..<position].count { $0 == UInt8(ascii: "\n") }
    }
}
