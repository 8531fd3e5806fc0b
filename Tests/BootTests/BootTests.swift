import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Protocol
import Synchronization
import Testing

@testable import Boot

struct FixedTime: TimeSource {
    var now: Timestamp { Timestamp(seconds: 1_800_000_000) }
    var elapsed: Duration { .zero }
    func sleep(for span: Duration) async throws {
        let (stream, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        throw CancellationError()
    }
}

func mac(_ text: String = "52:54:00:c0:00:01") throws -> MACAddress {
    try #require(MACAddress(text))
}

func address(_ text: String = "192.0.2.1") throws -> IPv4Address {
    try #require(IPv4Address(text))
}

/// A directory of a test's own, removed with its owner.
final class Scratch: Sendable {
    let path: String

    init() throws {
        let bytes = SystemRandom().bytes(6).map { String($0, radix: 16) }.joined()
        path = NSTemporaryDirectory() + "/rdo-boot-\(bytes)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    // What cannot be removed lies in the system's temporary directory.
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ text: String, to name: String) throws {
        let whole = path + "/" + name
        let folder = (whole as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true
        )
        try text.write(toFile: whole, atomically: true, encoding: .utf8)
    }

    func read(_ name: String) throws -> String {
        try String(contentsOfFile: path + "/" + name, encoding: .utf8)
    }
}

@Suite struct AddressTests {
    @Test(arguments: [
        ("52:54:00:C0:00:01", "52:54:00:c0:00:01" as String?),
        ("52-54-00-c0-00-01", "52:54:00:c0:00:01"), ("00:00:00:00:00:00", nil),
        ("01:00:5e:00:00:01", nil), ("ff:ff:ff:ff:ff:ff", nil), ("52:54:00:c0:00", nil),
        ("52:54:00:c0:00:0g", nil), ("52:54:00:c0:00:01 ", nil), ("52:54:00:c0:00:01\n", nil),
        ("../../etc/passwd", nil), ("5254.00c0.0001aaa", nil), ("", nil),
    ])
    func `a MAC is six bytes of one machine`(text: String, folded: String?) {
        #expect(MACAddress(text)?.text == folded)
    }

    @Test(arguments: [
        ("192.0.2.1", true), ("0.0.0.0", true), ("255.255.255.255", true), ("192.0.2.256", false),
        ("192.0.2", false), ("192.0.2.01", false), ("192.0.2.1\n", false), ("::1", false),
        ("192.0.2.1 goto x", false), ("", false),
    ])
    func `an IPv4 address is four numbers`(text: String, isOne: Bool) {
        #expect((IPv4Address(text) != nil) == isOne)
    }
}

@Suite struct LeaseTests {
    static let file = """
        1800003600 52:54:00:c0:00:01 192.0.2.101 c0 01:52:54:00:c0:00:01
        1799999999 52:54:00:c0:00:02 192.0.2.102 * *
        0 52:54:00:c0:00:03 192.0.2.103 *
        duid 00:01:00:01:2f:00
        1800003600 999 fd00::1 c0 *
        nonsense
        -5 52:54:00:c0:00:04 192.0.2.104 * *
        1800003600 52:54:00:c0:00:05 192.0.2.999 * *
        """

    @Test func `valid leases are found both ways, and nothing else is`() throws {
        let scratch = try Scratch()
        try scratch.write(Self.file, to: "leases")
        let table = LeaseTable(path: scratch.path + "/leases", time: FixedTime())
        #expect(table.address(of: try mac())?.text == "192.0.2.101")
        #expect(table.mac(at: try address("192.0.2.103"))?.text == "52:54:00:c0:00:03")
        #expect(table.address(of: try mac("52:54:00:c0:00:02")) == nil, "it has ended")
        #expect(table.leases.count == 2)
    }

    @Test(arguments: [
        ("", "b", ""), ("abc", "b", "abc\n"), ("a\nb\nab\nc\n", "b", "b\nab\n"), ("a\n", "b", ""),
        ("bb\nb", "b", "bb\nb\n"),
    ])
    func `only lines with the word are looked at`(text: String, word: String, found: String) {
        #expect(LeaseTable.lines(of: text, with: word) == found)
    }

    @Test func `without a file there is no lease`() async throws {
        let table = LeaseTable(path: "/nonexistent/leases", time: FixedTime())
        #expect(await table.leasedAddress(of: "52:54:00:c0:00:01") == nil)
    }

    @Test func `whatever the file holds, reading it ends`() {
        let random = SeededRandom(seed: 4)
        for _ in 0..<200 {
            let text = String(decoding: random.bytes(400), as: UTF8.self)
            #expect(LeaseTable.parse(text).isEmpty)
        }
        let long = String(repeating: "0 52:54:00:c0:00:01 192.0.2.1 *\n", count: 20_000)
        #expect(LeaseTable.parse(long).count == LeaseTable.leasesMax)
    }
}

@Suite struct DHCPDirectoryTests {
    @Test func `reservations are files that dnsmasq reads`() throws {
        let scratch = try Scratch()
        let directory = try DHCPDirectory(root: scratch.path)
        try directory.reserve(try mac(), address: try address("192.0.2.101"), name: "c0")
        #expect(
            try scratch.read("hosts.d/52-54-00-c0-00-01") == "52:54:00:c0:00:01,192.0.2.101,c0\n"
        )
        try directory.ignore(try mac())
        #expect(try scratch.read("hosts.d/52-54-00-c0-00-01") == "52:54:00:c0:00:01,ignore\n")
        try directory.forget(try mac())
        try directory.forget(try mac())
        let left = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/hosts.d")
        #expect(left.isEmpty)
        try directory.announce(timeServer: try address())
        #expect(try scratch.read("options.d/time") == "option:ntp-server,192.0.2.1\n")
    }

    @Test(arguments: ["c0,ignore", "c0\nport=53", "", "-c0", "c 0", "c0.example", "ü"])
    func `a name that is no label is left out`(name: String) throws {
        let scratch = try Scratch()
        try DHCPDirectory(root: scratch.path).reserve(try mac(), address: nil, name: name)
        #expect(try scratch.read("hosts.d/52-54-00-c0-00-01") == "52:54:00:c0:00:01\n")
    }
}

@Suite struct ScriptTests {
    private let script: BootScript

    init() throws { script = BootScript(address: try address(), port: 8088) }

    /// CVE-2026-46447: what reached a script became commands.
    @Test(arguments: [
        "c0\nshell", "c0\r\nchain http://evil/", "${cwduri}", "c0 || shell", "c0 && reboot",
        "c0 #", "`x`", "$(x)", "c0\u{2028}shell", "\u{0}", "c0;shell", "\\\nshell",
        String(repeating: "a", count: 5000),
    ])
    func `a reason cannot become a command`(reason: String) {
        let text = script.localDisk(reason: reason)
        let plain = script.localDisk(reason: "x")
        #expect(text.split(separator: "\n").count == plain.split(separator: "\n").count)
        let line = text.split(separator: "\n")[1]
        #expect(line.hasPrefix("echo RDO-Manager: booting from the local disk ("))
        for word in ["$", "`", "|", "&", ";", "#", "\\", "{"] { #expect(!line.contains(word)) }
        #expect(line.count < 250)
    }

    @Test func `the ramdisk's script names the machine and carries no secret`() throws {
        let text = script.ramdisk(for: try mac())
        #expect(text.hasPrefix("#!ipxe\n"))
        #expect(text.contains("BOOTIF=01-52-54-00-c0-00-01"))
        #expect(text.contains("http://192.0.2.1:8088/boot/52:54:00:c0:00:01/fragment"))
        #expect(!text.contains("token"))
        // The last console is the one that init writes to.
        #expect(text.contains("console=tty0 console=ttyS0,115200"))
    }

    @Test func `a UEFI machine leaves iPXE with an error, so that its firmware goes on`() {
        #expect(script.localDisk(reason: "x").contains("iseq ${platform} efi && exit 1"))
    }

    @Test func `dnsmasq answers DHCP and TFTP on the provisioning interface and no DNS`() throws {
        let text = DNSMasqConfiguration(
            interface: "prov0",
            address: try address(),
            netmask: try address("255.255.255.0"),
            rangeStart: try address("192.0.2.100"),
            rangeEnd: try address("192.0.2.199")
        ).text
        for line in [
            "port=0", "interface=prov0", "except-interface=lo", "bind-interfaces",
            "dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,3600s",
            "dhcp-boot=tag:ipxe,http://192.0.2.1:8088/boot.ipxe",
            "dhcp-boot=tag:!ipxe,tag:efi,snponly.efi",
            "dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe",
        ] {
            #expect(text.split(separator: "\n").contains(line[...]), "\(line)")
        }
    }
}

@Suite struct ArchiveTests {
    @Test func `the kernel's tool unpacks the archive`() throws {
        var archive = BootArchive()
        archive.add("rdo/boot.json", Array("{\"a\":1}".utf8))
        let bytes = archive.finished()
        #expect(bytes.count % 512 == 0)
        let entries = try entries(of: bytes)
        #expect(entries.map(\.name) == ["rdo", "rdo/boot.json", "TRAILER!!!"])
        #expect(entries.map(\.mode) == [0o040_700, 0o100_600, 0])
        #expect(String(decoding: entries[1].content, as: UTF8.self) == "{\"a\":1}")
    }

    @Test func `equal input gives equal bytes`() {
        func make() -> [UInt8] {
            var archive = BootArchive()
            archive.add("a/b/c", [1, 2, 3])
            archive.add("a/b/d", [4])
            return archive.finished()
        }
        #expect(make() == make())
    }

    private struct Entry {
        let name: String
        let mode: UInt32
        let content: ArraySlice<UInt8>
    }

    /// Reads newc as the kernel does (usr/gen_init_cpio.c writes it).
    private func entries(of bytes: [UInt8]) throws -> [Entry] {
        var entries: [Entry] = []
        var position = 0
        while position + 110 <= bytes.count, bytes[position] == UInt8(ascii: "0") {
            let header = String(decoding: bytes[position..<position + 110], as: UTF8.self)
            try #require(header.hasPrefix("070701"))
            func field(_ index: Int) throws -> Int {
                let start = header.index(header.startIndex, offsetBy: 6 + 8 * index)
                let end = header.index(start, offsetBy: 8)
                return try #require(Int(header[start..<end], radix: 16))
            }
            let nameBytes = try field(11)
            let size = try field(6)
            let name = position + 110
            var content = name + nameBytes
            content += (4 - content % 4) % 4
            entries.append(
                Entry(
                    name: String(decoding: bytes[name..<name + nameBytes - 1], as: UTF8.self),
                    mode: UInt32(try field(1)),
                    content: bytes[content..<content + size]
                )
            )
            position = content + size
            position += (4 - position % 4) % 4
        }
        return entries
    }
}

/// Expects the first machine, knows the second as finished.
final class Policy: BootPolicy {
    let tokens = Mutex(0)

    func decision(for mac: MACAddress) async throws -> BootDecision {
        mac.text.hasSuffix("01") ? .ramdisk : .localDisk(reason: "node c1 is active")
    }

    func fragment(for mac: MACAddress) async throws -> BootFragment? {
        guard mac.text.hasSuffix("01") else { return nil }
        tokens.withLock { $0 += 1 }
        return BootFragment(
            controller: BootFragment.Controller(address: "192.0.2.1", curveKey: "key"),
            token: Secret(bytes: [UInt8](repeating: 7, count: 32)),
            mac: mac
        )
    }

    func medium(of capability: Secret) async throws -> BootFragment? {
        capability == Secret("node.key") ? try await fragment(for: try mac()) : nil
    }
}

@Suite struct RouteTests {
    func withClient(
        leases: String,
        _ body: @escaping @Sendable (any TestClientProtocol, Policy) async throws -> Void
    ) async throws {
        let scratch = try Scratch()
        try scratch.write(leases, to: "leases")
        try scratch.write("KERNEL", to: "ramdisk/kernel")
        try scratch.write("SECRET", to: "secret")
        try scratch.write(MediaTests.image, to: "ramdisk/media.iso")
        let policy = Policy()
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let surface = Surface(
            authenticator: nil,
            logger: quiet,
            time: FixedTime(),
            random: SeededRandom(seed: 1)
        )
        BootRoutes(
            policy: policy,
            leases: LeaseTable(path: scratch.path + "/leases", time: FixedTime()),
            script: BootScript(address: try address(), port: 8088),
            directory: scratch.path,
            logger: quiet
        ).addRoutes(to: surface)
        try await Application(
            router: surface.makeRouter(),
            configuration: .init(address: .hostname("127.0.0.1", port: 0))
        ).test(.live) { try await body($0, policy) }
        withExtendedLifetime(scratch) {}
    }

    private static let ownLease = "0 52:54:00:c0:00:01 127.0.0.1 *\n0 52:54:00:c0:00:02 127.0.0.1 *"

    @Test func `an expected machine gets the ramdisk and a finished one its disk`() async throws {
        try await withClient(leases: Self.ownLease) { client, _ in
            try await client.execute(uri: "/boot.ipxe", method: .get) { response in
                #expect(String(buffer: response.body).contains("boot.ipxe?mac=${netX/mac}"))
            }
            try await client.execute(
                uri: "/boot.ipxe?mac=52:54:00:c0:00:01",
                method: .get
            ) { response in
                #expect(String(buffer: response.body).contains("kernel --name kernel"))
            }
            try await client.execute(
                uri: "/boot.ipxe?mac=52%3A54%3A00%3Ac0%3A00%3A02",
                method: .get
            ) { response in
                #expect(String(buffer: response.body).contains("sanboot"))
                #expect(!String(buffer: response.body).contains("kernel"))
            }
            try await client.execute(
                uri: "/boot.ipxe?mac=x%0Ashell",
                method: .get
            ) { response in
                #expect(response.status == .badRequest)
                #expect(!String(buffer: response.body).contains("#!ipxe"))
            }
        }
    }

    @Test func `the fragment goes to the address that holds the lease`() async throws {
        try await withClient(leases: Self.ownLease) { client, policy in
            try await client.execute(
                uri: "/boot/52:54:00:c0:00:01/fragment",
                method: .get
            ) { response in
                #expect(response.status == .ok)
                let text = String(decoding: response.body.readableBytesView, as: UTF8.self)
                #expect(text.contains("\"boot_mac\":\"52:54:00:c0:00:01\""))
                #expect(text.contains("\"token\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\""))
            }
            #expect(policy.tokens.withLock { $0 } == 1)
            try await client.execute(
                uri: "/boot/52:54:00:c0:00:02/fragment",
                method: .get
            ) { #expect($0.status == .notFound) }
        }
    }

    @Test(arguments: [
        "0 52:54:00:c0:00:01 192.0.2.101 *", "", "1 52:54:00:c0:00:01 127.0.0.1 *",
        "0 52:54:00:c0:00:09 127.0.0.1 *",
    ])
    func `without the lease there is no fragment and no token`(leases: String) async throws {
        try await withClient(leases: leases) { client, policy in
            try await client.execute(
                uri: "/boot/52:54:00:c0:00:01/fragment",
                method: .get
            ) { response in
                #expect(response.status == .forbidden)
                #expect(!String(buffer: response.body).contains("BwcH"))
            }
            #expect(policy.tokens.withLock { $0 } == 0)
        }
    }

    @Test(arguments: [
        "/secret", "/ramdisk/../secret", "/ramdisk/%2e%2e/secret", "/ramdisk/kernel/../../secret",
        "/ramdisk/other", "/leases", "/", "/boot/../leases/fragment", "/ramdisk",
    ])
    func `no other file can be fetched`(path: String) async throws {
        try await withClient(leases: Self.ownLease) { client, _ in
            try await client.execute(uri: path, method: .get) { response in
                #expect(response.status.code >= 400)
                #expect(!String(buffer: response.body).contains("SECRET"))
            }
        }
    }

    @Test func `the kernel is streamed with its length, and a missing ramdisk is told`()
        async throws
    {
        try await withClient(leases: Self.ownLease) { client, _ in
            try await client.execute(uri: "/ramdisk/kernel", method: .get) { response in
                #expect(String(buffer: response.body) == "KERNEL")
                #expect(response.headers[.contentLength] == "6")
            }
            try await client.execute(uri: "/ramdisk/initrd", method: .get) { response in
                #expect(response.status == .notFound)
                #expect(String(buffer: response.body).contains("rdo-ramdisk build"))
            }
        }
    }
}
