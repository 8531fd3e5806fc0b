import Basics
import HTTP
package import HTTPTypes
import Hummingbird

/// The version of the Bare Metal API that a request speaks: `1.minor`.
package struct Microversion: Sendable, Comparable {
    package let minor: Int

    package init(minor: Int) { self.minor = minor }

    package static let minimum = Microversion(minor: 1)
    /// The newest whose shapes this server honours on its routes.
    package static let maximum = Microversion(minor: 115)

    package var text: String { "1.\(minor)" }

    package static func < (left: Microversion, right: Microversion) -> Bool {
        left.minor < right.minor
    }

    /// Reads the request's header, Ironic's own or OpenStack's common one; without either it is 1.1.
    /// - Throws: `Fault`: `invalid` when it is malformed, `notAcceptable` when it is not spoken.
    init(of request: Request) throws {
        var text = request.headers[.ironicVersion]
        if let common = request.headers[.openStackVersion] {
            let words = common.split(separator: " ")
            if words.count == 2, words[0] == "baremetal" { text = String(words[1]) }
        }
        guard let text else {
            self = .minimum
            return
        }
        guard text.lowercased() != "latest" else {
            self = .maximum
            return
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = Int(parts[0]), let minor = Int(parts[1]), minor >= 0
        else {
            throw Fault(
                .invalid,
                "cannot read the API version “\(text.prefix(20))”: it must be like 1.115"
            )
        }
        guard major == 1, minor >= Self.minimum.minor, minor <= Self.maximum.minor else {
            throw Fault(
                .notAcceptable,
                "cannot speak API version \(major).\(minor): versions \(Self.minimum.text) to \(Self.maximum.text) are supported"
            )
        }
        self.minor = minor
    }

    /// The headers that tell clients what is spoken.
    package var headers: HTTPFields {
        [
            .ironicVersionMinimum: Self.minimum.text,
            .ironicVersionMaximum: Self.maximum.text,
            .ironicVersion: text,
        ]
    }
}

extension HTTPField.Name {
    static let ironicVersion = Self.known("X-OpenStack-Ironic-API-Version")
    static let ironicVersionMinimum = Self.known("X-OpenStack-Ironic-API-Minimum-Version")
    static let ironicVersionMaximum = Self.known("X-OpenStack-Ironic-API-Maximum-Version")
    static let openStackVersion = Self.known("OpenStack-API-Version")
}

/// One request of the Bare Metal API.
struct BaremetalCall: Sendable {
    let request: Request
    let context: APIContext
    let version: Microversion
    let principal: Principal

    /// A parameter of the path.
    func parameter(_ name: String) throws -> String { try context.parameter(name) }

    /// - Throws: `Fault` of kind `notFound` when the request's version has no such route yet.
    func require(minor: Int) throws {
        guard version.minor >= minor else {
            throw Fault(
                .notFound,
                "cannot answer \(request.uri.path) in API version \(version.text): it exists since 1.\(minor)"
            )
        }
    }

    /// The body, which must be a JSON object.
    func object() async throws -> [String: JSONValue] {
        let body = try await request.json(context)
        guard let members = body.members else {
            throw Fault(.invalid, "cannot read the request: its body must be a JSON object")
        }
        return members
    }
}

/// Who may call a route of the Bare Metal API at all; what belongs to a node is `NodeAccess.Rule`'s to say.
struct BaremetalAccess: Sendable {
    let access: Access

    static let reader = BaremetalAccess(access: .role(.reader))
    static let member = BaremetalAccess(access: .role(.member))
    static let systemReader = BaremetalAccess(access: .installation(.reader))
    static let systemAdmin = BaremetalAccess(access: .installation(.admin))
}

extension Routes {
    /// Adds a route of the Bare Metal API: the version is negotiated, and every answer tells it, errors too.
    func ironic(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ access: BaremetalAccess,
        _ operation: Operation,
        use handler: @escaping @Sendable (BaremetalCall) async throws -> Response
    ) {
        let known = operation.queryNames
        on(method, path, access.access, operation.versioned) { request, context in
            var version = Microversion.minimum
            var response: Response
            do {
                version = try Microversion(of: request)
                try request.requireQuery(of: known)
                response = try await handler(
                    BaremetalCall(
                        request: request,
                        context: context,
                        version: version,
                        principal: try context.requirePrincipal()
                    )
                )
            } catch {
                let fault = Fault(error)
                guard fault.kind != .internalError else { throw error }
                response = Dialect.ironic.response(for: fault)
            }
            for field in version.headers { response.headers[field.name] = field.value }
            return response
        }
    }
}

extension Request {
    /// A misspelt filter must not be one that lets everything through; Ironic refuses it too.
    fileprivate func requireQuery(of known: Set<String>) throws {
        let unknown = queryNames.subtracting(known).sorted()
        guard !unknown.isEmpty else { return }
        let names = unknown.prefix(8).map { "“\($0.prefix(40))”" }.joined(separator: ", ")
        let advice =
            known.isEmpty
            ? "takes no parameters" : "knows \(known.sorted().joined(separator: ", "))"
        throw Fault(.invalid, "cannot answer \(uri.path) with \(names): it \(advice)")
    }
}

extension Operation {
    /// With what every route of the Bare Metal API has: the version, and refusals of older ones.
    var versioned: Operation {
        adding(
            [
                .init(
                    "X-OpenStack-Ironic-API-Version",
                    .text(pattern: "^(1\\.[0-9]{1,3}|latest)$"),
                    "\(Microversion.minimum.text) to \(Microversion.maximum.text), or latest.",
                    in: .header
                )
            ],
            refusals: [.notFound, .notAcceptable]
        )
    }
}
