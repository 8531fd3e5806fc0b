import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// Our own routes `/v1/webhooks`.
package struct WebhooksAPI: RouteArea {
    private let service: WebhooksService

    package init(service: WebhooksService) { self.service = service }

    package func addRoutes(to surface: Surface) {
        let service = service
        let routes = surface.area("/v1/webhooks", dialect: .plain)
        routes.post("", .role(.manager), .createWebhook) { request, context in
            let body = try Self.members(try await request.json(context), ["url", "secret"])
            guard let url = body["url"]?.text, let secret = body["secret"]?.text else {
                throw Fault(.invalid, "cannot register a webhook: it takes url and secret, texts")
            }
            let hook = try await service.create(
                url,
                Secret(secret),
                by: try context.requirePrincipal()
            )
            context.note(target: hook.id.text)
            return .json(Self.document(hook), status: .created)
        }
        routes.get("", .role(.manager), .listWebhooks) { _, context in
            let hooks = try await service.list(by: try context.requirePrincipal())
            return .json(["webhooks": .array(hooks.map(Self.document))])
        }
        routes.get("/:hook", .role(.manager), .showWebhook) { _, context in
            .json(
                Self.document(
                    try await service.hook(
                        try context.parameter("hook"),
                        by: try context.requirePrincipal()
                    )
                )
            )
        }
        routes.on(.patch, "/:hook", .role(.manager), .updateWebhook) { request, context in
            let body = try Self.members(
                try await request.json(context),
                ["url", "secret", "enabled"]
            )
            for (name, value) in body where name != "enabled" && value.text == nil {
                throw Fault(.invalid, "cannot change a webhook: \(name) must be a text")
            }
            if let enabled = body["enabled"], enabled != true {
                throw Fault(
                    .invalid,
                    "cannot change a webhook: enabled may only be true; delete a webhook that is not wanted"
                )
            }
            let hook = try await service.update(
                try context.parameter("hook"),
                url: body["url"]?.text,
                secret: body["secret"]?.text.map { Secret($0) },
                enables: body["enabled"] == true,
                by: try context.requirePrincipal()
            )
            return .json(Self.document(hook))
        }
        routes.on(.delete, "/:hook", .role(.manager), .deleteWebhook) { _, context in
            try await service.delete(
                try context.parameter("hook"),
                by: try context.requirePrincipal()
            )
            return .empty()
        }
    }

    private static func members(
        _ body: JSONValue,
        _ known: Set<String>
    ) throws -> [String: JSONValue] {
        guard let members = body.members, members.keys.allSatisfy(known.contains) else {
            throw Fault(
                .invalid,
                "cannot read the request: it must be an object with \(known.sorted().joined(separator: ", "))"
            )
        }
        return members
    }

    private static func document(_ hook: Webhook) -> JSONValue {
        [
            "uuid": .string(hook.id.text), "project": JSONValue(hook.project),
            "url": .string(hook.url), "enabled": .bool(hook.disabledReason == nil),
            "disabled_reason": JSONValue(hook.disabledReason),
            "position": .integer(hook.position), "failures": .integer(Int64(hook.failures)),
            "last_error": JSONValue(hook.lastError),
            "created_at": .string(hook.createdAt.description),
        ]
    }
}

extension Operation {
    private static let hook = Schema.object(
        [
            "uuid": .uuid, "project": .textOrNull, "url": .text, "enabled": .truth,
            "disabled_reason": .textOrNull, "position": .integer, "failures": .integer,
            "last_error": .textOrNull, "created_at": .time,
        ],
        required: ["uuid", "url", "enabled", "position", "failures", "created_at"]
    ).named("Webhook")

    fileprivate static let createWebhook = Operation(
        "Register an address for changes of state",
        takes: .json(
            .object(
                ["url": .text(max: 2048), "secret": .text(max: 256, min: 16)],
                required: ["url", "secret"]
            )
        ),
        answers: .created(hook)
    )
    fileprivate static let listWebhooks = Operation(
        "List webhooks",
        answers: .ok(.object(["webhooks": .list(of: hook)], required: ["webhooks"]))
    )
    fileprivate static let showWebhook = Operation("Show a webhook", answers: .ok(hook))
    fileprivate static let updateWebhook = Operation(
        "Change a webhook, or enable it again",
        takes: .json(
            .object(
                [
                    "url": .text(max: 2048), "secret": .text(max: 256, min: 16),
                    "enabled": Schema(raw: ["const": true]),
                ]
            )
        ),
        answers: .ok(hook)
    )
    fileprivate static let deleteWebhook = Operation("Forget a webhook", answers: .nothing)
}
