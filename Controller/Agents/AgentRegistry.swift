package import Basics
import Logging
package import Protocol
package import Store
import Synchronization
package import Transport

/// Whether machines prove themselves through their BMCs; the raw values stand in the configuration.
package enum ProofPolicy: String, Sendable, CaseIterable {
    /// No BMC is asked.
    case off
    /// A key that waits for an operator is bound without him once its machine proved itself.
    case offered
    /// As `offered`, and no key of a ramdisk is trusted without: what cannot prove itself waits for an operator.
    case required
}

/// What a site decides about enrolment, and what every admitted agent is told.
package struct EnrolmentPolicy: Sendable {
    /// True where the first key of an expected boot is taken for the machine's own (the lab); false
    /// where an operator accepts the fingerprint.
    package var trustFirstBoot: Bool
    package var proof: ProofPolicy
    /// PEM of the authority that the controller's certificates are signed by.
    package var certificateAuthority: String
    /// NTP servers for installed nodes.
    package var timeServers: [String]

    package init(
        trustFirstBoot: Bool,
        proof: ProofPolicy = .offered,
        certificateAuthority: String = "",
        timeServers: [String] = []
    ) {
        self.trustFirstBoot = trustFirstBoot
        self.proof = proof
        self.certificateAuthority = certificateAuthority
        self.timeServers = timeServers
    }
}

/// Who may speak to the controller: tokens, the keys bound through them, and readers' keys.
///
/// Every change is told to the link as a new snapshot of all keys, after it is stored.
package final class AgentRegistry: Sendable {
    /// Readers' keys at most.
    package static let readersMax = 64

    private let database: Database
    private let link: any ControllerLink
    private let time: any TimeSource
    private let random: any RandomSource
    private let admitted = Mutex(AdmittedKeys(generation: 0))

    package init(
        database: Database,
        link: any ControllerLink,
        time: some TimeSource,
        random: some RandomSource
    ) {
        self.database = database
        self.link = link
        self.time = time
        self.random = random
    }

    /// Makes a token that lets one key enrol.
    ///
    /// `node` is `nil` for open discovery; `mac` (lower case, colons) is given for boot files and `nil` for
    /// a config drive. Only the token's SHA-256 is stored.
    /// - Returns: 32 bytes.
    package func issueToken(
        for node: NodeID?,
        mac: String?,
        role: AgentRole,
        attempt: Attempt,
        validFor span: Duration
    ) async throws -> [UInt8] {
        precondition(node != nil || mac != nil, "a token is for a node or for a machine")
        let bytes = random.bytes(32)
        let now = time.now
        let token = AgentToken(
            digest: AgentToken.digest(of: bytes),
            node: node,
            mac: mac,
            role: role,
            attempt: attempt,
            expires: now + span,
            boundKey: nil
        )
        try await database.write { transaction in
            try transaction.trimTokens(expiredBefore: now)
            try transaction.insert(token)
        }
        return bytes
    }

    /// Revokes the keys and tokens of a node; its live sessions end.
    ///
    /// `role` is `nil` for all roles.
    package func revokeKeys(of node: NodeID, role: AgentRole?) async throws {
        let now = time.now
        try await change { transaction in
            for key in try transaction.agentKeys(of: node, role: role) {
                try transaction.delete(key)
                try transaction.record(
                    kind: "agent",
                    id: node.text,
                    attempt: key.attempt,
                    before: key.state.rawValue,
                    after: "revoked",
                    cause: "the \(key.role.rawValue) key \(key.key.fingerprint) was revoked",
                    at: now
                )
            }
            try transaction.deleteTokens(of: node, role: role)
        }
    }

    /// The key that is bound to a node in a role; `nil` when there is none.
    package func boundKey(of node: NodeID, role: AgentRole) async throws -> AgentKey? {
        try await database.read { transaction in
            try transaction.agentKeys(of: node, role: role).first { $0.state == .bound }
        }
    }

    /// True when the node's bound key is undisputed: only then does it get secrets or an image.
    package func mayReceiveSecrets(_ node: NodeID, role: AgentRole) async throws -> Bool {
        try await boundKey(of: node, role: role).map { !$0.contested } ?? false
    }

    /// All keys that agents presented, waiting and bound, the oldest first.
    package func agentKeys() async throws -> [AgentKey] {
        try await database.read { try $0.agentKeys() }
    }

    /// An operator says that a fingerprint is the machine's own; also settles a contested key.
    /// - Throws: `Fault` of kind `notFound` when no key has it.
    package func accept(fingerprint: String) async throws {
        let now = time.now
        try await change { transaction in
            guard
                var key = try transaction.agentKeys().last(where: {
                    $0.key.fingerprint == fingerprint
                })
            else {
                throw Fault(
                    .notFound,
                    "cannot accept the fingerprint \(fingerprint): no machine presented it; compare it with the machine's console"
                )
            }
            try transaction.settle(
                &key,
                cause: "an operator accepted the key \(fingerprint)",
                at: now
            )
        }
    }

    /// The ramdisk of `node`, whose key waits, proved itself through that node's BMC.
    ///
    /// A key that is not there any more stays away, and so does one that waits for another node by now.
    func prove(_ key: CurvePublicKey, of node: NodeID) async throws {
        let now = time.now
        try await change { transaction in
            guard var known = try transaction.agentKey(key), known.state == .waiting,
                known.node == node, known.role == .ramdisk
            else { return }
            try transaction.settle(
                &known,
                cause: "the machine of the key \(key.fingerprint) proved itself through its BMC",
                at: now
            )
        }
    }

    /// A machine is not the one that the BMC of its node belongs to: a security event.
    func recordRefusal(of key: CurvePublicKey, node: NodeID, _ reason: String) async throws {
        let now = time.now
        try await database.write { transaction in
            try transaction.record(
                kind: "security",
                id: node.text,
                attempt: try transaction.agentKey(key)?.attempt ?? Attempt(0),
                before: "waiting",
                after: "refused",
                cause: "the key \(key.fingerprint) was refused: \(reason)",
                at: now
            )
        }
    }

    /// Makes a key pair that may subscribe to the stream.
    /// - Returns: the pair; the secret half is not stored.
    /// - Throws: `Fault` of kind `conflict` when the name is taken or there are too many.
    package func createReaderKey(name: String) async throws -> (
        public: CurvePublicKey, secret: Secret
    ) {
        guard (1...64).contains(name.utf8.count) else {
            throw Fault(
                .invalid,
                "cannot make the stream key “\(name.prefix(80))”: a name has 1 to 64 bytes"
            )
        }
        let pair = CurveKeyPair()
        let reader = ReaderKey(name: name, key: pair.publicKey, created: time.now)
        try await change { transaction in
            let readers = try transaction.readerKeys()
            guard !readers.contains(where: { $0.name == name }) else {
                throw Fault(
                    .conflict,
                    "cannot make the stream key “\(name)”: there is one of that name; revoke it or choose another name"
                )
            }
            guard readers.count < Self.readersMax else {
                throw Fault(
                    .conflict,
                    "cannot make the stream key “\(name)”: there are \(Self.readersMax) already; revoke one"
                )
            }
            try transaction.insert(reader)
            try transaction.record(
                kind: "security",
                id: name,
                before: "",
                after: "created",
                cause: "a stream key was made",
                at: reader.created
            )
        }
        return (pair.publicKey, pair.secretKey)
    }

    /// Revokes a reader's key; its connections end.
    /// - Throws: `Fault` of kind `notFound`.
    package func revokeReaderKey(name: String) async throws {
        let now = time.now
        try await change { transaction in
            guard try transaction.readerKeys().contains(where: { $0.name == name }) else {
                throw Fault(
                    .notFound,
                    "cannot revoke the stream key “\(name)”: there is none of that name"
                )
            }
            try transaction.deleteReaderKey(name: name)
            try transaction.record(
                kind: "security",
                id: name,
                before: "created",
                after: "revoked",
                cause: "a stream key was revoked",
                at: now
            )
        }
    }

    /// Readers' keys, by name.
    package func readerKeys() async throws -> [ReaderKey] {
        try await database.read { try $0.readerKeys() }
    }

    /// Tells the link all keys; done once at start, and by every change.
    package func publishKeys() async throws { try await change { _ in } }

    /// Whether a key still belongs to an agent.
    func isAdmitted(_ key: CurvePublicKey, as identity: AgentIdentity) -> Bool {
        admitted.withLock { $0.agents[key] == identity }
    }

    /// What the stored token and key say about a request.
    func look(_ digest: [UInt8], _ key: CurvePublicKey) async throws -> (AgentToken?, AgentKey?) {
        try await database.read { transaction in
            (try transaction.agentToken(digest: digest), try transaction.agentKey(key))
        }
    }

    /// Binds a key through its token; `judge` looks again inside the transaction.
    func bind(
        _ key: AgentKey,
        digest: [UInt8],
        judge: @escaping @Sendable (AgentToken?, AgentKey?) -> EnrolmentVerdict
    ) async throws -> EnrolmentVerdict {
        try await database.write { [self] transaction in
            let token = try transaction.agentToken(digest: digest)
            let verdict = judge(token, try transaction.agentKey(key.key))
            if case .refuse(_, _, contested: true) = verdict, let token {
                // Another key was faster since the first look.
                try transaction.contest(token, by: key.key, address: key.address, at: key.since)
            }
            guard case .bind(_, let state) = verdict, let token else { return verdict }
            try transaction.bind(token, to: key.key, node: key.node)
            if let old = try transaction.agentKey(key.key) { try transaction.delete(old) }
            var bound = key
            bound.state = state
            switch state {
            case .bound:
                let replaced = try transaction.replaceBound(with: bound, at: key.since)
                transaction.whenStored { [self] in
                    publish { keys in
                        for old in replaced { keys.agents[old] = nil }
                        keys.agents[key.key] = AgentIdentity(node: key.node, role: key.role)
                    }
                }
            case .waiting:
                for old in try transaction.agentKeys(of: key.node, role: key.role)
                where old.state == .waiting { try transaction.delete(old) }
                try transaction.insert(bound)
            }
            try transaction.record(
                kind: "agent",
                id: key.node.text,
                attempt: key.attempt,
                before: "",
                after: state.rawValue,
                cause:
                    "a \(key.role.rawValue) agent enrolled from \(key.address) with the key \(key.key.fingerprint)",
                at: key.since
            )
            return verdict
        }
    }

    /// A second key came with a token: a security event, once per bound key.
    func contest(_ token: AgentToken, by key: CurvePublicKey, address: String) async throws {
        let now = time.now
        try await database.write { transaction in
            try transaction.contest(token, by: key, address: address, at: now)
        }
    }

    /// Runs a transaction and tells the link all keys that result.
    private func change<Value: Sendable>(
        _ body: @escaping @Sendable (Transaction) throws -> Value
    ) async throws -> Value {
        try await database.write { [self] transaction in
            let value = try body(transaction)
            let agents = try transaction.boundKeys()
            var readers: [CurvePublicKey: String] = [:]
            for reader in try transaction.readerKeys() { readers[reader.key] = reader.name }
            transaction.whenStored { [self, readers] in
                publish { keys in
                    keys.agents = agents
                    keys.readers = readers
                }
            }
            return value
        }
    }

    /// Tells the link a new snapshot; called in the order of the transactions.
    ///
    /// Thousands of machines that enrol change one key each, so their keys are not read anew each time.
    private func publish(_ edit: (inout AdmittedKeys) -> Void) {
        let keys = admitted.withLock { keys in
            edit(&keys)
            keys.generation += 1
            return keys
        }
        link.admit(keys)
    }
}

extension Transaction {
    /// Binds a key that waited or was contested.
    fileprivate func settle(_ key: inout AgentKey, cause: String, at now: Timestamp) throws {
        let before = key.state
        try delete(key)
        key.state = .bound
        key.contested = false
        try replaceBound(with: key, at: now)
        try record(
            kind: "agent",
            id: key.node.text,
            attempt: key.attempt,
            before: before.rawValue,
            after: "bound",
            cause: cause,
            at: now
        )
    }

    /// Binds a key; the keys of earlier boots of the same node and role are revoked.
    /// - Returns: those keys.
    @discardableResult
    fileprivate func replaceBound(
        with key: AgentKey,
        at now: Timestamp
    ) throws -> [CurvePublicKey] {
        let replaced = try agentKeys(of: key.node, role: key.role).filter { $0.key != key.key }
        for old in replaced {
            try delete(old)
            try record(
                kind: "agent",
                id: key.node.text,
                attempt: old.attempt,
                before: old.state.rawValue,
                after: "revoked",
                cause: "a later boot's key replaced \(old.key.fingerprint)",
                at: now
            )
        }
        try insert(key)
        return replaced.map(\.key)
    }
}

extension Transaction {
    /// Marks the key that holds a token as contested and records why; once for each key.
    fileprivate func contest(
        _ token: AgentToken,
        by key: CurvePublicKey,
        address: String,
        at now: Timestamp
    ) throws {
        guard let holder = token.boundKey, let bound = try agentKey(holder), !bound.contested
        else { return }
        try setContested(holder)
        try record(
            kind: "security",
            id: bound.node.text,
            attempt: bound.attempt,
            before: "undisputed",
            after: "contested",
            cause:
                "the key \(key.fingerprint) came from \(address) with the enrolment token that the key \(holder.fingerprint) holds; it was refused",
            at: now
        )
    }
}
