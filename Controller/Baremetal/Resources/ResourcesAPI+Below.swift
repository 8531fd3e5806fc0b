import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol

// What lies below resources, and allocations, which are made in their own way.
extension ResourcesAPI {
    func addRunbookTraitRoutes(to routes: Routes) {
        let path = "/v1/runbooks/:id/traits"
        routes.ironic(.get, path, .reader, .listTraits) { call in
            try call.require(minor: 112)
            let runbook = try await service.resource(
                .runbook,
                try call.parameter("id"),
                by: call.principal
            )
            return .json(["traits": runbook.values["traits"] ?? []])
        }
        routes.ironic(.put, path, .member, .setTraits) { call in
            guard let traits = try await call.object()["traits"]?.elements else {
                throw Fault(.invalid, "cannot set the traits: the request has no list of traits")
            }
            let names = traits.compactMap(\.text)
            guard names.count == traits.count else {
                throw Fault(.invalid, "cannot set the traits: they must be texts")
            }
            return try await setTraits(call) { _ in names }
        }
        routes.ironic(.put, path + "/:trait", .member, .addTrait) { call in
            let trait = try call.parameter("trait")
            return try await setTraits(call) { $0 + [trait] }
        }
        routes.ironic(.delete, path, .member, .removeTraits) { call in
            try await setTraits(call) { _ in [] }
        }
        routes.ironic(.delete, path + "/:trait", .member, .removeTrait) { call in
            let trait = try call.parameter("trait")
            return try await setTraits(call) { $0.filter { $0 != trait } }
        }
    }

    private func setTraits(
        _ call: BaremetalCall,
        _ edit: @escaping @Sendable ([String]) -> [String]
    ) async throws -> Response {
        try call.require(minor: 112)
        _ = try await service.update(.runbook, try call.parameter("id"), by: call.principal) {
            let traits = Array(Set(edit($0.texts("traits")))).sorted()
            for trait in traits { try Trait.check(trait, "a trait") }
            $0.values["traits"] = .array(traits.map(JSONValue.string))
        }
        return .empty()
    }

    func addVolumeRoutes(to routes: Routes) {
        for path in ["/v1/volume", "/v1/nodes/:node/volume"] {
            routes.ironic(.get, path, .reader, .showVolume) { call in
                try call.require(minor: 32)
                var below = "/volume"
                if path.contains(":node") {
                    let node = try await service.node(
                        try call.parameter("node"),
                        by: call.principal
                    )
                    below = "/nodes/\(node.id)/volume"
                }
                func links(_ end: String) -> JSONValue {
                    [
                        ["href": .string("\(root)/v1\(below)/\(end)"), "rel": "self"],
                        ["href": .string("\(root)\(below)/\(end)"), "rel": "bookmark"],
                    ]
                }
                return .json([
                    "links": links(""), "connectors": links("connectors"),
                    "targets": links("targets"),
                ])
            }
        }
    }

    func addAllocationRoutes(to routes: Routes) {
        let kind = ResourceKind.allocation
        routes.ironic(.post, kind.path, .member, kind.creation) { call in
            try call.require(minor: kind.minor)
            let allocation = try await service.allocate(
                try await call.object(),
                call.version,
                by: call.principal
            )
            return created(kind, allocation, call)
        }
        routes.ironic(.delete, kind.path + "/:id", .member, kind.deletion()) { call in
            try call.require(minor: kind.minor)
            try await service.deallocate(try call.parameter("id"), by: call.principal)
            return .empty()
        }
        routes.ironic(.get, "/v1/nodes/:node/allocation", .reader, kind.showing(" of a node")) {
            call in
            try call.require(minor: kind.minor)
            let names = try kind.wanted(call.request.query("fields"), call.version)
            let allocation = try await service.allocation(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json(document(kind, allocation, call.version, only: names))
        }
        routes.ironic(.delete, "/v1/nodes/:node/allocation", .member, kind.deletion(" of a node")) {
            call in
            try call.require(minor: kind.minor)
            let allocation = try await service.allocation(
                of: try call.parameter("node"),
                by: call.principal
            )
            try await service.deallocate(allocation.id.text, by: call.principal)
            return .empty()
        }
    }
}
