package import Protocol

/// Carries out one command.
///
/// Each command has one implementation of this in a file of its own. A step is idempotent: the same command may arrive again after a crash of the agent, and a second run
/// leaves what the first would have left. It obeys cancellation (`Task.isCancelled`): the session
/// cancels it when its time budget is used up or the controller asks for it.
package protocol StepRunner: Sendable {
    /// Runs the command to its end.
    /// - Throws: `StepFailure` for what people should read; any other error becomes a failure too.
    func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome
}

/// What a step may know about the session that it runs in.
package struct StepContext: Sendable {
    /// The node that the controller says this machine is.
    package let node: String
    /// PEM of the authority that signs the controller's HTTPS endpoints.
    package let certificateAuthority: String
    /// NTP servers for an installed node; may be empty.
    package let timeServers: [String]

    package init(node: String, certificateAuthority: String, timeServers: [String]) {
        self.node = node
        self.certificateAuthority = certificateAuthority
        self.timeServers = timeServers
    }
}

/// Takes what a running step says on its way.
///
/// Calls return at once and may come from any thread.
package protocol StepReporter: Sendable {
    /// Says where the work stands. May be called for every chunk: the session thins it out to two a
    /// second and always sends the last one.
    func progress(_ progress: StepProgress)

    /// Adds lines to the command's console. Long lines are cut at 1 KiB; when too many wait, the oldest
    /// are dropped.
    func log(_ lines: [String])
}

/// Where a step stands.
package struct StepProgress: Sendable, Equatable {
    /// One word: `choose`, `discard`, `verify`, `write`, `read-back`, `puppet` and so on.
    package var phase: String
    package var doneBytes: UInt64
    package var totalBytes: UInt64
    package var bytesPerSecond: Double
    package var text: String

    package init(
        phase: String,
        doneBytes: UInt64 = 0,
        totalBytes: UInt64 = 0,
        bytesPerSecond: Double = 0,
        text: String = ""
    ) {
        self.phase = phase
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
        self.bytesPerSecond = bytesPerSecond
        self.text = text
    }
}

/// Why a step did not do what it was asked to.
package struct StepFailure: Error, Sendable, Equatable {
    /// One sentence for people; begins with “cannot”, names the object and says what to do.
    package var message: String
    /// What only the log shows.
    package var detail: String
    /// False when a second try cannot help.
    package var retryable: Bool
    /// The last lines of the step's console; at most 64 are sent.
    package var lines: [String]

    package init(_ message: String, detail: String = "", retryable: Bool, lines: [String] = []) {
        self.message = message
        self.detail = detail
        self.retryable = retryable
        self.lines = lines
    }
}

/// Hands each command to the step that is made for it.
///
/// A command without one is refused with a report.
package struct StepTable: StepRunner {
    package var inspect: (any StepRunner)?
    package var eraseMetadata: (any StepRunner)?
    package var eraseDisks: (any StepRunner)?
    package var writeImage: (any StepRunner)?
    package var startRescue: (any StepRunner)?
    package var burnInMemory: (any StepRunner)?
    package var buildRAID: (any StepRunner)?
    package var deleteRAID: (any StepRunner)?
    package var restart: (any StepRunner)?
    package var applyStep: (any StepRunner)?
    package var validate: (any StepRunner)?

    package init() {}

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let (name, runner) = row(for: command.body)
        guard let runner else {
            throw StepFailure(
                "cannot run command \(command.id): this agent has no step for \(name); "
                    + "use an agent that has, or send the command to the node's other role",
                retryable: false
            )
        }
        return try await runner.run(command, in: context, report: report)
    }

    private func row(
        for body: WireCommand.OneOf_Body?
    ) -> (name: String, runner: (any StepRunner)?) {
        switch body {
        case .inspect: ("inspect", inspect)
        case .eraseMetadata: ("erase_metadata", eraseMetadata)
        case .eraseDisks: ("erase_disks", eraseDisks)
        case .writeImage: ("write_image", writeImage)
        case .startRescue: ("start_rescue", startRescue)
        case .burnInMemory: ("burn_in_memory", burnInMemory)
        case .buildRaid: ("build_raid", buildRAID)
        case .deleteRaid: ("delete_raid", deleteRAID)
        case .restart: ("restart", restart)
        case .applyStep: ("apply_step", applyStep)
        case .validate: ("validate", validate)
        case nil: ("a body that it does not know", nil)
        }
    }
}
