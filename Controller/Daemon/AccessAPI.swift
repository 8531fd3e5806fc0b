import Agents
import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Identity
import Protocol
import Transport

/// Who may speak to the controller besides users: agents' keys, stream readers, metric readers.
///
/// | route | what it does |
/// | --- | --- |
/// | `GET /v1/agents` | keys of agents, with those that wait for acceptance |
/// | `POST /v1/agents/accept` | accepts the key with this fingerprint |
/// | `GET`, `POST /v1/stream/keys`, `DELETE /v1/stream/keys/{name}` | keys of stream readers |
/// | `POST /v1/readers`, `DELETE /v1/readers/{name}` | credentials that read metrics |
struct AccessAPI: RouteArea {
    let registry: AgentRegistry
    let identity: IdentityService
    /// The controller's public CURVE key.
    let publicKey: String

    private struct Named: Decodable, Sendable {
        var name: String
    }

    private struct Accepted: Decodable, Sendable {
        var fingerprint: String
    }

    func addRoutes(to surface: Surface) {
        addAgents(surface.area("/v1/agents", dialect: .plain))
        addStreamKeys(surface.area("/v1/stream/keys", dialect: .plain))
        let readers = surface.area("/v1/readers", dialect: .plain)
        readers.post("", .installation(.admin)) { request, context in
            let wanted = try await request.decode(Named.self, context)
            let credential = try await identity.createReader(wanted.name)
            return .json(
                ["name": .string(wanted.name), "credential": .string(credential.reveal())],
                status: .created
            )
        }
        readers.delete("/:name", .installation(.admin)) { _, context in
            try await identity.revokeReader(try context.parameter("name"))
            return .empty()
        }
    }

    private func addAgents(_ routes: Routes) {
        routes.get("", .installation(.admin)) { _, _ in
            let keys = try await registry.agentKeys().map { key -> JSONValue in
                [
                    "node": .string(key.node.text), "role": .string(key.role.rawValue),
                    "state": .string(key.state.rawValue), "contested": .bool(key.contested),
                    "fingerprint": .string(key.key.fingerprint), "address": .string(key.address),
                    "mac": .string(key.mac), "since": .string(key.since.description),
                ]
            }
            return .json(["agents": .array(keys)])
        }
        routes.post("/accept", .installation(.admin)) { request, context in
            let wanted = try await request.decode(Accepted.self, context)
            try await registry.accept(fingerprint: wanted.fingerprint)
            return .empty()
        }
    }

    private func addStreamKeys(_ routes: Routes) {
        routes.get("", .installation(.admin)) { _, _ in
            let keys = try await registry.readerKeys().map { key -> JSONValue in
                [
                    "name": .string(key.name), "public_key": .string(key.key.z85),
                    "created": .string(key.created.description),
                ]
            }
            return .json(["keys": .array(keys)])
        }
        routes.post("", .installation(.admin)) { request, context in
            let wanted = try await request.decode(Named.self, context)
            let pair = try await registry.createReaderKey(name: wanted.name)
            return .json(
                [
                    "name": .string(wanted.name), "public_key": .string(pair.public.z85),
                    "secret_key": .string(pair.secret.reveal()), "server_key": .string(publicKey),
                ],
                status: .created
            )
        }
        routes.delete("/:name", .installation(.admin)) { _, context in
            try await registry.revokeReaderKey(name: try context.parameter("name"))
            return .empty()
        }
    }
}
