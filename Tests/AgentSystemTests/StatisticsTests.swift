import Protocol
import Testing

@testable import AgentSystem

private func tree() throws -> TemporaryTree {
    try TemporaryTree()
        .file("/proc/loadavg", "0.50 1.25 2.00 3/217 4711\n")
        .file("/proc/stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2\nintr 5\n")
        .file(
            "/proc/meminfo",
            "MemTotal:        1000 kB\nMemAvailable:     400 kB\nHugePages_Total:       7\nodd\n"
        )
        .file(
            "/proc/diskstats",
            """
             254       0 vda 10 0 80 5 20 0 160 7 0 1500 12
             254       1 vda1 1 0 8 5 2 0 16 7 0 15 12
               7       0 loop0 1 0 8 5 2 0 16 7 0 15 12
            """
        )
        .directory("/sys/class/block/vda/device")
        .directory("/sys/class/block/vda1/device").file("/sys/class/block/vda1/partition", "1")
        .directory("/sys/class/block/loop0")
        .file(
            "/proc/net/dev",
            """
            Inter-|   Receive                                                |  Transmit
             face |bytes    packets errs drop fifo frame compressed multicast|bytes
                lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0
              ens3: 1000 10 1 2 0 0 0 0 500 5 3 4 0 0 0 0
              idle: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
            """
        )
        .file(
            "/proc/pressure/memory",
            "some avg10=12.50 avg60=0 avg300=0 total=1\nfull avg10=1.00\n"
        )
        .file("/proc/uptime", "123.45 200.00\n")
}

struct `Readings of the counters` {
    private func value(_ samples: [WireSample], _ name: String, _ instance: String = "") -> Double?
    {
        samples.first { $0.name == name && $0.instance == instance }?.value
    }

    @Test func `each figure comes from its file, in base units`() throws {
        let tree = try tree()
        var statistics = Statistics(tree: tree.tree)
        let samples = statistics.samples(at: Timestamp(nanoseconds: 42))
        #expect(samples.allSatisfy { $0.timeNanoseconds == 42 })
        #expect(value(samples, "load5") == 1.25)
        #expect(value(samples, "tasks_count") == 217)
        #expect(value(samples, "memory_total_bytes") == 1_024_000)
        #expect(value(samples, "memory_available_bytes") == 409_600)
        #expect(value(samples, "disk_read_bytes_total", "vda") == 40_960)
        #expect(value(samples, "disk_written_bytes_total", "vda") == 81_920)
        #expect(value(samples, "disk_busy_seconds_total", "vda") == 1.5)
        #expect(value(samples, "network_received_bytes_total", "ens3") == 1000)
        #expect(value(samples, "network_receive_errors_total", "ens3") == 3)
        #expect(value(samples, "network_sent_packets_total", "ens3") == 5)
        #expect(value(samples, "network_send_errors_total", "ens3") == 7)
        #expect(value(samples, "pressure_memory_some_ratio") == 0.125)
        #expect(value(samples, "uptime_seconds") == 123.45)
    }

    @Test func `partitions, loop devices and silent interfaces are left out`() throws {
        let tree = try tree()
        var statistics = Statistics(tree: tree.tree)
        let instances = Set(statistics.samples(at: Timestamp(nanoseconds: 0)).map(\.instance))
        #expect(instances == ["", "vda", "ens3"])
    }

    @Test func `the busy ratio is that of the time between two readings`() throws {
        let tree = try tree()
        var statistics = Statistics(tree: tree.tree)
        let first = statistics.samples(at: Timestamp(nanoseconds: 0))
        #expect(value(first, "cpu_busy_ratio") == nil)
        try tree.file("/proc/stat", "cpu  150 0 120 720 110 0 0 0 0 0\n")
        let second = statistics.samples(at: Timestamp(nanoseconds: 0))
        #expect(value(second, "cpu_busy_ratio") == 0.7)
        #expect(value(second, "cpu_wait_ratio") == 0.1)
    }

    @Test func `an empty tree gives no samples`() throws {
        let empty = try TemporaryTree()
        var statistics = Statistics(tree: empty.tree)
        #expect(statistics.samples(at: Timestamp(nanoseconds: 0)).isEmpty)
    }

    @Test(arguments: [
        "cpu", "cpu 1 2 3", "cpu a b c d e f g h", "cpu -1 2 3 4 5 6 7 8",
        "cpu 99999999999999999999 1 1 1 1 1 1 1", "disk 1 2 3 4 5 6 7 8",
    ])
    func `a line that is no CPU's is refused`(line: String) {
        #expect(CPUTime.parse(line) == nil)
    }

    @Test(arguments: ["", "MemTotal", "MemTotal: many kB", "MemTotal: 99999999999999999 kB"])
    func `a line that is no fact is skipped`(line: String) {
        #expect(memoryFacts(line).isEmpty)
    }

    @Test(arguments: [
        ("Name:\tagent\nVmHWM:\t   56320 kB\nVmRSS:\t 100 kB\n", "55.0 MiB"),
        ("VmRSS: 100 kB\n", "0 B"), ("VmHWM: much kB\n", "0 B"), ("VmHWM:", "0 B"),
    ])
    func `the process's own peak of memory is told`(status: String, text: String) throws {
        let made = try TemporaryTree().file("/proc/self/status", status)
        let machine = Machine(
            tree: made.tree,
            disks: SystemBlockDevices(tree: made.tree),
            network: SystemNetwork(),
            firmware: SystemFirmware(tree: made.tree)
        )
        #expect(machine.ownMemoryPeak().description == text)
    }
}
