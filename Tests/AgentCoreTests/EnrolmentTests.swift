import AgentSystem
import Basics
import Logging
import Protocol
import Synchronization
import Testing
import Transport

@testable import AgentCore

/// A clock that moves only when somebody sleeps.
private final class SkippingTime: TimeSource {
    private let nanoseconds = Mutex<Int64>(0)

    var now: Timestamp { Timestamp(nanoseconds: nanoseconds.withLock { $0 }) }
    var elapsed: Duration { .nanoseconds(nanoseconds.withLock { $0 }) }

    func sleep(for span: Duration) async throws {
        try Task.checkCancellation()
        nanoseconds.withLock { $0 += max(0, span.wholeNanoseconds) }
    }
}

struct `Enrolment` {
    private func enrol(_ refusals: [WireRefused.Code]) async throws -> (tries: Int, span: Duration)
    {
        let controller = TestController(refusals: refusals)
        let time = SkippingTime()
        let tree = FileTree(root: "/nonexistent")
        let enrolment = AgentCore.Enrolment(
            link: controller,
            machine: Machine(
                tree: tree,
                disks: SystemBlockDevices(tree: tree),
                network: SystemNetwork(tree: tree),
                firmware: SystemFirmware(tree: tree)
            ),
            random: SeededRandom(seed: 5),
            time: time,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        _ = try await enrolment.run(
            Applicant(role: .overcloud, token: Secret(""), bootMAC: "", agentVersion: "test")
        )
        return (controller.read(\.enrolments).count, time.elapsed)
    }

    @Test func `succeeds at once when it is admitted`() async throws {
        let (tries, span) = try await enrol([])
        #expect(tries == 1)
        #expect(span == .zero)
    }

    @Test(arguments: [
        (WireRefused.Code.busy, 0.75...1.25), (.address, 3.75...6.25), (.fingerprint, 7.5...12.5),
        (.token, 45...75), (.malformed, 45...75), (.version, 225...375),
    ])
    func `each refusal has its own pause`(
        code: WireRefused.Code,
        seconds: ClosedRange<Double>
    ) async throws {
        let (tries, span) = try await enrol([code])
        #expect(tries == 2)
        #expect(seconds.contains(span.inSeconds))
    }

    @Test func `the controller's wish for a longer pause is obeyed, within an hour`() {
        var pause = AgentCore.Enrolment.Pause()
        var refused = WireRefused()
        refused.code = .busy
        refused.retrySeconds = 90
        #expect(pause.after(refused) == .seconds(90))
        refused.retrySeconds = .max
        #expect(pause.after(refused) == .seconds(3600))
    }

    @Test func `silence doubles the pause up to half a minute`() {
        var pause = AgentCore.Enrolment.Pause()
        let pauses = (0..<7).map { _ in pause.afterSilence().inSeconds }
        #expect(pauses == [1, 2, 4, 8, 16, 30, 30])
    }

    private func enrol(
        _ bmc: MemoryBMC,
        _ challenges: [[UInt8]],
        tags: [Bool] = [],
        redfish: MemoryRedfish? = nil
    ) async throws -> [WireMachineProof?] {
        let controller = TestController(challenges: challenges, tags: tags)
        let tree = FileTree(root: "/nonexistent")
        let key = CurveKeyPair().publicKey
        let enrolment = AgentCore.Enrolment(
            link: controller,
            machine: Machine(
                tree: tree,
                disks: SystemBlockDevices(tree: tree),
                network: SystemNetwork(tree: tree),
                firmware: SystemFirmware(tree: tree)
            ),
            random: SeededRandom(seed: 5),
            time: SkippingTime(),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            prover: MachineProver(bmc: bmc, key: key, redfish: redfish)
        )
        _ = try await enrolment.run(
            Applicant(role: .ramdisk, token: Secret(""), bootMAC: "", agentVersion: "test")
        )
        let expected = challenges.first.map { challenge in
            let message = MachineProof.message(challenge: challenge, key: key.bytes)
            return message.withUnsafeBytes { SHA256Digest(of: $0) }.bytes.prefix(13)
        }
        for tag in redfish?.tags ?? [] {
            #expect(tag == MachineProof.tag(Array(expected ?? [])))
        }
        if let written = bmc.records.first {
            #expect(written.type == MachineProof.recordType)
            #expect(written.data == expected.map(Array.init))
        }
        return controller.read(\.enrolments).map { $0.hasProof ? $0.proof : nil }
    }

    private let challenge = [UInt8](repeating: 3, count: 16)

    @Test func `a challenge is answered in the machine's BMC once and told at once`() async throws {
        let bmc = MemoryBMC()
        let proofs = try await enrol(bmc, [challenge, challenge, challenge])
        #expect(bmc.records.count == 1)
        #expect(proofs.map { $0?.eventRecord } == [nil, 41, 41, 41])
        #expect(
            proofs.compactMap { $0.map { Array($0.challenge) } } == [
                challenge, challenge, challenge,
            ]
        )
    }

    @Test func `a new challenge gets a new record, a malformed one none`() async throws {
        let bmc = MemoryBMC()
        let other = [UInt8](repeating: 4, count: 16)
        let proofs = try await enrol(bmc, [challenge, other, [1, 2], []])
        #expect(proofs.map { $0?.eventRecord } == [nil, 41, 42, 42, 42])
    }

    @Test func `a BMC that cannot be written to is tried again, and the controller learns why`()
        async throws
    {
        let bmc = MemoryBMC(failures: 2)
        let proofs = try await enrol(bmc, [challenge, challenge, challenge, challenge])
        #expect(
            proofs.map { $0?.problem ?? "" } == ["", "the log is full", "the log is full", "", ""]
        )
        #expect(proofs.last??.eventRecord == 41)
    }

    @Test func `the AssetTag is used when the controller says so, once, and that is told at once`()
        async throws
    {
        let (bmc, redfish) = (MemoryBMC(), MemoryRedfish())
        let challenges = [[UInt8]](repeating: challenge, count: 4)
        let proofs = try await enrol(
            bmc,
            challenges,
            tags: [false, false, true, true],
            redfish: redfish
        )
        #expect(proofs.map { $0?.assetTag } == [nil, false, false, true, true])
        #expect(proofs.map { $0?.eventRecord } == [nil, 41, 41, 41, 41])
        #expect(redfish.tags.count == 1)
        #expect(redfish.tags.allSatisfy { MachineProof.isTag($0) && $0.utf8.count == 30 })
    }

    @Test func `a machine whose event log takes nothing proves itself in its AssetTag`()
        async throws
    {
        let (bmc, redfish) = (MemoryBMC(failures: 99), MemoryRedfish())
        let challenges = [[UInt8]](repeating: challenge, count: 3)
        let proofs = try await enrol(bmc, challenges, tags: [false, true, true], redfish: redfish)
        #expect(proofs.map { $0?.assetTag } == [nil, false, true, true])
        #expect(proofs.last??.problem == "the log is full")
        #expect(redfish.tags.count == 1)
    }

    @Test func `an AssetTag that cannot be written is tried a few times, and the record stays`()
        async throws
    {
        let (bmc, redfish) = (MemoryBMC(), MemoryRedfish(isBroken: true))
        let challenges = [[UInt8]](repeating: challenge, count: 40)
        let tags = [Bool](repeating: true, count: 40)
        let proofs = try await enrol(bmc, challenges, tags: tags, redfish: redfish)
        #expect(redfish.tries == MachineProver.recordsMax)
        #expect(bmc.records.count == 1)
        #expect(proofs.allSatisfy { $0?.assetTag != true })
        #expect(proofs.last??.eventRecord == 41)
    }

    @Test func `no controller makes an agent fill the event log`() async throws {
        let bmc = MemoryBMC()
        let challenges = (0..<40).map { [UInt8](repeating: UInt8($0), count: 16) }
        let proofs = try await enrol(bmc, challenges)
        #expect(bmc.records.count == MachineProver.recordsMax)
        #expect(proofs.last??.problem.contains("boot it anew") == true)
    }
}

/// An event log in memory; its first record is number 41.
private final class MemoryBMC: LocalBMC {
    private struct State {
        var records: [(type: UInt8, data: [UInt8])] = []
        var failures: Int
    }

    private let state: Mutex<State>
    var records: [(type: UInt8, data: [UInt8])] { state.withLock { $0.records } }

    init(failures: Int = 0) { state = Mutex(State(failures: failures)) }

    func addEvent(type: UInt8, data: [UInt8]) throws(LocalBMCFailure) -> UInt16 {
        let number = state.withLock { state -> UInt16? in
            guard state.failures == 0 else {
                state.failures -= 1
                return nil
            }
            state.records.append((type, data))
            return UInt16(40 + state.records.count)
        }
        guard let number else { throw LocalBMCFailure("the log is full") }
        return number
    }
}

/// A machine's `AssetTag` in memory.
private final class MemoryRedfish: LocalRedfish {
    private let state = Mutex<(tags: [String], tries: Int)>(([], 0))
    private let isBroken: Bool
    var tags: [String] { state.withLock { $0.tags } }
    var tries: Int { state.withLock { $0.tries } }

    init(isBroken: Bool = false) { self.isBroken = isBroken }

    func leave(_ tag: String) throws(LocalBMCFailure) {
        state.withLock { state in
            state.tries += 1
            if !isBroken { state.tags.append(tag) }
        }
        if isBroken { throw LocalBMCFailure("its BMC gives no accounts to its machine") }
    }
}
