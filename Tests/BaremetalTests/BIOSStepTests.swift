import Basics
import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

extension Bench {
    /// Registers a machine whose BMC speaks Redfish.
    func registerRedfish() async throws -> NodeID {
        let id = try await register()
        _ = try await service.update(id.text, by: nil) { node in
            node.driver = "redfish"
            node.driverInfo = DriverInfo(
                fields: ["redfish_address": "https://192.0.2.201", "redfish_username": "bmc1"],
                secrets: ["redfish_password": Secret("secret")]
            )
        }
        return id
    }
}

@Suite struct BIOSStepTests {
    private static let settings: JSONValue = [
        ["name": "Cores", "value": "8"], ["name": "Quiet", "value": false],
    ]

    private func managed(_ bench: Bench) async throws -> NodeID {
        let id = try await bench.registerRedfish()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        return id
    }

    private func firmware(_ bench: Bench) throws -> MemoryFirmware {
        try #require(bench.service.drivers["redfish"]?.bios as? MemoryFirmware)
    }

    private func apply(_ settings: JSONValue) -> StepRequest {
        StepRequest("bios", "apply_configuration", args: ["settings": settings])
    }

    @Test func `settings are told, the machine restarts once, and the firmware shows them`()
        async throws
    {
        let bench = try Bench()
        let id = try await managed(bench)
        try await bench.ask(.clean([apply(Self.settings)], ramdisk: false), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        let log = bench.world.machine(id)?.log ?? []
        #expect(log.count { $0 == "power on" } == 1)
        #expect(try firmware(bench).asked("bmc1") == 1)
        try await bench.withClient { client async throws in
            let bios = try await client.ask(.get, "/v1/nodes/c0/bios/Cores").body
            #expect(bios["Cores"]?["value"] == "8", "what is shown was read again")
        }
    }

    @Test func `settings that hold already restart nothing`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        let same: JSONValue = [["name": "Cores", "value": 4], ["name": "Quiet", "value": "True"]]
        try await bench.ask(.clean([apply(same)], ramdisk: false), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        #expect(bench.world.machine(id)?.log.contains("power on") == false)
        #expect(try firmware(bench).asked("bmc1") == 0)
    }

    @Test func `the factory's settings come with a restart`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        try await bench.ask(.clean([StepRequest("bios", "factory_reset")], ramdisk: false), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        try await bench.withClient { client async throws in
            let bios = try await client.ask(.get, "/v1/nodes/c0/bios/Boot").body
            #expect(bios["Boot"]?["value"] == "Bios")
        }
        // A second time nothing changes: it ends by the time that a change would take to show.
        try await bench.ask(.clean([StepRequest("bios", "factory_reset")], ramdisk: false), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        #expect(try firmware(bench).asked("bmc1") == 2)
    }

    @Test func `the ramdisk that ran before the restart is not waited for in vain`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        let erase = StepRequest("deploy", "erase_devices_metadata")
        try await bench.ask(.clean([erase, apply(Self.settings), erase], ramdisk: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        let log = bench.world.machine(id)?.log ?? []
        #expect(log.count { $0 == "erased" } == 2)
        #expect(log.count { $0 == "ramdisk runs" } == 2)
    }

    @Test
    func `a firmware that keeps its settings shows why the node waits, and fails by its budget`()
        async throws
    {
        let bench = try Bench()
        let id = try await managed(bench)
        try firmware(bench).ignoreChanges()
        try await bench.ask(.clean([apply(Self.settings)], ramdisk: false), id)
        try await bench.settle(id, seconds: 600)
        try await bench.withClient { client async throws in
            let waiting = try await client.ask(.get, "/v1/nodes/c0/waiting").body
            #expect(
                waiting["waiting"]?["reason"] == "waits for the firmware to take over Cores, Quiet",
                "\(waiting)"
            )
        }
        try await bench.settle(id)
        #expect(try await bench.state(id) == "clean failed")
        #expect(try firmware(bench).asked("bmc1") == 1, "it is told once")
        #expect(bench.world.machine(id)?.log.count { $0 == "power on" } == 1)
    }

    @Test func `a password, which never shows, is done when it is pending no more`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        try firmware(bench).addHidden("bmc1")
        let wanted: JSONValue = [
            ["name": "Password", "value": "new"], ["name": "Cores", "value": 8],
        ]
        try await bench.ask(.clean([apply(wanted)], ramdisk: false), id)
        let begin = bench.world.time.now
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        #expect(bench.world.time.now - begin < .seconds(600), "not by its budget")
        #expect(try firmware(bench).hiddenValue("bmc1") == "new")
        #expect(try firmware(bench).asked("bmc1") == 1)
        // The value may be any: it is told again, and the machine restarts again.
        try await bench.ask(.clean([apply(wanted)], ramdisk: false), id)
        try await bench.settle(id)
        #expect(try firmware(bench).asked("bmc1") == 2)
    }

    @Test func `a password that stays pending fails by the budget`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        try firmware(bench).addHidden("bmc1")
        try firmware(bench).keepPending()
        try await bench.ask(
            .clean([apply([["name": "Password", "value": "new"]])], ramdisk: false),
            id
        )
        try await bench.settle(id)
        #expect(try await bench.state(id) == "clean failed")
    }

    @Test func `a machine that does not restart fails the step`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        bench.world.edit(id) {
            $0.power = .on
            $0.bmc = .liar
        }
        try await bench.ask(.clean([apply(Self.settings)], ramdisk: false), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "clean failed")
        let node = try #require(try await bench.service.find(id))
        #expect(node.lastError?.contains("bios.apply_configuration") == true)
        #expect(node.lastError?.contains("still “power on”") == true)
    }

    @Test func `a controller that starts anew in the middle tells nothing twice`() async throws {
        let bench = try Bench()
        let id = try await managed(bench)
        try await bench.ask(.clean([apply(Self.settings)], ramdisk: false), id)
        for _ in 0..<60 {
            // A new reconciler knows nothing but what is stored.
            var other = bench
            other.reconciler = NodeReconciler(
                service: bench.service,
                agents: bench.world,
                keys: bench.world
            )
            _ = await other.reconciler.reconcile(id)
            bench.world.time.advance(.seconds(4))
        }
        #expect(try await bench.state(id) == "manageable")
        #expect(try firmware(bench).asked("bmc1") == 1)
        #expect(bench.world.machine(id)?.log.count { $0 == "power on" } == 1)
    }

    @Test func `a setting that the firmware does not have fails the step with its name`()
        async throws
    {
        let bench = try Bench()
        let id = try await managed(bench)
        try await bench.ask(
            .clean([apply([["name": "Turbo", "value": true]])], ramdisk: false),
            id
        )
        try await bench.settle(id)
        #expect(try await bench.state(id) == "clean failed")
        #expect(try await bench.service.find(id)?.lastError?.contains("Turbo") == true)
    }

    @Test(
        arguments: [
            (nil, "missing these required arguments: settings"),
            ([], "must be a list"), ("Cores=8", "must be a list"),
            ([["name": "Cores"]], "objects with name and value"),
            ([["name": "Cores", "value": [1]]], "objects with name and value"),
            (
                [["name": "A", "value": 1], ["name": "A", "value": 2]],
                "names A twice"
            ),
        ] as [(JSONValue?, String)]
    )
    func `settings that make no sense are refused at once`(
        settings: JSONValue?,
        words: String
    ) async throws {
        let bench = try Bench()
        _ = try await managed(bench)
        try await bench.withClient { client async throws in
            let args: JSONValue = settings.map { ["settings": $0] } ?? [:]
            let answer = try await client.ask(
                .put,
                "/v1/nodes/c0/states/provision",
                [
                    "target": "clean",
                    "clean_steps": [
                        ["interface": "bios", "step": "apply_configuration", "args": args]
                    ],
                ]
            )
            #expect(answer.status == 400)
            #expect(answer.fault.contains(words), "\(answer.fault)")
        }
    }

    @Test func `a driver without BIOS settings has no such step`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        await #expect(throws: Fault.self) {
            try await bench.ask(.clean([apply(Self.settings)], ramdisk: false), id)
        }
    }
}
