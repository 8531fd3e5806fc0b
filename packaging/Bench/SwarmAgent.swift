import Basics
import CZeroMQ
import FoundationEssentials
import Protocol
import SwiftProtobuf
import Transport

/// What the boot fragment tells a machine.
struct BootFile: Decodable, Sendable {
    let address: String
    let enrolment_port: UInt16
    let control_port: UInt16
    let telemetry_port: UInt16
    let curve_key: String
    let token: String

    /// Finds the JSON inside the archive that the boot route answers with.
    init(archive: [UInt8]) throws {
        guard let open = archive.firstIndex(of: UInt8(ascii: "{")),
            let close = archive.lastIndex(of: UInt8(ascii: "}")), open < close
        else { throw Fault(.invalid, "cannot read a boot fragment: it holds no JSON") }
        self = try JSONDecoder().decode(BootFile.self, from: Data(archive[open...close]))
    }
}

/// One simulated machine: a MAC, a loopback address, a CURVE key, and the session machine of the real agent.
final class SwarmAgent {
    /// What it waits for.
    enum Stage {
        case fresh
        case enrolling
        case greeting
        case live
        case failed
    }

    let number: Int
    let keys = CurveKeyPair()
    private(set) var stage = Stage.fresh
    /// Why it failed.
    private(set) var reason = ""
    /// Answered heartbeats.
    private(set) var answers = 0
    private(set) var socket: SwarmSocket?
    private var telemetry: SwarmSocket?
    private var machine: AgentSessionMachine
    private let time = SystemTime()
    /// The session's clock: put on by hand, so that a heartbeat is due when the bench wants one.
    private var clock: Duration = .zero

    init(_ number: Int) {
        self.number = number
        var hello = WireHello()
        hello.role = .ramdisk
        hello.agentVersion = "bench"
        hello.bootID = "bench-\(number)"
        machine = AgentSessionMachine(session: SystemRandom().bytes(16), hello: hello)
    }

    /// Lower case with colons.
    static func mac(_ number: Int) -> String {
        "52:54:99"
            + [16, 8, 0].map { ":" + hexadecimal(UInt8(truncatingIfNeeded: number >> $0)) }
            .joined()
    }

    /// Every machine has an address of its own, because limits count by address.
    static func address(_ number: Int) -> String {
        "127.\(100 + number / 62_500).\(number / 250 % 250).\(1 + number % 250)"
    }

    // MARK: - Enrolment

    func enrol(_ boot: BootFile, _ context: SwarmContext) throws {
        let socket = try connect(context, ZMQ_DEALER, boot.enrolment_port, boot)
        var request = WireEnrolRequest()
        request.versionMin = WireVersion.oldest
        request.versionMax = WireVersion.current
        request.exchange = Data(SystemRandom().bytes(16))
        request.role = .ramdisk
        request.token = Data(base64Encoded: boot.token) ?? Data()
        request.bootMac = Self.mac(number)
        request.macs = [Self.mac(number)]
        request.agentTimeNanoseconds = time.now.nanoseconds
        request.agentVersion = "bench"
        socket.send(try request.serializedBytes())
        self.socket = socket
        stage = .enrolling
    }

    private func connect(
        _ context: SwarmContext,
        _ type: Int32,
        _ port: UInt16,
        _ boot: BootFile
    ) throws -> SwarmSocket {
        guard let server = CurvePublicKey(z85: boot.curve_key) else {
            throw Fault(.invalid, "cannot read a boot fragment: its key is none")
        }
        return try SwarmSocket(
            context,
            type: type,
            endpoint: "tcp://\(Self.address(number)):0;\(boot.address):\(port)",
            keys: keys,
            server: server
        )
    }

    /// Takes what has arrived while it enrols; opens the control connection when it was admitted.
    /// - Returns: whether the socket is another one now.
    func receiveReply(_ boot: BootFile, _ context: SwarmContext) throws -> Bool {
        guard let bytes = socket?.receive() else { return false }
        let reply = try WireEnrolReply(serializedBytes: bytes)
        guard case .admitted(let admitted) = reply.outcome else {
            reason = reply.refused.reason
            stage = .failed
            return false
        }
        let control = try connect(context, ZMQ_DEALER, boot.control_port, boot)
        machine.admitted(version: admitted.version)
        control.send(try machine.connected(uptimeSeconds: 1, at: clock).serializedBytes())
        socket = control
        stage = .greeting
        return true
    }

    // MARK: - Session

    /// Takes what has arrived; answers a heartbeat's answer with the next one where `beating`.
    func receive(beating: Bool) throws {
        while let bytes = socket?.receive() {
            let frame = try WireControllerFrame(serializedBytes: bytes)
            switch machine.receive(frame, at: clock) {
            case .welcomed: stage = .live
            case .heartbeatAnswered:
                answers += 1
                if beating { try beat() }
            case .enrolAgain(let why):
                reason = why
                stage = .failed
            case .start, .replace, .answer, .cancel, .stored, .ignored: break
            }
        }
    }

    /// Sends a heartbeat now.
    func beat() throws {
        clock += SessionTiming.heartbeat
        for frame in machine.tick(uptimeSeconds: 1, clock: time.now, at: clock) {
            socket?.send(try frame.serializedBytes())
        }
    }

    // MARK: - Telemetry

    func openTelemetry(_ boot: BootFile, _ context: SwarmContext) throws {
        telemetry = try connect(context, ZMQ_PUSH, boot.telemetry_port, boot)
    }

    /// Sends a batch as large as a machine with one disk and two interfaces makes.
    func sendMetrics() throws {
        var batch = WireMetricBatch()
        batch.version = WireVersion.current
        let now = time.now.nanoseconds
        batch.samples = (0..<60).map { index in
            var sample = WireSample()
            sample.name = "bench_\(index / 3)_bytes"
            sample.instance = ["vda", "ens3", "ens4"][index % 3]
            sample.timeNanoseconds = now
            sample.value = Double(index) * 1.5
            return sample
        }
        telemetry?.send(try batch.serializedBytes())
    }
}
