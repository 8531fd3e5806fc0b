import Basics
import HTTPTypes

/// The OpenAPI 3.1 document of a surface, made from its routes.
struct APIDocument {
    let title: String
    let version: String
    /// Where clients reach the root.
    let server: String

    /// The document; equal routes give equal bytes.
    func json(
        of routes: [Surface.Route],
        dialect: (_ path: String) -> Dialect
    ) -> JSONValue {
        var paths: [String: JSONValue] = [:]
        var schemas: [String: JSONValue] = [:]
        for route in routes {
            let dialect = dialect(route.path)
            let path = Self.path(route.path)
            var item = paths[path] ?? [:]
            let parameters = Self.parameters(of: route.path)
            if !parameters.isEmpty { item["parameters"] = .array(parameters) }
            item[route.method.rawValue.lowercased()] = operation(route, dialect, &schemas)
            paths[path] = item
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": .string(title), "version": .string(version),
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": .string(server)]],
            "tags": .array(
                Dialect.all.map { ["name": .string($0.service), "description": .string($0.note)] }
            ),
            "paths": .object(paths),
            "components": [
                "schemas": .object(schemas), "securitySchemes": Self.securitySchemes,
            ],
        ]
    }

    private func operation(
        _ route: Surface.Route,
        _ dialect: Dialect,
        _ schemas: inout [String: JSONValue]
    ) -> JSONValue {
        let operation = route.operation
        var json: JSONValue = [
            "operationId": .string(Self.identifier(of: route)),
            "summary": .string(operation.summary), "tags": [.string(dialect.service)],
            "security": route.access.security,
            "x-rdo-access": .string(route.access.words),
        ]
        if !operation.parameters.isEmpty {
            json["parameters"] = .array(
                operation.parameters.map { parameter in
                    collect(parameter.schema, &schemas)
                    var entry: JSONValue = [
                        "name": .string(parameter.name), "in": .string(parameter.place.rawValue),
                        "required": .bool(parameter.isRequired), "schema": parameter.schema.json,
                    ]
                    if !parameter.note.isEmpty { entry["description"] = .string(parameter.note) }
                    return entry
                }
            )
        }
        if let body = operation.body {
            collect(body.schema, &schemas)
            json["requestBody"] = [
                "required": .bool(body.isRequired),
                "content": [body.type: ["schema": body.schema.json]],
            ]
        }
        json["responses"] = .object(responses(route, dialect, &schemas))
        return json
    }

    private func responses(
        _ route: Surface.Route,
        _ dialect: Dialect,
        _ schemas: inout [String: JSONValue]
    ) -> [String: JSONValue] {
        var responses: [String: JSONValue] = [:]
        let refusal = dialect.errorSchema
        collect(refusal, &schemas)
        for status in route.refusals {
            responses[String(status.code)] = [
                "description": .string(status.reasonPhrase),
                "content": ["application/json": ["schema": refusal.json]],
            ]
        }
        for answer in route.operation.answers {
            let code = String(answer.status.code)
            var response = responses[code] ?? [:]
            response["description"] = .string(answer.status.reasonPhrase)
            if let schema = answer.schema {
                collect(schema, &schemas)
                var content = response["content"] ?? [:]
                content[answer.type] = ["schema": schema.json]
                response["content"] = content
            }
            responses[code] = response
        }
        return responses
    }

    private func collect(_ schema: Schema, _ schemas: inout [String: JSONValue]) {
        for (name, json) in schema.named {
            precondition(
                schemas[name] == nil || schemas[name] == json,
                "the name \(name) stands for two shapes in the API's document"
            )
            schemas[name] = json
        }
    }

    // MARK: - Paths

    /// `/v1/nodes/:node` as `/v1/nodes/{node}`.
    static func path(_ path: String) -> String {
        let parts = path.split(separator: "/").map {
            $0.hasPrefix(":") ? "{\($0.dropFirst())}" : String($0)
        }
        return "/" + parts.joined(separator: "/")
    }

    private static func parameters(of path: String) -> [JSONValue] {
        path.split(separator: "/").filter { $0.hasPrefix(":") }.map {
            [
                "name": .string(String($0.dropFirst())), "in": "path", "required": true,
                "schema": ["type": "string", "minLength": 1],
            ]
        }
    }

    /// `getV1NodesByNode`: follows from method and path, so that it is unique and stays.
    private static func identifier(of route: Surface.Route) -> String {
        let words = route.path.split { "/-_.".contains($0) }.map { word in
            let (lead, name) = word.hasPrefix(":") ? ("By", word.dropFirst()) : ("", word)
            return lead + name.prefix(1).uppercased() + name.dropFirst()
        }
        return route.method.rawValue.lowercased() + (words.isEmpty ? "Root" : words.joined())
    }

    private static let securitySchemes: JSONValue = [
        "token": [
            "type": "apiKey", "in": "header", "name": "X-Auth-Token",
            "description": "A token from POST /identity/v3/auth/tokens.",
        ],
        "reader": [
            "type": "http", "scheme": "bearer",
            "description": "A read-only credential from POST /v1/readers.",
        ],
        "capability": [
            "type": "http", "scheme": "bearer",
            "description": "What a node's agent was given for one image.",
        ],
        "session": [
            "type": "apiKey", "in": "cookie", "name": "rdo-session",
            "description": "The dashboard's cookie.",
        ],
    ]
}

extension Surface.Route {
    /// The refusals that follow from access, path, method and body, and those that the operation names.
    var refusals: [HTTPResponse.Status] {
        var codes: Set<Int> = [400, 503]
        if !access.isOpen { codes.formUnion([401, 403]) }
        if path.contains("/:") { codes.insert(404) }
        if method != .get { codes.insert(409) }
        if operation.body != nil { codes.formUnion([413, 415, 504]) }
        codes.formUnion(operation.refusals.map(\.code))
        codes.subtract(operation.answers.filter { $0.schema == nil }.map(\.status.code))
        return codes.sorted().map { HTTPResponse.Status(code: $0) }
    }
}

extension Access {
    fileprivate var isOpen: Bool {
        if case .open = self { return true }
        return false
    }

    fileprivate var security: JSONValue {
        switch self {
        case .open: []
        case .token, .role, .installation: [["token": []]]
        case .scrape: [["token": []], ["reader": []]]
        // Nobody has a proof that this listener could check, so there is none to ask for.
        case .handler(.agent): []
        case .handler(let credential): [[credential.rawValue: []]]
        }
    }

    /// For people.
    fileprivate var words: String {
        switch self {
        case .open: "anybody"
        case .token: "any valid token; what it may do follows from its roles"
        case .role(let role): "the role \(role.rawValue) in a project or the system"
        case .installation(let role): "the role \(role.rawValue) over the system"
        case .scrape: "a read-only credential, or the role reader over the system"
        case .handler: "a credential of its own"
        }
    }
}

extension Dialect {
    fileprivate static let all: [Dialect] = [.ironic, .keystone, .glance, .plain]

    fileprivate var service: String {
        switch self {
        case .ironic: "Bare Metal"
        case .keystone: "Identity"
        case .glance: "Image"
        case .plain: "RDO-Manager"
        }
    }

    fileprivate var note: String {
        switch self {
        case .ironic: "The Bare Metal API v1, as Ironic speaks it, and our own routes beside it."
        case .keystone: "The Identity API v3, as Keystone speaks it."
        case .glance: "The Image API v2, as Glance speaks it."
        case .plain: "RDO-Manager's own routes."
        }
    }

    /// The shape of this service's errors.
    fileprivate var errorSchema: Schema {
        switch self {
        case .ironic:
            Schema.object(
                [
                    "error_message": .text.note(
                        "A JSON text with faultcode, faultstring and debuginfo."
                    )
                ],
                required: ["error_message"]
            ).named("BareMetalError")
        case .keystone:
            Schema.object(
                [
                    "error": .object(
                        ["code": .integer, "message": .text, "title": .text],
                        required: ["code", "message", "title"]
                    )
                ],
                required: ["error"]
            ).named("IdentityError")
        case .glance:
            Schema.object(
                ["code": .text, "message": .text, "title": .text],
                required: ["code", "message", "title"]
            ).named("ImageError")
        case .plain:
            Schema.object(
                [
                    "error": .object(
                        ["code": .integer, "kind": .text, "message": .text],
                        required: ["code", "kind", "message"]
                    )
                ],
                required: ["error"]
            ).named("Error")
        }
    }
}
