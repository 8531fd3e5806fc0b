import Agents
import Basics
import Boot
import HTTP
import Logging
import Power
import Protocol
import Rights
import Store
import Synchronization
@testable import Baremetal

/// The area under test with a simulated world around it.
struct Bench {
    let world = SimulatedWorld()
    let database: Database
    let service: NodesService
    var reconciler: NodeReconciler
    let policy: NodeBootPolicy
    let bulk: BulkService
    let trail = Trail()
    let feed = ChangeFeed()

    init(
        settings edit: (inout BaremetalSettings) -> Void = { _ in },
        database existing: Database? = nil,
        images: any ImageSource = SimulatedImages()
    ) throws {
        var settings = BaremetalSettings(
            imageURL: "https://192.0.2.1:6385",
            controller: BootFragment.Controller(address: "192.0.2.1", curveKey: "key"),
            hostName: "undercloud"
        )
        settings.powerPoll = .zero
        edit(&settings)
        database =
            try existing
            ?? Database(path: nil, migrations: baremetalMigrations, feed: feed)
        var ipmi = NodeDriver(name: "ipmi", power: world, hasAgent: true, needsBMC: true)
        ipmi.sensors = MemoryRecords()
        ipmi.eventLog = MemoryRecords()
        ipmi.network = MemoryRecords()
        service = NodesService(
            database: database,
            sealer: Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32))),
            images: images,
            drivers: [ipmi, .fake(), .manual(), .redfish(in: world)],
            queue: NodeQueue(),
            settings: settings,
            time: world.time,
            random: SeededRandom(seed: 7),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        reconciler = NodeReconciler(service: service, agents: world, keys: world)
        policy = NodeBootPolicy(service: service, keys: world)
        bulk = BulkService(nodes: service, audit: trail, rights: Tokens())
    }

    /// Registers a machine with its port.
    func register(_ name: String = "c0", number: UInt8 = 1) async throws -> NodeID {
        let text = "52:54:00:c0:00:" + (number < 16 ? "0" : "") + String(number, radix: 16)
        guard let mac = MACAddress(text) else { throw Fault(.invalid, "no MAC") }
        let node = try await service.create(id: nil, driver: "ipmi", by: nil) { node in
            node.name = name
            // The simulated BMC knows its machine by the user's name.
            node.driverInfo = DriverInfo(
                fields: ["ipmi_address": "192.0.2.201", "ipmi_username": .string("bmc\(number)")],
                secrets: ["ipmi_password": Secret("secret")]
            )
        }
        world.machines.withLock {
            $0[node.id] = SimulatedWorld.Machine(
                node: node.id,
                mac: mac,
                number: number
            )
        }
        _ = try await service.createPort(id: nil, node: name, address: mac, by: nil) { _ in }
        return node.id
    }

    /// Works on a node and lets the world go on until the node is in a state that lasts.
    func settle(_ id: NodeID, seconds: Int64 = 20_000) async throws {
        let end = world.time.now + .seconds(seconds)
        while world.time.now < end {
            switch await reconciler.reconcile(id) {
            case .changed: continue
            case .settled:
                if try await service.find(id)?.wait == nil { return }
                world.time.advance(.seconds(4))
            case .wait:
                if let node = try await service.find(id), node.wait == nil,
                    node.powerWish == nil
                {
                    return
                }
                world.time.advance(.seconds(4))
            }
            try await world.advance(id, policy: policy) { result in
                try await reconciler.agentResult(result, from: id, role: .ramdisk)
            }
        }
    }

    func ask(_ wish: ProvisionWish, _ id: NodeID) async throws {
        _ = try await service.request(wish, for: id.text, by: nil)
    }

    /// Takes a node to `available`.
    func makeAvailable(_ id: NodeID) async throws {
        for wish in [ProvisionWish.manage, .inspect, .provide] {
            try await ask(wish, id)
            try await settle(id)
        }
    }

    /// Names the image to install.
    func choose(_ image: String, for id: NodeID) async throws {
        _ = try await service.update(id.text, by: nil) {
            $0.instanceInfo["image_source"] = .string(image)
        }
    }
}

extension Bench {
    /// A node `c0` whose BMC is a double at a port of this host, behind the real driver, which the caller shuts down.
    func redfishNode(
        at port: UInt16,
        pause: Duration
    ) async throws -> (service: NodesService, node: Node, driver: RedfishPower) {
        var settings = RedfishSettings()
        settings.pause = pause
        let driver = RedfishPower(settings: settings, time: SystemTime())
        let service = NodesService(
            database: database,
            sealer: Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32))),
            images: SimulatedImages(),
            drivers: [.redfish(driver)],
            queue: NodeQueue(),
            settings: self.service.settings,
            time: world.time,
            random: SeededRandom(seed: 7),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let node = try await service.create(id: nil, driver: "redfish", by: nil) {
            $0.name = "c0"
            $0.driverInfo = DriverInfo(
                fields: [
                    "redfish_address": .string("http://127.0.0.1:\(port)"),
                    "redfish_username": .string(RedfishDouble.user),
                ],
                secrets: ["redfish_password": Secret(RedfishDouble.password)]
            )
        }
        return (service, node, driver)
    }
}
