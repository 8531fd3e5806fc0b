import Basics
import HTTP
import Store

/// Roles, what they imply, and who has them where.
extension IdentityService {
    // MARK: - Roles

    /// Roles of no domain are known to everybody who has one; those of a domain within reach of it.
    func roles(_ filter: DirectoryFilter, as principal: Principal) async throws -> [RoleRecord] {
        try Self.requireScope(principal)
        if let domainID = filter.domainID, !principal.reads.covers(domainID) { return [] }
        return try await database.read { try $0.roles(filter) }
    }

    func role(_ id: String, as principal: Principal) async throws -> RoleRecord {
        try Self.requireScope(principal)
        guard let role = try await database.read({ try $0.role(id: id) }),
            role.domainID == nil || principal.reads.covers(role.domainID)
        else { throw DirectoryKind.role.missing(id) }
        return role
    }

    private static func requireScope(_ principal: Principal) throws {
        guard principal.scope != .none else {
            throw Fault(.forbidden, "cannot see roles: the token has no scope; sign in with one")
        }
    }

    func createRole(_ edit: DirectoryEdit, as principal: Principal) async throws -> RoleRecord {
        try principal.requireEverything(to: "create a role")
        var draft = RoleRecord(
            id: identifier(),
            domainID: edit.domainID,
            name: try Self.name(edit.name, of: .role)
        )
        try draft.attributes.apply(edit)
        let role = draft
        return try await change(.made("role", role.id), by: principal) { transaction in
            if let domainID = role.domainID, try transaction.domain(id: domainID) == nil {
                throw DirectoryKind.domain.missing(domainID)
            }
            try Self.requireFree(transaction, .role, role.name, in: role.domainID, except: role.id)
            try transaction.saveRole(role)
            return role
        }
    }

    func updateRole(
        _ id: String,
        _ edit: DirectoryEdit,
        as principal: Principal
    ) async throws -> RoleRecord {
        try principal.requireEverything(to: "change role \(id.prefix(64))")
        let name = try edit.name.map { try Self.name($0, of: .role) }
        return try await change(.changed("role", id), by: principal) { transaction in
            var role = try transaction.requiredRole(id)
            try role.attributes.requireMutable(.role, role.name, for: edit)
            try Self.requireSameDomain(edit.domainID, role.domainID)
            if let name {
                guard role.builtIn == nil || name == role.name else {
                    throw Self.builtIn(role, "rename")
                }
                try Self.requireFree(transaction, .role, name, in: role.domainID, except: id)
                role.name = name
            }
            try role.attributes.apply(edit)
            try transaction.saveRole(role)
            return role
        }
    }

    func deleteRole(_ id: String, as principal: Principal) async throws {
        try principal.requireEverything(to: "delete role \(id.prefix(64))")
        try await change(.removed("role", id), by: principal) { transaction in
            let role = try transaction.requiredRole(id)
            guard role.builtIn == nil else { throw Self.builtIn(role, "delete") }
            try role.attributes.requireMutable(.role, role.name, for: nil)
            try transaction.remove(.role, id: id)
        }
    }

    private static func builtIn(_ role: RoleRecord, _ verb: String) -> Fault {
        Fault(
            .forbidden,
            "cannot \(verb) role \(role.name): it is built in, and its meaning with it"
        )
    }

    // MARK: - What roles imply

    /// Every role with those that follow directly from it.
    func inferences(as principal: Principal) async throws -> [RoleInference] {
        try Self.requireScope(principal)
        return try await database.read { transaction in
            try transaction.inferences().filter { inference in
                let domainID = inference.prior.domainID
                return domainID == nil || principal.reads.covers(domainID)
            }
        }
    }

    func inference(_ prior: String, as principal: Principal) async throws -> RoleInference {
        let role = try await role(prior, as: principal)
        let found = try await database.read { try $0.inferences(of: prior).first }
        return found ?? RoleInference(prior: role, implied: [])
    }

    func inference(
        _ prior: String,
        _ implied: String,
        as principal: Principal
    ) async throws -> RoleInference {
        var inference = try await inference(prior, as: principal)
        inference.implied.removeAll { $0.id != implied }
        guard !inference.implied.isEmpty else {
            throw Fault(
                .notFound,
                "cannot find that role \(prior) implies role \(implied.prefix(64)): it does not"
            )
        }
        return inference
    }

    func addInference(_ prior: String, _ implied: String, as principal: Principal) async throws {
        try principal.requireEverything(to: "let a role imply another")
        try await change(.changed("role", prior), by: principal) { transaction in
            let (role, follower) = (
                try transaction.requiredRole(prior), try transaction.requiredRole(implied)
            )
            guard follower.domainID == nil, implied != Role.admin.rawValue else {
                throw Fault(
                    .forbidden,
                    "cannot let role \(role.name) imply \(follower.name): neither admin nor a domain's role may be implied"
                )
            }
            guard role.builtIn == nil else { throw Self.builtIn(role, "extend") }
            guard try !transaction.follows(prior, from: implied) else {
                throw Fault(
                    .invalid,
                    "cannot let role \(role.name) imply \(follower.name): it would imply itself"
                )
            }
            try transaction.addInference(prior, implied)
        }
    }

    func removeInference(
        _ prior: String,
        _ implied: String,
        as principal: Principal
    ) async throws {
        try principal.requireEverything(to: "end what a role implies")
        _ = try await inference(prior, implied, as: principal)
        try await change(.changed("role", prior), by: principal) { transaction in
            let role = try transaction.requiredRole(prior)
            guard role.builtIn == nil else { throw Self.builtIn(role, "reduce") }
            try transaction.removeInference(prior, implied)
        }
    }

    // MARK: - Grants

    /// The roles given to exactly this actor in exactly this scope.
    func roles(like grant: Grant, as principal: Principal) async throws -> [RoleRecord] {
        try principal.requireReading(to: "list grants")
        return try await database.read { transaction in
            try transaction.requireParts(of: grant, within: principal.reads)
            return try transaction.roles(like: grant)
        }
    }

    /// - Throws: `Fault` of kind `notFound` when the role was not given so.
    func check(_ grant: Grant, as principal: Principal) async throws {
        try principal.requireReading(to: "see grants")
        try await database.read { transaction in
            try transaction.requireParts(of: grant, within: principal.reads)
            guard try transaction.has(grant) else { throw Self.missing(grant) }
        }
    }

    func add(_ grant: Grant, as principal: Principal) async throws {
        try principal.requireWriting(to: "grant a role")
        try await change(.given(grant), by: principal) { transaction in
            try Self.requireGranting(grant, by: principal, transaction)
            try transaction.add(grant)
        }
    }

    func remove(_ grant: Grant, as principal: Principal) async throws {
        try principal.requireWriting(to: "take a role away")
        try await change(.taken(grant), by: principal) { transaction in
            try Self.requireGranting(grant, by: principal, transaction)
            guard try transaction.has(grant) else { throw Self.missing(grant) }
            try transaction.remove(grant)
        }
    }

    private static func requireGranting(
        _ grant: Grant,
        by principal: Principal,
        _ transaction: Transaction
    ) throws {
        try transaction.requireParts(of: grant, within: principal.writes)
        let role = try transaction.requiredRole(grant.roleID)
        try principal.requireGranting(role)
        if try transaction.reachesInstallation(grant.scope, inherited: grant.isInherited) {
            try principal.requireEverything(to: "grant a role over the whole installation")
        }
        try transaction.requirePower(of: principal, over: grant.actor, to: "change its roles")
    }

    private static func missing(_ grant: Grant) -> Fault {
        Fault(
            .notFound,
            "cannot find the grant of role \(grant.roleID.prefix(64)): it was not given so"
        )
    }

    /// Who has which role where; everybody may see what is given to itself.
    func grants(_ filter: GrantFilter, as principal: Principal) async throws -> [NamedGrant] {
        var filter = filter
        switch principal.reads {
        case .everything: break
        case .domain(let id): filter.within = id
        case .nothing:
            guard filter.userID == principal.userID else {
                try principal.requireReading(to: "list role assignments")
                return []
            }
        }
        return try await database.read { [filter] in try $0.grants(filter) }
    }
}

extension Transaction {
    fileprivate func requiredRole(_ id: String) throws -> RoleRecord {
        guard let role = try role(id: id) else { throw DirectoryKind.role.missing(id) }
        return role
    }

    /// Whether `role` is `start`, or follows from it.
    fileprivate func follows(_ role: String, from start: String) throws -> Bool {
        try closure(of: [start]).contains { $0.id == role }
    }

    /// - Throws: `Fault` of kind `notFound` when actor or scope is missing or out of reach.
    fileprivate func requireParts(of grant: Grant, within reach: Reach) throws {
        switch grant.actor {
        case .user(let id):
            guard let user = try user(id: id), reach.covers(user.domainID) else {
                throw DirectoryKind.user.missing(id)
            }
        case .group(let id):
            guard let group = try group(id: id), reach.covers(group.domainID) else {
                throw DirectoryKind.group.missing(id)
            }
        }
        switch grant.scope {
        case .system:
            guard reach == .everything else {
                throw Fault(.forbidden, "cannot see or change roles over the whole installation")
            }
        case .domain(let id):
            guard try domain(id: id) != nil, reach.covers(id) else {
                throw DirectoryKind.domain.missing(id)
            }
        case .project(let id):
            guard let project = try project(id: id), reach.covers(project.domainID) else {
                throw DirectoryKind.project.missing(id)
            }
        }
    }
}
