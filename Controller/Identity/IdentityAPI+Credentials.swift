import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// Application credentials and access rules.
extension IdentityAPI {
    func addCredentials(_ routes: Routes) {
        let path = "/v3/users/:id/application_credentials"
        routes.get(
            path,
            .token,
            .list("application_credentials", of: .credential, [.init("name")])
        ) { request, context in
            let credentials = try await service.credentials(
                ofUser: context.parameter("id"),
                name: request.query("name"),
                as: context.requirePrincipal()
            )
            return list("application_credentials", credentials.map(shape), request)
        }
        routes.post(
            path,
            .token,
            .create("application_credential", .newCredential, .credential)
        ) { request, context in
            let draft = try CredentialDraft(try await request.json(context))
            let made = try await service.createCredential(
                draft,
                ofUser: context.parameter("id"),
                as: context.requirePrincipal()
            )
            context.note(target: made.credential.id)
            var document = shape(made.credential)
            document["secret"] = .string(made.secret.reveal())
            return one("application_credential", document, status: .created)
        }
        routes.get("\(path)/:item", .token, .show("application_credential", .credential)) {
            _,
            context in
            let credential = try await service.credential(
                context.parameter("item"),
                ofUser: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return one("application_credential", shape(credential))
        }
        routes.delete("\(path)/:item", .token, .silent("Delete an application credential")) {
            _,
            context in
            let id = try context.parameter("item")
            context.note(target: id)
            try await service.deleteCredential(
                id,
                ofUser: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .empty()
        }
        addAccessRules(routes)
    }

    private func addAccessRules(_ routes: Routes) {
        let path = "/v3/users/:id/access_rules"
        routes.get(path, .token, .list("access_rules", of: .accessRule)) { request, context in
            let rules = try await service.rules(
                ofUser: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return list("access_rules", rules.map(Self.shape), request)
        }
        routes.get("\(path)/:item", .token, .show("access_rule", .accessRule)) { _, context in
            let rule = try await service.rule(
                context.parameter("item"),
                ofUser: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return one("access_rule", Self.shape(rule))
        }
        routes.delete("\(path)/:item", .token, .silent("Delete an access rule")) { _, context in
            let id = try context.parameter("item")
            context.note(target: id)
            try await service.deleteRule(
                id,
                ofUser: context.parameter("id"),
                as: context.requirePrincipal()
            )
            return .empty()
        }
    }
}

extension CredentialDraft {
    private static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

    /// Reads the body of a request for an application credential.
    init(_ body: JSONValue) throws {
        let members = try RequestMembers(body, "application_credential")
        guard let name = try members.text("name", max: 255), !name.allSatisfy(\.isWhitespace)
        else {
            throw Fault(.invalid, "cannot make an application credential without a name")
        }
        self.name = name
        description = try members.text("description") ?? ""
        secret = try members.text("secret").flatMap { $0.isEmpty ? nil : Secret($0) }
        isUnrestricted = try members.bool("unrestricted") ?? false
        if let text = try members.text("expires_at") {
            guard let time = Timestamp(iso8601: text) else {
                throw Fault(
                    .invalid,
                    "cannot read expires_at: write it as 2030-12-31T23:59:59, in UTC"
                )
            }
            expires = time
        }
        roles = try (members.elements("roles") ?? []).map { role in
            guard let role = role["id"]?.text ?? role["name"]?.text else {
                throw Fault(.invalid, "cannot read a role: it needs an id or a name")
            }
            return role
        }
        rules = try (members.elements("access_rules") ?? []).map(Self.rule)
    }

    private static func rule(_ value: JSONValue) throws -> Rule {
        if let id = value["id"]?.text { return .existing(id) }
        guard let service = value["service"]?.text, let path = value["path"]?.text,
            let method = value["method"]?.text?.uppercased(), methods.contains(method),
            (1...255).contains(service.count), (1...128).contains(path.count),
            path.hasPrefix("/") || path.hasPrefix("*")
        else {
            throw Fault(
                .invalid,
                "cannot read an access rule: it needs a service, a method and a path of at most 128 characters that begins with “/”"
            )
        }
        return .new(AccessRule(service: service, method: method, path: path))
    }
}
