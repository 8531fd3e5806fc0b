import Basics
package import HTTP
import Hummingbird
import Protocol

/// Routes of configuration runs: `/v1/deployments`.
package struct DeploymentsAPI: RouteArea {
    private let service: DeploymentsService

    package init(service: DeploymentsService) { self.service = service }

    package func addRoutes(to surface: Surface) {
        let service = service
        let routes = surface.area("/v1/deployments", dialect: .plain)
        routes.post("", .installation(.admin), .createDeployment) { request, context in
            let wanted = try await request.decode(DeploymentRequest.self, context)
            let made = try await service.create(wanted)
            context.note(target: made.id.text)
            return try .json(
                encoding: DeploymentDocument(made),
                status: .accepted,
                headers: [.location: "/v1/deployments/\(made.id)"]
            )
        }
        routes.get("", .installation(.reader), .listDeployments) { _, _ in
            let all = try await service.deployments().map(DeploymentDocument.init)
            return try .json(encoding: ["deployments": all])
        }
        routes.get("/:id", .installation(.reader), .showDeployment) { _, context in
            try .json(
                encoding: DeploymentDocument(
                    try await service.deployment(try context.deploymentID())
                )
            )
        }
        routes.post("/:id/resume", .installation(.admin), .resumeDeployment) { request, context in
            let correction = try await request.decode(
                DeploymentResumeRequest.self,
                context
            )
            let resumed = try await service.resume(try context.deploymentID(), with: correction)
            return try .json(encoding: DeploymentDocument(resumed), status: .accepted)
        }
        routes.post("/:id/cancel", .installation(.admin), .cancelDeployment) { _, context in
            let cancelled = try await service.cancel(try context.deploymentID())
            return try .json(encoding: DeploymentDocument(cancelled), status: .accepted)
        }
        routes.delete("/:id", .installation(.admin), .deleteDeployment) { _, context in
            try await service.delete(try context.deploymentID())
            return .empty()
        }
    }
}

extension APIContext {
    fileprivate func deploymentID() throws -> DeploymentID {
        let text = try parameter("id")
        guard let id = DeploymentID(text) else {
            throw Fault(.notFound, "cannot find deployment “\(text)”: it is not a UUID")
        }
        return id
    }
}
