package import HTTP

extension JSONValue {
    /// Levels of arrays and objects in the value.
    package var depth: Int {
        switch self {
        case .null, .bool, .integer, .number, .string: 0
        case .array(let values): 1 + (values.map(\.depth).max() ?? 0)
        case .object(let fields): 1 + (fields.values.map(\.depth).max() ?? 0)
        }
    }

    /// An integer, also when written as a string of digits, as operators' files often do.
    package var wholeNumber: Int64? {
        switch self {
        case .integer(let number): number
        case .string(let text): Int64(text)
        case .number(let number): Int64(exactly: number)
        case .null, .bool, .array, .object: nil
        }
    }

    /// A boolean, also in the spellings that OpenStack takes for one.
    package var truth: Bool? {
        switch self {
        case .bool(let value): value
        case .string(let text):
            switch text.lowercased() {
            case "true", "t", "yes", "y", "on", "1": true
            case "false", "f", "no", "n", "off", "0": false
            default: nil
            }
        case .integer(let number) where number == 0 || number == 1: number == 1
        case .null, .integer, .number, .array, .object: nil
        }
    }

    /// The text of a string, or the spelling of a number or boolean.
    package var plainText: String? {
        switch self {
        case .string(let text): text
        case .integer(let number): String(number)
        case .number(let number): String(number)
        case .bool(let value): String(value)
        case .null, .array, .object: nil
        }
    }
}
