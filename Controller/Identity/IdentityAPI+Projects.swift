import Basics
import HTTP
import HTTPTypes
import Hummingbird

/// Projects and their tags.
extension IdentityAPI {
    func addProjects(_ routes: Routes) {
        routes.get("/v3/projects", .token, .list("projects", of: .project, .projects)) {
            request,
            context in
            let filter = try DirectoryFilter(request)
            // Domains are no projects here.
            let onlyDomains = DirectoryFilter.bool(request, "is_domain") ?? false
            let projects =
                onlyDomains
                ? [] : try await service.projects(filter, as: context.requirePrincipal())
            return list("projects", projects.map(shape), request, limit: filter.limit)
        }
        routes.post("/v3/projects", .token, .create("project", .newProject, .project)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .project)
            let project = try await service.createProject(edit, as: context.requirePrincipal())
            context.note(target: project.id)
            return one("project", shape(project), status: .created)
        }
        routes.get("/v3/projects/:id", .token, .show("project", .project, .tree)) {
            request,
            context in
            let id = try context.parameter("id")
            let tree = try await service.project(id, as: context.requirePrincipal())
            return one("project", shape(tree, request))
        }
        routes.patch("/v3/projects/:id", .token, .change("project", .changedProject, .project)) {
            request,
            context in
            let edit = try DirectoryEdit(try await request.json(context), .project)
            let project = try await service.updateProject(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("project", shape(project))
        }
        routes.delete("/v3/projects/:id", .token, .silent("Delete a project")) { _, context in
            try await service.deleteProject(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
    }

    /// A project with the tree around it, as far as the query asks for it.
    private func shape(_ tree: ProjectTree, _ request: Request) -> JSONValue {
        var document = shape(tree.project)
        if request.query("parents_as_ids") != nil {
            document["parents"] = tree.above.reversed().reduce(JSONValue.null) { rest, project in
                .object([project.id: rest])
            }
        } else if request.query("parents_as_list") != nil {
            document["parents"] = .array(tree.above.map { ["project": shape($0)] })
        }
        if request.query("subtree_as_ids") != nil {
            let children = Dictionary(grouping: tree.below) { $0.parentID ?? "" }
            document["subtree"] = Self.subtree(tree.project.id, children)
        } else if request.query("subtree_as_list") != nil {
            document["subtree"] = .array(tree.below.map { ["project": shape($0)] })
        }
        return document
    }

    private static func subtree(_ id: String, _ children: [String: [Project]]) -> JSONValue {
        guard let below = children[id], !below.isEmpty else { return .null }
        return .object(
            Dictionary(below.map { ($0.id, subtree($0.id, children)) }) { first, _ in first }
        )
    }

    // MARK: - Tags

    func addProjectTags(_ routes: Routes) {
        let path = "/v3/projects/:id/tags"
        routes.get(path, .token, .listTags) { request, context in
            .json(["tags": try await tags(context), "links": links("projects")])
        }
        routes.put(path, .token, .setTags) { request, context in
            let body = try await request.json(context)
            guard let tags = body["tags"]?.elements?.compactMap(\.text) else {
                throw Fault(.invalid, "cannot read the request: it must hold a list “tags”")
            }
            let project = try await setTags(tags, context)
            return .json(["tags": .array(project.tags.map(JSONValue.string))])
        }
        routes.delete(path, .token, .silent("Remove all tags of a project")) { _, context in
            _ = try await setTags([], context)
            return .empty()
        }
        routes.get("\(path)/:tag", .token, .silent("Tell whether a project has a tag")) {
            _,
            context in
            let tag = JSONValue.string(try context.parameter("tag"))
            guard try await tags(context).elements?.contains(tag) == true else {
                throw Fault(.notFound, "cannot find this tag at the project")
            }
            return .empty()
        }
        routes.put(
            "\(path)/:tag",
            .token,
            Operation("Give a project a tag", answers: .empty(.created))
        ) { _, context in
            let tag = try context.parameter("tag")
            let tags = try await tags(context).elements?.compactMap(\.text) ?? []
            if !tags.contains(tag) { _ = try await setTags(tags + [tag], context) }
            return .empty(.created)
        }
        routes.delete("\(path)/:tag", .token, .silent("Remove a tag of a project")) { _, context in
            let tag = try context.parameter("tag")
            let tags = try await tags(context).elements?.compactMap(\.text) ?? []
            guard tags.contains(tag) else {
                throw Fault(.notFound, "cannot find this tag at the project")
            }
            _ = try await setTags(tags.filter { $0 != tag }, context)
            return .empty()
        }
    }

    private func tags(_ context: APIContext) async throws -> JSONValue {
        let id = try context.parameter("id")
        let tree = try await service.project(id, as: context.requirePrincipal())
        return .array(tree.project.tags.map(JSONValue.string))
    }

    private func setTags(_ tags: [String], _ context: APIContext) async throws -> Project {
        var edit = DirectoryEdit()
        edit.tags = tags
        return try await service.updateProject(
            context.parameter("id"),
            edit,
            as: context.requirePrincipal()
        )
    }
}
