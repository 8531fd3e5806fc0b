/// An IPv4 address.
package struct IPv4: Hashable, Sendable, CustomStringConvertible {
    /// The address as a number: 192.0.2.1 is `0xc0000201`.
    package let bits: UInt32

    package init(bits: UInt32) { self.bits = bits }

    /// The mask with that many leading ones, 0 to 32.
    package init(prefix: Int) {
        bits = prefix <= 0 ? 0 : ~UInt32(0) << UInt32(32 - min(prefix, 32))
    }

    /// Reads dotted decimal; `nil` when it is anything else.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part), String(byte) == part else { return nil }
            bits = bits << 8 | UInt32(byte)
        }
        self.bits = bits
    }

    /// Reads four bytes; `nil` when there are fewer.
    init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count >= 4 else { return nil }
        bits = bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    var bytes: [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: bits >> $0) } }

    package var description: String { bytes.map(String.init).joined(separator: ".") }

    /// Whether a machine may have it: not zero, not loopback, not multicast, not broadcast.
    package var isHost: Bool {
        let first = bits >> 24
        return first != 0 && first != 127 && first < 224
    }
}

/// Addresses and routes that a DHCP server lent us.
package struct DHCPLease: Sendable, Equatable {
    /// A way to other networks.
    package struct Route: Sendable, Equatable {
        package var destination: IPv4
        package var prefix: Int
        package var gateway: IPv4

        package init(destination: IPv4, prefix: Int, gateway: IPv4) {
            self.destination = destination
            self.prefix = prefix
            self.gateway = gateway
        }
    }

    package var address: IPv4
    package var mask: IPv4
    package var server: IPv4
    /// At most 16.
    package var routes: [Route] = []
    package var seconds: UInt32

    package init(address: IPv4, mask: IPv4, server: IPv4, seconds: UInt32) {
        self.address = address
        self.mask = mask
        self.server = server
        self.seconds = seconds
    }
}

/// What is wrong with bytes from the network.
package enum MalformedPacket: Error, Sendable, Equatable {
    case short
    case notForUs
    case badChecksum
    case badField(String)
}

/// A DHCP message (RFC 2131), only what a client needs.
package struct DHCPMessage: Sendable, Equatable {
    /// Option 53.
    package enum Kind: UInt8, Sendable {
        case discover = 1
        case offer = 2
        case request = 3
        case decline = 4
        case acknowledge = 5
        case refuse = 6
        case release = 7
        case inform = 8
    }

    package var kind: Kind
    package var transaction: UInt32
    /// Six bytes.
    package var mac: [UInt8]
    package var secondsElapsed: UInt16 = 0
    package var clientAddress = IPv4(bits: 0)
    package var yourAddress = IPv4(bits: 0)
    /// By number; split options (RFC 3396) are joined.
    ///
    /// At most 64, at most 1500 bytes in all.
    package var options: [UInt8: [UInt8]] = [:]

    package init(kind: Kind, transaction: UInt32, mac: [UInt8]) {
        self.kind = kind
        self.transaction = transaction
        self.mac = mac
    }

    static let cookie: [UInt8] = [99, 130, 83, 99]
    static let fixedBytes = 236

    /// The UDP payload.
    ///
    /// Every message asks for answers by broadcast: we have no address yet.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = [1, 1, 6, 0]
        bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: transaction >> $0) }
        bytes += [UInt8(secondsElapsed >> 8), UInt8(truncatingIfNeeded: secondsElapsed)]
        bytes += clientAddress.bits == 0 ? [0x80, 0] : [0, 0]
        bytes += clientAddress.bytes + yourAddress.bytes
        bytes += [UInt8](repeating: 0, count: 8)
        bytes += mac
        bytes += [UInt8](repeating: 0, count: Self.fixedBytes - bytes.count)
        bytes += Self.cookie + [53, 1, kind.rawValue]
        for (number, value) in options.sorted(by: { $0.key < $1.key }) where number != 53 {
            bytes += [number, UInt8(value.count)] + value
        }
        bytes.append(255)
        // Some relays drop what is shorter than a BOOTP message.
        bytes += [UInt8](repeating: 0, count: max(0, 300 - bytes.count))
        return bytes
    }

    /// Reads a server's answer from a UDP payload.
    /// - Throws: `MalformedPacket`; nothing is taken from a message that is wrong anywhere.
    package init(_ bytes: some Collection<UInt8>) throws(MalformedPacket) {
        let bytes = Array(bytes)
        guard bytes.count >= Self.fixedBytes + 4 else { throw .short }
        guard bytes[0] == 2, bytes[1] == 1, bytes[2] == 6 else { throw .notForUs }
        guard Array(bytes[Self.fixedBytes..<Self.fixedBytes + 4]) == Self.cookie else {
            throw .badField("cookie")
        }
        transaction = bytes[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
        secondsElapsed = UInt16(bytes[8]) << 8 | UInt16(bytes[9])
        clientAddress = IPv4(bytes[12..<16]) ?? IPv4(bits: 0)
        yourAddress = IPv4(bytes[16..<20]) ?? IPv4(bits: 0)
        mac = Array(bytes[28..<34])
        var found: [UInt8: [UInt8]] = [:]
        try Self.readOptions(bytes[(Self.fixedBytes + 4)...], into: &found)
        // Option 52 says that file (1), server name (2) or both (3) hold options too.
        let overload = found[52]?.first ?? 0
        guard overload <= 3 else { throw .badField("overload") }
        if overload & 1 != 0 { try Self.readOptions(bytes[108..<236], into: &found) }
        if overload & 2 != 0 { try Self.readOptions(bytes[44..<108], into: &found) }
        guard let number = found[53], number.count == 1, let kind = Kind(rawValue: number[0]) else {
            throw .badField("message type")
        }
        self.kind = kind
        options = found
    }

    private static func readOptions(
        _ bytes: ArraySlice<UInt8>,
        into options: inout [UInt8: [UInt8]]
    ) throws(MalformedPacket) {
        var rest = bytes
        while let number = rest.popFirst() {
            if number == 255 { return }
            if number == 0 { continue }
            guard let length = rest.popFirst(), rest.count >= Int(length) else { throw .short }
            options[number, default: []] += rest.prefix(Int(length))
            rest = rest.dropFirst(Int(length))
            guard options.count <= 64 else { throw .badField("number of options") }
        }
        // Without the end mark something was cut off.
        throw .short
    }

    /// The address, mask, routes and time that an offer or acknowledgement carries.
    /// - Throws: `MalformedPacket` when one of them is missing or makes no sense.
    package func lease() throws(MalformedPacket) -> DHCPLease {
        guard yourAddress.isHost else { throw .badField("address") }
        guard let server = options[54].flatMap({ $0.count == 4 ? IPv4($0) : nil }) else {
            throw .badField("server identifier")
        }
        let mask = options[1].flatMap { $0.count == 4 ? IPv4($0) : nil } ?? IPv4(prefix: 24)
        // Ones, then zeros.
        guard mask.bits.leadingZeroBitCount == 0, (~mask.bits) & (~mask.bits &+ 1) == 0 else {
            throw .badField("mask")
        }
        let seconds = options[51].flatMap(IPv4.init)?.bits ?? 3600
        var lease = DHCPLease(
            address: yourAddress,
            mask: mask,
            server: server,
            seconds: max(60, seconds)
        )
        if let classless = options[121] {
            lease.routes = try Self.classlessRoutes(classless)
        } else if let gateway = options[3].flatMap(IPv4.init), gateway.isHost {
            lease.routes = [.init(destination: IPv4(bits: 0), prefix: 0, gateway: gateway)]
        }
        return lease
    }

    /// Option 121 (RFC 3442): prefix length, the destination's significant bytes, gateway.
    private static func classlessRoutes(
        _ bytes: [UInt8]
    ) throws(MalformedPacket) -> [DHCPLease.Route] {
        var rest = bytes[...]
        var routes: [DHCPLease.Route] = []
        while let prefix = rest.popFirst() {
            let significant = (Int(prefix) + 7) / 8
            guard prefix <= 32, rest.count >= significant + 4, routes.count < 16 else {
                throw .badField("classless routes")
            }
            let padded =
                Array(rest.prefix(significant)) + [UInt8](repeating: 0, count: 4 - significant)
            rest = rest.dropFirst(significant)
            guard let destination = IPv4(padded), let gateway = IPv4(rest) else { throw .short }
            rest = rest.dropFirst(4)
            routes.append(
                .init(
                    destination: IPv4(bits: destination.bits & IPv4(prefix: Int(prefix)).bits),
                    prefix: Int(prefix),
                    gateway: gateway
                )
            )
        }
        return routes
    }
}

/// An IPv4 packet with UDP in it, as a client without an address sends and receives it.
package enum DHCPPacket {
    /// Wraps a payload: from port 68 to port 67, to everybody.
    package static func wrap(_ payload: [UInt8], from source: IPv4) -> [UInt8] {
        func sixteen(_ value: Int) -> [UInt8] {
            [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
        }
        let udpBytes = 8 + payload.count
        var header: [UInt8] = [0x45, 0x10] + sixteen(20 + udpBytes)
        header += [0, 0, 0, 0, 64, 17, 0, 0] + source.bytes + [255, 255, 255, 255]
        header.replaceSubrange(10..<12, with: sixteen(Int(checksum(header))))
        // A zero UDP checksum means that there is none (RFC 768).
        return header + sixteen(68) + sixteen(67) + sixteen(udpBytes) + [0, 0] + payload
    }

    /// The UDP payload of a packet to port 68.
    ///
    /// The UDP checksum is not checked: a virtual interface hands packets over before it was computed.
    package static func unwrap(_ packet: [UInt8]) throws(MalformedPacket) -> ArraySlice<UInt8> {
        guard packet.count >= 28 else { throw .short }
        let headerBytes = Int(packet[0] & 15) * 4
        let total = Int(packet[2]) << 8 | Int(packet[3])
        guard packet[0] >> 4 == 4, packet[9] == 17 else { throw .notForUs }
        guard headerBytes >= 20, total <= packet.count, total >= headerBytes + 8 else {
            throw .short
        }
        guard checksum(packet[..<headerBytes]) == 0 else { throw .badChecksum }
        // Neither more fragments nor an offset.
        guard packet[6] & 0x3f == 0, packet[7] == 0 else { throw .notForUs }
        let udp = packet[headerBytes..<total]
        let start = udp.startIndex
        let port = Int(udp[start + 2]) << 8 | Int(udp[start + 3])
        let length = Int(udp[start + 4]) << 8 | Int(udp[start + 5])
        guard port == 68 else { throw .notForUs }
        guard length >= 8, length <= udp.count else { throw .short }
        return udp[(start + 8)..<(start + length)]
    }

    /// The Internet checksum (RFC 1071); 0 over a header that carries its own.
    static func checksum(_ bytes: some Collection<UInt8>) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() {
            sum += index.isMultiple(of: 2) ? UInt32(byte) << 8 : UInt32(byte)
        }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }
}
