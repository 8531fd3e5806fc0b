import Basics
import Foundation
import Logging
import Protocol
import Store
import SwiftProtobuf
import Synchronization
import Testing
import Transport

@testable import Agents

/// BMCs with event logs, one per node.
private final class EventLogs: MachineProofs {
    struct State {
        var records: [NodeID: [UInt16: [UInt8]]] = [:]
        var told: [String] = []
        var asked = 0
        var isSilent = false
        var isUnable = false
        var forgotten = 0
        /// Asset tags; a node without one cannot keep any.
        var tags: [NodeID: String] = [:]
        var kept = 0
        var restored = 0
        /// What happens while a BMC is being asked.
        var meanwhile: (@Sendable () async throws -> Void)?
    }

    let state = Mutex(State())

    func check(_ record: UInt16, holds data: [UInt8], of node: NodeID) async -> ProofVerdict {
        let meanwhile = state.withLock { state in
            defer { state.meanwhile = nil }
            return state.meanwhile
        }
        do { try await meanwhile?() } catch { Issue.record(error) }
        return state.withLock { state in
            state.asked += 1
            if state.isSilent { return .later("its BMC does not answer") }
            if state.isUnable { return .impossible("its BMC has no event log") }
            return state.records[node]?[record] == data ? .proven : .refused("another BMC")
        }
    }

    func forget(_ record: UInt16, of node: NodeID) async {
        state.withLock { $0.forgotten += 1 }
    }

    func keepTag(of node: NodeID) async -> Bool {
        state.withLock { state in
            state.kept += 1
            return state.tags[node] != nil
        }
    }

    func check(tag: String, of node: NodeID) async -> ProofVerdict {
        state.withLock { $0.tags[node] == tag ? .proven : .refused("another BMC") }
    }

    func restoreTag(of node: NodeID) async { state.withLock { $0.restored += 1 } }

    func tell(_ sentence: String, of node: NodeID) async throws {
        state.withLock { $0.told.append(sentence) }
    }

    /// What an agent on a machine with this node's BMC writes.
    func write(_ challenge: Data, _ key: CurvePublicKey, at number: UInt16, of node: NodeID) {
        let data = ProofDesk.data(Array(challenge), key)
        state.withLock { $0.records[node, default: [:]][number] = data }
    }
}

struct ProofTests {
    private let logs = EventLogs()
    private let keys = CurveKeyPair()

    private func desk(_ world: AgentsWorld) -> ProofDesk {
        ProofDesk(
            registry: world.registry,
            proofs: logs,
            time: world.time,
            random: SeededRandom(seed: 3),
            logger: Logger(label: "test")
        )
    }

    private func running(
        _ desk: ProofDesk,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await desk.run() }
            try await body()
            group.cancelAll()
        }
    }

    private func proof(_ challenge: Data, _ record: UInt32) -> WireMachineProof {
        .with {
            $0.challenge = challenge
            $0.eventRecord = record
        }
    }

    @Test func `a machine that writes into its node's BMC is let in without an operator`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            #expect(first.code == .fingerprint)
            #expect(first.challenge.count == MachineProof.challengeBytes)
            #expect(first.reason.contains(keys.publicKey.fingerprint))
            logs.write(first.challenge, keys.publicKey, at: 7, of: nodeA)
            try await eventually("the admission") {
                let reply = await world.enrol(keys, token: token, desk: desk) {
                    $0.proof = proof(first.challenge, 7)
                }
                return reply.admitted.node == nodeA.text
            }
        }
        #expect(try await world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
        let last = try #require(try await world.changes("agent").last)
        #expect((last.before, last.after) == ("waiting", "bound"))
        #expect(last.cause.contains("proved itself through its BMC"))
        #expect(logs.state.withLock(\.asked) == 1)
        #expect(logs.state.withLock(\.forgotten) == 1)
    }

    @Test func `a key that goes over to another node while its BMC is asked is not let in there`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        let stolen = try await world.token(for: nodeC)
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            logs.write(first.challenge, keys.publicKey, at: 7, of: nodeA)
            let moved = Mutex<Data?>(nil)
            logs.state.withLock {
                $0.meanwhile = {
                    let reply = await world.enrol(keys, token: stolen, desk: desk)
                    moved.withLock { $0 = reply.refused.challenge }
                }
            }
            _ = await world.enrol(keys, token: token, desk: desk) {
                $0.proof = proof(first.challenge, 7)
            }
            try await eventually("the verdict") { logs.state.withLock(\.asked) == 1 }
            try await eventually("the move") { moved.withLock { $0 != nil } }
            #expect(
                moved.withLock { $0 } != first.challenge,
                "each node has a challenge of its own"
            )
        }
        #expect(try await !world.registry.mayReceiveSecrets(nodeC, role: .ramdisk))
        #expect(try await !world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
    }

    @Test func `a machine that answers from another BMC is refused, with one event that says why`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            logs.write(first.challenge, keys.publicKey, at: 7, of: nodeC)
            for _ in 0..<3 {
                try await eventually("the refusal") {
                    let reply = await world.enrol(keys, token: token, desk: desk) {
                        $0.proof = proof(first.challenge, 7)
                    }
                    #expect(reply.refused.code == .fingerprint)
                    return reply.refused.reason.contains("not the one of its node")
                }
                world.time.advance(by: .seconds(31))
            }
        }
        #expect(try await !world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
        #expect(
            !world.registry.isAdmitted(
                keys.publicKey,
                as: AgentIdentity(node: nodeA, role: .ramdisk)
            )
        )
        let reply = await world.enrol(keys, token: token, desk: desk)
        #expect(!reply.refused.reason.contains("another BMC"), "details are the operator's")
        let events = try await world.changes("security")
        #expect(events.map(\.after) == ["refused"])
        #expect(events.first?.cause.contains("another BMC") == true)
        #expect(logs.state.withLock(\.told).count == 1)
        // An operator who knows better may still take it.
        try await world.registry.accept(fingerprint: keys.publicKey.fingerprint)
        #expect(await world.enrol(keys, token: token, desk: desk).admitted.node == nodeA.text)
    }

    @Test func `a record of another key, of an older challenge or in nobody's log proves nothing`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            logs.write(first.challenge, CurveKeyPair().publicKey, at: 1, of: nodeA)
            let old = Data(repeating: 9, count: MachineProof.challengeBytes)
            logs.write(old, keys.publicKey, at: 2, of: nodeA)
            for record in [UInt32(1), 2, 3] {
                world.time.advance(by: .seconds(31))
                try await eventually("the refusal of record \(record)") {
                    let reply = await world.enrol(keys, token: token, desk: desk) {
                        $0.proof = proof(first.challenge, record)
                    }
                    return reply.refused.reason.contains("not the one of its node")
                }
            }
            let asked = logs.state.withLock(\.asked)
            let replayed = await world.enrol(keys, token: token, desk: desk) {
                $0.proof = proof(old, 2)
            }
            #expect(replayed.refused.challenge == first.challenge, "the fresh one is asked for")
            for number in [UInt32(0x10000), .max] {
                let reply = await world.enrol(keys, token: token, desk: desk) {
                    $0.proof = proof(first.challenge, number)
                }
                #expect(reply.refused.reason.contains("names no record"))
            }
            #expect(logs.state.withLock(\.asked) == asked, "no BMC is asked for these")
        }
    }

    @Test func `a BMC that is silent is asked again, one that cannot is left to an operator`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        logs.state.withLock { $0.isSilent = true }
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            logs.write(first.challenge, keys.publicKey, at: 7, of: nodeA)
            @Sendable func ask() async -> WireEnrolReply {
                await world.enrol(keys, token: token, desk: desk) {
                    $0.proof = proof(first.challenge, 7)
                }
            }
            try await eventually("the silence") {
                await ask().refused.reason.contains("cannot be asked just now")
            }
            logs.state.withLock {
                $0.isSilent = false
                $0.isUnable = true
            }
            #expect(
                await ask().refused.reason.contains("cannot be asked just now"),
                "not asked at once"
            )
            world.time.advance(by: .seconds(11))
            try await eventually("the inability") {
                await ask().refused.reason.contains("cannot tell")
            }
            logs.state.withLock { $0.isUnable = false }
            world.time.advance(by: .seconds(31))
            try await eventually("the admission") { await !ask().admitted.node.isEmpty }
        }
        #expect(try await world.changes("security").isEmpty)
    }

    @Test func `what keeps a machine from proving itself is told`() async throws {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        let first = await world.enrol(keys, token: token, desk: desk).refused
        let reply = await world.enrol(keys, token: token, desk: desk) {
            $0.proof.challenge = first.challenge
            $0.proof.problem = "the kernel found no BMC"
        }
        #expect(reply.refused.reason.contains("the kernel found no BMC"))
        #expect(reply.refused.challenge == first.challenge)
    }

    @Test(arguments: [true, false])
    func `a machine whose BMC shows no records is let in by its AssetTag, and no other`(
        isOwn: Bool
    ) async throws {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        logs.state.withLock {
            $0.isUnable = true
            $0.tags[nodeA] = "rack 7"
        }
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            #expect(!first.assetTag, "what stands there is not kept yet")
            // The claim alone changes nothing where it was not let.
            let early = await world.enrol(keys, token: token, desk: desk) {
                $0.proof = proof(first.challenge, 7)
                $0.proof.assetTag = true
            }
            #expect(early.refused.code == .fingerprint)
            try await eventually("the leave") {
                let reply = await world.enrol(keys, token: token, desk: desk) {
                    $0.proof = proof(first.challenge, 7)
                }
                return reply.refused.assetTag && reply.refused.challenge == first.challenge
            }
            let key = isOwn ? keys.publicKey : CurveKeyPair().publicKey
            let text = MachineProof.tag(ProofDesk.data(Array(first.challenge), key))
            logs.state.withLock { $0.tags[nodeA] = text }
            try await eventually("the verdict") {
                let reply = await world.enrol(keys, token: token, desk: desk) {
                    $0.proof = proof(first.challenge, 7)
                    $0.proof.assetTag = true
                }
                return isOwn
                    ? reply.admitted.node == nodeA.text
                    : reply.refused.reason.contains("not the one of its node")
            }
        }
        #expect(logs.state.withLock(\.kept) == 1)
        #expect(logs.state.withLock(\.restored) == (isOwn ? 1 : 0))
        #expect(try await world.registry.mayReceiveSecrets(nodeA, role: .ramdisk) == isOwn)
        #expect(try await world.changes("security").count == (isOwn ? 0 : 1))
    }

    @Test func `a machine that can write no record may use its AssetTag, if there is one`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let (desk, token) = (desk(world), try await world.token())
        try await running(desk) { [logs, keys] in
            let first = await world.enrol(keys, token: token, desk: desk).refused
            @Sendable func ask() async -> WireRefused {
                await world.enrol(keys, token: token, desk: desk) {
                    $0.proof.challenge = first.challenge
                    $0.proof.problem = "the log is full"
                }.refused
            }
            #expect(await ask().reason.contains("the log is full"))
            try await eventually("the question") { logs.state.withLock(\.kept) == 1 }
            #expect(await !ask().assetTag)
            logs.state.withLock { $0.tags[nodeA] = "" }
            try await eventually("the leave") {
                world.time.advance(by: .seconds(31))
                return await ask().assetTag
            }
            #expect(logs.state.withLock(\.asked) == 0, "there is no record to look at")
        }
    }

    @Test(arguments: [
        (true, ProofPolicy.offered, true), (true, .required, false), (false, .required, false),
        (false, .offered, false),
    ])
    func `the first key of a boot is trusted only where nothing demands a proof`(
        trust: Bool,
        policy: ProofPolicy,
        isAdmitted: Bool
    ) async throws {
        let world = try AgentsWorld(trust: trust, proof: policy)
        let token = try await world.token()
        let reply = await world.enrol(keys, token: token, desk: desk(world))
        #expect((reply.admitted.node == nodeA.text) == isAdmitted)
        #expect(reply.refused.challenge.isEmpty == isAdmitted)
    }

    @Test func `an installed system is known by its config drive and proves nothing`() async throws
    {
        let world = try AgentsWorld(trust: false, proof: .required)
        let token = try await world.token(mac: nil, role: .overcloud)
        let reply = await world.enrol(keys, token: token, role: .overcloud, desk: desk(world))
        #expect(reply.admitted.node == nodeA.text)
    }

    @Test func `thousands of keys that wait leave the desk bounded`() async throws {
        let world = try AgentsWorld(trust: false)
        let desk = desk(world)
        let first = desk.answer(keys.publicKey, of: nodeA, nil)
        #expect(desk.answer(keys.publicKey, of: nodeA, nil) == first)
        for number in 0..<ProofDesk.casesMax {
            world.time.advance(by: .milliseconds(1))
            var bytes = [UInt8](repeating: 1, count: 32)
            bytes[0] = UInt8(number & 255)
            bytes[1] = UInt8(number >> 8)
            let key = try #require(CurvePublicKey(bytes: bytes))
            _ = desk.answer(key, of: NodeID(random: Array(bytes.prefix(16))), nil)
        }
        #expect(desk.answer(keys.publicKey, of: nodeA, nil) != first, "the oldest was forgotten")
    }
}
