package import Basics
import CHostTools
import Glibc

/// A process that goes on when its starter ends, known by a pid file.
///
/// ```
/// (nothing) ── start ──> running ── stop, kill, own end ──> ended
/// ```
/// The pid file is written before the program runs: a starter that dies half-way leaves either no
/// process or one with a pid file.
package struct BackgroundProcess: Sendable {
    /// What to start and how.
    package struct Request: Sendable {
        /// An absolute path, or a name looked for as `Tool` does.
        package var program: String
        package var arguments: [String]
        /// Where number and start time are kept.
        package var pidFile: String
        /// Gets standard output and standard error, appended; mode 0640.
        package var logFile: String
        /// Added to our own environment.
        package var environment: [String: String] = [:]
        /// The working directory.
        package var directory = "/"
        /// A name that `ip netns` knows; `nil`: our own network.
        package var networkNamespace: String?
        /// The user to become, with its groups (needs root); `nil`: the one we are.
        package var user: String?
        /// At most 16, handed over as descriptors 3, 4, and so on, as `ListeningSocket` tells.
        package var sockets: [ListeningSocket] = []
        /// Added to our own niceness: from 0 to 19.
        package var niceness = 0

        package init(
            _ program: String,
            _ arguments: [String],
            pidFile: String,
            logFile: String
        ) {
            self.program = program
            self.arguments = arguments
            self.pidFile = pidFile
            self.logFile = logFile
        }
    }

    package let identity: ProcessIdentity
    package let pidFile: String

    /// The process a pid file names, whether it still runs or not; `nil` when there is no such file.
    package init?(pidFile: String) {
        guard let text = readText(pidFile), let identity = ProcessIdentity(text: text) else {
            return nil
        }
        self.identity = identity
        self.pidFile = pidFile
    }

    private init(identity: ProcessIdentity, pidFile: String) {
        self.identity = identity
        self.pidFile = pidFile
    }

    /// Whether that very process still runs.
    package var isAlive: Bool { identity.isAlive }

    /// Starts a process in a session of its own, without a terminal and with an empty standard input.
    ///
    /// Returns once the program has been executed; it may still fail in its first moments.
    /// - Throws: `Fault`: `conflict` when the pid file's process runs already, `unavailable` when the
    ///   program, user or namespace is missing.
    package static func start(_ request: Request) throws -> BackgroundProcess {
        if let running = BackgroundProcess(pidFile: request.pidFile), running.isAlive {
            throw Fault(
                .conflict,
                "cannot start \(request.program): it runs already as process \(running.identity.pid)"
            )
        }
        guard let path = Tool.locate(request.program) else { throw Tool.missing(request.program) }
        let log = open(
            request.logFile,
            O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
            0o640
        )
        guard log >= 0 else { throw systemFault("open log \(request.logFile)") }
        defer { close(log) }

        var child = rdo_child()
        let status = try Launch(request, path: path).prepare(output: log, child: &child)
        guard status == 0 else {
            errno = status
            throw systemFault("start \(request.program)")
        }
        guard let identity = ProcessIdentity(pid: child.pid) else {
            rdo_child_abandon(&child)
            throw Fault(
                .internalError,
                "cannot start \(request.program): its process ended at once"
            )
        }
        do {
            try writeText(identity.text, to: request.pidFile)
        } catch {
            rdo_child_abandon(&child)
            throw error
        }
        var step: Int32 = 0
        let failure = rdo_child_release(&child, &step)
        guard failure == 0 else {
            unlink(request.pidFile)
            throw startFault(request, failure: failure, step: step)
        }
        return BackgroundProcess(identity: identity, pidFile: request.pidFile)
    }

    /// Asks the process to end, waits, then kills it with its process group; removes the pid file.
    ///
    /// It may take `patience` to end by itself.
    /// - Throws: `Fault` (`timeout`) when it does not even end 5 s after the kill.
    package func stop(within patience: Duration, time: any TimeSource) async throws {
        identity.send(SIGTERM)
        if try await !ends(within: patience, time: time) {
            identity.send(SIGKILL, group: true)
            guard try await ends(within: .seconds(5), time: time) else {
                throw Fault(
                    .timeout,
                    "cannot stop process \(identity.pid): it did not end within 5 s after its kill"
                )
            }
        }
        unlink(pidFile)
    }

    /// Ends the process at once, as a power cut would, and waits until it is gone.
    /// - Throws: `Fault` (`timeout`) when it is not gone after 5 s.
    package func kill(time: any TimeSource) async throws {
        identity.send(SIGKILL, group: true)
        try await stop(within: .seconds(5), time: time)
    }

    /// Waits for the process's end.
    /// - Returns: false when it still runs after `span`.
    package func ends(within span: Duration, time: any TimeSource) async throws -> Bool {
        let deadline = time.elapsed + span
        while isAlive {
            guard time.elapsed < deadline else { return false }
            try await time.sleep(for: .milliseconds(20))
        }
        return true
    }

    private static func startFault(_ request: Request, failure: Int32, step: Int32) -> Fault {
        let text = strerror(failure).map { String(cString: $0).lowercased() } ?? "error \(failure)"
        let place =
            switch step {
            case 1: "network namespace \(request.networkNamespace ?? "") is not usable"
            case 2: "directory \(request.directory) is not usable"
            case 3: "it cannot become user \(request.user ?? "")"
            case 4: "its descriptors cannot be arranged"
            default: "the system refused it"
            }
        return Fault(.unavailable, "cannot start \(request.program): \(place): \(text)")
    }
}
