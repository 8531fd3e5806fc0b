import AsyncHTTPClient
import Basics
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// Speaks the controller's REST APIs as any OpenStack client does: a token first, then the catalog.
package final class APIClient: Sendable {
    /// Which service a path belongs to.
    package enum Service: String, Sendable {
        case baremetal
        case image
        /// What no OpenStack service has: events, deployments, stream keys.
        case own
    }

    private struct Session {
        var token: String
        var endpoints: [String: String]
    }

    private let cloud: Cloud
    private let http: HTTPClient
    private let session = Mutex<Session?>(nil)

    /// An answer of the JSON APIs is not longer than this.
    private static let answerBytesMax = 64 << 20

    package init(cloud: Cloud) {
        self.cloud = cloud
        var tls = TLSConfiguration.makeClientConfiguration()
        if let file = cloud.authorityFile { tls.trustRoots = .file(file) }
        if !cloud.verifies { tls.certificateVerification = .none }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.timeout = .init(connect: .seconds(10), read: .seconds(120))
        configuration.httpVersion = .http1Only
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Closes the connections.
    package func shutDown() async throws { try await http.shutdown() }

    /// Asks and reads the answer; an empty one is `null`.
    /// - Throws: `Fault` with the service's own sentence when it refuses.
    @discardableResult
    package func call(
        _ method: String,
        _ service: Service,
        _ path: String,
        body: JSON? = nil,
        contentType: String = "application/json"
    ) async throws -> JSON {
        var payload: HTTPClientRequest.Body?
        if let body { payload = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(body))) }
        let response = try await send(
            method,
            service,
            path,
            body: payload,
            contentType: contentType,
            timeout: .seconds(300)
        )
        let data = try await response.body.collect(upTo: Self.answerBytesMax)
        guard data.readableBytes > 0 else { return .null }
        do {
            return try JSONDecoder().decode(JSON.self, from: Data(data.readableBytesView))
        } catch {
            throw Fault(
                .unavailable,
                "cannot understand the answer to \(method) \(path): it is not JSON; is \(cloud.base) the controller?",
                cause: error
            )
        }
    }

    /// Sends a file's bytes.
    func upload(
        _ service: Service,
        _ path: String,
        length: Int64,
        bytes: some AsyncSequence<ByteBuffer, any Error> & Sendable
    ) async throws {
        let response = try await send(
            "PUT",
            service,
            path,
            body: .stream(bytes, length: .known(length)),
            contentType: "application/octet-stream",
            timeout: .hours(4)
        )
        _ = try await response.body.collect(upTo: Self.answerBytesMax)
    }

    /// Opens a stream of server-sent events and hands on each line until the stream ends.
    func eachLine(
        _ service: Service,
        _ path: String,
        _ body: (String) throws -> Void
    ) async throws {
        let response = try await send(
            "GET",
            service,
            path,
            body: nil,
            contentType: nil,
            accept: "text/event-stream",
            timeout: .hours(24 * 365)
        )
        var pending: [UInt8] = []
        for try await buffer in response.body {
            pending.append(contentsOf: buffer.readableBytesView)
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                try body(String(decoding: pending[..<end], as: UTF8.self))
                pending.removeSubrange(...end)
            }
        }
    }

    private func send(
        _ method: String,
        _ service: Service,
        _ path: String,
        body: HTTPClientRequest.Body?,
        contentType: String?,
        accept: String = "application/json",
        timeout: TimeAmount
    ) async throws -> HTTPClientResponse {
        let session = try await signIn()
        var request = HTTPClientRequest(
            url: (session.endpoints[service.rawValue] ?? cloud.base) + path
        )
        request.method = .init(rawValue: method)
        request.headers.add(name: "X-Auth-Token", value: session.token)
        request.headers.add(name: "Accept", value: accept)
        request.headers.add(name: "User-Agent", value: "rdo")
        if service == .baremetal {
            request.headers.add(name: "X-OpenStack-Ironic-API-Version", value: "latest")
        }
        if let contentType { request.headers.add(name: "Content-Type", value: contentType) }
        request.body = body
        return try await execute(request, timeout: timeout)
    }

    private func execute(
        _ request: HTTPClientRequest,
        timeout: TimeAmount
    ) async throws -> HTTPClientResponse {
        let response: HTTPClientResponse
        do {
            response = try await http.execute(request, timeout: timeout)
        } catch let error as CancellationError {
            throw error
        } catch {
            throw Fault(
                .unavailable,
                "cannot reach the controller at \(cloud.base): \(Self.reason(error)); see “rdo undercloud status”",
                cause: error
            )
        }
        guard (200..<300).contains(response.status.code) else {
            throw try await Self.refusal(response, of: request)
        }
        return response
    }

    private static func refusal(
        _ response: HTTPClientResponse,
        of request: HTTPClientRequest
    ) async throws -> Fault {
        let data = try await response.body.collect(upTo: 1 << 20)
        // An answer that is no JSON is shown by its status.
        let answer = try? JSONDecoder().decode(JSON.self, from: Data(data.readableBytesView))
        let kind: Fault.Kind =
            switch response.status.code {
            case 400: .invalid
            case 401: .unauthenticated
            case 403: .forbidden
            case 404: .notFound
            case 409: .conflict
            case 413: .tooLarge
            case 500: .internalError
            default: .unavailable
            }
        return Fault(
            kind,
            answer?.errorMessage
                ?? "cannot \(request.method.rawValue) \(request.url): the controller answered \(response.status.code)"
        )
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError: error.shortDescription
        case let error as NIOSSLError: "TLS failed (\(error)); check “cacert” in clouds.yaml"
        default: String(describing: error)
        }
    }

    /// The token and the catalog; asked for once per run of the program.
    private func signIn() async throws -> Session {
        if let session = session.withLock({ $0 }) { return session }
        let body: JSON = [
            "auth": [
                "identity": [
                    "methods": ["password"],
                    "password": [
                        "user": [
                            "name": .text(cloud.userName),
                            "password": .text(cloud.password.reveal()),
                            "domain": ["name": .text(cloud.userDomain)],
                        ]
                    ],
                ],
                "scope": [
                    "project": [
                        "name": .text(cloud.projectName),
                        "domain": ["name": .text(cloud.projectDomain)],
                    ]
                ],
            ]
        ]
        var request = HTTPClientRequest(url: cloud.authURL + "/auth/tokens")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.headers.add(name: "Accept", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(body)))
        let response = try await execute(request, timeout: .seconds(60))
        guard let token = response.headers.first(name: "X-Subject-Token") else {
            throw Fault(.unavailable, "cannot sign in at \(cloud.authURL): the answer has no token")
        }
        let data = try await response.body.collect(upTo: 4 << 20)
        let answer = try JSONDecoder().decode(JSON.self, from: Data(data.readableBytesView))
        let session = Session(token: token, endpoints: Self.endpoints(answer["token"]["catalog"]))
        self.session.withLock { $0 = session }
        return session
    }

    /// Public addresses by service, without a version at their end.
    static func endpoints(_ catalog: JSON) -> [String: String] {
        var endpoints: [String: String] = [:]
        for service in catalog.array {
            guard let type = service["type"].string,
                let endpoint = service["endpoints"].array.first(where: {
                    $0["interface"].string == "public"
                }), var url = endpoint["url"].string
            else { continue }
            while url.hasSuffix("/") { url.removeLast() }
            for version in ["/v1", "/v2"] where url.hasSuffix(version) {
                url.removeLast(version.count)
            }
            endpoints[type] = url
        }
        return endpoints
    }
}
