import Basics
import HTTP
import Hummingbird
import HummingbirdTesting
import Logging
import Synchronization
import Testing

/// Knows tokens of one role each, for the whole system or `<role>@<project>`, and one read-only credential.
private struct Doorman: RequestAuthenticator {
    func principal(token: Secret) async throws -> Principal {
        let parts = token.reveal().split(separator: "@").map(String.init)
        guard let role = parts.first.flatMap(Role.init(rawValue:)) else {
            throw Fault(.unauthenticated, "cannot accept this token")
        }
        return Principal(
            userID: "u",
            userName: "somebody",
            scope: parts.count == 2 ? .project(id: parts[1], name: parts[1]) : .system,
            role: role,
            isAdminProject: false,
            tokenID: "t"
        )
    }

    func isReader(credential: Secret) async throws -> Bool { credential == Secret("scraper") }
}

private final class Notebook: AuditTrail {
    private struct Accompanied { weak var call: AuditedCall? }

    let records = Mutex<[AuditRecord]>([])
    private let accompanied = Mutex<[Accompanied]>([])
    /// How many calls were accompanied, and how many of them are still in memory.
    var calls: (all: Int, alive: Int) {
        accompanied.withLock { ($0.count, $0.count { $0.call != nil }) }
    }

    func keep(_ record: AuditRecord) async { records.withLock { $0.append(record) } }
    func accompany<Answer>(
        _ call: AuditedCall,
        _ work: () async throws -> Answer
    ) async rethrows -> Answer {
        accompanied.withLock { $0.append(Accompanied(call: call)) }
        call.stored(at: 7)
        return try await work()
    }
}

private struct Shape: Codable {
    struct Inner: Codable { var count: Int }
    var name: String
    var inner: Inner
}

@Suite struct SurfaceTests {
    private let notebook = Notebook()

    private func withClient(
        _ body: @Sendable (any TestClientProtocol) async throws -> Void
    ) async throws {
        let surface = Surface(
            authenticator: Doorman(),
            audit: notebook,
            logger: Logger(label: "test"),
            time: SystemTime(),
            random: SeededRandom(seed: 1)
        )
        let root = surface.area("", dialect: .ironic)
        root.get("/open", .open, .sample) { _, _ in .text("hello") }
        root.get("/member", .role(.member), .sample) { _, context in
            .text(try context.requirePrincipal().userName)
        }
        root.get("/scrape", .scrape, .sample) { _, _ in .text("metrics") }
        root.get("/token", .token, .sample) { _, _ in .text("yes") }
        root.post("/decode", .role(.reader), .sample) { request, context in
            let shape = try await request.decode(Shape.self, context)
            return try .json(encoding: shape)
        }
        root.get("/broken", .open, .sample) { _, _ in throw Oops() }
        surface.area("/identity", dialect: .keystone).get("/fail", .open, .sample) { _, _ in
            throw Fault(.conflict, "cannot do it", detail: "the secret detail")
        }
        surface.area("/image", dialect: .glance).get("/fail", .open, .sample) { _, _ in
            throw Fault(.tooLarge, "cannot do it")
        }
        surface.area("/v1/deployments", dialect: .plain).get("/fail", .open, .sample) { _, _ in
            throw Fault(.timeout, "cannot do it")
        }
        root.get("/busy", .open, .sample) { _, _ in
            throw Fault(.unavailable, "cannot do it")
        }
        root.get("/things/:id", .open, .sample) { _, context in .text(try context.parameter("id")) }
        let application = Application(router: surface.makeRouter())
        try await application.test(.router) { try await body($0) }
    }

    private struct Oops: Error {}

    @Test(arguments: [
        ("/open", "", 200), ("/member", "", 401), ("/member", "bad", 401),
        ("/member", "reader", 403),
        ("/member", "member", 200), ("/member", "admin", 200), ("/token", "", 401),
        ("/token", "reader", 200), ("/nowhere", "", 401), ("/nowhere", "bad", 401),
        ("/nowhere", "reader", 404), ("/identity/nowhere", "", 401), ("/scrape", "", 401),
        ("/scrape", "reader", 200), ("/scrape", "admin@p1", 403), ("/member", "member@p1", 200),
        ("/decode", "", 401), ("/decode", "reader", 405),
    ])
    func `a route is open only to whom it says`(path: String, token: String, code: Int) async throws
    {
        try await withClient { client in
            let headers: HTTPFields = token.isEmpty ? [:] : [.authToken: token]
            let response = try await client.execute(uri: path, method: .get, headers: headers)
            #expect(response.status.code == code)
        }
    }

    @Test(arguments: [
        ("Bearer scraper", 200), ("Bearer other", 401), ("Basic eDpzY3JhcGVy", 200),
        ("Basic ====", 401), ("Bearer", 401), ("Digest x", 401),
    ])
    func `a read-only credential opens the metrics`(header: String, code: Int) async throws {
        try await withClient { client in
            let metrics = try await client.execute(
                uri: "/scrape",
                method: .get,
                headers: [.authorization: header]
            )
            #expect(metrics.status.code == code)
            let other = try await client.execute(
                uri: "/member",
                method: .get,
                headers: [.authorization: header]
            )
            #expect(other.status.code == 401)
        }
    }

    @Test(arguments: [
        ("openstacksdk/4.22.0 keystoneauth1/5.18.1", "30"), ("curl/7.88.1", "30"), ("", "30"),
        ("python-ironicclient", nil), ("python-ironicclient keystoneauth1/5.18.1", nil),
    ])
    func `who is told when to come back is only who understands it`(
        agent: String,
        header: String?
    ) async throws {
        try await withClient { client in
            let response = try await client.execute(
                uri: "/busy",
                method: .get,
                headers: agent.isEmpty ? [:] : [.userAgent: agent]
            )
            #expect(response.status == .serviceUnavailable)
            #expect(response.headers[.retryAfter] == header)
        }
    }

    @Test func `each service words a fault in its own way`() async throws {
        try await withClient { client in
            let keystone = try await client.execute(uri: "/identity/fail", method: .get)
            #expect(keystone.status == .conflict)
            #expect(
                String(buffer: keystone.body)
                    == #"{"error":{"code":409,"message":"cannot do it","title":"Conflict"}}"#
            )
            let glance = try await client.execute(uri: "/image/fail", method: .get)
            #expect(
                try JSONValue(parsing: glance.body.readableBytesView)["message"] == "cannot do it"
            )
            let plain = try await client.execute(uri: "/v1/deployments/fail", method: .get)
            #expect(
                try JSONValue(parsing: plain.body.readableBytesView)["error"]?["kind"] == "timeout"
            )
            let ironic = try await client.execute(uri: "/member", method: .get)
            let message = try JSONValue(parsing: ironic.body.readableBytesView)["error_message"]
            let inner = try JSONValue(parsing: try #require(message?.text).utf8)
            #expect(inner["faultcode"] == "Client")
            #expect(inner["debuginfo"] == .null)
        }
    }

    @Test func `an unexpected error tells nothing`() async throws {
        try await withClient { client in
            let response = try await client.execute(uri: "/broken", method: .get)
            #expect(response.status == .internalServerError)
            #expect(!String(buffer: response.body).contains("Oops"))
        }
    }

    @Test(arguments: [
        (#"{"name":"a","inner":{"count":1}}"#, 200, ""),
        (#"{"inner":{"count":1}}"#, 400, "has no “name”"),
        (#"{"name":"a","inner":{"count":"x"}}"#, 400, "“inner.count” has the wrong type"),
        (#"{"name":null,"inner":{"count":1}}"#, 400, "“name” is null"),
        (#"{"name":"a","name":"b"}"#, 400, "appears twice"),
        ("{", 400, "at byte 1"),
        (String(repeating: "[", count: 5000), 400, "nesting"),
    ])
    func `a request of the wrong shape is told what is wrong`(
        body: String,
        code: Int,
        part: String
    ) async throws {
        try await withClient { client in
            let response = try await client.execute(
                uri: "/decode",
                method: .post,
                headers: [.authToken: "reader"],
                body: ByteBuffer(string: body)
            )
            #expect(response.status.code == code)
            #expect(part.isEmpty || String(buffer: response.body).contains(part))
        }
    }

    @Test func `a body that is too large is refused`() async throws {
        try await withClient { client in
            let response = try await client.execute(
                uri: "/decode",
                method: .post,
                headers: [.authToken: "reader"],
                body: ByteBuffer(repeating: 0x20, count: APIContext.bodyBytesMax + 1)
            )
            #expect(response.status == .contentTooLarge)
        }
    }

    @Test func `changing and refused calls are audited, with who and how it ended`() async throws {
        try await withClient { client in
            _ = try await client.execute(uri: "/open", method: .get)
            _ = try await client.execute(
                uri: "/decode",
                method: .post,
                headers: [.authToken: "reader"]
            )
            _ = try await client.execute(uri: "/decode%0aforged", method: .post)
            _ = try await client.execute(
                uri: "/member",
                method: .get,
                headers: [.authToken: "reader"]
            )
            _ = try await client.execute(
                uri: "/member",
                method: .get,
                headers: [.authToken: "admin"]
            )
        }
        let records = notebook.records.withLock { $0 }
        #expect(records.map(\.status) == [400, 401, 403])
        #expect(records.map(\.userName) == ["somebody", "", "somebody"])
        #expect(records.map(\.outcome) == [.failure, .failure, .failure])
        #expect(records.map(\.subject.action) == ["create", "create", "read"])
        #expect(records[0].requestID.hasPrefix("req-"))
        // Only the first was somebody's who had signed in, and could change something.
        #expect(records.map(\.sequence) == [7, 0, 0])
        #expect(notebook.calls == (1, 0))
    }

    @Test func `an answer carries the request's identifier and is not cached`() async throws {
        try await withClient { client in
            let first = try await client.execute(uri: "/open", method: .get)
            let second = try await client.execute(uri: "/open", method: .get)
            #expect(first.headers[.requestID] != second.headers[.requestID])
            #expect(first.headers[.cacheControl] == "no-store")
        }
    }

    @Test(arguments: [("/things/a%20b", "a b", 200), ("/things/%zz", "", 400)])
    func `a path parameter is decoded`(path: String, text: String, code: Int) async throws {
        try await withClient { client in
            let response = try await client.execute(uri: path, method: .get)
            #expect(response.status.code == code)
            #expect(code != 200 || String(buffer: response.body) == text)
        }
    }

    @Test(arguments: Fault.Kind.allCases)
    func `every kind of fault has a code of failure`(kind: Fault.Kind) {
        #expect((400...599).contains(kind.status.code))
        let codes = Fault.Kind.allCases.map(\.status.code)
        #expect(codes.filter { $0 == kind.status.code }.count == 1)
    }
}
