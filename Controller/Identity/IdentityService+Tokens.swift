package import Basics
package import HTTP
import Logging
import Protocol
import Store
import Synchronization

/// Signing in, and what a token means today.
extension IdentityService {
    static let refused = Fault(
        .unauthenticated,
        "cannot sign in: the user name, password or scope is wrong, or the token has ended; check them and sign in again"
    )

    /// Signs somebody in.
    /// - Throws: `Fault`: `unauthenticated` without telling what was wrong; `tooMany` after failures.
    package func signIn(_ request: SignIn, from address: String) async throws -> IssuedToken {
        let now = time.now
        var claims = TokenClaims(
            id: identifier(),
            userID: "",
            scope: .none,
            methods: [],
            issued: Self.wholeSeconds(now),
            expires: Self.wholeSeconds(now) + tokenValidity
        )
        var scope = request.scope
        switch request.proof {
        case .password(let userID, let userName, let domain, let password):
            claims.methods = ["password"]
            claims.userID = try await check(
                password,
                of: AccountReference(userID: userID, userName: userName, domain: domain),
                from: address
            )
        case .application(let id, let name, let userID, let userName, let domain, let secret):
            guard scope == .unspecified else { throw Self.refused }
            let owner = AccountReference(userID: userID, userName: userName, domain: domain)
            let credential = try await check(
                secret,
                ofCredential: id,
                named: name,
                of: owner,
                from: address
            )
            claims.methods = ["application_credential"]
            claims.userID = credential.userID
            claims.credentialID = credential.id
            scope = .project(id: credential.projectID, name: nil)
            if let end = credential.expires { claims.expires = min(claims.expires, end) }
        case .token(let token):
            let session = try await resolve(token)
            // Its roles are bound to one project.
            guard session.credential == nil else { throw Self.refused }
            claims.methods = Array(Set(session.claims.methods + ["token"])).sorted()
            claims.userID = session.claims.userID
            // The new token ends when the old one would have: else one sign-in would last for ever.
            claims.expires = session.claims.expires
        }
        return try await issue(claims, scope: scope)
    }

    package func principal(token: Secret) async throws -> Principal {
        try await resolve(token).principal
    }

    package func present(_ principal: Principal) async throws -> Principal {
        let now = time.now
        let scope: TokenClaims.Scope =
            switch principal.scope {
            case .none: .none
            case .project(let id, _): .project(id)
            case .domain(let id, _): .domain(id)
            case .system: .system
            }
        let claims = TokenClaims(
            id: principal.tokenID,
            userID: principal.userID,
            scope: scope,
            methods: [],
            issued: now,
            expires: now,
            generation: principal.generation,
            credentialID: principal.delegation?.credentialID
        )
        return try await database.read { try $0.session(claims, at: now).principal }
    }

    /// What a token says, for its owner or an administrator.
    func inspect(_ token: Secret) async throws -> IssuedToken {
        let session = try await resolve(token)
        let catalog = try await database.read { try Self.catalog(of: session, $0) }
        return IssuedToken(token: token, session: session, catalog: catalog)
    }

    /// Ends a token.
    package func revoke(_ token: Secret) async throws {
        let claims = try await resolve(token).claims
        let now = time.now
        try await change { transaction in
            try transaction.revoke(token: claims.id, expires: claims.expires, at: now)
        }
    }

    /// The identifier of the account that a sign-in is about, for the audit trail; `nil` when there is none.
    ///
    /// A name that nobody has stays out of the trail: people type passwords into the wrong field.
    func account(of proof: SignIn.Proof) async throws -> String? {
        switch proof {
        case .password(let userID, let userName, let domain, _):
            let account = AccountReference(userID: userID, userName: userName, domain: domain)
            return try await database.read { try $0.user(account)?.id }
        case .application(let id, _, _, _, _, _):
            guard let id else { return nil }
            return try await database.read { try $0.credential(id: id)?.userID }
        case .token: return nil
        }
    }

    // MARK: - Proofs

    /// Checks a password; guesses are slowed down, however the account is named.
    /// - Returns: the user's identifier.
    private func check(
        _ password: Secret,
        of account: AccountReference,
        from address: String
    ) async throws -> String {
        let user = try await database.read { try $0.user(account) }
        return try await guarded(user?.id ?? account.key, from: address) {
            let hash = user?.passwordHash.flatMap { PasswordHash($0) }
            let isRight = await checker.check(password, against: hash, cost: passwordCost)
            guard let user, hash != nil, isRight, user.isEnabled else { return nil as String? }
            return user.id
        }
    }

    private func check(
        _ secret: Secret,
        ofCredential id: String?,
        named name: String?,
        of owner: AccountReference,
        from address: String
    ) async throws -> ApplicationCredential {
        let credential = try await database.read { transaction in
            if let id { return try transaction.credential(id: id) }
            guard let name, let user = try transaction.user(owner) else { return nil }
            return try transaction.credentials(ofUser: user.id, name: name).first
        }
        let key = credential?.id ?? id ?? "\(owner.key ?? "")\n\(name ?? "")"
        return try await guarded(key, from: address) {
            let hash = credential.flatMap { PasswordHash($0.secretHash) }
            let isRight = await checker.check(secret, against: hash, cost: passwordCost)
            return isRight ? credential : nil
        }
    }

    /// Runs one try, unless too many failed before; counts how it ended.
    private func guarded<Value: Sendable>(
        _ subject: String?,
        from address: String,
        _ check: () async throws -> Value?
    ) async throws -> Value {
        guard let subject, subject.utf8.count <= 1024 else { throw Self.refused }
        let now = time.now
        try state.withLock { state in
            if let until = state.guardian.lockedUntil(user: subject, address: address, at: now) {
                let seconds = Int((until - now).inSeconds.rounded(.up))
                throw Fault(
                    .tooMany,
                    "cannot sign in: too many wrong passwords from here; wait \(seconds) s and try again"
                )
            }
        }
        try enterQueue()
        defer { state.withLock { $0.signingIn -= 1 } }
        guard let value = try await check() else {
            let failed = time.now
            state.withLock { $0.guardian.failed(user: subject, address: address, at: failed) }
            logger.notice("a sign-in was refused", metadata: [LogKey.address: .string(address)])
            throw Self.refused
        }
        state.withLock { $0.guardian.succeeded(user: subject, address: address) }
        return value
    }

    /// Lets a user give itself another password; whoever has only the token does not know the old one.
    func changePassword(
        of id: String,
        from old: Secret,
        to new: Secret,
        address: String,
        as principal: Principal
    ) async throws {
        guard id == principal.userID else {
            throw Fault(.forbidden, "cannot change the password of another user with the old one")
        }
        let account = AccountReference(userID: id, userName: nil, domain: .standard)
        _ = try await check(old, of: account, from: address)
        guard old != new else {
            throw Fault(.invalid, "cannot take the password: it is the old one; choose another")
        }
        let hash = try await hash(new)
        try await change(.changed("user", id), by: principal) { transaction in
            guard var user = try transaction.user(id: id) else { throw Self.refused }
            guard user.attributes.options["lock_password"] != true else {
                throw Fault(
                    .invalid,
                    "cannot change the password: it is locked; ask an administrator"
                )
            }
            user.passwordHash = hash
            user.generation += 1
            try transaction.saveUser(user)
        }
    }

    // MARK: - Tokens

    private func issue(_ claims: TokenClaims, scope: SignIn.Scope) async throws -> IssuedToken {
        let (signer, now) = (signer, time.now)
        return try await database.read { transaction in
            var claims = claims
            guard let user = try transaction.user(id: claims.userID) else { throw Self.refused }
            if scope == .unspecified, let projectID = user.defaultProjectID {
                // Without a role in it, or when it is disabled, the token speaks for nothing.
                if let issued = try? Self.token(
                    claims,
                    for: .project(projectID),
                    signer,
                    transaction,
                    at: now
                ) {
                    return issued
                }
            }
            claims.scope = try transaction.scope(scope)
            return try Self.token(claims, for: claims.scope, signer, transaction, at: now)
        }
    }

    private static func token(
        _ claims: TokenClaims,
        for scope: TokenClaims.Scope,
        _ signer: TokenSigner,
        _ transaction: Transaction,
        at now: Timestamp
    ) throws -> IssuedToken {
        var claims = claims
        claims.scope = scope
        claims.generation = try transaction.generation(of: claims)
        let session = try transaction.session(claims, at: now)
        return IssuedToken(
            token: try signer.sign(claims),
            session: session,
            catalog: try catalog(of: session, transaction)
        )
    }

    private static func catalog(
        of session: Session,
        _ transaction: Transaction
    ) throws -> [CatalogEntry] {
        guard session.principal.scope != .none else { return [] }
        return try transaction.catalog(forProject: session.principal.projectID)
    }

    func resolve(_ token: Secret) async throws -> Session {
        let now = time.now
        let key = token.reveal()
        let (cached, generation) = state.withLock { ($0.cache[key], $0.generation) }
        if let cached, now < cached.claims.expires { return cached }
        guard let claims = signer.read(token, at: now) else { throw Self.refused }
        let fresh = try await database.read { try $0.session(claims, at: now) }
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.cache.count >= Self.cacheMax { state.cache = [:] }
            state.cache[key] = fresh
        }
        return fresh
    }

    private static func wholeSeconds(_ time: Timestamp) -> Timestamp {
        Timestamp(nanoseconds: time.nanoseconds / 1_000_000_000 * 1_000_000_000)
    }
}
