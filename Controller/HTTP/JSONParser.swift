/// Says where a JSON text is wrong.
package struct MalformedJSON: Error, Sendable, Equatable {
    /// In bytes from the start.
    package let offset: Int
    package let reason: String
}

extension JSONValue {
    /// Arrays and objects inside one another at most.
    package static let depthMax = 32

    /// Reads one JSON value (RFC 8259) that fills `bytes`.
    ///
    /// Stricter than the RFC demands, because what comes here is foreign: nesting is bounded, a name that
    /// appears twice in an object is refused (two readers could disagree on which counts), and so is a
    /// number that fits neither 64 bits nor a double.
    package init(parsing bytes: some Sequence<UInt8>) throws(MalformedJSON) {
        var parser = JSONParser(bytes: Array(bytes))
        self = try parser.document()
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(MalformedJSON) -> JSONValue {
        let value = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw wrong("there is text after the value") }
        return value
    }

    private func wrong(_ reason: String) -> MalformedJSON {
        MalformedJSON(offset: position, reason: reason)
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 {
            position += 1
        }
    }

    private mutating func take(_ byte: Character) -> Bool {
        guard current == byte.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(MalformedJSON) -> JSONValue {
        guard depth <= JSONValue.depthMax else {
            throw wrong("more than \(JSONValue.depthMax) levels of nesting")
        }
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", is: .bool(true))
        case UInt8(ascii: "f"): return try word("false", is: .bool(false))
        case UInt8(ascii: "n"): return try word("null", is: .null)
        case UInt8(ascii: "-"): return try number()
        case .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
        case nil: throw wrong("the text ends where a value is due")
        default: throw wrong("no value begins like this")
        }
    }

    private mutating func word(_ word: String, is value: JSONValue) throws(MalformedJSON)
        -> JSONValue
    {
        guard bytes[position...].starts(with: word.utf8) else {
            throw wrong("no value begins like this")
        }
        position += word.utf8.count
        return value
    }

    private mutating func object(depth: Int) throws(MalformedJSON) -> JSONValue {
        position += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take("}") { return .object(members) }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw wrong("a name is due") }
            let name = try string()
            skipSpace()
            guard take(":") else { throw wrong("a colon is due") }
            let value = try value(depth: depth + 1)
            guard members.updateValue(value, forKey: name) == nil else {
                throw wrong("the name “\(name)” appears twice")
            }
            skipSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw wrong("a comma or closing brace is due") }
        }
    }

    private mutating func array(depth: Int) throws(MalformedJSON) -> JSONValue {
        position += 1
        var values: [JSONValue] = []
        skipSpace()
        if take("]") { return .array(values) }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            if take("]") { return .array(values) }
            guard take(",") else { throw wrong("a comma or closing bracket is due") }
        }
    }

    private mutating func number() throws(MalformedJSON) -> JSONValue {
        let start = position
        var isWhole = true
        _ = take("-")
        let leadingZero = current == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, !leadingZero || whole == 1 else { throw wrong("a number is malformed") }
        if take(".") {
            isWhole = false
            guard digits() > 0 else { throw wrong("a number is malformed") }
        }
        if take("e") || take("E") {
            isWhole = false
            if !take("+") { _ = take("-") }
            guard digits() > 0 else { throw wrong("a number is malformed") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw wrong("a number is too large") }
        return .number(value)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = current, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            position += 1
        }
        return position - start
    }

    private mutating func string() throws(MalformedJSON) -> String {
        position += 1
        // Most strings end before anything that has to be looked at closely.
        var end = position
        while end < bytes.count, bytes[end] >= 0x20, bytes[end] != UInt8(ascii: "\""),
            bytes[end] != UInt8(ascii: "\\")
        {
            end += 1
        }
        var text: [UInt8] = []
        if end < bytes.count, bytes[end] == UInt8(ascii: "\"") {
            guard let string = String(validating: bytes[position..<end], as: UTF8.self) else {
                throw wrong("a string is not UTF-8")
            }
            position = end + 1
            return string
        }
        text += bytes[position..<end]
        position = end
        while let byte = current {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw wrong("a string is not UTF-8")
                }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw wrong("a string contains a control character")
            default: text.append(byte)
            }
        }
        throw wrong("the text ends inside a string")
    }

    private mutating func escape(into text: inout [UInt8]) throws(MalformedJSON) {
        guard let byte = current else { throw wrong("the text ends inside a string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try codeUnit()
            if (0xd800..<0xdc00).contains(code) {
                guard take("\\"), take("u") else { throw wrong("half a surrogate pair") }
                let low = try codeUnit()
                guard (0xdc00..<0xe000).contains(low) else { throw wrong("half a surrogate pair") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw wrong("half a surrogate pair") }
            text.append(contentsOf: String(Character(scalar)).utf8)
        default: throw wrong("an unknown escape")
        }
    }

    private mutating func codeUnit() throws(MalformedJSON) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = current.flatMap(hexDigit) else { throw wrong("an unknown escape") }
            position += 1
            code = code << 4 | UInt32(digit)
        }
        return code
    }
}
