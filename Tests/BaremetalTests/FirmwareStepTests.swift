import Basics
import HTTP
import HTTPTypes
import Power
import Protocol
import Store
import Testing

@testable import Baremetal

@Suite struct FirmwareStepTests {
    private let bench: Bench
    private let updates: MemoryUpdates

    init() throws {
        bench = try Bench()
        let firmware = bench.service.drivers["redfish"]?.firmware as? MemoryFirmware
        updates = try #require(firmware?.updates)
    }

    private func managed() async throws -> NodeID {
        let id = try await bench.registerRedfish()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        return id
    }

    private static let bios: JSONValue = [
        "component": "bios", "url": "https://files.example/bios-3.0.bin",
    ]
    private static let bmc: JSONValue = [
        "component": "bmc", "url": "http://files.example/bmc-4.2.bin", "wait": 60,
    ]

    private func run(_ settings: JSONValue, on id: NodeID) async throws {
        let step = StepRequest("firmware", "update", args: ["settings": settings])
        try await bench.ask(.clean([step], ramdisk: false), id)
        try await bench.settle(id)
    }

    private func history(_ id: NodeID) async throws -> [String] {
        try await bench.database.read {
            try $0.history(of: id, after: nil, descending: false, limit: 300).map(\.event)
        }
    }

    private func restarts(_ id: NodeID) -> Int {
        bench.world.machine(id)?.log.count { $0 == "power on" } ?? 0
    }

    @Test func `images go one after the other, with a restart for the BIOS alone`() async throws {
        let id = try await managed()
        try await run([Self.bmc, Self.bios], on: id)
        #expect(try await bench.state(id) == "manageable")
        #expect(updates.images.map { $0.suffix(12) } == ["/bmc-4.2.bin", "bios-3.0.bin"])
        #expect(restarts(id) == 1)
        let lines = try await history(id)
        #expect(lines.contains("bmc was updated from 2.1 to 4.2"))
        #expect(lines.contains("bios was updated from 1.0 to 3.0"))
        try await bench.withClient { client async throws in
            let shown = try await client.ask(.get, "/v1/nodes/c0/firmware").body
            let rows = shown["firmware"]?.elements ?? []
            #expect(rows.map { $0["current_version"]?.text } == ["3.0", "4.2"])
            #expect(rows.map { $0["initial_version"]?.text } == ["1.0", "2.1"])
        }
    }

    @Test func `a task that waits for the machine gets its restart, once`() async throws {
        let id = try await managed()
        updates.go(.waitsForRestart)
        try await run([Self.bios], on: id)
        #expect(try await bench.state(id) == "manageable")
        #expect(restarts(id) == 1)
        #expect(try await history(id).contains("bios was updated from 1.0 to 3.0"))
    }

    @Test func `a BMC that is away while it restarts is waited for`() async throws {
        let id = try await managed()
        updates.go(.restarts(20))
        try await run([Self.bmc], on: id)
        #expect(try await bench.state(id) == "manageable")
        #expect(updates.images.count == 1)
        #expect(restarts(id) == 0)
        #expect(try await history(id).contains("bmc was updated from 2.1 to 4.2"))
    }

    @Test func `a BMC that never comes back fails the step`() async throws {
        let id = try await managed()
        updates.go(.restarts(100_000))
        try await run([Self.bmc], on: id)
        #expect(try await bench.state(id) == "clean failed")
        let error = try #require(try await bench.service.find(id)?.lastError)
        #expect(error.contains("its firmware was being updated"), "\(error)")
    }

    @Test(
        arguments: [
            (.fails, "the BMC gave up: “wrong signature”"),
            (.forgets, "tells nothing of it and shows 1.0 as before"),
        ] as [(MemoryUpdates.Way, String)]
    )
    func `an update that did not happen fails the step`(_ way: MemoryUpdates.Way, _ words: String)
        async throws
    {
        let id = try await managed()
        updates.go(way)
        try await run([Self.bios, Self.bmc], on: id)
        #expect(try await bench.state(id) == "clean failed")
        let error = try #require(try await bench.service.find(id)?.lastError)
        #expect(error.contains(words), "\(error)")
        #expect(updates.images.count == 1, "what comes after it is not begun")
    }

    @Test func `an image that is refused after another is told, and not taken for the other`()
        async throws
    {
        let id = try await managed()
        updates.go(.refusesSecond)
        var bmc = Self.bmc
        bmc["wait"] = nil
        try await run([bmc, Self.bios], on: id)
        #expect(try await bench.state(id) == "clean failed")
        let error = try #require(try await bench.service.find(id)?.lastError)
        #expect(error.contains("not an image of this board"), "\(error)")
        #expect(restarts(id) == 0)
        #expect(try await history(id).allSatisfy { !$0.contains("bios was updated") })
    }

    @Test func `the same version again is done when the BMC says so`() async throws {
        let id = try await managed()
        updates.go(.keepsVersion)
        try await run([Self.bios], on: id)
        #expect(try await bench.state(id) == "manageable")
        #expect(try await history(id).contains { $0.contains("shows 1.0 as before") })
    }

    @Test func `a controller that starts anew in the middle tells nothing twice`() async throws {
        let id = try await managed()
        let step = StepRequest(
            "firmware",
            "update",
            args: ["settings": [Self.bmc, Self.bios]]
        )
        try await bench.ask(.clean([step], ramdisk: false), id)
        for _ in 0..<120 {
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
        #expect(updates.images.count == 2)
        #expect(restarts(id) == 1)
    }

    @Test(
        arguments: [
            ([], "a list of 1 to 32"), ([["component": "bios"]], "component, url and wait only"),
            ([["component": "cpu", "url": "http://a/b"]], "names the component cpu"),
            ([["component": "bios", "url": "file:///etc/shadow"]], "http:// or https://"),
            ([["component": "bios", "url": "swift://a/b"]], "http:// or https://"),
            ([["component": "bios", "url": "http://u:secret@a/b"]], "without user and password"),
            ([["component": "bios", "url": "http://a/b c"]], "http:// or https://"),
            ([["component": "bios", "url": "http://a/b", "wait": 0]], "a wait of 1 to 1800"),
            (
                [["component": "bios", "url": "http://a/b", "checksum": "x"]],
                "component, url and wait only"
            ),
        ] as [(JSONValue, String)]
    )
    func `updates that make no sense are refused at once`(
        settings: JSONValue,
        words: String
    ) async throws {
        _ = try await managed()
        try await bench.withClient { client async throws in
            let step: JSONValue = [
                "interface": "firmware", "step": "update", "args": ["settings": settings],
            ]
            let answer = try await client.ask(
                .put,
                "/v1/nodes/c0/states/provision",
                ["target": "clean", "clean_steps": [step]]
            )
            #expect(answer.status == 400)
            #expect(answer.fault.contains(words), "\(answer.fault)")
            #expect(!answer.fault.contains("secret"))
        }
        #expect(updates.images == [])
    }
}
