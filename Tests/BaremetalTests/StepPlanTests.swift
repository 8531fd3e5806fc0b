import HTTP
import HTTPTypes
import Protocol
import Testing

@testable import Baremetal

@Suite struct StepPlanTests {
    private let provision = "/v1/nodes/f/states/provision"

    private func fake(_ bench: Bench, traits: [String] = []) async throws -> Node {
        try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
            node.name = "f"
            node.instanceInfo["traits"] = .array(traits.map(JSONValue.string))
        }
    }

    private func template(_ name: String, _ steps: JSONValue, _ client: Client) async throws {
        let body: JSONValue = ["name": .string(name), "steps": steps]
        #expect(try await client.ask(.post, "/v1/deploy_templates", body).status == 201)
    }

    @Test
    func `templates that the instance's traits name add steps, and a request's go before them`()
        async throws
    {
        let bench = try Bench()
        let node = try await fake(bench, traits: ["CUSTOM_A", "CUSTOM_B"])
        try await bench.withClient { client async throws in
            let a: JSONValue = [
                ["interface": "power", "step": "reboot", "args": [:], "priority": 90],
                ["interface": "deploy", "step": "hold", "args": [:], "priority": 85],
            ]
            try await template("CUSTOM_A", a, client)
            let b: JSONValue = [
                ["interface": "deploy", "step": "wait", "args": ["seconds": 3], "priority": 70]
            ]
            try await template("CUSTOM_B", b, client)
        }
        let seen = try #require(try await bench.service.find(node.id))
        let plan = try await bench.service.deployPlan(of: seen, [])
        #expect(
            plan.steps.map(\.id) == [
                "power.reboot", "deploy.hold", "deploy.write_image", "deploy.wait",
                "deploy.prepare_instance_boot", "deploy.boot_instance",
            ]
        )
        let asked = [
            StepRequest("deploy", "hold", priority: 0),
            StepRequest("power", "reboot", priority: 50),
        ]
        let other = try await bench.service.deployPlan(of: seen, asked)
        #expect(
            other.steps.map(\.id) == [
                "deploy.write_image", "deploy.wait", "deploy.prepare_instance_boot",
                "power.reboot", "deploy.boot_instance",
            ]
        )
    }

    @Test func `a template with a step that nobody has keeps an instance from being deployed`()
        async throws
    {
        let bench = try Bench()
        _ = try await fake(bench, traits: ["CUSTOM_X"])
        try await bench.withClient { client async throws in
            let steps: JSONValue = [
                ["interface": "raid", "step": "x", "args": [:], "priority": 90]
            ]
            try await template("CUSTOM_X", steps, client)
            let answer = try await client.ask(.get, "/v1/nodes/f/validate")
            #expect(answer.body["deploy"]?["reason"]?.text?.contains("raid.x") == true)
        }
    }

    @Test(arguments: [
        (StepRequest("deploy", "write_image", priority: 0), "core step"),
        (StepRequest("deploy", "hold", priority: 20), "boot_instance"),
        (StepRequest("deploy", "wait", args: ["seconds": 9999], priority: 90), "0 to 240"),
        (StepRequest("deploy", "wait", args: ["hours": 1], priority: 90), "unexpected arguments"),
        (StepRequest("deploy", "burnin_cpu", priority: 90), "node does not support"),
    ])
    func `a deploy step that makes no sense is refused`(
        step: StepRequest,
        words: String
    ) async throws {
        let bench = try Bench()
        let node = try await fake(bench)
        let failure = await #expect(throws: (any Error).self) {
            try await bench.service.deployPlan(of: node, [step])
        }
        #expect(failure.map { "\($0)" }?.contains(words) == true)
    }

    @Test
    func `a deployment rests where its step says, shows it, and goes on with its config drive`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register("f")
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.withClient { client async throws in
            let steps: JSONValue = [
                ["interface": "deploy", "step": "hold", "args": [:], "priority": 70]
            ]
            let body: JSONValue = [
                "target": "active", "deploy_steps": steps,
                "configdrive": ["meta_data": ["name": "web"]],
            ]
            #expect(try await client.ask(.put, provision, body).status == 202)
            try await bench.settle(id)
            let held = try await client.ask(.get, "/v1/nodes/f")
            #expect(held.body["provision_state"] == "deploy hold")
            #expect(held.body["deploy_step"]?["step"] == "hold")
            #expect(held.body["driver_internal_info"]?["deploy_step_index"] == 1)
            #expect(held.body["clean_step"] == [:])
            _ = try await client.ask(.put, provision, ["target": "unhold"])
            try await bench.settle(id)
            let after = try await client.ask(.get, "/v1/nodes/f")
            #expect(after.body["provision_state"] == "active")
            #expect(after.body["deploy_step"] == [:])
        }
        #expect(bench.world.machine(id)?.writes == 1)
        #expect(try await bench.service.configDrive(of: id) != ConfigDrive())
    }

    @Test func `automated cleaning takes the steps that the configuration leaves on`() async throws
    {
        for (priorities, ids) in [
            ([:], ["deploy.erase_devices_metadata"]),
            (["deploy.erase_devices_metadata": 0], nil),
        ] as [([String: Int], [String]?)] {
            let bench = try Bench { $0.cleanPriorities = priorities }
            let node = try await fake(bench)
            #expect(bench.service.cleaningPlan(of: node)?.steps.map(\.id) == ids)
        }
    }

    @Test func `a controller that stops in the middle of a plan goes on with the same step`()
        async throws
    {
        for stop in 0..<30 {
            let bench = try Bench()
            let id = try await bench.register("f")
            try await bench.ask(.manage, id)
            try await bench.settle(id)
            let erase = StepRequest("deploy", "erase_devices_metadata")
            let wait = StepRequest("deploy", "wait", args: ["seconds": 5])
            try await bench.ask(.clean([erase, wait, erase], ramdisk: nil), id)
            for _ in 0..<stop {
                _ = await bench.reconciler.reconcile(id)
                bench.world.time.advance(.seconds(1))
                try await bench.world.advance(id, policy: bench.policy) { result in
                    try await bench.reconciler.agentResult(result, from: id, role: .ramdisk)
                }
            }
            let next = bench.restarted()
            try await next.settle(id)
            #expect(try await next.state(id) == "manageable", "stopped after \(stop) rounds")
            let log = next.world.machine(id)?.log ?? []
            #expect(log.filter { $0 == "erased" }.count == 2, "stopped after \(stop) rounds")
            #expect(log.filter { $0 == "ramdisk runs" }.count == 1)
        }
    }

    @Test func `the proof of an erase stands at the node and in its history`() async throws {
        let bench = try Bench { $0.cleanPriorities = ["deploy.erase_devices": 10] }
        let id = try await bench.register("f")
        try await bench.makeAvailable(id)
        let log = bench.world.machine(id)?.log.filter { $0.hasPrefix("erased") }
        // The metadata has the higher priority.
        #expect(log == ["erased", "erased all"])
        try await bench.withClient { client async throws in
            let node = try await client.ask(.get, "/v1/nodes/f")
            let proof = node.body["driver_internal_info"]?["rdo_erased"]?.elements?.first
            #expect(proof?["disk"] == "/dev/sda")
            #expect(proof?["serial"] == "S1")
            #expect(proof?["erased_bytes"] == .integer(8 << 30))
            #expect(proof?["method"] == "ATA security erase unit")
            let history = try await client.ask(.get, "/v1/nodes/f/history?detail=true")
            let events = history.body["history"]?.elements?.compactMap { $0["event"]?.text } ?? []
            #expect(events.contains { $0.contains("erased /dev/sda (serial S1): ATA security") })
        }
    }
}
