import FoundationEssentials

/// Base64 with the URL alphabet and without padding (RFC 4648, section 5).
package enum Base64URL {
    /// The text form.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        String(
            Data(bytes).base64EncodedString().compactMap { character in
                switch character {
                case "+": "-"
                case "/": "_"
                case "=": nil
                default: character
                }
            }
        )
    }

    /// The bytes of a text form; `nil` when it is none.
    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        guard !text.contains(where: { $0 == "+" || $0 == "/" || $0 == "=" }) else { return nil }
        var padded = text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }
        padded += repeatElement("=", count: (4 - padded.count % 4) % 4)
        return Data(base64Encoded: String(padded)).map { Array($0) }
    }
}
