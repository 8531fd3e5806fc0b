import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import Protocol
import Store
import Synchronization
import Testing

@testable import Images

/// A clock that a test moves.
final class ManualTime: TimeSource {
    private let state = Mutex(Timestamp(seconds: 1_800_000_000))

    var now: Timestamp { state.withLock { $0 } }
    var elapsed: Duration { now - Timestamp(nanoseconds: 0) }
    func advance(_ span: Duration) { state.withLock { $0 = $0 + span } }
    func sleep(for span: Duration) async throws {
        // Nothing in these tests may run out of its budget: wait until cancelled.
        let (stream, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        throw CancellationError()
    }
}

/// Tokens are `<role>:<project>`.
private struct Doorman: RequestAuthenticator {
    func principal(token: Secret) async throws -> Principal {
        let parts = token.reveal().split(separator: ":").map(String.init)
        guard parts.count == 2, let role = Role(rawValue: parts[0]) else {
            throw Fault(.unauthenticated, "cannot accept this token")
        }
        return Principal(
            userID: "u",
            userName: "somebody",
            scope: .project(id: parts[1], name: parts[1]),
            role: role,
            isAdminProject: parts[1] == "admin",
            tokenID: "t"
        )
    }

    func isReader(credential: Secret) async throws -> Bool { false }
}

/// An image service in a directory of its own.
final class World: Sendable {
    let directory: String
    let time = ManualTime()
    let database: Database
    let service: ImagesService
    static let key = Secret(bytes: Array(0..<32))

    init(
        _ configure: (inout ImagesService.Configuration) -> Void = { _ in },
        directory: String? = nil,
        database: Database? = nil
    ) throws {
        let path =
            directory
            ?? FileManager.default.temporaryDirectory.appendingPathComponent(
                "rdo-images-\(UInt64.random(in: 0...UInt64.max))"
            ).path
        self.directory = path
        self.database =
            try database
            ?? Database(path: nil, migrations: ImageStore.migrations, feed: ChangeFeed())
        var configuration = ImagesService.Configuration(directory: path)
        configure(&configuration)
        service = try ImagesService(
            database: self.database,
            configuration: configuration,
            capabilityKey: Self.key,
            time: time,
            random: SystemRandom(),
            logger: Logger(label: "test")
        )
    }

    deinit { _ = try? FileManager.default.removeItem(atPath: directory) }  // best effort in a test

    /// Names of all files below the store, sorted, by their last component.
    func files(_ below: String = "") -> [String] {
        let paths = FileManager.default.enumerator(atPath: directory + "/" + below)
        return (paths?.compactMap { $0 as? String } ?? []).filter { $0.contains(".") }.sorted()
    }

    func withClient(
        _ body: @escaping @Sendable (Client) async throws -> Void
    ) async throws {
        let surface = Surface(
            authenticator: Doorman(),
            logger: Logger(label: "test"),
            time: time,
            random: SystemRandom()
        )
        ImagesAPI(service: service, publicURL: "https://192.0.2.1:6385").addRoutes(to: surface)
        AgentImagesAPI(service: service).addRoutes(to: surface)
        try await Application(router: surface.makeRouter()).test(.router) {
            try await body(Client(client: $0))
        }
    }
}

/// Speaks Glance.
struct Client: Sendable {
    struct Answer {
        let code: Int
        let bytes: [UInt8]
        var json: JSONValue? { try? JSONValue(parsing: bytes) }  // nil is what a test wants then
        var message: String { json?["message"]?.text ?? "" }
    }

    let client: any TestClientProtocol
    var token = "admin:admin"

    func `as`(_ token: String) -> Client { Client(client: client, token: token) }

    func call(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ body: [UInt8] = [],
        type: String = "application/json",
        headers extra: HTTPFields = [:]
    ) async throws -> Answer {
        var headers: HTTPFields = [.contentType: type]
        if !token.isEmpty { headers[.authToken] = token }
        for field in extra { headers[field.name] = field.value }
        let response = try await client.execute(
            uri: path,
            method: method,
            headers: headers,
            body: body.isEmpty ? nil : ByteBuffer(bytes: body)
        )
        return Answer(
            code: response.status.code,
            bytes: Array(response.body.readableBytesView)
        )
    }

    func create(_ members: JSONValue) async throws -> String {
        let answer = try await call(.post, "/image/v2/images", Array(members.canonicalText.utf8))
        #expect(answer.code == 201)
        return answer.json?["id"]?.text ?? ""
    }

    func upload(
        _ id: String,
        _ file: [UInt8],
        headers: HTTPFields = [:]
    ) async throws -> Answer {
        try await call(
            .put,
            "/image/v2/images/\(id)/file",
            file,
            type: "application/octet-stream",
            headers: headers
        )
    }

    func show(_ id: String) async throws -> JSONValue {
        try await call(.get, "/image/v2/images/\(id)").json ?? .null
    }

    func patch(_ id: String, _ text: String) async throws -> Answer {
        try await call(
            .patch,
            "/image/v2/images/\(id)",
            Array(text.utf8),
            type: "application/openstack-images-v2.1-json-patch"
        )
    }
}
