import Basics
import HTTP
import Protocol
import Store

/// An account as somebody names it who is not known yet.
struct AccountReference: Sendable, Equatable {
    var userID: String?
    var userName: String?
    var domain: DomainReference

    /// By what failures are counted; `nil` when no account is named.
    var key: String? {
        if let userID { return userID }
        guard let userName, !userName.isEmpty else { return nil }
        switch domain {
        case .id(let id): return "\(userName)\n\(id)"
        // Both names of the default domain count as one.
        case .name(let name): return "\(userName)\n\(name.lowercased())"
        }
    }
}

/// What names and claims mean today; whatever does not fit is refused with the same words.
extension Transaction {
    func domain(_ reference: DomainReference) throws -> Domain? {
        switch reference {
        case .id(let id): return try domain(id: id)
        case .name(let name):
            if let domain = try domain(name: name) { return domain }
            // Half of all openrc files write it in small letters, and Keystone on MySQL takes it.
            return name.lowercased() == Domain.id ? try domain(id: Domain.id) : nil
        }
    }

    func user(_ account: AccountReference) throws -> User? {
        if let id = account.userID { return try user(id: id) }
        guard let name = account.userName, let domain = try domain(account.domain) else {
            return nil
        }
        return try user(name: name, domainID: domain.id)
    }

    /// The scope that a sign-in asks for.
    func scope(_ wish: SignIn.Scope) throws -> TokenClaims.Scope {
        switch wish {
        case .unspecified, .none: return .none
        case .system: return .system
        case .domain(let reference):
            guard let domain = try domain(reference) else { throw IdentityService.refused }
            return .domain(domain.id)
        case .project(let id, let name, let reference):
            if let id { return .project(id) }
            guard let name, let domain = try domain(reference),
                let project = try project(name: name, domainID: domain.id)
            else { throw IdentityService.refused }
            return .project(project.id)
        }
    }

    /// The sum of the generations of everything that the claims speak of.
    func generation(of claims: TokenClaims) throws -> Int64 {
        guard let user = try user(id: claims.userID), user.isEnabled,
            let home = try domain(id: user.domainID), home.isEnabled
        else { throw IdentityService.refused }
        let own = user.generation + home.generation
        switch claims.scope {
        case .none, .system: return own
        case .domain(let id):
            guard let domain = try domain(id: id), domain.isEnabled else {
                throw IdentityService.refused
            }
            return own + domain.generation
        case .project(let id):
            guard let project = try project(id: id), project.isEnabled,
                let domain = try domain(id: project.domainID), domain.isEnabled
            else { throw IdentityService.refused }
            return own + project.generation + domain.generation
        }
    }

    /// What the claims mean now.
    /// - Throws: `Fault` of kind `unauthenticated` when they mean nothing any more.
    func session(_ claims: TokenClaims, at now: Timestamp) throws -> Session {
        guard try generation(of: claims) == claims.generation, try !isRevoked(token: claims.id),
            let user = try user(id: claims.userID), let home = try domain(id: user.domainID)
        else { throw IdentityService.refused }
        let actor = Actor.user(user.id)
        var (scope, roles) = (Principal.Scope.none, [RoleRecord]())
        var projectDomain: NamedReference?
        var isAdminProject = false
        switch claims.scope {
        case .none: break
        case .system:
            scope = .system
            roles = try effectiveRoles(of: actor, in: .system)
        case .domain(let id):
            guard let domain = try domain(id: id) else { throw IdentityService.refused }
            scope = .domain(id: id, name: domain.name)
            roles = try effectiveRoles(of: actor, in: .domain(id))
        case .project(let id):
            guard let project = try project(id: id), let domain = try domain(id: project.domainID)
            else { throw IdentityService.refused }
            scope = .project(id: id, name: project.name)
            projectDomain = NamedReference(id: domain.id, name: domain.name)
            isAdminProject = try adminProjectID() == id
            roles = try effectiveRoles(of: actor, in: .project(id))
        }
        let credential = try credential(of: claims, at: now)
        if let credential {
            // Never more than its owner has today.
            let given = try closure(of: credential.roles.map(\.id)).map(\.id)
            roles = roles.filter { given.contains($0.id) }
        }
        guard scope == .none || !roles.isEmpty else { throw IdentityService.refused }
        return Session(
            principal: Principal(
                userID: user.id,
                userName: user.name,
                userDomainID: user.domainID,
                scope: scope,
                role: roles.strongest,
                isAdminProject: isAdminProject,
                tokenID: claims.id,
                generation: claims.generation,
                delegation: credential?.delegation
            ),
            claims: claims,
            userDomain: NamedReference(id: home.id, name: home.name),
            projectDomain: projectDomain,
            roles: roles,
            credential: credential
        )
    }

    private func credential(
        of claims: TokenClaims,
        at now: Timestamp
    ) throws -> ApplicationCredential? {
        guard let id = claims.credentialID else { return nil }
        guard let credential = try credential(id: id), credential.userID == claims.userID,
            claims.scope == .project(credential.projectID),
            credential.expires.map({ now < $0 }) ?? true
        else { throw IdentityService.refused }
        return credential
    }
}
