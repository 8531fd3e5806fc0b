import Glibc

/// A network between the machine and its BMC, as the firmware tells of it: the Redfish Host Interface.
///
/// DMTF DSP0134, structure type 42, and DSP0270, sections "Network Host Interface" and "Redfish over IP protocol".
/// The bytes come from firmware that nobody checked: what is not exactly as specified is no host interface.
package struct HostInterface: Sendable, Hashable {
    /// Interfaces that are read at most.
    package static let countMax = 4

    /// Of the card on the machine's side, lower case with colons; `nil` where the descriptor has none.
    package let mac: String?
    /// Whether `host` is an address that the machine is to take as it stands.
    package let isStatic: Bool
    /// The machine's address: 4 or 16 bytes, as many as of `service`.
    package let host: [UInt8]
    /// The BMC's address.
    package let service: [UInt8]
    /// Leading ones of the mask: 16 to 30, with IPv6 64 to 126.
    package let prefix: Int
    package let port: UInt16

    /// Reads a structure with its header but without its strings.
    init?(structure: [UInt8]) {
        // Handle, length and type come first; then the kind of interface (40h is a network) and its own data.
        guard structure.count >= 7, structure[4] == 0x40 else { return nil }
        let descriptor = Array(structure.dropFirst(6).prefix(Int(structure[5])))
        guard descriptor.count == Int(structure[5]), !descriptor.isEmpty else { return nil }
        var rest = structure.dropFirst(6 + descriptor.count)
        guard let records = rest.popFirst() else { return nil }
        for _ in 0..<records {
            guard let kind = rest.popFirst(), let count = rest.popFirst(), rest.count >= count
            else { return nil }
            // 04h is Redfish over IP.
            if kind == 4 {
                self.init(protocol: Array(rest.prefix(Int(count))), mac: Self.mac(descriptor))
                return
            }
            rest = rest.dropFirst(Int(count))
        }
        return nil
    }

    /// The card's address, which the second forms of the descriptors of USB (04h) and PCI (05h) hold.
    private static func mac(_ descriptor: [UInt8]) -> String? {
        let place = [4: 7, 5: 10][descriptor[0]] ?? .max
        guard place < descriptor.count - 5 else { return nil }
        let text = descriptor[place..<(place + 6)].map { hexadecimal([$0]) }.joined(separator: ":")
        return isMAC(text) ? text : nil
    }

    private init?(protocol data: [UInt8], mac: String?) {
        guard data.count >= 91 else { return nil }
        // 01h is an address of IPv4, 02h of IPv6; both ends have to be of one kind.
        let format = data[17]
        guard format == 1 || format == 2, data[51] == format else { return nil }
        let width = format == 1 ? 4 : 16
        func field(_ offset: Int) -> [UInt8] { Array(data[offset..<(offset + width)]) }
        // 01h is static, 03h is of the link; what DHCP or a person chooses does not stand here.
        guard [1, 3].contains(data[16]), [1, 3].contains(data[50]) else { return nil }
        (host, service) = (field(18), field(52))
        // One network that holds both, and an address of a VLAN is another interface's.
        guard field(34) == field(68), let prefix = Self.prefix(field(34)),
            (format == 1 ? 16...30 : 64...126).contains(prefix),
            data[86..<90].allSatisfy({ $0 == 0 })
        else { return nil }
        self.prefix = prefix
        port = UInt16(data[84]) | UInt16(data[85]) << 8
        isStatic = data[16] == 1
        self.mac = mac
        guard port > 0, host != service, Self.isHost(host), Self.isHost(service), holds(host)
        else { return nil }
    }

    /// The leading ones of a mask; `nil` when a one follows a zero.
    private static func prefix(_ mask: [UInt8]) -> Int? {
        let ones = mask.reduce(0) { $0 + $1.nonzeroBitCount }
        let leading = mask.prefix { $0 == 0xff }.count
        let next = leading < mask.count ? (~mask[leading]).leadingZeroBitCount : 0
        return ones == leading * 8 + next ? ones : nil
    }

    /// Whether one machine may have the address.
    private static func isHost(_ address: [UInt8]) -> Bool {
        guard address.count == 4 else {
            // Neither unspecified, loopback nor an IPv4 address in disguise, nor multicast.
            return address[0] != 0 && address[0] != 0xff
        }
        return IPv4(address)?.isHost == true
    }

    /// Whether an address lies in the network of both ends.
    func holds(_ address: [UInt8]) -> Bool {
        guard address.count == service.count else { return false }
        return (0..<prefix).allSatisfy { bit in
            (address[bit / 8] ^ service[bit / 8]) & (0x80 >> UInt8(bit % 8)) == 0
        }
    }

    /// Where the service is, when this card has an address in its network; `nil` when not.
    package func origin(over card: NetworkInterface) -> HTTPOrigin? {
        if let mac, mac != card.mac { return nil }
        let isIPv4 = service.count == 4
        let text = isIPv4 ? card.ipv4 : card.ipv6
        guard let own = Self.bytes(text, isIPv4), own != service, holds(own),
            let address = Self.text(service)
        else { return nil }
        // An address of the link belongs to a card.
        let isOfLink = !isIPv4 && service[0] == 0xfe && service[1] & 0xc0 == 0x80
        return HTTPOrigin(
            secure: true,
            host: isOfLink ? "\(address)%\(card.name)" : address,
            port: port
        )
    }

    private static func bytes(_ text: String, _ isIPv4: Bool) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: isIPv4 ? 4 : 16)
        return inet_pton(isIPv4 ? AF_INET : AF_INET6, text, &bytes) == 1 ? bytes : nil
    }

    private static func text(_ bytes: [UInt8]) -> String? {
        var text = [CChar](repeating: 0, count: 64)
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return nil }
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }
}
