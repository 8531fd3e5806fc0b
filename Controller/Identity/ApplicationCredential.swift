import Basics
import HTTP
import Protocol

/// A password of its own for a program, with some of its owner's roles in one project.
struct ApplicationCredential: Sendable, Equatable {
    let id: String
    let userID: String
    let projectID: String
    let name: String
    let description: String
    /// In the text form of `PasswordHash`.
    let secretHash: Secret
    /// `nil` never.
    let expires: Timestamp?
    /// Whether it may make and delete application credentials.
    let isUnrestricted: Bool
    var roles: [RoleRecord] = []
    /// The only requests that it lets through; with none it lets everything through, as in Keystone.
    var rules: [OwnedRule] = []

    /// As the gate enforces it.
    var delegation: Principal.Delegation {
        Principal.Delegation(
            credentialID: id,
            isUnrestricted: isUnrestricted,
            rules: rules.isEmpty ? nil : rules.map(\.rule)
        )
    }
}

/// An access rule as its owner keeps it.
struct OwnedRule: Sendable, Equatable {
    let id: String
    let rule: AccessRule
}

/// What a client wants an application credential to be.
struct CredentialDraft: Sendable {
    /// One of the owner's rules by its identifier, or a rule by what it allows.
    enum Rule: Sendable, Equatable {
        case existing(String)
        case new(AccessRule)
    }

    var name: String
    var description = ""
    /// Made here when it is missing.
    var secret: Secret?
    var expires: Timestamp?
    var isUnrestricted = false
    /// Identifiers or names; all of the token's when empty.
    var roles: [String] = []
    var rules: [Rule] = []
}
