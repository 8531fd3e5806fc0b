import AsyncHTTPClient
import Basics
import HTTP
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// One request to a Redfish service.
package struct RedfishRequest: Sendable {
    package var method: String
    /// On the BMC's own origin.
    package var path: String
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]?

    package init(
        _ method: String,
        _ path: String,
        headers: [(name: String, value: String)] = [],
        body: [UInt8]? = nil
    ) {
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
    }
}

/// What a Redfish service answered.
package struct RedfishResponse: Sendable {
    package let status: Int
    /// By their names in lower case; of several with one name the first.
    package let headers: [String: String]
    package let body: [UInt8]

    package init(status: Int, headers: [String: String] = [:], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// Carries requests to BMCs; throws `RedfishTrouble`, or `CancellationError`.
protocol RedfishTransport: Sendable {
    /// Sends one request, follows nothing, and reads at most `bytesMax` of the answer.
    func send(
        _ request: RedfishRequest,
        to bmc: BMC,
        bytesMax: Int,
        within budget: Duration
    ) async throws -> RedfishResponse

    /// Closes what is open.
    func close() async
}

/// HTTP/1.1 through AsyncHTTPClient.
///
/// Each request has a connection of its own: BMCs have few and choke on those that stay open.
final class HTTPRedfishTransport: RedfishTransport {
    /// Made with the first request: a controller without such BMCs has none.
    private let made = Mutex<HTTPClient?>(nil)
    private let connectBudget: Duration
    private let time: any TimeSource

    init(connectBudget: Duration, time: any TimeSource) {
        self.connectBudget = connectBudget
        self.time = time
    }

    private static func makeClient(_ connectBudget: Duration) -> HTTPClient {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            decompression: .disabled
        )
        configuration.timeout.connect = .nanoseconds(connectBudget.wholeNanoseconds)
        configuration.httpVersion = .http1Only
        configuration.maximumUsesPerConnection = 1
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    private var client: HTTPClient {
        made.withLock { made in
            if let made { return made }
            let client = Self.makeClient(connectBudget)
            made = client
            return client
        }
    }

    func send(
        _ request: RedfishRequest,
        to bmc: BMC,
        bytesMax: Int,
        within budget: Duration
    ) async throws -> RedfishResponse {
        var message = HTTPClientRequest(url: bmc.origin + request.path)
        message.method = HTTPMethod(rawValue: request.method)
        for header in request.headers {
            message.headers.add(name: header.name, value: header.value)
        }
        message.headers.add(name: "Connection", value: "close")
        if let body = request.body { message.body = .bytes(ByteBuffer(bytes: body)) }
        if bmc.redfish?.isSecure != false { message.tlsConfiguration = Self.tls(of: bmc) }
        do {
            return try await exchange(message, bytesMax, budget, time)
        } catch is TimeBudgetExceeded {
            throw RedfishTrouble.late(budget)
        } catch {
            throw Self.trouble(error, bytesMax, budget)
        }
    }

    func close() async {
        // A client that does not close cleanly has nothing left to tell.
        try? await made.withLock(\.self)?.shutdown()
    }

    private func exchange(
        _ message: HTTPClientRequest,
        _ bytesMax: Int,
        _ budget: Duration,
        _ time: some TimeSource
    ) async throws -> RedfishResponse {
        try await withBudget(budget, for: "the BMC's answer", on: time) { [client] in
            let response = try await client.execute(
                message,
                timeout: .nanoseconds(budget.wholeNanoseconds)
            )
            let body = try await response.body.collect(upTo: bytesMax)
            var headers: [String: String] = [:]
            for header in response.headers.prefix(64) where header.value.utf8.count <= 8192 {
                let name = header.name.lowercased()
                headers[name] = headers[name] ?? header.value
            }
            return RedfishResponse(
                status: Int(response.status.code),
                headers: headers,
                body: Array(body.readableBytesView)
            )
        }
    }

    private static func tls(of bmc: BMC) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        switch bmc.redfish?.verification ?? .host {
        case .host: break
        case .file(let path): tls.trustRoots = .file(path)
        case .off: tls.certificateVerification = .none
        }
        return tls
    }

    private static func trouble(
        _ error: any Error,
        _ bytesMax: Int,
        _ budget: Duration
    ) -> any Error {
        let words = String(describing: error)
        switch error {
        case is CancellationError: return error
        case is NIOTooManyBytesError: return RedfishTrouble.tooLong(bytesMax)
        case let error as HTTPClientError where error == .connectTimeout:
            return RedfishTrouble.noAnswer(words)
        case let error as HTTPClientError
        where [.deadlineExceeded, .readTimeout].contains(error):
            return RedfishTrouble.late(budget)
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            return RedfishTrouble.broken(words)
        case is HTTPParserError: return RedfishTrouble.malformed("it does not speak HTTP")
        case is NIOSSLExtraError: return RedfishTrouble.untrusted(words)
        case is NIOSSLError, is BoringSSLError:
            return words.contains("CERTIFICATE") || words.contains("certificate")
                ? RedfishTrouble.untrusted(words)
                : RedfishTrouble.setting("it does not speak TLS; correct redfish_address")
        default: return RedfishTrouble.noAnswer(words)
        }
    }
}

extension Duration {
    /// For the clocks of other libraries.
    fileprivate var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
