import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Power
import Protocol

/// Our own routes `/v1/bulk`: one call on many nodes.
package struct BulkAPI: RouteArea {
    private let service: BulkService
    private let root: String

    /// Nodes of one page of results.
    private static let pageMax = 1000

    package init(service: BulkService, publicURL: String) {
        self.service = service
        root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/v1/bulk", dialect: .ironic)
        routes.ironic(.post, "", .member, .createBulkJob) { call in try await create(call) }
        routes.ironic(.get, "", .reader, .listBulkJobs) { call in
            let jobs = try await service.jobs(by: call.principal)
            return .json(["jobs": .array(jobs.map { .object(document($0, $1)) })])
        }
        routes.ironic(.get, "/:job", .reader, .showBulkJob) { call in try await show(call) }
        routes.ironic(.delete, "/:job", .member, .cancelBulkJob) { call in
            try await service.cancel(try call.parameter("job"), by: call.principal)
            return .empty()
        }
    }

    private func create(_ call: BaremetalCall) async throws -> Response {
        let body = try await call.object()
        let known: Set = ["action", "request", "nodes", "filter"]
        if let other = body.keys.sorted().first(where: { !known.contains($0) }) {
            throw Fault(.invalid, "cannot make a job: it has no “\(other.prefix(40))”")
        }
        let request = body["request"] ?? .object([:])
        let order = try BulkOrder(body["action"]?.text ?? "", request, call.version)
        if case .set(let patch) = order {
            for operation in try JSONPatchOperation.list(from: patch) {
                try call.requireNodeField(operation.path[0])
            }
        }
        let (references, filter) = try Self.choice(body)
        let job = try await service.create(
            order,
            request: request,
            version: call.version,
            references: references,
            filter: filter,
            by: call.principal,
            requestID: call.context.requestID,
            address: call.context.remoteAddress
        )
        call.context.note(target: job.id.text)
        let (stored, progress, _, _) = try await service.job(
            job.id.text,
            after: -1,
            limit: 0,
            by: call.principal
        )
        var response = Response.json(.object(document(stored, progress)), status: .accepted)
        response.headers[.location] = "\(root)/v1/bulk/\(job.id)"
        return response
    }

    /// Which nodes a request is about: exactly one of a list and a filter, so that nobody means all by mistake.
    private static func choice(
        _ body: [String: JSONValue]
    ) throws -> (references: [String]?, filter: NodeQuery?) {
        let filter = body["filter"].flatMap { $0 == .null ? nil : $0 }
        let nodes = body["nodes"].flatMap { $0 == .null ? nil : $0 }
        guard (filter == nil) != (nodes == nil) else {
            throw Fault(
                .invalid,
                "cannot make a job: name the nodes in nodes, or say which in filter ({} is all), not both"
            )
        }
        if let filter {
            guard let members = filter.members else {
                throw Fault(.invalid, "cannot make a job: filter must be an object")
            }
            return (nil, try NodeQuery(bulk: members))
        }
        guard let elements = nodes?.elements, !elements.isEmpty,
            elements.allSatisfy({ $0.text?.isEmpty == false })
        else {
            throw Fault(
                .invalid,
                "cannot make a job: nodes must be a list of names or UUIDs that is not empty"
            )
        }
        return (elements.compactMap(\.text), nil)
    }

    private func show(_ call: BaremetalCall) async throws -> Response {
        let marker = call.request.query("marker")
        guard let after = Int(marker ?? "-1"), after >= -1 else {
            throw Fault(.invalid, "cannot show the job: marker must be the number of a result")
        }
        let limit = min(try call.limit(), Self.pageMax)
        let (job, progress, items, present) = try await service.job(
            try call.parameter("job"),
            after: after,
            limit: limit,
            by: call.principal
        )
        var members = document(job, progress)
        members["results"] = .array(items.map { row($0, present[$0.node]) })
        if items.count == limit, let last = items.last {
            members["next"] = .string(
                "\(root)/v1/bulk/\(job.id)?limit=\(limit)&marker=\(last.number)"
            )
        }
        return .json(.object(members))
    }

    private func document(_ job: BulkJob, _ progress: BulkProgress) -> [String: JSONValue] {
        [
            "uuid": .string(job.id.text), "action": .string(job.order.action),
            "target": JSONValue(job.order.target), "state": .string(job.state.rawValue),
            "user": .string(job.principal.userName),
            "project": JSONValue(job.principal.projectID),
            "created_at": .string(job.createdAt.description),
            "finished_at": JSONValue(job.finishedAt?.description),
            "progress": [
                "total": .integer(Int64(progress.total)),
                "waiting": .integer(Int64(progress.waiting)),
                "accepted": .integer(Int64(progress.accepted)),
                "refused": .integer(Int64(progress.refused)),
                "cancelled": .integer(Int64(progress.cancelled)),
            ],
            "links": [["rel": "self", "href": .string("\(root)/v1/bulk/\(job.id)")]],
        ]
    }

    /// A node's outcome, and how the node is now.
    private func row(_ item: BulkItem, _ node: Node?) -> JSONValue {
        [
            "number": .integer(Int64(item.number)),
            "node": item.node.text.isEmpty ? .null : .string(item.node.text),
            "name": .string(item.label), "result": .string(item.outcome.rawValue),
            "message": JSONValue(item.message), "at": JSONValue(item.at?.description),
            "provision_state": JSONValue(node?.state.ironicName),
            "power_state": JSONValue(node?.powerState?.rawValue),
            "last_error": JSONValue(node?.lastError),
        ]
    }
}
