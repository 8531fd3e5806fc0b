package import Basics
package import HTTPTypes
package import Hummingbird
package import Logging

/// Who may call a route.
///
/// There is no default: every route says it.
package enum Access: Sendable {
    /// Anybody: version discovery, the token request, boot files. Nothing else.
    case open
    /// Anybody with a valid token, also one without a scope.
    case token
    /// A token for a project or the system whose role is this or a stronger one; never one for a domain.
    case role(Role)
    /// A token for the whole installation whose role is this or a stronger one.
    case installation(Role)
    /// A token for the whole installation with the role `reader`, or a read-only credential (`Authorization: Bearer` or `Basic`).
    case scrape
    /// The handler itself proves who asks, by this.
    case handler(Credential)

    /// What a handler looks at that proves by itself who asks.
    package enum Credential: String, Sendable {
        /// A node's, for one image.
        case capability
        /// The dashboard's cookie.
        case session
        /// An agent's own proof.
        case agent
    }
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
        let operation: Operation
        let handler: Handler
    }

    private var routes: [Route] = []
    private var dialects: [(prefix: String, dialect: Dialect)] = []
    private let gate: Gate
    private let logger: Logger
    private let time: any TimeSource
    private let random: any RandomSource
    private let audit: (any AuditTrail)?
    private var document: (path: String, document: APIDocument)?

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

    /// Every route that was added: its method and path, for documents and for tests that cover them all.
    package var table: [(method: String, path: String)] {
        routes.map { ($0.method.rawValue, $0.path) }
    }

    /// Answers the OpenAPI document of every route to whoever has a token, also of those added later.
    package func addDocument(at path: String, title: String, version: String, publicURL: String) {
        document = (path, APIDocument(title: title, version: version, server: publicURL))
        dialects.append((path, .plain))
        add(
            Route(
                method: .get,
                path: path,
                access: .token,
                operation: Operation("Show this document", answers: .ok(.document)),
                handler: { _, _ in
                    preconditionFailure("the document's route is filled in by makeRouter")
                }
            )
        )
    }

    /// The OpenAPI document of everything that was added; `nil` when none was asked for.
    package func makeDocument() -> JSONValue? {
        let dialects = sortedDialects
        return document?.document.json(of: routes) { Dialect.of($0, among: dialects) }
    }

    private var sortedDialects: [(prefix: String, dialect: Dialect)] {
        dialects.sorted { $0.prefix.utf8.count > $1.prefix.utf8.count }
    }

    /// The router of everything that was added.
    package func makeRouter() -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: [.autoGenerateHeadEndpoints])
        let paths = RoutePaths(routes)
        let auditor = Auditor(paths: paths, time: time)
        router.add(
            middleware: SurfaceMiddleware(
                dialects: sortedDialects,
                paths: paths,
                gate: gate,
                audit: audit,
                auditor: auditor,
                logger: logger,
                time: time,
                random: random
            )
        )
        let text = makeDocument()?.canonicalBytes ?? []
        let (gate, audit) = (gate, audit)
        for route in routes {
            let isDocument = route.path == document?.path
            router.on(RouterPath(route.path), method: route.method) { request, context in
                var context = context
                context.principal = try await gate.admit(
                    request,
                    to: route.access,
                    who: context.who
                )
                if isDocument { return Response.json(bytes: text) }
                // Strangers' calls are kept when they are answered, and counted then (`RefusalFlood`).
                guard let audit, context.principal != nil, Auditor.mayChange(request.method) else {
                    return try await route.handler(request, context)
                }
                let call = AuditedCall { [context] in
                    auditor.record(of: request, status: 0, context)
                }
                defer { context.who.set(recordedAt: call.sequence) }
                return try await audit.accompany(call) { try await route.handler(request, context) }
            }
        }
        return router
    }
}

/// The routes of one area under its prefix.
package struct Routes {
    let surface: Surface
    let prefix: String

    /// Adds a route; the path is in Hummingbird's notation: `/v2/images/:id`.
    ///
    /// `operation` tells the document at `/openapi.json` what it takes and answers.
    package func on(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ access: Access,
        _ operation: Operation,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) {
        surface.add(
            Surface.Route(
                method: method,
                path: prefix + path,
                access: access,
                operation: operation,
                handler: handler
            )
        )
    }

    /// Adds a route for GET (and with it HEAD).
    package func get(
        _ path: String,
        _ access: Access,
        _ operation: Operation,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.get, path, access, operation, use: handler) }

    /// Adds a route for POST.
    package func post(
        _ path: String,
        _ access: Access,
        _ operation: Operation,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.post, path, access, operation, use: handler) }

    /// Adds a route for PUT.
    package func put(
        _ path: String,
        _ access: Access,
        _ operation: Operation,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.put, path, access, operation, use: handler) }

    /// Adds a route for PATCH.
    package func patch(
        _ path: String,
        _ access: Access,
        _ operation: Operation,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.patch, path, access, operation, use: handler) }

    /// Adds a route for DELETE.
    package func delete(
        _ path: String,
        _ access: Access,
        _ operation: Operation,
        use handler: @escaping @Sendable (Request, APIContext) async throws -> Response
    ) { on(.delete, path, access, operation, use: handler) }
}
