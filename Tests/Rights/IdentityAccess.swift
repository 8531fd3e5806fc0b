package import HTTP

/// Who asks, in the table of who may what.
package struct IdentityPersona: Sendable, CustomStringConvertible {
    /// How its token is scoped.
    package enum Kind: String, Sendable, CaseIterable {
        case nobody, unscoped, project, domain, adminProject, system
    }

    package let kind: Kind
    /// `nil` for those without a scope.
    package let role: Role?

    /// Everybody there can be.
    package static let all: [IdentityPersona] =
        [IdentityPersona(kind: .nobody, role: nil), IdentityPersona(kind: .unscoped, role: nil)]
        + [Kind.project, .domain, .adminProject, .system].flatMap { kind in
            Role.allCases.map { IdentityPersona(kind: kind, role: $0) }
        }

    package var description: String { "\(kind.rawValue)-\(role?.rawValue ?? "none")" }
    /// Its user.
    package var userID: String { "home-\(description)" }
    /// Whether it speaks for the whole installation.
    package var isSystem: Bool { kind == .system || kind == .adminProject }
    fileprivate var isWriter: Bool { role == .admin || role == .manager }
}

/// Which domain the objects of a call belong to: that of every persona, or a foreign one.
package enum IdentityPlace: String, Sendable, CaseIterable {
    case home, away
}

/// What it takes; written down here once more, so that the code is compared with something.
package enum IdentityNeed: Sendable {
    case open
    case token
    /// Any scope.
    case scope
    /// A role over the installation or in a domain, whichever: lists narrow themselves.
    case reach
    /// A role over the installation, or in the domain of the object.
    case read
    /// As `read`; besides, everybody sees the domain it lives in.
    case readDomain
    /// The role admin over the installation, or manager or admin in the domain of the object.
    case write
    case readAll, writeAll
    /// The user itself (at home) or a role over the installation.
    case selfOrReadAll
    /// The user itself (at home) or the role admin over the installation.
    case selfOrWriteAll
    /// The user itself or a role that reads it.
    case selfOrRead
    /// Only the user itself.
    case onlySelf
    /// The user itself with a token for a project.
    case selfWithProject

    /// Whether it lets this persona reach an object of this place.
    package func allows(_ persona: IdentityPersona, _ place: IdentityPlace) -> Bool {
        if case .open = self { return true }
        guard persona.kind != .nobody else { return false }
        let reads = persona.isSystem || persona.kind == .domain && place == .home
        let admin = persona.isSystem && persona.role == .admin
        switch self {
        case .open, .token: return true
        case .scope: return persona.kind != .unscoped
        case .reach: return persona.isSystem || persona.kind == .domain
        case .read: return reads
        case .readDomain: return reads || place == .home
        case .write:
            return admin || persona.kind == .domain && persona.isWriter && place == .home
        case .readAll: return persona.isSystem
        case .writeAll: return admin
        case .selfOrReadAll: return place == .home || persona.isSystem
        case .selfOrWriteAll: return place == .home || admin
        case .selfOrRead: return place == .home || reads
        case .onlySelf: return place == .home
        case .selfWithProject:
            return place == .home && [.project, .adminProject].contains(persona.kind)
        }
    }
}

/// The routes of the Identity API, with what each takes.
///
/// `{user}` and the like stand for objects of the place; `{self}` is the persona's own user at home, and the
/// foreign user away.
package enum IdentityAccess {
    private typealias Call = AccessCall<IdentityNeed>

    /// What all paths begin with.
    package static let root = "/identity"

    /// Routes that are in no table, and why.
    package static let others = [
        "POST /identity/v3/auth/tokens": "anybody may try to sign in; TokenTests"
    ]

    private static let named = #"{"name":"{new}","domain_id":"{domain}"}"#

    private static func body(_ kind: String, _ members: String) -> String {
        "{\"\(kind)\":\(members)}"
    }

    /// Every call.
    package static let calls: [AccessCall<IdentityNeed>] =
        tokens + people + places + roles + grants + credentials + catalog

    private static let tokens = [
        Call("GET", "", .open), Call("GET", "v3", .open),
        Call("GET", "v3/auth/projects", .token), Call("GET", "v3/auth/domains", .token),
        Call("GET", "v3/auth/system", .token), Call("GET", "v3/auth/catalog", .scope),
        Call("GET", "v3/auth/tokens", .selfOrReadAll),
        Call("DELETE", "v3/auth/tokens", .selfOrWriteAll),
    ]

    private static let people = [
        Call("GET", "v3/users", .reach),
        Call("POST", "v3/users", .write, body("user", named)),
        Call("GET", "v3/users/{user}", .read), Call("GET", "v3/users/{self}", .selfOrRead),
        Call("PATCH", "v3/users/{user}", .write, body("user", #"{"email":"a@b.example"}"#)),
        Call("DELETE", "v3/users/{user}", .write),
        Call(
            "POST",
            "v3/users/{self}/password",
            .onlySelf,
            body("user", #"{"original_password":"{password}","password":"another one"}"#)
        ),
        Call("GET", "v3/users/{self}/projects", .selfOrRead),
        Call("GET", "v3/users/{self}/groups", .selfOrRead),
        Call("GET", "v3/groups", .reach),
        Call("POST", "v3/groups", .write, body("group", named)),
        Call("GET", "v3/groups/{group}", .read),
        Call("PATCH", "v3/groups/{group}", .write, body("group", #"{"description":"x"}"#)),
        Call("DELETE", "v3/groups/{group}", .write),
        Call("GET", "v3/groups/{group}/users", .read),
        Call("GET", "v3/groups/{group}/users/{member}", .read),
        Call("PUT", "v3/groups/{group}/users/{user}", .write),
        Call("DELETE", "v3/groups/{group}/users/{member}", .write),
    ]

    private static let places = [
        Call("GET", "v3/domains", .token),
        Call("POST", "v3/domains", .writeAll, body("domain", #"{"name":"{new}"}"#)),
        Call("GET", "v3/domains/{domain}", .readDomain),
        Call("PATCH", "v3/domains/{domain}", .writeAll, body("domain", #"{"description":"x"}"#)),
        Call("DELETE", "v3/domains/{dead}", .writeAll),
        Call("GET", "v3/projects", .token),
        Call("POST", "v3/projects", .write, body("project", named)),
        Call("GET", "v3/projects/{project}", .read),
        Call("PATCH", "v3/projects/{project}", .write, body("project", #"{"description":"x"}"#)),
        Call("DELETE", "v3/projects/{project}", .write),
        Call("GET", "v3/projects/{project}/tags", .read),
        Call("PUT", "v3/projects/{project}/tags", .write, #"{"tags":["a","b"]}"#),
        Call("DELETE", "v3/projects/{project}/tags", .write),
        Call("GET", "v3/projects/{project}/tags/{tag}", .read),
        Call("PUT", "v3/projects/{project}/tags/{new}", .write),
        Call("DELETE", "v3/projects/{project}/tags/{tag}", .write),
    ]

    private static let roles = [
        Call("GET", "v3/roles", .scope),
        Call("POST", "v3/roles", .writeAll, body("role", #"{"name":"{new}"}"#)),
        Call("GET", "v3/roles/{role}", .read),
        Call("PATCH", "v3/roles/{role}", .writeAll, body("role", #"{"description":"x"}"#)),
        Call("DELETE", "v3/roles/{role}", .writeAll),
        Call("GET", "v3/role_inferences", .scope),
        Call("GET", "v3/roles/{role}/implies", .read),
        Call("GET", "v3/roles/{role}/implies/{implied}", .read),
        Call("PUT", "v3/roles/{role}/implies/{other}", .writeAll),
        Call("DELETE", "v3/roles/{role}/implies/{implied}", .writeAll),
        Call("GET", "v3/role_assignments", .reach),
    ]

    private static let grants = ["projects/{project}", "domains/{domain}", "system"].flatMap {
        place in
        ["users/{user}", "groups/{group}"].flatMap { actor in
            let (read, write): (IdentityNeed, IdentityNeed) =
                place == "system" ? (.readAll, .writeAll) : (.read, .write)
            let plain = calls("v3/\(place)/\(actor)/roles", "", read, write)
            guard place != "system" else { return plain }
            let inherited = "/inherited_to_projects"
            return plain + calls("v3/OS-INHERIT/\(place)/\(actor)/roles", inherited, read, write)
        }
    }

    private static func calls(
        _ path: String,
        _ end: String,
        _ read: IdentityNeed,
        _ write: IdentityNeed
    ) -> [Call] {
        [
            Call("GET", path + end, read), Call("GET", "\(path)/{given}\(end)", read),
            Call("PUT", "\(path)/{fresh}\(end)", write),
            Call("DELETE", "\(path)/{given}\(end)", write),
        ]
    }

    private static let credentials = [
        Call("GET", "v3/users/{self}/application_credentials", .selfOrReadAll),
        Call(
            "POST",
            "v3/users/{self}/application_credentials",
            .selfWithProject,
            body("application_credential", #"{"name":"{new}"}"#)
        ),
        Call("GET", "v3/users/{self}/application_credentials/{credential}", .selfOrReadAll),
        Call("DELETE", "v3/users/{self}/application_credentials/{credential}", .selfOrWriteAll),
        Call("GET", "v3/users/{self}/access_rules", .selfOrReadAll),
        Call("GET", "v3/users/{self}/access_rules/{rule}", .selfOrReadAll),
        Call("DELETE", "v3/users/{self}/access_rules/{rule}", .selfOrWriteAll),
    ]

    private static let catalog = [
        Call("GET", "v3/regions", .token),
        Call("POST", "v3/regions", .writeAll, body("region", #"{"id":"{new}"}"#)),
        Call("GET", "v3/regions/{region}", .token),
        Call("PUT", "v3/regions/{newer}", .writeAll, body("region", "{}")),
        Call("PATCH", "v3/regions/{region}", .writeAll, body("region", #"{"description":"x"}"#)),
        Call("DELETE", "v3/regions/{empty}", .writeAll),
        Call("GET", "v3/services", .scope),
        Call("POST", "v3/services", .writeAll, body("service", #"{"type":"{new}"}"#)),
        Call("GET", "v3/services/{service}", .scope),
        Call("PATCH", "v3/services/{service}", .writeAll, body("service", #"{"name":"x"}"#)),
        Call("DELETE", "v3/services/{service}", .writeAll),
        Call("GET", "v3/endpoints", .scope),
        Call(
            "POST",
            "v3/endpoints",
            .writeAll,
            body(
                "endpoint",
                #"{"service_id":"{service}","interface":"public","url":"http://x.example"}"#
            )
        ),
        Call("GET", "v3/endpoints/{endpoint}", .scope),
        Call(
            "PATCH",
            "v3/endpoints/{endpoint}",
            .writeAll,
            body("endpoint", #"{"url":"http://y.example"}"#)
        ),
        Call("DELETE", "v3/endpoints/{endpoint}", .writeAll),
        Call("GET", "v3/OS-EP-FILTER/projects/{project}/endpoints", .readAll),
        Call("GET", "v3/OS-EP-FILTER/endpoints/{endpoint}/projects", .readAll),
        Call("GET", "v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}", .readAll),
        Call("PUT", "v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}", .writeAll),
        Call("DELETE", "v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}", .writeAll),
    ]
}
