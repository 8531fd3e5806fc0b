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
        let (connection, network) = try readBootFile()
        let interface = try await bootInterface(network?.mac ?? connection.bootMAC)
        let client = DHCPClient(network: live.network, random: live.random, time: live.time) {
            [log] in log.warning("\($0)")
        }
        let lease = try await takeAddress(network, on: interface, client)
        let agent = try makeAgent(connection, bootMAC: interface.mac)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(name: "lease") { [log, live] in
                guard let lease else {
                    // A task that ends would end the role.
                    while true { try await live.time.sleep(for: .seconds(86_400)) }
                }
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

    /// Takes the address that the boot file gives, or asks for one.
    /// - Returns: the lease to be kept; `nil` for an address of its own.
    private func takeAddress(
        _ network: StaticNetwork?,
        on interface: NetworkInterface,
        _ client: DHCPClient
    ) async throws -> DHCPLease? {
        var metadata: Logger.Metadata = [
            LogKey.mac: "\(interface.mac)", LogKey.path: "\(interface.name)",
        ]
        guard let network else {
            log.info("asking for an address", metadata: metadata)
            let lease = try await client.acquire(interface)
            log.notice("address lent", metadata: [LogKey.address: "\(lease.address)"])
            return lease
        }
        let (name, refused) = try live.network.configure(
            network,
            on: interface.name,
            modules: SystemKernelModules()
        )
        metadata[LogKey.address] = "\(network.address)"
        metadata[LogKey.path] = "\(name)"
        log.notice("address set", metadata: metadata)
        for failure in refused { log.warning("\(failure)") }
        return nil
    }

    private func readBootFile() throws -> (ConnectionFile, StaticNetwork?) {
        guard let bytes = live.tree.bytes(bootFile, bytesMax: ConnectionFile.bytesMax + 1) else {
            throw Fault(
                .notFound,
                "cannot read \(bootFile): the boot fragment is missing; boot the machine through "
                    + "the controller"
            )
        }
        return (
            try ConnectionFile(json: bytes, name: bootFile),
            try StaticNetwork(bootFile: bytes, name: bootFile)
        )
    }

    /// The interface that the firmware booted from: by the boot file, by the kernel's command line, or
    /// the first one with a carrier.
    private func bootInterface(_ mac: String) async throws -> NetworkInterface {
        var wanted = mac
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
            prover: MachineProver(
                bmc: KernelBMC(tree: live.tree),
                key: keys.publicKey,
                redfish: SystemHostInterface(
                    tree: live.tree,
                    network: live.network,
                    time: live.time
                )
            )
        )
    }
}
