/// The address of a network interface: six bytes, written in lower case with colons.
package struct MACAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// `52:54:00:c0:00:01`.
    package let text: String

    /// Reads six bytes in hexadecimal, separated by colons or hyphens; `nil` for anything else, for the
    /// zero address and for group addresses.
    package init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard bytes.count == 17 else { return nil }
        var folded: [UInt8] = []
        var sum: UInt64 = 0
        for (index, byte) in bytes.enumerated() {
            if index % 3 == 2 {
                guard byte == UInt8(ascii: ":") || byte == UInt8(ascii: "-") else { return nil }
                folded.append(UInt8(ascii: ":"))
                continue
            }
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                folded.append(byte)
                sum = sum << 4 | UInt64(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"):
                folded.append(byte | 0x20)
                sum = sum << 4 | UInt64((byte | 0x20) - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        guard sum != 0, sum >> 40 & 1 == 0 else { return nil }
        self.text = String(decoding: folded, as: UTF8.self)
    }

    /// As PXELINUX and the kernel's `BOOTIF` write it: `01-52-54-00-c0-00-01`.
    package var bootInterface: String { "01-" + text.split(separator: ":").joined(separator: "-") }

    package var description: String { text }

    package static func < (left: MACAddress, right: MACAddress) -> Bool { left.text < right.text }
}

/// An IPv4 address in dotted decimal form.
package struct IPv4Address: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    /// Reads four decimal numbers from 0 to 255 without leading zeros.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        for part in parts {
            guard (1...3).contains(part.utf8.count),
                part.utf8.allSatisfy({ (48...57).contains($0) }),
                UInt8(part) != nil, part == "0" || part.first != "0"
            else { return nil }
        }
        self.text = String(text)
    }

    package var description: String { text }
}
