import Protocol
import Testing

@testable import Deployment

/// A specification of two steps on the given nodes, with one validation each.
func specification(
    nodes: Int = 2,
    tries: Int = 3,
    roles: [String] = ["controller", "compute"]
) -> DeploymentSpecification {
    let members = (0..<nodes).map { index in
        DeploymentSpecification.Member(
            node: nodeID(index),
            name: "c\(index)",
            role: roles[index % roles.count],
            hieradata: [:]
        )
    }
    let check = DeploymentSpecification.Validation(
        name: "port",
        check: .tcpPort(host: "127.0.0.1", port: 22),
        timeoutSeconds: 10,
        roles: []
    )
    let steps = [1, 2].map { number in
        DeploymentSpecification.Step(
            number: UInt32(number),
            name: "step \(number)",
            manifest: "site.pp",
            roles: [],
            triesMax: tries,
            puppetSecondsMax: 60,
            validations: [check]
        )
    }
    return DeploymentSpecification(
        name: "demo",
        members: members,
        hieradata: ["common.yaml": "a: 1"],
        hierarchy: ["node", "role", "common"],
        manifests: ["site.pp": "notice('x')"],
        steps: steps
    )
}

func nodeID(_ index: Int) -> NodeID {
    NodeID(random: Array(repeating: UInt8(index + 1), count: 16))
}

private let start = Timestamp(seconds: 1_000_000)

private func makeRun(nodes: Int = 2, tries: Int = 3) -> Deployment {
    Deployment(
        id: DeploymentID(random: Array(repeating: 9, count: 16)),
        specification: specification(nodes: nodes, tries: tries),
        attempt: Attempt(7),
        at: start
    )
}

private func applied(_ index: Int, tries: Int = 1, attempt: UInt64 = 7) -> DeploymentEvent {
    .applied(
        node: nodeID(index),
        tries: tries,
        attempt: Attempt(attempt),
        changedResources: 2
    )
}

private func validated(
    _ index: Int,
    tries: Int = 1,
    failures: [String] = []
) -> DeploymentEvent {
    .validated(node: nodeID(index), tries: tries, attempt: Attempt(7), failures: failures)
}

@Suite struct DeploymentLifecycleTests {
    @Test func `no node is validated before all nodes of the step have applied`() throws {
        var run = makeRun()
        try run.apply(applied(0), at: start)
        #expect(run.actions == [.applyStep(node: nodeID(1), step: 0, tries: 1)])
        try run.apply(applied(1), at: start)
        #expect(
            run.actions == [
                .validate(node: nodeID(0), step: 0, tries: 1),
                .validate(node: nodeID(1), step: 0, tries: 1),
            ]
        )
    }

    @Test func `the next step begins when every node passed and the run ends after the last`()
        throws
    {
        var run = makeRun()
        for step in 0..<2 {
            #expect(run.stepIndex == step)
            for node in 0..<2 { try run.apply(applied(node), at: start) }
            for node in 0..<2 { try run.apply(validated(node), at: start) }
        }
        #expect(run.state == .complete)
        #expect(run.actions.isEmpty)
        #expect(run.records.map(\.number) == [1, 2])
    }

    @Test func `a failed validation runs Puppet again until the tries are used up`() throws {
        var run = makeRun(nodes: 1, tries: 2)
        try run.apply(applied(0), at: start)
        try run.apply(validated(0, failures: ["port: refused"]), at: start)
        #expect(run.actions == [.applyStep(node: nodeID(0), step: 0, tries: 2)])
        try run.apply(applied(0, tries: 2), at: start)
        try run.apply(validated(0, tries: 2, failures: ["port: refused"]), at: start)
        #expect(run.state == .failed)
        #expect(run.lastError?.contains("node c0: 1 validations failed after 2 tries") == true)
        #expect(run.records.last?.nodes[nodeID(0)]?.lines == ["port: refused"])
    }

    @Test func `a Puppet failure stops the run in its step once the other nodes are still`() throws
    {
        var run = makeRun()
        try run.apply(
            .applyFailed(
                node: nodeID(0),
                tries: 1,
                attempt: Attempt(7),
                message: "exit code 6",
                lines: ["File[/x]: denied"]
            ),
            at: start
        )
        #expect(run.state == .running, "the other node still applies")
        try run.apply(applied(1), at: start)
        #expect(run.state == .failed)
        #expect(run.stepIndex == 0)
        #expect(run.lastError?.contains("step 1 (step 1) of deployment demo: node c0") == true)
    }

    @Test func `resume repeats only what had not passed, under a new attempt`() throws {
        var run = makeRun()
        for node in 0..<2 { try run.apply(applied(node), at: start) }
        try run.apply(validated(0), at: start)
        try run.apply(.cancelRequested, at: start)
        #expect(run.state == .cancelled)
        try run.apply(.resumeRequested(attempt: Attempt(8)), at: start)
        #expect(run.actions == [.applyStep(node: nodeID(1), step: 0, tries: 1)])
        try run.apply(applied(1, attempt: 7), at: start)
        #expect(run.records.last?.nodes[nodeID(1)]?.phase == .applying, "attempt 7 is over")
        try run.apply(applied(1, attempt: 8), at: start)
        #expect(run.actions == [.validate(node: nodeID(1), step: 0, tries: 1)])
    }

    @Test func `a node that never answers fails with its budget`() throws {
        var run = makeRun(nodes: 1)
        let deadline = try #require(run.nextDeadline)
        #expect(deadline == start + .seconds(60 + Deployment.graceSeconds))
        try run.apply(.timePassed, at: deadline - .seconds(1))
        #expect(run.state == .running)
        try run.apply(.timePassed, at: deadline)
        #expect(run.state == .failed)
        #expect(run.lastError?.contains("no result of Puppet came within 180 s") == true)
    }

    @Test(arguments: [Deployment.State.running, .complete, .failed, .cancelled])
    func `resume and cancel are refused where they make no sense`(state: Deployment.State) throws {
        var run = makeRun()
        run.state = state
        let before = run
        let resumes = state == .failed || state == .cancelled
        if !resumes {
            #expect(throws: InvalidDeploymentTransition.self) {
                try run.apply(.resumeRequested(attempt: Attempt(8)), at: start)
            }
            #expect(run == before)
        }
        if state != .running {
            #expect(throws: InvalidDeploymentTransition.self) {
                try run.apply(.cancelRequested, at: start)
            }
            #expect(run == before)
        }
    }

    @Test func `the same action is the same command, another try is another`() {
        let run = makeRun()
        let action = DeploymentAction.applyStep(node: nodeID(0), step: 0, tries: 1)
        #expect(run.command(for: action) == run.command(for: action))
        let again = DeploymentAction.applyStep(node: nodeID(0), step: 0, tries: 2)
        #expect(run.command(for: action).id != run.command(for: again).id)
        #expect(run.command(for: action).applyStep.hierarchy == ["node", "controller", "common"])
    }
}

@Suite struct DeploymentSpecificationTests {
    @Test func `a good specification has no problems`() {
        #expect(specification().problems().isEmpty)
    }

    @Test(
        arguments: [
            ("../../etc/passwd", "never a path"), (".hidden", "never a path"), ("", "never a path"),
        ])
    func `file names that are paths are refused`(name: String, problem: String) {
        var wanted = specification()
        wanted.hieradata[name] = "x: 1"
        #expect(wanted.problems().contains { $0.contains(problem) })
    }

    @Test func `steps must grow, name a manifest and select somebody`() {
        var wanted = specification()
        wanted.steps[1].number = 1
        wanted.steps[0].manifest = "missing.pp"
        wanted.steps[1].roles = ["nobody"]
        let problems = wanted.problems().joined(separator: "\n")
        #expect(problems.contains("numbers must grow"))
        #expect(problems.contains("“missing.pp”, which is not among the manifests"))
        #expect(problems.contains("no node has a role of step 1"))
    }

    @Test func `a specification that does not fit one message is refused`() {
        var wanted = specification()
        wanted.hieradata["big.yaml"] = String(repeating: "x", count: 4 << 20)
        #expect(wanted.problems().contains { $0.contains("the most is") })
    }
}
