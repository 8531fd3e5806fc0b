import Agents
import Basics
import Boot
import FoundationEssentials
import Glibc
import Harness
import HTTP
import HostTools
import Images
import Logging
import Power
import Protocol
import Store
import Testing
import Transport

@testable import Baremetal

/// Machines of QEMU with a BMC inside, OpenIPMI's `ipmi_sim`, that run our ramdisk with a general kernel.
///
/// The controller's half is real from its sockets to `ipmitool`. Only DHCP is QEMU's own.
@Suite(
    .serialized,
    .enabled(if: ProofWorld.ramdisk != nil, "packaging/check builds the ramdisk for servers")
)
struct MachineProofTests {
    @Test func `a machine proves itself through its BMC, without trust and without an operator`()
        async throws
    {
        try await BMCSimulator.run(ProofWorld.commands) { bmc async throws in
            let world = try await ProofWorld()
            let node = try await world.register(bmc)
            try await world.run(node, pluggedInto: bmc) {
                try await eventually("the agent's session", within: ProofWorld.budget) {
                    await world.dispatcher.session(of: node, role: .ramdisk) != nil
                }
            }
            let last = try #require(
                try await world.changes("agent").last { $0.after == "bound" }
            )
            #expect(last.before == "waiting")
            #expect(last.cause.contains("proved itself through its BMC"))
            let events = try await world.power.events(of: world.bmc(bmc), max: 10)
            #expect(events.isEmpty, "the log is tidied up")
        }
    }

    @Test func `a machine that answers from another BMC is refused, and an event says why`()
        async throws
    {
        try await BMCSimulator.run(ProofWorld.commands) { bmc async throws in
            try await BMCSimulator.run(ProofWorld.commands) { other async throws in
                let world = try await ProofWorld()
                let node = try await world.register(bmc)
                try await world.run(node, pluggedInto: other) {
                    try await eventually("the refusal", within: ProofWorld.budget) {
                        try await !world.changes("security").isEmpty
                    }
                }
                let refusal = try #require(try await world.changes("security").first)
                #expect(refusal.after == "refused")
                #expect(refusal.id == node.text)
                #expect(refusal.cause.contains("127.0.0.1:\(bmc.port)"))
                #expect(refusal.cause.contains("the machine has another BMC"))
                #expect(try await world.registry.boundKey(of: node, role: .ramdisk) == nil)
                #expect(await world.dispatcher.session(of: node, role: .ramdisk) == nil)
                let events = try await world.power.events(of: world.bmc(other), max: 10)
                #expect(!events.isEmpty, "the proof stands in the wrong BMC")
            }
        }
    }
}

/// The controller's half of an enrolment, and a machine.
private struct ProofWorld {
    /// A folder with `kernel` and `initrd`, made with `--drivers server`; `TEST_SERVER_RAMDISK`.
    static let ramdisk = getenv("TEST_SERVER_RAMDISK").map { String(cString: $0) }
    /// A whole boot under software emulation.
    static let budget: Duration = .seconds(400)
    private static let mac = "52:54:00:c0:00:01"

    static let commands = """
        mc_setbmc 0x20
        mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
        sel_enable 0x20 1000 0x0a
        mc_enable 0x20

        """

    let time = SystemTime()
    let database: Database
    let registry: AgentRegistry
    let dispatcher: AgentDispatcher
    let power: IPMIPower
    private let link: ZeroMQControllerLink
    private let service: NodesService
    private let gateway: AgentGateway
    private let keys = CurveKeyPair()
    private let folder: TemporaryFolder
    private let ports: (enrolment: UInt16, control: UInt16, telemetry: UInt16)

    init() async throws {
        folder = try TemporaryFolder()
        ports = (try FreePorts.take(), try FreePorts.take(), try FreePorts.take())
        let feed = ChangeFeed()
        let logger = Logger(label: "proof")
        database = try Database(
            path: nil,
            migrations: baremetalMigrations + AgentStore.migrations,
            feed: feed
        )
        link = try await ZeroMQControllerLink(
            ControllerLinkConfiguration(
                address: "127.0.0.1",
                enrolmentPort: ports.enrolment,
                controlPort: ports.control,
                telemetryPort: ports.telemetry,
                streamPort: try FreePorts.take(),
                keys: keys
            ),
            time: time
        )
        registry = AgentRegistry(
            database: database,
            link: link,
            time: time,
            random: SystemRandom()
        )
        dispatcher = AgentDispatcher(link: link, registry: registry, time: time, logger: logger)
        power = IPMIPower(settings: IPMIPower.Settings(), time: time)
        service = NodesService(
            database: database,
            sealer: Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32))),
            images: NoImages(),
            drivers: [.ipmi(power)],
            queue: NodeQueue(),
            settings: BaremetalSettings(
                imageURL: "https://127.0.0.1:6385",
                controller: BootFragment.Controller(
                    address: "10.0.2.2",
                    enrolmentPort: ports.enrolment,
                    controlPort: ports.control,
                    telemetryPort: ports.telemetry,
                    curveKey: keys.publicKey.z85
                ),
                hostName: "undercloud"
            ),
            time: time,
            random: SystemRandom(),
            logger: logger
        )
        let policy = NodeBootPolicy(service: service, keys: registry)
        gateway = AgentGateway(
            link: link,
            registry: registry,
            dispatcher: dispatcher,
            policy: EnrolmentPolicy(trustFirstBoot: false),
            leases: nil,
            unknown: policy,
            proofs: service,
            reports: [],
            sinks: [],
            feed: feed,
            time: time,
            logger: logger
        )
    }

    func bmc(_ simulator: BMCSimulator) -> BMC {
        BMC(
            host: "127.0.0.1",
            port: simulator.port,
            user: BMCSimulator.user,
            password: Secret(BMCSimulator.password),
            cipherSuite: 3
        )
    }

    func changes(_ kind: String) async throws -> [Change] {
        try await database.read { try $0.changes(after: 0, kind: kind) }
    }

    /// A node whose BMC is this one.
    func register(_ simulator: BMCSimulator) async throws -> NodeID {
        try await service.create(id: nil, driver: "ipmi", by: nil) { node in
            node.name = "c0"
            node.driverInfo = DriverInfo(
                fields: [
                    "ipmi_address": "127.0.0.1", "ipmi_port": .integer(Int64(simulator.port)),
                    "ipmi_username": .string(BMCSimulator.user), "ipmi_cipher_suite": 3,
                ],
                secrets: ["ipmi_password": Secret(BMCSimulator.password)]
            )
        }.id
    }

    /// Boots a machine with this BMC inside while the controller's half works and the body waits.
    func run(
        _ node: NodeID,
        pluggedInto simulator: BMCSimulator,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let initrd = try await makeInitrd(node)
        var request = BackgroundProcess.Request(
            "qemu-system-x86_64",
            arguments(initrd, simulator),
            pidFile: folder.path + "/qemu.pid",
            logFile: folder.path + "/qemu.log"
        )
        request.niceness = 5
        let machine = try BackgroundProcess.start(request)
        do {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    try await gateway.work()
                    return false
                }
                group.addTask {
                    try await body()
                    return true
                }
                while let finished = try await group.next(), !finished {}
                group.cancelAll()
            }
        } catch {
            let console = readText(folder.path + "/serial.log") ?? ""
            Issue.record("the machine's console ended with:\n\(console.suffix(3000))")
            try await machine.kill(time: time)
            throw error
        }
        try await machine.kill(time: time)
        await link.close()
    }

    /// Our ramdisk, and the file that tells its agent where the controller is.
    private func makeInitrd(_ node: NodeID) async throws -> String {
        let token = try await registry.issueToken(
            for: node,
            mac: Self.mac,
            role: .ramdisk,
            attempt: Attempt(1),
            validFor: .seconds(3600)
        )
        let boot = """
            {"address": "10.0.2.2", "enrolment_port": \(ports.enrolment), \
            "control_port": \(ports.control), "telemetry_port": \(ports.telemetry), \
            "curve_key": "\(keys.publicKey.z85)", "token": "\(Data(token).base64EncodedString())", \
            "boot_mac": "\(Self.mac)"}
            """
        var archive = BootArchive()
        archive.add("rdo/boot.json", Array(boot.utf8))
        var bytes = try Data(contentsOf: URL(filePath: (Self.ramdisk ?? "") + "/initrd"))
        while bytes.count % 4 != 0 { bytes.append(0) }
        bytes.append(contentsOf: archive.finished())
        let path = folder.path + "/initrd"
        try bytes.write(to: URL(filePath: path))
        return path
    }

    private func arguments(_ initrd: String, _ simulator: BMCSimulator) -> [String] {
        [
            "-name", "proof", "-nodefaults", "-display", "none",
            "-machine", "q35,graphics=off", "-accel", "tcg,thread=multi,tb-size=256",
            "-cpu", "max", "-m", "1024", "-smp", "2",
            "-kernel", (Self.ramdisk ?? "") + "/kernel", "-initrd", initrd,
            "-append", "console=ttyS0",
            "-serial", "file:\(folder.path)/serial.log",
            "-netdev", "user,id=n0",
            "-device", "virtio-net-pci,netdev=n0,mac=\(Self.mac),romfile=",
            "-device", "virtio-rng-pci",
            "-chardev",
            "socket,id=ipmi0,host=127.0.0.1,port=\(simulator.machinePort),reconnect=1",
            "-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi0",
            "-device", "isa-ipmi-kcs,bmc=bmc0",
        ]
    }
}

/// No image is needed to enrol.
private struct NoImages: ImageSource {
    private let fault = Fault(.notFound, "cannot find an image: there is none")

    func image(_ identifierOrName: String) async throws -> Image { throw fault }
    func manifest(of image: ImageID) async throws -> ImagesService.Manifest { throw fault }

    func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) async -> String { "" }
}
