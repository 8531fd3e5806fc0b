package import Basics
package import HTTP

/// Who asks, in the table of who may what with objects that `owner` owns and `lessee` leases.
package struct Persona: Sendable, CustomStringConvertible {
    /// Where its role counts.
    package enum Place: String, Sendable, CaseIterable {
        case nobody, unscoped, domain, other, lessee, owner, system
    }

    package let place: Place
    /// `nil` for those without a scope.
    package let role: Role?

    /// Everybody there can be.
    package static let all: [Persona] =
        [Persona(place: .nobody, role: nil), Persona(place: .unscoped, role: nil)]
        + [Place.domain, .other, .lessee, .owner, .system].flatMap { place in
            Role.allCases.map { Persona(place: place, role: $0) }
        }

    package var description: String { "\(place.rawValue)-\(role?.rawValue ?? "none")" }

    /// As `Tokens` knows it.
    package var token: String? {
        let role = role?.rawValue ?? ""
        switch place {
        case .nobody: return nil
        case .unscoped: return "unscoped"
        case .system: return role
        case .domain: return "\(role)@domain:default"
        case .other, .lessee, .owner: return "\(role)@\(place.rawValue)"
        }
    }
}

/// Knows people by their token: `<role>`, `<role>@<project>`, `<role>@domain:<domain>`, `unscoped`.
package struct Tokens: RequestAuthenticator, StandingRights {
    package init() {}

    package func principal(token: Secret) async throws -> Principal {
        let parts = token.reveal().split(separator: "@").map(String.init)
        let isDomain = parts.last?.hasPrefix("domain:") == true
        let scope: Principal.Scope =
            if parts == ["unscoped"] {
                .none
            } else if isDomain {
                .domain(id: parts[1], name: parts[1])
            } else {
                parts.count == 2 ? .project(id: parts[1], name: parts[1]) : .system
            }
        let role = Role(rawValue: parts.first ?? "")
        guard role != nil || scope == .none else {
            throw Fault(.unauthenticated, "cannot tell who asks")
        }
        return Principal(
            userID: "u",
            userName: "kim",
            scope: scope,
            role: role,
            isAdminProject: false,
            tokenID: "t"
        )
    }

    /// Nobody's rights ever change.
    package func present(_ principal: Principal) async throws -> Principal { principal }

    package func isReader(credential: Secret) async throws -> Bool { false }
}
