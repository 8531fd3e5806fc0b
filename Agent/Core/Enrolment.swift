package import AgentSystem
package import Basics
import FoundationEssentials
package import Logging
package import Protocol
package import Transport

/// Who the agent says it is when it enrols.
package struct Applicant: Sendable {
    package var role: AgentRole
    package var token: Secret
    /// Lower case with colons; empty when it is not known.
    package var bootMAC: String
    package var agentVersion: String

    package init(role: AgentRole, token: Secret, bootMAC: String, agentVersion: String) {
        self.role = role
        self.token = token
        self.bootMAC = bootMAC
        self.agentVersion = agentVersion
    }
}

/// Asks the controller to be let in until it says yes.
package struct Enrolment: Sendable {
    private let link: any AgentLink
    private let machine: Machine
    private let random: any RandomSource
    private let time: any TimeSource
    private let log: Logger
    private let prover: MachineProver?

    /// - Parameters:
    ///   - link: the line to the controller.
    ///   - machine: tells the facts that the request holds.
    ///   - random: for exchanges and pauses.
    ///   - time: the clock.
    ///   - log: where to log.
    ///   - prover: answers challenges; `nil` where there is no BMC to answer through.
    package init(
        link: any AgentLink,
        machine: Machine,
        random: any RandomSource,
        time: any TimeSource,
        log: Logger,
        prover: MachineProver? = nil
    ) {
        self.prover = prover
        self.link = link
        self.machine = machine
        self.random = random
        self.time = time
        self.log = log
    }

    /// Asks again and again, with growing pauses that differ between machines.
    /// - Throws: `CancellationError`.
    package func run(_ applicant: Applicant) async throws -> WireAdmitted {
        var pause = Pause()
        var proof: WireMachineProof?
        while true {
            try Task.checkCancellation()
            let span: Duration
            do {
                switch try await ask(applicant, proof) {
                case .admitted(let admitted): return admitted
                case .refused(let refused):
                    span = pause.after(refused)
                    log.warning(
                        "enrolment refused",
                        metadata: [
                            LogKey.reason: "\(refused.reason.prefix(200))",
                            LogKey.status: "\(refused.code)",
                        ]
                    )
                    if let answer = await answer(refused, after: proof) {
                        let isNew = answer != proof
                        proof = answer
                        if answer.isLeft, isNew { continue }
                    }
                case nil: span = pause.afterSilence()
                }
            } catch let fault as Fault {
                span = pause.afterSilence()
                log.info("the controller did not answer", metadata: [LogKey.error: "\(fault)"])
            }
            let jitter = Double(random.number(below: 1000)) / 1000
            try await time.sleep(for: span * (0.75 + jitter / 2))
        }
    }

    /// Answers a challenge once; what could not be left in the BMC is tried again.
    private func answer(
        _ refused: WireRefused,
        after last: WireMachineProof?
    ) async -> WireMachineProof? {
        guard let prover, refused.challenge.count == MachineProof.challengeBytes else { return nil }
        let challenge = Array(refused.challenge)
        var proof: WireMachineProof
        if let last, last.challenge == refused.challenge, last.isLeft {
            guard refused.assetTag, !last.assetTag else { return nil }
            proof = last
        } else {
            proof = await leaveRecord(challenge, prover)
        }
        if refused.assetTag {
            if let reason = await prover.leaveTag(challenge) {
                log.warning(
                    "cannot leave the proof in AssetTag",
                    metadata: [LogKey.reason: "\(reason)"]
                )
            } else {
                log.notice("left a proof in AssetTag")
                proof.assetTag = true
            }
        }
        return proof
    }

    private func leaveRecord(
        _ challenge: [UInt8],
        _ prover: MachineProver
    ) async -> WireMachineProof {
        let proof = await prover.answer(challenge)
        switch proof.place {
        case .eventRecord(let number):
            log.notice("left a proof in the BMC", metadata: [LogKey.status: "record \(number)"])
        case .problem(let reason):
            log.warning("cannot prove the machine", metadata: [LogKey.reason: "\(reason)"])
        case nil: break
        }
        return proof
    }

    private func ask(
        _ applicant: Applicant,
        _ proof: WireMachineProof?
    ) async throws -> WireEnrolReply.OneOf_Outcome? {
        let facts = await machine.facts()
        var request = WireEnrolRequest()
        request.versionMin = WireVersion.oldest
        request.versionMax = WireVersion.current
        request.exchange = Data(random.bytes(16))
        request.role = applicant.role.wire
        request.token = Data(applicant.token.revealBytes())
        request.bootMac = applicant.bootMAC
        request.macs = Array(facts.macs.prefix(Self.macsMax))
        request.systemUuid = facts.systemUUID
        request.bmcAddress = facts.bmcAddress
        request.agentTimeNanoseconds = time.now.nanoseconds
        request.agentVersion = applicant.agentVersion
        request.uptimeSeconds = machine.uptimeSeconds()
        if let proof { request.proof = proof }
        let reply = try await link.enrol(request)
        guard reply.exchange == request.exchange else { return nil }
        return reply.outcome
    }

    /// So that a request stays below its 4 KiB.
    package static let macsMax = 64

    /// How long to wait before the next try.
    package struct Pause: Sendable {
        private var next = Duration.seconds(1)

        package init() {}

        /// Nobody answered: doubles up to half a minute.
        package mutating func afterSilence() -> Duration {
            defer { next = min(next * 2, .seconds(30)) }
            return next
        }

        /// The controller said no: its own wish, or what the reason suggests.
        package mutating func after(_ refused: WireRefused) -> Duration {
            next = .seconds(1)
            let wish = Duration.seconds(Int64(min(refused.retrySeconds, 3600)))
            switch refused.code {
            case .busy: return max(wish, .seconds(1))
            case .address: return max(wish, .seconds(5))
            case .fingerprint: return refused.retrySeconds == 0 ? .seconds(10) : wish
            case .token, .malformed, .unspecified, .UNRECOGNIZED: return max(wish, .seconds(60))
            case .version: return max(wish, .seconds(300))
            }
        }
    }
}

extension WireMachineProof {
    /// Whether a proof stands somewhere.
    fileprivate var isLeft: Bool {
        if case .eventRecord = place { return true }
        return assetTag
    }
}
