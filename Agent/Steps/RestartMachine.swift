package import Protocol

/// Agrees to restart or to power off.
///
/// The session does it once the controller has stored this outcome: the other way round the outcome
/// would be lost with the machine's memory.
package struct RestartMachine: StepRunner {
    package init() {}

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        .restarting(WireRestarting())
    }
}
