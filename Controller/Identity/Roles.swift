import HTTP

/// A role that can be given.
///
/// Four are built in and decide what somebody may do here; others are for services elsewhere, or imply one of
/// the four.
struct RoleRecord: Sendable, Equatable {
    let id: String
    /// Roles of one domain count only by what they imply.
    let domainID: String?
    var name: String
    var attributes = Attributes()

    /// The built-in role that it is.
    var builtIn: Role? { domainID == nil ? Role(rawValue: id) : nil }
}

extension [RoleRecord] {
    /// The strongest of the built-in roles.
    var strongest: Role? { compactMap(\.builtIn).max() }
}

/// Who is given a role.
enum Actor: Sendable, Hashable {
    case user(String)
    case group(String)
}

/// What a role is given in.
enum GrantScope: Sendable, Hashable {
    case project(String)
    case domain(String)
    case system
}

/// One role given to one actor in one scope.
struct Grant: Sendable, Hashable, CustomStringConvertible {
    var roleID: String
    var actor: Actor
    var scope: GrantScope
    /// Counts in the projects below the scope, not in the scope itself.
    var isInherited = false

    /// Who has it where, for people.
    var description: String {
        let who =
            switch actor {
            case .user(let id): "user \(id)"
            case .group(let id): "group \(id)"
            }
        let place =
            switch scope {
            case .project(let id): "in project \(id)"
            case .domain(let id): "in domain \(id)"
            case .system: "over the whole installation"
            }
        return "\(who) \(place)\(isInherited ? ", for projects below it" : "")"
    }
}

/// An object's identifier and name, with its domain's.
struct NamedReference: Sendable, Equatable {
    var id: String
    var name: String
    var domainID: String?
    var domainName: String?
}

/// A grant with the names of what it connects.
struct NamedGrant: Sendable, Equatable {
    var grant: Grant
    var role: NamedReference
    var actor: NamedReference
    /// `nil` for the system.
    var scope: NamedReference?
}

/// Which grants a list shows.
struct GrantFilter: Sendable {
    /// Grants of one answer at most.
    static let limitMax = 10_000

    var roleID: String?
    var userID: String?
    var groupID: String?
    var projectID: String?
    var domainID: String?
    var isSystem = false
    /// Only those that count below their scope.
    var isInherited = false
    /// What comes of the grants: for users instead of groups, in each project, with implied roles.
    var isEffective = false
    /// Only what lies within this domain.
    var within: String?
}

/// A role and what follows from it.
struct RoleInference: Sendable, Equatable {
    var prior: RoleRecord
    var implied: [RoleRecord]
}
