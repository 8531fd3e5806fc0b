import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// The Bare Metal API's simple resources: ports, port groups, chassis, templates, runbooks, rules, volumes.
package struct ResourcesAPI: RouteArea {
    let service: NodesService
    /// Where clients reach the API, without a slash at the end.
    let root: String

    package init(service: NodesService, publicURL: String) {
        self.service = service
        root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .ironic)
        for kind in ResourceKind.all { add(kind, to: routes) }
        for (path, kind) in [
            ("ports", ResourceKind.port), ("portgroups", .portGroup),
            ("volume/connectors", .volumeConnector), ("volume/targets", .volumeTarget),
        ] {
            for detail in kind.hasDetail ? [false, true] : [false] {
                routes.ironic(
                    .get,
                    "/v1/nodes/:node/\(path)\(detail ? "/detail" : "")",
                    .reader,
                    kind.listing(" of a node", isDetailed: detail)
                ) { call in
                    try await list(
                        kind,
                        call,
                        detail: detail,
                        node: try call.parameter("node")
                    )
                }
            }
        }
        for detail in [false, true] {
            routes.ironic(
                .get,
                "/v1/portgroups/:id/ports\(detail ? "/detail" : "")",
                .reader,
                ResourceKind.port.listing(" of a port group", isDetailed: detail)
            ) { call in
                try call.require(minor: 24)
                let group = try await service.resource(
                    .portGroup,
                    try call.parameter("id"),
                    by: call.principal
                )
                return try await list(
                    .port,
                    call,
                    detail: detail,
                    equal: ["portgroup_uuid": .string(group.id.text)]
                )
            }
        }
        addRunbookTraitRoutes(to: routes)
        addVolumeRoutes(to: routes)
        addAllocationRoutes(to: routes)
    }

    private func add(_ kind: ResourceKind, to routes: Routes) {
        routes.ironic(.get, kind.path, .reader, kind.listing(isDetailed: false)) { call in
            try await list(kind, call, detail: false)
        }
        if kind.hasDetail {
            routes.ironic(
                .get,
                kind.path + "/detail",
                .reader,
                kind.listing(isDetailed: true)
            ) { call in
                try await list(kind, call, detail: true)
            }
        }
        routes.ironic(.get, kind.path + "/:id", .reader, kind.showing()) { call in
            try call.require(minor: kind.minor)
            let names = try kind.wanted(call.request.query("fields"), call.version)
            let resource = try await service.resource(kind, try id(call), by: call.principal)
            return .json(document(kind, resource, call.version, only: names))
        }
        if kind.table != ResourceKind.allocation.table {
            routes.ironic(.post, kind.path, .member, kind.creation) { call in
                try call.require(minor: kind.minor)
                let resource = try await service.create(
                    kind,
                    try kind.members(try await call.object(), call.version),
                    call.version,
                    by: call.principal
                )
                return created(kind, resource, call)
            }
            routes.ironic(.delete, kind.path + "/:id", .member, kind.deletion()) { call in
                try call.require(minor: kind.minor)
                try await service.delete(kind, try id(call), by: call.principal)
                return .empty()
            }
        }
        routes.ironic(.patch, kind.path + "/:id", .member, kind.change) { call in
            try call.require(minor: max(kind.minor, kind.patchMinor))
            let patch = try await call.request.json(call.context)
            let version = call.version
            let resource = try await service.update(kind, try id(call), by: call.principal) {
                try kind.patch(patch, &$0, version)
            }
            return .json(document(kind, resource, version, only: nil))
        }
    }

    /// What the path names; clients of old put `.json` at its end.
    private func id(_ call: BaremetalCall) throws -> String {
        let text = try call.parameter("id")
        return text.hasSuffix(".json") ? String(text.dropLast(5)) : text
    }

    func created(_ kind: ResourceKind, _ resource: Resource, _ call: BaremetalCall) -> Response {
        call.context.note(target: resource.id.text)
        var response = Response.json(
            document(kind, resource, call.version, only: nil),
            status: .created
        )
        response.headers[.location] = "\(root)\(kind.path)/\(resource.id)"
        return response
    }

    func list(
        _ kind: ResourceKind,
        _ call: BaremetalCall,
        detail: Bool,
        node: String? = nil,
        equal: [String: JSONValue] = [:]
    ) async throws -> Response {
        try call.require(minor: kind.minor)
        let request = call.request
        var query = ResourceQuery()
        query.equal = equal
        query.limit = try call.limit()
        (query.sortKey, query.descending) = try call.order()
        if let text = request.query("marker") {
            guard let marker = ResourceID(text) else {
                throw Fault(.invalid, "cannot list \(kind.item): the marker is no UUID")
            }
            query.marker = marker
        }
        for name in kind.filters {
            guard let text = request.query(name), let field = kind.field(name) else { continue }
            try call.require(field, of: kind)
            query.equal[name] = try field.read(.string(text), of: kind)
        }
        for (name, minor) in kind.datedFilters where request.query(name) != nil {
            guard call.version.minor >= minor else {
                throw Fault(
                    .notAcceptable,
                    "cannot filter \(kind.list) by \(name) in API version \(call.version.text): it exists since 1.\(minor)"
                )
            }
        }
        if kind.table == ResourceKind.port.table {
            query.descriptionContains = request.query("description_contains")
        }
        if kind.scope == .node {
            query.shards = request.query("shard").map(Self.texts)
            query.conductorGroups = request.query("conductor_groups").map(Self.texts)
        }
        var node = node
        if let text = request.query("node") ?? request.query("node_uuid"),
            kind.field("node_uuid") != nil
        {
            node = node ?? text
        }
        if let text = request.query("portgroup"), kind.table == ResourceKind.port.table {
            try call.require(minor: 24)
            let group = try await service.resource(.portGroup, text, by: call.principal)
            query.equal["portgroup_uuid"] = .string(group.id.text)
        }
        if let text = request.query("address"), kind.field("address") != nil {
            query.equal["address"] = .string(try kind.address(text))
        }
        let found = try await service.resources(kind, query, node: node, by: call.principal)
        let names = try kind.listed(call, detail: detail)
        var body: [String: JSONValue] = [
            kind.list: .array(found.map { document(kind, $0, call.version, only: names) })
        ]
        if found.count == query.limit, let last = found.last {
            body["next"] = .string(call.next(root, after: last.id.text, limit: query.limit))
        }
        return .json(.object(body))
    }

    private static func texts(_ list: String) -> [String] {
        list.split(separator: ",").prefix(256).map(String.init)
    }

    func document(
        _ kind: ResourceKind,
        _ resource: Resource,
        _ version: Microversion,
        only names: [String]?
    ) -> JSONValue {
        var members = resource.values
        for field in kind.fields where field.minor > version.minor { members[field.name] = nil }
        kind.mask(&members)
        members["uuid"] = .string(resource.id.text)
        members["created_at"] = .string(resource.createdAt.description)
        members["updated_at"] = JSONValue(resource.updatedAt?.description)
        members["links"] = links(kind, resource, "")
        for below in kind.below { members[below] = links(kind, resource, "/" + below) }
        if let names { members = members.filter { names.contains($0.key) } }
        return .object(members)
    }

    private func links(_ kind: ResourceKind, _ resource: Resource, _ below: String) -> JSONValue {
        let short = kind.path.dropFirst("/v1".count)
        return [
            ["href": .string("\(root)\(kind.path)/\(resource.id)\(below)"), "rel": "self"],
            ["href": .string("\(root)\(short)/\(resource.id)\(below)"), "rel": "bookmark"],
        ]
    }
}

extension ResourceKind {
    /// Every kind of simple resource.
    static let all: [ResourceKind] = [
        .chassis, .port, .portGroup, .deployTemplate, .runbook, .inspectionRule, .volumeConnector,
        .volumeTarget, .allocation,
    ]

    /// The fields that a request asked for, by name.
    /// - Throws: `Fault`: `invalid` for an unknown field, `notAcceptable` for one of a newer version.
    func wanted(_ list: String?, _ version: Microversion) throws -> [String]? {
        guard let list else { return nil }
        let names = list.split(separator: ",").map(String.init)
        for name in names {
            if let field = field(name) {
                guard field.minor <= version.minor else {
                    throw Fault(
                        .notAcceptable,
                        "cannot show the field \(name) in API version \(version.text): it exists since 1.\(field.minor)"
                    )
                }
            } else if !(["uuid", "created_at", "updated_at", "links"] + below).contains(name) {
                throw Fault(
                    .invalid,
                    "cannot show the field “\(name.prefix(40))”: a \(item) has none"
                )
            }
        }
        return names + ["links"]
    }

    /// The fields that a list shows.
    func listed(_ call: BaremetalCall, detail: Bool) throws -> [String]? {
        let wantsDetail = call.request.query("detail").flatMap { JSONValue.string($0).truth }
        let names = try wanted(call.request.query("fields"), call.version)
        guard names == nil || wantsDetail != true else {
            throw Fault(
                .invalid,
                "cannot show some fields in detail: give fields or detail, not both"
            )
        }
        if let names { return names }
        return detail || wantsDetail == true ? nil : summary + ["links"]
    }

    /// A request's members, with the older or newer name of one.
    func members(
        _ members: [String: JSONValue],
        _ version: Microversion
    ) throws -> [String: JSONValue] {
        guard let node = members["node_ident"], table == ResourceKind.port.table else {
            return members
        }
        guard version.minor >= 94, members["node_uuid"] == nil else {
            throw Fault(
                .invalid,
                "cannot make a port: give node_uuid, or since API version 1.94 node_ident, not both"
            )
        }
        var members = members
        members["node_ident"] = nil
        members["node_uuid"] = node
        return members
    }
}

extension BaremetalCall {
    /// By which field a list is sorted, and whether downwards.
    func order() throws -> (key: String, descending: Bool) {
        let key = request.query("sort_key") ?? "id"
        switch request.query("sort_dir") {
        case nil, "asc": return (key, false)
        case "desc": return (key, true)
        case .some(let text):
            throw Fault(.invalid, "cannot sort “\(text.prefix(20))”: sort_dir is asc or desc")
        }
    }

    /// - Throws: `Fault` of kind `notAcceptable` when the request's version does not know the field.
    func require(_ field: ResourceField, of kind: ResourceKind) throws {
        guard version.minor >= field.minor else {
            throw Fault(
                .notAcceptable,
                "cannot filter \(kind.item) by \(field.name) in API version \(version.text): it exists since 1.\(field.minor)"
            )
        }
    }
}

extension ResourceKind {
    /// Filters that came later than the kind, and the minor version that brought each.
    var datedFilters: [(name: String, minor: Int)] {
        switch table {
        case Self.port.table:
            [("shard", 82), ("description_contains", 97), ("conductor_groups", 99)]
        case Self.portGroup.table: [("conductor_groups", 99), ("shard", 106)]
        default: []
        }
    }
}
