package import AgentSteps
package import Basics
package import Protocol
import Transport

/// Why a running command is stopped.
package enum StopReason: Sendable, Equatable {
    /// The controller said so.
    case cancelled
    /// Another attempt takes its place; nobody wants its result.
    case replaced
    /// Its time budget is used up.
    case budget
}

/// One run of one command: the step, its time budget, a way to stop it, and the flow of its reports.
package struct CommandRun: Sendable {
    /// Two reports of progress a second at most.
    package static let reportPause = Duration.milliseconds(500)
    /// Budget of a command that names none.
    package static let budgetDefault = Duration.seconds(3600)

    private enum Event: Sendable {
        case outcome(WireCommandResult.OneOf_Outcome)
        case failed(any Error)
        case stop(StopReason)
        case ended
    }

    private let command: WireCommand
    private let steps: any StepRunner
    private let context: StepContext
    private let time: any TimeSource
    private let stopSignal = Inbox<StopReason>(countMax: 1, overflow: .refuseNewest)
    private let console: CommandConsole

    package init(
        _ command: WireCommand,
        steps: any StepRunner,
        context: StepContext,
        time: any TimeSource
    ) {
        self.command = command
        self.steps = steps
        self.context = context
        self.time = time
        console = CommandConsole(command)
    }

    /// Which command this is.
    package var id: String { command.id }

    /// Asks the step to stop; harmless afterwards or twice.
    package func stop(_ reason: StopReason) { stopSignal.push(reason) }

    /// Runs the step to its end.
    ///
    /// A step that was stopped but reached its end nevertheless counts as done.
    /// - Returns: the result; `nil` when the agent itself is ending.
    package func perform(_ send: @escaping @Sendable (Report) async -> Void) async
        -> WireCommandResult?
    {
        var stopped: StopReason?
        var result = WireCommandResult()
        result.command = command.id
        result.attempt = command.attempt
        if let reason = stopSignal.poll() {
            result.failure = failure(CancellationError(), reason)
            return result
        }
        await withTaskGroup(of: Event.self) { group in
            addTasks(to: &group, send)
            for await event in group {
                switch event {
                case .outcome(let outcome): result.outcome = outcome
                case .failed(let error): result.failure = failure(error, stopped)
                case .stop(let reason): stopped = stopped ?? reason
                case .ended: continue
                }
                group.cancelAll()
            }
        }
        guard result.outcome != nil, !Task.isCancelled else { return nil }
        await flush(send)
        return result
    }

    /// What a run says on its way.
    package enum Report: Sendable {
        case progress(WireProgress)
        case lines(WireLogLines)
    }

    private func addTasks(
        to group: inout TaskGroup<Event>,
        _ send: @escaping @Sendable (Report) async -> Void
    ) {
        group.addTask(name: "step") { [self] in
            do {
                return .outcome(try await steps.run(command, in: context, report: console))
            } catch {
                return .failed(error)
            }
        }
        group.addTask(name: "budget") { [self] in
            let seconds = Int64(command.budgetSeconds)
            let budget = seconds > 0 ? Duration.seconds(seconds) : Self.budgetDefault
            do {
                try await time.sleep(for: budget)
                return .stop(.budget)
            } catch {
                return .ended
            }
        }
        group.addTask(name: "stop") { [self] in
            await stopSignal.next().map { .stop($0) } ?? .ended
        }
        group.addTask(name: "reports") { [self] in
            do {
                while true {
                    try await time.sleep(for: Self.reportPause)
                    await flush(send)
                }
            } catch {
                return .ended
            }
        }
    }

    /// Sends the newest progress and the lines that wait.
    private func flush(_ send: @Sendable (Report) async -> Void) async {
        if let progress = console.takeProgress() { await send(.progress(progress)) }
        while let lines = console.takeLines() { await send(.lines(lines)) }
    }

    private func failure(_ error: any Error, _ stopped: StopReason?) -> WireFailure {
        var failure = WireFailure()
        failure.lines = console.lastLines
        switch (stopped, error) {
        case (.budget, _):
            failure.message =
                "cannot finish the command within \(command.budgetSeconds) s: it was stopped; "
                + "see its last lines, then try again with a larger budget"
            failure.detail = "\(error)"
            failure.retryable = true
        case (.cancelled, _), (.replaced, _):
            failure.message = "cannot finish the command: it was cancelled"
            failure.detail = "\(error)"
            failure.retryable = true
        case (nil, let error as StepFailure):
            failure.message = error.message
            failure.detail = error.detail
            failure.retryable = error.retryable
            if !error.lines.isEmpty {
                failure.lines = Array(error.lines.suffix(CommandConsole.linesPerFrameMax))
            }
        case (nil, _):
            let fault = Fault(error)
            failure.message = fault.kind == .internalError ? "\(error)" : fault.message
            failure.detail = fault.report
            failure.retryable = ![.invalid, .notSupported, .conflict, .notFound].contains(
                fault.kind
            )
        }
        return failure
    }
}
