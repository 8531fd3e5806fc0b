package import Basics
package import HTTPTypes
package import Hummingbird
package import Logging
package import Protocol

/// Who may call a route.
///
/// There is no default: every route says it.
package enum Access: Sendable {
    /// Anybody: version discovery, the token request, boot files. Nothing else.
    case open
    /// Anybody with a valid token, also one without a scope.
    case token
    /// A token whose role is this or a stronger one.
    case role(Role)
    /// A token with the role `reader`, or a read-only credential (`Authorization: Bearer` or `Basic`).
    case scrape
    /// The handler itself proves who asks: a node's capability, the dashboard's cookie.
    case handler
}

/// A mutating call, for the audit trail.
package struct AuditRecord: Sendable {
    package let time: Timestamp
    package let requestID: String
    /// Empty when nobody had signed in.
    package let userID: String
    package let userName: String
    package let address: String
    package let method: String
    package let path: String
    package let status: Int

    package init(
        time: Timestamp,
        requestID: String,
        userID: String,
        userName: String,
        address: String,
        method: String,
        path: String,
        status: Int
    ) {
        self.time = time
        self.requestID = requestID
        self.userID = userID
        self.userName = userName
        self.address = address
        self.method = method
        self.path = path
        self.status = status
    }
}

/// Keeps audit records.
///
/// Identity implements it.
package protocol AuditTrail: Sendable {
    /// Stores the record, or logs why it cannot.
    func keep(_ record: AuditRecord) async
}

/// An area's part of the HTTP surface.
package protocol RouteArea: Sendable {
    /// Adds the area's routes.
    func addRoutes(to surface: Surface)
}

/// All routes of one listener.
///
/// Areas add theirs at start; then `makeRouter` closes the list.
///
/// Default deny: each route states its `Access`, and a path without a route answers 401 to whoever has no
/// token, so that strangers cannot even learn what exists.
package final class Surface {
    typealias Handler = @Sendable (Request, APIContext) async throws -> Response

    struct Route {
        let method: HTTPRequest.Method
        let path: String
        let access: Access
        let handler: Handler
    }

    private var routes: [Route] = []
    private var dialects: [(prefix: String, dialect: Dialect)] = []
    private let gate: Gate
    private let logger: Logger
    private let time: any TimeSource
    private let random: any RandomSource
    private let audit: (any AuditTrail)?

    /// Makes an empty surface; without an `authenticator` for a listener whose routes are all open.
    package init(
        authenticator: (any RequestAuthenticator)?,
        audit: (any AuditTrail)? = nil,
        logger: Logger,
        time: any TimeSource,
        random: any RandomSource
    ) {
        gate = Gate(authenticator: authenticator)
        self.audit = audit
        self.logger = logger
        self.time = time
        self.random = random
    }

    /// Begins an area's routes.
    ///
    /// `prefix` begins each of their paths (`/image`; empty for the root), `dialect` words their errors.
    package func area(_ prefix: String, dialect: Dialect) -> Routes {
        dialects.append((prefix, dialect))
        return Routes(surface: self, prefix: prefix)
    }

    func add(_ route: Route) { routes.append(route) }

    /// The router of everything that was added.
    package func makeRouter() -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: [.autoGenerateHeadEndpoints])
        router.add(
            middleware: SurfaceMiddleware(
                dialects: dialects.sorted { $0.prefix.utf8.count > $1.prefix.utf8.count },
                gate: gate,
                audit: audit,
                logger: logger,
                time: time,
                random: random
            )
        )
        for route in routes {
            let gate = gate
            router.on(RouterPath(route.path), method: route.method) { request, context in
                var context = context
                context.principal = try await gate.admit(request, to: route.access)
                if let principal = context.principal { context.who.set(principal) }
                return try await route.handler(request, context)
            }
        }
        return router
    }
}

/// The routes of one area under its prefix.
package struct Routes {
    let surface: Surface
    let prefix: String

    /// Adds a route; the path is in Hummingbird's notation: `/v2/images/:id`, `/**`.
    package func on(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ access: Access,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) {
        surface.add(
            Surface.Route(method: method, path: prefix + path, access: access, handler: handler)
        )
    }

    /// Adds a route for GET (and with it HEAD).
    package func get(
        _ path: String,
        _ access: Access,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.get, path, access, use: handler) }

    /// Adds a route for POST.
    package func post(
        _ path: String,
        _ access: Access,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.post, path, access, use: handler) }

    /// Adds a route for PUT.
    package func put(
        _ path: String,
        _ access: Access,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.put, path, access, use: handler) }

    /// Adds a route for PATCH.
    package func patch(
        _ path: String,
        _ access: Access,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.patch, path, access, use: handler) }

    /// Adds a route for DELETE.
    package func delete(
        _ path: String,
        _ access: Access,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.delete, path, access, use: handler) }
}
