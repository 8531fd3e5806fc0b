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
    private let lookUp: @Sendable (String) throws -> [String]

    private static let budget: TimeAmount = .seconds(10)
    /// Addresses of one name that are tried.
    private static let addressesMax = 4

    /// - authority: a file of certificates to trust (PEM) in place of the system's; `nil` for these.
    /// - lookUp: the addresses of a name, in the order in which they are to be tried; may block.
    package init(
        rules: WebhookRules,
        authority: String?,
        lookUp: @escaping @Sendable (String) throws -> [String] = Self.addresses(of:)
    ) {
        self.rules = rules
        self.authority = authority
        self.lookUp = lookUp
    }

    package func send(_ body: [UInt8], headers: [(String, String)], to url: String) async throws {
        guard let target = WebhookTarget(url) else {
            throw Fault(.invalid, "cannot send to it: it is no address")
        }
        let addresses = try await resolve(target)
        var problem: (any Error)?
        tries: for address in addresses {
            var request = HTTPClientRequest(url: url)
            request.method = .POST
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            request.body = .bytes(ByteBuffer(bytes: body))
            switch await outcome(of: request, at: address, of: target, isOnly: addresses.count == 1)
            {
            case .success(let status) where (200..<300).contains(status): return
            case .success(let status) where (300..<400).contains(status):
                throw Fault(.unavailable, "it answered \(status); redirects are not followed")
            case .success(let status): throw Fault(.unavailable, "it answered \(status)")
            case .failure(let error):
                problem = error
                if Self.mayHaveArrived(error) || Task.isCancelled { break tries }
            }
        }
        // Words of the TLS library or of the network, never of the answer.
        throw Fault(
            .unavailable,
            "it could not be reached or its certificate is not trusted",
            cause: problem
        )
    }

    private func outcome(
        of request: HTTPClientRequest,
        at address: String,
        of target: WebhookTarget,
        isOnly: Bool
    ) async -> Result<UInt, any Error> {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let authority { tls.trustRoots = .file(authority) }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.redirectConfiguration = .disallow
        configuration.dnsOverride = [target.host: address]
        configuration.timeout = .init(connect: .seconds(isOnly ? 5 : 2), read: .seconds(10))
        configuration.connectionPool.retryConnectionEstablishment = isOnly
        configuration.httpVersion = .http1Only
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let outcome: Result<UInt, any Error>
        do {
            outcome = .success(try await client.execute(request, timeout: Self.budget).status.code)
        } catch {
            outcome = .failure(error)
        }
        // What it still had open is of no use to anybody.
        try? await client.shutdown()
        return outcome
    }

    /// Whether the message may have been read: then the next address would get it a second time.
    private static func mayHaveArrived(_ error: any Error) -> Bool {
        guard let error = error as? HTTPClientError else { return false }
        return [
            .readTimeout, .writeTimeout, .deadlineExceeded, .remoteConnectionClosed, .cancelled,
        ]
        .contains(error)
    }

    /// The addresses that a name has now and the rules allow.
    private func resolve(_ target: WebhookTarget) async throws -> [String] {
        let found: [String]
        do {
            found = try await NIOThreadPool.singleton.runIfActive { [lookUp] in
                try lookUp(target.host)
            }
        } catch {
            throw Fault(.unavailable, "its name has no address", cause: error)
        }
        let own = try System.enumerateDevices().compactMap { $0.address?.ipAddress?.addressBytes }
        var problem: String?
        let allowed = found.filter { text in
            guard let bytes = text.addressBytes else { return false }
            guard let reason = rules.problem(with: bytes, own: own) else { return true }
            problem = problem ?? reason
            return false
        }
        guard allowed.isEmpty else { return Array(allowed.prefix(Self.addressesMax)) }
        guard let problem else { throw Fault(.unavailable, "its name has no address") }
        throw Fault(.forbidden, "it may not be sent to: \(problem)")
    }

    /// All addresses of a name, as the host's resolver orders them.
    ///
    /// Blocks.
    /// - Throws: `Fault` of kind `unavailable` when it has none.
    package static func addresses(of host: String) throws -> [String] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &first)
        guard status == 0 else {
            throw Fault(
                .unavailable,
                "cannot find \(host): \(String(cString: gai_strerror(status)))"
            )
        }
        defer { freeaddrinfo(first) }
        var found: [String] = []
        var next = first
        while let entry = next?.pointee {
            var text = [CChar](repeating: 0, count: 64)
            let length = socklen_t(text.count)
            if getnameinfo(
                entry.ai_addr,
                entry.ai_addrlen,
                &text,
                length,
                nil,
                0,
                NI_NUMERICHOST
            ) == 0 {
                let address = String(
                    decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
                    as: UTF8.self
                )
                if !found.contains(address) { found.append(address) }
            }
            next = entry.ai_next
        }
        return found
    }
}

/// A web address, taken apart strictly.
struct WebhookTarget: Equatable {
    let isPlain: Bool
    let host: String
    let port: Int

    /// `nil` for anything but `http(s)://host[:port][/…]` without user, fragment, space or control character.
    ///
    /// The host may be a name, an IPv4 address, or an IPv6 address in brackets.
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
        var literal: Substring?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            let inside = authority[authority.index(after: authority.startIndex)..<end]
            // Without a zone: that names an interface of this host.
            guard String(inside).addressBytes?.count == 16 else { return nil }
            literal = inside
            authority = authority[authority.index(after: end)...]
            guard authority.isEmpty || authority.hasPrefix(":") else { return nil }
        }
        if let colon = authority.firstIndex(of: ":") {
            let digits = authority[authority.index(after: colon)...]
            guard let number = UInt16(digits), number > 0 else { return nil }
            port = Int(number)
            authority = authority[..<colon]
        }
        authority = literal ?? authority
        guard !authority.isEmpty, authority.utf8.count <= 253,
            authority.allSatisfy({
                $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0))
            }) || literal != nil
        else { return nil }
        host = String(authority)
        self.port = port
    }
}

extension String {
    /// The bytes of an IP address; `nil` when it is none.
    fileprivate var addressBytes: [UInt8]? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, self, &bytes) == 1 { return bytes }
        }
        return nil
    }
}
