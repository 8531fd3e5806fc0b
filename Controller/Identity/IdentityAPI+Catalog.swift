import Basics
import HTTP
import HTTPTypes
import Hummingbird

/// Regions, services and endpoints.
extension IdentityAPI {
    func addRegions(_ routes: Routes) {
        routes.get("/v3/regions", .token, .list("regions", of: .region, .catalog)) {
            request,
            context in
            let regions = try await service.regions(
                CatalogFilter(request),
                as: context.requirePrincipal()
            )
            return list("regions", regions.map(shape), request)
        }
        routes.post("/v3/regions", .token, .create("region", .newRegion, .region)) {
            request,
            context in
            let edit = try CatalogEdit(try await request.json(context), "region")
            let region = try await service.createRegion(edit, as: context.requirePrincipal())
            context.note(target: region.id)
            return one("region", shape(region), status: .created)
        }
        routes.get("/v3/regions/:id", .token, .show("region", .region)) { _, context in
            let id = try context.parameter("id")
            let region = try await service.region(id, as: context.requirePrincipal())
            return one("region", shape(region))
        }
        routes.put("/v3/regions/:id", .token, .create("region", .newRegion, .region)) {
            request,
            context in
            var edit = try CatalogEdit(try await request.json(context), "region")
            edit.id = try context.parameter("id")
            let region = try await service.createRegion(edit, as: context.requirePrincipal())
            return one("region", shape(region), status: .created)
        }
        routes.patch("/v3/regions/:id", .token, .change("region", .newRegion, .region)) {
            request,
            context in
            let edit = try CatalogEdit(try await request.json(context), "region")
            let region = try await service.updateRegion(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("region", shape(region))
        }
        routes.delete("/v3/regions/:id", .token, .silent("Delete a region")) { _, context in
            try await service.deleteRegion(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
    }

    func addServices(_ routes: Routes) {
        routes.get("/v3/services", .token, .list("services", of: .service, .catalog)) {
            request,
            context in
            let services = try await service.services(
                CatalogFilter(request),
                as: context.requirePrincipal()
            )
            return list("services", services.map(shape), request)
        }
        routes.post("/v3/services", .token, .create("service", .newService, .service)) {
            request,
            context in
            let edit = try CatalogEdit(try await request.json(context), "service")
            let made = try await service.createService(edit, as: context.requirePrincipal())
            context.note(target: made.id)
            return one("service", shape(made), status: .created)
        }
        routes.get("/v3/services/:id", .token, .show("service", .service)) { _, context in
            let id = try context.parameter("id")
            let found = try await service.service(id, as: context.requirePrincipal())
            return one("service", shape(found))
        }
        routes.patch("/v3/services/:id", .token, .change("service", .changedService, .service)) {
            request,
            context in
            let edit = try CatalogEdit(try await request.json(context), "service")
            let changed = try await service.updateService(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("service", shape(changed))
        }
        routes.delete("/v3/services/:id", .token, .silent("Delete a service")) { _, context in
            try await service.deleteService(context.parameter("id"), as: context.requirePrincipal())
            return .empty()
        }
    }

    func addEndpoints(_ routes: Routes) {
        routes.get("/v3/endpoints", .token, .list("endpoints", of: .endpoint, .catalog)) {
            request,
            context in
            let endpoints = try await service.endpoints(
                CatalogFilter(request),
                as: context.requirePrincipal()
            )
            return list("endpoints", endpoints.map(shape), request)
        }
        routes.post("/v3/endpoints", .token, .create("endpoint", .newEndpoint, .endpoint)) {
            request,
            context in
            let edit = try CatalogEdit(try await request.json(context), "endpoint")
            let made = try await service.createEndpoint(edit, as: context.requirePrincipal())
            context.note(target: made.id)
            return one("endpoint", shape(made), status: .created)
        }
        routes.get("/v3/endpoints/:id", .token, .show("endpoint", .endpoint)) { _, context in
            let id = try context.parameter("id")
            let found = try await service.endpoint(id, as: context.requirePrincipal())
            return one("endpoint", shape(found))
        }
        routes.patch("/v3/endpoints/:id", .token, .change("endpoint", .changedEndpoint, .endpoint))
        { request, context in
            let edit = try CatalogEdit(try await request.json(context), "endpoint")
            let changed = try await service.updateEndpoint(
                context.parameter("id"),
                edit,
                as: context.requirePrincipal()
            )
            return one("endpoint", shape(changed))
        }
        routes.delete("/v3/endpoints/:id", .token, .silent("Delete a endpoint")) { _, context in
            let id = try context.parameter("id")
            try await service.deleteEndpoint(id, as: context.requirePrincipal())
            return .empty()
        }
    }

    /// Which endpoints a project's tokens show.
    func addProjectEndpoints(_ routes: Routes) {
        let path = "/v3/OS-EP-FILTER/projects/:id/endpoints"
        routes.get(path, .token, .list("endpoints", of: .endpoint, [], " of a project")) {
            request,
            context in
            let endpoints = try await service.endpoints(
                ofProject: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return list("endpoints", endpoints.map(shape), request)
        }
        routes.get(
            "/v3/OS-EP-FILTER/endpoints/:id/projects",
            .token,
            .list("projects", of: .project, [], " of an endpoint")
        ) { request, context in
            let projects = try await service.projects(
                withEndpoint: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return list("projects", projects.map(shape), request)
        }
        let gifts: [(HTTPRequest.Method, IdentityService.EndpointGift, String)] = [
            (.get, .check, "Tell whether a project sees an endpoint"),
            (.put, .give, "Show a project an endpoint"),
            (.delete, .take, "Hide an endpoint from a project"),
        ]
        for (method, gift, summary) in gifts {
            routes.on(method, "\(path)/:endpoint", .token, .silent(summary)) { _, context in
                try await service.gift(
                    gift,
                    endpoint: context.parameter("endpoint"),
                    project: context.parameter("id"),
                    as: context.requirePrincipal()
                )
                return .empty()
            }
        }
    }
}
