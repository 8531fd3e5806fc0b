import Basics
import HTTP
import Store

/// Application credentials and access rules: a user's own things.
extension IdentityService {
    /// Application credentials of one user, and rules of one credential, at most.
    static let credentialsMax = 256
    static let rulesMax = 64
    /// Rules that one user keeps at most.
    static let ownedRulesMax = 1024

    func credentials(
        ofUser id: String,
        name: String?,
        as principal: Principal
    ) async throws -> [ApplicationCredential] {
        try Self.requireSeeing(id, principal)
        return try await database.read { try $0.credentials(ofUser: id, name: name) }
    }

    func credential(
        _ id: String,
        ofUser userID: String,
        as principal: Principal
    ) async throws -> ApplicationCredential {
        try Self.requireSeeing(userID, principal)
        let found = try await database.read { try $0.credential(id: id) }
        guard let found, found.userID == userID else { throw Self.missingCredential(id) }
        return found
    }

    /// - Returns: the credential and its secret, which is shown this once.
    func createCredential(
        _ draft: CredentialDraft,
        ofUser userID: String,
        as principal: Principal
    ) async throws -> (credential: ApplicationCredential, secret: Secret) {
        let action = "create an application credential"
        guard userID == principal.userID, let projectID = principal.projectID else {
            throw Fault(
                .forbidden,
                "cannot \(action): users make their own, with a token for the project it is for"
            )
        }
        try Self.requireUnrestricted(principal, to: action)
        guard draft.rules.count <= Self.rulesMax else {
            throw Fault(.invalid, "cannot \(action): it has more than \(Self.rulesMax) rules")
        }
        if let expires = draft.expires, expires <= time.now {
            throw Fault(.invalid, "cannot \(action): it would have expired already")
        }
        let secret = draft.secret ?? Secret(Base64URL.encode(random.bytes(64)))
        let hash = try await hash(secret)
        let id = identifier()
        let ruleIDs = draft.rules.map { _ in identifier() }
        let credential = try await change(.made("application_credential", id), by: principal) {
            transaction in
            let existing = try transaction.credentials(ofUser: userID)
            guard existing.count < Self.credentialsMax else {
                throw Fault(
                    .forbidden,
                    "cannot \(action): there are \(Self.credentialsMax) already; delete one"
                )
            }
            guard !existing.contains(where: { $0.name == draft.name }) else {
                throw Fault(
                    .conflict,
                    "cannot \(action): another one has the name \(draft.name); choose another name"
                )
            }
            let credential = ApplicationCredential(
                id: id,
                userID: userID,
                projectID: projectID,
                name: draft.name,
                description: draft.description,
                secretHash: hash,
                expires: draft.expires,
                isUnrestricted: draft.isUnrestricted,
                roles: try transaction.roles(draft.roles, for: principal, projectID),
                rules: try transaction.rules(draft.rules, ruleIDs, ofUser: userID)
            )
            try transaction.add(credential)
            return credential
        }
        return (credential, secret)
    }

    func deleteCredential(
        _ id: String,
        ofUser userID: String,
        as principal: Principal
    ) async throws {
        let action = "delete an application credential"
        try principal.requireOwner(of: userID, to: action)
        try Self.requireUnrestricted(principal, to: action)
        try await change(.removed("application_credential", id), by: principal) { transaction in
            guard let found = try transaction.credential(id: id), found.userID == userID else {
                throw Self.missingCredential(id)
            }
            try transaction.removeCredential(id: id)
        }
    }

    // MARK: - Access rules

    func rules(ofUser id: String, as principal: Principal) async throws -> [OwnedRule] {
        try Self.requireSeeing(id, principal)
        return try await database.read { try $0.rules(ofUser: id) }
    }

    func rule(
        _ id: String,
        ofUser userID: String,
        as principal: Principal
    ) async throws -> OwnedRule {
        guard
            let rule = try await rules(ofUser: userID, as: principal).first(where: { $0.id == id })
        else { throw Self.missingRule(id) }
        return rule
    }

    /// - Throws: `Fault` of kind `forbidden` while an application credential is limited by it.
    func deleteRule(_ id: String, ofUser userID: String, as principal: Principal) async throws {
        let action = "delete an access rule"
        try principal.requireOwner(of: userID, to: action)
        try Self.requireUnrestricted(principal, to: action)
        try await change(.removed("access_rule", id), by: principal) { transaction in
            guard try transaction.rules(ofUser: userID).contains(where: { $0.id == id }) else {
                throw Self.missingRule(id)
            }
            guard try !transaction.isUsed(rule: id) else {
                throw Fault(
                    .forbidden,
                    "cannot \(action): an application credential is limited by it; delete that one first"
                )
            }
            try transaction.removeRule(id: id)
        }
    }

    // MARK: - Inside

    private static func requireSeeing(_ userID: String, _ principal: Principal) throws {
        guard userID == principal.userID || principal.reads == .everything else {
            throw Fault(
                .forbidden,
                "cannot see these application credentials: they belong to another user"
            )
        }
    }

    private static func requireUnrestricted(_ principal: Principal, to action: String) throws {
        guard principal.delegation?.isUnrestricted ?? true else {
            throw Fault(
                .forbidden,
                "cannot \(action): the application credential of this token is restricted"
            )
        }
    }

    private static func missingCredential(_ id: String) -> Fault {
        Fault(
            .notFound,
            "cannot find application credential \(id.prefix(64)): there is none with this identifier"
        )
    }

    private static func missingRule(_ id: String) -> Fault {
        Fault(
            .notFound,
            "cannot find access rule \(id.prefix(64)): there is none with this identifier"
        )
    }
}

extension Transaction {
    /// The roles that a credential is given: all of its maker's here, or those named.
    fileprivate func roles(
        _ wanted: [String],
        for principal: Principal,
        _ projectID: String
    ) throws -> [RoleRecord] {
        var held = try effectiveRoles(of: .user(principal.userID), in: .project(projectID))
        if let id = principal.delegation?.credentialID, let maker = try credential(id: id) {
            let given = try closure(of: maker.roles.map(\.id)).map(\.id)
            held = held.filter { given.contains($0.id) }
        }
        guard !wanted.isEmpty else { return held }
        return try wanted.map { name in
            guard let role = held.first(where: { $0.id == name || $0.name == name }) else {
                throw Fault(
                    .invalid,
                    "cannot give role \(name.prefix(64)) to an application credential: you do not have it in this project"
                )
            }
            return role
        }
    }

    /// The rules of a draft; what the owner has already is used again.
    fileprivate func rules(
        _ drafts: [CredentialDraft.Rule],
        _ newIDs: [String],
        ofUser userID: String
    ) throws -> [OwnedRule] {
        var known = try rules(ofUser: userID)
        var rules: [OwnedRule] = []
        for (draft, newID) in zip(drafts, newIDs) {
            let rule: OwnedRule
            switch draft {
            case .existing(let id):
                guard let owned = known.first(where: { $0.id == id }) else {
                    throw Fault(
                        .invalid,
                        "cannot use access rule \(id.prefix(64)): you have none with this identifier"
                    )
                }
                rule = owned
            case .new(let wanted):
                if let owned = known.first(where: { $0.rule == wanted }) {
                    rule = owned
                } else {
                    guard known.count < IdentityService.ownedRulesMax else {
                        throw Fault(
                            .forbidden,
                            "cannot make another access rule: there are \(known.count); delete some"
                        )
                    }
                    rule = OwnedRule(id: newID, rule: wanted)
                    try add(rule, ofUser: userID)
                    known.append(rule)
                }
            }
            if !rules.contains(rule) { rules.append(rule) }
        }
        return rules
    }
}
