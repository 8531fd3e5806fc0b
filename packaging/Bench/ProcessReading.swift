import Basics
import FoundationEssentials
import Glibc
import HostTools
import Protocol

/// What a process and its children have used so far, from `/proc`.
package struct ProcessReading: Sendable {
    /// User and system time, in seconds.
    package var cpuSeconds = 0.0
    /// Resident memory in MB (10⁶ bytes); shared pages count in each process.
    package var residentMB = 0.0
    /// Threads of the process itself.
    package var threads = 0

    /// Reads the process tree under `pid` as it is now.
    package init(of pid: Int32) {
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        for member in Self.tree(of: pid) {
            if let stat = readText("/proc/\(member)/stat"), let end = stat.lastIndex(of: ")") {
                // Fields from the third on: state is 0, utime 11, stime 12.
                let fields = stat[stat.index(after: end)...].split(separator: " ")
                if fields.count > 12, let user = Double(fields[11]),
                    let system = Double(fields[12])
                {
                    cpuSeconds += (user + system) / ticks
                }
            }
            let lines = (readText("/proc/\(member)/status") ?? "").split(separator: "\n")
            if let line = lines.first(where: { $0.hasPrefix("VmRSS:") }),
                let kilobytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
                    .dropFirst().first.flatMap({ Double($0) })
            {
                residentMB += kilobytes * 1024 / 1e6
            }
        }
        // A process that is gone has no threads.
        threads =
            (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task"))?.count ?? 0
    }

    private static func tree(of pid: Int32) -> [Int32] {
        var members = [pid]
        var next = 0
        while next < members.count {
            // Each thread has children of its own. A process that is gone has neither.
            let folder = "/proc/\(members[next])/task"
            let threads = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            for thread in threads.sorted() {
                let words = readText("\(folder)/\(thread)/children") ?? ""
                members += words.split(separator: " ").compactMap { Int32($0) }
            }
            next += 1
        }
        return members
    }
}

/// Takes the time and the server's CPU time of a piece of work.
package struct Stopwatch: Sendable {
    private let pid: Int32
    private let time = SystemTime()
    private let startedAt: Duration
    private let cpuBefore: Double

    /// Starts; `pid` is the server whose CPU time counts.
    package init(_ pid: Int32) {
        self.pid = pid
        cpuBefore = ProcessReading(of: pid).cpuSeconds
        startedAt = SystemTime().elapsed
    }

    /// Seconds since the start.
    package var seconds: Double { (time.elapsed - startedAt).inSeconds }

    /// CPU seconds that the server used since the start; a multiple of 10 ms.
    package var cpuSeconds: Double { ProcessReading(of: pid).cpuSeconds - cpuBefore }
}
