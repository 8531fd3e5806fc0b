import Basics
import FoundationEssentials
import Harness
import HostTools
import Testing

/// Commands that are broken off in the middle: the BMC's side dies, or the controller does.
@Suite struct BrokenOffTests {
    private struct Node: Decodable {
        var provision_state: String
        var target_provision_state: String?
        var power_state: String?
        var target_power_state: String?
        var last_error: String?
    }

    /// A controller with one node at an emulator that we did not write.
    private final class Scene {
        let emulator: RedfishEmulator
        let controller: RunningController
        private var token = ""

        init() async throws {
            emulator = try await RedfishEmulator()
            controller = try await RunningController()
            try await controller.start()
            token = try await controller.token()
            let node = """
                {"driver": "redfish", "name": "r1", "driver_info": {
                  "redfish_address": "http://127.0.0.1:\(emulator.port)",
                  "redfish_system_id": "\(RedfishEmulator.system)",
                  "redfish_username": "\(RedfishEmulator.user)",
                  "redfish_password": "\(RedfishEmulator.password)"}}
                """
            #expect(try await ask("POST", "/v1/nodes", node) == "201")
        }

        /// - Returns: the status.
        func ask(_ method: String, _ path: String, _ body: String) async throws -> String {
            try await controller.curl(
                headers + [
                    "--request", method, "--header", "Content-Type: application/json",
                    "--data", body, "--output", "/dev/null", "--write-out", "%{http_code}",
                ],
                path
            ).output
        }

        private var headers: [String] {
            [
                "--header", "X-Auth-Token: \(token)",
                "--header", "X-OpenStack-Ironic-API-Version: 1.115",
            ]
        }

        func node() async throws -> Node {
            let answer = try await controller.curl(headers, "/v1/nodes/r1")
            return try JSONDecoder().decode(Node.self, from: Data(answer.output.utf8))
        }

        func reaches(_ what: String, _ holds: (Node) -> Bool) async throws {
            try await eventually(what, within: .seconds(150)) { holds(try await node()) }
        }

        /// Waits until the controller speaks to the emulator, which does not answer.
        func isInTheMiddle() async throws {
            let port = String(emulator.port, radix: 16, uppercase: true)
            let peer = ":" + String(repeating: "0", count: 4 - port.count) + port
            try await eventually("a call to the frozen emulator", within: .seconds(60)) {
                (readText("/proc/self/net/tcp") ?? "").split(separator: "\n").contains { line in
                    let words = line.split(separator: " ")
                    // Established, to the emulator's port.
                    return words.count > 3 && words[2].hasSuffix(peer) && words[3] == "01"
                }
            }
        }

        /// What the emulator itself says about the machine.
        func power() async throws -> String {
            try await Tool.run(
                "curl",
                [
                    "--silent", "--user", "\(RedfishEmulator.user):\(RedfishEmulator.password)",
                    "http://127.0.0.1:\(emulator.port)\(RedfishEmulator.system)",
                ],
                budget: .seconds(20),
                time: SystemTime()
            ).output
        }

        func end() async throws {
            #expect(try await controller.stop())
            try await emulator.kill()
        }
    }

    private static let power = "/v1/nodes/r1/states/power"
    private static let provision = "/v1/nodes/r1/states/provision"

    @Test func `an emulator that is killed in the middle of a command loses nothing`() async throws
    {
        let scene = try await Scene()
        #expect(try await scene.ask("PUT", Self.provision, #"{"target": "manage"}"#) == "202")
        try await scene.reaches("manageable") { $0.provision_state == "manageable" }
        scene.emulator.freeze()
        #expect(try await scene.ask("PUT", Self.power, #"{"target": "power on"}"#) == "202")
        try await scene.isInTheMiddle()
        try await scene.emulator.kill()
        let broken = try await scene.node()
        #expect(broken.target_power_state == "power on")
        #expect(broken.provision_state == "manageable")
        try await scene.emulator.start()
        try await scene.reaches("the power") { $0.target_power_state == nil }
        let node = try await scene.node()
        #expect(node.power_state == "power on")
        #expect(node.last_error == nil)
        #expect(try await scene.power().contains(#""PowerState": "On""#))
        try await scene.end()
    }

    @Test func `a controller that is killed in the middle of a command goes on with it`()
        async throws
    {
        let scene = try await Scene()
        scene.emulator.freeze()
        #expect(try await scene.ask("PUT", Self.provision, #"{"target": "manage"}"#) == "202")
        try await scene.isInTheMiddle()
        try await scene.controller.kill()
        scene.emulator.thaw()
        try await scene.controller.start()
        try await scene.reaches("manageable") { $0.provision_state == "manageable" }
        scene.emulator.freeze()
        #expect(try await scene.ask("PUT", Self.power, #"{"target": "power on"}"#) == "202")
        try await scene.isInTheMiddle()
        try await scene.controller.kill()
        scene.emulator.thaw()
        try await scene.controller.start()
        try await scene.reaches("the power") {
            $0.target_power_state == nil && $0.power_state == "power on"
        }
        #expect(try await scene.node().last_error == nil)
        #expect(try await scene.power().contains(#""PowerState": "On""#))
        try await scene.end()
    }
}
