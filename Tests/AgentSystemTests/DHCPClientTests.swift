import Basics
import Glibc
import Protocol
import Synchronization
import Testing

@testable import AgentSystem

/// A segment with one DHCP server that answers, loses and refuses as told.
private final class SimulatedSegment: Network, FrameChannel {
    struct State {
        var lostFrames = 0
        var refusals = 0
        var queue: [[UInt8]] = []
        var kinds: [DHCPMessage.Kind] = []
        var configured: [DHCPLease] = []
        var noise: [[UInt8]] = []
    }

    let state: Mutex<State>

    init(lostFrames: Int = 0, refusals: Int = 0, noise: [[UInt8]] = []) {
        state = Mutex(State(lostFrames: lostFrames, refusals: refusals, noise: noise))
    }

    func interfaces() -> [NetworkInterface] { [] }
    func addresses() -> [String] { [] }
    func bringUp(_ name: String) throws {}
    func openDHCP(_ name: String) throws -> any FrameChannel { self }
    func openLLDP(_ name: String) throws -> any FrameChannel { self }

    func configure(_ name: String, lease: DHCPLease) throws -> [SystemFailure] {
        state.withLock { $0.configured.append(lease) }
        return []
    }

    func receive() -> [UInt8]? {
        state.withLock { $0.queue.isEmpty ? nil : $0.queue.removeFirst() }
    }

    func send(_ frame: [UInt8]) throws {
        try state.withLock { state in
            // What a client sends differs from a server's answer in the first byte and the ports.
            var payload = Array(frame[28...])
            payload[0] = 2
            let request = try DHCPMessage(payload)
            state.kinds.append(request.kind)
            if state.lostFrames > 0 {
                state.lostFrames -= 1
                return
            }
            var answer = request
            answer.kind = request.kind == .discover ? .offer : .acknowledge
            if answer.kind == .acknowledge, state.refusals > 0 {
                state.refusals -= 1
                answer.kind = .refuse
            }
            answer.yourAddress = IPv4(bits: 0xc000_0264)
            answer.options = [54: [192, 0, 2, 1], 51: [0, 0, 0, 120], 1: [255, 255, 255, 0]]
            var bytes = answer.bytes
            bytes[0] = 2
            var packet = DHCPPacket.wrap(bytes, from: IPv4(bits: 0xc000_0201))
            packet.replaceSubrange(20..<24, with: [0, 67, 0, 68])
            state.queue += state.noise + [packet]
        }
    }
}

/// A clock that moves only when somebody sleeps.
final class SkippingTime: TimeSource {
    private let nanoseconds = Mutex<Int64>(0)

    var now: Timestamp { Timestamp(nanoseconds: nanoseconds.withLock { $0 }) }
    var elapsed: Duration { .nanoseconds(nanoseconds.withLock { $0 }) }

    func sleep(for span: Duration) async throws {
        try Task.checkCancellation()
        nanoseconds.withLock { $0 += max(0, span.wholeNanoseconds) }
        await Task.yield()
    }
}

struct `The DHCP client` {
    private let interface = NetworkInterface(name: "eth0", mac: "52:54:00:c0:00:01")

    private func client(_ segment: SimulatedSegment, _ time: SkippingTime) -> DHCPClient {
        DHCPClient(network: segment, random: SeededRandom(seed: 1), time: time)
    }

    @Test func `gets an address in four messages`() async throws {
        let segment = SimulatedSegment()
        let lease = try await client(segment, SkippingTime()).acquire(interface)
        #expect(lease.address.description == "192.0.2.100")
        #expect(segment.state.withLock { $0.kinds } == [.discover, .request])
        #expect(segment.state.withLock { $0.configured } == [lease])
    }

    @Test func `keeps asking when messages are lost, less and less often`() async throws {
        let segment = SimulatedSegment(lostFrames: 6)
        let time = SkippingTime()
        _ = try await client(segment, time).acquire(interface)
        #expect(segment.state.withLock { $0.kinds.count } == 8)
        // 1 + 2 + 4 + 8 + 16 + 16 seconds and up to half a second each.
        #expect((47.0...50.5).contains(time.elapsed.inSeconds))
    }

    @Test func `begins again after a refusal`() async throws {
        let segment = SimulatedSegment(refusals: 1)
        _ = try await client(segment, SkippingTime()).acquire(interface)
        #expect(
            segment.state.withLock { $0.kinds } == [.discover, .request, .discover, .request]
        )
    }

    @Test func `is not disturbed by noise`() async throws {
        let random = SeededRandom(seed: 3)
        let noise = (0..<50).map { random.bytes($0 * 11) }
        let segment = SimulatedSegment(noise: noise)
        let lease = try await client(segment, SkippingTime()).acquire(interface)
        #expect(lease.address.description == "192.0.2.100")
    }

    @Test func `refuses an interface that is no Ethernet`() async {
        let odd = NetworkInterface(name: "ib0", mac: "80:00:02:08:fe:80:00:00")
        await #expect(throws: Fault.self) {
            try await client(SimulatedSegment(), SkippingTime()).acquire(odd)
        }
    }
}

/// Real packets, a real server, in a network namespace of the test's own.
@Suite(.enabled(if: DHCPLaboratory.isPossible, "needs root, ip and dnsmasq"))
struct `The DHCP client with dnsmasq` {
    @Test func `gets an address and uses it`() async throws {
        let laboratory = try await DHCPLaboratory()
        let thread = OwnThread(name: "dhcp-test")
        let outcome = await withTaskExecutorPreference(thread) {
            () -> Result<DHCPLease, any Error> in
            do {
                try laboratory.enter()
                let network = SystemNetwork()
                let client = DHCPClient(
                    network: network,
                    random: SystemRandom(),
                    time: SystemTime()
                )
                let interface = NetworkInterface(name: "client", mac: DHCPLaboratory.clientMAC)
                return .success(
                    try await withBudget(.seconds(20), for: "a lease", on: SystemTime()) {
                        try await client.acquire(interface)
                    }
                )
            } catch {
                return .failure(error)
            }
        }
        let addresses = try await laboratory.clientAddresses()
        let routes = try await laboratory.clientRoutes()
        try await laboratory.close()
        let lease = try outcome.get()
        #expect(lease.server.description == "198.51.100.1")
        #expect((50...60).contains(lease.address.bits & 255))
        #expect(lease.routes.map(\.gateway.description) == ["198.51.100.1"])
        #expect(addresses.contains("\(lease.address)/24"))
        #expect(routes.contains("default via 198.51.100.1 dev client"))
    }
}

/// A namespace for the client and one for dnsmasq, joined by a pair of interfaces.
private struct DHCPLaboratory {
    static let clientMAC = "52:54:00:aa:00:01"

    static var isPossible: Bool {
        let tools = SystemProcesses()
        return getuid() == 0 && tools.locate("ip") != nil && tools.locate("dnsmasq") != nil
    }

    private let client = "agta-client-\(getpid())"
    private let server = "agta-server-\(getpid())"
    private let directory: TemporaryTree
    private let tools = SystemProcesses()

    init() async throws {
        directory = try TemporaryTree()
        try await ip("netns", "add", client)
        try await ip("netns", "add", server)
        try await ip(
            "-n",
            client,
            "link",
            "add",
            "client",
            "address",
            Self.clientMAC,
            "type",
            "veth",
            "peer",
            "name",
            "server",
            "netns",
            server
        )
        try await ip("-n", server, "address", "add", "198.51.100.1/24", "dev", "server")
        try await ip("-n", client, "link", "set", "client", "up")
        try await ip("-n", server, "link", "set", "server", "up")
        let dnsmasq = try #require(tools.locate("dnsmasq"))
        // It goes to the background once it listens.
        try await ip(
            "netns",
            "exec",
            server,
            dnsmasq,
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--interface=server",
            "--bind-interfaces",
            "--no-ping",
            "--dhcp-range=198.51.100.50,198.51.100.60,255.255.255.0,120",
            "--dhcp-leasefile=\(directory.root)/leases",
            "--pid-file=\(directory.root)/pid"
        )
    }

    /// Moves the calling thread into the client's namespace.
    func enter() throws {
        typealias Enter = @convention(c) (Int32, Int32) -> Int32
        let symbol = try #require(dlsym(nil, "setns"))
        let file = open("/run/netns/\(client)", O_RDONLY | O_CLOEXEC)
        defer { Glibc.close(file) }
        // CLONE_NEWNET
        try #require(unsafeBitCast(symbol, to: Enter.self)(file, 0x4000_0000) == 0)
    }

    func clientAddresses() async throws -> String {
        try await ip("-n", client, "address", "show", "dev", "client")
    }

    func clientRoutes() async throws -> String {
        try await ip("-n", client, "route", "show")
    }

    func close() async throws {
        if let pid = FileTree().number("\(directory.root)/pid") { kill(pid_t(pid), SIGTERM) }
        try await ip("netns", "delete", client)
        try await ip("netns", "delete", server)
    }

    @discardableResult
    private func ip(_ arguments: String...) async throws -> String {
        let result = try await tools.run(ProcessRequest("ip", arguments, budget: .seconds(20)))
        try #require(result.succeeded, "ip \(arguments): \(result.errorText)")
        return result.outputText
    }
}
