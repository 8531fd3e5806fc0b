import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Protocol
import Store
import Testing

@testable import Identity

@Suite struct IdentityAPITests {
    private static let subject = HTTPField.Name.known("X-Subject-Token")

    private static func request(
        password: String = World.password.reveal(),
        scope: String = #""scope":{"project":{"name":"admin","domain":{"name":"Default"}}},"#
    ) -> ByteBuffer {
        ByteBuffer(
            string: """
                {"auth":{\(scope)"identity":{"methods":["password"],"password":{"user":
                {"name":"admin","domain":{"id":"default"},"password":"\(password)"}}}}}
                """
        )
    }

    private static func token(_ client: any TestClientProtocol) async throws -> String {
        let response = try await client.execute(
            uri: "/identity/v3/auth/tokens",
            method: .post,
            body: request()
        )
        return try #require(response.headers[subject])
    }

    @Test func `a token request answers as Keystone does`() async throws {
        let world = try await World()
        try await world.withClient { client in
            let response = try await client.execute(
                uri: "/identity/v3/auth/tokens",
                method: .post,
                body: Self.request()
            )
            #expect(response.status == .created)
            #expect(response.headers[Self.subject] != nil)
            let token = try JSONValue(parsing: response.body.readableBytesView)["token"]
            #expect(token?["user"]?["name"] == "admin")
            #expect(token?["project"]?["name"] == "admin")
            #expect(token?["expires_at"] == "2027-01-15T09:00:00.000000Z")
            let roles = token?["roles"]?.elements?.compactMap { $0["name"]?.text }
            #expect(roles == ["admin", "manager", "member", "reader"])
            let catalog = token?["catalog"]?.elements ?? []
            #expect(catalog.compactMap { $0["type"]?.text } == ["baremetal", "identity", "image"])
            let urls = catalog.compactMap { $0["endpoints"]?.elements?.first?["url"]?.text }
            #expect(urls[0] == "https://192.0.2.1:6385")
        }
    }

    @Test func `the catalog ignores the host that the request names`() async throws {
        let world = try await World()
        try await world.withClient { client in
            let response = try await client.execute(
                uri: "/identity/v3/auth/tokens",
                method: .post,
                headers: [.known("X-Forwarded-Host"): "evil.example"],
                body: Self.request()
            )
            #expect(!String(buffer: response.body).contains("evil"))
            #expect(!String(buffer: response.body).contains("localhost"))
        }
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"auth":{}}"#, #"{"auth":{"identity":{"methods":[]}}}"#,
        #"{"auth":{"identity":{"methods":["password","totp"]}}}"#,
        #"{"auth":{"identity":{"methods":["external"]}}}"#,
        #"{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin"}}}}}"#,
        #"{"auth":{"identity":{"methods":["password"],"password":{"user":{"password":"x"}}}}}"#,
        #"{"auth":{"identity":{"methods":["token"]}}}"#,
        #"{"auth":{"identity":{"methods":["token"],"token":{"id":"x"}},"scope":{"domain":{}}}}"#,
    ])
    func `a malformed token request is refused`(body: String) async throws {
        let world = try await World()
        try await world.withClient { client in
            let response = try await client.execute(
                uri: "/identity/v3/auth/tokens",
                method: .post,
                body: ByteBuffer(string: body)
            )
            #expect(response.status == .badRequest)
            let error = try JSONValue(parsing: response.body.readableBytesView)["error"]
            #expect(error?["title"] == "Bad Request")
        }
    }

    @Test func `an empty password never signs in`() async throws {
        let world = try await World()
        try await world.withClient { client in
            let response = try await client.execute(
                uri: "/identity/v3/auth/tokens",
                method: .post,
                body: Self.request(password: "")
            )
            #expect(response.status == .unauthorized)
            #expect(response.headers[.wwwAuthenticate] != nil)
        }
    }

    @Test func `without a token only discovery and the token request answer`() async throws {
        let world = try await World()
        try await world.withClient { client in
            for path in [
                "/v3/auth/tokens", "/v3/auth/catalog", "/v3/auth/projects", "/v3/users",
                "/v3/users/x", "/v3/projects", "/v3/domains", "/v3/roles", "/v3/services",
                "/v3/endpoints", "/v3/regions", "/v3/anything", "/v2.0",
            ] {
                let response = try await client.execute(uri: "/identity" + path, method: .get)
                #expect(response.status == .unauthorized, "\(path)")
            }
            let root = try await client.execute(uri: "/identity", method: .get)
            #expect(root.status == .multipleChoices)
            let version = try await client.execute(uri: "/identity/v3/", method: .get)
            #expect(version.status == .ok)
        }
    }

    @Test func `a token is shown, and gone after it was deleted`() async throws {
        let world = try await World()
        try await world.withClient { client in
            let token = try await Self.token(client)
            let other = try await Self.token(client)
            let headers: HTTPFields = [.authToken: other, Self.subject: token]
            func call(_ method: HTTPRequest.Method) async throws -> HTTPResponse.Status {
                try await client.execute(
                    uri: "/identity/v3/auth/tokens",
                    method: method,
                    headers: headers
                ).status
            }
            #expect(try await call(.get) == .ok)
            #expect(try await call(.head) == .ok)
            #expect(try await call(.delete) == .noContent)
            #expect(try await call(.get) == .notFound)
            #expect(
                try await client.execute(
                    uri: "/identity/v3/auth/tokens",
                    method: .get,
                    headers: [.authToken: other]
                ).status == .badRequest
            )
        }
    }

    @Test(arguments: [
        ("/v3/users?name=admin", "users", 1), ("/v3/users?name=x", "users", 0),
        ("/v3/projects", "projects", 1), ("/v3/auth/projects", "projects", 1),
        ("/v3/domains", "domains", 1), ("/v3/roles", "roles", 4),
        ("/v3/roles?name=admin", "roles", 1), ("/v3/services", "services", 3),
        ("/v3/services?type=image", "services", 1), ("/v3/endpoints", "endpoints", 9),
        ("/v3/endpoints?interface=public", "endpoints", 3), ("/v3/regions", "regions", 1),
        ("/v3/auth/catalog", "catalog", 3),
    ])
    func `a list shows what there is`(path: String, name: String, count: Int) async throws {
        let world = try await World()
        try await world.withClient { client in
            let response = try await client.execute(
                uri: "/identity" + path,
                method: .get,
                headers: [.authToken: try await Self.token(client)]
            )
            #expect(response.status == .ok)
            let list = try JSONValue(parsing: response.body.readableBytesView)[name]
            #expect(list?.elements?.count == count)
        }
    }

    @Test func `no answer and no audit record holds a password or token`() async throws {
        let world = try await World()
        try await world.withClient { client in
            let token = try await Self.token(client)
            for path in ["/v3/users", "/v3/projects", "/v3/auth/catalog"] {
                let response = try await client.execute(
                    uri: "/identity" + path,
                    method: .get,
                    headers: [.authToken: token]
                )
                #expect(!String(buffer: response.body).contains("scrypt"))
            }
            let records = try await world.database.read { try $0.auditRecords(AuditFilter()) }
            #expect(records.map(\.status) == [201])
            #expect(!"\(records)".contains(token))
            #expect(!"\(records)".contains(World.password.reveal()))
        }
    }
}
