import Basics
import Logging
import Protocol
import ServiceLifecycle
import Store
import SwiftProtobuf
import Synchronization
import Testing
@testable import Transport

@testable import Agents

/// A clock that moves only when it is told to.
final class ManualTime: TimeSource {
    private struct State {
        var elapsed = Duration.seconds(1000)
        var sleepers: [(until: Duration, inbox: Inbox<Bool>)] = []
    }

    private let state = Mutex(State())

    var now: Timestamp { Timestamp(nanoseconds: 0) + elapsed }
    var elapsed: Duration { state.withLock { $0.elapsed } }

    func sleep(for span: Duration) async throws {
        let inbox = Inbox<Bool>(countMax: 1, overflow: .refuseNewest)
        state.withLock { $0.sleepers.append(($0.elapsed + span, inbox)) }
        guard await inbox.next() != nil else { throw CancellationError() }
    }

    func advance(by span: Duration) {
        let due = state.withLock { state in
            state.elapsed += span
            let now = state.elapsed
            defer { state.sleepers.removeAll { $0.until <= now } }
            return state.sleepers.filter { $0.until <= now }
        }
        for sleeper in due { sleeper.inbox.push(true) }
    }
}

/// Remembers what it was told.
actor Recorder: AgentReports, MetricSink, UnknownMachines {
    enum Answer: Sendable { case stored, notOurs, fails }

    let heard = Inbox<String>(countMax: 4096, overflow: .refuseNewest)
    private var answers: [Answer]
    /// Whose results it was told.
    private(set) var roles: [AgentRole] = []

    init(_ answers: [Answer] = []) { self.answers = answers }

    func agentConnected(_ session: AgentSession) { heard.push("connected \(session.bootID)") }
    func agentLost(_ node: NodeID, role: AgentRole) { heard.push("lost \(role.rawValue)") }
    func agentProgress(_ progress: WireProgress, from node: NodeID, role: AgentRole) {
        heard.push("progress \(progress.text)")
    }
    func agentResult(
        _ result: WireCommandResult,
        from node: NodeID,
        role: AgentRole
    ) throws -> Bool {
        roles.append(role)
        let answer = answers.isEmpty ? .stored : answers.removeFirst()
        heard.push("result \(answer)")
        switch answer {
        case .stored: return true
        case .notOurs: return false
        case .fails: throw Fault(.unavailable, "cannot store: the disk is full")
        }
    }
    func agentLog(_ lines: WireLogLines, from node: NodeID) {
        heard.push("log \(lines.lines.joined(separator: ","))")
    }
    func metrics(_ batch: WireMetricBatch, from node: NodeID) {
        heard.push("metrics \(batch.samples.count)")
    }
    func enrolUnknown(_ request: WireEnrolRequest, address: String) throws -> NodeID {
        guard request.bootMac != "52:54:00:00:00:ff" else {
            throw Fault(.forbidden, "cannot enrol the machine: discovery is closed")
        }
        return nodeC
    }
}

struct Leases: LeaseLookup {
    var table: [String: String]
    /// From where the ramdisk of `nodeA` speaks when it was started from virtual media.
    var placement: AgentPlacement?
    func leasedAddress(of mac: String) async -> String? { table[mac] }
    func placement(of node: NodeID) async throws -> AgentPlacement? {
        node == nodeA ? placement : nil
    }
}

let nodeA = NodeID(unchecked: "00000000-0000-4000-8000-00000000000a")
let nodeC = NodeID(unchecked: "00000000-0000-4000-8000-00000000000c")
let mac = "52:54:00:c0:00:00"
let address = "192.0.2.100"

/// The area on an in-memory database and network.
final class AgentsWorld: Sendable {
    let time = ManualTime()
    let feed = ChangeFeed()
    let database: Database
    let network: InMemoryNetwork
    let link: InMemoryControllerLink
    let registry: AgentRegistry
    let dispatcher: AgentDispatcher
    let recorder: Recorder
    let policy: EnrolmentPolicy
    private let random = SeededRandom(seed: 1)

    init(
        trust: Bool = true,
        proof: ProofPolicy = .offered,
        answers: [Recorder.Answer] = []
    ) throws {
        database = try Database(path: nil, migrations: AgentStore.migrations, feed: feed)
        network = InMemoryNetwork(time: time)
        link = network.makeController()
        registry = AgentRegistry(database: database, link: link, time: time, random: random)
        dispatcher = AgentDispatcher(
            link: link,
            registry: registry,
            time: time,
            logger: Logger(label: "test")
        )
        recorder = Recorder(answers)
        policy = EnrolmentPolicy(
            trustFirstBoot: trust,
            proof: proof,
            certificateAuthority: "PEM",
            timeServers: ["192.0.2.1"]
        )
    }

    var gateway: AgentGateway {
        AgentGateway(
            link: link,
            registry: registry,
            dispatcher: dispatcher,
            policy: policy,
            leases: leases,
            unknown: recorder,
            reports: [recorder],
            sinks: [recorder],
            feed: feed,
            time: time,
            logger: Logger(label: "test")
        )
    }

    private var leases: Leases {
        Leases(table: [
            mac: address, "52:54:00:00:00:ff": address, "52:54:00:00:00:01": "192.0.2.9",
        ])
    }

    /// Runs the gateway around `body`.
    func running(_ body: @escaping @Sendable () async throws -> Void) async throws {
        let gateway = gateway
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await gateway.run()
                return false
            }
            group.addTask {
                try await body()
                return true
            }
            while let finished = try await group.next(), !finished {}
            group.cancelAll()
        }
    }

    /// What enrolment answers, without the loops.
    func enrol(
        _ keys: CurveKeyPair,
        token: [UInt8],
        role: AgentRole = .ramdisk,
        mac: String = mac,
        from address: String = address,
        desk: ProofDesk? = nil,
        placed placement: AgentPlacement? = nil,
        change: (inout WireEnrolRequest) -> Void = { _ in }
    ) async -> WireEnrolReply {
        var leases = leases
        leases.placement = placement
        let enrolment = Enrolment(
            registry: registry,
            leases: leases,
            unknown: recorder,
            policy: policy,
            desk: desk,
            time: time,
            logger: Logger(label: "test")
        )
        var request = request(token: token, role: role, mac: mac)
        change(&request)
        return await enrolment.answer(
            EnrolmentArrival(
                request: request,
                key: keys.publicKey,
                address: address,
                peer: Peer(socket: .enrolment, routingID: [1])
            )
        )
    }

    func request(token: [UInt8], role: AgentRole = .ramdisk, mac: String = mac) -> WireEnrolRequest
    {
        .with {
            $0.versionMin = 1
            $0.versionMax = 1
            $0.exchange.append(5)
            $0.role = role.wire
            $0.token.append(contentsOf: token)
            $0.bootMac = mac
        }
    }

    func token(
        for node: NodeID? = nodeA,
        mac: String? = mac,
        role: AgentRole = .ramdisk,
        attempt: UInt64 = 1,
        validFor span: Duration = .seconds(600)
    ) async throws -> [UInt8] {
        try await registry.issueToken(
            for: node,
            mac: mac,
            role: role,
            attempt: Attempt(attempt),
            validFor: span
        )
    }

    func changes(_ kind: String) async throws -> [Change] {
        try await database.read { try $0.changes(after: 0, kind: kind) }
    }
}

/// The next thing a recorder heard.
func heard(_ recorder: Recorder) async throws -> String {
    try #require(
        try await withBudget(.seconds(15), for: "a report", on: SystemTime()) {
            await recorder.heard.next()
        }
    )
}

/// Waits until a condition holds.
func eventually(_ subject: String, _ holds: @escaping @Sendable () async throws -> Bool)
    async throws
{
    let time = SystemTime()
    try await withBudget(.seconds(15), for: subject, on: time) {
        while try await !holds() { try await time.sleep(for: .milliseconds(5)) }
    }
}
