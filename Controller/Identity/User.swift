import Basics

/// Somebody who can sign in.
package struct User: Sendable, Equatable {
    package let id: String
    package var name: String
    package var isEnabled: Bool
    /// In the text form of `PasswordHash`.
    var passwordHash: Secret
    /// Tokens made before this time, in nanoseconds since 1970, are void: the password was changed.
    var tokensAfter: Int64
}

/// What roles are given in; the whole installation lives in the one named `admin`.
package struct Project: Sendable, Equatable {
    package let id: String
    package var name: String
    package var isEnabled: Bool
}

/// The one domain, as Keystone's bootstrap names it.
package enum Domain {
    package static let id = "default"
    package static let name = "Default"
}
