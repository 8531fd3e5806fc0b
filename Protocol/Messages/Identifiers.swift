/// A name that never changes and never is reused: a UUID in lower-case text, as OpenStack writes it.
///
/// Each kind of object has a type of its own, so that a port's identifier cannot stand where a node's
/// is meant.
package protocol Identifier: Hashable, Comparable, Sendable, Codable, CodingKeyRepresentable,
    CustomStringConvertible
{
    /// Thirty-six characters: hexadecimal digits in lower case and four hyphens.
    var text: String { get }

    /// Takes a text that is known to be well formed.
    init(unchecked text: String)
}

extension Identifier {
    /// Reads the text form; `nil` unless it is a UUID; upper case is folded.
    package init?(_ text: String) {
        guard let folded = canonicalUUID(text) else { return nil }
        self.init(unchecked: folded)
    }

    /// Makes an identifier of 16 random bytes (version 4, RFC 9562).
    package init(random bytes: [UInt8]) {
        precondition(bytes.count == 16, "an identifier takes 16 bytes")
        var bytes = bytes
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        self.init(unchecked: String(decoding: text, as: UTF8.self))
    }

    package var description: String { text }

    package static func < (left: Self, right: Self) -> Bool { left.text < right.text }

    /// Dictionaries by identifier become JSON objects, whose keys can be sorted.
    package var codingKey: any CodingKey { IdentifierKey(stringValue: text) }

    package init?(codingKey: some CodingKey) { self.init(codingKey.stringValue) }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let folded = canonicalUUID(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "“\(text)” is not a UUID"
            )
        }
        self.init(unchecked: folded)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

private struct IdentifierKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// Folds a UUID to lower case; `nil` when the text is none.
private func canonicalUUID(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    guard bytes.count == 36 else { return nil }
    var folded: [UInt8] = []
    folded.reserveCapacity(36)
    for (index, byte) in bytes.enumerated() {
        switch (index, byte) {
        case (8, UInt8(ascii: "-")), (13, UInt8(ascii: "-")), (18, UInt8(ascii: "-")),
            (23, UInt8(ascii: "-")):
            folded.append(byte)
        case (8, _), (13, _), (18, _), (23, _): return nil
        case (_, UInt8(ascii: "0")...UInt8(ascii: "9")),
            (_, UInt8(ascii: "a")...UInt8(ascii: "f")):
            folded.append(byte)
        case (_, UInt8(ascii: "A")...UInt8(ascii: "F")): folded.append(byte | 0x20)
        default: return nil
        }
    }
    return String(decoding: folded, as: UTF8.self)
}

/// A machine under the controller's care.
package struct NodeID: Identifier {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// A network interface of a node.
package struct PortID: Identifier {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// An image in the image service.
package struct ImageID: Identifier {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// A configuration run over several nodes.
package struct DeploymentID: Identifier {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// One command to one agent.
package struct CommandID: Identifier {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// The order of tries at the same wish; it only grows, and what carries a lower one is out of date.
package struct Attempt: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    package var number: UInt64

    package init(_ number: UInt64) { self.number = number }

    package var next: Attempt { Attempt(number + 1) }
    package var description: String { String(number) }

    package static func < (left: Attempt, right: Attempt) -> Bool { left.number < right.number }

    package init(from decoder: any Decoder) throws {
        number = try decoder.singleValueContainer().decode(UInt64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }
}
