import AgentCore
import AgentSteps
import AgentSystem
import Basics
import Glibc
import Logging
import Protocol
import Transport

/// The agent of the discovery and deploy ramdisk.
///
/// Everything it knows is gone with the machine's memory.
struct RamdiskRole {
    /// Drivers of slow cards may take this long to show their interfaces.
    private static let interfaceAppearsWithin = Duration.seconds(120)

    private let bootFile: String
    private let log: Logger
    private let live = Live()

    init(bootFile: String, log: Logger) {
        self.bootFile = bootFile
        self.log = log
    }

    /// Gets an address, then enrols and obeys until the machine restarts.
    func run() async throws {
        let connection = try readBootFile()
        let interface = try await bootInterface(connection)
        let client = DHCPClient(network: live.network, random: live.random, time: live.time) {
            [log] in log.warning("\($0)")
        }
        log.info(
            "asking for an address",
            metadata: [LogKey.mac: "\(interface.mac)", LogKey.path: "\(interface.name)"]
        )
        let lease = try await client.acquire(interface)
        log.notice("address lent", metadata: [LogKey.address: "\(lease.address)"])
        let agent = try makeAgent(connection, bootMAC: interface.mac)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(name: "lease") { [log] in
                try await client.keep(lease, on: interface) { lease in
                    log.notice("address changed", metadata: [LogKey.address: "\(lease.address)"])
                }
            }
            group.addTask(name: "agent") { try await agent.run() }
            group.addTask(name: "lldp") { [live] in
                let listener = LLDPListener(network: live.network, time: live.time)
                try await listener.listen(for: .seconds(120), into: live.lldp)
                // A task that ends would end the role.
                while true { try await live.time.sleep(for: .seconds(86_400)) }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func readBootFile() throws -> ConnectionFile {
        guard let bytes = live.tree.bytes(bootFile, bytesMax: ConnectionFile.bytesMax + 1) else {
            throw Fault(
                .notFound,
                "cannot read \(bootFile): the boot fragment is missing; boot the machine through "
                    + "the controller"
            )
        }
        return try ConnectionFile(json: bytes, name: bootFile)
    }

    /// The interface that the firmware booted from: by the boot file, by the kernel's command line, or
    /// the first one with a carrier.
    private func bootInterface(_ connection: ConnectionFile) async throws -> NetworkInterface {
        var wanted = connection.bootMAC
        if wanted.isEmpty { wanted = bootMACOfCommandLine(live.tree.text("/proc/cmdline") ?? "") }
        let end = live.time.elapsed + Self.interfaceAppearsWithin
        var up: Set<String> = []
        while live.time.elapsed < end {
            let interfaces = live.network.interfaces()
            for interface in interfaces where up.insert(interface.name).inserted {
                // An interface that cannot be switched on is of no use; another may be.
                try? live.network.bringUp(interface.name)
            }
            if let found = interfaces.first(where: { $0.mac == wanted }) { return found }
            if wanted.isEmpty, let found = interfaces.first(where: \.hasCarrier) { return found }
            try await live.time.sleep(for: .milliseconds(100))
        }
        throw Fault(
            .notFound,
            "cannot find the boot interface \(wanted): no driver of the ramdisk shows it; build the "
                + "ramdisk with this card's driver"
        )
    }

    private func makeAgent(_ connection: ConnectionFile, bootMAC: String) throws -> Agent {
        let keys = CurveKeyPair()
        return Agent(
            applicant: Applicant(
                role: .ramdisk,
                token: connection.token,
                bootMAC: bootMAC,
                agentVersion: agentVersion
            ),
            link: try live.link(connection, keys: keys),
            machine: live.machine,
            journal: MemoryJournal(),
            steps: live.ramdiskSteps(bootMAC: bootMAC),
            power: KernelPowerSwitch(),
            duties: AgentDuties(
                takeTime: live.timeTaker(tolerance: .milliseconds(500), log: log),
                admitted: { _ in }
            ),
            random: live.random,
            time: live.time,
            log: log,
            prover: MachineProver(bmc: KernelBMC(tree: live.tree), key: keys.publicKey)
        )
    }
}
