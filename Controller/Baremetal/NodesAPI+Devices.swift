import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol

// What a node's driver can do beyond power and boot; what ours cannot is refused as Ironic refuses what a
// driver has no interface for.
extension NodesAPI {
    func addDeviceRoutes(to routes: Routes) {
        addBootPolicyRoutes(to: routes)
        addFirmwareRoutes(to: routes)
        addMediaRoutes(to: routes)
        addIndicatorRoutes(to: routes)
        addRecordRoutes(to: routes)
        addVendorRoutes(to: routes)
        routes.ironic(.put, "/v1/nodes/:node/management/inject_nmi", .member, .injectNMI) { call in
            try call.require(minor: 29)
            try await service.injectNMI(into: try call.parameter("node"), by: call.principal)
            return .empty()
        }
        routes.ironic(.put, "/v1/nodes/:node/states/raid", .member, .setRAID) { call in
            try call.accept(minor: 12, "a target RAID configuration")
            try await service.setTargetRAID(
                try await call.object(),
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty()
        }
        routes.ironic(.get, "/v1/nodes/:node/states/console", .reader, .showConsole) { call in
            throw Fault.unsupported("console", of: try await owned(call, to: "see the console of"))
        }
        routes.ironic(.put, "/v1/nodes/:node/states/console", .member, .setConsole) { call in
            guard try await call.object()["enabled"]?.truth != nil else {
                throw Fault(.invalid, "cannot switch the console: enabled must be true or false")
            }
            throw Fault.unsupported(
                "console",
                of: try await owned(call, to: "switch the console of")
            )
        }
    }

    func seen(_ call: BaremetalCall) async throws -> Node {
        try await service.node(try call.parameter("node"), by: call.principal)
    }

    /// The node of the path, for what its owner's members may do and nobody who leases it.
    func owned(_ call: BaremetalCall, to action: String) async throws -> Node {
        try await service.node(
            try call.parameter("node"),
            by: call.principal,
            to: action,
            .own
        )
    }

    private func addVendorRoutes(to routes: Routes) {
        let path = "/v1/nodes/:node/vendor_passthru"
        routes.ironic(.get, path + "/methods", .systemAdmin, .listVendorMethods) { call in
            _ = try await seen(call)
            return .json([:])
        }
        for method in HTTPRequest.Method.vendor {
            routes.ironic(method, path, .systemAdmin, .callVendorMethod(method)) { call in
                _ = try await seen(call)
                throw Fault.noHandler(call.request.query("method"))
            }
            routes.ironic(method, path + "/:method", .systemAdmin, .callVendorMethod(method)) {
                call in
                _ = try await seen(call)
                throw Fault.noHandler(try call.parameter("method"))
            }
        }
    }
}

extension HTTPRequest.Method {
    /// What vendor methods may be called with.
    static let vendor: [HTTPRequest.Method] = [.get, .post, .put, .patch, .delete]
}

extension Fault {
    /// No driver of ours has vendor methods.
    static func noHandler(_ method: String?) -> Fault {
        guard let method, !method.isEmpty else {
            return Fault(.invalid, "cannot call a vendor method: the request names none")
        }
        return Fault(
            .invalid,
            "cannot call vendor method \(method.prefix(80)): no handler for it; the driver has none"
        )
    }
}

extension BaremetalCall {
    /// - Throws: `Fault` of kind `notAcceptable` when the request's version does not know `what` yet.
    func accept(minor: Int, _ what: String) throws {
        guard version.minor >= minor else {
            throw Fault(
                .notAcceptable,
                "cannot take \(what) in API version \(version.text): it exists since 1.\(minor)"
            )
        }
    }
}
