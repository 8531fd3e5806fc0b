import Basics
import HTTP
import Store

/// Kinds of objects that have a name in the directory.
enum DirectoryKind: String, Sendable, CaseIterable {
    case domain, user, group, project, role

    /// Characters of a name at most, as in Keystone.
    var nameMax: Int {
        switch self {
        case .user, .role: 255
        case .domain, .group, .project: 64
        }
    }

    /// There is no such object, or the asker may not know of it: the same answer.
    func missing(_ id: String) -> Fault {
        Fault(
            .notFound,
            "cannot find \(rawValue) \(id.prefix(64)): there is none with this identifier"
        )
    }
}

/// How far somebody reaches into the directory.
///
/// | token | reads | changes |
/// | --- | --- | --- |
/// | system, or the admin project; role reader, member or manager | everything | nothing |
/// | system, or the admin project; role admin | everything | everything |
/// | domain; role reader or member | the domain | nothing |
/// | domain; role manager | the domain | the domain, but no admin and no admin role |
/// | domain; role admin | the domain | the domain |
/// | any other project, or no scope | itself | its own password and application credentials |
///
/// Nobody but the system's admin touches who has a role over the installation, whatever domain it is in.
enum Reach: Sendable, Equatable {
    case everything
    case domain(String)
    case nothing

    /// Whether an object of this domain (`nil` belongs to the whole installation) is within reach.
    func covers(_ domainID: String?) -> Bool {
        switch self {
        case .everything: true
        case .domain(let own): own == domainID
        case .nothing: false
        }
    }
}

extension Principal {
    /// What it may read beside itself.
    var reads: Reach {
        guard role != nil else { return .nothing }
        if isSystem { return .everything }
        return domainID.map(Reach.domain) ?? .nothing
    }

    /// What it may change beside itself.
    var writes: Reach {
        guard let role else { return .nothing }
        if isSystem { return role == .admin ? .everything : .nothing }
        guard let domainID, role >= .manager else { return .nothing }
        return .domain(domainID)
    }

    /// - Throws: `Fault` of kind `forbidden` when it reads nothing beside itself.
    func requireReading(to action: String) throws {
        if reads == .nothing { throw Self.refusal(action, "the role reader") }
    }

    /// - Throws: `Fault` of kind `forbidden` when it changes nothing beside itself.
    func requireWriting(to action: String) throws {
        if writes == .nothing { throw Self.refusal(action, "the role admin") }
    }

    /// Lets only those pass who change everything.
    func requireEverything(to action: String) throws {
        guard writes == .everything else {
            throw Fault(
                .forbidden,
                "cannot \(action): it takes the role admin over the whole installation; sign in with --os-system-scope all or with the admin project"
            )
        }
    }

    private static func refusal(_ action: String, _ role: String) -> Fault {
        Fault(
            .forbidden,
            "cannot \(action): it takes \(role) in the domain or over the whole installation; ask an administrator of this cloud for it"
        )
    }

    /// A list's filter within what it may read; `nil` when nothing of it is.
    func narrowed(_ filter: DirectoryFilter, to action: String) throws -> DirectoryFilter? {
        try requireReading(to: action)
        guard case .domain(let own) = reads else { return filter }
        guard filter.domainID == nil || filter.domainID == own else { return nil }
        var filter = filter
        filter.domainID = own
        return filter
    }

    /// An object that it may see.
    /// - Throws: `Fault`: `notFound`, also for an object out of reach.
    func seen<Object>(
        _ object: Object?,
        _ kind: DirectoryKind,
        _ id: String,
        in domainID: (Object) -> String?
    ) throws -> Object {
        try requireReading(to: "see \(kind.rawValue) \(id.prefix(64))")
        guard let object, reads.covers(domainID(object)) else { throw kind.missing(id) }
        return object
    }

    /// An object that it may change.
    /// - Throws: `Fault`: `forbidden` or, out of reach, `notFound`.
    func changeable<Object>(
        _ object: Object?,
        _ kind: DirectoryKind,
        _ id: String,
        in domainID: (Object) -> String?
    ) throws -> Object {
        try requireWriting(to: "change \(kind.rawValue) \(id.prefix(64))")
        guard let object, writes.covers(domainID(object)) else { throw kind.missing(id) }
        return object
    }

    /// The domain of a new object: the one asked for, that of the token, or the default one.
    func newDomain(_ asked: String?, for what: String) throws -> String {
        try requireWriting(to: "create \(what)")
        let wanted = asked ?? domainID ?? Domain.id
        guard writes.covers(wanted) else {
            throw Fault(.forbidden, "cannot create \(what): the domain is not yours to manage")
        }
        return wanted
    }

    /// Lets only those pass who may give and take this role.
    func requireGranting(_ role: RoleRecord) throws {
        if writes == .everything { return }
        guard let own = domainID, role.domainID == nil || role.domainID == own else {
            throw DirectoryKind.role.missing(role.id)
        }
        if self.role == .admin { return }
        // A manager would else make itself what it is not; other roles may imply anything.
        guard let builtIn = role.builtIn, builtIn <= .manager else {
            throw Fault(
                .forbidden,
                "cannot grant role \(role.name): a manager gives manager, member and reader only"
            )
        }
    }

    /// Lets only those pass who may manage a user's own things: the user, or the system's admin.
    func requireOwner(of userID: String, to action: String) throws {
        guard userID == self.userID || writes == .everything else {
            throw Fault(.forbidden, "cannot \(action): it belongs to another user")
        }
    }
}

extension Attributes {
    /// - Throws: `Fault` of kind `forbidden` when the object is immutable and the edit does more than unlock it.
    func requireMutable(_ kind: DirectoryKind, _ name: String, for edit: DirectoryEdit?) throws {
        guard isImmutable else { return }
        if let edit, edit.onlyUnlocks { return }
        throw Fault(
            .forbidden,
            "cannot change \(kind.rawValue) \(name): it is immutable; take that option away first"
        )
    }
}

extension Transaction {
    /// The project whose roles count over the whole installation.
    func adminProjectID() throws -> String? { try identitySetting("adminProject") }

    /// Whether an actor has any role over the whole installation.
    func isPrivileged(_ actor: Actor) throws -> Bool {
        if try !effectiveRoles(of: actor, in: .system).isEmpty { return true }
        guard let project = try adminProjectID() else { return false }
        return try !effectiveRoles(of: actor, in: .project(project)).isEmpty
    }

    /// Lets only those pass who may change this user or group without gaining power by it.
    func requirePower(of principal: Principal, over actor: Actor, to action: String) throws {
        if principal.writes == .everything { return }
        guard try !isPrivileged(actor) else { return try principal.requireEverything(to: action) }
        guard try principal.role == .admin || !isAdminAnywhere(actor) else {
            throw Fault(.forbidden, "cannot \(action): it takes the role admin in the domain")
        }
    }

    /// Whether a grant in this scope would count over the whole installation.
    func reachesInstallation(_ scope: GrantScope, inherited: Bool) throws -> Bool {
        guard let admin = try adminProjectID() else { return scope == .system }
        switch scope {
        case .system: return true
        case .project(let id):
            if id == admin { return true }
            return try inherited && ancestors(ofProject: admin).contains { $0.id == id }
        case .domain(let id): return try inherited && project(id: admin)?.domainID == id
        }
    }
}
