import HTTP
import HTTPTypes
import Protocol
import Testing

@testable import Baremetal

@Suite struct VerbTests {
    private let provision = "/v1/nodes/f/states/provision"

    private func withFake(
        _ body:
            @escaping @Sendable (Client, @escaping @Sendable (JSONValue) async throws -> String)
            async throws -> Void
    ) async throws {
        let bench = try Bench()
        let path = provision
        let node = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) {
            $0.name = "f"
        }
        try await bench.withClient { client async throws in
            try await body(client) { request in
                let answer = try await client.ask(.put, path, request)
                guard answer.status == 202 else { return "\(answer.status) \(answer.fault)" }
                try await bench.settle(node.id)
                return try await bench.state(node.id)
            }
        }
    }

    @Test func `a machine that runs is adopted, rescued, serviced and undeployed`() async throws {
        try await withFake { _, go async throws in
            #expect(try await go(["target": "manage"]) == "manageable")
            #expect(try await go(["target": "adopt"]) == "active")
            #expect(try await go(["target": "rescue", "rescue_password": "p"]) == "rescue")
            #expect(try await go(["target": "unrescue"]) == "active")
            let steps: JSONValue = [
                ["interface": "power", "step": "power_off"],
                ["interface": "deploy", "step": "hold"],
                ["interface": "power", "step": "reboot"],
            ]
            #expect(
                try await go(["target": "service", "service_steps": steps]) == "service hold"
            )
            #expect(try await go(["target": "unhold"]) == "active")
            #expect(try await go(["target": "deleted"]) == "available")
        }
    }

    @Test func `the operator's cleaning steps are taken in their order and rest where they say`()
        async throws
    {
        try await withFake { client, go async throws in
            _ = try await go(["target": "manage"])
            let erase: JSONValue = ["interface": "deploy", "step": "erase_devices_metadata"]
            let hold: JSONValue = ["interface": "deploy", "step": "hold"]
            #expect(try await go(["target": "clean", "clean_steps": [erase]]) == "manageable")
            #expect(
                try await go(["target": "clean", "clean_steps": [erase, hold, erase]])
                    == "clean hold"
            )
            #expect(try await go(["target": "unhold"]) == "manageable")
            let bare: JSONValue = [
                "target": "clean", "clean_steps": [hold], "disable_ramdisk": true,
            ]
            #expect(try await go(bare) == "clean hold")
            #expect(try await go(["target": "abort"]) == "clean failed")
            let node = try await client.ask(.get, "/v1/nodes/f")
            #expect(node.body["last_error"]?.text?.contains("aborted") == true)
        }
    }

    @Test(
        arguments: [
            (["target": "clean"], "clean_steps is required"), (["target": "dance"], "dance"),
            (["target": "clean", "clean_steps": [["interface": "raid", "step": "x"]]], "raid.x"),
            (
                ["target": "clean", "clean_steps": [["interface": "magic", "step": "x"]]],
                "interface"
            ),
            (["target": "clean", "clean_steps": [["step": "x"]]], "no interface"),
            (
                [
                    "target": "clean", "disable_ramdisk": true,
                    "clean_steps": [["interface": "deploy", "step": "erase_devices_metadata"]],
                ], "without the ramdisk"
            ),
            (["target": "rescue"], "rescue_password"),
            (["target": "manage", "rescue_password": "x"], "rescue_password"),
            (["target": "service"], "service_steps is required"),
            (
                ["target": "active", "deploy_steps": [["interface": "raid", "step": "x"]]],
                "args"
            ),
            (["target": "unhold"], "enroll"), (["target": "adopt"], "enroll"),
            (["target": "clean", "runbook": "none"], "runbook none"),
        ] as [(JSONValue, String)]
    )
    func `what no driver can do, or makes no sense, is refused`(
        body: JSONValue,
        words: String
    ) async throws {
        try await withFake { _, go async throws in
            let answer = try await go(body)
            #expect(answer.hasPrefix("40"), "\(answer)")
            #expect(answer.contains(words), "\(answer)")
        }
    }

    @Test func `a driver without rescue refuses it`() async throws {
        let bench = try Bench()
        let id = try await bench.register("f")
        try await bench.makeAvailable(id)
        try await bench.choose("plain", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        let path = provision
        _ = try await bench.service.update(id.text, by: nil) {
            $0.interfaces["rescue_interface"] = "no-rescue"
        }
        try await bench.withClient { client async throws in
            let body: JSONValue = ["target": "rescue", "rescue_password": "x"]
            let answer = try await client.ask(.put, path, body)
            #expect(answer.status == 400)
            #expect(answer.fault.contains("does not support rescue"))
        }
    }

    @Test func `a runbook's steps are taken by nodes that have one of its traits`() async throws {
        try await withFake { client, go async throws in
            _ = try await go(["target": "manage"])
            let steps: JSONValue = [
                ["interface": "deploy", "step": "hold", "order": 2],
                ["interface": "deploy", "step": "erase_devices_metadata", "order": 1],
            ]
            _ = try await client.ask(.post, "/v1/runbooks", ["name": "wipe", "steps": steps])
            _ = try await client.ask(.put, "/v1/runbooks/wipe/traits/CUSTOM_WIPE")
            let wish: JSONValue = ["target": "clean", "runbook": "wipe"]
            #expect(try await go(wish).contains("CUSTOM_WIPE"))
            _ = try await client.ask(.put, "/v1/nodes/f/traits/CUSTOM_WIPE")
            #expect(try await go(wish) == "clean hold")
            #expect(try await go(["target": "unhold"]) == "manageable")
        }
    }

    @Test func `a real agent takes the operator's erase steps, each with a command of its own`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register("f")
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(
            .clean(
                [
                    StepRequest("deploy", "erase_devices_metadata"),
                    StepRequest("power", "reboot"),
                    StepRequest("deploy", "erase_devices_metadata"),
                ],
                ramdisk: nil
            ),
            id
        )
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        let log = bench.world.machine(id)?.log ?? []
        #expect(log.filter { $0 == "erased" }.count == 2)
        // The reboot in between takes the first ramdisk away.
        #expect(log.filter { $0 == "ramdisk runs" }.count == 2)
    }

    @Test func `a service without power leaves the node in a state to try again`() async throws {
        let bench = try Bench()
        let id = try await bench.register("f")
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.choose("plain", for: id)
        try await bench.ask(.adopt, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.bmc = .liar }
        try await bench.ask(.service([StepRequest("power", "power_on")]), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "service failed")
        bench.world.edit(id) { $0.bmc = .none }
        try await bench.ask(.service([StepRequest("power", "power_on")]), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
    }
}
