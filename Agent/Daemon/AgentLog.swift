import Basics
import Glibc
import Logging
import Protocol
import Synchronization

/// Where log lines go.
enum LogTarget: Sendable {
    /// The kernel's log, which shows them on every console that the kernel has.
    case kernel
    /// Standard error with systemd's level marks, read by the journal.
    case standardError
}

/// Writes log lines of one format: `agent: message key=value …`.
struct AgentLog: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    private let file: Int32
    private let isKernel: Bool

    /// The kernel cuts a line here.
    private static let lineBytesMax = 900

    /// Makes the program's logger.
    static func make(_ target: LogTarget) -> Logger {
        Logger(label: "agent") { _ in AgentLog(target) }
    }

    private init(_ target: LogTarget) {
        let kernel = target == .kernel ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC) : -1
        isKernel = kernel >= 0
        file = isKernel ? kernel : 2
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        var line = "agent: \(event.message)"
        for (key, value) in all.sorted(by: { $0.key < $1.key }) where value != "" {
            line += " \(key)=\(value)"
        }
        // What others said may be in a line; it must not begin a new one or move the cursor.
        let bytes = line.utf8.prefix(Self.lineBytesMax).map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 }
        write(
            "<\(Self.priority(event.level))>" + String(decoding: bytes, as: UTF8.self) + "\n",
            to: file
        )
    }

    /// The numbers of syslog.
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
    }
}

/// Writes a text to a descriptor; what cannot be written is lost.
func write(_ text: String, to file: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
    }
}

/// Runs what should never end.
///
/// A failure is logged and ends the process: whoever started it (process 1, systemd) starts it
/// again.
func endless(_ log: Logger, _ body: () async throws -> Void) async -> Never {
    do {
        try await body()
        log.error("the agent ended by itself")
    } catch {
        log.error("the agent failed", metadata: [LogKey.error: "\(Fault(error).report)"])
    }
    exit(1)
}
