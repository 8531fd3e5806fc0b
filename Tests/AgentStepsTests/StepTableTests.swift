import AgentSteps
import Protocol
import Testing

struct `The table of steps` {
    private static let bodies: [WireCommand.OneOf_Body] = [
        .inspect(WireInspect()), .eraseMetadata(WireEraseMetadata()), .eraseDisks(WireEraseDisks()),
        .writeImage(WireWriteImage()), .buildRaid(WireBuildRAID()), .deleteRaid(WireDeleteRAID()),
        .burnInMemory(WireBurnInMemory()),
        .restart(WireRestart()), .applyStep(WireApplyStep()), .validate(WireValidate()),
    ]

    @Test(arguments: bodies.indices)
    func `refuses a command that the role has no step for`(index: Int) async {
        var command = WireCommand()
        command.id = "c1"
        command.body = Self.bodies[index]
        let failure = await #expect(throws: StepFailure.self) {
            try await StepTable().run(command, in: noContext, report: Ear())
        }
        #expect(failure?.retryable == false)
        #expect(failure?.message.hasPrefix("cannot run command c1: this agent has no step") == true)
    }

    @Test func `refuses a command of a newer controller`() async {
        let failure = await #expect(throws: StepFailure.self) {
            try await StepTable().run(WireCommand(), in: noContext, report: Ear())
        }
        #expect(failure?.message.contains("a body that it does not know") == true)
    }

    @Test(arguments: [false, true])
    func `agrees to a restart, which the session makes once that is stored`(
        powerOff: Bool
    ) async throws {
        var steps = StepTable()
        steps.restart = RestartMachine()
        var command = WireCommand()
        command.restart.powerOff = powerOff
        let outcome = try await steps.run(command, in: noContext, report: Ear())
        #expect(outcome == .restarting(WireRestarting()))
    }
}
