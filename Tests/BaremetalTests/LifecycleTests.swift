import Basics
import Protocol
import Testing

@testable import Baremetal

private let start = Timestamp(seconds: 1_800_000_000)
private let order = DeployOrder(
    image: ImageID(random: [UInt8](repeating: 1, count: 16)),
    hasAgent: true
)
private let command = CommandID(random: [UInt8](repeating: 6, count: 16))
private let other = CommandID(random: [UInt8](repeating: 8, count: 16))

private func node(in state: ProvisionState) -> Node {
    var node = Node(id: NodeID(random: [UInt8](repeating: 3, count: 16)), driver: "ipmi", at: start)
    node.state = state
    return node
}

private func job(_ phase: RamdiskJob.Phase, boots: Int = 0, commands: Int = 0) -> RamdiskJob {
    var job = RamdiskJob(at: start)
    job.phase = phase
    job.boots = boots
    job.commands = commands
    return job
}

/// Every phase that a job can be in, those at the end of their tries included.
private let jobs: [RamdiskJob] = [
    job(.boot), job(.boot, boots: 2),
    job(.awaitAgent(poweredAt: start), boots: 1), job(.awaitAgent(poweredAt: start), boots: 2),
    job(.command(id: command, bootID: "b"), boots: 1, commands: 1),
    job(.command(id: command, bootID: "b"), boots: 2, commands: 2),
]

private let installation = Installation(
    image: order.image,
    hasAgent: true,
    device: "/dev/sda",
    attempt: Attempt(1),
    since: start
)

extension NodeStep {
    static let eraseMetadata = made(StepCatalog.all[0])
    static let hold = NodeStep(interface: "deploy", step: "hold", work: .hold)
    static let pause = NodeStep(interface: "deploy", step: "wait", work: .wait)
    static let reboot = power("reboot", .reboot)
    static let burnIn = NodeStep(
        interface: "deploy",
        step: "burnin_memory",
        work: .agent(.burnInMemory)
    )
    static let powerOn = power("power_on", .on)
    static let powerOff = power("power_off", .off)
    /// A driver's step that must not be interrupted.
    static let firmware = NodeStep(
        interface: "firmware",
        step: "update",
        isAbortable: false,
        work: .driver
    )
    /// An agent's step that must not be interrupted.
    static let unsafe = NodeStep(
        interface: "deploy",
        step: "x",
        isAbortable: false,
        work: .agent(.eraseMetadata)
    )

    private static func made(_ step: StepDescription) -> NodeStep {
        step.made(priority: step.clean ?? 0)
    }

    private static func power(_ step: String, _ target: PowerWish.Target) -> NodeStep {
        NodeStep(interface: "power", step: step, work: .power(target))
    }
}

private func plan(_ steps: NodeStep..., automated: Bool = false, ends: Bool = false) -> StepPlan {
    var plan = StepPlan(steps: steps, powerBudget: .seconds(60), isAutomated: automated)
    if ends { plan.endAfterStep() }
    return plan
}

private let automated = plan(.eraseMetadata, automated: true)
private let core = StepPlan(steps: StepCatalog.coreSteps, powerBudget: .seconds(60))

/// A deployment at the given step of a plan.
private func deploy(
    _ stage: DeployJob.Stage,
    _ steps: [NodeStep] = StepCatalog.coreSteps,
    at index: Int = 0,
    ends: Bool = false
) -> DeployJob {
    var plan = StepPlan(steps: steps, powerBudget: .seconds(60))
    for _ in 0..<index { plan.advance() }
    if ends { plan.endAfterStep() }
    var job = DeployJob(order: order, plan: plan, stage: stage)
    job.bootID = index > 0 ? "b" : ""
    job.device = index > 0 ? "/dev/sda" : ""
    job.restart = command
    return job
}

private func deploying(_ stage: DeployJob.Stage, _ steps: [NodeStep], ends: Bool = false)
    -> ProvisionState
{ .deploying(job: deploy(stage, steps + StepCatalog.coreSteps, ends: ends)) }

private func job(_ phase: RamdiskJob.Phase, _ steps: NodeStep...) -> RamdiskJob {
    var job = job(phase, boots: 1, commands: 1)
    job.plan = StepPlan(steps: steps, powerBudget: .seconds(60))
    return job
}

private func service(_ steps: NodeStep...) -> ServiceJob {
    ServiceJob(
        installation: installation,
        plan: StepPlan(steps: steps, powerBudget: .seconds(60)),
        since: start
    )
}

private func service(
    ramdisk phase: RamdiskJob.Phase,
    boots: Int = 1,
    _ steps: NodeStep...
) -> ServiceJob {
    var service = ServiceJob(
        installation: away,
        plan: StepPlan(steps: steps, powerBudget: .seconds(60)),
        since: start
    )
    service.ramdisk = job(phase, boots: boots, commands: 1)
    return service
}

/// The machine may run the ramdisk in its place.
private let away: Installation = {
    var away = installation
    away.mayBeAway = true
    return away
}()

private func returning(_ reason: ServiceJob.Return) -> ServiceJob {
    var job = ServiceJob(
        installation: away,
        plan: StepPlan(steps: [], powerBudget: .zero),
        since: start
    )
    job.returning = reason
    return job
}

/// The states of a service whose steps take the ramdisk.
private let serviceStates: [ProvisionState] = [
    .servicing(job: service(ramdisk: .boot, boots: 0, .burnIn)),
    .servicing(job: service(ramdisk: .awaitAgent(poweredAt: start), .burnIn)),
    .servicing(job: service(ramdisk: .awaitAgent(poweredAt: start), boots: 2, .burnIn)),
    .servicing(job: service(ramdisk: .command(id: command, bootID: "b"), .burnIn)),
    .servicing(job: service(ramdisk: .command(id: command, bootID: "b"), .burnIn, .hold)),
    .servicing(job: service(ramdisk: .command(id: command, bootID: "b"), boots: 2, .burnIn)),
    .servicing(job: service(ramdisk: .command(id: command, bootID: "b"), .burnIn, .reboot)),
    .servicing(job: returning(.done)), .servicing(job: returning(.aborted)),
    .serviceFailed(installation: away),
    .serviceHold(job: ServiceJob(installation: away, plan: plan(.hold), since: start)),
]

private let ramdiskCommand = DeployJob.Stage.ramdisk(
    job(.command(id: command, bootID: "b"), boots: 1, commands: 1)
)

private func job(_ phase: RamdiskJob.Phase, automated plan: StepPlan) -> RamdiskJob {
    var job = job(phase, boots: 1, commands: 1)
    job.plan = plan
    return job
}

/// The states of an operator's own steps, of rescue and of adoption.
private let operatorStates: [ProvisionState] = [
    .adopting(order: order), .adoptFailed,
    .cleaning(job: job(.command(id: command, bootID: "b"), .eraseMetadata)),
    .cleaning(job: job(.command(id: command, bootID: "b"), .eraseMetadata, .hold)),
    .cleaning(job: job(.command(id: command, bootID: "b"), .eraseMetadata, .eraseMetadata)),
    .cleaning(job: job(.boot, .hold)), .cleaning(job: job(.awaitAgent(poweredAt: start), .hold)),
    .cleanHold(job: job(.boot, .hold)), .cleanHold(job: job(.boot, .hold, .hold)),
    .cleanHold(job: job(.boot, .hold, .eraseMetadata)),
    .servicing(job: service(.reboot)), .servicing(job: service(.powerOff, .hold)),
    .servicing(job: service(.powerOff, .powerOn)), .serviceHold(job: service(.hold)),
    .serviceHold(job: service(.hold, .hold)), .serviceHold(job: service(.hold, .reboot)),
    .cleaning(job: job(.step, .reboot)), .cleaning(job: job(.step, .firmware, .hold)),
    .cleaning(job: job(.step, .pause, .eraseMetadata)), .cleaning(job: job(.boot, .firmware)),
    .cleaning(job: job(.step, automated: plan(.reboot, automated: true))),
    .cleaning(job: job(.step, automated: plan(.firmware, ends: true))),
    .cleaning(job: job(.command(id: command, bootID: "b"), .unsafe)),
    .cleaning(job: job(.command(id: command, bootID: "b"), automated: plan(.unsafe, ends: true))),
    .servicing(job: service(.firmware)), .servicing(job: service(.pause)),
    .servicing(
        job: ServiceJob(
            installation: installation,
            plan: plan(.firmware, ends: true),
            since: start
        )
    ),
    .deployHold(job: deploy(.step(since: start), [.hold] + StepCatalog.coreSteps)),
    .deployHold(job: deploy(.step(since: start), [.hold, .hold] + StepCatalog.coreSteps)),
    deploying(.step(since: start), [.firmware]), deploying(.step(since: start), [.pause, .hold]),
    deploying(.step(since: start), [.powerOff]),
    deploying(.step(since: start), [.firmware], ends: true),
    deploying(ramdiskCommand, [.unsafe]), deploying(ramdiskCommand, [.unsafe, .hold]),
    deploying(ramdiskCommand, [.unsafe], ends: true),
    .deploying(job: deploy(.bootDevice(since: start), [StepCatalog.coreSteps[1], .hold])),
    .serviceFailed(installation: installation), .rescuing(installation: installation),
    .rescue(installation: installation), .rescueFailed(installation: installation),
    .unrescuing(installation: installation), .unrescueFailed(installation: installation),
]

/// Every state, with every phase.
private let states: [ProvisionState] =
    [
        .enroll, .verifying, .manageable, .inspectFailed, .cleanFailed, .available, .deployFailed,
        .deleting, .error,
        .active(
            installation: Installation(
                image: order.image,
                hasAgent: true,
                device: "/dev/sda",
                attempt: Attempt(1),
                since: start
            )
        ),
    ]
    + operatorStates + serviceStates + jobs.map { .inspecting(job: $0) }
    + jobs.map { .cleaning(job: automaticJob($0)) }
    + jobs.map { .deploying(job: deploy(.ramdisk($0))) }
    + jobs.map { .rescuing(installation: installation, job: $0) }
    + [
        .deploying(job: deploy(.bootDevice(since: start), at: 1)),
        .deploying(job: deploy(.restart(command: command, since: start), at: 2)),
        .deploying(job: deploy(.awaitInstalled(since: start), at: 2)),
    ]

private func automaticJob(_ job: RamdiskJob) -> RamdiskJob {
    var job = job
    job.plan = automated
    return job
}

private let held = StepPlan(
    steps: [.hold] + StepCatalog.coreSteps,
    powerBudget: .seconds(60)
)

/// Every event, with every kind of data.
private let events: [NodeEvent] =
    [
        NodeWish.manage, .inspect, .provide(automated), .provide(nil), .deploy(order, core),
        .rebuild(order, core), .deploy(order, held), .rebuild(order, held), .delete, .abort,
        .adopt(order),
        .clean(plan(.eraseMetadata), ramdisk: true),
        .clean(plan(.hold), ramdisk: false), .service(plan(.reboot)), .service(plan(.hold)),
        .unhold, .rescue, .unrescue,
    ].map(NodeEvent.wish)
    + [
        NodeFact.bmcVerified, .refused("cannot"), .bootStarted(poweredAt: start),
        .agentReady(bootID: "c", command: other), .agentMissing,
        .commandDone(command, device: "/dev/sda"), .commandDone(other, device: ""),
        .commandFailed(command, message: "no", isRetryable: true),
        .commandFailed(command, message: "no", isRetryable: false),
        .commandFailed(other, message: "no", isRetryable: false),
        .bootDeviceSet(restart: other), .restarted, .installed, .tornDown(automated),
        .tornDown(nil), .budgetExceeded, .stepDone, .rescued, .unrescued,
    ].map(NodeEvent.fact)

@Suite struct LifecycleTests {
    @Test func `the table names every state and every event`() {
        let states = Set(NodeLifecycle.table.flatMap { [$0.from] + $0.to })
        #expect(states == Set(ProvisionState.Name.allCases))
        let names =
            NodeWish.Name.allCases.map(\.rawValue) + NodeFact.Name.allCases.map(\.rawValue)
        #expect(Set(NodeLifecycle.table.map(\.event)) == Set(names))
        #expect(coveredStates == Set(ProvisionState.Name.allCases))
    }

    @Test(arguments: states)
    func `each event leads where the table says or is refused`(state: ProvisionState) {
        for event in events {
            var subject = node(in: state)
            let before = subject
            let targets = NodeLifecycle.targets(of: state.name, on: event.name)
            do throws(InvalidTransition) {
                try subject.apply(event, at: start + .seconds(5))
                #expect(targets != nil, "\(state.name) took \(event.name)")
                if subject.state != before.state {
                    #expect(targets?.contains(subject.state.name) == true)
                }
            } catch {
                #expect(targets == nil, "\(state.name) refused \(event.name)")
                #expect(subject == before)
            }
        }
    }

    @Test func `each target in the table is reached by some event`() {
        for row in NodeLifecycle.table {
            var reached: Set<ProvisionState.Name> = []
            for state in states where state.name == row.from {
                for event in events where event.name == row.event {
                    var subject = node(in: state)
                    try? subject.apply(event, at: start)  // refusals are the other test's matter
                    if subject.state != state { reached.insert(subject.state.name) }
                }
            }
            #expect(reached == Set(row.to), "\(row.from) on \(row.event)")
        }
    }

    @Test(arguments: states)
    func `a state that does not last has a wait with a budget, and one that lasts has none`(
        state: ProvisionState
    ) throws {
        let subject = node(in: state)
        let isWorking = !subject.actions.isEmpty
        #expect((subject.wait != nil) == isWorking)
        let budgets = NodeBudgets()
        #expect((subject.deadline(budgets) != nil) == isWorking)
        guard isWorking else { return }
        var late = subject
        var rounds = 0
        // Nothing is stuck for ever: time alone brings the node out of every working state.
        while late.wait != nil, rounds < 10 {
            try late.apply(.fact(.budgetExceeded), at: start + .seconds(Int64(rounds)))
            rounds += 1
        }
        #expect(late.wait == nil)
        #expect(late.lastError?.hasPrefix("cannot ") == true)
    }

    @Test(arguments: states)
    func `maintenance and lockout leave out what would switch the machine`(state: ProvisionState) {
        var subject = node(in: state)
        subject.setMaintenance(Maintenance(reason: nil, since: start))
        #expect(subject.actions.filter(\.touchesPower).isEmpty)
        subject.setMaintenance(nil)
        subject.powerWish = PowerWish(
            target: .on,
            phase: .ask,
            since: start,
            deadline: start + .seconds(60)
        )
        subject.setLockout(Lockout(reason: "hands inside", user: "kim", since: start))
        #expect(subject.actions.filter(\.touchesPower).isEmpty)
    }

    @Test func `only a node with ramdisk work gets the ramdisk`() {
        for state in states {
            let expected = state.ramdiskJob.map { $0.phase != .step } ?? false
            #expect(node(in: state).expectsRamdisk == expected)
            #expect(!(state.name == .active && expected))
        }
    }

    @Test func `only a rebuild of what runs does not take the ramdisk that was there before`()
        throws
    {
        for (state, since) in [
            (ProvisionState.active(installation: installation), start), (.deployFailed, nil),
        ] as [(ProvisionState, Timestamp?)] {
            var subject = node(in: state)
            try subject.apply(.wish(.rebuild(order, core)), at: start)
            #expect(subject.actions == [.bringUpRamdisk(since: since)])
        }
    }

    @Test func `each wish counts the attempt up and clears the last error`() throws {
        var subject = node(in: .deployFailed)
        subject.lastError = "cannot deploy"
        try subject.apply(.wish(.deploy(order, core)), at: start)
        #expect(subject.attempt == Attempt(1))
        #expect(subject.lastError == nil)
    }

    @Test func `a report for another command or attempt is not expected`() {
        let subject = node(
            in: .cleaning(job: job(.command(id: command, bootID: "b"), .eraseMetadata))
        )
        #expect(subject.expects(command, attempt: subject.attempt))
        #expect(!subject.expects(other, attempt: subject.attempt))
        #expect(!subject.expects(command, attempt: subject.attempt.next))
    }

    @Test func `a retry makes the older command's report out of date`() throws {
        var subject = node(in: .cleaning(job: job(.command(id: command, bootID: "b"), commands: 1)))
        let attempt = subject.attempt
        try subject.apply(
            .fact(.commandFailed(command, message: "a disk is busy", isRetryable: true)),
            at: start
        )
        #expect(subject.attempt > attempt)
        #expect(!subject.expects(command, attempt: attempt))
        #expect(subject.state.ironicName == "cleaning")
    }

    @Test func `a command follows its machine into a later boot`() throws {
        let ramdisk = job(.command(id: command, bootID: "b"), boots: 1, commands: 1)
        let deployment = deploy(.ramdisk(ramdisk))
        var subject = node(in: .deploying(job: deployment))
        let (attempt, deadline) = (subject.attempt, subject.deadline(NodeBudgets()))
        let later = start + .seconds(5)
        try subject.apply(.fact(.agentReady(bootID: "c", command: other)), at: later)
        #expect(subject.state == .deploying(job: deployment))
        try subject.apply(.fact(.agentReady(bootID: "c", command: command)), at: later)
        #expect(subject.expects(command, attempt: attempt))
        #expect(subject.deadline(NodeBudgets()) == deadline)
        try subject.apply(.fact(.commandDone(command, device: "/dev/sda")), at: later)
        guard case .deploying(let written) = subject.state else {
            Issue.record("the node is \(subject.state.ironicName)")
            return
        }
        #expect(written.stage == .bootDevice(since: later))
        #expect(written.bootID == "c")
        #expect(written.device == "/dev/sda")
    }

    @Test func `a step that must not be interrupted ends before an abort does its work`() throws {
        var subject = node(in: .cleaning(job: job(.step, .firmware, .reboot)))
        try subject.apply(.wish(.abort), at: start)
        #expect(subject.state.ironicName == "cleaning")
        #expect(subject.plan?.endsAfterStep == true)
        try subject.apply(.fact(.stepDone), at: start)
        #expect(subject.state == .cleanFailed)
        #expect(subject.lastError?.contains("aborted") == true)
        #expect(subject.powerWish == nil)
    }

    @Test func `an agent's session from before a reboot step does not count`() throws {
        var subject = node(in: .cleaning(job: job(.step, .reboot, .eraseMetadata)))
        let later = start + .seconds(9)
        try subject.apply(.fact(.stepDone), at: later)
        #expect(subject.actions == [.bringUpRamdisk(since: later)])
    }

    @Test func `the diagram stands in the documentation`() throws {
        let source = try sourceText("Controller/Baremetal/ProvisionState.swift")
        let readme = try sourceText("Controller/Baremetal/README.md")
        for line in NodeLifecycle.diagram {
            #expect(source.contains("/// " + line), "ProvisionState lacks: \(line)")
            #expect(readme.contains(line), "README lacks: \(line)")
        }
    }

    @Test func `Ironic's words are used`() {
        for state in states {
            #expect(ProvisionState.ironicNames.contains(state.ironicName))
        }
        #expect(
            ProvisionState.deploying(job: deploy(.awaitInstalled(since: start), at: 2)).ironicName
                == "wait call-back"
        )
        #expect(
            ProvisionState.inspecting(job: job(.awaitAgent(poweredAt: start))).ironicName
                == "inspect wait"
        )
    }
}

/// The names of the states that these tests go through.
private let coveredStates = Set(states.map(\.name))
