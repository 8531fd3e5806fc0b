package import Basics

/// What somebody may do; each role includes those before it, as in Keystone.
package enum Role: String, Sendable, CaseIterable, Comparable, Codable {
    /// Looks, changes nothing.
    case reader
    /// Uses what is there.
    case member
    /// Manages a project.
    case manager
    /// Everything.
    case admin

    package static func < (left: Role, right: Role) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .reader: 0
        case .member: 1
        case .manager: 2
        case .admin: 3
        }
    }
}

/// Who asks, as proven by a token.
package struct Principal: Sendable, Equatable {
    /// What the token speaks for.
    package enum Scope: Sendable, Equatable {
        /// Proves only who it is; gives no role.
        case none
        case project(id: String, name: String)
        /// The users, groups and projects of a domain; means something to Identity alone.
        case domain(id: String, name: String)
        /// The whole installation.
        case system
    }

    /// What an application credential, by which somebody signed in, takes away from its owner's rights.
    package struct Delegation: Sendable, Equatable {
        package let credentialID: String
        /// Whether it may make and delete application credentials.
        package let isUnrestricted: Bool
        /// The only requests that are let through; `nil` does not limit them.
        package let rules: [AccessRule]?

        package init(credentialID: String, isUnrestricted: Bool, rules: [AccessRule]?) {
            self.credentialID = credentialID
            self.isUnrestricted = isUnrestricted
            self.rules = rules
        }
    }

    package let userID: String
    package let userName: String
    /// The domain that the user belongs to.
    package let userDomainID: String
    package let scope: Scope
    /// The strongest role in this scope; `nil` has none.
    package let role: Role?
    /// The project that owns the installation, whose roles count as system roles.
    package let isAdminProject: Bool
    /// The token's identifier, by which it is revoked.
    package let tokenID: String
    /// What Identity compares to see whether account, project or domains changed since the token was made.
    package let generation: Int64
    /// Set when it signed in with an application credential.
    package let delegation: Delegation?

    package init(
        userID: String,
        userName: String,
        userDomainID: String = "default",
        scope: Scope,
        role: Role?,
        isAdminProject: Bool,
        tokenID: String,
        generation: Int64 = 0,
        delegation: Delegation? = nil
    ) {
        self.userID = userID
        self.userName = userName
        self.userDomainID = userDomainID
        self.delegation = delegation
        self.scope = scope
        self.role = role
        self.isAdminProject = isAdminProject
        self.tokenID = tokenID
        self.generation = generation
    }

    /// Whether it speaks for the whole installation: system scope, or the project that owns it.
    package var isSystem: Bool { scope == .system || isAdminProject }

    package var projectID: String? {
        if case .project(let id, _) = scope { return id }
        return nil
    }

    package var domainID: String? {
        if case .domain(let id, _) = scope { return id }
        return nil
    }

    /// Whether it has `wanted` or a stronger role in a project or over the whole installation.
    ///
    /// A role in a domain is none here: areas that do not know domains refuse by default.
    package func has(_ wanted: Role) -> Bool {
        guard let role, domainID == nil else { return false }
        return role >= wanted
    }

    /// Lets only those pass who have `wanted` or a stronger role.
    ///
    /// `action` is what is about to be done, as a clause: `delete node c0-07`.
    /// - Throws: `Fault` of kind `forbidden`.
    package func require(_ wanted: Role, to action: String) throws {
        guard domainID == nil else {
            throw Fault(
                .forbidden,
                "cannot \(action): a token for a domain manages users and projects only; sign in with a project or --os-system-scope all"
            )
        }
        guard has(wanted) else {
            throw Fault(
                .forbidden,
                "cannot \(action): it takes the role \(wanted.rawValue); ask an administrator of this cloud for it"
            )
        }
    }

    /// Lets only those pass who speak for the whole installation and have `wanted` or a stronger role.
    /// - Throws: `Fault` of kind `forbidden`.
    package func requireSystem(_ wanted: Role, to action: String) throws {
        try require(wanted, to: action)
        guard isSystem else {
            throw Fault(
                .forbidden,
                "cannot \(action): it takes the system scope; sign in with --os-system-scope all or with the admin project"
            )
        }
    }
}

/// Proves who asks.
///
/// Identity implements it; HTTP calls it before any handler that is not open.
package protocol RequestAuthenticator: Sendable {
    /// Reads a token.
    /// - Throws: `Fault` of kind `unauthenticated` when it is unknown, expired or revoked.
    func principal(token: Secret) async throws -> Principal

    /// Whether `credential` is a read-only credential for scrapes that was not revoked.
    func isReader(credential: Secret) async throws -> Bool
}

/// Tells what somebody may do now who proved some time ago who it is.
///
/// Identity implements it, for work that goes on in somebody's name after the request.
package protocol StandingRights: Sendable {
    /// The principal with the role that it has today.
    ///
    /// That its token has run out meanwhile is no reason to refuse it.
    /// - Throws: `Fault` of kind `unauthenticated` when the token was revoked, the account or its project was
    ///   disabled, its password changed, its application credential ended, or it has no role there any more.
    func present(_ principal: Principal) async throws -> Principal
}
