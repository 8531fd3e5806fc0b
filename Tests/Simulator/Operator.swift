import Baremetal
import Basics
import Boot
import Deployment
import FoundationEssentials
import HTTP
import Protocol

/// Somebody who works with the data centre: registers machines, deploys them, changes his mind; and
/// brings everything in order once the faults are over.
final class Operator: Sendable {
    private let world: World
    private let time: SimulatedTime
    private let dice: Confined<Dice>
    private let ready = Confined(0)
    private let done = Confined(false)

    init(world: World) {
        self.world = world
        time = SimulatedTime(executor: world.executor, life: Life())
        dice = Confined(Dice(seed: world.seed, "operator"))
    }

    /// A secret that only one machine may see.
    static func secret(of machine: SimulatedMachine) -> String { "hiera-secret-of-\(machine.name)" }

    /// Whether every node is as it should be.
    var isDone: Bool { done.value }

    /// Begins the work on every machine.
    func start() {
        for machine in world.machines {
            world.spawn("operator of \(machine.name)") { [self] in
                // Nothing cancels an operator but the end of the world.
                try? await work(on: machine)
            }
        }
        world.spawn("operator") { [self] in try? await configure() }
    }

    private var isHealed: Bool { world.healedAt != nil }

    private func say(_ what: String) { world.log.add("operator", what) }

    /// Asks the controller; `nil` when it is down or refuses.
    private func ask<Value: Sendable>(
        _ what: String,
        _ body: (Incarnation) async throws -> Value
    ) async -> Value? {
        guard let incarnation = world.incarnation else { return nil }
        do {
            let value = try await body(incarnation)
            say(what)
            return value
        } catch {
            say("\(what): \((error as? Fault)?.message ?? "\(error)")")
            return nil
        }
    }

    private func node(_ machine: SimulatedMachine) async -> Node? {
        guard let id = world.images.nodeOf.value[machine.name], let incarnation = world.incarnation
        else { return nil }
        // A controller that just died answers nothing.
        return (try? await incarnation.nodes.find(id)).flatMap { $0 }
    }

    private func work(on machine: SimulatedMachine) async throws {
        try await register(machine)
        while !isHealed {
            try await time.sleep(for: dice.value.span(.seconds(2), .seconds(30)))
            guard !isHealed, let node = await node(machine) else { continue }
            await meddle(machine, node)
        }
        try await bringInOrder(machine)
        ready.value += 1
    }

    private func register(_ machine: SimulatedMachine) async throws {
        let id = NodeID(random: dice.value.bytes(16))
        let port = PortID(random: dice.value.bytes(16))
        world.images.nodeOf.value[machine.name] = id
        guard let mac = MACAddress(machine.mac) else { return }
        var isThere = false
        while !isThere {
            if await node(machine) == nil {
                _ = await ask("registers \(machine.name)") { controller in
                    try await controller.nodes.create(id: id, driver: "ipmi", by: nil) { node in
                        node.name = machine.name
                        node.driverInfo = Self.driverInfo(machine)
                        node.properties["root_device"] = .object([
                            "serial": .string(machine.rootSerial)
                        ])
                    }
                }
            }
            let made = await ask("registers the port of \(machine.name)") { controller in
                if try await !controller.nodes.hasPort(mac) {
                    _ = try await controller.nodes.createPort(
                        id: port,
                        node: machine.name,
                        address: mac,
                        by: nil
                    ) { _ in }
                }
                return true
            }
            isThere = made == true
            if !isThere { try await time.sleep(for: .seconds(3)) }
        }
    }

    private static func driverInfo(_ machine: SimulatedMachine) -> DriverInfo {
        DriverInfo(
            fields: [
                "ipmi_address": .string("192.0.2.20\(machine.number)"),
                "ipmi_username": .string(machine.bmcUser),
            ],
            secrets: ["ipmi_password": machine.bmcPassword]
        )
    }

    // MARK: - While faults last

    private func meddle(_ machine: SimulatedMachine, _ node: Node) async {
        if world.faults.contains(.operatorHolds), dice.value.happens(250) {
            return await hold(machine, node)
        }
        if node.wait != nil {
            guard world.faults.contains(.operatorAborts), dice.value.happens(150) else { return }
            let gives = node.state.name == .deploying && dice.value.happens(300)
            return await request(gives ? .delete : .abort, machine)
        }
        guard node.powerWish == nil else { return }
        switch node.state.name {
        case .active:
            switch dice.value.below(4) {
            case 0: await request(.delete, machine)
            case 1: await deploy(machine, node, dice.value.pick(world.images.all))
            default: break
            }
        case .available:
            if dice.value.happens(900) {
                await deploy(machine, node, dice.value.pick(world.images.all))
            } else {
                await request(.manage, machine)
            }
        case .manageable: await request(dice.value.happens(400) ? .inspect : .provide, machine)
        case .deployFailed where dice.value.happens(300): await request(.delete, machine)
        default: await goOn(machine, node)
        }
    }

    /// Maintenance, lockout and the power button.
    private func hold(_ machine: SimulatedMachine, _ node: Node) async {
        let name = machine.name
        switch dice.value.below(3) {
        case 0:
            let isSet = node.maintenance == nil
            _ = await ask("\(isSet ? "begins" : "ends") maintenance of \(name)") { controller in
                try await controller.nodes.setMaintenance(
                    isSet,
                    reason: "cabling",
                    of: name,
                    by: nil
                )
            }
        case 1:
            let reason = node.lockout == nil ? "hands inside" : nil
            _ = await ask("\(reason == nil ? "unlocks" : "locks") \(name)") { controller in
                try await controller.nodes.setLockout(reason: reason, of: name, by: nil)
            }
        default:
            let target = dice.value.pick(PowerWish.Target.allCases)
            _ = await ask("\(target.rawValue) for \(name)") { controller in
                try await controller.nodes.requestPower(target, of: name, within: nil, by: nil)
            }
        }
    }

    private func request(_ wish: ProvisionWish, _ machine: SimulatedMachine) async {
        _ = await ask("\(wish.verb) \(machine.name)") { controller in
            let node = try await controller.nodes.request(wish, for: machine.name, by: nil)
            if isHealed, world.invariants.state.value.healthy[node.id] == nil {
                world.invariants.state.value.healthy[node.id] = node.attempt
            }
        }
    }

    private func deploy(
        _ machine: SimulatedMachine,
        _ node: Node,
        _ image: SimulatedImage
    ) async {
        let changed = await ask("chooses \(image.name) for \(machine.name)") { controller in
            try await controller.nodes.update(machine.name, by: nil) {
                $0.instanceInfo["image_source"] = .string(image.name)
            }
        }
        guard changed != nil else { return }
        var drive = ConfigDrive()
        drive.userData = .string(Self.secret(of: machine))
        let isNew = node.state.name == .available || node.state.name == .deployFailed
        await request(isNew ? .deploy(configDrive: drive) : .rebuild(configDrive: drive), machine)
    }

    /// The next step towards an active node.
    private func goOn(_ machine: SimulatedMachine, _ node: Node) async {
        switch node.state.name {
        case .enroll, .cleanFailed: await request(.manage, machine)
        case .inspectFailed: await request(.inspect, machine)
        case .manageable:
            let isKnown = node.inspectionFinishedAt != nil
            await request(isKnown ? .provide : .inspect, machine)
        case .available, .deployFailed: await deploy(machine, node, world.images.all[0])
        case .error, .rescue, .rescueFailed, .unrescueFailed: await request(.delete, machine)
        case .adoptFailed: await request(.manage, machine)
        case .cleanHold, .serviceHold, .deployHold: await request(.unhold, machine)
        case .serviceFailed: await request(.abort, machine)
        case .verifying, .inspecting, .cleaning, .deploying, .deleting, .active, .adopting,
            .servicing, .rescuing, .unrescuing:
            break
        }
    }

    // MARK: - Once everything is healed

    private func bringInOrder(_ machine: SimulatedMachine) async throws {
        while true {
            try await time.sleep(for: .seconds(2))
            guard let node = await node(machine) else { continue }
            if node.lockout != nil {
                _ = await ask("unlocks \(machine.name)") {
                    try await $0.nodes.setLockout(reason: nil, of: machine.name, by: nil)
                }
            } else if node.maintenance != nil {
                _ = await ask("ends maintenance of \(machine.name)") {
                    try await $0.nodes.setMaintenance(false, reason: nil, of: machine.name, by: nil)
                }
            } else if node.wait != nil || node.powerWish != nil {
                continue
            } else if case .active(let installation) = node.state {
                // What ran through the faults need not be the wanted image.
                if installation.image == world.images.all[0].id,
                    world.invariants.state.value.healthy[node.id] != nil
                {
                    return
                }
                await deploy(machine, node, world.images.all[0])
            } else {
                await goOn(machine, node)
            }
        }
    }

    /// Configures active nodes: now and then, and all of them in the end.
    private func configure() async throws {
        while !isHealed {
            try await time.sleep(for: dice.value.span(.seconds(60), .seconds(240)))
            let active = world.machines.filter {
                world.invariants.node(of: $0.name)?.state.name == .active
            }
            guard !isHealed, !active.isEmpty else { continue }
            await run(on: active)
        }
        while ready.value < world.machines.count { try await time.sleep(for: .seconds(2)) }
        while await !isAnyRunComplete() { try await time.sleep(for: .seconds(5)) }
        done.value = true
    }

    private func isAnyRunComplete() async -> Bool {
        guard let incarnation = world.incarnation,
            let runs = try? await incarnation.runs.deployments()
        else { return false }
        if runs.contains(where: { $0.state == .running }) { return false }
        if runs.contains(where: { $0.state == .complete && $0.specification.name == "last" }) {
            return true
        }
        if let failed = runs.first(where: { $0.specification.name == "last" }) {
            world.invariants.fail(.healthyWorkSucceeds, failed.lastError ?? "the last run failed")
        }
        await run(on: world.machines, name: "last")
        return false
    }

    private func run(on machines: [SimulatedMachine], name: String = "now-and-then") async {
        let members = machines.filter { _ in isHealed || dice.value.happens(800) }.map { machine in
            """
            {"node": "\(machine.name)", "role": "compute",
             "hieradata": {"node.yaml": "password: \(Self.secret(of: machine))"}}
            """
        }
        guard !members.isEmpty else { return }
        let body = """
            {"name": "\(name)", "nodes": [\(members.joined(separator: ","))],
             "hieradata": {"common.yaml": "a: 1"}, "manifests": {"site.pp": "notice('x')"},
             "steps": [
              {"number": 1, "manifest": "site.pp", "puppet_seconds": 60},
              {"number": 2, "manifest": "site.pp", "puppet_seconds": 60, "tries": 2,
               "validations": [{"unit_active": "ssh.service", "timeout_seconds": 20}]}]}
            """
        _ = await ask("configures \(machines.map(\.name).joined(separator: " "))") { controller in
            let request = try JSONDecoder().decode(DeploymentRequest.self, from: Data(body.utf8))
            _ = try await controller.runs.create(request)
        }
    }
}
