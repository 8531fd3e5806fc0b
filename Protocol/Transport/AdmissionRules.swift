import Protocol

/// Limits how often an address may do something: a bucket of tokens per address.
struct AddressLimiter {
    private struct Bucket {
        var tokens: Double
        var filledAt: Duration
    }

    /// Addresses that are remembered; beyond it the table starts anew, which errs towards letting in.
    static let addressesMax = 4096

    private var buckets: [String: Bucket] = [:]
    private let burst: Double
    private let perSecond: Double

    init(burst: Int, perSecond: Double) {
        self.burst = Double(burst)
        self.perSecond = perSecond
    }

    /// Takes a token; false when the address has used up its own.
    mutating func allows(_ address: String, at now: Duration) -> Bool {
        if buckets.count >= Self.addressesMax, buckets[address] == nil {
            buckets = buckets.filter { fill($0.value, at: now) < burst }
            if buckets.count >= Self.addressesMax { buckets = [:] }
        }
        let tokens = fill(buckets[address] ?? Bucket(tokens: burst, filledAt: now), at: now)
        buckets[address] = Bucket(tokens: tokens >= 1 ? tokens - 1 : tokens, filledAt: now)
        return tokens >= 1
    }

    private func fill(_ bucket: Bucket, at now: Duration) -> Double {
        min(burst, bucket.tokens + max(0, (now - bucket.filledAt).inSeconds) * perSecond)
    }
}

/// Which sockets of the controller a connection may ask for; ZAP's domain.
enum AdmissionDomain: String, CaseIterable {
    case enrolment
    case control
    case telemetry
    case stream
}

/// Decides who may connect, and whose message is still welcome.
struct AdmissionRules {
    /// ZAP's answer.
    enum Decision: Equatable {
        case admit(userID: String)
        /// The peer's library tries again later by itself.
        case later
        case refuse
    }

    /// Senders that are remembered; beyond it the table starts anew.
    private static let sendersMax = 32_768

    private(set) var keys = AdmittedKeys(generation: 0)
    /// Who was found to stand behind a User-Id; looked up in `keys` again each time.
    private var senders: [String: (identity: AgentIdentity, key: CurvePublicKey)] = [:]
    private var handshakes: AddressLimiter
    private var requests: AddressLimiter

    init(_ limits: EnrolmentLimits) {
        handshakes = AddressLimiter(
            burst: limits.handshakesBurst,
            perSecond: limits.handshakesPerSecond
        )
        requests = AddressLimiter(burst: limits.requestsBurst, perSecond: limits.requestsPerSecond)
    }

    /// Takes a snapshot unless a newer one was taken.
    /// - Returns: true when a reader's key is no longer admitted, so that subscribers must be cut off.
    mutating func admit(_ next: AdmittedKeys) -> Bool {
        guard next.generation >= keys.generation else { return false }
        let gone = keys.readers.keys.contains { next.readers[$0] == nil }
        keys = next
        return gone
    }

    /// Judges a handshake.
    ///
    /// Until the first snapshot has come nobody is refused for good: agents that were connected before
    /// the controller started anew would take it for a revocation.
    mutating func judge(
        _ key: CurvePublicKey,
        domain: AdmissionDomain,
        address: String,
        at now: Duration
    ) -> Decision {
        switch domain {
        case .enrolment:
            handshakes.allows(address, at: now) ? .admit(userID: key.z85) : .later
        case .control where keys.generation == 0, .telemetry where keys.generation == 0,
            .stream where keys.generation == 0:
            .later
        case .control, .telemetry:
            keys.agents[key].map { .admit(userID: Self.userID(of: $0, key: key)) } ?? .refuse
        case .stream:
            keys.readers[key] != nil ? .admit(userID: key.z85) : .refuse
        }
    }

    /// Judges one request on the enrolment socket.
    mutating func allowsRequest(from address: String, at now: Duration) -> Bool {
        requests.allows(address, at: now)
    }

    /// Who sent a message, by the User-Id that the handshake gave its connection; `nil` when the key
    /// was revoked or bound to something else since.
    mutating func sender(_ userID: String) -> (identity: AgentIdentity, key: CurvePublicKey)? {
        if let known = senders[userID], keys.agents[known.key] == known.identity { return known }
        guard let sender = read(userID) else {
            senders[userID] = nil
            return nil
        }
        if senders.count >= Self.sendersMax { senders = [:] }
        senders[userID] = sender
        return sender
    }

    private func read(_ userID: String) -> (identity: AgentIdentity, key: CurvePublicKey)? {
        // A Z85 key may contain slashes: only the first two separate.
        let parts = userID.split(
            separator: "/",
            maxSplits: 2,
            omittingEmptySubsequences: false
        )
        guard parts.count == 3, let key = CurvePublicKey(z85: String(parts[2])),
            let identity = keys.agents[key], Self.userID(of: identity, key: key) == userID
        else { return nil }
        return (identity, key)
    }

    /// `<node>/<role>/<key>`: the key too, because a node's next boot has another one.
    static func userID(of identity: AgentIdentity, key: CurvePublicKey) -> String {
        "\(identity.node)/\(identity.role.rawValue)/\(key.z85)"
    }
}
