package import Protocol
import Glibc

/// Reads the kernel's counters and turns them into samples.
///
/// Names are snake_case with the unit last. Counters (`cumulative`) are passed on as they are; only the
/// CPU's busy ratio needs the reading before, which this value keeps.
package struct Statistics: ~Copyable {
    private let tree: FileTree
    private var cpuBefore: [String: CPUTime] = [:]

    /// Instances of one name at most: a host with a thousand veth devices must not flood the telemetry.
    package static let instancesMax = 64

    /// - Parameter tree: where `/proc` and `/sys` are.
    package init(tree: FileTree = FileTree()) { self.tree = tree }

    /// Takes one reading of everything.
    package mutating func samples(at now: Timestamp) -> [WireSample] {
        var out = SampleList(now: now)
        load(&out)
        cpu(&out)
        memory(&out)
        disks(&out)
        network(&out)
        pressure(&out)
        fileSystems(&out)
        if let uptime = tree.text("/proc/uptime")?.split(separator: " ").first.flatMap({
            Double($0)
        }) {
            out.add("uptime_seconds", uptime)
        }
        return out.samples
    }

    private func load(_ out: inout SampleList) {
        let words = (tree.text("/proc/loadavg") ?? "").split(separator: " ")
        guard words.count >= 4 else { return }
        for (name, word) in zip(["load1", "load5", "load15"], words) {
            if let value = Double(word) { out.add(name, value) }
        }
        let tasks = words[3].split(separator: "/").compactMap { Double($0) }
        if tasks.count == 2 { out.add("tasks_count", tasks[1]) }
    }

    private mutating func cpu(_ out: inout SampleList) {
        var readings: [String: CPUTime] = [:]
        for line in (tree.text("/proc/stat") ?? "").split(separator: "\n") {
            guard line.hasPrefix("cpu"), let (name, time) = CPUTime.parse(line) else { continue }
            guard name.isEmpty else { continue }
            readings[name] = time
        }
        for (name, time) in readings.sorted(by: { $0.key < $1.key }) {
            if let before = cpuBefore[name], time.total > before.total {
                let span = Double(time.total - before.total)
                out.add("cpu_busy_ratio", Double(time.busy &- before.busy) / span, name)
                out.add("cpu_wait_ratio", Double(time.wait &- before.wait) / span, name)
                out.add("cpu_steal_ratio", Double(time.steal &- before.steal) / span, name)
            }
        }
        cpuBefore = readings
    }

    private func memory(_ out: inout SampleList) {
        let facts = memoryFacts(tree.text("/proc/meminfo") ?? "")
        let names = [
            ("MemTotal", "memory_total_bytes"), ("MemAvailable", "memory_available_bytes"),
            ("MemFree", "memory_free_bytes"), ("Cached", "memory_cached_bytes"),
            ("Dirty", "memory_dirty_bytes"), ("SwapTotal", "swap_total_bytes"),
            ("SwapFree", "swap_free_bytes"),
        ]
        for (fact, name) in names {
            if let bytes = facts[fact] { out.add(name, Double(bytes)) }
        }
    }

    private func disks(_ out: inout SampleList) {
        var count = 0
        for line in (tree.text("/proc/diskstats") ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 14, count < Self.instancesMax else { continue }
            let name = String(words[2])
            guard tree.exists("/sys/class/block/\(name)/device"),
                !tree.exists("/sys/class/block/\(name)/partition")
            else { continue }
            count += 1
            let numbers = words[3...].map { Double($0) ?? 0 }
            out.add("disk_reads_total", numbers[0], name, cumulative: true)
            out.add("disk_read_bytes_total", numbers[2] * 512, name, cumulative: true)
            out.add("disk_writes_total", numbers[4], name, cumulative: true)
            out.add("disk_written_bytes_total", numbers[6] * 512, name, cumulative: true)
            out.add("disk_busy_seconds_total", numbers[9] / 1000, name, cumulative: true)
        }
    }

    private func network(_ out: inout SampleList) {
        var count = 0
        for line in (tree.text("/proc/net/dev") ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, count < Self.instancesMax else { continue }
            let name = trimmed(parts[0].utf8)
            let numbers = parts[1].split(separator: " ").map { Double($0) ?? 0 }
            // An interface that never carried anything says nothing.
            guard name != "lo", numbers.count >= 16, numbers[1] + numbers[9] > 0 else { continue }
            count += 1
            out.add("network_received_bytes_total", numbers[0], name, cumulative: true)
            out.add("network_received_packets_total", numbers[1], name, cumulative: true)
            out.add("network_receive_errors_total", numbers[2] + numbers[3], name, cumulative: true)
            out.add("network_sent_bytes_total", numbers[8], name, cumulative: true)
            out.add("network_sent_packets_total", numbers[9], name, cumulative: true)
            out.add("network_send_errors_total", numbers[10] + numbers[11], name, cumulative: true)
        }
    }

    /// Pressure stall information; absent on kernels without it.
    private func pressure(_ out: inout SampleList) {
        for resource in ["cpu", "memory", "io"] {
            for line in (tree.text("/proc/pressure/\(resource)") ?? "").split(separator: "\n") {
                let words = line.split(separator: " ")
                guard let kind = words.first, kind == "some" || kind == "full" else { continue }
                for word in words.dropFirst() where word.hasPrefix("avg10=") {
                    guard let percent = Double(word.dropFirst(6)) else { continue }
                    out.add("pressure_\(resource)_\(kind)_ratio", percent / 100)
                }
            }
        }
    }

    private func fileSystems(_ out: inout SampleList) {
        let real: Set = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"]
        var seen: Set<String> = []
        for line in (tree.text("/proc/self/mounts") ?? "").split(separator: "\n") {
            guard let mount = Mount(line: line), real.contains(mount.type),
                seen.count < Self.instancesMax, seen.insert(mount.source).inserted
            else { continue }
            var facts = statvfs()
            guard statvfs(tree.path(mount.path), &facts) == 0 else { continue }
            let block = Double(facts.f_frsize)
            out.add("filesystem_size_bytes", Double(facts.f_blocks) * block, mount.path)
            out.add("filesystem_available_bytes", Double(facts.f_bavail) * block, mount.path)
            out.add("filesystem_free_inodes", Double(facts.f_favail), mount.path)
        }
    }
}

/// Samples of one moment.
private struct SampleList {
    let now: Timestamp
    var samples: [WireSample] = []

    mutating func add(
        _ name: String,
        _ value: Double,
        _ instance: String = "",
        cumulative: Bool = false
    ) {
        guard value.isFinite else { return }
        var sample = WireSample()
        sample.name = name
        sample.instance = instance
        sample.timeNanoseconds = now.nanoseconds
        sample.value = value
        sample.cumulative = cumulative
        samples.append(sample)
    }
}

/// Time that a CPU spent, in clock ticks since the start.
package struct CPUTime: Sendable, Equatable {
    package var busy: UInt64
    package var wait: UInt64
    package var steal: UInt64
    package var total: UInt64

    /// Reads a `cpu…` line of `/proc/stat`: the CPU's number (empty for all together) and its times.
    package static func parse(_ line: some StringProtocol) -> (name: String, time: CPUTime)? {
        let words = line.split(separator: " ")
        guard let head = words.first, head.hasPrefix("cpu") else { return nil }
        let ticks = words.dropFirst().compactMap { UInt64($0) }
        // user nice system idle iowait irq softirq steal; guest times are in user already.
        guard ticks.count >= 8, ticks.allSatisfy({ $0 < 1 << 56 }) else { return nil }
        let total = ticks.prefix(8).reduce(0, +)
        let time = CPUTime(
            busy: total - ticks[3] - ticks[4],
            wait: ticks[4],
            steal: ticks[7],
            total: total
        )
        return (String(head.dropFirst(3)), time)
    }
}

/// The lines of `/proc/meminfo` in bytes.
package func memoryFacts(_ text: String) -> [String: UInt64] {
    var facts: [String: UInt64] = [:]
    for line in text.split(separator: "\n") {
        let parts = line.split(separator: ":", maxSplits: 1)
        guard parts.count == 2 else { continue }
        let words = parts[1].split(separator: " ")
        guard let number = words.first.flatMap({ UInt64($0) }), number < 1 << 53 else { continue }
        facts[String(parts[0])] = words.count > 1 && words[1] == "kB" ? number << 10 : number
    }
    return facts
}
