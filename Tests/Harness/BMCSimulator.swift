import Basics
import HostTools

/// OpenIPMI's `ipmi_sim` on 127.0.0.1: a BMC that we did not write.
package struct BMCSimulator: Sendable {
    package static let user = "admin"
    package static let password = "labpassword1"

    package let port: UInt16
    /// Where a virtual machine's BMC device connects to (TCP); that is its in-band side.
    package let machinePort: UInt16
    private let process: BackgroundProcess
    private let folder: TemporaryFolder

    /// Starts one, runs the body, ends it; without a GUID of its own it would not speak IPMI 2.0.
    ///
    /// `commands`: what the emulator is made of, as in `ipmi_sim_cmd(5)`. `chassis`: the program with its first
    /// arguments that stands for the machine; `nil` where nobody switches it.
    package static func run<Result>(
        _ commands: String,
        chassis: String? = nil,
        _ body: (BMCSimulator) async throws -> Result
    ) async throws -> Result {
        let simulator = try await BMCSimulator(commands, chassis)
        do {
            let result = try await body(simulator)
            try await simulator.end()
            return result
        } catch {
            try await simulator.end()
            throw error
        }
    }

    private init(_ commands: String, _ chassis: String?) async throws {
        folder = try TemporaryFolder()
        port = try FreePorts.take()
        machinePort = try FreePorts.take()
        let lan = """
            name "bmc"
            set_working_mc 0x20
              startlan 1
                addr 127.0.0.1 \(port)
                priv_limit admin
                allowed_auths_callback md5
                allowed_auths_user md5
                allowed_auths_operator md5
                allowed_auths_admin md5
                guid 00112233445566778899aabbccddeeff
              endlan
              \(chassis.map { "chassis_control \"\($0)\"" } ?? "")
              serial 15 127.0.0.1 \(machinePort) codec VM
              user 2 true "\(Self.user)" "\(Self.password)" admin 10 md5

            """
        try makeDirectories(folder.path + "/state")
        try writeText(lan, to: folder.path + "/lan.conf", mode: 0o600)
        try writeText(commands, to: folder.path + "/commands")
        var request = BackgroundProcess.Request(
            "ipmi_sim",
            [
                "-n", "-c", folder.path + "/lan.conf", "-f", folder.path + "/commands", "-s",
                folder.path + "/state",
            ],
            pidFile: folder.path + "/pid",
            logFile: folder.path + "/log"
        )
        request.directory = folder.path
        process = try BackgroundProcess.start(request)
        try await waitUntilItListens()
    }

    private func waitUntilItListens() async throws {
        let time = SystemTime()
        let deadline = time.elapsed + .seconds(20)
        let wanted = "0100007F:" + Self.hex(port)
        while true {
            let table = readText("/proc/\(process.identity.pid)/net/udp") ?? ""
            if table.contains(wanted) { return }
            guard process.isAlive, time.elapsed < deadline else {
                let log = readText(folder.path + "/log") ?? ""
                throw Fault(.unavailable, "cannot start ipmi_sim: \(log.suffix(400))")
            }
            try await time.sleep(for: .milliseconds(20))
        }
    }

    private func end() async throws { try await process.kill(time: SystemTime()) }

    private static func hex(_ port: UInt16) -> String {
        let text = String(port, radix: 16, uppercase: true)
        return String(repeating: "0", count: 4 - text.count) + text
    }
}
