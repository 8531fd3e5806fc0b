import AsyncHTTPClient
import Basics
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Protocol

/// Sends one signed message.
package protocol WebhookSender: Sendable {
    /// - Throws: `Fault` with the reason, fit to be shown to the hook's owner, unless it was taken (2xx).
    func send(_ body: [UInt8], headers: [(String, String)], to url: String) async throws
}

/// Sends over HTTPS to addresses that the rules allow.
///
/// A client per message, so that nothing (connection, cookie, credential) goes from one target to another.
package struct HTTPSWebhookSender: WebhookSender {
    private let rules: WebhookRules
    private let authority: String?

    private static let budget: TimeAmount = .seconds(10)

    /// - authority: a file of certificates to trust (PEM) in place of the system's; `nil` for these.
    package init(rules: WebhookRules, authority: String?) {
        self.rules = rules
        self.authority = authority
    }

    package func send(_ body: [UInt8], headers: [(String, String)], to url: String) async throws {
        guard let target = WebhookTarget(url) else {
            throw Fault(.invalid, "cannot send to it: it is no address")
        }
        let address = try await resolve(target)
        var tls = TLSConfiguration.makeClientConfiguration()
        if let authority { tls.trustRoots = .file(authority) }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.redirectConfiguration = .disallow
        configuration.dnsOverride = [target.host: address]
        configuration.timeout = .init(connect: .seconds(5), read: .seconds(10))
        configuration.httpVersion = .http1Only
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let outcome: Result<UInt, any Error>
        do {
            var request = HTTPClientRequest(url: url)
            request.method = .POST
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            request.body = .bytes(ByteBuffer(bytes: body))
            outcome = .success(try await client.execute(request, timeout: Self.budget).status.code)
        } catch {
            outcome = .failure(error)
        }
        // What it still had open is of no use to anybody.
        try? await client.shutdown()
        switch outcome {
        case .success(let status) where (200..<300).contains(status): return
        case .success(let status) where (300..<400).contains(status):
            throw Fault(.unavailable, "it answered \(status); redirects are not followed")
        case .success(let status): throw Fault(.unavailable, "it answered \(status)")
        case .failure(let error):
            // Words of the TLS library or of the network, never of the answer.
            throw Fault(
                .unavailable,
                "it could not be reached or its certificate is not trusted",
                cause: error
            )
        }
    }

    /// The address that a name has now, if the rules allow all that it has.
    private func resolve(_ target: WebhookTarget) async throws -> String {
        let resolved: SocketAddress
        do {
            resolved = try await NIOThreadPool.singleton.runIfActive {
                try SocketAddress.makeAddressResolvingHost(target.host, port: target.port)
            }
        } catch {
            throw Fault(.unavailable, "its name has no address", cause: error)
        }
        let own = try System.enumerateDevices().compactMap { $0.address?.bytes }
        guard let bytes = resolved.bytes, let text = resolved.ipAddress else {
            throw Fault(.unavailable, "its name has no address")
        }
        if let problem = rules.problem(with: bytes, own: own) {
            throw Fault(.forbidden, "it may not be sent to: \(problem)")
        }
        return text
    }
}

/// A web address, taken apart strictly.
struct WebhookTarget: Equatable {
    let isPlain: Bool
    let host: String
    let port: Int

    /// `nil` for anything but `http(s)://host[:port][/…]` without user, fragment, space or control character.
    init?(_ url: String) {
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            !url.contains("#"), !url.contains("\\")
        else { return nil }
        let rest: Substring
        if url.hasPrefix("https://") {
            (isPlain, rest) = (false, url.dropFirst(8))
        } else if url.hasPrefix("http://") {
            (isPlain, rest) = (true, url.dropFirst(7))
        } else {
            return nil
        }
        var authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.contains("@") else { return nil }
        var port = isPlain ? 80 : 443
        // AsyncHTTPClient cannot be told the address of a bracketed host; names and IPv4 only.
        guard !authority.hasPrefix("[") else { return nil }
        if let colon = authority.firstIndex(of: ":") {
            let digits = authority[authority.index(after: colon)...]
            guard let number = UInt16(digits), number > 0 else { return nil }
            port = Int(number)
            authority = authority[..<colon]
        }
        guard !authority.isEmpty, authority.utf8.count <= 253,
            authority.allSatisfy({
                $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0))
            })
        else { return nil }
        host = String(authority)
        self.port = port
    }
}

extension SocketAddress {
    /// The bytes of an IP address.
    fileprivate var bytes: [UInt8]? {
        guard let text = ipAddress else { return nil }
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, text, &bytes) == 1 { return bytes }
        }
        return nil
    }
}
