import Basics
import FoundationEssentials
package import HTTPTypes
import Hummingbird
import Logging
import Protocol

/// Admits or refuses.
struct Gate: Sendable {
    let authenticator: (any RequestAuthenticator)?

    /// Who asks, when the route wants to know; `who` learns it also when they are refused.
    /// - Throws: `Fault` when the route is not for them.
    func admit(_ request: Request, to access: Access, who: Who) async throws -> Principal? {
        switch access {
        case .open, .handler: return nil
        case .token: return try await principal(of: request, who)
        case .role(let role):
            let principal = try await principal(of: request, who)
            try principal.require(role, to: "call \(request.method.rawValue) \(request.uri.path)")
            return principal
        case .installation(let role):
            let principal = try await principal(of: request, who)
            try principal.requireSystem(
                role,
                to: "call \(request.method.rawValue) \(request.uri.path)"
            )
            return principal
        case .scrape:
            guard let credential = credential(of: request) else {
                let principal = try await principal(of: request, who)
                try principal.requireSystem(.reader, to: "read \(request.uri.path)")
                return principal
            }
            guard let authenticator, try await authenticator.isReader(credential: credential) else {
                throw Fault(
                    .unauthenticated,
                    "cannot read \(request.uri.path): the read-only credential is unknown or was revoked; make a new one"
                )
            }
            return nil
        }
    }

    func principal(of request: Request, _ who: Who) async throws -> Principal {
        guard let authenticator, let token = request.headers[.authToken], !token.isEmpty else {
            throw Fault.noToken
        }
        let principal = try await authenticator.principal(token: Secret(token))
        who.set(principal)
        try AccessRule.check(principal, request.method.rawValue, request.uri.path)
        return principal
    }

    private func credential(of request: Request) -> Secret? {
        guard let header = request.headers[.authorization] else { return nil }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        switch parts[0].lowercased() {
        case "bearer": return Secret(String(parts[1]))
        case "basic":
            guard let pair = Data(base64Encoded: String(parts[1])),
                let text = String(validating: pair, as: UTF8.self),
                let colon = text.firstIndex(of: ":")
            else { return nil }
            return Secret(String(text[text.index(after: colon)...]))
        default: return nil
        }
    }
}

extension HTTPField.Name {
    /// Keystone's token header.
    package static let authToken = Self.known("X-Auth-Token")
    /// Carries the request's identifier in answers.
    package static let requestID = Self.known("X-Openstack-Request-Id")

    /// A header name that is a constant of ours.
    package static func known(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else {
            preconditionFailure("“\(name)” is no header name")
        }
        return name
    }
}

/// Around every route: identifier, log, audit, and faults in the dialect of the path.
struct SurfaceMiddleware: RouterMiddleware {
    let dialects: [(prefix: String, dialect: Dialect)]
    let paths: RoutePaths
    let gate: Gate
    let audit: (any AuditTrail)?
    let auditor: Auditor
    let logger: Logger
    let time: any TimeSource
    let random: any RandomSource

    func handle(
        _ request: Request,
        context: APIContext,
        next: @concurrent (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        let began = time.elapsed
        var context = context
        context.requestID = "req-\(random.identifier(RequestIdentifier.self))"
        context.time = time
        var logger = logger
        logger[metadataKey: LogKey.requestID] = .string(context.requestID)
        context.logger = logger
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            let fault = await fault(for: error, request, context)
            log(fault, logger)
            response = Dialect.of(request.uri.path, among: dialects).response(for: fault)
            if fault.kind == .methodNotAllowed {
                response.headers[.allow] = paths.methods(of: request.uri.path).joined(
                    separator: ", "
                )
            }
        }
        if Self.stumblesOverRetryAfter(request) { response.headers[.retryAfter] = nil }
        response.headers[.requestID] = context.requestID
        response.headers[.xContentTypeOptions] = "nosniff"
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        let principal = context.who.principal
        logger.info(
            "answered",
            metadata: [
                LogKey.route: "\(request.method.rawValue) \(shown(request.uri.path))",
                LogKey.status: "\(response.status.code)",
                LogKey.user: .string(principal?.userName ?? ""),
                LogKey.address: .string(context.remoteAddress),
                LogKey.durationMilliseconds:
                    "\((time.elapsed - began).wholeNanoseconds / 1_000_000)",
            ]
        )
        if let audit, Auditor.isAudited(request.method, response.status) {
            var record = auditor.record(of: request, status: response.status.code, context)
            record.sequence = context.who.recordedAt
            await audit.keep(record)
        }
        return response
    }

    /// python-ironicclient (up to 6.3 at least) makes a `TypeError` of any error with `Retry-After`.
    ///
    /// Without the header it shows the error, after having tried again by itself.
    private static func stumblesOverRetryAfter(_ request: Request) -> Bool {
        request.headers[.userAgent]?.hasPrefix("python-ironicclient") == true
    }

    private func fault(
        for error: any Error,
        _ request: Request,
        _ context: APIContext
    ) async -> Fault {
        if error is CancellationError, Task.isCancelled {
            return Fault(
                .unavailable,
                "cannot finish \(request.method.rawValue) \(shown(request.uri.path)): the controller stops; look what came of it before you send it again"
            )
        }
        guard let http = error as? any HTTPResponseError else { return Fault(error) }
        guard http.status == .notFound, context.endpointPath == "NotFound" else {
            let kind = Fault.Kind.allCases.first { $0.status == http.status } ?? .invalid
            return Fault(
                kind,
                "cannot answer \(request.method.rawValue) \(shown(request.uri.path)): \(http)"
            )
        }
        // Only those with a token learn which paths do not exist.
        if gate.authenticator != nil {
            do {
                _ = try await gate.principal(of: request, context.who)
            } catch {
                return Fault(error)
            }
        }
        let methods = paths.methods(of: request.uri.path)
        guard methods.isEmpty else {
            return Fault(
                .methodNotAllowed,
                "cannot answer \(request.method.rawValue) \(shown(request.uri.path)): it takes \(methods.joined(separator: ", "))"
            )
        }
        return Fault(
            .notFound,
            "cannot answer \(request.method.rawValue) \(shown(request.uri.path)): there is no such resource"
        )
    }

    private func log(_ fault: Fault, _ logger: Logger) {
        switch fault.kind {
        case .internalError:
            logger.error("a request failed", metadata: [LogKey.error: .string(fault.report)])
        case .unavailable, .timeout:
            logger.warning("a request failed", metadata: [LogKey.error: .string(fault.report)])
        default:
            logger.debug("refused a request", metadata: [LogKey.error: .string(fault.report)])
        }
    }

    private func shown(_ path: String) -> String { paths.printable(path) }
}

/// Which methods a path takes.
struct RoutePaths: Sendable {
    private let routes: [(parts: [Substring], method: String)]
    /// The beginnings of paths that hold a capability, up to it.
    private let secrets: [[Substring]]

    init(_ routes: [Surface.Route]) {
        self.routes = routes.map { ($0.path.split(separator: "/"), $0.method.rawValue) }
        secrets = self.routes.compactMap { route in
            route.parts.firstIndex(of: ":capability").map { Array(route.parts[...$0]) }
        }
    }

    /// Sorted; empty when there is no such path.
    ///
    /// As for the router, a name that a route spells out hides a parameter in its place.
    func methods(of path: String) -> [String] {
        let parts = path.split(separator: "/")
        let fitting = routes.filter { route in
            route.parts.count == parts.count
                && zip(route.parts, parts).allSatisfy { $0.hasPrefix(":") || $0 == $1 }
        }
        func places(_ route: (parts: [Substring], method: String)) -> [Int] {
            route.parts.map { $0.hasPrefix(":") ? 1 : 0 }
        }
        let first = fitting.map(places).min { $0.lexicographicallyPrecedes($1) }
        let found = fitting.filter { places($0) == first }.map(\.method)
        return Set(found + (found.contains("GET") ? ["HEAD"] : [])).sorted()
    }

    /// The path with `***` wherever a route takes a capability, whatever follows it.
    func masked(_ path: String) -> String {
        var parts = path.split(separator: "/")
        for beginning in secrets where parts.count >= beginning.count {
            let fits = zip(beginning, parts).allSatisfy { $0.hasPrefix(":") || $0 == $1 }
            guard fits else { continue }
            parts[beginning.count - 1] = "***"
            return parts.map { "/\($0)" }.joined()
        }
        return path
    }

    /// The path as logs and audit show it: without capabilities.
    func printable(_ path: String) -> String { Self.printable(masked(path)) }

    /// Without control characters and of bounded length: paths are foreign text (log poisoning).
    static func printable(_ text: String) -> String {
        String(
            text.unicodeScalars.prefix(256).map { scalar in
                scalar.value < 0x20 || scalar.value == 0x7f ? Character("?") : Character(scalar)
            }
        )
    }
}

private struct RequestIdentifier: Identifier {
    let text: String
    init(unchecked text: String) { self.text = text }
}
