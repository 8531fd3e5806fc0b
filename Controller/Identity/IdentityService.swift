package import Basics
import Crypto
import FoundationEssentials
package import HTTP
package import Logging
package import Protocol
package import Store
import Synchronization

/// How somebody proves who it is, and what the token shall speak for.
package struct SignIn: Sendable {
    /// The proof.
    package enum Proof: Sendable {
        /// By identifier, or by name in the one domain.
        case password(userID: String?, userName: String?, password: Secret)
        /// A token that is still valid, to change the scope.
        case token(Secret)
    }

    /// The wish.
    package enum Scope: Sendable {
        case none
        case project(id: String?, name: String?)
        case system
    }

    package var proof: Proof
    package var scope: Scope

    package init(proof: Proof, scope: Scope) {
        self.proof = proof
        self.scope = scope
    }
}

/// A token as its owner sees it.
package struct IssuedToken: Sendable {
    package let token: Secret
    package let principal: Principal
    let methods: [String]
    let issued: Timestamp
    package let expires: Timestamp
}

/// The only door of the identity area: users, tokens, read-only credentials, the audit trail.
package final class IdentityService: RequestAuthenticator, AuditTrail {
    private struct Cached {
        let principal: Principal
        let claims: TokenClaims
    }

    private struct State {
        var guardian = LoginGuard()
        var cache: [String: Cached] = [:]
        /// Grows when an identity changes; what was looked up before is then not cached.
        var generation = 0
        var signingIn = 0
    }

    /// The project that owns the installation.
    package static let adminProjectName = "admin"
    static let cacheMax = 4096
    /// Sign-ins that wait for the password thread.
    static let signInsMax = 32

    let database: Database
    private let signer: TokenSigner
    private let tokenValidity: Duration
    private let time: any TimeSource
    private let random: any RandomSource
    private let logger: Logger
    private let checker = PasswordChecker()
    private let state = Mutex(State())

    package init(
        database: Database,
        signer: TokenSigner,
        tokenValidity: Duration = .seconds(3600),
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) {
        self.database = database
        self.signer = signer
        self.tokenValidity = tokenValidity
        self.time = time
        self.random = random
        self.logger = logger
    }

    /// Makes the administrator and the admin project when they are missing, and gives the administrator
    /// the installed password when that is another one (root may reset it so).
    ///
    /// `hash` is the text form of `PasswordHash`, from the file that the installation made.
    package func bootstrap(adminName: String = "admin", hash: Secret) async throws {
        guard let hash = PasswordHash(hash)?.text else {
            throw Fault(
                .unavailable,
                "cannot use the administrator's password hash: the file does not hold one; run “rdo undercloud install”"
            )
        }
        let now = time.now
        let ids = (identifier(), identifier())
        let changed = try await database.write { transaction in
            var project = try transaction.project(name: Self.adminProjectName)
            if project == nil {
                project = Project(id: ids.0, name: Self.adminProjectName, isEnabled: true)
                if let project { try transaction.saveProject(project) }
            }
            var user =
                try transaction.user(name: adminName)
                ?? User(
                    id: ids.1,
                    name: adminName,
                    isEnabled: true,
                    passwordHash: Secret(""),
                    tokensAfter: 0
                )
            guard user.passwordHash != hash else { return false }
            user.passwordHash = hash
            user.tokensAfter = now.nanoseconds
            try transaction.saveUser(user)
            if let project {
                try transaction.grant(.admin, to: user.id, inProject: project.id)
            }
            try transaction.grantSystem(.admin, to: user.id)
            try transaction.record(
                kind: "user",
                id: user.id,
                before: "",
                after: "enabled",
                cause: "the installed administrator's password",
                at: now
            )
            return true
        }
        if changed { forget() }
    }

    // MARK: - Tokens

    /// Signs somebody in.
    /// - Throws: `Fault`: `unauthenticated` without telling what was wrong; `tooMany` after failures.
    package func signIn(_ request: SignIn, from address: String) async throws -> IssuedToken {
        switch request.proof {
        case .password(let userID, let userName, let password):
            let user = try await check(
                userID: userID,
                userName: userName,
                password: password,
                address: address
            )
            let now = wholeSeconds(time.now)
            return try await issue(
                user: user,
                scope: request.scope,
                methods: ["password"],
                issued: now,
                expires: now + tokenValidity
            )
        case .token(let token):
            let cached = try await resolve(token)
            guard let user = try await database.read({ try $0.user(id: cached.claims.userID) })
            else { throw Self.refused }
            // The new token ends when the old one would have: else one sign-in would last for ever.
            return try await issue(
                user: user,
                scope: request.scope,
                methods: Array(Set(cached.claims.methods + ["token"])).sorted(),
                issued: wholeSeconds(time.now),
                expires: cached.claims.expires
            )
        }
    }

    package func principal(token: Secret) async throws -> Principal {
        try await resolve(token).principal
    }

    /// What a token says, for its owner or an administrator.
    package func inspect(_ token: Secret) async throws -> IssuedToken {
        let cached = try await resolve(token)
        return IssuedToken(
            token: token,
            principal: cached.principal,
            methods: cached.claims.methods,
            issued: cached.claims.issued,
            expires: cached.claims.expires
        )
    }

    /// Ends a token.
    package func revoke(_ token: Secret) async throws {
        let claims = try await resolve(token).claims
        let now = time.now
        try await database.write { transaction in
            try transaction.revoke(token: claims.id, expires: claims.expires, at: now)
        }
        forget()
    }

    // MARK: - Read-only credentials

    /// Makes a credential that reads metrics and nothing else; it is shown this once.
    /// - Throws: `Fault` of kind `conflict` when the name is taken.
    package func createReader(_ name: String) async throws -> Secret {
        let text = "rdo_reader_" + Base64URL.encode(random.bytes(32))
        let digest = Array(SHA256.hash(data: Array(text.utf8)))
        let now = time.now
        try Self.checkName(name)
        try await database.write { transaction in
            guard try !transaction.hasReader(name: name) else {
                throw Fault(
                    .conflict,
                    "cannot make the read-only credential \(name): the name is taken; revoke that one or choose another name"
                )
            }
            try transaction.addReader(name: name, digest: digest, at: now)
            try transaction.record(
                kind: "security",
                id: name,
                before: "",
                after: "reader",
                cause: "a read-only credential was made",
                at: now
            )
        }
        return Secret(text)
    }

    /// Ends a read-only credential.
    package func revokeReader(_ name: String) async throws {
        let now = time.now
        try await database.write { transaction in
            guard try transaction.removeReader(name: name) else {
                throw Fault(
                    .notFound,
                    "cannot revoke the read-only credential \(name): there is none"
                )
            }
            try transaction.record(
                kind: "security",
                id: name,
                before: "reader",
                after: "",
                cause: "a read-only credential was revoked",
                at: now
            )
        }
    }

    package func isReader(credential: Secret) async throws -> Bool {
        // The lookup is by digest: its timing says nothing about the credential.
        let digest = Array(SHA256.hash(data: credential.revealBytes()))
        return try await database.read { try $0.hasReader(digest: digest) }
    }

    // MARK: - Audit

    /// Forgets audit records older than `time`.
    package func trimAudit(olderThan time: Timestamp) async throws {
        try await database.write { try $0.trimAudit(olderThan: time) }
    }

    package func keep(_ record: AuditRecord) async {
        do {
            try await database.write { try $0.addAudit(record) }
        } catch {
            logger.error(
                "an audit record was lost",
                metadata: [
                    LogKey.requestID: .string(record.requestID),
                    LogKey.error: .string(Fault(error).report),
                ]
            )
        }
    }

    // MARK: - Inside

    private static let refused = Fault(
        .unauthenticated,
        "cannot sign in: the user name, password or scope is wrong, or the token has ended; check them and sign in again"
    )

    private func check(
        userID: String?,
        userName: String?,
        password: Secret,
        address: String
    ) async throws -> User {
        guard let subject = userID ?? userName, subject.utf8.count <= 255, !password.isEmpty else {
            throw Self.refused
        }
        let now = time.now
        try state.withLock { state in
            if let until = state.guardian.lockedUntil(user: subject, address: address, at: now) {
                let seconds = Int((until - now).inSeconds.rounded(.up))
                throw Fault(
                    .tooMany,
                    "cannot sign in: too many wrong passwords from here; wait \(seconds) s and try again"
                )
            }
            guard state.signingIn < Self.signInsMax else {
                throw Fault(
                    .tooMany,
                    "cannot sign in just now: too many others do; try again in a second"
                )
            }
            state.signingIn += 1
        }
        defer { state.withLock { $0.signingIn -= 1 } }
        let user = try await database.read { transaction in
            if let userID { return try transaction.user(id: userID) }
            return try transaction.user(name: subject)
        }
        let hash = user.flatMap { PasswordHash($0.passwordHash) }
        let isRight = await checker.check(password, against: hash)
        guard let user, hash != nil, isRight, user.isEnabled else {
            let failed = time.now
            state.withLock { $0.guardian.failed(user: subject, address: address, at: failed) }
            logger.notice(
                "a sign-in was refused",
                metadata: [LogKey.address: .string(address)]
            )
            throw Self.refused
        }
        state.withLock { $0.guardian.succeeded(user: subject, address: address) }
        return user
    }

    private func issue(
        user: User,
        scope: SignIn.Scope,
        methods: [String],
        issued: Timestamp,
        expires: Timestamp
    ) async throws -> IssuedToken {
        let claimed: TokenClaims.Scope =
            switch scope {
            case .none: .none
            case .system: .system
            case .project(let id, let name):
                .project(
                    try await database.read { transaction in
                        let project =
                            try id.map { try transaction.project(id: $0) }
                            ?? name.flatMap { try transaction.project(name: $0) }
                        guard let project else { throw Self.refused }
                        return project.id
                    }
                )
            }
        let claims = TokenClaims(
            id: identifier(),
            userID: user.id,
            scope: claimed,
            methods: methods,
            issued: issued,
            expires: expires
        )
        let token = try signer.sign(claims)
        return IssuedToken(
            token: token,
            principal: try await lookUp(claims),
            methods: methods,
            issued: issued,
            expires: expires
        )
    }

    private func resolve(_ token: Secret) async throws -> Cached {
        let now = time.now
        let key = token.reveal()
        let (cached, generation) = state.withLock { ($0.cache[key], $0.generation) }
        if let cached, now < cached.claims.expires { return cached }
        guard let claims = signer.read(token, at: now) else { throw Self.refused }
        let fresh = Cached(principal: try await lookUp(claims), claims: claims)
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.cache.count >= Self.cacheMax { state.cache = [:] }
            state.cache[key] = fresh
        }
        return fresh
    }

    /// What the claims mean today.
    private func lookUp(_ claims: TokenClaims) async throws -> Principal {
        try await database.read { transaction in
            guard let user = try transaction.user(id: claims.userID), user.isEnabled,
                // Claims hold whole seconds; a token of the same second as the change still counts.
                claims.issued.nanoseconds + 999_999_999 >= user.tokensAfter,
                try !transaction.isRevoked(token: claims.id)
            else { throw Self.refused }
            func principal(_ scope: Principal.Scope, _ role: Role?, admin: Bool) -> Principal {
                Principal(
                    userID: user.id,
                    userName: user.name,
                    scope: scope,
                    role: role,
                    isAdminProject: admin,
                    tokenID: claims.id
                )
            }
            switch claims.scope {
            case .none: return principal(.none, nil, admin: false)
            case .system:
                guard let role = try transaction.systemRole(of: user.id) else { throw Self.refused }
                return principal(.system, role, admin: false)
            case .project(let id):
                guard let project = try transaction.project(id: id), project.isEnabled,
                    let role = try transaction.role(of: user.id, inProject: id)
                else { throw Self.refused }
                return principal(
                    .project(id: id, name: project.name),
                    role,
                    admin: project.name == Self.adminProjectName
                )
            }
        }
    }

    /// Forgets what was looked up, because an identity changed.
    private func forget() {
        state.withLock { state in
            state.cache = [:]
            state.generation += 1
        }
    }

    /// A new identifier as Keystone writes them: 32 hexadecimal digits.
    private func identifier() -> String {
        random.bytes(16).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count < 2 ? "0" + digits : digits
        }.joined()
    }

    private func wholeSeconds(_ time: Timestamp) -> Timestamp {
        Timestamp(nanoseconds: time.nanoseconds / 1_000_000_000 * 1_000_000_000)
    }

    private static func checkName(_ name: String) throws {
        guard (1...64).contains(name.utf8.count),
            name.utf8.allSatisfy({ byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
                    || byte == UInt8(ascii: ".")
            })
        else {
            throw Fault(
                .invalid,
                "cannot take this name: use 1 to 64 letters, digits, “-”, “_” and “.”"
            )
        }
    }
}
