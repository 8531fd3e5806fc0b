import Basics
import Crypto
import Logging
import Protocol
import Synchronization
import Transport

/// Lets machines prove themselves through their BMCs while their keys wait to be accepted.
///
/// ```
/// challenged ── the agent left a record ──> checking ── proven ──> the key is bound
///                                              └── anything else ──> open ── asked again ──> checking
/// ```
/// Nothing of it is stored: after a restart of the controller a machine is challenged anew. BMCs are asked by tasks of
/// their own, so that a slow one delays no enrolment.
final class ProofDesk: Sendable {
    /// What the agent is told.
    struct Answer: Equatable {
        let challenge: [UInt8]
        /// A clause for people at the machine; it names no BMC, since nobody knows yet who reads it.
        let reason: String
        let retrySeconds: UInt32
        /// Whether the proof may be left in `AssetTag`, too.
        let takesTag: Bool
        /// The same for the log.
        let detail: String
    }

    private enum Stage {
        case challenged
        case checking
        case open(String, detail: String, next: Timestamp)
    }

    /// What goes on about a node; the key that asked last has it, as in the registry.
    private struct Case {
        let key: CurvePublicKey
        let challenge: [UInt8]
        let since: Timestamp
        var stage = Stage.challenged
        var isTold = false
        /// What stood in the `AssetTag` is stored.
        var takesTag = false
        /// The agent says that its proof stands there.
        var hasTag = false
    }

    private struct Job {
        let key: CurvePublicKey
        let node: NodeID
        /// `nil` when the agent could not write one; then `problem` says why.
        let record: UInt16?
        let problem: String
        let data: [UInt8]
        let hasTag: Bool
    }

    static let casesMax = 4096
    private static let jobsMax = 1024
    private static let runningMax = 32
    private static let checkAgain: Duration = .seconds(30)
    private static let askAgain: Duration = .seconds(10)
    private static let restoreEvery: Duration = .seconds(60)

    private let registry: AgentRegistry
    private let proofs: any MachineProofs
    private let time: any TimeSource
    private let random: any RandomSource
    private let logger: Logger
    private let cases = Mutex<[NodeID: Case]>([:])
    /// Nodes whose BMCs are being asked: one question at a time, however many keys come.
    private let asked = Mutex<Set<NodeID>>([])
    private let jobs = Inbox<Job>(countMax: jobsMax, overflow: .refuseNewest)

    init(
        registry: AgentRegistry,
        proofs: any MachineProofs,
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) {
        self.registry = registry
        self.proofs = proofs
        self.time = time
        self.random = random
        self.logger = logger
    }

    /// What a key that waits is told; begins to ask its BMC when it left a record there.
    func answer(_ key: CurvePublicKey, of node: NodeID, _ proof: WireMachineProof?) -> Answer {
        let fresh = random.bytes(MachineProof.challengeBytes)
        let now = time.now
        let (answer, job) = cases.withLock { cases -> (Answer, Job?) in
            var own = Case(key: key, challenge: fresh, since: now)
            if let known = cases[node], known.key == key { own = known }
            if cases[node] == nil, cases.count >= Self.casesMax,
                let oldest = cases.min(by: { $0.value.since < $1.value.since })?.key
            {
                cases[oldest] = nil
            }
            defer { cases[node] = own }
            func tell(
                _ reason: String,
                _ seconds: UInt32 = 10,
                detail: String? = nil
            ) -> Answer {
                Answer(
                    challenge: own.challenge,
                    reason: reason,
                    retrySeconds: seconds,
                    takesTag: own.takesTag,
                    detail: detail ?? reason
                )
            }
            guard let proof, Array(proof.challenge) == own.challenge else {
                return (tell("the machine has to prove itself through its BMC"), nil)
            }
            var record: UInt16?
            var problem = ""
            switch proof.place {
            case nil where !proof.assetTag:
                return (tell("the machine has to prove itself through its BMC"), nil)
            case nil: problem = "it wrote no record"
            case .problem(let words): problem = String(words.prefix(200))
            case .eventRecord(let number):
                record = UInt16(exactly: number)
                guard record != nil else {
                    return (tell("the machine names no record of its BMC"), nil)
                }
            }
            // Only where it was let: what stood there would be lost otherwise.
            let isNew = proof.assetTag && own.takesTag && !own.hasTag
            if isNew { own.hasTag = true }
            switch own.stage {
            case .checking: return (tell("its BMC is being asked", 2), nil)
            case .open(let reason, let detail, let next) where now < next && !isNew:
                return (tell(reason, detail: detail), nil)
            case .open, .challenged: break
            }
            own.stage = .checking
            let job = Job(
                key: key,
                node: node,
                record: record,
                problem: problem,
                data: Self.data(own.challenge, key),
                hasTag: own.hasTag
            )
            guard record == nil, !own.hasTag else {
                return (tell("its BMC is being asked", 2), job)
            }
            return (tell("the machine cannot prove itself: \(problem)"), job)
        }
        if let job, !jobs.push(job) {
            settle(job, "the controller cannot ask its BMC just now", "too many proofs", .zero)
        }
        return answer
    }

    /// What the record of a key has to hold.
    static func data(_ challenge: [UInt8], _ key: CurvePublicKey) -> [UInt8] {
        let message = MachineProof.message(challenge: challenge, key: key.bytes)
        return Array(SHA256.hash(data: message).prefix(MachineProof.dataBytes))
    }

    /// Asks BMCs until cancelled, and puts back what stood where machines left their proofs.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask(name: "asset tags") { await self.restore() }
            await work()
            group.cancelAll()
        }
    }

    private func restore() async {
        // Challenges of before a restart are answered no more.
        await proofs.restoreTags(all: true)
        do {
            while true {
                try await time.sleep(for: Self.restoreEvery)
                await proofs.restoreTags(all: false)
            }
        } catch {
            // Cancelled: what is left to be put back is stored.
        }
    }

    private func work() async {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for await job in jobs {
                if running == Self.runningMax {
                    await group.next()
                    running -= 1
                }
                running += 1
                group.addTask(name: "machine proof") { await self.check(job) }
            }
        }
    }

    private func check(_ job: Job) async {
        // Its key was replaced while it waited.
        guard cases.withLock({ $0[job.node]?.key == job.key }) else { return }
        guard asked.withLock({ $0.insert(job.node).inserted }) else {
            let reason = "its BMC is being asked for another key"
            return settle(job, reason, reason, Self.askAgain)
        }
        defer { _ = asked.withLock { $0.remove(job.node) } }
        let verdict = await verdict(on: job)
        do {
            switch verdict {
            case .proven:
                try await registry.prove(job.key, of: job.node)
                cases.withLock { if $0[job.node]?.key == job.key { $0[job.node] = nil } }
                // Only now: what is not stored yet has to be read once more.
                if let record = job.record { await proofs.forget(record, of: job.node) }
                await proofs.restoreTag(of: job.node)
            case .refused(let detail):
                let reason = "its BMC is not the one of its node"
                settle(job, reason, detail, Self.checkAgain)
                if isFirstRefusal(of: job) { try await raise(detail, job) }
            case .impossible(let detail):
                let reason =
                    job.record == nil
                    ? "the machine cannot prove itself: \(job.problem)" : "its BMC cannot tell"
                settle(job, reason, detail, Self.checkAgain)
            case .later(let detail):
                settle(job, "its BMC cannot be asked just now", detail, Self.askAgain)
            }
        } catch {
            let reason = "the controller cannot take the machine just now"
            settle(job, reason, reason, Self.askAgain)
            logger.error(
                "proof was not taken",
                metadata: [
                    LogKey.nodeID: "\(job.node)", LogKey.error: "\(Fault(error).report)",
                ]
            )
        }
    }

    /// What the event log says, or where that says nothing the `AssetTag`, which a machine may use only then.
    private func verdict(on job: Job) async -> ProofVerdict {
        var verdict = ProofVerdict.impossible("the machine cannot prove itself: \(job.problem)")
        if let record = job.record {
            verdict = await proofs.check(record, holds: job.data, of: job.node)
        }
        guard case .impossible = verdict else { return verdict }
        if job.hasTag {
            return await proofs.check(tag: MachineProof.tag(job.data), of: job.node)
        }
        guard cases.withLock({ $0[job.node]?.key == job.key && $0[job.node]?.takesTag == false }),
            await proofs.keepTag(of: job.node)
        else { return verdict }
        cases.withLock { if $0[job.node]?.key == job.key { $0[job.node]?.takesTag = true } }
        return verdict
    }

    /// Keeps why a key still waits.
    private func settle(
        _ job: Job,
        _ reason: String,
        _ detail: String,
        _ pause: Duration
    ) {
        let next = time.now + pause
        cases.withLock { cases in
            guard cases[job.node]?.key == job.key else { return }
            cases[job.node]?.stage = .open(reason, detail: detail, next: next)
        }
    }

    private func isFirstRefusal(of job: Job) -> Bool {
        cases.withLock { cases in
            guard cases[job.node]?.key == job.key, cases[job.node]?.isTold == false else {
                return false
            }
            cases[job.node]?.isTold = true
            return true
        }
    }

    /// A security event, once per key.
    private func raise(_ reason: String, _ job: Job) async throws {
        logger.warning(
            "machine refused",
            metadata: [
                LogKey.nodeID: "\(job.node)", LogKey.keyFingerprint: "\(job.key.fingerprint)",
                LogKey.reason: "\(reason)",
            ]
        )
        try await registry.recordRefusal(of: job.key, node: job.node, reason)
        try await proofs.tell("refused the key \(job.key.fingerprint): \(reason)", of: job.node)
    }
}
