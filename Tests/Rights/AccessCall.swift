/// One call of a table of who may what.
///
/// `{node}` and the like in path and body stand for objects that the test lays out. What it takes is
/// written down a second time, so that the code is compared with something.
package struct AccessCall<Need: Sendable>: Sendable, CustomStringConvertible {
    /// `GET` and so on.
    package let method: String
    /// Below the root of the table's area, with its query.
    package let path: String
    package let need: Need
    /// JSON.
    package let body: String?
    /// What a 404 says to those who may ask, when there is nothing to be shown or changed.
    package let missing: String?

    /// Makes a call.
    package init(
        _ method: String,
        _ path: String,
        _ need: Need,
        _ body: String? = nil,
        missing: String? = nil
    ) {
        self.method = method
        self.path = path
        self.need = need
        self.body = body
        self.missing = missing
    }

    package var description: String { "\(method) \(path)" }

    /// As `routeName` writes it, below `root`.
    package func route(below root: String = "") -> String {
        routeName(
            method,
            root + "/" + path.split(separator: "?", omittingEmptySubsequences: false)[0]
        )
    }

    /// Its path with the objects' names in it.
    package func path(with names: [String: String]) -> String { Self.fill(path, names) }

    /// Its body likewise.
    package func body(with names: [String: String]) -> String? {
        body.map { Self.fill($0, names) }
    }

    private static func fill(_ text: String, _ names: [String: String]) -> String {
        names.reduce(text) { text, name in text.replacing("{\(name.key)}", with: name.value) }
    }
}

/// Method and path of a route without the names of its parameters, however they are written: `GET /v1/nodes/:`.
package func routeName(_ method: String, _ path: String) -> String {
    let parts = path.split(separator: "/").map { part in
        part.hasPrefix(":") || part.contains("{") ? ":" : String(part)
    }
    return "\(method) /\(parts.joined(separator: "/"))"
}
