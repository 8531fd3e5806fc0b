package import Basics
package import Deployment
import FoundationEssentials
package import HTTP
import HTTPTypes
import Hummingbird
import NIOCore
import Protocol
import ServiceLifecycle
package import Store
package import Telemetry

/// The dashboard's pages: server-rendered, behind a login, live by server-sent events.
package struct DashboardAPI: RouteArea {
    private let pages: DashboardPages
    private let sessions: DashboardSessions
    private let signIn: any DashboardSignIn
    private let source: DashboardSource
    private let time: any TimeSource
    private let stylesheet: [UInt8]

    /// At most one new rendering in this time.
    package static let period: Duration = .seconds(2)
    private static let cookieName = "rdo-session"

    /// Takes its parts; `bootstrap` are the bytes of Bootstrap's style sheet (Debian's libjs-bootstrap5).
    package init(
        pages: DashboardPages,
        sessions: DashboardSessions,
        signIn: any DashboardSignIn,
        source: DashboardSource,
        bootstrap: [UInt8],
        time: any TimeSource
    ) {
        self.pages = pages
        self.sessions = sessions
        self.signIn = signIn
        self.source = source
        stylesheet = bootstrap
        self.time = time
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/dashboard", dialect: .plain)
        // Whoever is not signed in sees the sign-in page.
        routes.get("", .open, .showDashboard) { request, _ in
            guard let session = session(of: request) else { return page(pages.signIn(error: nil)) }
            return page(pages.nodes(try await source.view(), session: session))
        }
        routes.post("/sign-in", .open, .signIn) { request, context in
            try await signIn(request, context)
        }
        routes.post("/sign-out", .handler(.session), .signOut) { request, context in
            try await signOut(request, context)
        }
        routes.get("/live", .handler(.session), .followDashboard) { request, _ in
            guard session(of: request) != nil else {
                throw Fault(.unauthenticated, "cannot show live data: sign in at the dashboard")
            }
            return live(cookie: cookie(of: request))
        }
        for (path, type, bytes) in [
            ("/bootstrap.css", "text/css", stylesheet),
            ("/style.css", "text/css", PackageResources.style_css),
            ("/live.js", "text/javascript", PackageResources.live_js),
        ] {
            routes.get(
                path,
                .open,
                Operation("Fetch a part of the page", answers: .text("\(type); charset=utf-8"))
            ) { _, _ in
                Response(
                    status: .ok,
                    headers: [
                        .contentType: "\(type); charset=utf-8",
                        .cacheControl: "public, max-age=3600",
                    ],
                    body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
                )
            }
        }
    }

    // MARK: - Signing in and out

    private func signIn(_ request: Request, _ context: APIContext) async throws -> Response {
        let form = formFields(try await request.bytes(context, max: 4096))
        do {
            let principal = try await signIn.signIn(
                user: form["user"] ?? "",
                password: Secret(form["password"] ?? ""),
                address: context.remoteAddress
            )
            guard principal.has(.reader) else {
                return page(pages.signIn(error: "This user has no role here."), .forbidden)
            }
            return redirect(cookie: "\(Self.cookieName)=\(sessions.begin(principal))")
        } catch let fault as Fault where fault.kind == .unauthenticated || fault.kind == .tooMany {
            return page(pages.signIn(error: fault.message), .unauthorized)
        }
    }

    private func signOut(_ request: Request, _ context: APIContext) async throws -> Response {
        let form = formFields(try await request.bytes(context, max: 4096))
        guard let session = session(of: request), let token = form["csrf"],
            Secret(token) == Secret(session.csrf)
        else {
            throw Fault(.forbidden, "cannot sign out: the form is not from this session")
        }
        sessions.end(cookie(of: request))
        return redirect(cookie: "\(Self.cookieName)=; Max-Age=0")
    }

    private func session(of request: Request) -> DashboardSessions.Session? {
        sessions.session(cookie(of: request))
    }

    private func cookie(of request: Request) -> String {
        for part in (request.headers[.cookie] ?? "").split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1)
            if pair.count == 2, pair[0].drop(while: { $0 == " " }) == Self.cookieName {
                return String(pair[1])
            }
        }
        return ""
    }

    private func redirect(cookie: String) -> Response {
        Response(
            status: .seeOther,
            headers: [
                .location: "/dashboard",
                .setCookie: "\(cookie); Path=/dashboard; HttpOnly; Secure; SameSite=Strict",
            ]
        )
    }

    // MARK: - Pages

    private func page(_ text: String, _ status: HTTPResponse.Status = .ok) -> Response {
        var response = Response.text(text, type: "text/html; charset=utf-8", status: status)
        response.headers[.cacheControl] = "no-store"
        response.headers[.contentSecurityPolicy] =
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
            + "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        response.headers[.xContentTypeOptions] = "nosniff"
        return response
    }

    /// Sends the page's changing part whenever it differs, as long as the session lives.
    private func live(cookie: String) -> Response {
        let body = ResponseBody { writer in
            var last = ""
            while sessions.session(cookie) != nil, !Task.isShuttingDownGracefully {
                let text = pages.live(try await source.view())
                if text != last {
                    let json = String(decoding: try JSONEncoder().encode(text), as: UTF8.self)
                    try await writer.write(ByteBuffer(string: "event: page\ndata: \(json)\n\n"))
                    last = text
                } else {
                    try await writer.write(ByteBuffer(string: ": still here\n\n"))
                }
                try await time.sleep(for: Self.period)
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: body
        )
    }
}

/// Collects what the page shows.
package struct DashboardSource: Sendable {
    private let nodes: any NodeOverviews
    private let telemetry: TelemetryService
    private let deployments: DeploymentsService
    private let database: Database
    private let time: any TimeSource

    /// Runs and events shown.
    package static let rowsMax = 12

    package init(
        nodes: any NodeOverviews,
        telemetry: TelemetryService,
        deployments: DeploymentsService,
        database: Database,
        time: any TimeSource
    ) {
        self.nodes = nodes
        self.telemetry = telemetry
        self.deployments = deployments
        self.database = database
        self.time = time
    }

    func view() async throws -> DashboardView {
        let nodes = try await nodes.overviews()
        var figures: [NodeID: DashboardView.Figures] = [:]
        for node in nodes {
            let total = telemetry.board.value(of: "memory_total_bytes", on: node.id)
            let free = telemetry.board.value(of: "memory_available_bytes", on: node.id)
            figures[node.id] = DashboardView.Figures(
                load: telemetry.board.value(of: "load1", on: node.id),
                cpuBusyRatio: telemetry.board.value(of: "cpu_busy_ratio", on: node.id),
                memoryFreeRatio: total.flatMap { total in free.map { total > 0 ? $0 / total : 0 } }
            )
        }
        let events = try await database.read { try $0.latestChanges(limit: Self.rowsMax) }
        let runs = try await deployments.deployments().prefix(Self.rowsMax)
        return DashboardView(
            now: time.now,
            nodes: nodes,
            figures: figures,
            deployments: Array(runs),
            events: events
        )
    }
}

/// Reads `application/x-www-form-urlencoded` (WHATWG URL, 5.1).
func formFields(_ bytes: [UInt8]) -> [String: String] {
    var fields: [String: String] = [:]
    for pair in String(decoding: bytes, as: UTF8.self).split(separator: "&").prefix(32) {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let decoded = parts.map { part in
            String(part.map { $0 == "+" ? " " : $0 }).removingURLPercentEncoding() ?? ""
        }
        if decoded.count == 2 { fields[decoded[0]] = decoded[1] }
    }
    return fields
}

extension Operation {
    private static let page = Answer.text("text/html; charset=utf-8")

    fileprivate static let showDashboard = Operation(
        "Show the dashboard, or its sign-in page",
        answers: page
    )
    fileprivate static let signIn = Operation(
        "Sign in to the dashboard",
        takes: .bytes(
            "application/x-www-form-urlencoded",
            .object(["user": .text, "password": .text], required: ["user", "password"])
        ),
        answers: .empty(.seeOther),
        .text("text/html; charset=utf-8", .unauthorized),
        .text("text/html; charset=utf-8", .forbidden)
    )
    fileprivate static let signOut = Operation(
        "Sign out of the dashboard",
        takes: .bytes(
            "application/x-www-form-urlencoded",
            .object(["csrf": .text], required: ["csrf"])
        ),
        answers: .empty(.seeOther)
    )
    fileprivate static let followDashboard = Operation(
        "Follow the dashboard's changing part",
        answers: .text("text/event-stream")
    )
}
