import Basics
import Harness
import HostTools
import Testing

/// The full queue, as the unmodified client meets it.
@Suite struct QueueClientTests {
    private let hold =
        #"[{"interface":"power","step":"wait","args":{"seconds":240}}]"#

    @Test func `beyond the queue's limit the client says why and may come again`() async throws {
        let controller = try await RunningController(
            settings: ["work.cleanings": "1", "work.waiting": "0"]
        )
        try await controller.start()
        let client = OpenStackClient(controller: controller)
        for name in ["n1", "n2"] {
            try await client.require(
                "baremetal",
                "node",
                "create",
                "--driver",
                "fake-hardware",
                "--name",
                name
            )
            try await client.require("baremetal", "node", "manage", name, "--wait", "60")
        }
        let clean = ["baremetal", "node", "clean", "--clean-steps", hold]
        let first = try await client.run(clean + ["n1"])
        #expect(first.exitCode == 0, "\(first.lastWords)")
        // The client tries six times, two seconds apart, before it gives up.
        let refused = try await client.run(clean + ["n2"])
        #expect(refused.exitCode == 1)
        #expect(
            refused.errorOutput.contains("nodes wait for their turn already; try again later"),
            "\(refused.errorOutput)"
        )
        #expect(!refused.errorOutput.contains("retry_after"), "\(refused.errorOutput)")
        // Everybody else is told when to come back.
        let answer = try await controller.curl(
            [
                "--request", "PUT", "--include", "--header",
                "X-Auth-Token: \(try await controller.token())",
                "--header", "X-OpenStack-Ironic-API-Version: 1.95", "--header",
                "Content-Type: application/json", "--data",
                #"{"target": "clean", "clean_steps": \#(hold)}"#,
            ],
            "/v1/nodes/n2/states/provision"
        )
        #expect(answer.output.hasPrefix("HTTP/1.1 503"), "\(answer.output)")
        #expect(answer.output.lowercased().contains("retry-after: 30"), "\(answer.output)")
        struct Node: Decodable { var provision_state: String }
        let waiting = try await client.json(Node.self, "baremetal", "node", "show", "n2")
        #expect(waiting.provision_state == "manageable")
        try await client.require("baremetal", "node", "abort", "n1")
        let again = try await client.run(clean + ["n2"])
        #expect(again.exitCode == 0, "\(again.lastWords)")
        let working = try await client.json(Node.self, "baremetal", "node", "show", "n2")
        #expect(working.provision_state.hasPrefix("clean"))
        #expect(try await controller.stop())
    }
}
