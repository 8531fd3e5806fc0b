import Baremetal
import Basics
import Boot
import HTTP
import Protocol

/// A rack of nodes whose BMCs never answer, beside machines that are brought from `enroll` to `active`.
///
/// Somebody asks for every silent node to be managed, and to be switched on, again and again, so that the
/// controller always has work with them. The controller speaks to BMCs through its own IPMI driver.
package struct SilentRack {
    /// What the machines that work took, in the world's own time.
    package struct Report: Sendable, Equatable {
        /// How long each piece of work took, by machine and name.
        package fileprivate(set) var spans: [String: Duration] = [:]
        /// What did not come about.
        package fileprivate(set) var failures: [String] = []
        /// Wishes for silent nodes that the controller took.
        package fileprivate(set) var silentWishes = 0
        /// Silent nodes of which the controller says that their BMC does not answer.
        package fileprivate(set) var silentNodes = 0
        /// A number that differs when any event of the machines that work does.
        package fileprivate(set) var digest: UInt64 = 0
    }

    private let seed: UInt64
    private let silent: Int
    private let liveAfter: Duration
    private let bounds: ToolBounds

    /// Longer than any work here takes, also where it is held up.
    private static let endsAfter = Duration.seconds(4 * 3600)
    private static let machines = 2

    /// A rack of one seed.
    /// - Parameters:
    ///   - seed: decides the order of all events.
    ///   - silent: nodes whose BMC never answers, at most 500.
    ///   - liveAfter: when the machines that work are registered; the silent ones are from the beginning.
    ///   - bounds: how much the controller works on at a time.
    package init(
        seed: UInt64,
        silent: Int,
        liveAfter: Duration,
        bounds: ToolBounds = ToolBounds()
    ) {
        self.seed = seed
        self.silent = min(silent, 500)
        self.liveAfter = liveAfter
        self.bounds = bounds
    }

    /// Runs it on the calling thread.
    package func run() -> Report {
        let plan = FaultPlan(kinds: [], machines: Self.machines, faultsLast: Self.endsAfter)
        let world = World(seed: seed, plan: plan, tool: bounds)
        // They read every node after every write, which is not what is asked here.
        world.invariants.world.value = nil
        let report = Confined(Report())
        let done = Confined(0)
        world.startController()
        for number in 0..<silent {
            world.spawn("silent \(number)") {
                do {
                    try await askSilent(number, world, report)
                } catch is CancellationError {
                } catch {
                    report.value.failures.append("silent \(number): \(Fault(error).message)")
                }
            }
        }
        for machine in world.machines {
            world.spawn("live \(machine.name)") {
                do {
                    try await bringUp(machine, world, report)
                } catch {
                    report.value.failures.append("\(machine.name): \(Fault(error).message)")
                }
                done.value += 1
            }
        }
        while done.value < Self.machines, world.elapsed < Self.endsAfter, world.step() {}
        if done.value < Self.machines { report.value.failures.append("it did not come to an end") }
        report.value.digest = world.log.digest
        world.close()
        return report.value
    }

    private static func driverInfo(_ address: String, _ user: String, _ password: Secret)
        -> DriverInfo
    {
        DriverInfo(
            fields: ["ipmi_address": .string(address), "ipmi_username": .string(user)],
            secrets: ["ipmi_password": password]
        )
    }

    // MARK: - Those that never answer

    private func askSilent(_ number: Int, _ world: World, _ report: Confined<Report>) async throws {
        let time = SimulatedTime(executor: world.executor, life: Life())
        var dice = Dice(seed: seed, "silent \(number)")
        let name = "silent-\(number)"
        let id = NodeID(random: dice.bytes(16))
        guard let nodes = world.incarnation?.nodes else { return }
        let info = Self.driverInfo(
            "\(SimulatedBMCs.emptyNetwork)\(100 + number / 250).\(1 + number % 250)",
            "admin",
            Secret("unused")
        )
        _ = try await nodes.create(id: id, driver: "ipmi", by: nil) { node in
            node.name = name
            node.driverInfo = info
        }
        var isKnownSilent = false
        while true {
            let node = try await nodes.find(id)
            if let node, node.wait == nil, node.powerWish == nil {
                if dice.happens(500) {
                    _ = try await nodes.request(.manage, for: name, by: nil)
                } else {
                    _ = try await nodes.requestPower(.on, of: name, within: nil, by: nil)
                }
                report.value.silentWishes += 1
            }
            if !isKnownSilent, node?.obstacle != nil {
                isKnownSilent = true
                report.value.silentNodes += 1
            }
            try await time.sleep(for: dice.span(.seconds(5), .seconds(15)))
        }
    }

    // MARK: - Those that work

    private func bringUp(
        _ machine: SimulatedMachine,
        _ world: World,
        _ report: Confined<Report>
    ) async throws {
        let time = SimulatedTime(executor: world.executor, life: Life())
        var dice = Dice(seed: seed, "live \(machine.name)")
        let id = NodeID(random: dice.bytes(16))
        let port = PortID(random: dice.bytes(16))
        let name = machine.name
        world.images.nodeOf.value[name] = id
        try await time.sleep(for: liveAfter)
        guard let nodes = world.incarnation?.nodes, let mac = MACAddress(machine.mac) else {
            return
        }
        _ = try await nodes.create(id: id, driver: "ipmi", by: nil) { node in
            node.name = name
            node.driverInfo = Self.driverInfo(
                "192.0.2.20\(machine.number)",
                machine.bmcUser,
                machine.bmcPassword
            )
            node.properties["root_device"] = .object(["serial": .string(machine.rootSerial)])
            node.instanceInfo["image_source"] = .string(world.images.all[0].name)
        }
        _ = try await nodes.createPort(id: port, node: name, address: mac, by: nil) { _ in }
        let work: [(String, ProvisionWish, ProvisionState.Name)] = [
            ("verify", .manage, .manageable), ("inspect", .inspect, .manageable),
            ("provide", .provide, .available),
            ("deploy", .deploy(configDrive: ConfigDrive()), .active),
        ]
        for (what, wish, goal) in work {
            let begin = world.elapsed
            _ = try await nodes.request(wish, for: name, by: nil)
            let node = try await wait(for: id, nodes, time) { $0.wait == nil }
            guard node.state.name == goal else {
                throw Fault(
                    .conflict,
                    "\(what) ended as \(node.state.name): \(node.lastError ?? "")"
                )
            }
            report.value.spans["\(name) \(what)"] = world.elapsed - begin
        }
        for target in [PowerWish.Target.off, .on] {
            let begin = world.elapsed
            _ = try await nodes.requestPower(target, of: name, within: nil, by: nil)
            let node = try await wait(for: id, nodes, time) { $0.powerWish == nil }
            if let error = node.lastError { throw Fault(.conflict, error) }
            report.value.spans["\(name) power \(target.rawValue)"] = world.elapsed - begin
        }
    }

    /// Looks ten times a second.
    private func wait(
        for id: NodeID,
        _ nodes: NodesService,
        _ time: SimulatedTime,
        until isMet: (Node) -> Bool
    ) async throws -> Node {
        while true {
            try await time.sleep(for: .milliseconds(100))
            if let node = try await nodes.find(id), isMet(node) { return node }
        }
    }
}
