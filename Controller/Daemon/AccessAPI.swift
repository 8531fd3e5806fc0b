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
        readers.post("", .installation(.admin), .createReader) { request, context in
            let wanted = try await request.decode(Named.self, context)
            let credential = try await identity.createReader(wanted.name)
            return .json(
                ["name": .string(wanted.name), "credential": .string(credential.reveal())],
                status: .created
            )
        }
        readers.delete("/:name", .installation(.admin), .deleteReader) { _, context in
            try await identity.revokeReader(try context.parameter("name"))
            return .empty()
        }
    }

    private func addAgents(_ routes: Routes) {
        routes.get("", .installation(.admin), .listAgents) { _, _ in
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
        routes.post("/accept", .installation(.admin), .acceptAgent) { request, context in
            let wanted = try await request.decode(Accepted.self, context)
            try await registry.accept(fingerprint: wanted.fingerprint)
            return .empty()
        }
    }

    private func addStreamKeys(_ routes: Routes) {
        routes.get("", .installation(.admin), .listStreamKeys) { _, _ in
            let keys = try await registry.readerKeys().map { key -> JSONValue in
                [
                    "name": .string(key.name), "public_key": .string(key.key.z85),
                    "created": .string(key.created.description),
                ]
            }
            return .json(["keys": .array(keys)])
        }
        routes.post("", .installation(.admin), .createStreamKey) { request, context in
            let wanted = try await request.decode(Named.self, context)
            context.note(target: wanted.name)
            let pair = try await registry.createReaderKey(name: wanted.name)
            return .json(
                [
                    "name": .string(wanted.name), "public_key": .string(pair.public.z85),
                    "secret_key": .string(pair.secret.reveal()), "server_key": .string(publicKey),
                ],
                status: .created
            )
        }
        routes.delete("/:name", .installation(.admin), .deleteStreamKey) { _, context in
            try await registry.revokeReaderKey(name: try context.parameter("name"))
            return .empty()
        }
    }
}

extension Operation {
    private static let named = Body.json(.object(["name": .text], required: ["name"], open: true))

    fileprivate static let createReader = Operation(
        "Make a read-only credential for metrics",
        takes: named,
        answers: .created(
            .object(["name": .text, "credential": .text], required: ["name", "credential"])
        )
    )
    fileprivate static let deleteReader = Operation(
        "Revoke a read-only credential",
        answers: .nothing
    )
    fileprivate static let listAgents = Operation(
        "List the keys of agents",
        answers: .ok(
            .object(
                [
                    "agents": .list(
                        of: .object(
                            [
                                "node": .uuid, "role": .text, "state": .text,
                                "contested": .truth, "fingerprint": .text, "address": .text,
                                "mac": .text, "since": .time,
                            ],
                            required: ["node", "role", "state", "fingerprint", "since"]
                        )
                    )
                ],
                required: ["agents"]
            )
        )
    )
    fileprivate static let acceptAgent = Operation(
        "Accept an agent's key",
        takes: .json(
            .object(["fingerprint": .text], required: ["fingerprint"], open: true)
        ),
        answers: .nothing,
        refusals: [.notFound]
    )
    fileprivate static let listStreamKeys = Operation(
        "List the keys of stream readers",
        answers: .ok(
            .object(
                [
                    "keys": .list(
                        of: .object(
                            ["name": .text, "public_key": .text, "created": .time],
                            required: ["name", "public_key", "created"]
                        )
                    )
                ],
                required: ["keys"]
            )
        )
    )
    fileprivate static let createStreamKey = Operation(
        "Make a key for a stream reader",
        takes: named,
        answers: .created(
            .object(
                [
                    "name": .text, "public_key": .text, "secret_key": .text, "server_key": .text,
                ],
                required: ["name", "public_key", "secret_key", "server_key"]
            )
        )
    )
    fileprivate static let deleteStreamKey = Operation(
        "Revoke a stream reader's key",
        answers: .nothing
    )
}
