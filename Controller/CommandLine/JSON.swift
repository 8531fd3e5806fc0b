import FoundationEssentials

/// Any JSON value, for answers whose shape is not ours to fix.
package enum JSON: Sendable, Hashable, Codable {
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    case list([JSON])
    case object([String: JSON])

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {  // another type: tried next
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {  // another type: tried next
            self = .number(value)
        } else if let value = try? container.decode(String.self) {  // another type: tried next
            self = .text(value)
        } else if let value = try? container.decode([JSON].self) {  // another type: tried next
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSON].self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .number(let value):
            if let whole = Int64(exactly: value) {
                try container.encode(whole)
            } else {
                try container.encode(value)
            }
        case .text(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// A member of an object; `null` when there is none.
    package subscript(key: String) -> JSON {
        guard case .object(let members) = self else { return .null }
        return members[key] ?? .null
    }

    package var string: String? {
        guard case .text(let value) = self else { return nil }
        return value
    }

    package var double: Double? {
        guard case .number(let value) = self else { return nil }
        return value
    }

    package var array: [JSON] {
        guard case .list(let value) = self else { return [] }
        return value
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByIntegerLiteral,
    ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral
{
    package init(stringLiteral value: String) { self = .text(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int) { self = .number(Double(value)) }
    package init(arrayLiteral elements: JSON...) { self = .list(elements) }
    package init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(Dictionary(elements) { $1 })
    }
}

extension JSON {
    /// The sentence for people in a service's error answer, whichever of OpenStack's forms it has.
    package var errorMessage: String? {
        if let text = string { return text }
        guard case .object = self else { return nil }
        for key in ["error_message", "error", "faultstring", "message", "title", "description"] {
            guard let text = self[key].errorMessage else { continue }
            // Ironic wraps its answer once more, as a text; what does not decode is a plain sentence.
            let inner = try? JSONDecoder().decode(JSON.self, from: Data(text.utf8))
            return inner.flatMap { $0.string == nil ? $0.errorMessage : nil } ?? text
        }
        return nil
    }
}
