package import Basics
import Yams

/// The entry `rdo` of the operator's `clouds.yaml`.
package struct CloudsEntry: Sendable {
    package var authURL: String
    package var password: Secret
    package var authorityFile: String

    package init(authURL: String, password: Secret, authorityFile: String) {
        self.authURL = authURL
        self.password = password
        self.authorityFile = authorityFile
    }

    /// The same for a shell, which reads it with `source`; each value stands in single quotes, so that nothing
    /// of it is ever run.
    package var openrc: String {
        let values = [
            ("AUTH_TYPE", "password"), ("AUTH_URL", authURL), ("USERNAME", "admin"),
            ("PASSWORD", password.reveal()), ("PROJECT_NAME", "admin"),
            ("USER_DOMAIN_NAME", "Default"), ("PROJECT_DOMAIN_NAME", "Default"),
            ("CACERT", authorityFile), ("REGION_NAME", "RegionOne"), ("INTERFACE", "public"),
            ("IDENTITY_API_VERSION", "3"),
        ]
        let lines = values.map { name, value in
            "export OS_\(name)='\(value.replacing("'", with: #"'\''"#))'\n"
        }
        // What another cloud's file left behind would win or be refused beside ours.
        return "# Made by “rdo undercloud install”, which writes it again.\n"
            + "unset OS_CLOUD OS_TOKEN OS_PROJECT_ID OS_USER_ID OS_SYSTEM_SCOPE OS_DOMAIN_NAME\n"
            + lines.joined()
    }

    /// The file with this entry in place of an older one; other clouds stay.
    /// - Throws: `Fault` when `old` is no clouds.yaml.
    package func merged(into old: String?, path: String) throws -> String {
        do {
            var root = try Yams.compose(yaml: old ?? "") ?? Node([(Node, Node)]())
            if root.mapping == nil { root = Node([(Node, Node)]()) }
            var clouds = root["clouds"] ?? Node([(Node, Node)]())
            if clouds.mapping == nil { clouds = Node([(Node, Node)]()) }
            clouds["rdo"] = entry
            root["clouds"] = clouds
            return try Yams.serialize(node: root)
        } catch {
            throw Fault(
                .invalid,
                "cannot add to \(path): it is not YAML; move it away and run install again",
                cause: error
            )
        }
    }

    /// The password of an existing entry; `nil` when there is none.
    package static func password(in text: String) -> Secret? {
        // What cannot be read holds no password of ours.
        guard let root = try? Yams.compose(yaml: text),
            let password = root["clouds"]?["rdo"]?["auth"]?["password"]?.string, !password.isEmpty
        else { return nil }
        return Secret(password)
    }

    /// The file without the entry; `nil` when nothing else is left.
    package static func removed(from text: String) -> String? {
        // What cannot be read is not ours to change.
        guard var root = try? Yams.compose(yaml: text), var clouds = root["clouds"]?.mapping,
            clouds["rdo"] != nil
        else { return text }
        clouds["rdo"] = nil
        guard !clouds.isEmpty else { return nil }
        root["clouds"] = Node.mapping(clouds)
        return (try? Yams.serialize(node: root)) ?? text  // as above
    }

    private var entry: Node {
        let auth = Node(
            [
                ("auth_url", authURL), ("username", "admin"), ("password", password.reveal()),
                ("project_name", "admin"), ("user_domain_name", "Default"),
                ("project_domain_name", "Default"),
            ].map { (Node($0.0), Node($0.1, .implicit, .doubleQuoted)) }
        )
        return Node([
            (Node("auth"), auth), (Node("cacert"), Node(authorityFile)),
            (Node("region_name"), Node("RegionOne")), (Node("interface"), Node("public")),
            (Node("identity_api_version"), Node("3")),
        ])
    }
}
