/// A text that must not be seen: it prints as `***`, also inside other values, and is compared in a time
/// that does not depend on where two values differ.
package struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    private let bytes: [UInt8]

    package init(_ text: String) { bytes = Array(text.utf8) }
    package init(bytes: [UInt8]) { self.bytes = bytes }

    package var isEmpty: Bool { bytes.isEmpty }
    package var description: String { "***" }
    package var debugDescription: String { "***" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// Hands the text to the one place that needs it.
    package func reveal() -> String { String(decoding: bytes, as: UTF8.self) }

    /// Hands the bytes to the one place that needs them.
    package func revealBytes() -> [UInt8] { bytes }

    package static func == (left: Secret, right: Secret) -> Bool {
        guard left.bytes.count == right.bytes.count else { return false }
        return zip(left.bytes, right.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
