import Basics
import Boot
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// The Bare Metal API's ports.
package struct PortsAPI: RouteArea {
    private let service: NodesService
    private let root: String

    package init(service: NodesService, publicURL: String) {
        self.service = service
        root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .ironic)
        for (path, detail) in [("/v1/ports", false), ("/v1/ports/detail", true)] {
            routes.ironic(.get, path, .reader) { call in
                try await list(call, node: nil, detail: detail)
            }
        }
        for (path, detail) in [("ports", false), ("ports/detail", true)] {
            routes.ironic(.get, "/v1/nodes/:node/\(path)", .reader) { call in
                try await list(call, node: try call.parameter("node"), detail: detail)
            }
        }
        routes.ironic(.post, "/v1/ports", .member) { call in try await create(call) }
        routes.ironic(.get, "/v1/ports/:port", .reader) { call in
            let port = try await service.port(try id(call), by: call.principal)
            let names = call.request.query("fields")?.split(separator: ",").map(String.init)
            return .json(document(port, call.version, only: names.map { $0 + ["links"] }))
        }
        routes.ironic(.patch, "/v1/ports/:port", .member) { call in
            let body = try await call.request.json(call.context)
            let port = try await service.updatePort(try id(call), by: call.principal) {
                try Self.apply(body, to: &$0)
            }
            return .json(document(port, call.version, only: nil))
        }
        routes.ironic(.delete, "/v1/ports/:port", .member) { call in
            try await service.deletePort(try id(call), by: call.principal)
            return .empty()
        }
    }

    private func id(_ call: BaremetalCall) throws -> PortID {
        let text = try call.parameter("port")
        guard let id = PortID(text) else {
            throw Fault(.notFound, "cannot find port “\(text.prefix(80))”: that is no UUID")
        }
        return id
    }

    private func list(
        _ call: BaremetalCall,
        node: String?,
        detail: Bool
    ) async throws -> Response {
        let request = call.request
        var address: MACAddress?
        if let text = request.query("address") {
            guard let mac = MACAddress(text) else {
                throw Fault(
                    .invalid,
                    "cannot list ports: the address “\(text.prefix(40))” is no MAC"
                )
            }
            address = mac
        }
        var marker: PortID?
        if let text = request.query("marker") {
            guard let id = PortID(text) else {
                throw Fault(.invalid, "cannot list ports: the marker is no UUID")
            }
            marker = try await service.port(id, by: call.principal).id
        }
        let limit = try call.limit()
        let ports = try await service.ports(
            node: node ?? request.query("node") ?? request.query("node_uuid"),
            address: address,
            after: marker,
            limit: limit,
            by: call.principal
        )
        var names: [String]? = ["address", "links", "uuid", "name"]
        if detail || request.query("detail").flatMap({ JSONValue.string($0).truth }) == true {
            names = nil
        }
        if let wanted = request.query("fields") {
            names = wanted.split(separator: ",").map(String.init) + ["links"]
        }
        var body: [String: JSONValue] = [
            "ports": .array(ports.map { document($0, call.version, only: names) })
        ]
        if ports.count == limit, let last = ports.last {
            body["next"] = .string(call.next(root, after: last.id.text, limit: limit))
        }
        return .json(.object(body))
    }

    private func create(_ call: BaremetalCall) async throws -> Response {
        let body = try await call.object()
        guard let address = body["address"]?.text.flatMap(MACAddress.init) else {
            throw Fault(.invalid, "cannot create a port: the request has no valid address (a MAC)")
        }
        guard let node = body["node_uuid"]?.text else {
            throw Fault(.invalid, "cannot create a port: the request has no node_uuid")
        }
        var wanted: PortID?
        if let uuid = body["uuid"], uuid != .null {
            guard let id = PortID(uuid.text ?? "") else {
                throw Fault(.invalid, "cannot create a port: its uuid is none")
            }
            wanted = id
        }
        let fields = body.filter { !["address", "node_uuid", "uuid"].contains($0.key) }
        let port = try await service.createPort(
            id: wanted,
            node: node,
            address: address,
            by: call.principal
        ) { try Self.read(fields, into: &$0) }
        var response = Response.json(document(port, call.version, only: nil), status: .created)
        response.headers[.location] = "\(root)/v1/ports/\(port.id)"
        return response
    }

    private static func apply(_ patch: JSONValue, to port: inout Port) throws {
        var document: JSONValue = [
            "address": .string(port.address.text), "name": JSONValue(port.name),
            "pxe_enabled": .bool(port.isPXEEnabled), "extra": .object(port.extra),
            "local_link_connection": .object(port.localLink),
            "physical_network": JSONValue(port.physicalNetwork),
            "is_smartnic": .bool(port.isSmartNIC), "description": JSONValue(port.description),
        ]
        for operation in try JSONPatchOperation.list(from: patch) {
            try document.apply(operation)
        }
        try read(document.members ?? [:], into: &port)
    }

    private static func read(_ members: [String: JSONValue], into port: inout Port) throws {
        func wrong(_ name: String) -> Fault {
            Fault(
                .invalid,
                "cannot set \(name.prefix(40)) of a port: it is unknown or of the wrong type"
            )
        }
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let isNull = value == .null
            switch name {
            case "address":
                guard let mac = value.text.flatMap(MACAddress.init) else { throw wrong(name) }
                port.address = mac
            case "name" where isNull || value.text != nil: port.name = value.text
            case "description" where isNull || value.text != nil: port.description = value.text
            case "physical_network" where isNull || value.text != nil:
                port.physicalNetwork = value.text
            case "pxe_enabled" where isNull || value.truth != nil:
                port.isPXEEnabled = value.truth ?? true
            case "is_smartnic" where isNull || value.truth != nil:
                port.isSmartNIC = value.truth ?? false
            case "extra" where isNull || value.members != nil: port.extra = value.members ?? [:]
            case "local_link_connection" where isNull || value.members != nil:
                port.localLink = value.members ?? [:]
            case "portgroup_uuid" where isNull: continue
            default: throw wrong(name)
            }
        }
        let size =
            JSONValue.object(port.extra).canonicalText.utf8.count
            + JSONValue.object(port.localLink).canonicalText.utf8.count
        guard size <= 64 << 10, (port.name?.utf8.count ?? 0) <= 255 else {
            throw Fault(.invalid, "cannot save port \(port.id): a field is too long")
        }
    }

    private func document(
        _ port: Port,
        _ version: Microversion,
        only names: [String]?
    ) -> JSONValue {
        var members: [String: JSONValue] = [
            "uuid": .string(port.id.text), "address": .string(port.address.text),
            "node_uuid": .string(port.node.text), "extra": .object(port.extra),
            "created_at": .string(port.createdAt.description),
            "updated_at": JSONValue(port.updatedAt?.description),
            "links": [
                ["href": .string("\(root)/v1/ports/\(port.id)"), "rel": "self"],
                ["href": .string("\(root)/ports/\(port.id)"), "rel": "bookmark"],
            ],
        ]
        let newer: [(String, Int, JSONValue)] = [
            ("internal_info", 18, [:]), ("local_link_connection", 19, .object(port.localLink)),
            ("pxe_enabled", 19, .bool(port.isPXEEnabled)), ("portgroup_uuid", 24, .null),
            ("physical_network", 34, JSONValue(port.physicalNetwork)),
            ("is_smartnic", 53, .bool(port.isSmartNIC)), ("name", 88, JSONValue(port.name)),
        ]
        for (name, minor, value) in newer where version.minor >= minor { members[name] = value }
        if let names { members = members.filter { names.contains($0.key) } }
        return .object(members)
    }
}
