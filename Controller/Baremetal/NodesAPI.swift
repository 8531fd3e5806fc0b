import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// The Bare Metal API's nodes: register, list, show, change, forget, validate.
package struct NodesAPI: RouteArea {
    let service: NodesService
    /// Where clients reach the API, without a slash at the end.
    let root: String

    package init(service: NodesService, publicURL: String) {
        self.service = service
        root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .ironic)
        routes.ironic(.get, "/v1/nodes", .reader, .listNodes("", isDetailed: false)) { call in
            try await list(call, detail: false)
        }
        routes.ironic(.get, "/v1/nodes/detail", .reader, .listNodes("", isDetailed: true)) { call in
            try await list(call, detail: true)
        }
        for detail in [false, true] {
            routes.ironic(
                .get,
                "/v1/chassis/:id/nodes\(detail ? "/detail" : "")",
                .reader,
                .listNodes(" of a chassis", isDetailed: detail)
            ) { call in
                let chassis = try await service.resource(
                    .chassis,
                    try call.parameter("id"),
                    by: call.principal
                )
                return try await list(call, detail: detail, chassis: chassis.id.text)
            }
        }
        routes.ironic(.post, "/v1/nodes", .member, .createNode) { call in
            try await create(call)
        }
        routes.ironic(.get, "/v1/nodes/:node", .reader, .showNode) { call in try await show(call) }
        routes.ironic(.patch, "/v1/nodes/:node", .member, .changeNode) { call in
            try await patch(call)
        }
        routes.ironic(.delete, "/v1/nodes/:node", .member, .deleteNode) { call in
            try await service.delete(try call.parameter("node"), by: call.principal)
            return .empty()
        }
        routes.ironic(.get, "/v1/nodes/:node/validate", .reader, .validateNode) { call in
            try await validate(call)
        }
        routes.ironic(.get, "/v1/nodes/:node/inventory", .reader, .showInventory) { call in
            try call.require(minor: 81)
            let found = try await service.inventory(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json(["inventory": found.inventory, "plugin_data": found.pluginData])
        }
        addTraitRoutes(to: routes)
        addStateRoutes(to: routes)
        addProvisionRoutes(to: routes)
        addDeviceRoutes(to: routes)
        addPartRoutes(to: routes)
    }

    func document(
        _ node: Node,
        _ version: Microversion = .maximum,
        place: QueuePlace? = nil
    ) -> NodeDocument {
        NodeDocument(
            node: node,
            progress: service.progress(of: node),
            settings: service.settings,
            root: root,
            version: version,
            place: place
        )
    }

    private func list(
        _ call: BaremetalCall,
        detail: Bool,
        chassis: String? = nil
    ) async throws -> Response {
        let request = call.request
        var query = try NodeQuery(call, host: service.settings.hostName)
        query.chassis = chassis ?? query.chassis
        let marked: NodeQuery
        if let marker = request.query("marker") {
            var query = query
            query.marker = try await service.node(marker, by: call.principal).id
            marked = query
        } else {
            marked = query
        }
        let names: [String]
        if let wanted = request.query("fields") {
            names = try NodeDocument.wanted(wanted, call.version)
        } else if detail || request.query("detail").flatMap({ JSONValue.string($0).truth }) == true
        {
            names = NodeDocument.names(call.version)
        } else {
            let known = Set(NodeDocument.names(call.version))
            names = NodeDocument.summary.filter(known.contains)
        }
        guard names != NodeDocument.summary || call.version.minor < 39 else {
            let nodes = try await service.summaries(marked, by: call.principal)
            return page(call, marked, nodes.last?.id, of: nodes) { $0.append(to: &$1, root: root) }
        }
        let nodes = try await service.nodes(marked, by: call.principal)
        let fields = NodeFields(names)
        let places =
            names.contains("driver_internal_info") ? try await service.places(of: nodes) : [:]
        return page(call, marked, nodes.last?.id.text, of: nodes) {
            document($0, call.version, place: places[$0.id]).append(fields, to: &$1)
        }
    }

    /// A page of a list, written row by row.
    private func page<Row>(
        _ call: BaremetalCall,
        _ query: NodeQuery,
        _ last: String?,
        of rows: [Row],
        _ append: (Row, inout JSONText) -> Void
    ) -> Response {
        var text = JSONText()
        text.append(raw: "{")
        if rows.count == query.limit, let last {
            text.append(raw: #""next":"#)
            text.append(call.next(root, after: last, limit: query.limit))
            text.append(raw: ",")
        }
        text.append(raw: #""nodes":["#)
        for (index, row) in rows.enumerated() {
            if index > 0 { text.append(raw: ",") }
            append(row, &text)
        }
        text.append(raw: "]}")
        return .json(bytes: text.bytes)
    }

    private func show(_ call: BaremetalCall) async throws -> Response {
        let node = try await service.node(try call.parameter("node"), by: call.principal)
        let fields = try call.request.query("fields").map {
            NodeFields(try NodeDocument.wanted($0, call.version))
        }
        let place = try await service.places(of: [node])[node.id]
        return answer(node, call.version, fields: fields, place: place)
    }

    private func answer(
        _ node: Node,
        _ version: Microversion,
        fields: NodeFields? = nil,
        place: QueuePlace? = nil,
        status: HTTPResponse.Status = .ok
    ) -> Response {
        var text = JSONText()
        document(node, version, place: place).append(fields ?? .all(version), to: &text)
        return .json(bytes: text.bytes, status: status)
    }

    private func create(_ call: BaremetalCall) async throws -> Response {
        var members = try await call.object()
        guard let driver = members["driver"]?.text else {
            throw Fault(.invalid, "cannot create a node: the request has no driver")
        }
        for name in members.keys.sorted() { try call.requireNodeField(name) }
        var id: NodeID?
        if let text = members["uuid"], text != .null {
            guard let wanted = NodeID(text.text ?? "") else {
                throw Fault(.invalid, "cannot create a node: its uuid is none")
            }
            id = wanted
        }
        members["parent_node"] = try await parent(members["parent_node"], call)
        let now = service.time.now
        let node = try await service.create(
            id: id,
            driver: driver,
            by: call.principal
        ) { [members] node in
            try NodeEdits.read(members, into: &node, at: now)
        }
        call.context.note(target: node.id.text)
        var response = answer(node, call.version, status: .created)
        response.headers[.location] = "\(root)/v1/nodes/\(node.id)"
        return response
    }

    private func patch(_ call: BaremetalCall) async throws -> Response {
        let body = try await call.request.json(call.context)
        var operations = try JSONPatchOperation.list(from: body)
        for (index, operation) in operations.enumerated() {
            try call.requireNodeField(operation.path[0])
            guard operation.path == ["parent_node"] else { continue }
            operations[index] = JSONPatchOperation(
                verb: operation.verb,
                path: operation.path,
                value: try await parent(operation.value, call) ?? .null
            )
        }
        let now = service.time.now
        let resets = try resetsInterfaces(call, operations)
        let node = try await service.update(
            try call.parameter("node"),
            by: call.principal
        ) { [operations] in
            if resets { $0.interfaces = [:] }
            try NodeEdits.apply(operations, to: &$0, at: now)
        }
        return answer(node, call.version)
    }

    /// Whether the interfaces become those of the new driver, beside those that the patch names.
    private func resetsInterfaces(
        _ call: BaremetalCall,
        _ operations: [JSONPatchOperation]
    ) throws -> Bool {
        guard let text = call.request.query("reset_interfaces") else { return false }
        try call.require(minor: 45)
        guard let resets = JSONValue.string(text).truth else {
            throw Fault(.invalid, "cannot use reset_interfaces: it must be true or false")
        }
        guard !resets || operations.contains(where: { $0.path == ["driver"] }) else {
            throw Fault(
                .invalid,
                "cannot reset the interfaces: reset_interfaces goes with a change of the driver only"
            )
        }
        return resets
    }

    /// A parent may be named as any other node is; it becomes its UUID.
    ///
    /// One that the caller does not see is as one that is not there, with Ironic's code.
    private func parent(_ value: JSONValue?, _ call: BaremetalCall) async throws -> JSONValue? {
        guard let name = value?.text, NodeID(name) == nil else { return value }
        do {
            return .string(try await service.node(name, by: call.principal).id.text)
        } catch let fault as Fault where fault.kind == .notFound {
            throw Fault(
                .invalid,
                "cannot set parent_node “\(name.prefix(80))”: there is no node with this UUID or name"
            )
        }
    }

    /// Tells per interface whether the node could be worked on.
    private func validate(_ call: BaremetalCall) async throws -> Response {
        let node = try await service.node(
            try call.parameter("node"),
            by: call.principal,
            to: "validate node",
            .operate
        )
        func result(_ body: () throws -> Void) -> JSONValue {
            do {
                try body()
                return ["result": true]
            } catch {
                return ["result": false, "reason": .string(Fault(error).message)]
            }
        }
        let bmc = result {
            guard let driver = service.drivers[node.driver] else {
                throw Fault(.invalid, "cannot use driver “\(node.driver)”: it is not enabled")
            }
            _ = try driver.bmc(of: node)
        }
        var deploy: JSONValue = ["result": true]
        do {
            _ = try await service.checkedOrder(for: node)
            _ = try await service.deployPlan(of: node, [])
        } catch {
            deploy = ["result": false, "reason": .string(Fault(error).message)]
        }
        var body: [String: JSONValue] = [:]
        for kind in DriverInterfaces.kinds {
            let isLacking =
                document(node).object(["\(kind)_interface"])["\(kind)_interface"]?.text?
                .hasPrefix("no-") == true
            body[kind] =
                isLacking
                ? ["result": .null, "reason": .string("this server does not support it")]
                : ["result": true]
        }
        if node.has("raid") {
            body["raid"] = result {
                let config = node.targetRAIDConfig
                if !config.isEmpty { try RAIDConfiguration.check(config) }
            }
        }
        body["power"] = bmc
        body["management"] = bmc
        body["deploy"] = deploy
        body["boot"] = result { try service.checkBoot(of: node) }
        return .json(.object(body))
    }

    private func addTraitRoutes(to routes: Routes) {
        routes.ironic(.get, "/v1/nodes/:node/traits", .reader, .listTraits) { call in
            try call.require(minor: 37)
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            return .json(["traits": .array(node.traits.map(JSONValue.string))])
        }
        routes.ironic(.put, "/v1/nodes/:node/traits", .member, .setTraits) { call in
            try call.require(minor: 37)
            let names = try await call.object()["traits"]?.elements?.compactMap(\.text) ?? []
            return try await set(names, call)
        }
        routes.ironic(.put, "/v1/nodes/:node/traits/:trait", .member, .addTrait) { call in
            try call.require(minor: 37)
            let trait = try call.parameter("trait")
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            return try await set(node.traits.filter { $0 != trait } + [trait], call)
        }
        routes.ironic(.delete, "/v1/nodes/:node/traits", .member, .removeTraits) { call in
            try call.require(minor: 37)
            return try await set([], call)
        }
        routes.ironic(.delete, "/v1/nodes/:node/traits/:trait", .member, .removeTrait) { call in
            try call.require(minor: 37)
            let trait = try call.parameter("trait")
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            guard node.traits.contains(trait) else {
                throw Fault(
                    .notFound,
                    "cannot remove trait \(trait): node \(node.label) does not have it"
                )
            }
            return try await set(node.traits.filter { $0 != trait }, call)
        }
    }

    private func set(_ traits: [String], _ call: BaremetalCall) async throws -> Response {
        for trait in traits { try Trait.check(trait, "a trait") }
        _ = try await service.node(
            try call.parameter("node"),
            by: call.principal,
            to: "change the traits of",
            .manage
        )
        _ = try await service.update(try call.parameter("node"), by: call.principal) {
            $0.traits = Array(Set(traits)).sorted()
        }
        return .empty()
    }
}

extension BaremetalCall {
    /// - Throws: `Fault`: `invalid` when a node has no such field, `notAcceptable` when the request's version
    ///   does not know it yet.
    func requireNodeField(_ name: String) throws {
        guard let field = NodeField.named[name] else {
            throw Fault(
                .invalid,
                "cannot set the field “\(name.prefix(40))”: a node has none that may be set"
            )
        }
        try accept(minor: field.minor, "the field \(name)")
    }

    /// Where the next page is.
    func next(_ root: String, after marker: String, limit: Int) -> String {
        var pairs = ["limit=\(limit)", "marker=\(marker)"]
        for name in [
            "fields", "detail", "sort_key", "sort_dir", "node", "node_uuid", "address",
            "portgroup", "phase", "state", "conductor_groups",
        ] + NodeQuery.filters.map(\.name) {
            guard let value = request.query(name) else { continue }
            pairs.append("\(name)=\(Self.escaped(value))")
        }
        return "\(root)\(request.uri.path)?\(pairs.joined(separator: "&"))"
    }

    private static func escaped(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 65...90, 97...122, 48...57, UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."), UInt8(ascii: ","):
                bytes.append(byte)
            default:
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// How many rows a page has.
    /// - Throws: `Fault` of kind `invalid`.
    func limit() throws -> Int {
        guard let text = request.query("limit") else { return NodeQuery.limitMax }
        guard let limit = Int(text), limit >= 0 else {
            throw Fault(.invalid, "cannot list: the limit “\(text.prefix(20))” is no number")
        }
        return limit == 0 ? NodeQuery.limitMax : min(limit, NodeQuery.limitMax)
    }
}
