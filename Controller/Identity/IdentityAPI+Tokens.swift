import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// Tokens, and what somebody finds out about itself.
extension IdentityAPI {
    func addTokens(_ routes: Routes) {
        routes.post("/v3/auth/tokens", .open, .signIn) { request, context in
            let wish = try SignIn(body: try await request.json(context))
            if let account = try await service.account(of: wish.proof) {
                context.note(target: account)
            }
            let issued = try await service.signIn(wish, from: context.remoteAddress)
            return answer(issued, request, status: .created)
        }
        routes.get("/v3/auth/tokens", .token, .showToken) { request, context in
            answer(try await subject(request, context), request, status: .ok)
        }
        routes.delete("/v3/auth/tokens", .token, .revokeToken) { request, context in
            let subject = try await subject(request, context)
            context.note(target: subject.principal.userID)
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
    ) -> Response {
        let (session, claims) = (issued.session, issued.session.claims)
        var token: JSONValue = [
            "methods": .array(claims.methods.map(JSONValue.string)),
            "user": [
                "id": .string(session.principal.userID),
                "name": .string(session.principal.userName),
                "domain": Self.reference(session.userDomain), "password_expires_at": .null,
            ],
            "audit_ids": [.string(String(claims.id.prefix(22)))],
            "issued_at": .string(claims.issued.rfc3339(suffix: ".000000Z")),
            "expires_at": .string(claims.expires.rfc3339(suffix: ".000000Z")),
        ]
        switch session.principal.scope {
        case .none: break
        case .system: token["system"] = ["all": true]
        case .domain(let id, let name):
            token["domain"] = ["id": .string(id), "name": .string(name)]
        case .project(let id, let name):
            token["project"] = [
                "id": .string(id), "name": .string(name),
                "domain": session.projectDomain.map(Self.reference) ?? .null,
            ]
            token["is_domain"] = false
            token["is_admin_project"] = .bool(session.principal.isAdminProject)
        }
        if session.principal.scope != .none {
            // The strongest first, as people read them.
            let roles = session.roles.sorted { left, right in
                (left.builtIn.map { -$0.strength } ?? 0, left.name)
                    < (right.builtIn.map { -$0.strength } ?? 0, right.name)
            }
            token["roles"] = .array(roles.map(Self.brief))
            if request.query("nocatalog") == nil {
                token["catalog"] = Self.shape(issued.catalog, for: session)
            }
        }
        if let credential = session.credential {
            token["application_credential"] = Self.brief(credential)
        }
        var response = Response.json(["token": token], status: status)
        response.headers[.subjectToken] = issued.token.reveal()
        response.headers[.vary] = "X-Auth-Token"
        return response
    }

    private static func brief(_ credential: ApplicationCredential) -> JSONValue {
        var shape: JSONValue = [
            "id": .string(credential.id), "name": .string(credential.name),
            "restricted": .bool(!credential.isUnrestricted),
        ]
        if !credential.rules.isEmpty {
            shape["access_rules"] = .array(credential.rules.map(Self.shape))
        }
        return shape
    }

    private static func reference(_ domain: NamedReference) -> JSONValue {
        ["id": .string(domain.id), "name": .string(domain.name)]
    }

    // MARK: - Who am I

    func addOwn(_ routes: Routes) {
        routes.get("/v3/auth/catalog", .token, .showCatalog) { request, context in
            let token = Secret(request.headers[.authToken] ?? "")
            let issued = try await service.inspect(token)
            guard issued.principal.scope != .none else {
                throw Fault(
                    .forbidden,
                    "cannot show the catalog: the token has no scope; sign in with one"
                )
            }
            return .json([
                "catalog": Self.shape(issued.catalog, for: issued.session),
                "links": links("auth/catalog"),
            ])
        }
        routes.get(
            "/v3/auth/projects",
            .token,
            .list("projects", of: .project, [], " that one may sign in to")
        ) { request, context in
            let projects = try await service.ownProjects(as: context.requirePrincipal())
            return list("projects", projects.map(shape), request)
        }
        routes.get(
            "/v3/auth/domains",
            .token,
            .list("domains", of: .domain, [], " that one may sign in to")
        ) { request, context in
            let domains = try await service.ownDomains(as: context.requirePrincipal())
            return list("domains", domains.map(shape), request)
        }
        routes.get("/v3/auth/system", .token, .showSystem) { _, context in
            let isThere = try await service.hasSystemRole(context.requirePrincipal())
            return .json([
                "system": isThere ? [["all": true]] : [], "links": links("auth/system"),
            ])
        }
    }
}

extension Role {
    fileprivate var strength: Int { Role.allCases.firstIndex(of: self).map { $0 + 1 } ?? 0 }
}

extension HTTPField.Name {
    fileprivate static let subjectToken = Self.known("X-Subject-Token")
}
