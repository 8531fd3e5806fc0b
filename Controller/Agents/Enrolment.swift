import Basics
import FoundationEssentials
import Logging
import Protocol
import Transport

/// Answers requests on the enrolment socket.
struct Enrolment: Sendable {
    let registry: AgentRegistry
    let leases: (any LeaseLookup)?
    let unknown: any UnknownMachines
    let policy: EnrolmentPolicy
    /// `nil` where no BMC is asked.
    let desk: ProofDesk?
    let time: any TimeSource
    let logger: Logger

    /// Seconds after which an agent asks again whether its fingerprint was accepted.
    private static let retrySeconds: UInt32 = 10

    /// The reply to a request; never fails: what goes wrong here becomes “busy”.
    func answer(_ arrival: EnrolmentArrival) async -> WireEnrolReply {
        var reply = WireEnrolReply()
        reply.exchange = arrival.request.exchange
        do {
            reply.outcome = outcome(of: try await decide(arrival), arrival)
        } catch {
            logger.error(
                "enrolment failed",
                metadata: [
                    LogKey.address: "\(arrival.address)", LogKey.error: "\(Fault(error).report)",
                ]
            )
            reply.outcome = refusal(.busy, "the controller cannot take the machine just now")
        }
        return reply
    }

    private func decide(_ arrival: EnrolmentArrival) async throws -> EnrolmentVerdict {
        let request = arrival.request
        if let verdict = EnrolmentRules.precheck(request) { return verdict }
        let digest = AgentToken.digest(of: Array(request.token))
        let (token, known) = try await registry.look(digest, arrival.key)
        let judge: @Sendable (AgentToken?, AgentKey?) -> EnrolmentVerdict = { token, known in
            EnrolmentRules.judge(
                request,
                from: arrival.key,
                token: token,
                known: known,
                trust: policy.trustFirstBoot && policy.proof != .required,
                at: time.now
            )
        }
        let verdict = judge(token, known)
        switch verdict {
        case .known, .wait: return verdict
        case .refuse(_, _, let contested):
            if contested, let token {
                try await registry.contest(token, by: arrival.key, address: arrival.address)
            }
            return verdict
        case .bind(let expected, let state):
            guard let token else { return .refuse(.token, "the token is not known") }
            if token.role == .ramdisk, let verdict = try await checkAddress(arrival, of: expected) {
                return verdict
            }
            let node: NodeID
            if let expected {
                node = expected
            } else {
                node = try await unknown.enrolUnknown(request, address: arrival.address)
            }
            let key = AgentKey(
                key: arrival.key,
                node: node,
                role: token.role,
                attempt: token.attempt,
                state: state,
                contested: false,
                address: arrival.address,
                mac: request.bootMac,
                since: time.now
            )
            return settled(
                try await registry.bind(key, digest: digest, judge: judge),
                node: node
            )
        }
    }

    /// Whether the ramdisk speaks from where it must.
    private func checkAddress(
        _ arrival: EnrolmentArrival,
        of node: NodeID?
    ) async throws -> EnrolmentVerdict? {
        guard let leases else { return nil }
        if let node, let placement = try await leases.placement(of: node) {
            return EnrolmentRules.check(placement, speaksFrom: arrival.address)
        }
        let leased = await leases.leasedAddress(of: arrival.request.bootMac)
        return EnrolmentRules.checkLease(leased, speaksFrom: arrival.address)
    }

    /// A key that was just bound is known from now on.
    private func settled(_ verdict: EnrolmentVerdict, node: NodeID) -> EnrolmentVerdict {
        switch verdict {
        case .bind(_, .bound): .known(node)
        case .bind(_, .waiting): .wait(node)
        case .known, .wait, .refuse: verdict
        }
    }

    private func outcome(
        of verdict: EnrolmentVerdict,
        _ arrival: EnrolmentArrival
    ) -> WireEnrolReply.OneOf_Outcome {
        var metadata: Logger.Metadata = [
            LogKey.address: "\(arrival.address)",
            LogKey.mac: "\(arrival.request.bootMac.prefix(17))",
            LogKey.keyFingerprint: "\(arrival.key.fingerprint)",
        ]
        switch verdict {
        case .known(let node):
            metadata[LogKey.nodeID] = "\(node)"
            logger.notice("agent enrolled", metadata: metadata)
            var admitted = WireAdmitted()
            admitted.version =
                WireVersion.common(
                    min: arrival.request.versionMin,
                    max: arrival.request.versionMax
                )
                ?? WireVersion.current
            admitted.node = node.text
            admitted.controllerTimeNanoseconds = time.now.nanoseconds
            admitted.heartbeatSeconds = UInt32(SessionTiming.heartbeat.components.seconds)
            admitted.certificateAuthority = policy.certificateAuthority
            admitted.timeServers = policy.timeServers
            return .admitted(admitted)
        case .bind: return refusal(.busy, "the controller cannot take the machine just now")
        case .wait(let node):
            let operators = "an operator has to accept the fingerprint \(arrival.key.fingerprint)"
            metadata[LogKey.nodeID] = "\(node)"
            guard let desk, arrival.request.role == .ramdisk else {
                logger.notice("agent waits for its fingerprint to be accepted", metadata: metadata)
                return refusal(.fingerprint, operators)
            }
            let proof = arrival.request.hasProof ? arrival.request.proof : nil
            let answer = desk.answer(arrival.key, of: node, proof)
            metadata[LogKey.reason] = "\(answer.detail)"
            logger.notice("agent waits for its machine to be proven", metadata: metadata)
            var refused = WireRefused()
            refused.code = .fingerprint
            refused.reason = "\(answer.reason); or \(operators)"
            refused.retrySeconds = answer.retrySeconds
            refused.challenge = Data(answer.challenge)
            refused.assetTag = answer.takesTag
            return .refused(refused)
        case .refuse(let code, let reason, let contested):
            metadata[LogKey.reason] = "\(reason)"
            logger.log(
                level: contested ? .warning : .notice,
                "enrolment refused",
                metadata: metadata
            )
            return refusal(code, reason)
        }
    }

    private func refusal(
        _ code: WireRefused.Code,
        _ reason: String
    ) -> WireEnrolReply.OneOf_Outcome {
        var refused = WireRefused()
        refused.code = code
        refused.reason = reason
        refused.retrySeconds =
            switch code {
            case .busy, .fingerprint, .address: Self.retrySeconds
            case .token, .version, .malformed, .unspecified, .UNRECOGNIZED: 0
            }
        return .refused(refused)
    }
}
