import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Protocol

/// A power change through a live BMC: alone, and beside hundreds that do not answer.
struct BMCSection {
    let options: BenchOptions

    /// BMCs whose port takes everything and answers nothing.
    static let dead = 200

    func run() async throws -> [Figure] {
        let folder = try TemporaryFolder()
        // The machine's power is a word in a file there.
        return try await BMCSimulator.run(
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n",
            chassis: "\(options.repository)/packaging/bench.d/chassis \(folder.path)"
        ) { try await measure(port: $0.port) }
    }

    private func measure(port: UInt16) async throws -> [Figure] {
        let silence = try SilentPort()
        let server = try await ControllerServer.start(options)
        let desk = Desk(server.target.with("X-OpenStack-Ironic-API-Version", "1.81"))
        try desk.register("live", address: "127.0.0.1", port: port)
        try desk.ask("live", "provision", "manage")
        try await desk.awaitState("manageable", of: "live")
        // The first change also fills caches.
        _ = try await desk.switchPower(of: "live")
        var alone: [Double] = []
        for _ in 0..<options.runs { alone.append(try await desk.switchPower(of: "live")) }
        for number in 1...Self.dead {
            let name = "dead-\(number)"
            try desk.register(
                name,
                address: "127.1.\(number / 200).\(number % 200 + 1)",
                port: silence.port
            )
            try desk.ask(name, "provision", "manage")
        }
        try await eventually("calls to the dead BMCs", within: .seconds(60)) { silence.isAsked }
        let watch = Stopwatch(server.pid)
        var beside: [Double] = []
        for _ in 0..<options.runs { beside.append(try await desk.switchPower(of: "live")) }
        let share = watch.cpuSeconds / max(watch.seconds, 0.001) * 100
        let threads = ProcessReading(of: server.pid).threads
        try await server.stop()
        return [
            Figure(
                "bmc.alone",
                "power change through IPMI (ipmi_sim, lanplus), alone",
                "s",
                .lower,
                values: alone
            ),
            Figure(
                "bmc.beside",
                "the same beside \(Self.dead) BMCs that do not answer",
                "s",
                .lower,
                values: beside,
                target: 2 * median(alone),
                note:
                    "the target is twice the time alone; the controller then takes \(number(share)) % of a core and \(threads) threads"
            ),
        ]
    }
}

/// An operator with one connection, who looks every few milliseconds.
private struct Desk {
    private let connection: LoadConnection

    init(_ target: LoadTarget) { connection = LoadConnection(target) }

    private struct Row: Decodable {
        let provision: String
        let power: String?
        let target: String?
        let error: String?

        enum CodingKeys: String, CodingKey {
            case provision = "provision_state"
            case power = "power_state"
            case target = "target_power_state"
            case error = "last_error"
        }
    }

    private func demand(
        _ status: Int,
        _ method: String,
        _ path: String,
        _ body: String? = nil
    ) throws -> [UInt8] {
        let answer = try connection.ask(method, path, body.map { Array($0.utf8) })
        guard answer.status == status else {
            let words = String(decoding: answer.body.prefix(200), as: UTF8.self)
            throw Fault(
                .unavailable,
                "cannot measure BMCs: \(method) \(path): \(answer.status) \(words)"
            )
        }
        return answer.body
    }

    func register(_ name: String, address: String, port: UInt16) throws {
        _ = try demand(
            201,
            "POST",
            "/v1/nodes",
            """
            {"driver":"ipmi","name":"\(name)","driver_info":{"ipmi_address":"\(address)",\
            "ipmi_port":\(port),"ipmi_username":"\(BMCSimulator.user)",\
            "ipmi_password":"\(BMCSimulator.password)"}}
            """
        )
    }

    func ask(_ node: String, _ what: String, _ target: String) throws {
        _ = try demand(
            202,
            "PUT",
            "/v1/nodes/\(node)/states/\(what)",
            #"{"target":"\#(target)"}"#
        )
    }

    private func row(_ node: String) throws -> Row {
        let body = try demand(200, "GET", "/v1/nodes/\(node)")
        return try JSONDecoder().decode(Row.self, from: Data(body))
    }

    func awaitState(_ state: String, of node: String) async throws {
        try await eventually("\(node) to be \(state)", within: .seconds(60)) {
            let row = try row(node)
            if row.provision == "enroll", let error = row.error { throw Fault(.unavailable, error) }
            return row.provision == state
        }
    }

    /// Asks for the other power state; returns the seconds until the machine has it.
    func switchPower(of node: String) async throws -> Double {
        let goal = try row(node).power == "power on" ? "power off" : "power on"
        let time = SystemTime()
        let start = time.elapsed
        try ask(node, "power", goal)
        try await eventually("\(node) to be at \(goal)", within: .seconds(120)) {
            let row = try row(node)
            return row.power == goal && row.target == nil
        }
        return (time.elapsed - start).inSeconds
    }
}

/// A UDP port on every loopback address that answers nothing.
private final class SilentPort {
    private let file: Int32
    let port: UInt16

    init() throws {
        file = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = file
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard isBound else {
            Glibc.close(descriptor)
            throw Fault(.unavailable, "cannot measure BMCs: no UDP port is free")
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    /// Whether anything came; nothing is ever read.
    var isAsked: Bool {
        var byte: UInt8 = 0
        return recv(file, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) >= 0
    }

    deinit { Glibc.close(file) }
}
