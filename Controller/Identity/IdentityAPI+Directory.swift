import Basics
import HTTP
import HTTPTypes
import Hummingbird

/// Users, groups and domains.
extension IdentityAPI {
    // MARK: - Users

    func addUsers(_ routes: Routes) {
        routes.get("/v3/users", .token, .list("users", of: .user, .directory)) { request, context in
            let filter = try DirectoryFilter(request)
            let users = try await service.users(filter, as: context.requirePrincipal())
            return list("users", users.map(shape), request, limit: filter.limit)
        }
        routes.post("/v3/users", .token, .create("user", .newUser, .user)) { request, context in
            let edit = try DirectoryEdit(try await request.json(context), .user)
            let user = try await service.createUser(edit, as: context.requirePrincipal())
            context.note(target: user.id)
            return one("user", shape(user), status: .created)
        }
        routes.get("/v3/users/:id", .token, .show("user", .user)) { _, context in
            let id = try context.parameter("id")
            return one("user", shape(try await service.user(id, as: context.requirePrincipal())))
        }
        routes.patch("/v3/users/:id", .token, .change("user", .changedUser, .user)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .user)
            let user = try await service.updateUser(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("user", shape(user))
        }
        routes.delete("/v3/users/:id", .token, .silent("Delete a user")) { _, context in
            try await service.deleteUser(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
        routes.post("/v3/users/:id/password", .token, .changePassword) { request, context in
            let members = try RequestMembers(try await request.json(context), "user")
            guard let new = try members.text("password"),
                let old = try members.text("original_password")
            else { throw Fault(.invalid, "cannot change the password: give both passwords") }
            try await service.changePassword(
                of: context.parameter("id"),
                from: Secret(old),
                to: Secret(new),
                address: context.remoteAddress,
                as: context.requirePrincipal()
            )
            return .empty()
        }
        addUserLists(routes)
    }

    private func addUserLists(_ routes: Routes) {
        routes.get(
            "/v3/users/:id/projects",
            .token,
            .list("projects", of: .project, .projects, " of a user")
        ) { request, context in
            let filter = try DirectoryFilter(request)
            let projects = try await service.projects(
                ofUser: context.parameter("id"),
                filter,
                as: context.requirePrincipal()
            )
            return list("projects", projects.map(shape), request, limit: filter.limit)
        }
        routes.get(
            "/v3/users/:id/groups",
            .token,
            .list("groups", of: .group, .directory, " of a user")
        ) { request, context in
            let filter = try DirectoryFilter(request)
            let groups = try await service.groups(
                ofUser: context.parameter("id"),
                filter,
                as: context.requirePrincipal()
            )
            return list("groups", groups.map(shape), request, limit: filter.limit)
        }
    }

    // MARK: - Groups

    func addGroups(_ routes: Routes) {
        routes.get("/v3/groups", .token, .list("groups", of: .group, .directory)) {
            request,
            context in
            let filter = try DirectoryFilter(request)
            let groups = try await service.groups(filter, as: context.requirePrincipal())
            return list("groups", groups.map(shape), request, limit: filter.limit)
        }
        routes.post("/v3/groups", .token, .create("group", .newThing, .group)) { request, context in
            let edit = try DirectoryEdit(try await request.json(context), .group)
            let group = try await service.createGroup(edit, as: context.requirePrincipal())
            context.note(target: group.id)
            return one("group", shape(group), status: .created)
        }
        routes.get("/v3/groups/:id", .token, .show("group", .group)) { _, context in
            let id = try context.parameter("id")
            return one("group", shape(try await service.group(id, as: context.requirePrincipal())))
        }
        routes.patch("/v3/groups/:id", .token, .change("group", .changedThing, .group)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .group)
            let group = try await service.updateGroup(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("group", shape(group))
        }
        routes.delete("/v3/groups/:id", .token, .silent("Delete a group")) { _, context in
            try await service.deleteGroup(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
        addMembers(routes)
    }

    private func addMembers(_ routes: Routes) {
        routes.get(
            "/v3/groups/:id/users",
            .token,
            .list("users", of: .user, .directory, " of a group")
        ) { request, context in
            let filter = try DirectoryFilter(request)
            let users = try await service.users(
                ofGroup: context.parameter("id"),
                filter,
                as: context.requirePrincipal()
            )
            return list("users", users.map(shape), request, limit: filter.limit)
        }
        let path = "/v3/groups/:id/users/:user"
        routes.get(path, .token, .silent("Tell whether a user is in a group")) { _, context in
            try await service.checkMember(
                context.parameter("user"),
                ofGroup: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .empty()
        }
        routes.put(path, .token, .silent("Put a user into a group")) { _, context in
            try await service.addMember(
                context.parameter("user"),
                toGroup: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .empty()
        }
        routes.delete(path, .token, .silent("Take a user out of a group")) { _, context in
            try await service.removeMember(
                context.parameter("user"),
                fromGroup: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .empty()
        }
    }

    // MARK: - Domains

    func addDomains(_ routes: Routes) {
        routes.get("/v3/domains", .token, .list("domains", of: .domain, .directory)) {
            request,
            context in
            let filter = try DirectoryFilter(request)
            let domains = try await service.domains(filter, as: context.requirePrincipal())
            return list("domains", domains.map(shape), request, limit: filter.limit)
        }
        routes.post("/v3/domains", .token, .create("domain", .newThing, .domain)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .domain)
            let domain = try await service.createDomain(edit, as: context.requirePrincipal())
            context.note(target: domain.id)
            return one("domain", shape(domain), status: .created)
        }
        routes.get("/v3/domains/:id", .token, .show("domain", .domain)) { _, context in
            let id = try context.parameter("id")
            let domain = try await service.domain(id, as: context.requirePrincipal())
            return one("domain", shape(domain))
        }
        routes.patch("/v3/domains/:id", .token, .change("domain", .changedThing, .domain)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .domain)
            let domain = try await service.updateDomain(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("domain", shape(domain))
        }
        routes.delete("/v3/domains/:id", .token, .silent("Delete a domain")) { _, context in
            try await service.deleteDomain(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
    }
}
