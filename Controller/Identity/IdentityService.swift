package import Basics
import HTTP
package import Logging
import Protocol
package import Store
import Synchronization

/// The only door of the identity area: who there is, what they may, tokens, credentials, the audit trail.
///
/// Topics stand in extensions: `+Tokens`, `+Users`, `+Projects`, `+Roles`, `+Credentials`, `+Catalog`,
/// `+Readers`, `+Audit`.
package final class IdentityService: RequestAuthenticator, StandingRights, AuditTrail {
    struct State {
        var guardian = LoginGuard()
        var cache: [String: Session] = [:]
        /// Grows when an identity changes; what was looked up before is then not cached.
        var generation = 0
        var signingIn = 0
        var flood = RefusalFlood()
    }

    /// The project that owns the installation.
    package static let adminProjectName = "admin"
    static let cacheMax = 4096
    /// Sign-ins that wait for the password thread.
    static let signInsMax = 32

    let database: Database
    let signer: TokenSigner
    let tokenValidity: Duration
    let passwordCost: PasswordHash.Cost
    let time: any TimeSource
    let random: any RandomSource
    let logger: Logger
    let checker = PasswordChecker()
    let state = Mutex(State())

    /// `passwordCost` is the work for one guess; tests take less.
    package init(
        database: Database,
        signer: TokenSigner,
        tokenValidity: Duration = .seconds(3600),
        passwordCost: PasswordHash.Cost = PasswordHash.Cost(),
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) {
        self.database = database
        self.signer = signer
        self.tokenValidity = tokenValidity
        self.passwordCost = passwordCost
        self.time = time
        self.random = random
        self.logger = logger
    }

    /// Makes the administrator, the admin project and the catalog of our own services when they are missing.
    ///
    /// `hash` is the text form of `PasswordHash`, from the file that the installation made. It is given to the
    /// administrator when it is another one than at the last start (root may reset the password so); a
    /// password that was changed through the API stays.
    package func bootstrap(
        adminName: String = "admin",
        hash: Secret,
        catalog: Catalog
    ) async throws {
        guard let hash = PasswordHash(hash)?.text else {
            throw Fault(
                .unavailable,
                "cannot use the administrator's password hash: the file does not hold one; run “rdo undercloud install”"
            )
        }
        let now = time.now
        let ids = (identifier(), identifier())
        try await change { transaction in
            try transaction.synchronize(catalog)
            let project = try Self.adminProject(transaction, id: ids.0)
            let existing = try transaction.user(name: adminName, domainID: Domain.id)
            // Databases of 0.1 do not say which hash was installed; then the user's own tells.
            let installed =
                try transaction.identitySetting("installedHash").map { Secret($0) }
                ?? existing?.passwordHash
            try transaction.saveIdentitySetting("installedHash", hash.reveal())
            guard existing == nil || installed != hash else { return }
            var user = existing ?? User(id: ids.1, domainID: Domain.id, name: adminName)
            user.passwordHash = hash
            user.isEnabled = true
            user.generation += 1
            try transaction.saveUser(user)
            for scope in [GrantScope.project(project.id), .system] {
                try transaction.add(
                    Grant(roleID: Role.admin.rawValue, actor: .user(user.id), scope: scope)
                )
            }
            try transaction.record(
                kind: "user",
                id: user.id,
                before: "",
                after: "enabled",
                cause: "the installed administrator's password",
                at: now
            )
        }
    }

    private static func adminProject(_ transaction: Transaction, id: String) throws -> Project {
        let known = try transaction.adminProjectID().flatMap { try transaction.project(id: $0) }
        if let known { return known }
        let named = try transaction.project(name: adminProjectName, domainID: Domain.id)
        let project = named ?? Project(id: id, domainID: Domain.id, name: adminProjectName)
        try transaction.saveProject(project)
        try transaction.saveIdentitySetting("adminProject", project.id)
        return project
    }

    // MARK: - For the topics

    /// Runs a transaction after which nothing that was looked up before counts.
    func change<Value: Sendable>(
        _ body: @escaping @Sendable (Transaction) throws -> Value
    ) async throws -> Value {
        let value = try await database.write(body)
        forget()
        return value
    }

    /// As above, with a row for the change feed.
    func change<Value: Sendable>(
        _ change: DirectoryChange,
        by principal: Principal,
        _ body: @escaping @Sendable (Transaction) throws -> Value
    ) async throws -> Value {
        let now = time.now
        return try await self.change { transaction in
            let value = try body(transaction)
            try transaction.record(
                kind: change.kind,
                id: change.id,
                before: "",
                after: "",
                cause: "\(change.what) by \(principal.userName)",
                at: now
            )
            return value
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
    func identifier() -> String {
        random.bytes(16).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count < 2 ? "0" + digits : digits
        }.joined()
    }

    /// Hashes a password on the thread for that.
    func hash(_ password: Secret) async throws -> Secret {
        try enterQueue()
        defer { state.withLock { $0.signingIn -= 1 } }
        return try await checker.hash(password, salt: random.bytes(16), cost: passwordCost)
    }

    /// Takes a place before the password thread; whoever took one gives it back.
    func enterQueue() throws {
        try state.withLock { state in
            guard state.signingIn < Self.signInsMax else {
                throw Fault(
                    .tooMany,
                    "cannot work on this password just now: too many others wait; try again in a second"
                )
            }
            state.signingIn += 1
        }
    }

    /// A name as the API takes it.
    static func name(_ name: String?, of kind: DirectoryKind) throws -> String {
        guard let name, !name.allSatisfy(\.isWhitespace), name.count <= kind.nameMax,
            name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f })
        else {
            throw Fault(
                .invalid,
                "cannot take the name of this \(kind.rawValue): use 1 to \(kind.nameMax) characters, not only blanks"
            )
        }
        return name
    }

    /// - Throws: `Fault` of kind `conflict` when another object has the name.
    static func requireFree(
        _ transaction: Transaction,
        _ kind: DirectoryKind,
        _ name: String,
        in domainID: String?,
        except id: String
    ) throws {
        guard try !transaction.isTaken(kind, name: name, domainID: domainID, except: id) else {
            throw Fault(
                .conflict,
                "cannot use the name \(name): another \(kind.rawValue) has it; choose another one"
            )
        }
    }

    /// - Throws: `Fault` of kind `invalid` when an object would move to another domain.
    static func requireSameDomain(_ asked: String?, _ domainID: String?) throws {
        guard asked == nil || asked == domainID else {
            throw Fault(.invalid, "cannot change domain_id: an object stays in its domain")
        }
    }
}
