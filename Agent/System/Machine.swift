import Basics
package import Protocol
import Synchronization

/// What an agent says about its machine when it enrols.
package struct MachineFacts: Sendable, Equatable {
    /// Lower case with colons, sorted.
    package var macs: [String]
    /// Lower case; empty when the firmware has none.
    package var systemUUID: String
    /// Empty without a BMC.
    package var bmcAddress: String

    package init(macs: [String] = [], systemUUID: String = "", bmcAddress: String = "") {
        self.macs = macs
        self.systemUUID = systemUUID
        self.bmcAddress = bmcAddress
    }
}

/// Looks at the machine on a thread of its own: firmware and BMCs take their time.
package actor Machine {
    private nonisolated let executor: any SerialExecutor
    private let tree: FileTree
    private let network: any Network
    private let firmware: any Firmware
    private let collector: InventoryCollector
    private var statistics: Statistics
    private var firmwareFacts: (uuid: String, bmc: String)?

    nonisolated package var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// Looks through these; `executor` runs what blocks.
    package init(
        tree: FileTree,
        disks: any BlockDevices,
        network: any Network,
        firmware: any Firmware,
        executor: any SerialExecutor = OwnThread(name: "machine")
    ) {
        self.executor = executor
        self.tree = tree
        self.network = network
        self.firmware = firmware
        collector = InventoryCollector(
            tree: tree,
            disks: disks,
            network: network,
            firmware: firmware
        )
        statistics = Statistics(tree: tree)
    }

    /// What enrolment needs; the firmware is asked once.
    package func facts() -> MachineFacts {
        let known =
            firmwareFacts ?? (firmware.description().systemUUID, firmware.bmcAddresses().ipv4)
        firmwareFacts = known
        return MachineFacts(
            macs: network.interfaces().map(\.mac).sorted(),
            systemUUID: known.uuid,
            bmcAddress: known.bmc
        )
    }

    /// The whole inventory; see `InventoryCollector.collect`.
    package func inventory(bootMAC: String, lldp: [String: [LLDPEntry]]) -> WireInventory {
        collector.collect(bootMAC: bootMAC, lldp: lldp)
    }

    /// One reading of all counters.
    package func samples(at now: Timestamp) -> [WireSample] { statistics.samples(at: now) }

    /// Whether the processor says that it is a virtual machine's.
    nonisolated package func isVirtual() -> Bool {
        (tree.text("/proc/cpuinfo") ?? "").split(separator: "\n").contains { line in
            line.hasPrefix("flags") && line.split(separator: " ").contains("hypervisor")
        }
    }

    /// Seconds since the kernel started; 0 when it does not say.
    nonisolated package func uptimeSeconds() -> Double {
        let words = tree.text("/proc/uptime")?.split(separator: " ")
        return words?.first.flatMap { Double($0) } ?? 0
    }

    /// The largest resident memory that this process has had; zero when the kernel does not say.
    nonisolated package func ownMemoryPeak() -> ByteCount {
        let lines = tree.text("/proc/self/status")?.split(separator: "\n") ?? []
        let line = lines.first { $0.hasPrefix("VmHWM:") }
        let words = line?.split { $0 == " " || $0 == "\t" } ?? []
        return ByteCount.kibibytes(words.dropFirst().first.flatMap { Int64($0) } ?? 0)
    }

    /// The kernel's name for this boot; empty when it does not say.
    nonisolated package func bootID() -> String {
        tree.text("/proc/sys/kernel/random/boot_id") ?? ""
    }
}

/// Remembers what switches said since the agent started, so that an inspection need not wait for it.
package final class LLDPMemory: Sendable {
    private let heard = Mutex<[String: [LLDPEntry]]>([:])

    package init() {}

    /// Entries by interface name.
    package var entries: [String: [LLDPEntry]] { heard.withLock { $0 } }

    /// Keeps what an interface heard.
    package func keep(_ entries: [LLDPEntry], of interface: String) {
        heard.withLock { $0[interface] = entries }
    }
}
