import Basics
import HTTP
import HTTPTypes
import HummingbirdTesting
import Protocol
import Testing

@testable import Identity

/// Application credentials over the API: what they prove, and what they are limited to.
@Suite struct CredentialTests {
    private static let path = "/identity/v3/users/u/application_credentials"

    /// A user that is manager in project `p`, and its token.
    private func withUser(
        _ body: @escaping @Sendable (World, any TestClientProtocol, Secret) async throws -> Void
    ) async throws {
        let world = try await World()
        try await world.addUser("u")
        try await world.addProject("p")
        try await world.grant("manager", to: .user("u"), in: .project("p"))
        let token = try await world.token(of: "u", .project(id: "p", name: nil))
        try await world.withClient { try await body(world, $0, token) }
    }

    /// Makes a credential and signs in with it.
    private static func credential(
        _ client: any TestClientProtocol,
        _ token: Secret,
        _ members: String
    ) async throws -> (made: JSONValue, token: Secret) {
        let answer = try await client.call(
            "POST",
            path,
            token: token,
            body: "{\"application_credential\":{\(members)}}"
        )
        #expect(answer.status == 201, "\(answer.body.canonicalText)")
        let made = try #require(answer.body["application_credential"])
        let id = try #require(made["id"]?.text)
        let secret = try #require(made["secret"]?.text)
        let signedIn = try await signIn(client, "\"id\":\"\(id)\",\"secret\":\"\(secret)\"")
        #expect(signedIn.status == 201, "\(signedIn.body.canonicalText)")
        let issued = try #require(signedIn.headers[.known("X-Subject-Token")])
        return (made, Secret(issued))
    }

    private static func signIn(
        _ client: any TestClientProtocol,
        _ members: String,
        scope: String = ""
    ) async throws -> Answer {
        try await client.call(
            "POST",
            "/identity/v3/auth/tokens",
            body: """
                {"auth":{\(scope)"identity":{"methods":["application_credential"],
                "application_credential":{\(members)}}}}
                """
        )
    }

    @Test func `it signs in for its project, with its roles and no others`() async throws {
        try await withUser { world, client, token in
            let (made, own) = try await Self.credential(
                client,
                token,
                #""name":"ci","roles":[{"name":"member"}],"expires_at":"2027-01-15T08:30:00.000000""#
            )
            #expect(made["access_rules"] == nil)
            let principal = try await world.service.principal(token: own)
            #expect(principal.role == .member)
            #expect(principal.projectID == "p")
            let shown = try await client.call(
                "GET",
                "/identity/v3/auth/tokens",
                token: own,
                headers: [.known("X-Subject-Token"): own.reveal()]
            ).body["token"]
            #expect(shown?["application_credential"]?["restricted"] == true)
            #expect(shown?["expires_at"] == "2027-01-15T08:30:00.000000Z")
            let list = try await client.call("GET", Self.path, token: own)
            #expect(!list.body.canonicalText.contains("secret"))
            world.time.advance(.seconds(1801))
            await #expect(throws: Fault.self) { try await world.service.principal(token: own) }
        }
    }

    @Test func `a wrong secret, a scope or another's name is refused`() async throws {
        try await withUser { _, client, token in
            let (made, _) = try await Self.credential(
                client,
                token,
                #""name":"ci","secret":"open sesame""#
            )
            let id = made["id"]?.text ?? ""
            let right = "\"id\":\"\(id)\",\"secret\":\"open sesame\""
            let named = #""name":"ci","user":{"name":"u","domain":{"id":"default"}},"#
            #expect(try await Self.signIn(client, right).status == 201)
            #expect(try await Self.signIn(client, named + #""secret":"open sesame""#).status == 201)
            for (members, scope) in [
                ("\"id\":\"\(id)\",\"secret\":\"wrong\"", ""),
                (right, #""scope":{"system":{"all":true}},"#),
                (named + #""secret":"x""#, ""),
                (#""name":"ci","user":{"name":"admin"},"secret":"open sesame""#, ""),
                (#""id":"nothing","secret":"open sesame""#, ""),
            ] {
                #expect(try await Self.signIn(client, members, scope: scope).status == 401)
            }
            #expect(try await Self.signIn(client, #""secret":"x""#).status == 400)
        }
    }

    @Test func `it never has more than its owner has today`() async throws {
        try await withUser { world, client, token in
            let (_, own) = try await Self.credential(client, token, #""name":"ci""#)
            let admin = try await world.administrator()
            let scope = GrantScope.project("p")
            try await world.grant("reader", to: .user("u"), in: scope)
            try await world.service.remove(
                Grant(roleID: "manager", actor: .user("u"), scope: scope),
                as: admin
            )
            #expect(try await world.service.principal(token: own).role == .reader)
            try await world.service.remove(
                Grant(roleID: "reader", actor: .user("u"), scope: scope),
                as: admin
            )
            await #expect(throws: Fault.self) { try await world.service.principal(token: own) }
        }
    }

    @Test func `roles that its maker lacks cannot be given`() async throws {
        try await withUser { _, client, token in
            for body in [
                #"{"application_credential":{"name":"x","roles":[{"name":"admin"}]}}"#,
                #"{"application_credential":{"name":"x","roles":[{"id":"nothing"}]}}"#,
                #"{"application_credential":{"name":"x","roles":[{}]}}"#,
                #"{"application_credential":{}}"#,
                #"{"application_credential":{"name":"x","expires_at":"tomorrow"}}"#,
                #"{"application_credential":{"name":"x","expires_at":"2020-01-01T00:00:00"}}"#,
                #"{"application_credential":{"name":"x","access_rules":[{"method":"GET"}]}}"#,
                #"{"application_credential":{"name":"x","access_rules":[{"id":"nothing"}]}}"#,
            ] {
                let answer = try await client.call("POST", Self.path, token: token, body: body)
                #expect(answer.status == 400, "\(body)")
            }
        }
    }

    @Test func `a restricted one makes and deletes none, nor another token`() async throws {
        try await withUser { world, client, token in
            let (made, own) = try await Self.credential(client, token, #""name":"ci""#)
            let body = #"{"application_credential":{"name":"more"}}"#
            #expect(try await client.call("POST", Self.path, token: own, body: body).status == 403)
            let item = "\(Self.path)/\(made["id"]?.text ?? "")"
            #expect(try await client.call("DELETE", item, token: own).status == 403)
            await #expect(throws: Fault.self) {
                try await world.service.signIn(
                    SignIn(proof: .token(own), scope: .none),
                    from: ""
                )
            }
            let (_, free) = try await Self.credential(
                client,
                token,
                #""name":"free","unrestricted":true"#
            )
            #expect(try await client.call("POST", Self.path, token: free, body: body).status == 201)
            #expect(try await client.call("DELETE", item, token: free).status == 204)
            await #expect(throws: Fault.self) { try await world.service.principal(token: own) }
        }
    }

    @Test func `access rules let through what they name and nothing else`() async throws {
        try await withUser { _, client, token in
            let rules =
                #"[{"service":"baremetal","method":"GET","path":"/v1/nodes"},{"service":"identity","method":"GET","path":"/v3/users/*"}]"#
            let (made, own) = try await Self.credential(
                client,
                token,
                "\"name\":\"ci\",\"access_rules\":\(rules)"
            )
            for (path, status) in [
                ("/v1/nodes", 200), ("/v1/audit", 403), ("/identity/v3/users/u", 200),
                ("/identity/v3/users/u/groups", 403), ("/identity/v3/projects", 403),
                ("//identity/v3/projects", 403), ("/v1/nothing", 403),
            ] {
                let answer = try await client.call("GET", path, token: own)
                #expect(answer.status == status, "\(path)")
            }
            #expect(try await client.call("HEAD", "/v1/nodes", token: own).status == 200)
            let self_ = try await client.call(
                "GET",
                "/identity/v3/auth/tokens",
                token: own,
                headers: [.known("X-Subject-Token"): own.reveal()]
            )
            #expect(self_.status == 200)
            // The same rule again is the same object, and stays while it is used.
            let (again, _) = try await Self.credential(
                client,
                token,
                "\"name\":\"ci2\",\"access_rules\":\(rules)"
            )
            #expect(again["access_rules"] == made["access_rules"])
            let id = made["access_rules"]?.elements?.first?["id"]?.text ?? ""
            let place = "/identity/v3/users/u/access_rules/\(id)"
            #expect(try await client.call("DELETE", place, token: token).status == 403)
            for credential in [made, again] {
                let item = "\(Self.path)/\(credential["id"]?.text ?? "")"
                #expect(try await client.call("DELETE", item, token: token).status == 204)
            }
            #expect(try await client.call("DELETE", place, token: token).status == 204)
        }
    }

    @Test func `guessing a secret is slowed down`() async throws {
        try await withUser { _, client, token in
            let (made, _) = try await Self.credential(client, token, #""name":"ci""#)
            let wrong = "\"id\":\"\(made["id"]?.text ?? "")\",\"secret\":\"wrong\""
            for _ in 0..<LoginGuard.freeFailures { _ = try await Self.signIn(client, wrong) }
            #expect(try await Self.signIn(client, wrong).status == 429)
        }
    }

    @Test(
        arguments: [
            ("1970-01-01T00:00:00", 0), ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2000-02-29T23:59:59.123456+00:00", 951_868_799), ("2026-13-01T00:00:00", nil),
            ("2026-01-01", nil), ("2026-01-01T00:00:00+02:00", nil), ("2026-01-01T24:00:00", nil),
            ("٢٠٢٦-01-01T00:00:00", nil), ("9999-01-01T00:00:00", nil),
        ] as [(String, Int64?)]
    )
    func `a time is read strictly`(text: String, seconds: Int64?) {
        #expect(Timestamp(iso8601: text)?.nanoseconds == seconds.map { $0 * 1_000_000_000 })
    }
}
