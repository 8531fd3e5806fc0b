import Basics
import Testing

@testable import AgentSystem

private let mac: [UInt8] = [0x52, 0x54, 0x00, 0xc0, 0x00, 0x01]

/// A server's answer as dnsmasq sends it.
private func answer(
    _ kind: DHCPMessage.Kind = .offer,
    transaction: UInt32 = 0x1234_5678,
    address: String = "192.0.2.100",
    options: [UInt8: [UInt8]] = [:]
) throws -> [UInt8] {
    var message = DHCPMessage(kind: kind, transaction: transaction, mac: mac)
    message.yourAddress = try #require(IPv4(address))
    message.options = [
        54: [192, 0, 2, 1], 51: [0, 0, 0x0e, 0x10], 1: [255, 255, 255, 0], 3: [192, 0, 2, 1],
    ].merging(options) { $1 }
    var bytes = message.bytes
    bytes[0] = 2
    return bytes
}

private let badOptions: [(UInt8, [UInt8])] = [
    (1, [255, 0, 255, 0]), (1, [0, 255, 255, 255]), (54, [1, 2, 3]),
    (121, [33, 10, 0, 0, 1]), (121, [24, 10]), (121, [8, 10, 192, 0, 2]),
]

struct `DHCP messages` {
    @Test func `an offer is read as it was written`() throws {
        let message = try DHCPMessage(answer())
        #expect(message.kind == .offer)
        #expect(message.transaction == 0x1234_5678)
        #expect(message.mac == mac)
        let lease = try message.lease()
        #expect(lease.address.description == "192.0.2.100")
        #expect(lease.mask == IPv4(prefix: 24))
        #expect(lease.server.description == "192.0.2.1")
        #expect(lease.seconds == 3600)
        #expect(lease.routes.map(\.gateway.description) == ["192.0.2.1"])
    }

    @Test func `no shortened message is read beyond its end`() throws {
        let whole = try answer()
        for length in 0..<whole.count {
            guard let message = try? DHCPMessage(whole[..<length]) else { continue }
            // Only the padding behind the end mark may be missing.
            #expect(message.options == (try DHCPMessage(whole)).options)
        }
    }

    @Test(arguments: [
        (0, UInt8(1)), (1, 6), (2, 16), (236, 0), (238, 0),
    ])
    func `a byte that makes it something else is refused`(place: Int, value: UInt8) throws {
        var bytes = try answer()
        bytes[place] = value
        #expect(throws: MalformedPacket.self) { try DHCPMessage(bytes) }
    }

    @Test(arguments: badOptions)
    func `an option that makes no sense spoils the lease`(number: UInt8, value: [UInt8]) throws {
        let message = try DHCPMessage(answer(options: [number: value]))
        #expect(throws: MalformedPacket.self) { try message.lease() }
    }

    @Test(arguments: ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
    func `an address that no machine may have is refused`(address: String) throws {
        let message = try DHCPMessage(answer(address: address))
        #expect(throws: MalformedPacket.badField("address")) { try message.lease() }
    }

    @Test func `classless routes replace the router`() throws {
        let value: [UInt8] = [24, 198, 51, 100, 192, 0, 2, 7, 0, 192, 0, 2, 9]
        let lease = try DHCPMessage(answer(options: [121: value])).lease()
        #expect(
            lease.routes == [
                .init(
                    destination: try #require(IPv4("198.51.100.0")),
                    prefix: 24,
                    gateway: try #require(IPv4("192.0.2.7"))
                ),
                .init(
                    destination: IPv4(bits: 0),
                    prefix: 0,
                    gateway: try #require(IPv4("192.0.2.9"))
                ),
            ]
        )
    }

    @Test func `options may stand in the fields for file and server name`() throws {
        var bytes = try answer(options: [52: [3]])
        bytes.replaceSubrange(108..<114, with: [51, 4, 0, 0, 0x1c, 0x20])
        bytes[114] = 255
        bytes[44] = 255
        // The field's value is appended to the option that stands before (RFC 3396).
        #expect(try DHCPMessage(bytes).options[51] == [0, 0, 0x0e, 0x10, 0, 0, 0x1c, 0x20])
    }

    @Test func `random bytes never do harm`() {
        let random = SeededRandom(seed: 68)
        for _ in 0..<2000 {
            var bytes = random.bytes(Int(random.number(below: 700)))
            if bytes.count > 240 {
                bytes.replaceSubrange(0..<3, with: [2, 1, 6])
                bytes.replaceSubrange(236..<240, with: DHCPMessage.cookie)
            }
            _ = try? DHCPMessage(bytes).lease()
            _ = try? DHCPPacket.unwrap(bytes)
        }
    }
}

struct `DHCP packets` {
    /// A packet as a server sends it: ours with the ports turned round.
    private func fromServer(_ payload: [UInt8]) throws -> [UInt8] {
        var packet = DHCPPacket.wrap(payload, from: IPv4(bits: 0xc000_0201))
        packet.replaceSubrange(20..<24, with: [0, 67, 0, 68])
        return packet
    }

    @Test func `a packet is unwrapped as it was wrapped`() throws {
        let packet = try fromServer([1, 2, 3])
        #expect(DHCPPacket.checksum(packet[..<20]) == 0)
        #expect(Array(try DHCPPacket.unwrap(packet)) == [1, 2, 3])
    }

    @Test func `trailing bytes of a short Ethernet frame are no payload`() throws {
        let packet = try fromServer([1, 2, 3]) + [0, 0, 0, 0, 0]
        #expect(Array(try DHCPPacket.unwrap(packet)) == [1, 2, 3])
    }

    @Test(arguments: [
        (0, UInt8(0x65), MalformedPacket.notForUs), (0, 0x4f, .short), (9, 6, .notForUs),
        (12, 1, .badChecksum), (23, 67, .notForUs), (25, 255, .short), (25, 7, .short),
        (2, 0xff, .short),
    ])
    func `a changed byte is noticed`(place: Int, value: UInt8, error: MalformedPacket) throws {
        var packet = try fromServer([1, 2, 3])
        packet[place] = value
        #expect(throws: error) { try DHCPPacket.unwrap(packet) }
    }

    @Test func `a fragment is not taken for a packet`() throws {
        var packet = try fromServer([1, 2, 3])
        packet[6] = 0x20
        packet.replaceSubrange(10..<12, with: [0, 0])
        let sum = DHCPPacket.checksum(packet[..<20])
        packet.replaceSubrange(10..<12, with: [UInt8(sum >> 8), UInt8(sum & 255)])
        #expect(throws: MalformedPacket.notForUs) { try DHCPPacket.unwrap(packet) }
    }
}

struct `IPv4 addresses` {
    @Test(arguments: ["192.0.2.1", "0.0.0.0", "255.255.255.255"])
    func `a dotted address is read and written`(text: String) {
        #expect(IPv4(text)?.description == text)
    }

    @Test(arguments: ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.+4", " 1.2.3.4"])
    func `anything else is refused`(text: String) {
        #expect(IPv4(text) == nil)
    }

    @Test(arguments: [(0, UInt32(0)), (1, 0x8000_0000), (24, 0xffff_ff00), (32, 0xffff_ffff)])
    func `a prefix is that many ones`(prefix: Int, bits: UInt32) {
        #expect(IPv4(prefix: prefix).bits == bits)
    }
}
