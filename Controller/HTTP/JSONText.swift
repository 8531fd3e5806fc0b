/// A JSON text that grows, byte by byte.
///
/// For answers with thousands of rows, which are written as they are read instead of being built twice.
package struct JSONText: Sendable {
    /// What is written so far.
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Makes room for this many bytes more.
    package mutating func reserve(_ count: Int) { bytes.reserveCapacity(bytes.count + count) }

    /// Appends text that is JSON already.
    package mutating func append(raw text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    /// Appends bytes that are JSON already.
    package mutating func append(raw bytes: some Sequence<UInt8>) {
        self.bytes.append(contentsOf: bytes)
    }

    /// Appends a piece of a string that has nothing to escape, as an address or an identifier.
    package mutating func append(plain text: String) {
        var text = text
        text.withUTF8 { bytes.append(contentsOf: $0) }
    }

    /// Appends a string with its quotation marks.
    package mutating func append(_ value: String) {
        var value = value
        value.withUTF8 { append(escaping: $0) }
    }

    /// Appends a value: names sorted, no white space.
    package mutating func append(_ value: JSONValue) {
        switch value {
        case .null: append(raw: "null")
        case .bool(let value): append(raw: value ? "true" : "false")
        case .integer(let value): append(raw: String(value).utf8)
        case .number(let value): append(raw: value.isFinite ? "\(value)".utf8 : "null".utf8)
        case .string(let value): append(value)
        case .array(let values):
            bytes.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                append(value)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                append(member.key)
                bytes.append(UInt8(ascii: ":"))
                append(member.value)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    /// Runs without anything to escape are copied whole: nearly every string is one.
    private mutating func append(escaping text: UnsafeBufferPointer<UInt8>) {
        bytes.append(UInt8(ascii: "\""))
        var start = 0
        for (index, byte) in text.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            bytes.append(contentsOf: text[start..<index])
            start = index + 1
            switch byte {
            case UInt8(ascii: "\""): append(raw: #"\""#)
            case UInt8(ascii: "\\"): append(raw: #"\\"#)
            case UInt8(ascii: "\n"): append(raw: #"\n"#)
            case UInt8(ascii: "\r"): append(raw: #"\r"#)
            case UInt8(ascii: "\t"): append(raw: #"\t"#)
            default:
                append(raw: byte < 0x10 ? #"\u000"# : #"\u00"#)
                append(raw: String(byte, radix: 16).utf8)
            }
        }
        bytes.append(contentsOf: text[start...])
        bytes.append(UInt8(ascii: "\""))
    }
}
