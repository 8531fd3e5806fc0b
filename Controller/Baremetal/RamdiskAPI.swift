import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// What Ironic's own ramdisk would call: look-up, heartbeat, the end of an inspection.
///
/// They answer only an authenticated agent. Ours prove themselves by their CURVE keys on the control port
/// and never call these, and no driver boots Ironic's; so whoever calls them is a stranger. It is told what
/// is wrong with its request in Ironic's codes, and otherwise 404, the same whether there is such a node.
package struct RamdiskAPI: RouteArea {
    package init() {}

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .ironic)
        add(routes, .get, "/v1/lookup", .lookUp, since: 22) { request, _, _ in
            let addresses = (request.query("addresses") ?? "").split(separator: ",")
            let id = request.query("node_uuid")
            guard id == nil || NodeID(id ?? "") != nil else {
                throw Fault(.invalid, "cannot look up a node: node_uuid is no UUID")
            }
            guard id != nil || addresses.contains(where: { Self.isMAC($0) }) else {
                throw Fault(
                    .invalid,
                    "cannot look up a node: the request has neither node_uuid nor a valid MAC address"
                )
            }
        }
        add(routes, .post, "/v1/heartbeat/:node", .heartbeat, since: 22) {
            request,
            context,
            minor in
            let body = try await Self.object(request, context)
            for (name, since) in [
                ("agent_version", 36), ("agent_verify_ca", 68), ("agent_status", 72),
                ("agent_status_message", 72),
            ] where body[name] != nil && body[name] != .null && minor < since {
                throw Fault(
                    .invalid,
                    "cannot take \(name) of a heartbeat in this API version: it exists since 1.\(since)"
                )
            }
            guard let address = body["callback_url"]?.text,
                address.isEmpty || address.hasPrefix("http://") || address.hasPrefix("https://")
            else {
                throw Fault(.invalid, "cannot take the heartbeat: its callback_url is no URL")
            }
            guard body["agent_token"]?.text != nil else {
                throw Fault(.invalid, "cannot take the heartbeat: it has no agent_token")
            }
        }
        add(routes, .post, "/v1/continue_inspection", .continueInspection, since: 84) {
            request,
            context,
            _ in
            let body = try await Self.object(request, context)
            let interfaces = body["inventory"]?["interfaces"]?.elements ?? []
            guard !interfaces.isEmpty,
                interfaces.allSatisfy({ $0["mac_address"]?.text != nil })
            else {
                throw Fault(
                    .invalid,
                    "cannot take the inspection: inventory.interfaces must name each mac_address"
                )
            }
        }
    }

    private func add(
        _ routes: Routes,
        _ method: HTTPRequest.Method,
        _ path: String,
        _ operation: HTTP.Operation,
        since minor: Int,
        check: @escaping @Sendable (Request, APIContext, Int) async throws -> Void
    ) {
        routes.on(method, path, .handler(.agent), operation.versioned) { request, context in
            var version = Microversion.minimum
            var response: Response
            do {
                version = try Microversion(of: request)
                if version.minor >= minor { try await check(request, context, version.minor) }
                throw Fault(
                    .notFound,
                    "cannot answer \(method.rawValue) here: it takes an agent that proves whose it is"
                )
            } catch {
                let fault = Fault(error)
                guard fault.kind != .internalError else { throw error }
                response = Dialect.ironic.response(for: fault)
            }
            for field in version.headers { response.headers[field.name] = field.value }
            return response
        }
    }

    private static func object(
        _ request: Request,
        _ context: APIContext
    ) async throws -> [String: JSONValue] {
        guard let members = try await request.json(context).members else {
            throw Fault(.invalid, "cannot read the request: its body must be a JSON object")
        }
        return members
    }

    private static func isMAC(_ text: Substring) -> Bool {
        let bytes = text.split(separator: ":", omittingEmptySubsequences: false)
        return bytes.count == 6 && bytes.allSatisfy { $0.count == 2 && UInt8($0, radix: 16) != nil }
    }
}

extension HTTP.Operation {
    fileprivate static let lookUp = HTTP.Operation(
        "Look up a node, for an agent",
        [.init("addresses", .text, "MAC addresses, parted by commas."), .init("node_uuid", .text)],
        answers: .ok(.object(["node": .node, "config": .document], required: ["node", "config"]))
    )
    fileprivate static let heartbeat = HTTP.Operation(
        "Tell that an agent runs",
        takes: .json(
            .object(
                [
                    "callback_url": .text, "agent_token": .text, "agent_version": .textOrNull,
                    "agent_verify_ca": .textOrNull, "agent_status": .textOrNull,
                    "agent_status_message": .textOrNull,
                ],
                required: ["callback_url", "agent_token"],
                open: true
            )
        ),
        answers: .accepted
    )
    fileprivate static let continueInspection = HTTP.Operation(
        "Tell what an agent found",
        [.init("node_uuid", .uuid)],
        takes: .json(.object(["inventory": .document], required: ["inventory"], open: true)),
        answers: .json(.accepted, .document)
    )
}
