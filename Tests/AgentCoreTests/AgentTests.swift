import AgentSteps
import Basics
import Protocol
import Testing
import Transport

@testable import AgentCore

struct `The agent` {
    @Test func `enrols with its token, then says Hello`() async throws {
        let bench = Bench()
        let controller = bench.controller
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
        }
        let request = try #require(controller.read(\.enrolments).first)
        #expect(request.token == .init(repeating: 7, count: 32))
        #expect(request.bootMac == "52:54:00:c0:00:01")
        #expect(request.role == .ramdisk)
        #expect(controller.read(\.enrolments).count == 1)
    }

    @Test func `does not enrol when it was admitted before`() async throws {
        let bench = Bench()
        let controller = bench.controller
        let kept = Admission(version: 1, node: "n", certificateAuthority: "", timeServers: [])
        try await withAgent(bench, kept: kept) {
            try await until("Hello") { controller.isLive }
        }
        #expect(controller.read(\.enrolments).isEmpty)
    }

    @Test func `enrols again when its key is refused`() async throws {
        let bench = Bench()
        let controller = bench.controller
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.events.push(.keyRefused)
            try await until("a second enrolment") { controller.read(\.opened) == 2 }
        }
        #expect(controller.read(\.enrolments).count == 2)
    }

    @Test func `runs a command once however often it comes`() async throws {
        let bench = Bench()
        let (controller, step) = (bench.controller, bench.step)
        let command = bench.command(1)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            controller.push(.command(command))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
            controller.push(.command(command))
            try await until("the result again") { controller.results(of: command.id).count >= 2 }
        }
        #expect(step.runs == [command.id])
        let result = try #require(controller.results(of: command.id).first)
        #expect(result.inventory.hostname == "1be26c0b-03f2-4d2e-ae87-c02d7f33c123")
        #expect(Set(controller.results(of: command.id)).count == 1)
        #expect(controller.acceptances(of: command.id) >= 1)
    }

    @Test func `refuses an older attempt`() async throws {
        let bench = Bench()
        let (controller, step) = (bench.controller, bench.step)
        let newer = bench.command(1, attempt: 5)
        let older = bench.command(2, attempt: 4)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(newer))
            try await until("the result") { !controller.results(of: newer.id).isEmpty }
            controller.push(.command(older))
            try await until("the refusal") { !controller.results(of: older.id).isEmpty }
        }
        #expect(step.runs == [newer.id])
        #expect(controller.results(of: older.id)[0].failure.message.contains("out of date"))
    }

    @Test func `goes on with its command when the line breaks`() async throws {
        let bench = Bench(.waitForCancellation)
        let (controller, step) = (bench.controller, bench.step)
        let command = bench.command(1)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the step") { step.runs.count == 1 }
            controller.interrupt()
            try await until("a Hello that names the command") {
                controller.read(\.sent).contains { $0.hello.currentCommand == command.id }
            }
            var cancel = WireCancelCommand()
            cancel.command = command.id
            controller.push(.cancel(cancel))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
        }
        #expect(step.runs == [command.id])
    }

    @Test func `repeats a result that was not stored when the line comes back`() async throws {
        let bench = Bench()
        let (controller, step) = (bench.controller, bench.step)
        let command = bench.command(1)
        controller.storeResults(false)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the result") { controller.results(of: command.id).count == 1 }
            controller.interrupt()
            try await until("the result again") { controller.results(of: command.id).count == 2 }
        }
        #expect(step.runs == [command.id])
    }

    @Test func `stops a command that is cancelled and says so`() async throws {
        let bench = Bench(.waitForCancellation)
        let (controller, step) = (bench.controller, bench.step)
        let command = bench.command(1)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the step") { step.runs.count == 1 }
            var cancel = WireCancelCommand()
            cancel.command = command.id
            controller.push(.cancel(cancel))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
        }
        let failure = controller.results(of: command.id)[0].failure
        #expect(failure.message == "cannot finish the command: it was cancelled")
        #expect(failure.lines == ["waiting"])
    }

    @Test func `stops a command whose budget is used up`() async throws {
        let bench = Bench(.waitForCancellation)
        let controller = bench.controller
        let command = bench.command(1, budgetSeconds: 1)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
        }
        let failure = controller.results(of: command.id)[0].failure
        #expect(failure.message.hasPrefix("cannot finish the command within 1 s"))
        #expect(failure.retryable)
    }

    @Test func `a newer attempt takes the place of the running one`() async throws {
        let bench = Bench(.waitForCancellation)
        let (controller, step) = (bench.controller, bench.step)
        let older = bench.command(1, attempt: 1)
        let newer = bench.command(2, attempt: 2)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(older))
            try await until("the step") { step.runs.count == 1 }
            step.become(.succeed)
            controller.push(.command(newer))
            try await until("the result") { !controller.results(of: newer.id).isEmpty }
        }
        #expect(step.runs == [older.id, newer.id])
        #expect(controller.results(of: older.id).isEmpty)
    }

    @Test func `reports a failure in the step's own words`() async throws {
        let failure = StepFailure("cannot do it", detail: "why", retryable: false, lines: ["a"])
        let bench = Bench(.fail(failure))
        let controller = bench.controller
        let command = bench.command(1)
        try await withAgent(bench) {
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
        }
        let told = controller.results(of: command.id)[0].failure
        #expect(told.message == "cannot do it")
        #expect(told.detail == "why")
        #expect(!told.retryable)
        #expect(told.lines == ["a"])
    }

    @Test func `a command that this role cannot run fails with its name`() async throws {
        let bench = Bench()
        let controller = bench.controller
        var command = bench.command(1)
        command.validate.deployment = "d"
        try await withAgent(bench) { [command] in
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
        }
        #expect(controller.results(of: command.id)[0].failure.message.contains("validate"))
    }

    @Test func `restarts only after the controller has stored the result`() async throws {
        let bench = Bench()
        let (controller, power) = (bench.controller, bench.power)
        controller.storeResults(false)
        var command = bench.command(1)
        command.restart.powerOff = true
        try await withAgent(bench) { [command] in
            try await until("Hello") { controller.isLive }
            controller.push(.command(command))
            try await until("the result") { !controller.results(of: command.id).isEmpty }
            #expect(power.presses.isEmpty)
            var stored = WireResultStored()
            stored.command = command.id
            stored.attempt = command.attempt
            controller.push(.resultStored(stored))
            try await until("the restart") { power.presses == [true] }
        }
    }

    @Test func `a journalled result is repeated after a restart of the agent`() async throws {
        let journal = MemoryJournal()
        var result = WireCommandResult()
        result.command = Bench.id(1)
        result.attempt = 3
        result.erased = WireErasedDisks()
        try journal.save(result)
        let bench = Bench(journal: journal)
        let (controller, step) = (bench.controller, bench.step)
        try await withAgent(bench) {
            try await until("the result") { !controller.results(of: Bench.id(1)).isEmpty }
            controller.push(.command(bench.command(1, attempt: 3)))
            try await until("the result again") { controller.results(of: Bench.id(1)).count >= 2 }
        }
        #expect(step.runs.isEmpty)
        #expect(controller.results(of: Bench.id(1))[0] == result)
    }

    @Test func `streams metrics at the controller's pace`() async throws {
        let bench = Bench()
        let controller = bench.controller
        try await withAgent(bench) {
            try await until("a batch") { controller.read(\.batches).count >= 1 }
        }
        #expect(controller.read(\.batches)[0].version == 1)
    }
}
