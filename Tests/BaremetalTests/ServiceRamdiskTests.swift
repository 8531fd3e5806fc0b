import Basics
import HTTP
import Images
import Power
import Protocol
import Testing

@testable import Baremetal

/// Services whose steps are the ramdisk's agent's: the instance stays as it is and runs again afterwards.
@Suite struct ServiceRamdiskTests {
    private let burnIn = StepRequest("deploy", "burnin_memory")

    /// An active node.
    private func active() async throws -> (Bench, NodeID) {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("plain", for: id)
        _ = try await bench.service.update(id.text, by: nil) {
            $0.driverInfo.fields["agent_burnin_memory_timeout"] = "60"
        }
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        bench.world.edit(id) { $0.log = [] }
        return (bench, id)
    }

    /// Nobody touched the disk, and the machine started from it.
    private func checkInstance(_ bench: Bench, _ id: NodeID) async throws {
        bench.world.time.advance(.seconds(60))
        try await bench.world.advance(id, policy: bench.policy) { _ in true }
        let machine = try #require(bench.world.machine(id))
        #expect(machine.installed == SimulatedImages.plain)
        #expect(machine.writes == 1)
        // The installed system's agent keeps its key.
        #expect(!machine.log.contains("keys revoked"))
        #expect(!machine.log.contains { $0.hasPrefix("erased") || $0 == "written" })
        #expect(machine.power == .on)
        #expect(machine.running == .disk)
    }

    @Test func `the ramdisk runs for the agent's steps, once, and the disk after them`()
        async throws
    {
        let (bench, id) = try await active()
        let hold = StepRequest("deploy", "wait", args: ["seconds": 5])
        try await bench.ask(.service([burnIn, hold, burnIn]), id)
        #expect(try await bench.state(id) == "servicing")
        try await bench.settle(id, seconds: 8)
        #expect(try await bench.state(id) == "service wait")
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "active", "\(node.lastError ?? "")")
        #expect(node.state.installation?.mayBeAway == nil)
        #expect(
            node.lastLines == [
                "1.0 GiB of memory were tested for 60 s, 2 times as a whole, without an error"
            ]
        )
        let log = try #require(bench.world.machine(id)).log
        #expect(log.filter { $0 == "ramdisk runs" }.count == 1)
        #expect(log.filter { $0 == "memory tested for 60 s" }.count == 2)
        #expect(log.contains("boot disk always"))
        try await checkInstance(bench, id)
        #expect(!node.expectsRamdisk)
    }

    @Test func `an abort in the ramdisk ends with the instance running again`() async throws {
        let (bench, id) = try await active()
        bench.world.edit(id) { $0.agent = .hangs }
        try await bench.ask(.service([burnIn]), id)
        try await bench.settle(id, seconds: 120)
        #expect(bench.world.machine(id)?.running == .ramdisk)
        try await bench.ask(.abort, id)
        #expect(try await bench.state(id) == "servicing")
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "service failed")
        #expect(node.lastError?.contains("aborted by request") == true)
        try await checkInstance(bench, id)
        // Nothing is to be undone any more.
        bench.world.edit(id) { $0.log = [] }
        try await bench.ask(.abort, id)
        #expect(try await bench.state(id) == "active")
        #expect(bench.world.machine(id)?.log == [])
    }

    @Test(arguments: [true, false])
    func `a step that fails leaves the ramdisk for a look, and an abort starts the instance`(
        isSilent: Bool
    ) async throws {
        let (bench, id) = try await active()
        bench.world.edit(id) { $0.agent = isSilent ? .silent : .fails(isRetryable: false) }
        try await bench.ask(.service([burnIn, burnIn]), id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "service failed")
        #expect(
            node.lastError?.hasPrefix("cannot service node c0: step deploy.burnin_memory: ") == true
        )
        if !isSilent { #expect(bench.world.machine(id)?.running == .ramdisk) }
        bench.world.edit(id) { $0.agent = .none }
        try await bench.ask(.abort, id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        try await checkInstance(bench, id)
    }

    @Test func `a hold between the steps keeps the ramdisk, and an abort there leaves it`()
        async throws
    {
        let (bench, id) = try await active()
        let hold = StepRequest("deploy", "hold")
        try await bench.ask(.service([burnIn, hold, burnIn]), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "service hold")
        #expect(bench.world.machine(id)?.running == .ramdisk)
        try await bench.ask(.abort, id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "service failed")
        try await checkInstance(bench, id)
    }

    @Test func `a restart among the steps ends the ramdisk, which comes anew for the next`()
        async throws
    {
        let (bench, id) = try await active()
        let reboot = StepRequest("power", "reboot")
        try await bench.ask(.service([burnIn, reboot, burnIn, reboot]), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        let log = try #require(bench.world.machine(id)).log
        #expect(log.filter { $0 == "ramdisk runs" }.count == 2)
        #expect(!log.contains("boot disk always"), "its last restart was from its disk already")
        try await checkInstance(bench, id)
    }

    @Test func `a controller that stops anywhere goes on, and the disk stays as it is`()
        async throws
    {
        for stop in 0..<40 {
            let (bench, id) = try await active()
            try await bench.ask(.service([burnIn]), id)
            for _ in 0..<stop {
                _ = await bench.reconciler.reconcile(id)
                bench.world.time.advance(.seconds(1))
                try await bench.world.advance(id, policy: bench.policy) { result in
                    try await bench.reconciler.agentResult(result, from: id, role: .ramdisk)
                }
            }
            let next = bench.restarted()
            try await next.settle(id)
            #expect(try await next.state(id) == "active", "stopped after \(stop) rounds")
            try await checkInstance(next, id)
        }
    }

    @Test(
        arguments: [
            ("agent_burnin_memory_timeout", "0"), ("agent_burnin_memory_timeout", "86401"),
            ("agent_burnin_memory_timeout", "long"), ("agent_burnin_memory_vm_bytes", "99%"),
            ("agent_burnin_memory_vm_bytes", "0%"), ("agent_burnin_memory_vm_bytes", "2G"),
        ]
    )
    func `a test that makes no sense is refused`(name: String, value: String) async throws {
        let (bench, id) = try await active()
        _ = try await bench.service.update(id.text, by: nil) {
            $0.driverInfo.fields[name] = .string(value)
        }
        let refusal = await #expect(throws: Fault.self) {
            try await bench.ask(.service([burnIn]), id)
        }
        #expect(refusal?.kind == .invalid)
        #expect(refusal?.message.contains("\(name) “\(value)”") == true)
        #expect(try await bench.state(id) == "active")
    }

    @Test(arguments: [
        "erase_devices_metadata", "erase_devices", "erase_devices_express", "write_image",
        "prepare_instance_boot", "boot_instance",
    ])
    func `no step that writes to a disk is one of a service`(step: String) async throws {
        let (bench, id) = try await active()
        await #expect(throws: Fault.self) {
            try await bench.ask(.service([StepRequest("deploy", step)]), id)
        }
        #expect(try await bench.state(id) == "active")
        #expect(bench.world.machine(id)?.log == [])
    }
}
