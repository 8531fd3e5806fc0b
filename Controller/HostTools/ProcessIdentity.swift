import CHostTools
import Glibc

/// A process that cannot be mistaken for a later one with the same number: its start time is part of it.
package struct ProcessIdentity: Sendable, Hashable {
    /// The process's number in our process namespace.
    package let pid: Int32
    /// When it started, in clock ticks since the machine's start (`/proc/<pid>/stat`, field 22).
    package let startTicks: UInt64
    /// The machine's start (`/proc/sys/kernel/random/boot_id`).
    package let bootID: String

    /// The process that has the number now, or `nil` when there is none or it has ended already.
    package init?(pid: Int32) {
        guard pid > 0, let start = Self.startTicks(of: pid) else { return nil }
        self.pid = pid
        startTicks = start
        bootID = Self.currentBootID
    }

    /// Reads back what `text` wrote.
    package init?(text: String) {
        let fields = text.split(whereSeparator: \.isWhitespace)
        guard fields.count == 3, let pid = Int32(fields[0]), pid > 0, let start = UInt64(fields[1])
        else { return nil }
        self.pid = pid
        startTicks = start
        bootID = String(fields[2])
    }

    /// One line for a pid file: number, start, machine's start.
    package var text: String { "\(pid) \(startTicks) \(bootID)\n" }

    /// Whether that very process still runs.
    ///
    /// An ended child that nobody has waited for does not run.
    package var isAlive: Bool {
        guard bootID == Self.currentBootID else { return false }
        rdo_reap(pid)
        return Self.startTicks(of: pid) == startTicks
    }

    /// Sends a signal, unless the process has ended.
    ///
    /// To its whole `group` only when the process leads one.
    package func send(_ signal: Int32, group: Bool = false) {
        guard isAlive else { return }
        _ = kill(group ? -pid : pid, signal)
    }

    private static let currentBootID =
        (readText("/proc/sys/kernel/random/boot_id") ?? "unknown")
        .split(whereSeparator: \.isWhitespace).first.map(String.init) ?? "unknown"

    private static func startTicks(of pid: Int32) -> UInt64? {
        guard let text = readText("/proc/\(pid)/stat"), let name = text.lastIndex(of: ")") else {
            return nil
        }
        // After the name: state is the first field, the start time the twentieth.
        let fields = text[text.index(after: name)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[19])
    }
}
