import Basics
import HTTP

extension SignIn {
    private static func wrong(_ what: String) -> Fault {
        Fault(.invalid, "cannot read the token request: \(what)")
    }

    /// Reads the body of a token request.
    init(body: JSONValue) throws {
        guard let auth = body["auth"], let identity = auth["identity"],
            let methods = identity["methods"]?.elements?.compactMap(\.text), methods.count == 1
        else {
            throw Self.wrong(
                "auth.identity.methods must name one method: password, token or application_credential"
            )
        }
        let proof =
            switch methods[0] {
            case "password": try Self.password(identity["password"])
            case "token": try Self.token(identity["token"])
            case "application_credential":
                try Self.application(identity["application_credential"])
            default:
                throw Self.wrong(
                    "the method “\(methods[0].prefix(64))” is not offered; use password, token or application_credential"
                )
            }
        self.init(proof: proof, scope: try Self.scope(auth["scope"]))
    }

    private static func password(_ method: JSONValue?) throws -> Proof {
        guard let user = method?["user"], let password = user["password"]?.text else {
            throw wrong("auth.identity.password.user needs a password")
        }
        guard user["id"]?.text != nil || user["name"]?.text != nil else {
            throw wrong("auth.identity.password.user needs an id, or a name and a domain")
        }
        return .password(
            userID: user["id"]?.text,
            userName: user["name"]?.text,
            domain: try domain(user["domain"]),
            password: Secret(password)
        )
    }

    private static func token(_ method: JSONValue?) throws -> Proof {
        guard let token = method?["id"]?.text else {
            throw wrong("auth.identity.token needs an id")
        }
        return .token(Secret(token))
    }

    private static func application(_ method: JSONValue?) throws -> Proof {
        guard let method, let secret = method["secret"]?.text else {
            throw wrong("auth.identity.application_credential needs a secret")
        }
        let user = method["user"]
        let isNamed =
            method["name"]?.text != nil && (user?["id"]?.text ?? user?["name"]?.text) != nil
        guard method["id"]?.text != nil || isNamed else {
            throw wrong(
                "auth.identity.application_credential needs an id, or a name and its user"
            )
        }
        return .application(
            id: method["id"]?.text,
            name: method["name"]?.text,
            userID: user?["id"]?.text,
            userName: user?["name"]?.text,
            domain: try domain(user?["domain"]),
            secret: Secret(secret)
        )
    }

    private static func domain(_ domain: JSONValue?) throws -> DomainReference {
        guard let domain else { return .standard }
        if let id = domain["id"]?.text { return .id(id) }
        guard let name = domain["name"]?.text else { throw wrong("a domain needs an id or a name") }
        return .name(name)
    }

    private static func scope(_ scope: JSONValue?) throws -> Scope {
        guard let scope else { return .unspecified }
        if scope == .string("unscoped") || scope["unscoped"] != nil { return .none }
        if scope["system"]?["all"]?.bool == true { return .system }
        if let domain = scope["domain"] { return .domain(try self.domain(domain)) }
        guard let project = scope["project"],
            project["id"]?.text != nil || project["name"]?.text != nil
        else { throw wrong("auth.scope must be a project, a domain, the system or unscoped") }
        return .project(
            id: project["id"]?.text,
            name: project["name"]?.text,
            domain: try domain(project["domain"])
        )
    }
}
