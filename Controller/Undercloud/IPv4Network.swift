/// An IPv4 address as a number, for ranges.
package struct IPv4Number: Sendable, Hashable {
    package let number: UInt32

    /// Reads dotted decimal form.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part), part == "0" || part.first != "0" else { return nil }
            number = number << 8 | UInt32(byte)
        }
        self.number = number
    }

    package init(number: UInt32) { self.number = number }

    package var text: String {
        [24, 16, 8, 0].map { String(number >> $0 & 255) }.joined(separator: ".")
    }
}

/// An address and the length of its network's prefix: `192.0.2.1/24`.
package struct IPv4Network: Sendable, Hashable {
    package let address: IPv4Number
    /// From 8 to 30 bits.
    package let prefix: Int

    /// Reads `address/prefix`.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPv4Number(parts[0]), let prefix = Int(parts[1]),
            (8...30).contains(prefix)
        else { return nil }
        self.address = address
        self.prefix = prefix
    }

    package var text: String { "\(address.text)/\(prefix)" }

    /// `255.255.255.0` for a prefix of 24.
    package var netmask: IPv4Number { IPv4Number(number: UInt32.max << UInt32(32 - prefix)) }

    /// Whether the address is in this network.
    package func contains(_ other: IPv4Number) -> Bool {
        other.number & netmask.number == address.number & netmask.number
    }
}
