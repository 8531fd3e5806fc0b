/// The MAC in `BOOTIF=01-52-54-00-c0-00-01`, as PXE loaders append it to the kernel's command line.
/// - Parameter line: the whole command line.
/// - Returns: lower case with colons; empty when there is none or it is malformed.
package func bootMACOfCommandLine(_ line: String) -> String {
    for word in line.split(whereSeparator: \.isWhitespace) where word.hasPrefix("BOOTIF=") {
        let text = word.dropFirst(7).lowercased()
        var parts = text.split { $0 == "-" || $0 == ":" }
        // With hyphens the hardware type comes first; 01 is Ethernet.
        if text.contains("-") {
            guard parts.first == "01" else { continue }
            parts.removeFirst()
        }
        let valid = parts.allSatisfy { $0.utf8.count == 2 && $0.allSatisfy(\.isHexDigit) }
        if parts.count == 6, valid { return parts.joined(separator: ":") }
    }
    return ""
}
