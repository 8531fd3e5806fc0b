import Basics
import HTTP
import HTTPTypes
import Hummingbird

/// Roles, what they imply, and who has them.
extension IdentityAPI {
    func addRoles(_ routes: Routes) {
        routes.get("/v3/roles", .token, .list("roles", of: .role, .directory)) { request, context in
            let filter = try DirectoryFilter(request)
            let roles = try await service.roles(filter, as: context.requirePrincipal())
            return list("roles", roles.map(shape), request, limit: filter.limit)
        }
        routes.post("/v3/roles", .token, .create("role", .newThing, .role)) { request, context in
            let edit = try DirectoryEdit(try await request.json(context), .role)
            let role = try await service.createRole(edit, as: context.requirePrincipal())
            context.note(target: role.id)
            return one("role", shape(role), status: .created)
        }
        routes.get("/v3/roles/:id", .token, .show("role", .role)) { _, context in
            let id = try context.parameter("id")
            return one("role", shape(try await service.role(id, as: context.requirePrincipal())))
        }
        routes.patch("/v3/roles/:id", .token, .change("role", .changedThing, .role)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .role)
            let role = try await service.updateRole(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("role", shape(role))
        }
        routes.delete("/v3/roles/:id", .token, .silent("Delete a role")) { _, context in
            try await service.deleteRole(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
    }

    // MARK: - What roles imply

    func addInferences(_ routes: Routes) {
        routes.get("/v3/role_inferences", .token, .listInferences) { _, context in
            let inferences = try await service.inferences(as: context.requirePrincipal())
            return .json([
                "role_inferences": .array(inferences.map(shape)), "links": links("role_inferences"),
            ])
        }
        routes.get("/v3/roles/:id/implies", .token, .showInferences) { _, context in
            let id = try context.parameter("id")
            let inference = try await service.inference(id, as: context.requirePrincipal())
            return .json([
                "role_inference": shape(inference), "links": links("roles/\(id)/implies"),
            ])
        }
        let path = "/v3/roles/:id/implies/:implied"
        routes.get(path, .token, .showInference) { _, context in
            try await inference(context, status: .ok)
        }
        routes.put(path, .token, .createInference) { _, context in
            try await service.addInference(
                context.parameter("id"),
                context.parameter("implied"),
                as: context.requirePrincipal()
            )
            return try await inference(context, status: .created)
        }
        routes.delete(path, .token, .silent("Let a role no longer imply another")) { _, context in
            try await service.removeInference(
                context.parameter("id"),
                context.parameter("implied"),
                as: context.requirePrincipal()
            )
            return .empty()
        }
    }

    private func inference(
        _ context: APIContext,
        status: HTTPResponse.Status
    ) async throws -> Response {
        let (prior, implied) = (try context.parameter("id"), try context.parameter("implied"))
        let inference = try await service.inference(prior, implied, as: context.requirePrincipal())
        var document = shape(inference)
        document["implies"] = inference.implied.first.map(brief) ?? .null
        return .json(
            ["role_inference": document, "links": links("roles/\(prior)/implies/\(implied)")],
            status: status
        )
    }

    private func shape(_ inference: RoleInference) -> JSONValue {
        [
            "prior_role": brief(inference.prior),
            "implies": .array(inference.implied.map(brief)),
        ]
    }

    private func brief(_ role: RoleRecord) -> JSONValue {
        [
            "id": .string(role.id), "name": .string(role.name),
            "links": links("roles/\(role.id)"),
        ]
    }

    // MARK: - Grants

    /// Grants by scope, actor and role; below `OS-INHERIT` those that count further down.
    func addGrants(_ routes: Routes) {
        for place in ["projects", "domains", "system"] {
            for actors in ["users", "groups"] {
                let scope = place == "system" ? "/system" : "/\(place)/:id"
                let path = "\(scope)/\(actors)/:actor/roles"
                add(routes, "/v3\(path)", "/v3\(path)/:role", place, actors, isInherited: false)
                guard place != "system" else { continue }
                add(
                    routes,
                    "/v3/OS-INHERIT\(path)/inherited_to_projects",
                    "/v3/OS-INHERIT\(path)/:role/inherited_to_projects",
                    place,
                    actors,
                    isInherited: true
                )
            }
        }
        routes.get(
            "/v3/role_assignments",
            .token,
            .list("role_assignments", of: .grant, .grants)
        ) { request, context in
            let grants = try await service.grants(
                GrantFilter(request),
                as: context.requirePrincipal()
            )
            let names = DirectoryFilter.bool(request, "include_names") ?? false
            return list("role_assignments", grants.map { shape($0, names: names) }, request)
        }
    }

    private func add(
        _ routes: Routes,
        _ all: String,
        _ one: String,
        _ place: String,
        _ actors: String,
        isInherited: Bool
    ) {
        @Sendable func grant(_ context: APIContext, role: String) throws -> Grant {
            let actor = try context.parameter("actor")
            let scope: GrantScope =
                switch place {
                case "projects": .project(try context.parameter("id"))
                case "domains": .domain(try context.parameter("id"))
                default: .system
                }
            return Grant(
                roleID: role,
                actor: actors == "users" ? .user(actor) : .group(actor),
                scope: scope,
                isInherited: isInherited
            )
        }
        routes.get(all, .token, .list("roles", of: .role, [], " that are granted")) {
            request,
            context in
            let roles = try await service.roles(
                like: grant(context, role: ""),
                as: context.requirePrincipal()
            )
            return list("roles", roles.map(shape), request)
        }
        routes.get(one, .token, .silent("Tell whether a role is granted")) { _, context in
            let grant = try grant(context, role: context.parameter("role"))
            try await service.check(grant, as: context.requirePrincipal())
            return .empty()
        }
        routes.put(one, .token, .silent("Grant a role")) { _, context in
            let grant = try grant(context, role: context.parameter("role"))
            try await service.add(grant, as: context.requirePrincipal())
            return .empty()
        }
        routes.delete(one, .token, .silent("Take a role away")) { _, context in
            let grant = try grant(context, role: context.parameter("role"))
            try await service.remove(grant, as: context.requirePrincipal())
            return .empty()
        }
    }
}

extension GrantFilter {
    /// Reads a list's query.
    init(_ request: Request) {
        roleID = request.query("role.id")
        userID = request.query("user.id")
        groupID = request.query("group.id")
        projectID = request.query("scope.project.id")
        domainID = request.query("scope.domain.id")
        isSystem = request.query("scope.system") != nil
        isInherited = request.query("scope.OS-INHERIT:inherited_to") != nil
        isEffective = DirectoryFilter.bool(request, "effective") ?? false
    }
}
