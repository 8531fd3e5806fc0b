import Basics
import HTTP
import HTTPTypes
import Store
import Testing

@testable import Identity

/// Users, groups, projects, domains and roles over the API, as the administrator.
@Suite struct DirectoryTests {
    private func withAdmin(
        _ body: @escaping @Sendable (World, Admin) async throws -> Void
    ) async throws {
        let world = try await World()
        let token = try await world.signIn(scope: .system).token
        try await world.withClient { client in
            try await body(
                world,
                Admin { method, path, text in
                    try await client.call(method, "/identity/v3/" + path, token: token, body: text)
                }
            )
        }
    }

    /// Calls as the administrator.
    struct Admin: Sendable {
        let call: @Sendable (String, String, String?) async throws -> Answer

        /// Makes an object and returns its identifier.
        func make(_ kind: String, _ members: String) async throws -> String {
            let answer = try await call("POST", kind + "s", "{\"\(kind)\":{\(members)}}")
            #expect(answer.status == 201, "\(answer.body.canonicalText)")
            return try #require(answer.body[kind]?["id"]?.text)
        }
    }

    @Test func `names are unique in their domain, and free in another`() async throws {
        try await withAdmin { _, admin in
            let other = try await admin.make("domain", #""name":"other""#)
            for kind in ["user", "group", "project"] {
                _ = try await admin.make(kind, #""name":"same""#)
                let again = try await admin.call(
                    "POST",
                    kind + "s",
                    "{\"\(kind)\":{\"name\":\"same\"}}"
                )
                #expect(again.status == 409)
                #expect(again.body["error"]?["code"] == 409)
                _ = try await admin.make(kind, "\"name\":\"same\",\"domain_id\":\"\(other)\"")
            }
        }
    }

    @Test func `unknown members are kept and shown, known ones are checked`() async throws {
        try await withAdmin { _, admin in
            let id = try await admin.make("user", #""name":"ann","email":"a@x.example","room":7"#)
            _ = try await admin.call(
                "PATCH",
                "users/\(id)",
                #"{"user":{"room":8,"enabled":false}}"#
            )
            let user = try await admin.call("GET", "users/\(id)", nil).body["user"]
            #expect(user?["email"] == "a@x.example")
            #expect(user?["room"] == 8)
            #expect(user?["enabled"] == false)
            #expect(user?["links"]?["self"]?.text == "\(World.url)/identity/v3/users/\(id)")
            #expect(user?["password"] == nil)
            for wrong in [
                #"{"user":{"name":7}}"#, #"{"user":{"enabled":"yes"}}"#, #"{"user":[]}"#, "{}",
                #"{"user":{"name":" "}}"#, #"{"user":{"options":[]}}"#,
                #"{"user":{"domain_id":"elsewhere"}}"#,
                #"{"user":{"options":{"multi_factor_auth_enabled":true}}}"#,
            ] {
                #expect(
                    try await admin.call("PATCH", "users/\(id)", wrong).status == 400,
                    "\(wrong)"
                )
            }
        }
    }

    @Test func `lists are filtered and come in pages`() async throws {
        try await withAdmin { _, admin in
            for index in 0..<5 {
                _ = try await admin.make(
                    "user",
                    "\"name\":\"u \(index)\",\"enabled\":\(index != 0)"
                )
            }
            func names(_ query: String) async throws -> [String] {
                let answer = try await admin.call("GET", "users?\(query)", nil)
                return answer.body["users"]?.elements?.compactMap { $0["name"]?.text } ?? []
            }
            #expect(try await names("name=u+3") == ["u 3"])
            #expect(try await names("name=u%204") == ["u 4"])
            #expect(try await names("enabled=False") == ["u 0"])
            #expect(try await names("enabled").count == 5)
            #expect(try await names("domain_id=nowhere") == [])
            var (seen, path): (Set<String>, String?) = ([], "users?limit=2&enabled=1")
            while let page = path {
                let answer = try await admin.call("GET", page, nil)
                let found = answer.body["users"]?.elements?.compactMap { $0["name"]?.text } ?? []
                #expect(found.count <= 2)
                #expect(seen.isDisjoint(with: found))
                seen.formUnion(found)
                let next = answer.body["links"]?["next"]?.text
                path = next.map { String($0.dropFirst("\(World.url)/identity/v3/".count)) }
                #expect((answer.headers[.known("Link")] != nil) == (next != nil))
            }
            #expect(seen.count == 5)
            #expect(try await admin.call("GET", "users?limit=x", nil).status == 400)
        }
    }

    @Test func `what is immutable stays as it is until it is unlocked`() async throws {
        try await withAdmin { _, admin in
            let options = #""options":{"immutable":true}"#
            for kind in ["project", "domain", "role"] {
                let id = try await admin.make(kind, "\"name\":\"rock\",\(options)")
                let path = "\(kind)s/\(id)"
                let change = "{\"\(kind)\":{\"description\":\"x\"}}"
                #expect(try await admin.call("PATCH", path, change).status == 403)
                #expect(try await admin.call("DELETE", path, nil).status == 403)
                let unlock = "{\"\(kind)\":{\"options\":{\"immutable\":false}}}"
                #expect(try await admin.call("PATCH", path, unlock).status == 200)
                #expect(try await admin.call("PATCH", path, change).status == 200)
            }
        }
    }

    @Test func `projects stand in one another, and are deleted from below`() async throws {
        try await withAdmin { _, admin in
            let top = try await admin.make("project", #""name":"top","tags":["a","b%"]"#)
            var parents = [top]
            for level in 2...5 {
                let parent = parents[parents.count - 1]
                parents.append(
                    try await admin.make(
                        "project",
                        "\"name\":\"p\(level)\",\"parent_id\":\"\(parent)\""
                    )
                )
            }
            let deep = "{\"project\":{\"name\":\"p6\",\"parent_id\":\"\(parents[4])\"}}"
            #expect(try await admin.call("POST", "projects", deep).status == 403)
            let shown = try await admin.call(
                "GET",
                "projects/\(parents[2])?parents_as_ids=True&subtree_as_ids=True",
                nil
            ).body["project"]
            #expect(shown?["parents"]?[parents[1]]?[top] == .null)
            #expect(shown?["subtree"]?[parents[3]]?[parents[4]] == .null)
            #expect(try await admin.call("DELETE", "projects/\(top)", nil).status == 403)
            let disable = #"{"project":{"enabled":false}}"#
            #expect(try await admin.call("PATCH", "projects/\(top)", disable).status == 403)
            for (query, count) in [
                ("tags=a,b%25", 1), ("tags=c", 0), ("tags=A", 0), ("tags-any=c,a", 1),
                ("tags=b", 0),
                ("not-tags-any=a", 5), ("parent_id=\(top)", 1),
            ] {
                let list = try await admin.call("GET", "projects?\(query)", nil)
                #expect(list.body["projects"]?.elements?.count == count, "\(query)")
            }
            for id in parents.reversed() {
                #expect(try await admin.call("DELETE", "projects/\(id)", nil).status == 204)
            }
        }
    }

    @Test func `what holds the installation together cannot be taken away`() async throws {
        try await withAdmin { world, admin in
            let project = try await world.database.read { try $0.adminProjectID() ?? "" }
            for (method, path, body) in [
                ("DELETE", "projects/\(project)", nil),
                ("PATCH", "projects/\(project)", #"{"project":{"enabled":false}}"#),
                ("PATCH", "projects/\(project)", #"{"project":{"name":"x"}}"#),
                ("DELETE", "domains/default", nil),
                ("PATCH", "domains/default", #"{"domain":{"enabled":false}}"#),
                ("DELETE", "roles/admin", nil),
                ("DELETE", "roles/admin/implies/manager", nil),
                ("DELETE", "services/keystone", nil),
                ("PATCH", "endpoints/keystone-public", #"{"endpoint":{"url":"http://e.example"}}"#),
                ("DELETE", "regions/RegionOne", nil),
            ] as [(String, String, String?)] {
                #expect(try await admin.call(method, path, body).status == 403, "\(method) \(path)")
            }
        }
    }

    @Test func `a domain goes with all that is in it, once it is disabled`() async throws {
        try await withAdmin { world, admin in
            let id = try await admin.make("domain", #""name":"gone""#)
            let user = try await admin.make("user", "\"name\":\"u\",\"domain_id\":\"\(id)\"")
            _ = try await admin.make("project", "\"name\":\"p\",\"domain_id\":\"\(id)\"")
            #expect(try await admin.call("DELETE", "domains/\(id)", nil).status == 403)
            let disable = #"{"domain":{"enabled":false}}"#
            #expect(try await admin.call("PATCH", "domains/\(id)", disable).status == 200)
            #expect(try await admin.call("DELETE", "domains/\(id)", nil).status == 204)
            #expect(try await admin.call("GET", "users/\(user)", nil).status == 404)
        }
    }

    @Test func `a role implies others, but neither admin nor itself`() async throws {
        try await withAdmin { _, admin in
            let operate = try await admin.make("role", #""name":"operator""#)
            let watch = try await admin.make("role", #""name":"watcher""#)
            func imply(_ prior: String, _ implied: String) async throws -> Int {
                try await admin.call("PUT", "roles/\(prior)/implies/\(implied)", nil).status
            }
            #expect(try await imply(operate, "member") == 201)
            #expect(try await imply(operate, watch) == 201)
            #expect(try await imply(watch, operate) == 400)
            #expect(try await imply(watch, watch) == 400)
            #expect(try await imply(operate, "admin") == 403)
            #expect(try await imply("reader", operate) == 403)
            #expect(try await imply(operate, "nothing") == 404)
            let rules = try await admin.call("GET", "role_inferences", nil).body
            let found = rules["role_inferences"]?.elements?.first { rule in
                rule["prior_role"]?["name"] == "operator"
            }
            #expect(found?["implies"]?.elements?.count == 2)
        }
    }

    @Test func `every change is a row of the feed, with who made it`() async throws {
        try await withAdmin { world, admin in
            let user = try await admin.make("user", #""name":"ann","password":"geheim""#)
            let group = try await admin.make("group", #""name":"crew""#)
            let member = "groups/\(group)/users/\(user)"
            let role = "domains/default/users/\(user)/roles/reader"
            for (method, path, body) in [
                ("PATCH", "users/\(user)", #"{"user":{"enabled":false}}"#), ("PUT", member, nil),
                ("PUT", role, nil), ("DELETE", role, nil), ("DELETE", "users/\(user)", nil),
            ] as [(String, String, String?)] {
                #expect(try await admin.call(method, path, body).status < 300)
            }
            let changes = try await world.database.read { try $0.changes(after: 0) }
            let lines = changes.dropFirst().map { "\($0.kind) \($0.cause)" }
            #expect(
                lines == [
                    "user created by admin", "group created by admin", "user disabled by admin",
                    "group changed by admin",
                    "role given to user \(user) in domain default by admin",
                    "role taken from user \(user) in domain default by admin",
                    "user deleted by admin",
                ]
            )
            #expect(!"\(changes)".contains("geheim"))
        }
    }

    @Test func `members of the client's own do not pile up without end`() async throws {
        try await withAdmin { _, admin in
            let id = try await admin.make("user", #""name":"ann""#)
            var last = 0
            for round in 0..<5 {
                let members = (0..<20).map { "\"m\(round)-\($0)\":1" }.joined(separator: ",")
                last = try await admin.call("PATCH", "users/\(id)", "{\"user\":{\(members)}}")
                    .status
            }
            #expect(last == 400)
        }
    }
}
