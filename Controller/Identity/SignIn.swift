package import Basics
package import HTTP
package import Protocol

/// A domain by its identifier or name.
package enum DomainReference: Sendable, Equatable {
    case id(String)
    case name(String)

    /// The domain that requests without one mean.
    package static let standard = DomainReference.id(Domain.id)
}

/// How somebody proves who it is, and what the token shall speak for.
package struct SignIn: Sendable {
    /// The proof.
    package enum Proof: Sendable {
        /// By identifier, or by name in a domain.
        case password(
            userID: String?,
            userName: String?,
            domain: DomainReference = .standard,
            password: Secret
        )
        /// A token that is still valid, to change the scope.
        case token(Secret)
        /// An application credential by its identifier, or by its name and its owner.
        case application(
            id: String?,
            name: String?,
            userID: String?,
            userName: String?,
            domain: DomainReference,
            secret: Secret
        )
    }

    /// The wish.
    package enum Scope: Sendable, Equatable {
        /// The user's default project when it has one with a role in it, else none.
        case unspecified
        case none
        case project(id: String?, name: String?, domain: DomainReference = .standard)
        case domain(DomainReference)
        case system
    }

    package var proof: Proof
    package var scope: Scope

    package init(proof: Proof, scope: Scope) {
        self.proof = proof
        self.scope = scope
    }
}

/// Who speaks with a token, as the directory says today.
struct Session: Sendable {
    let principal: Principal
    let claims: TokenClaims
    let userDomain: NamedReference
    /// The domain of the project that it speaks for.
    let projectDomain: NamedReference?
    /// The roles that count, without those that belong to a domain.
    let roles: [RoleRecord]
    let credential: ApplicationCredential?
}

/// A token as its owner sees it.
package struct IssuedToken: Sendable {
    package let token: Secret
    let session: Session
    /// What the scope finds in the catalog; nothing without a scope.
    let catalog: [CatalogEntry]

    package var principal: Principal { session.principal }
    package var expires: Timestamp { session.claims.expires }
}
