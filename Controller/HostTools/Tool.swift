package import Basics
import Glibc
import Subprocess
import SystemPackage

/// What a program said and how it ended.
package struct ToolResult: Sendable {
    /// The exit code; 128 + the signal's number when a signal ended the program.
    package let exitCode: Int32
    /// Standard output as UTF-8; bytes that are none become U+FFFD.
    package let output: String
    /// The last 64 KiB of standard error.
    package let errorOutput: String

    package init(exitCode: Int32, output: String, errorOutput: String) {
        self.exitCode = exitCode
        self.output = output
        self.errorOutput = errorOutput
    }

    /// The last lines that are worth showing: of standard error, or of output when that is silent.
    package var lastWords: String {
        let text = errorOutput.contains { !$0.isWhitespace } ? errorOutput : output
        let lines = text.split(whereSeparator: \.isNewline).suffix(3)
        return String(lines.joined(separator: "; ").suffix(600))
    }
}

/// Runs programs of the host: an argument vector, never a shell; a time budget; bounded output.
package struct Tool: Sendable {
    private static let errorOutputMax = 64 << 10
    private static let systemDirectories = [
        "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
    ]

    /// Runs a program, in a session of its own and with `LC_ALL=C`, and waits for its end.
    ///
    /// When the budget is used up, the task is cancelled or the output passes its limit, the program and
    /// everything it started in its process group are killed. A descendant that outlives the program is
    /// not waited for.
    ///
    /// `program` is an absolute path, or a name looked for in `PATH` and the system's directories;
    /// `environment` is added to our own. Secrets belong there or in `input`, never in `arguments`.
    /// - Throws: `Fault` when the program is missing, cannot be started, says too much (`tooLarge`) or
    ///   takes too long (`timeout`); `CancellationError`. A non-zero exit code is no error.
    package static func run(
        _ program: String,
        _ arguments: [String],
        environment: [String: String]? = nil,
        input: [UInt8] = [],
        directory: String? = nil,
        budget: Duration,
        outputMax: Int = 1 << 20,
        time: any TimeSource
    ) async throws -> ToolResult {
        guard let path = locate(program) else { throw missing(program) }
        let name = shortName(program)
        let variables = childEnvironment(adding: environment)
        do {
            return try await bounded(budget, for: name, on: time) {
                try await execute(
                    path: path,
                    arguments: arguments,
                    environment: variables,
                    input: input,
                    directory: directory,
                    outputMax: outputMax
                )
            }
        } catch let late as TimeBudgetExceeded {
            throw Fault(
                .timeout,
                "cannot finish \(name): it did not end within \(late.budget) and was killed"
            )
        } catch let error as SubprocessError {
            throw Fault(
                .internalError,
                "cannot start \(name): the system refused it",
                detail: path,
                cause: error
            )
        }
    }

    /// As `run`, but a non-zero exit code is an error too.
    /// - Throws: `Fault` (`internalError`) with the program's last words when it fails.
    @discardableResult
    package static func require(
        _ program: String,
        _ arguments: [String],
        environment: [String: String]? = nil,
        input: [UInt8] = [],
        directory: String? = nil,
        budget: Duration,
        outputMax: Int = 1 << 20,
        time: any TimeSource
    ) async throws -> ToolResult {
        let result = try await run(
            program,
            arguments,
            environment: environment,
            input: input,
            directory: directory,
            budget: budget,
            outputMax: outputMax,
            time: time
        )
        guard result.exitCode == 0 else {
            let name = shortName(program)
            let words = result.lastWords
            throw Fault(
                .internalError,
                "cannot finish \(name): it ended with code \(result.exitCode)"
                    + (words.isEmpty ? "" : ": \(words)"),
                detail: ([name] + arguments).joined(separator: " ")
            )
        }
        return result
    }

    /// The absolute path of a program, or `nil` when there is none that may be executed.
    package static func locate(_ program: String) -> String? {
        if program.contains("/") { return isExecutable(program) ? program : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let directories = path.split(separator: ":").map(String.init).filter { $0.hasPrefix("/") }
        return (directories + systemDirectories).lazy
            .map { "\($0)/\(program)" }
            .first(where: isExecutable)
    }
}

extension Tool {
    /// Our own environment with the additions, and messages in English.
    static func childEnvironment(adding additions: [String: String]?) -> [String: String] {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text).split(
                separator: "=",
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            if pair.count == 2, !pair[0].isEmpty { variables[String(pair[0])] = String(pair[1]) }
            entry += 1
        }
        variables["LC_ALL"] = "C"
        return variables.merging(additions ?? [:]) { $1 }
    }

    static func missing(_ program: String) -> Fault {
        Fault(.unavailable, "cannot run \(program): it is not installed on this host")
    }

    private static func shortName(_ program: String) -> String {
        program.split(separator: "/").last.map(String.init) ?? program
    }

    private static func isExecutable(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
            && access(path, X_OK) == 0
    }

    private static func execute(
        path: String,
        arguments: [String],
        environment: [String: String],
        input: [UInt8],
        directory: String?,
        outputMax: Int
    ) async throws -> ToolResult {
        signal(SIGPIPE, SIG_IGN)  // a program may end without reading its input
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .zero)
        ]
        var variables: [Environment.Key: String] = [:]
        for (name, value) in environment { variables[Environment.Key(stringLiteral: name)] = value }
        let result = try await Subprocess.run(
            .path(FilePath(path)),
            arguments: Arguments(arguments),
            environment: .custom(variables),
            workingDirectory: directory.map { FilePath($0) },
            platformOptions: options,
            input: .inputWriter,
            output: .sequence,
            error: .sequence
        ) { execution in
            let writer = execution.standardInputWriter
            async let written: Void = {
                // A program that closes its input early has read what it wants.
                _ = try? await writer.write(input)
                // The descriptor may be gone already, for the same reason.
                try? await writer.finish()
            }()
            async let errorOutput = tail(of: execution.standardError)
            let output = try await head(of: execution.standardOutput, max: outputMax, path: path)
            await written
            return (output, try await errorOutput)
        }
        try Task.checkCancellation()
        let (output, errorOutput) = result.closureResult
        let code: Int32 =
            switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let number): 128 + number
            }
        return ToolResult(
            exitCode: code,
            output: String(decoding: output, as: UTF8.self),
            errorOutput: String(decoding: errorOutput, as: UTF8.self)
        )
    }

    private static func head(
        of sequence: SubprocessOutputSequence,
        max: Int,
        path: String
    ) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in sequence {
            guard bytes.count + buffer.count <= max else {
                throw Fault(
                    .tooLarge,
                    "cannot read the output of \(shortName(path)): it is longer than \(max) bytes"
                )
            }
            buffer.withUnsafeBytes { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    private static func tail(of sequence: SubprocessOutputSequence) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in sequence {
            buffer.withUnsafeBytes { bytes.append(contentsOf: $0) }
            if bytes.count > 2 * errorOutputMax { bytes.removeFirst(bytes.count - errorOutputMax) }
        }
        return Array(bytes.suffix(errorOutputMax))
    }
}

/// `withBudget` on a clock whose type is not known here.
private func bounded<Result: Sendable>(
    _ budget: Duration,
    for subject: String,
    on time: any TimeSource,
    _ operation: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    func run(_ time: some TimeSource) async throws -> Result {
        try await withBudget(budget, for: subject, on: time, operation)
    }
    return try await run(time)
}
