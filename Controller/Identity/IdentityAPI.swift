import Basics
import FoundationEssentials
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// Identity v3 (Keystone) under `/identity`.
package struct IdentityAPI: RouteArea {
    private let service: IdentityService
    private let catalog: Catalog
    private let root: String

    /// `publicURL` is where clients reach the controller's root.
    package init(service: IdentityService, catalog: Catalog, publicURL: String) {
        self.service = service
        self.catalog = catalog
        root = (publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL) + "/identity"
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/identity", dialect: .keystone)
        let version: JSONValue = [
            "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
            "links": [["rel": "self", "href": .string(root + "/v3/")]],
            "media-types": [
                ["base": "application/json", "type": "application/vnd.openstack.identity-v3+json"]
            ],
        ]
        routes.get("", .open) { _, _ in
            .json(["versions": ["values": [version]]], status: .multipleChoices)
        }
        routes.get("/v3", .open) { _, _ in .json(["version": version]) }
        addTokens(routes)
        addAuthentication(routes)
        addUsers(routes)
        addProjects(routes)
        addCatalog(routes)
    }

    // MARK: - Tokens

    private func addTokens(_ routes: Routes) {
        routes.post("/v3/auth/tokens", .open) { request, context in
            let wish = try Self.signIn(try await request.json(context))
            let issued = try await service.signIn(wish, from: context.remoteAddress)
            return try await answer(issued, request, status: .created)
        }
        routes.get("/v3/auth/tokens", .token) { request, context in
            let subject = try await subject(request, context)
            return try await answer(subject, request, status: .ok)
        }
        routes.delete("/v3/auth/tokens", .token) { request, context in
            let subject = try await subject(request, context)
            try await service.revoke(subject.token)
            return .empty()
        }
    }

    /// The token a request is about: the caller's own, or any for an administrator.
    private func subject(_ request: Request, _ context: APIContext) async throws -> IssuedToken {
        guard let text = request.headers[.subjectToken], !text.isEmpty else {
            throw Fault(.invalid, "cannot tell which token is meant: send it as X-Subject-Token")
        }
        let principal = try context.requirePrincipal()
        let subject: IssuedToken
        do {
            subject = try await service.inspect(Secret(text))
        } catch let fault as Fault where fault.kind == .unauthenticated {
            throw Fault(.notFound, "cannot find the token: it is unknown or has ended")
        }
        if subject.principal.userID != principal.userID {
            try principal.requireSystem(.reader, to: "see another user's token")
            if request.method == .delete {
                try principal.requireSystem(.admin, to: "revoke another user's token")
            }
        }
        return subject
    }

    private func answer(
        _ issued: IssuedToken,
        _ request: Request,
        status: HTTPResponse.Status
    ) async throws -> Response {
        let principal = issued.principal
        var token: JSONValue = [
            "methods": .array(issued.methods.map(JSONValue.string)),
            "user": [
                "id": .string(principal.userID), "name": .string(principal.userName),
                "domain": Self.domainReference, "password_expires_at": .null,
            ],
            "audit_ids": [.string(String(principal.tokenID.prefix(22)))],
            "issued_at": .string(issued.issued.rfc3339(suffix: ".000000Z")),
            "expires_at": .string(issued.expires.rfc3339(suffix: ".000000Z")),
        ]
        switch principal.scope {
        case .none: break
        case .system: token["system"] = ["all": true]
        case .project(let id, let name):
            token["project"] = [
                "id": .string(id), "name": .string(name), "domain": Self.domainReference,
            ]
            token["is_domain"] = false
            token["is_admin_project"] = .bool(principal.isAdminProject)
        }
        if let role = principal.role {
            token["roles"] = .array(
                Role.allCases.filter { $0 <= role }.sorted(by: >).map { role in
                    ["id": .string(role.rawValue), "name": .string(role.rawValue)]
                }
            )
            if request.query("nocatalog") == nil { token["catalog"] = catalog.inToken }
        }
        var response = Response.json(["token": token], status: status)
        response.headers[.subjectToken] = issued.token.reveal()
        response.headers[.vary] = "X-Auth-Token"
        return response
    }

    /// Reads the body of a token request.
    static func signIn(_ body: JSONValue) throws -> SignIn {
        func wrong(_ what: String) -> Fault {
            Fault(.invalid, "cannot read the token request: \(what)")
        }
        guard let auth = body["auth"], let identity = auth["identity"],
            let methods = identity["methods"]?.elements?.compactMap(\.text), methods.count == 1
        else { throw wrong("auth.identity.methods must name one method: password or token") }
        let proof: SignIn.Proof
        switch methods[0] {
        case "password":
            guard let user = identity["password"]?["user"],
                let password = user["password"]?.text
            else { throw wrong("auth.identity.password.user needs a password") }
            guard user["id"]?.text != nil || user["name"]?.text != nil else {
                throw wrong("auth.identity.password.user needs an id, or a name and a domain")
            }
            proof = .password(
                userID: user["id"]?.text,
                userName: isOurDomain(user["domain"]) ? user["name"]?.text : "\u{0}",
                password: Secret(password)
            )
        case "token":
            guard let token = identity["token"]?["id"]?.text else {
                throw wrong("auth.identity.token needs an id")
            }
            proof = .token(Secret(token))
        default: throw wrong("the method “\(methods[0])” is not offered; use password or token")
        }
        switch auth["scope"] {
        case nil, .string("unscoped"): return SignIn(proof: proof, scope: .none)
        case .some(let scope):
            if scope["system"]?["all"]?.bool == true { return SignIn(proof: proof, scope: .system) }
            guard let project = scope["project"],
                project["id"]?.text != nil || project["name"]?.text != nil
            else { throw wrong("auth.scope must be a project, the system or unscoped") }
            return SignIn(
                proof: proof,
                scope: .project(
                    id: project["id"]?.text,
                    name: isOurDomain(project["domain"]) ? project["name"]?.text : "\u{0}"
                )
            )
        }
    }

    private static func isOurDomain(_ domain: JSONValue?) -> Bool {
        guard let domain else { return true }
        return domain["id"]?.text == Domain.id || domain["name"]?.text == Domain.name
            || domain["name"]?.text?.lowercased() == Domain.id
    }

    private static let domainReference: JSONValue = [
        "id": .string(Domain.id), "name": .string(Domain.name),
    ]

    // MARK: - Who am I

    private func addAuthentication(_ routes: Routes) {
        routes.get("/v3/auth/catalog", .token) { _, _ in
            .json(["catalog": catalog.inToken, "links": links("/v3/auth/catalog")])
        }
        routes.get("/v3/auth/projects", .token) { _, context in
            let projects = try await service.ownProjects(as: context.requirePrincipal())
            return list("projects", projects.map(shape), at: "/v3/auth/projects")
        }
        routes.get("/v3/auth/domains", .token) { _, _ in
            list("domains", [], at: "/v3/auth/domains")
        }
        routes.get("/v3/auth/system", .token) { _, context in
            let role = try await service.ownSystemRole(as: context.requirePrincipal())
            return .json([
                "system": role == nil ? [] : [["all": true]], "links": links("/v3/auth/system"),
            ])
        }
    }

    // MARK: - Users, projects, roles

    private func addUsers(_ routes: Routes) {
        routes.get("/v3/users", .role(.reader)) { request, context in
            let users = try await service.users(
                named: request.query("name"),
                as: context.requirePrincipal()
            )
            return list("users", users.map(shape), at: "/v3/users")
        }
        routes.get("/v3/users/:id", .token) { _, context in
            let user = try await service.user(
                context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .json(["user": shape(user)])
        }
        routes.get("/v3/users/:id/projects", .token) { _, context in
            let id = try context.parameter("id")
            let projects = try await service.projects(ofUser: id, as: context.requirePrincipal())
            return list("projects", projects.map(shape), at: "/v3/users/\(id)/projects")
        }
        routes.get("/v3/roles", .role(.reader)) { request, _ in
            let roles = Role.allCases.filter { role in
                request.query("name").map(role.rawValue.elementsEqual) ?? true
            }
            return list("roles", roles.map(shape), at: "/v3/roles")
        }
        routes.get("/v3/roles/:id", .role(.reader)) { _, context in
            let id = try context.parameter("id")
            guard let role = Role(rawValue: id) else {
                throw Fault(.notFound, "cannot find role \(id): there is none with this identifier")
            }
            return .json(["role": shape(role)])
        }
    }

    private func addProjects(_ routes: Routes) {
        routes.get("/v3/projects", .role(.reader)) { request, context in
            let projects = try await service.projects(
                named: request.query("name"),
                as: context.requirePrincipal()
            )
            return list("projects", projects.map(shape), at: "/v3/projects")
        }
        routes.get("/v3/projects/:id", .role(.reader)) { _, context in
            let project = try await service.project(
                context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .json(["project": shape(project)])
        }
        let domain: JSONValue = [
            "id": .string(Domain.id), "name": .string(Domain.name), "enabled": true,
            "description": "", "options": [:], "links": links("/v3/domains/\(Domain.id)"),
        ]
        routes.get("/v3/domains", .role(.reader)) { request, _ in
            let isAsked = request.query("name").map(Domain.name.elementsEqual) ?? true
            return list("domains", isAsked ? [domain] : [], at: "/v3/domains")
        }
        routes.get("/v3/domains/:id", .role(.reader)) { _, context in
            let id = try context.parameter("id")
            guard id == Domain.id else {
                throw Fault(
                    .notFound,
                    "cannot find domain \(id): there is none with this identifier"
                )
            }
            return .json(["domain": domain])
        }
    }

    // MARK: - Services

    private func addCatalog(_ routes: Routes) {
        func add(_ plural: String, _ singular: String, _ objects: [JSONValue]) {
            routes.get("/v3/\(plural)", .role(.reader)) { request, _ in
                let asked = objects.filter { object in
                    ["type", "name", "interface", "service_id", "region_id"].allSatisfy { key in
                        request.query(key).map { object[key]?.text == $0 } ?? true
                    }
                }
                return list(plural, asked, at: "/v3/\(plural)")
            }
            routes.get("/v3/\(plural)/:id", .role(.reader)) { _, context in
                let id = try context.parameter("id")
                guard let object = objects.first(where: { $0["id"]?.text == id }) else {
                    throw Fault(
                        .notFound,
                        "cannot find \(singular) \(id): there is none with this identifier"
                    )
                }
                return .json(.object([singular: object]))
            }
        }
        add("services", "service", catalog.serviceList)
        add("endpoints", "endpoint", catalog.endpointList)
        add(
            "regions",
            "region",
            [
                [
                    "id": .string(catalog.region), "description": "", "parent_region_id": .null,
                    "links": links("/v3/regions/\(catalog.region)"),
                ]
            ]
        )
    }

    // MARK: - Shapes

    private func links(_ path: String) -> JSONValue { ["self": .string(root + path)] }

    private func list(_ name: String, _ objects: [JSONValue], at path: String) -> Response {
        .json(
            .object([
                name: .array(objects),
                "links": ["self": .string(root + path), "next": .null, "previous": .null],
            ])
        )
    }

    private func shape(_ user: User) -> JSONValue {
        [
            "id": .string(user.id), "name": .string(user.name), "enabled": .bool(user.isEnabled),
            "domain_id": .string(Domain.id), "password_expires_at": .null, "options": [:],
            "links": links("/v3/users/\(user.id)"),
        ]
    }

    private func shape(_ project: Project) -> JSONValue {
        [
            "id": .string(project.id), "name": .string(project.name),
            "enabled": .bool(project.isEnabled), "domain_id": .string(Domain.id),
            "parent_id": .string(Domain.id), "is_domain": false, "description": "", "tags": [],
            "options": [:], "links": links("/v3/projects/\(project.id)"),
        ]
    }

    private func shape(_ role: Role) -> JSONValue {
        [
            "id": .string(role.rawValue), "name": .string(role.rawValue), "domain_id": .null,
            "description": "", "options": [:], "links": links("/v3/roles/\(role.rawValue)"),
        ]
    }
}

extension HTTPField.Name {
    fileprivate static let subjectToken = Self.known("X-Subject-Token")
}
