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
        routes.ironic(.get, "/v1/nodes", .reader) { call in try await list(call, detail: false) }
        routes.ironic(.get, "/v1/nodes/detail", .reader) { call in
            try await list(call, detail: true)
        }
        routes.ironic(.post, "/v1/nodes", .member) { call in try await create(call) }
        routes.ironic(.get, "/v1/nodes/:node", .reader) { call in try await show(call) }
        routes.ironic(.patch, "/v1/nodes/:node", .member) { call in try await patch(call) }
        routes.ironic(.delete, "/v1/nodes/:node", .member) { call in
            try await service.delete(try call.parameter("node"), by: call.principal)
            return .empty()
        }
        routes.ironic(.get, "/v1/nodes/:node/validate", .reader) { call in
            try await validate(call)
        }
        routes.ironic(.get, "/v1/nodes/:node/inventory", .reader) { call in
            try call.require(minor: 81)
            let found = try await service.inventory(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json(["inventory": found.inventory, "plugin_data": found.pluginData])
        }
        addTraitRoutes(to: routes)
        addStateRoutes(to: routes)
    }

    func document(_ node: Node) -> NodeDocument {
        NodeDocument(
            node: node,
            progress: service.progress(of: node),
            settings: service.settings,
            root: root
        )
    }

    private func list(_ call: BaremetalCall, detail: Bool) async throws -> Response {
        let request = call.request
        let query = try NodeQuery(call)
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
        guard names != NodeDocument.summary else {
            let nodes = try await service.summaries(marked, by: call.principal)
            return page(call, marked, nodes.last?.id, of: nodes) { $0.append(to: &$1, root: root) }
        }
        let nodes = try await service.nodes(marked, by: call.principal)
        let fields = NodeFields(names)
        return page(call, marked, nodes.last?.id.text, of: nodes) {
            document($0).append(fields, to: &$1)
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
        let names =
            try call.request.query("fields").map { try NodeDocument.wanted($0, call.version) }
            ?? NodeDocument.names(call.version)
        return answer(node, names)
    }

    private func answer(
        _ node: Node,
        _ names: [String],
        status: HTTPResponse.Status = .ok
    ) -> Response {
        var text = JSONText()
        document(node).append(NodeFields(names), to: &text)
        return .json(bytes: text.bytes, status: status)
    }

    private func create(_ call: BaremetalCall) async throws -> Response {
        let members = try await call.object()
        guard let driver = members["driver"]?.text else {
            throw Fault(.invalid, "cannot create a node: the request has no driver")
        }
        let known = Set(NodeDocument.names(call.version))
        for name in members.keys.sorted() where !known.contains(name) {
            throw Fault(
                .invalid,
                "cannot create a node: the field “\(name.prefix(40))” is unknown in API version \(call.version.text)"
            )
        }
        var id: NodeID?
        if let text = members["uuid"], text != .null {
            guard let wanted = NodeID(text.text ?? "") else {
                throw Fault(.invalid, "cannot create a node: its uuid is none")
            }
            id = wanted
        }
        let now = service.time.now
        let node = try await service.create(id: id, driver: driver, by: call.principal) { node in
            try NodeEdits.read(members, into: &node, at: now)
        }
        var response = answer(node, NodeDocument.names(call.version), status: .created)
        response.headers[.location] = "\(root)/v1/nodes/\(node.id)"
        return response
    }

    private func patch(_ call: BaremetalCall) async throws -> Response {
        let body = try await call.request.json(call.context)
        let now = service.time.now
        let node = try await service.update(try call.parameter("node"), by: call.principal) {
            try NodeEdits.apply(body, to: &$0, at: now)
        }
        return answer(node, NodeDocument.names(call.version))
    }

    /// Tells per interface whether the node could be worked on.
    private func validate(_ call: BaremetalCall) async throws -> Response {
        let node = try await service.node(try call.parameter("node"), by: call.principal)
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
        body["power"] = bmc
        body["management"] = bmc
        body["deploy"] = deploy
        return .json(.object(body))
    }

    private func addTraitRoutes(to routes: Routes) {
        routes.ironic(.get, "/v1/nodes/:node/traits", .reader) { call in
            try call.require(minor: 37)
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            return .json(["traits": .array(node.traits.map(JSONValue.string))])
        }
        routes.ironic(.put, "/v1/nodes/:node/traits", .member) { call in
            try call.require(minor: 37)
            let names = try await call.object()["traits"]?.elements?.compactMap(\.text) ?? []
            return try await set(names, call)
        }
        routes.ironic(.put, "/v1/nodes/:node/traits/:trait", .member) { call in
            try call.require(minor: 37)
            let trait = try call.parameter("trait")
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            return try await set(node.traits.filter { $0 != trait } + [trait], call)
        }
        routes.ironic(.delete, "/v1/nodes/:node/traits", .member) { call in
            try call.require(minor: 37)
            return try await set([], call)
        }
        routes.ironic(.delete, "/v1/nodes/:node/traits/:trait", .member) { call in
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
        for trait in traits {
            let isCustom =
                trait.hasPrefix("CUSTOM_") || trait.hasPrefix("HW_") || trait.hasPrefix("COMPUTE_")
            let isPlain = trait.utf8.allSatisfy { byte in
                (65...90).contains(byte) || (48...57).contains(byte) || byte == UInt8(ascii: "_")
            }
            guard isCustom, isPlain, trait.utf8.count <= 255 else {
                throw Fault(
                    .invalid,
                    "cannot set trait “\(trait.prefix(80))”: it must begin with CUSTOM_ and hold capitals, digits and “_” only"
                )
            }
        }
        _ = try await service.update(try call.parameter("node"), by: call.principal) {
            $0.traits = Array(Set(traits)).sorted()
        }
        return .empty()
    }
}

extension BaremetalCall {
    /// Where the next page is.
    func next(_ root: String, after marker: String, limit: Int) -> String {
        var pairs = ["limit=\(limit)", "marker=\(marker)"]
        for name in [
            "fields", "detail", "sort_key", "sort_dir", "provision_state", "maintenance",
            "associated", "driver", "resource_class", "owner", "lessee", "conductor_group",
            "retired", "node", "node_uuid",
        ] {
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

extension NodeQuery {
    /// What the query of a request asks for, without its marker.
    init(_ call: BaremetalCall) throws {
        self.init()
        let request = call.request
        func truth(_ name: String) throws -> Bool? {
            guard let text = request.query(name) else { return nil }
            guard let truth = JSONValue.string(text).truth else {
                throw Fault(
                    .invalid,
                    "cannot filter by \(name): “\(text.prefix(20))” is neither true nor false"
                )
            }
            return truth
        }
        provisionState = request.query("provision_state")
        if let provisionState, !ProvisionState.ironicNames.contains(provisionState) {
            throw Fault(
                .invalid,
                "cannot filter by provision_state “\(provisionState.prefix(40))”: there is no such state"
            )
        }
        maintenance = try truth("maintenance")
        associated = try truth("associated")
        retired = try truth("retired")
        instanceID = request.query("instance_uuid")
        driver = request.query("driver")
        resourceClass = request.query("resource_class")
        conductorGroup = request.query("conductor_group")
        owner = request.query("owner")
        lessee = request.query("lessee")
        fault = request.query("fault")
        descriptionContains = request.query("description_contains")
        limit = try call.limit()
        if let key = request.query("sort_key") {
            guard let sortKey = SortKey(rawValue: key) else {
                throw Fault(.invalid, "cannot sort by “\(key.prefix(40))”: choose another field")
            }
            self.sortKey = sortKey
        }
        switch request.query("sort_dir") {
        case nil, "asc": descending = false
        case "desc": descending = true
        case .some(let text):
            throw Fault(.invalid, "cannot sort “\(text.prefix(20))”: sort_dir is asc or desc")
        }
    }
}
