import Agents
import Basics
import Boot
import HTTP
import Power
import Protocol
import Synchronization
import Testing

@testable import Baremetal

@Suite struct FlowTests {
    @Test func `a registered machine becomes active with one boot of the ramdisk`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        #expect(try await bench.state(id) == "available")
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "active")
        #expect(node.lastError == nil)
        #expect(node.properties["memory_mb"] == 2048)
        #expect(node.bootMode == .uefi)
        let machine = try #require(bench.world.machine(id))
        #expect(
            machine.log == [
                "keys revoked, ramdisk", "boot pxe once", "power on", "ramdisk runs",
                "command inspect",
                "inspected", "command erase", "erased", "command write", "written",
                "boot disk always", "command restart", "restarted", "disk runs",
            ]
        )
        #expect(machine.installed == SimulatedImages.withAgent)
        #expect(bench.world.issued.last == "overcloud \(node.attempt)")
    }

    @Test func `an image without an agent is active after the restart`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("plain", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        #expect(!bench.world.issued.contains { $0.hasPrefix("overcloud") })
    }

    @Test func `undeploy revokes the keys, wipes the disk and leaves a free node`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        try await bench.ask(.delete, id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state == .available)
        #expect(node.instanceInfo.isEmpty)
        #expect(bench.world.machine(id)?.installed == nil)
    }

    @Test func `provide without cleaning boots nothing`() async throws {
        let bench = try Bench { $0.automatedClean = false }
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(.provide, id)
        #expect(try await bench.state(id) == "available")
        #expect(bench.world.machine(id)?.log == [])
    }

    /// What can go wrong, in which state that ends, and what the error tells.
    @Test(arguments: [
        (SimulatedWorld.BMCTrouble.wrongPassword, "enroll", "refused the password"),
        (.dead, "enroll", "does not answer"),
    ])
    func `a BMC that cannot be used leaves the node in enroll and says why`(
        trouble: SimulatedWorld.BMCTrouble,
        state: String,
        words: String
    ) async throws {
        let bench = try Bench()
        let id = try await bench.register()
        bench.world.edit(id) { $0.bmc = trouble }
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == state)
        #expect(node.lastError?.contains(words) == true)
    }

    @Test func `a BMC that says yes and does nothing ends in a failed state`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.bmc = .liar }
        try await bench.ask(.inspect, id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state == .inspectFailed)
        #expect(node.lastError?.contains("nothing happened") == true)
    }

    @Test func `a machine whose ramdisk never comes is booted twice, then failed`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        bench.world.edit(id) { $0.agent = .silent }
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(.inspect, id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state == .inspectFailed)
        #expect(node.lastError?.contains("after 2 boots") == true)
        #expect(bench.world.machine(id)?.log.filter { $0 == "power on" }.count == 2)
    }

    @Test(arguments: [(true, 2), (false, 1)])
    func `a command that fails is tried again only when that may help`(
        isRetryable: Bool,
        tries: Int
    ) async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        bench.world.edit(id) {
            $0.agent = .fails(isRetryable: isRetryable)
            $0.log = []
        }
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state == .deployFailed)
        #expect(node.lastError?.contains("no disk matches the hints") == true)
        #expect(node.lastLines == ["sda is too small"])
        #expect(bench.world.machine(id)?.log.filter { $0 == "command write" }.count == tries)
    }

    @Test func `an agent that never reports ends in a failed state`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.agent = .hangs }
        try await bench.ask(.inspect, id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "inspect failed")
    }

    @Test func `an agent that does not restart has its machine power-cycled`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        bench.world.edit(id) { $0.agent = .staysInRamdisk }
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        #expect(
            bench.world.machine(id)?.log.suffix(4) == [
                "command restart", "power off", "power on", "disk runs",
            ]
        )
    }

    @Test func `a ramdisk that went away is booted again and the image is written once`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        bench.world.edit(id) { machine in
            machine.power = .off  // a power cut
            machine.running = .nothing
            machine.log = []
        }
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        #expect(bench.world.machine(id)?.writes == 1)
    }

    @Test func `maintenance holds the work and its end lets it go on`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(.inspect, id)
        try await bench.service.setMaintenance(true, reason: "cabling", of: id.text, by: nil)
        for _ in 0..<50 {
            _ = await bench.reconciler.reconcile(id)
            bench.world.time.advance(.seconds(1))
        }
        #expect(bench.world.machine(id)?.log == [])
        let held = try #require(try await bench.service.find(id))
        #expect(held.waiting(NodeBudgets())?.reason.contains("maintenance") == true)
        try await bench.service.setMaintenance(false, reason: nil, of: id.text, by: nil)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
    }

    @Test func `abort ends the work and cancels the agent's command`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        bench.world.edit(id) { $0.agent = .hangs }
        try await bench.ask(.deploy(configDrive: nil), id)
        for _ in 0..<5 { _ = await bench.reconciler.reconcile(id) }
        #expect(bench.world.machine(id)?.command != nil)
        try await bench.ask(.abort, id)
        _ = await bench.reconciler.reconcile(id)
        #expect(bench.world.machine(id)?.command == nil)
        #expect(try await bench.state(id) == "deploy failed")
    }

    @Test func `a report from an older attempt is taken off the agent and changes nothing`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        var result = WireCommandResult()
        result.command = CommandID(random: [UInt8](repeating: 9, count: 16)).text
        result.attempt = 1
        result.outcome = .erased(WireErasedDisks())
        let before = try await bench.service.find(id)
        #expect(try await bench.reconciler.agentResult(result, from: id, role: .ramdisk))
        #expect(try await bench.service.find(id) == before)
    }

    @Test func `the installed system's agent cannot speak for the ramdisk's`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        bench.world.edit(id) { $0.agent = .hangs }
        try await bench.ask(.deploy(configDrive: nil), id)
        for _ in 0..<5 { _ = await bench.reconciler.reconcile(id) }
        let command = try #require(bench.world.machine(id)?.command)
        var result = WireCommandResult()
        result.command = command.id
        result.attempt = command.attempt
        result.outcome = .written(WireWrittenImage())
        var progress = WireProgress()
        progress.command = command.id
        progress.phase = "write"
        let before = try await bench.service.find(id)
        #expect(try await !bench.reconciler.agentResult(result, from: id, role: .overcloud))
        await bench.reconciler.agentProgress(progress, from: id, role: .overcloud)
        #expect(try await bench.service.find(id) == before)
        #expect(bench.service.progress.withLock { $0[id] } == nil)
        await bench.reconciler.agentProgress(progress, from: id, role: .ramdisk)
        #expect(try await bench.reconciler.agentResult(result, from: id, role: .ramdisk))
        #expect(try await bench.service.find(id) != before)
        #expect(bench.service.progress.withLock { $0[id]?.phase } == "write")
    }

    @Test func `every action may be done twice`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        for wish in [ProvisionWish.manage, .inspect, .provide] {
            try await bench.ask(wish, id)
            try await bench.settleTwice(id)
        }
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settleTwice(id)
        #expect(try await bench.state(id) == "active")
        #expect(bench.world.machine(id)?.writes == 1)
    }

    @Test func `a controller that stops after any step finds its way`() async throws {
        for stop in 0..<40 {
            let bench = try Bench()
            let id = try await bench.register()
            try await bench.makeAvailable(id)
            try await bench.choose("overcloud", for: id)
            try await bench.ask(.deploy(configDrive: nil), id)
            for _ in 0..<stop {
                _ = await bench.reconciler.reconcile(id)
                bench.world.time.advance(.seconds(1))
                try await bench.world.advance(id, policy: bench.policy) { result in
                    try await bench.reconciler.agentResult(result, from: id, role: .ramdisk)
                }
            }
            // A new reconciler remembers nothing; the database and the machine are what they were.
            let next = bench.restarted()
            try await next.settle(id)
            #expect(try await next.state(id) == "active", "stopped after \(stop) steps")
            #expect(next.world.machine(id)?.writes == 1, "stopped after \(stop) steps")
        }
    }
}

extension Bench {
    /// The same database and world with a new reconciler.
    func restarted() -> Bench {
        var copy = self
        copy.reconciler = NodeReconciler(service: service, agents: world, keys: world)
        return copy
    }

    /// As `settle`, but each state's actions are done twice, as if their outcome was not stored.
    func settleTwice(_ id: NodeID) async throws {
        for _ in 0..<2000 {
            guard let node = try await service.find(id), node.wait != nil else { return }
            for action in node.actions {
                _ = try await reconciler.perform(action, for: node)
                _ = try await reconciler.perform(action, for: node)
            }
            world.time.advance(.seconds(1))
            try await world.advance(id, policy: policy) { result in
                _ = try await reconciler.agentResult(result, from: id, role: .ramdisk)
                return try await reconciler.agentResult(result, from: id, role: .ramdisk)
            }
        }
    }
}
