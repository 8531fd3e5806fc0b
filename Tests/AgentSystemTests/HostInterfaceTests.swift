import Basics
import Testing

@testable import AgentSystem

/// A structure of type 42 as firmware writes it, in parts that a test may spoil.
private struct Structure {
    var kind: UInt8 = 0x40
    /// A card on the USB, second form: vendor, product, no serial number, address.
    var descriptor: [UInt8] =
        [4, 17, 0x6b, 0x04, 0x04, 0x01, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0]
    var assignment: UInt8 = 1
    var format: UInt8 = 1
    var host: [UInt8] = [169, 254, 0, 18]
    var mask: [UInt8] = [255, 255, 255, 0]
    var discovery: UInt8 = 1
    var serviceFormat: UInt8 = 1
    var service: [UInt8] = [169, 254, 0, 17]
    var serviceMask: [UInt8] = [255, 255, 255, 0]
    var port: UInt16 = 443
    var vlan: [UInt8] = [0, 0, 0, 0]
    /// Protocols that come before.
    var others: [UInt8] = []
    var records: UInt8 = 1

    static let ipv6 = {
        var made = Structure()
        made.format = 2
        made.serviceFormat = 2
        made.assignment = 3
        made.discovery = 3
        made.host = [0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [18]
        made.service = [0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [17]
        made.mask = [UInt8](repeating: 0xff, count: 8) + [UInt8](repeating: 0, count: 8)
        made.serviceMask = made.mask
        return made
    }()

    var bytes: [UInt8] {
        func wide(_ field: [UInt8]) -> [UInt8] {
            field + [UInt8](repeating: 0, count: 16 - field.count)
        }
        var record = [UInt8](repeating: 7, count: 16) + [assignment, format] + wide(host)
        record += wide(mask) + [discovery, serviceFormat] + wide(service) + wide(serviceMask)
        record += [UInt8(port & 255), UInt8(port >> 8)] + vlan + [3] + Array("bmc".utf8)
        var body = [kind, UInt8(descriptor.count)] + descriptor + [records] + others
        body += [4, UInt8(record.count)] + record
        return [42, UInt8(body.count + 4), 0, 0] + body
    }

    var read: [HostInterface] { SMBIOS(table: bytes + [0, 0, 127, 4, 0, 0, 0, 0]).hostInterfaces }
}

private func card(_ ipv4: String, _ ipv6: String = "") -> NetworkInterface {
    var card = NetworkInterface(name: "usb0", mac: "02:00:00:00:00:09")
    card.ipv4 = ipv4
    card.ipv6 = ipv6
    return card
}

struct `The Redfish host interface` {
    @Test func `is read from the firmware's table`() throws {
        let found = try #require(Structure().read.first)
        #expect(found.mac == "02:00:00:00:00:09")
        #expect((found.host, found.service) == ([169, 254, 0, 18], [169, 254, 0, 17]))
        #expect(found.prefix == 24)
        #expect(found.port == 443)
        #expect(found.isStatic)
        let wide = try #require(Structure.ipv6.read.first)
        #expect(wide.prefix == 64)
        #expect(!wide.isStatic)
        var late = Structure()
        late.others = [2, 3, 1, 2, 3]
        late.records = 2
        #expect(late.read == [found])
    }

    @Test func `of the PCI has its address elsewhere, and the first forms have none`() {
        var pci = Structure()
        pci.descriptor = [5, 20, 1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0]
        #expect(pci.read.first?.mac == "02:00:00:00:00:08")
        for form in [UInt8(2), 3] {
            pci.descriptor[0] = form
            #expect(pci.read.first.map(\.mac) == .some(nil))
        }
    }

    @Test func `that is cut anywhere is none`() {
        let whole = Structure().bytes
        // The name of the service at the end is not read.
        for length in 4..<(whole.count - 3) {
            var cut = Array(whole[..<length])
            cut[1] = UInt8(length)
            #expect(SMBIOS(table: cut + [0, 0]).hostInterfaces.isEmpty, "\(length)")
        }
        #expect(SMBIOS(table: whole).hostInterfaces.isEmpty, "its strings have no end")
    }

    fileprivate static let spoilt: [(String, @Sendable (inout Structure) -> Void)] = [
        ("another kind", { $0.kind = 0x41 }),
        ("no records", { $0.records = 0 }),
        ("no descriptor", { $0.descriptor = [] }),
        ("addresses of DHCP", { $0.assignment = 2 }),
        ("a service of DHCP", { $0.discovery = 2 }),
        ("an unknown format", { $0.format = 0 }),
        ("two formats", { $0.serviceFormat = 2 }),
        ("another network", { $0.service = [169, 254, 1, 17] }),
        ("two masks", { $0.serviceMask = [255, 255, 0, 0] }),
        (
            "a mask with holes",
            {
                $0.mask = [255, 0, 255, 0]; $0.serviceMask = $0.mask
            }
        ),
        (
            "half the world",
            {
                $0.mask = [128, 0, 0, 0]; $0.serviceMask = $0.mask
            }
        ),
        (
            "a network of one",
            {
                $0.mask = [255, 255, 255, 255]; $0.serviceMask = $0.mask
            }
        ),
        ("the own address", { $0.service = $0.host }),
        (
            "loopback",
            {
                $0.host = [127, 0, 0, 1]; $0.service = [127, 0, 0, 2]
            }
        ),
        (
            "many at once",
            {
                $0.host = [224, 0, 0, 1]; $0.service = [224, 0, 0, 2]
            }
        ),
        (
            "nobody",
            {
                $0.host = [0, 0, 0, 1]; $0.service = [0, 0, 0, 2]
            }
        ),
        ("a VLAN", { $0.vlan = [5, 0, 0, 0] }),
        ("no port", { $0.port = 0 }),
    ]

    @Test(arguments: spoilt.indices)
    func `that is not exactly as specified is none`(index: Int) {
        var made = Structure()
        Self.spoilt[index].1(&made)
        #expect(made.read.isEmpty, "\(Self.spoilt[index].0)")
    }

    @Test func `is read four times at most, and other bytes do no harm`() {
        let random = SeededRandom(seed: 42)
        let one = Structure().bytes + [0, 0]
        let many = Array([[UInt8]](repeating: one, count: 40).joined())
        #expect(SMBIOS(table: many).hostInterfaces.count == HostInterface.countMax)
        for _ in 0..<4000 {
            var bytes = one
            for _ in 0..<3 {
                bytes[Int(random.number(below: UInt64(bytes.count)))] = random.bytes(1)[0]
            }
            for found in SMBIOS(table: bytes).hostInterfaces {
                #expect(found.holds(found.host) && found.host != found.service)
            }
        }
    }

    @Test func `leads only to a neighbour of a card of the machine's own`() throws {
        let found = try #require(Structure().read.first)
        let origin = found.origin(over: card("169.254.0.99"))
        #expect(origin?.description == "https://169.254.0.17")
        #expect(found.origin(over: card("192.0.2.5")) == nil)
        #expect(found.origin(over: card("")) == nil)
        #expect(found.origin(over: card("169.254.0.17")) == nil, "that is the service itself")
        var other = card("169.254.0.99")
        other.mac = "02:00:00:00:00:0a"
        #expect(found.origin(over: other) == nil, "another card than the firmware names")
        let wide = try #require(Structure.ipv6.read.first)
        let zoned = try #require(wide.origin(over: card("169.254.0.99", "fe80::12")))
        #expect(zoned.host == "fe80::11%usb0")
        #expect(zoned.authority == "[fe80::11]")
        #expect(wide.origin(over: card("169.254.0.99")) == nil)
    }

    @Test func `that is not there is told as a clause`() {
        let tree = FileTree(root: "/nonexistent")
        let local = SystemHostInterface(
            tree: tree,
            network: SystemNetwork(tree: tree),
            time: SystemTime()
        )
        let failure = #expect(throws: LocalBMCFailure.self) { try local.leave("rdo-1") }
        #expect(failure?.reason == "its firmware tells of no Redfish host interface")
    }
}

struct `An account of the BMC's for its machine` {
    private func answer(_ user: String, _ password: String) -> [UInt8] {
        [0, 0x52]
            + [user, password].flatMap { text in
                Array(text.utf8) + [UInt8](repeating: 0, count: 16 - text.utf8.count)
            }
    }

    @Test func `is read from the answer, also when both fields are full`() throws {
        let short = try BootstrapAccount(answer: answer("host", "s3cret"))
        #expect(short == BootstrapAccount(user: "host", password: Secret("s3cret")))
        let full = try BootstrapAccount(answer: answer("0123456789abcdef", "fedcba9876543210"))
        #expect(full.user == "0123456789abcdef")
        #expect(full.password.reveal() == "fedcba9876543210")
        #expect(!"\(full)".contains("fedcba"), "it is never shown")
    }

    @Test func `is refused in words`() {
        for (bytes, words) in [
            ([0x80], "gives no accounts"), ([0xc1], "knows no accounts"), ([0xff], "code 255"),
            ([], "makes no sense"), ([0, 0x52], "makes no sense"),
            ([0, 0xdc] + answer("host", "s3cret").dropFirst(2), "makes no sense"),
            (answer("host", "s3cret") + [0], "makes no sense"),
            (answer("", "s3cret"), "makes no sense"), (answer("host", ""), "makes no sense"),
            (answer("ho:st", "s3cret"), "makes no sense"),
            (answer("ho\r\n", "s3cret"), "makes no sense"),
            (answer("ho\0st", "s3cret"), "makes no sense"),
        ] as [([UInt8], String)] {
            let failure = #expect(throws: LocalBMCFailure.self) {
                try BootstrapAccount(answer: bytes)
            }
            #expect(failure?.reason.contains(words) == true)
            #expect(failure?.reason.contains("s3cret") == false)
        }
    }
}
