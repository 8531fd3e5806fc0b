import AsyncHTTPClient
import Basics
import NIOCore
import NIOHTTP1
import NIOSSL

/// Asks once whether a server answers at all.
enum Probe {
    static func answers(_ url: String, authority: String) async -> Bool {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(authority)
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.httpVersion = .http1Only
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        var answered = false
        do {
            let response = try await client.execute(
                HTTPClientRequest(url: url),
                timeout: .seconds(5)
            )
            answered = response.status.code < 500
            _ = try await response.body.collect(upTo: 1 << 20)
        } catch {
            // Not reachable yet: the caller asks again.
        }
        // A client that does not close cleanly has nothing left to tell.
        _ = try? await client.shutdown()
        return answered
    }
}
