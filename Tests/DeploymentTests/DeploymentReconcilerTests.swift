import Agents
import Basics
@testable import Deployment
import FoundationEssentials
import Logging
import Protocol
import Store
import Synchronization
import Testing

/// Takes commands as a connected agent would, and remembers them.
private final class RecordingAgents: AgentCommands {
    let sessionName = Mutex("s1")
    let commands = Mutex<[WireCommand]>([])
    let current = Mutex<CommandID?>(nil)
    let cancelled = Mutex<[CommandID]>([])

    func session(of node: NodeID, role: AgentRole) async -> AgentSession? {
        AgentSession(
            node: node,
            role: role,
            session: sessionName.withLock { $0 },
            bootID: "b",
            since: Timestamp(seconds: 0),
            lastHeard: Timestamp(seconds: 0),
            currentCommand: current.withLock { $0 }
        )
    }

    func send(_ command: WireCommand, to node: NodeID, role: AgentRole) async -> Bool {
        commands.withLock { $0.append(command) }
        return true
    }

    func cancel(_ command: CommandID, on node: NodeID, role: AgentRole) async {
        cancelled.withLock { $0.append(command) }
    }

    func take() -> [WireCommand] {
        commands.withLock { commands in
            defer { commands = [] }
            return commands
        }
    }
}

/// Stands for sealing: turns the bytes around, so that a forgotten call is seen.
private struct ReversingSealer: SpecificationSealer {
    func seal(_ bytes: [UInt8], context: String) throws -> [UInt8] { bytes.reversed() }
    func open(_ sealed: [UInt8], context: String) throws -> [UInt8] { sealed.reversed() }
}

private struct Nodes: ConfigurableNodes {
    func activeNode(_ reference: String) async throws -> (id: NodeID, name: String) {
        guard let index = Int(reference.dropFirst()), index < 9 else {
            throw Fault(.notFound, "cannot find node \(reference)")
        }
        return (nodeID(index), reference)
    }
}

private struct World {
    let agents = RecordingAgents()
    let database: Database
    let reconciler: DeploymentReconciler
    let service: DeploymentsService

    init() throws {
        database = try Database(
            path: nil,
            migrations: DeploymentSchema.migrations,
            feed: ChangeFeed()
        )
        reconciler = DeploymentReconciler(
            database: database,
            agents: agents,
            sealer: ReversingSealer(),
            time: SystemTime(),
            logger: Logger(label: "test")
        )
        service = DeploymentsService(
            database: database,
            nodes: Nodes(),
            sealer: ReversingSealer(),
            reconciler: reconciler,
            time: SystemTime(),
            random: SeededRandom(seed: 1)
        )
    }

    func create(nodes: [String] = ["c0", "c1"], name: String = "demo") async throws -> Deployment {
        try await service.create(
            DeploymentRequest(
                name: name,
                nodes: nodes.map { .init(node: $0, role: "r", hieradata: nil) },
                hieradata: ["common.yaml": "secret: 1"],
                hierarchy: nil,
                manifests: ["site.pp": ""],
                steps: [
                    .init(
                        number: 1,
                        name: nil,
                        manifest: "site.pp",
                        roles: nil,
                        tries: 2,
                        puppetSeconds: nil,
                        validations: nil
                    )
                ]
            )
        )
    }

    func answer(_ command: WireCommand, exitCode: UInt32 = 2) async throws -> Bool {
        var result = WireCommandResult()
        result.command = command.id
        result.attempt = command.attempt
        switch command.body {
        case .applyStep: result.stepApplied.exitCode = exitCode
        default: result.validated = WireValidated()
        }
        let node = try #require(NodeID(command.node))
        return try await reconciler.agentResult(result, from: node, role: .overcloud)
    }
}

@Suite struct DeploymentReconcilerTests {
    @Test func `a run is carried to its end by what agents answer`() async throws {
        let world = try World()
        let run = try await world.create()
        await world.reconciler.reconcile(run.id)
        let applies = world.agents.take()
        #expect(applies.map(\.node) == [nodeID(0).text, nodeID(1).text])
        for command in applies { #expect(try await world.answer(command)) }
        await world.reconciler.reconcile(run.id)
        for command in world.agents.take() { #expect(try await world.answer(command)) }
        #expect(try await world.service.deployment(run.id).state == .complete)
    }

    @Test func `what an agent still does for an older run is cancelled first`() async throws {
        let world = try World()
        let run = try await world.create(nodes: ["c0"])
        let old = SeededRandom(seed: 9).identifier(CommandID.self)
        world.agents.current.withLock { $0 = old }
        await world.reconciler.reconcile(run.id)
        #expect(world.agents.take().isEmpty)
        #expect(world.agents.cancelled.withLock { $0 } == [old])
        world.agents.current.withLock { $0 = nil }
        await world.reconciler.reconcile(run.id)
        #expect(world.agents.take().count == 1)
    }

    @Test func `a command is sent once per session and again to a new one`() async throws {
        let world = try World()
        let run = try await world.create(nodes: ["c0"])
        await world.reconciler.reconcile(run.id)
        await world.reconciler.reconcile(run.id)
        let first = world.agents.take()
        #expect(first.count == 1)
        world.agents.sessionName.withLock { $0 = "s2" }
        await world.reconciler.reconcile(run.id)
        #expect(world.agents.take() == first, "the same command, so that the agent knows it")
    }

    @Test func `after a restart the same commands are computed again`() async throws {
        let world = try World()
        let run = try await world.create()
        await world.reconciler.reconcile(run.id)
        let before = world.agents.take()
        let restarted = DeploymentReconciler(
            database: world.database,
            agents: world.agents,
            sealer: ReversingSealer(),
            time: SystemTime(),
            logger: Logger(label: "test")
        )
        await restarted.reconcile(run.id)
        #expect(world.agents.take() == before)
    }

    @Test func `a result that nobody waits for changes nothing`() async throws {
        let world = try World()
        let run = try await world.create(nodes: ["c0"])
        await world.reconciler.reconcile(run.id)
        let command = try #require(world.agents.take().first)
        var stale = command
        stale.attempt -= 1
        #expect(try await world.answer(stale), "out of date: the agent may forget it")
        var foreign = command
        foreign.node = nodeID(5).text
        #expect(try await !world.answer(foreign))
        #expect(try await world.service.deployment(run.id).records == run.records)
    }

    @Test func `a failed Puppet run shows the resource and resumes with mended files`() async throws
    {
        let world = try World()
        let run = try await world.create(nodes: ["c0"])
        await world.reconciler.reconcile(run.id)
        let command = try #require(world.agents.take().first)
        var result = WireCommandResult()
        result.command = command.id
        result.attempt = command.attempt
        var failed = WireFailedResource()
        failed.resource = "Service[httpd]"
        failed.lines = ["could not start"]
        result.stepApplied.exitCode = 6
        result.stepApplied.failed = [failed]
        #expect(try await world.reconciler.agentResult(result, from: nodeID(0), role: .overcloud))
        let stopped = try await world.service.deployment(run.id)
        #expect(stopped.state == .failed)
        #expect(stopped.lastError?.contains("Service[httpd]") == true)
        #expect(
            stopped.records.last?.nodes[nodeID(0)]?.lines
                == ["Service[httpd]:", "could not start"]
        )
        let correction = DeploymentResumeRequest(
            hieradata: ["common.yaml": "secret: 2"],
            manifests: nil,
            nodes: nil
        )
        let resumed = try await world.service.resume(run.id, with: correction)
        #expect(resumed.attempt > run.attempt)
        await world.reconciler.reconcile(run.id)
        let again = try #require(world.agents.take().first)
        #expect(again.id != command.id)
        #expect(again.applyStep.hieradata["common.yaml"] == Data("secret: 2".utf8))
    }

    @Test func `a node takes part in one running deployment at a time`() async throws {
        let world = try World()
        let first = try await world.create()
        await #expect(throws: Fault.self) { try await world.create(nodes: ["c1"], name: "other") }
        _ = try await world.service.cancel(first.id)
        let second = try await world.create(nodes: ["c1"], name: "other")
        #expect(second.attempt > first.attempt)
        await #expect(throws: Fault.self) {
            try await world.service.resume(
                first.id,
                with: .init(hieradata: nil, manifests: nil, nodes: nil)
            )
        }
    }

    @Test func `the change feed tells each step and answers never show Hiera data`() async throws {
        let world = try World()
        let run = try await world.create(nodes: ["c0"])
        await world.reconciler.reconcile(run.id)
        for command in world.agents.take() { _ = try await world.answer(command) }
        await world.reconciler.reconcile(run.id)
        for command in world.agents.take() { _ = try await world.answer(command) }
        let changes = try await world.database.read {
            try $0.changes(after: 0, kind: "deployment", id: run.id.text)
        }
        #expect(changes.first?.after == "running step 1")
        #expect(changes.last?.after == "complete")
        let shown = DeploymentDocument(try await world.service.deployment(run.id))
        #expect(!"\(shown)".contains("secret"))
    }
}
