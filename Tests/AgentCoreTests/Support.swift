import AgentSteps
import AgentSystem
import Basics
import Glibc
import Logging
import Protocol
import Synchronization
import Testing
import Transport

@testable import AgentCore

/// The controller's end of a line without any network: answers Hello, hands out commands, remembers what
/// the agent said.
final class TestController: AgentLink {
    struct State {
        var sent: [WireAgentFrame] = []
        var batches: [WireMetricBatch] = []
        var enrolments: [WireEnrolRequest] = []
        var answers: [WireEnrolReply.OneOf_Outcome] = []
        var session: [UInt8] = []
        var sequence: UInt64 = 0
        var opened = 0
        var storesResults = true
    }

    let events = Inbox<AgentLinkEvent>(countMax: 256, overflow: .refuseNewest)
    private let state: Mutex<State>

    /// Refuses with the given codes, then admits.
    init(refusals: [WireRefused.Code] = []) {
        var state = State()
        state.answers = refusals.map { code in
            var refused = WireRefused()
            refused.code = code
            refused.reason = "because"
            return .refused(refused)
        }
        self.state = Mutex(state)
    }

    /// Asks for proofs, then admits.
    ///
    /// `tags`: whether `AssetTag` may be used, by the number of the answer.
    init(challenges: [[UInt8]], tags: [Bool] = []) {
        var state = State()
        state.answers = challenges.enumerated().map { number, challenge in
            var refused = WireRefused()
            refused.code = .fingerprint
            refused.challenge.append(contentsOf: challenge)
            refused.assetTag = number < tags.count && tags[number]
            return .refused(refused)
        }
        self.state = Mutex(state)
    }

    func enrol(_ request: WireEnrolRequest) async throws -> WireEnrolReply {
        state.withLock { state in
            state.enrolments.append(request)
            var reply = WireEnrolReply()
            reply.exchange = request.exchange
            if state.answers.isEmpty {
                reply.admitted.version = 1
                reply.admitted.node = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
                reply.admitted.certificateAuthority = "PEM"
            } else {
                reply.outcome = state.answers.removeFirst()
            }
            return reply
        }
    }

    func open() {
        state.withLock { $0.opened += 1 }
        events.push(.connected)
    }

    func send(_ frame: WireAgentFrame) -> Bool {
        let isStored = state.withLock { state in
            state.sent.append(frame)
            state.session = Array(frame.session)
            return state.storesResults
        }
        switch frame.body {
        case .hello:
            var welcome = WireWelcome()
            welcome.helloSequence = frame.sequence
            welcome.metricSeconds = 1
            welcome.heartbeatSeconds = 1
            push(.welcome(welcome))
        case .result(let result):
            guard isStored else { break }
            var stored = WireResultStored()
            stored.command = result.command
            stored.attempt = result.attempt
            push(.resultStored(stored))
        default: break
        }
        return true
    }

    func push(_ batch: WireMetricBatch) { state.withLock { $0.batches.append(batch) } }

    func close() async { events.finish() }

    /// Sends a frame to the agent.
    func push(_ body: WireControllerFrame.OneOf_Body) {
        let frame = state.withLock { state in
            state.sequence += 1
            var frame = WireControllerFrame()
            frame.version = 1
            frame.session.append(contentsOf: state.session)
            frame.sequence = state.sequence
            frame.body = body
            return frame
        }
        events.push(.frame(frame))
    }

    /// The line breaks and comes back.
    func interrupt() {
        events.push(.disconnected)
        events.push(.connected)
    }

    func read<Value: Sendable>(_ path: KeyPath<State, Value>) -> Value {
        state.withLock { $0[keyPath: path] }
    }

    func storeResults(_ stores: Bool) { state.withLock { $0.storesResults = stores } }

    func results(of command: String) -> [WireCommandResult] {
        read(\.sent).compactMap { frame in
            guard case .result(let result) = frame.body, result.command == command else {
                return nil
            }
            return result
        }
    }

    func acceptances(of command: String) -> Int {
        read(\.sent).count { frame in
            if case .accepted(let accepted) = frame.body {
                accepted.command == command
            } else {
                false
            }
        }
    }

    func progress() -> [WireProgress] {
        read(\.sent).compactMap {
            if case .progress(let progress) = $0.body { progress } else { nil }
        }
    }

    func lines() -> [String] {
        read(\.sent).flatMap { frame -> [String] in
            if case .logLines(let lines) = frame.body { lines.lines } else { [] }
        }
    }

    var isLive: Bool { read(\.sent).contains { if case .hello = $0.body { true } else { false } } }
}

/// A step that a test steers.
final class TestStep: StepRunner {
    /// What the step does.
    enum Behaviour: Sendable {
        case succeed
        case fail(StepFailure)
        case waitForCancellation
        case talk(progress: Int, lines: Int)
    }

    private let state: Mutex<(behaviour: Behaviour, runs: [String])>

    init(_ behaviour: Behaviour = .succeed) { state = Mutex((behaviour, [])) }

    var runs: [String] { state.withLock { $0.runs } }

    func become(_ behaviour: Behaviour) { state.withLock { $0.behaviour = behaviour } }

    func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let behaviour = state.withLock { state in
            state.runs.append(command.id)
            return state.behaviour
        }
        switch behaviour {
        case .succeed: break
        case .fail(let failure): throw failure
        case .waitForCancellation:
            report.log(["waiting"])
            try await SystemTime().sleep(for: .seconds(600))
        case .talk(let progress, let lines):
            for number in 0..<max(progress, lines) {
                if number < progress {
                    report.progress(StepProgress(phase: "write", doneBytes: UInt64(number + 1)))
                }
                if number < lines { report.log(["line \(number)"]) }
            }
        }
        var inventory = WireInventory()
        inventory.hostname = context.node
        return .inventory(inventory)
    }
}

/// A power switch that only remembers.
final class TestPower: PowerSwitch {
    private let pressed = Mutex<[Bool]>([])

    var presses: [Bool] { pressed.withLock { $0 } }

    func restart(powerOff: Bool) throws { pressed.withLock { $0.append(powerOff) } }
}

/// A running agent with everything around it.
struct Bench {
    let controller: TestController
    let step: TestStep
    let power = TestPower()
    let journal: any OutcomeJournal

    init(
        _ behaviour: TestStep.Behaviour = .succeed,
        refusals: [WireRefused.Code] = [],
        journal: any OutcomeJournal = MemoryJournal()
    ) {
        controller = TestController(refusals: refusals)
        step = TestStep(behaviour)
        self.journal = journal
    }
}

extension Bench {
    func command(_ number: Int, attempt: UInt64 = 1, budgetSeconds: UInt32 = 60) -> WireCommand {
        var command = WireCommand()
        command.id = Self.id(number)
        command.node = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
        command.attempt = attempt
        command.budgetSeconds = budgetSeconds
        command.inspect = WireInspect()
        return command
    }

    static func id(_ number: Int) -> String { "00000000-0000-4000-8000-00000000000\(number)" }
}

/// Runs an agent on a bench while `body` steers it.
func withAgent(
    _ bench: Bench,
    kept: Admission? = nil,
    link: (any AgentLink)? = nil,
    _ body: () async throws -> Void
) async throws {
    let tree = FileTree(root: "/nonexistent")
    var steps = StepTable()
    steps.inspect = bench.step
    steps.restart = RestartMachine()
    let agent = Agent(
        applicant: Applicant(
            role: .ramdisk,
            token: Secret(bytes: [UInt8](repeating: 7, count: 32)),
            bootMAC: "52:54:00:c0:00:01",
            agentVersion: "test"
        ),
        link: link ?? bench.controller,
        machine: Machine(
            tree: tree,
            disks: SystemBlockDevices(tree: tree),
            network: SystemNetwork(tree: tree),
            firmware: SystemFirmware(tree: tree)
        ),
        journal: bench.journal,
        steps: steps,
        power: bench.power,
        duties: AgentDuties(takeTime: { _ in }, admitted: { _ in }),
        random: SystemRandom(),
        time: SystemTime(),
        log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            do {
                try await agent.run(kept: kept)
            } catch is CancellationError {}
        }
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body())
        } catch {
            outcome = .failure(error)
        }
        group.cancelAll()
        try await group.waitForAll()
        try outcome.get()
    }
}

/// Waits until something is true.
/// - Throws: `TimeBudgetExceeded` after twenty seconds.
func until(_ what: String, _ condition: @escaping @Sendable () -> Bool) async throws {
    try await withBudget(.seconds(20), for: what, on: SystemTime()) {
        while !condition() { try await SystemTime().sleep(for: .milliseconds(10)) }
    }
}
