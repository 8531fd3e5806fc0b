import Basics

/// How a Redfish service is reached, beyond host, port, user and password.
package struct RedfishAccess: Sendable, Hashable {
    /// How the BMC is told who we are.
    package enum Authentication: String, Sendable, CaseIterable {
        /// User and password with every request.
        case basic
        /// A session's token, made once.
        case session
        /// A session where the service offers it, else `basic`.
        case auto
    }

    /// Whether the BMC's certificate is checked.
    package enum Verification: Sendable, Hashable {
        /// Against the host's authorities.
        case host
        /// Against the authorities in a PEM file of the host.
        case file(String)
        /// Not at all: whoever answers gets the password.
        case off
    }

    /// Whether it speaks TLS.
    package var isSecure: Bool
    /// The service root's path, without a slash at the end: `/redfish/v1`.
    package var root: String
    /// The system's path; `nil` when the service has only one.
    package var system: String?
    package var verification: Verification
    package var authentication: Authentication

    package init(
        isSecure: Bool = true,
        root: String = "/redfish/v1",
        system: String? = nil,
        verification: Verification = .host,
        authentication: Authentication = .auto
    ) {
        self.isSecure = isSecure
        self.root = root
        self.system = system
        self.verification = verification
        self.authentication = authentication
    }
}

/// What an address of a Redfish service says.
package struct RedfishAddress: Sendable, Equatable {
    package let isSecure: Bool
    package let host: String
    package let port: UInt16
    /// Empty when it names none.
    package let path: String

    /// Reads `https://host:port/prefix`; without a scheme it is HTTPS, and a bare IPv6 address is taken.
    ///
    /// User names, queries, fragments and everything that is no address are refused: `nil`.
    package init?(_ text: String) {
        var rest = text[...]
        var isSecure = true
        if let scheme = rest.firstRange(of: "://") {
            switch rest[..<scheme.lowerBound].lowercased() {
            case "https": isSecure = true
            case "http": isSecure = false
            default: return nil
            }
            rest = rest[scheme.upperBound...]
        }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        guard let authority = Self.authority(rest[..<slash], isSecure: isSecure) else { return nil }
        var path = String(rest[slash...])
        while path.hasSuffix("/") { path.removeLast() }
        guard path.isEmpty || Self.isPath(path), !path.contains("?") else { return nil }
        self.isSecure = isSecure
        (host, port) = authority
        self.path = path
    }

    private static func authority(
        _ text: Substring,
        isSecure: Bool
    ) -> (host: String, port: UInt16)? {
        let standard: UInt16 = isSecure ? 443 : 80
        var host = text
        var port = standard
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            guard host.contains(":"),
                let given = Self.port(text[text.index(after: end)...], standard)
            else { return nil }
            port = given
        } else if text.count(where: { $0 == ":" }) == 1, let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            guard let given = Self.port(text[colon...], standard) else { return nil }
            port = given
        }
        let name = host.lowercased()
        let isLiteral = name.utf8.allSatisfy { Array("0123456789abcdef:.".utf8).contains($0) }
        guard BMC.isAddress(name), !name.contains("%"), !name.contains(":") || isLiteral else {
            return nil
        }
        return (name, port)
    }

    /// `:443`, or nothing.
    private static func port(_ text: Substring, _ standard: UInt16) -> UInt16? {
        guard let colon = text.first else { return standard }
        let digits = text.dropFirst()
        guard colon == ":", digits.count <= 5,
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(digits), port > 0
        else { return nil }
        return port
    }

    /// Bytes of a path at most.
    static let pathBytesMax = 1024

    /// Whether a text is an absolute path on the same server, and nothing that a server or proxy could
    /// read as another one: no second leading slash, no dots for segments, no white space.
    package static func isPath(_ text: String) -> Bool {
        guard text.utf8.count <= pathBytesMax, text.hasPrefix("/"), !text.hasPrefix("//") else {
            return false
        }
        let plain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: Array("/-._~%:@!$&'()*+,;=?".utf8).contains(byte)
            }
        }
        guard plain else { return false }
        let segments = text.prefix { $0 != "?" }.split(separator: "/")
        return !segments.contains { segment in
            let dots = segment.lowercased().replacing("%2e", with: ".")
            return dots == "." || dots == ".."
        }
    }
}

extension BMC {
    /// Scheme, host and port: what its user and password belong to.
    var origin: String {
        let scheme = redfish?.isSecure == false ? "http" : "https"
        return "\(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    /// The path that a link of the BMC's own answers leads to.
    ///
    /// - Throws: `RedfishTrouble`: `foreign` when it leads to another origin, `malformed` when it is no link.
    func path(of link: String) throws(RedfishTrouble) -> String {
        // A part of a document stands in the document.
        let link = link.prefix { $0 != "#" }
        if link.hasPrefix("/"), !link.hasPrefix("//") {
            guard RedfishAddress.isPath(String(link)) else {
                throw .malformed("a link of it is no path")
            }
            return String(link)
        }
        guard link.contains("://") || link.hasPrefix("//") else {
            throw .malformed("a link of it is neither a path nor an address")
        }
        let whole =
            link.hasPrefix("//")
            ? "\(redfish?.isSecure == false ? "http:" : "https:")\(link)" : String(link)
        let query = whole.firstIndex(of: "?") ?? whole.endIndex
        guard let address = RedfishAddress(String(whole[..<query])) else {
            throw .malformed("a link of it is no address")
        }
        guard address.host == host.lowercased(), address.port == port,
            address.isSecure == (redfish?.isSecure ?? true)
        else { throw .foreign(address.host) }
        let path = address.path + whole[query...]
        guard RedfishAddress.isPath(path) else { throw .malformed("a link of it is no path") }
        return path
    }
}
