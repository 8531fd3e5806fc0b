import Basics
import HTTP

/// What every object of the directory carries besides its own members.
struct Attributes: Sendable, Equatable {
    var description = ""
    /// Keystone's options; of them `immutable` and `lock_password` have an effect.
    var options: [String: JSONValue] = [:]
    /// Members that a client gave and Keystone's API does not name; shown as they came.
    var extra: [String: JSONValue] = [:]

    /// Whether it may not be changed or deleted until this option is taken away.
    var isImmutable: Bool { options["immutable"] == true }

    /// Takes over what the edit names.
    /// - Throws: `Fault` of kind `invalid` when many edits have piled up too much.
    mutating func apply(_ edit: DirectoryEdit) throws {
        if let description = edit.description { self.description = description }
        for (name, value) in edit.options { options[name] = value == .null ? nil : value }
        for (name, value) in edit.extra { extra[name] = value }
        guard max(options.count, extra.count) <= RequestMembers.extraMax else {
            throw Fault(
                .invalid,
                "cannot keep more than \(RequestMembers.extraMax) members of the client's own"
            )
        }
    }
}

/// A name space of users, groups and projects.
package struct Domain: Sendable, Equatable {
    /// The domain that is always there, as Keystone's bootstrap names it.
    package static let id = "default"

    package let id: String
    package var name: String
    package var isEnabled = true
    /// Grows when every token of the domain must end.
    var generation: Int64 = 0
    var attributes = Attributes()
}

/// Somebody who can sign in.
package struct User: Sendable, Equatable {
    package let id: String
    package let domainID: String
    package var name: String
    package var isEnabled = true
    /// In the text form of `PasswordHash`; without one nobody signs in with a password.
    var passwordHash: Secret?
    /// Grows when every token of the user must end: a new password, disabled.
    ///
    /// A counter, not a time: a clock that was moved back can neither revive nor kill a token.
    var generation: Int64 = 0
    var defaultProjectID: String?
    var attributes = Attributes()
}

/// Users that are given roles together.
package struct Group: Sendable, Equatable {
    package let id: String
    package let domainID: String
    package var name: String
    var attributes = Attributes()
}

/// What roles are given in; the whole installation lives in one of them.
package struct Project: Sendable, Equatable {
    /// Projects inside one another at most, as Keystone bounds them.
    static let depthMax = 5

    package let id: String
    package let domainID: String
    /// The project that it is part of; `nil` at the top of its domain.
    var parentID: String?
    package var name: String
    package var isEnabled = true
    /// Grows when every token for the project must end.
    var generation: Int64 = 0
    var tags: [String] = []
    var attributes = Attributes()
}

/// A change that a client asks for; `nil` leaves a member as it is.
struct DirectoryEdit: Sendable, Equatable {
    var name: String?
    var domainID: String?
    var isEnabled: Bool?
    var description: String?
    var options: [String: JSONValue] = [:]
    var extra: [String: JSONValue] = [:]
    /// Of a user: the empty one takes the password away.
    var password: Secret?
    /// Of a user: the empty one takes it away.
    var defaultProjectID: String?
    /// Of a project.
    var parentID: String?
    /// Of a project: all tags.
    var tags: [String]?

    /// Whether it does nothing but make an object mutable again.
    var onlyUnlocks: Bool {
        var rest = self
        rest.options["immutable"] = nil
        let unlocks = options["immutable"] == false || options["immutable"] == .null
        return unlocks && rest == DirectoryEdit()
    }
}

/// Which objects a list shows.
struct DirectoryFilter: Sendable, Equatable {
    /// Of projects: by their tags.
    struct Tags: Sendable, Equatable {
        var all: [String] = []
        var any: [String] = []
        var notAll: [String] = []
        var notAny: [String] = []
    }

    /// Objects of one page at most; the answer says where the next one begins.
    static let limitMax = 1000

    var name: String?
    var domainID: String?
    var isEnabled: Bool?
    /// Of projects: those directly below this one.
    var parentID: String?
    var tags = Tags()
    /// Those after this identifier.
    var after = ""
    var limit = DirectoryFilter.limitMax
}

/// A change for the feed: which object, and what was done to it.
struct DirectoryChange: Sendable, Equatable {
    let kind: String
    let id: String
    let what: String

    static func made(_ kind: String, _ id: String) -> DirectoryChange {
        DirectoryChange(kind: kind, id: id, what: "created")
    }

    static func changed(
        _ kind: String,
        _ id: String,
        _ isEnabled: Bool? = nil
    ) -> DirectoryChange {
        let what = isEnabled.map { $0 ? "enabled" : "disabled" } ?? "changed"
        return DirectoryChange(kind: kind, id: id, what: what)
    }

    static func removed(_ kind: String, _ id: String) -> DirectoryChange {
        DirectoryChange(kind: kind, id: id, what: "deleted")
    }

    static func given(_ grant: Grant) -> DirectoryChange {
        DirectoryChange(kind: "role", id: grant.roleID, what: "given to \(grant.description)")
    }

    static func taken(_ grant: Grant) -> DirectoryChange {
        DirectoryChange(kind: "role", id: grant.roleID, what: "taken from \(grant.description)")
    }
}
