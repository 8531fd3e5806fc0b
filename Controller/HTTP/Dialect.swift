package import Basics
package import HTTPTypes
package import Hummingbird

/// How a service words its errors; clients of each OpenStack service expect their own form.
package enum Dialect: Sendable {
    /// Bare Metal: `error_message` holds a JSON text, as its middleware has always sent it.
    case ironic
    /// Identity.
    case keystone
    /// Image.
    case glance
    /// Our own routes.
    case plain

    /// The dialect of a path: that of the longest prefix, the first of `entries` that fits.
    static func of(_ path: String, among entries: [(prefix: String, dialect: Dialect)]) -> Dialect {
        let match = entries.first { entry in
            path == entry.prefix || entry.prefix.isEmpty || path.hasPrefix(entry.prefix + "/")
        }
        return match?.dialect ?? .plain
    }

    /// The fault in this dialect.
    ///
    /// `detail` and `cause` stay out of it.
    package func response(for fault: Fault) -> Response {
        let status = fault.kind.status
        let body: JSONValue =
            switch self {
            case .ironic:
                [
                    "error_message": .string(
                        JSONValue.object([
                            "faultcode": status.code < 500 ? "Client" : "Server",
                            "faultstring": .string(fault.message),
                            "debuginfo": .null,
                        ]).canonicalText
                    )
                ]
            case .keystone:
                [
                    "error": [
                        "code": .integer(Int64(status.code)),
                        "message": .string(fault.message),
                        "title": .string(status.reasonPhrase),
                    ]
                ]
            case .glance:
                [
                    "code": .string("\(status.code) \(status.reasonPhrase)"),
                    "message": .string(fault.message),
                    "title": .string(status.reasonPhrase),
                ]
            case .plain:
                [
                    "error": [
                        "code": .integer(Int64(status.code)),
                        "kind": .string(fault.kind.rawValue),
                        "message": .string(fault.message),
                    ]
                ]
            }
        var response = Response.json(body, status: status)
        if fault.kind == .unauthenticated {
            response.headers[.wwwAuthenticate] = "Keystone uri=\"/identity/v3\""
        }
        // What does not work just now may work soon.
        if fault.kind == .unavailable { response.headers[.retryAfter] = "30" }
        return response
    }
}

extension Fault.Kind {
    /// The one HTTP code of this kind.
    package var status: HTTPResponse.Status {
        switch self {
        case .invalid: .badRequest
        case .unauthenticated: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .notAcceptable: .notAcceptable
        case .methodNotAllowed: .methodNotAllowed
        case .conflict: .conflict
        case .tooLarge: .contentTooLarge
        case .unsupportedType: .unsupportedMediaType
        case .tooMany: .tooManyRequests
        case .notSupported: .notImplemented
        case .unavailable: .serviceUnavailable
        case .timeout: .gatewayTimeout
        case .internalError: .internalServerError
        }
    }
}

extension MalformedJSON: FaultConvertible {
    /// As a refusal of the request.
    package var fault: Fault {
        Fault(.invalid, "cannot read the JSON at byte \(offset): \(reason); correct the request")
    }
}

extension Fault {
    /// A request whose JSON is well formed but has another shape than the route takes.
    init(_ error: DecodingError) {
        func path(_ context: DecodingError.Context) -> String {
            let names = context.codingPath.map { key in
                key.intValue.map { "[\($0)]" } ?? key.stringValue
            }
            return names.isEmpty ? "the body" : "“\(names.joined(separator: "."))”"
        }
        switch error {
        case .keyNotFound(let key, let context):
            self.init(
                .invalid,
                "cannot read the request: \(path(context)) has no “\(key.stringValue)”; add it"
            )
        case .valueNotFound(_, let context):
            self.init(.invalid, "cannot read the request: \(path(context)) is null; give a value")
        case .typeMismatch(_, let context):
            self.init(
                .invalid,
                "cannot read the request: \(path(context)) has the wrong type",
                detail: context.debugDescription
            )
        case .dataCorrupted(let context):
            self.init(
                .invalid,
                "cannot read the request: \(path(context)) is wrong: \(context.debugDescription)"
            )
        @unknown default:
            self.init(.invalid, "cannot read the request: it has the wrong shape", cause: error)
        }
    }
}
