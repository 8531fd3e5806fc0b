import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol

// What belongs to nodes: networks, history, parts; and the shards that they are in.
extension NodesAPI {
    func addPartRoutes(to routes: Routes) {
        let vifs = "/v1/nodes/:node/vifs"
        routes.ironic(.get, vifs, .reader, .listVIFs) { call in
            try call.require(minor: 28)
            let found = try await service.vifs(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json(["vifs": .array(found)])
        }
        routes.ironic(.post, vifs, .member, .attachVIF) { call in
            try call.require(minor: 28)
            let body = try await call.object()
            guard
                call.version.minor < 67
                    || body["port_uuid"] == nil || body["portgroup_uuid"] == nil
            else {
                throw Fault(
                    .invalid,
                    "cannot attach the VIF: give port_uuid or portgroup_uuid, not both"
                )
            }
            try await service.attach(body, to: try call.parameter("node"), by: call.principal)
            return .empty()
        }
        routes.ironic(.delete, vifs + "/:vif", .member, .detachVIF) { call in
            try call.require(minor: 28)
            try await service.detach(
                try call.parameter("vif"),
                from: try call.parameter("node"),
                by: call.principal
            )
            return .empty()
        }
        routes.ironic(.get, "/v1/nodes/:node/children", .reader, .listChildren) { call in
            try call.require(minor: 83)
            let (node, parts) = try await service.parts(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json([
                "children": .array(parts.map { .string($0.text) }),
                "links": [
                    "href": .string("\(root)/v1/nodes/?parent_node=\(node.id)"), "rel": "children",
                ],
            ])
        }
        routes.ironic(.get, "/v1/shards", .reader, .listShards) { call in
            try call.require(minor: 82)
            let shards = try await service.shards(by: call.principal)
            return .json([
                "shards": .array(
                    shards.map {
                        ["name": JSONValue($0.name), "count": .integer(Int64($0.count))]
                    }
                )
            ])
        }
        addHistoryRoutes(to: routes)
    }

    private func addHistoryRoutes(to routes: Routes) {
        let path = "/v1/nodes/:node/history"
        routes.ironic(.get, path, .reader, .listHistory) { call in
            try call.require(minor: 78)
            let isDetailed =
                call.request.query("detail").flatMap { JSONValue.string($0).truth } == true
            let limit = try call.limit()
            let entries = try await service.history(
                of: try call.parameter("node"),
                after: call.request.query("marker"),
                descending: try call.order().descending,
                limit: limit,
                by: call.principal
            )
            var body: [String: JSONValue] = [
                "history": .array(
                    entries.map { document($0, isDetailed: isDetailed, call.version) }
                )
            ]
            if entries.count == limit, let last = entries.last {
                body["next"] = .string(call.next(root, after: last.id, limit: limit))
            }
            return .json(.object(body))
        }
        routes.ironic(.get, path + "/:entry", .reader, .showHistory) { call in
            try call.require(minor: 78)
            let entry = try await service.historyEntry(
                try call.parameter("entry"),
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json(document(entry, isDetailed: true, call.version))
        }
    }

    private func document(
        _ entry: NodeHistoryEntry,
        isDetailed: Bool,
        _ version: Microversion
    ) -> JSONValue {
        let isLong = entry.event.utf8.count > 255
        var members: [String: JSONValue] = [
            "uuid": .string(entry.id), "created_at": .string(entry.at.description),
            "severity": .string(entry.severity),
            "event": .string(
                isDetailed || !isLong ? entry.event : entry.event.prefix(251) + "..."
            ),
            "links": [
                [
                    "href": .string("\(root)/v1/nodes/\(entry.node)/history/\(entry.id)"),
                    "rel": "self",
                ]
            ],
        ]
        guard isDetailed else { return .object(members) }
        members["event_type"] = "provisioning"
        members["conductor"] = .string(service.settings.hostName)
        members["user"] = JSONValue(entry.user)
        if version.minor >= 113 { members["project"] = JSONValue(entry.project) }
        if version.minor >= 115 {
            members["state"] = .string(entry.state)
            members["target_provision_state"] = JSONValue(entry.target)
            members["duration_seconds"] = .integer(entry.seconds)
        }
        return .object(members)
    }
}
