import Basics

/// One kind of request that an application credential lets through.
package struct AccessRule: Sendable, Equatable {
    /// The type of the service in the catalog: `baremetal`.
    package let service: String
    /// An HTTP method.
    package let method: String
    /// The path of the request; `*` and `{name}` stand for one segment or a part of it, `**` for any number of them.
    package let path: String

    package init(service: String, method: String, path: String) {
        self.service = service
        self.method = method
        self.path = path
    }

    /// Where each service's paths begin; all others belong to `baremetal`, whose endpoint is the root.
    private static let roots: [(prefix: String, service: String)] = [
        ("/identity", "identity"), ("/image", "image"),
    ]

    /// Which service a path belongs to, and the path within that service.
    static func service(of path: String) -> (type: String, rest: Substring) {
        for root in roots where path == root.prefix || path.hasPrefix(root.prefix + "/") {
            return (root.service, path.dropFirst(root.prefix.count))
        }
        return ("baremetal", path[...])
    }

    /// Whether it lets a request through.
    ///
    /// The path may be written as the server sees it (`/image/v2/images`) or below the service's endpoint
    /// (`/v2/images`), as services elsewhere have it.
    package func admits(_ method: String, _ path: String) -> Bool {
        let (type, rest) = Self.service(of: path)
        guard type == service, method == self.method else { return false }
        return Self.matches(path[...], self.path[...]) || Self.matches(rest, self.path[...])
    }

    /// Lets a principal pass whose application credential does not limit it, or has a rule for the request.
    /// - Throws: `Fault` of kind `forbidden`.
    static func check(_ principal: Principal, _ method: String, _ path: String) throws {
        guard let rules = principal.delegation?.rules else { return }
        // The router does not count empty segments, so neither may the rules.
        let path = "/" + path.split(separator: "/").joined(separator: "/")
        // A service must be able to check the token, whatever it is for.
        if method == "GET", path.hasSuffix("/v3/auth/tokens") { return }
        // A HEAD is answered by the route for GET.
        let method = method == "HEAD" ? "GET" : method
        guard rules.contains(where: { $0.admits(method, path) }) else {
            throw Fault(
                .forbidden,
                "cannot call \(method) \(path): no access rule of the application credential allows it"
            )
        }
    }

    /// Whether a path fits a pattern; takes at most their lengths' product of steps.
    private static func matches(_ path: Substring, _ pattern: Substring) -> Bool {
        let (text, tokens) = (Array(path.utf8), tokens(of: pattern))
        // ends[i]: the pattern so far fits the first i bytes.
        var ends = [Bool](repeating: false, count: text.count + 1)
        ends[0] = true
        for token in tokens {
            var next = [Bool](repeating: false, count: text.count + 1)
            switch token {
            case .byte(let byte):
                for index in text.indices where ends[index] && text[index] == byte {
                    next[index + 1] = true
                }
            case .segment:
                for index in text.indices where text[index] != UInt8(ascii: "/") {
                    next[index + 1] = ends[index] || next[index]
                }
            case .anything:
                var reached = false
                for index in ends.indices {
                    reached = reached || ends[index]
                    next[index] = reached
                }
            }
            ends = next
        }
        return ends[text.count]
    }

    private enum Token {
        case byte(UInt8), segment, anything
    }

    private static func tokens(of pattern: Substring) -> [Token] {
        var tokens: [Token] = []
        var rest = Array(pattern.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "*") where rest.first == UInt8(ascii: "*"):
                rest.removeFirst()
                tokens.append(.anything)
            case UInt8(ascii: "*"): tokens.append(.segment)
            case UInt8(ascii: "{"):
                guard let close = rest.firstIndex(of: UInt8(ascii: "}")) else {
                    tokens.append(.byte(byte))
                    continue
                }
                rest = rest[(close + 1)...]
                tokens.append(.segment)
            default: tokens.append(.byte(byte))
            }
        }
        return tokens
    }
}
