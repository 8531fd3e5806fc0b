import Basics
import CLinux
import Glibc
import Protocol

/// A program to run: an argument vector, never a line for a shell.
package struct ProcessRequest: Sendable {
    /// Absolute path, or a name that is looked up in `searchPath`.
    package var program: String
    package var arguments: [String]
    /// The whole environment; nothing is inherited.
    package var environment: [String: String]
    package var input: [UInt8]
    package var directory: String?
    /// The process group is killed when it takes longer.
    package var budget: Duration
    /// Bytes kept of each output stream; more is read and thrown away, the newest is kept.
    package var outputBytesMax: Int
    /// What it left running when it ended goes on, as with a daemon; otherwise it is killed.
    package var keepsChildren: Bool
    /// Called with each line of both output streams as it comes, from the process's own thread.
    package var onLine: (@Sendable (String) -> Void)?

    package init(
        _ program: String,
        _ arguments: [String] = [],
        environment: [String: String] = ProcessRequest.plainEnvironment,
        input: [UInt8] = [],
        directory: String? = nil,
        budget: Duration,
        outputBytesMax: Int = 1 << 20,
        keepsChildren: Bool = false,
        onLine: (@Sendable (String) -> Void)? = nil
    ) {
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.input = input
        self.directory = directory
        self.budget = budget
        self.outputBytesMax = outputBytesMax
        self.keepsChildren = keepsChildren
        self.onLine = onLine
    }

    /// Directories where programs are looked for.
    package static let searchPath = [
        "/opt/puppetlabs/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
        "/sbin",
        "/bin",
    ]

    /// A search path, a home and the C locale.
    package static let plainEnvironment = [
        "PATH": searchPath.joined(separator: ":"), "HOME": "/root", "LC_ALL": "C.UTF-8",
    ]
}

/// How a process ended and what it wrote.
package struct ProcessResult: Sendable {
    /// How a process can end.
    package enum Ending: Sendable, Equatable {
        case exited(Int32)
        case signalled(Int32)
    }

    package var ending: Ending
    package var output: [UInt8]
    package var errorOutput: [UInt8]

    package init(ending: Ending, output: [UInt8] = [], errorOutput: [UInt8] = []) {
        self.ending = ending
        self.output = output
        self.errorOutput = errorOutput
    }

    /// Exit code, or 128 + the signal's number as shells count.
    package var exitCode: Int32 {
        switch ending {
        case .exited(let code): code
        case .signalled(let number): 128 + number
        }
    }

    package var succeeded: Bool { ending == .exited(0) }
    package var outputText: String { trimmed(output) }
    package var errorText: String { trimmed(errorOutput) }
}

/// Runs other programs.
package protocol ProcessRunner: Sendable {
    /// Runs a program to its end, or kills its process group when the budget is used up or the task is
    /// cancelled.
    /// - Throws: `Fault` of kind `notFound` when there is no such program, `timeout` when it was killed
    ///   for taking too long; `CancellationError`; `SystemFailure` when it cannot be started.
    func run(_ request: ProcessRequest) async throws -> ProcessResult

    /// The absolute path of a program, or `nil`.
    func locate(_ program: String) -> String?
}

/// The kernel's processes.
///
/// Each has a thread of its own here, which waits for it.
package struct SystemProcesses: ProcessRunner {
    private let graceMilliseconds: Int32

    /// - Parameter grace: from the request to end (SIGTERM) to the end by force (SIGKILL).
    package init(grace: Duration = .seconds(3)) {
        graceMilliseconds = Int32(clamping: grace.wholeNanoseconds / 1_000_000)
        // A program that does not read its input must not end us.
        signal(SIGPIPE, SIG_IGN)
    }

    package func locate(_ program: String) -> String? {
        let candidates =
            program.hasPrefix("/")
            ? [program] : ProcessRequest.searchPath.map { "\($0)/\(program)" }
        return candidates.first { access($0, X_OK) == 0 }
    }

    package func run(_ request: ProcessRequest) async throws -> ProcessResult {
        guard let path = locate(request.program) else {
            throw Fault(
                .notFound,
                "cannot run \(request.program): there is no such program; install it in the image"
            )
        }
        let cancellation = try CancellationSignal()
        let grace = graceMilliseconds
        return try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await withCheckedThrowingContinuation { continuation in
                startThread(name: "process") {
                    let outcome = Result {
                        var child = try Child(path: path, request: request, grace: grace)
                        return try child.watch(until: cancellation)
                    }
                    continuation.resume(with: outcome)
                }
            }
        } onCancel: {
            cancellation.send()
        }
    }
}

/// Wakes a thread that waits in `poll`.
private final class CancellationSignal: Sendable {
    let file: Int32

    init() throws { file = try SystemFailure.check(rdo_eventfd(), "make an event descriptor") }

    deinit { close(file) }

    func send() {
        var one: UInt64 = 1
        _ = write(file, &one, 8)
    }
}

/// One running process, owned by the thread that watches it.
private struct Child: ~Copyable {
    private enum Stop { case timeout, cancelled }

    private let request: ProcessRequest
    private let graceMilliseconds: Int32
    private let pid: pid_t
    private let pidFile: Int32
    private var input: Int32
    private var inputSent = 0
    private var output: OutputCollector
    private var errors: OutputCollector
    private var stop: Stop?
    private var ended = false

    init(path: String, request: ProcessRequest, grace: Int32) throws {
        self.request = request
        graceMilliseconds = grace
        let inPipe = try Pipe()
        let outPipe = try Pipe()
        let errPipe = try Pipe()
        pid = try Child.spawn(path, request, inPipe.reader, outPipe.writer, errPipe.writer)
        pidFile = rdo_pidfd(pid)
        input = inPipe.takeWriter()
        output = OutputCollector(outPipe.takeReader(), max: request.outputBytesMax, request.onLine)
        errors = OutputCollector(errPipe.takeReader(), max: request.outputBytesMax, request.onLine)
        _ = fcntl(input, F_SETFL, O_NONBLOCK)
        if request.input.isEmpty { closeInput() }
    }

    deinit {
        if input >= 0 { close(input) }
        if pidFile >= 0 { close(pidFile) }
    }

    private static func spawn(
        _ path: String,
        _ request: ProcessRequest,
        _ input: Int32,
        _ output: Int32,
        _ errors: Int32
    ) throws -> pid_t {
        var arguments = ([path] + request.arguments).map { strdup($0) }
        var environment =
            request.environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") }
        defer { (arguments + environment).forEach { free($0) } }
        arguments.append(nil)
        environment.append(nil)
        return try SystemFailure.check(
            rdo_spawn(path, arguments, environment, request.directory, input, output, errors),
            "start \(path)"
        )
    }

    /// Reads both outputs until the process has ended, stopping it when told or out of time.
    mutating func watch(until cancellation: CancellationSignal) throws -> ProcessResult {
        var deadline = monotonicMilliseconds() + request.budget.wholeNanoseconds / 1_000_000
        var forced = false
        while !ended {
            wait(cancellation, until: deadline, observeCancellation: stop == nil)
            let late = monotonicMilliseconds() >= deadline
            let cancelled = stop == nil && cancellation.isSent
            if !ended, stop == nil, late || cancelled {
                stop = cancelled ? .cancelled : .timeout
                kill(-pid, SIGTERM)
                deadline = monotonicMilliseconds() + Int64(graceMilliseconds)
            } else if !ended, late, !forced {
                kill(-pid, SIGKILL)
                forced = true
                deadline = .max
            }
        }
        // The process is gone; whatever it left in its group goes too, unless it may stay.
        let status = reap()
        output.finish()
        errors.finish()
        switch stop {
        case .cancelled: throw CancellationError()
        case .timeout:
            throw Fault(
                .timeout,
                "cannot finish \(request.program) within \(request.budget): it was stopped; "
                    + "see its last lines in the log",
                detail: String(decoding: errors.kept.suffix(2048), as: UTF8.self)
            )
        case nil: break
        }
        let ending: ProcessResult.Ending =
            status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
        return ProcessResult(ending: ending, output: output.kept, errorOutput: errors.kept)
    }

    private mutating func wait(
        _ cancellation: CancellationSignal,
        until deadline: Int64,
        observeCancellation: Bool
    ) {
        var files = [
            pollfd(fd: pidFile, events: Int16(POLLIN), revents: 0),
            pollfd(fd: output.file, events: Int16(POLLIN), revents: 0),
            pollfd(fd: errors.file, events: Int16(POLLIN), revents: 0),
            pollfd(fd: input, events: Int16(POLLOUT), revents: 0),
            pollfd(
                fd: observeCancellation ? cancellation.file : -1,
                events: Int16(POLLIN),
                revents: 0
            ),
        ]
        // Without a pid descriptor (kernels before 5.3) the end is looked for ten times a second.
        let longest: Int64 = pidFile >= 0 ? 60_000 : 100
        let left = deadline == .max ? longest : deadline - monotonicMilliseconds()
        _ = poll(&files, UInt(files.count), Int32(max(0, min(left, longest))))
        if files[1].revents != 0 { output.read() }
        if files[2].revents != 0 { errors.read() }
        if files[3].revents != 0 { feed() }
        var information = siginfo_t()
        if waitid(P_PID, id_t(pid), &information, WEXITED | WNOHANG | WNOWAIT) == 0 {
            ended = information.si_signo == SIGCHLD
        } else {
            ended = errno != EINTR
        }
    }

    private mutating func feed() {
        let count = request.input[inputSent...].withUnsafeBytes {
            write(input, $0.baseAddress, min($0.count, 65_536))
        }
        if count > 0 { inputSent += count }
        let refused = count < 0 && errno != EAGAIN && errno != EINTR
        if refused || inputSent == request.input.count { closeInput() }
    }

    private mutating func closeInput() {
        close(input)
        input = -1
    }

    private mutating func reap() -> Int32 {
        if !request.keepsChildren { kill(-pid, SIGKILL) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status
    }
}

extension CancellationSignal {
    fileprivate var isSent: Bool {
        var value: UInt64 = 0
        return read(file, &value, 8) == 8
    }
}

/// One output stream: the newest bytes are kept, lines are passed on.
private struct OutputCollector {
    private(set) var file: Int32
    private(set) var kept: [UInt8] = []
    private let bytesMax: Int
    private let onLine: (@Sendable (String) -> Void)?
    private var line: [UInt8] = []

    /// A line longer than this is passed on in pieces.
    private static let lineBytesMax = 4096

    init(_ file: Int32, max: Int, _ onLine: (@Sendable (String) -> Void)?) {
        self.file = file
        bytesMax = max
        self.onLine = onLine
        _ = fcntl(file, F_SETFL, O_NONBLOCK)
    }

    /// Takes what is there; closes the stream at its end.
    /// - Returns: whether there may be more.
    @discardableResult
    mutating func read() -> Bool {
        guard file >= 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 16_384)
        let count = Glibc.read(file, &buffer, buffer.count)
        if count < 0, errno == EAGAIN || errno == EINTR { return false }
        guard count > 0 else {
            end()
            return false
        }
        keep(buffer[..<count])
        return true
    }

    /// Takes what the pipe still holds (a pipe's size at most) and closes it.
    mutating func finish() {
        var rest = 64
        while rest > 0, read() { rest -= 1 }
        end()
    }

    private mutating func end() {
        guard file >= 0 else { return }
        close(file)
        file = -1
        if !line.isEmpty { pass() }
    }

    private mutating func keep(_ bytes: ArraySlice<UInt8>) {
        kept += bytes
        // Cut rarely, so that a talkative program does not make us copy all the time.
        if kept.count > 2 * bytesMax { kept.removeFirst(kept.count - bytesMax) }
        guard onLine != nil else { return }
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                pass()
            } else {
                line.append(byte)
                if line.count >= Self.lineBytesMax { pass() }
            }
        }
    }

    private mutating func pass() {
        onLine?(String(decoding: line, as: UTF8.self))
        line.removeAll(keepingCapacity: true)
    }
}

/// A pipe whose ends are closed unless taken.
private final class Pipe {
    private(set) var reader: Int32
    private(set) var writer: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        try SystemFailure.check(rdo_pipe(&ends), "make a pipe")
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        if reader >= 0 { close(reader) }
        if writer >= 0 { close(writer) }
    }

    func takeReader() -> Int32 {
        defer { reader = -1 }
        return reader
    }

    func takeWriter() -> Int32 {
        defer { writer = -1 }
        return writer
    }
}

/// Milliseconds of a clock that never jumps.
func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
