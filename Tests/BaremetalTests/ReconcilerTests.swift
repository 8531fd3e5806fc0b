import Agents
import Basics
import Boot
import HTTP
import Logging
import Power
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

/// A BMC that never answers for some machines and at once for the others.
private final class UnevenPower: PowerControl {
    let waiting = Mutex(0)

    func power(of bmc: BMC) async throws -> PowerState {
        guard bmc.host != "192.0.2.250" else {
            waiting.withLock { $0 += 1 }
            let (stream, _) = AsyncStream.makeStream(of: Void.self)
            for await _ in stream {}
            throw CancellationError()
        }
        return .off
    }

    func change(_ change: PowerChange, of bmc: BMC) async throws {}
    func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {}
    func bootDevice(of bmc: BMC) async throws -> BootChoice {
        BootChoice(device: nil, isPersistent: false)
    }
    func identity(of bmc: BMC) async throws -> String? { nil }
}

@Suite struct ReconcilerTests {
    @Test func `BMCs that hang delay no other node`() async throws {
        let world = SimulatedWorld()
        let power = UnevenPower()
        let feed = ChangeFeed()
        var settings = BaremetalSettings(
            imageURL: "https://192.0.2.1:6385",
            controller: BootFragment.Controller(address: "192.0.2.1", curveKey: "key"),
            hostName: "undercloud"
        )
        settings.powerPoll = .zero
        let service = NodesService(
            database: try Database(path: nil, migrations: baremetalMigrations, feed: feed),
            sealer: Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32))),
            images: SimulatedImages(),
            drivers: [NodeDriver(name: "ipmi", power: power, hasAgent: true, needsBMC: true)],
            queue: NodeQueue(),
            settings: settings,
            time: SystemTime(),
            random: SeededRandom(seed: 7),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let reconciler = NodeReconciler(service: service, agents: world, keys: world)
        for number in 0..<40 {
            let hangs = number % 2 == 0
            _ = try await service.create(id: nil, driver: "ipmi", by: nil) { node in
                node.name = "n\(number)"
                node.driverInfo = DriverInfo(
                    fields: [
                        "ipmi_address": hangs ? "192.0.2.250" : "192.0.2.201",
                        "ipmi_username": "admin",
                    ],
                    secrets: ["ipmi_password": Secret("x")]
                )
            }
            _ = try await service.request(.manage, for: "n\(number)", by: nil)
        }
        let changes = feed.follow()
        let done = try await withBudget(
            .seconds(60),
            for: "the nodes whose BMC answers",
            on: SystemTime()
        ) {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    try await reconciler.run()
                    return false
                }
                group.addTask {
                    while true {
                        if try await service.counts()["manageable"] == 20 { return true }
                        for await _ in changes { break }
                    }
                }
                defer { group.cancelAll() }
                return try await group.next() ?? false
            }
        }
        #expect(done)
        #expect(try await service.counts()["verifying"] == 20)
        #expect(power.waiting.withLock { $0 } <= 20, "one call per node at a time")
    }

    @Test func `a node is never worked on twice at a time, and no wake-up is lost`() throws {
        let queue = NodeQueue()
        let id = NodeID(random: [UInt8](repeating: 1, count: 16))
        queue.wake(id)
        queue.wake(id)
        #expect(queue.take(runningMax: 8) == id)
        #expect(queue.take(runningMax: 8) == nil)
        queue.wake(id)
        #expect(queue.take(runningMax: 8) == nil, "it is being worked on")
        queue.finish(id)
        #expect(queue.take(runningMax: 8) == id, "it was woken meanwhile")
        queue.finish(id)
        #expect(queue.take(runningMax: 8) == nil)
    }

    @Test func `a node is looked at again when its time has come`() throws {
        let queue = NodeQueue()
        let id = NodeID(random: [UInt8](repeating: 1, count: 16))
        queue.wake(id, at: .seconds(10))
        queue.wake(id, at: .seconds(20))
        #expect(queue.releaseDue(at: .seconds(5)) == .seconds(10))
        #expect(queue.take(runningMax: 8) == nil)
        _ = queue.releaseDue(at: .seconds(10))
        #expect(queue.take(runningMax: 8) == id)
    }
}

@Suite struct BootDecisionTests {
    @Test func `a stray network boot of an active node gets its disk and no token`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        let machine = try #require(bench.world.machine(id))
        let tokens = bench.world.issued.count
        #expect(
            try await bench.policy.decision(for: machine.mac)
                == .localDisk(reason: "node c0 is active")
        )
        #expect(try await bench.policy.fragment(for: machine.mac) == nil)
        #expect(bench.world.issued.count == tokens)
    }

    @Test(arguments: [true, false])
    func `an unknown machine gets the ramdisk only while discovery is open`(
        isOpen: Bool
    ) async throws {
        let bench = try Bench { $0.isDiscoveryOpen = isOpen }
        let mac = try #require(MACAddress("52:54:00:99:00:01"))
        #expect((try await bench.policy.decision(for: mac) == .ramdisk) == isOpen)
        #expect((try await bench.policy.fragment(for: mac) != nil) == isOpen)
        var request = WireEnrolRequest()
        request.bootMac = mac.text
        request.bmcAddress = "192.0.2.230"
        guard isOpen else {
            await #expect(throws: Fault.self) {
                _ = try await bench.policy.enrolUnknown(request, address: "192.0.2.150")
            }
            return
        }
        let id = try await bench.policy.enrolUnknown(request, address: "192.0.2.150")
        let node = try #require(try await bench.service.find(id))
        #expect(node.state == .enroll)
        #expect(node.driverInfo.secrets.isEmpty)
        #expect(try await bench.policy.enrolUnknown(request, address: "192.0.2.150") == id)
        #expect(
            try await bench.policy.decision(for: mac) != .ramdisk,
            "it is registered now"
        )
    }

    @Test(arguments: [true, false])
    func `a BMC address told by the machine itself counts only where the site trusts it`(
        trusts: Bool
    ) async throws {
        let bench = try Bench {
            $0.isDiscoveryOpen = true
            $0.trustsFirstBoot = trusts
        }
        let known = try await bench.service.create(id: nil, driver: "ipmi", by: nil) { node in
            node.name = "victim"
            node.driverInfo.fields["ipmi_address"] = "192.0.2.240"
        }
        try await bench.service.database.write { [sealer = bench.service.sealer] transaction in
            var node = known
            node.state = .inspecting(job: RamdiskJob(at: known.createdAt))
            try transaction.save(
                node,
                before: known,
                cause: "test",
                at: known.createdAt,
                sealer: sealer
            )
        }
        var request = WireEnrolRequest()
        request.bootMac = "52:54:00:99:00:02"
        request.bmcAddress = "192.0.2.240"
        let id = try await bench.policy.enrolUnknown(request, address: "192.0.2.151")
        #expect((id == known.id) == trusts)
    }
}
