import Basics
import HTTP
import Hummingbird

/// The members of a request such as `{"user": {…}}`, read one by one.
struct RequestMembers: Sendable {
    /// Members that the API does not name, at most, and the bytes of each.
    static let extraMax = 64
    static let extraBytesMax = 4096

    let kind: String
    private let members: [String: JSONValue]

    /// - Throws: `Fault` of kind `invalid` when the body has another shape.
    init(_ body: JSONValue, _ kind: String) throws {
        guard let members = body[kind]?.members else {
            throw Fault(.invalid, "cannot read the request: it must hold an object “\(kind)”")
        }
        self.kind = kind
        self.members = members
    }

    private func wrong(_ name: String, _ what: String) -> Fault {
        Fault(.invalid, "cannot read the request: \(kind).\(name) must be \(what)")
    }

    /// `nil` when it is missing or null.
    func text(_ name: String, max: Int = 1024) throws -> String? {
        guard let value = members[name], value != .null else { return nil }
        guard let text = value.text, text.count <= max else {
            throw wrong(name, "a text of at most \(max) characters")
        }
        return text
    }

    /// As `text`; null is the empty text, which takes the member away.
    func clearableText(_ name: String) throws -> String? {
        members[name] == .null ? "" : try text(name)
    }

    func bool(_ name: String) throws -> Bool? {
        guard let value = members[name], value != .null else { return nil }
        guard let bool = value.bool else { throw wrong(name, "true or false") }
        return bool
    }

    func object(_ name: String) throws -> [String: JSONValue] {
        guard let value = members[name], value != .null else { return [:] }
        guard let object = value.members, value.canonicalText.utf8.count <= Self.extraBytesMax
        else { throw wrong(name, "an object of at most \(Self.extraBytesMax) bytes") }
        return object
    }

    func elements(_ name: String) throws -> [JSONValue]? {
        guard let value = members[name], value != .null else { return nil }
        guard let elements = value.elements else { throw wrong(name, "a list") }
        return elements
    }

    func texts(_ name: String) throws -> [String]? {
        try elements(name)?.map { element in
            guard let text = element.text else { throw wrong(name, "a list of texts") }
            return text
        }
    }

    /// What the API does not name: kept as it came, as Keystone does.
    func extra(besides known: Set<String>) throws -> [String: JSONValue] {
        let extra = members.filter { !known.contains($0.key) && $0.key != "links" }
        let isBounded = extra.allSatisfy { name, value in
            name.utf8.count <= 255 && value.canonicalText.utf8.count <= Self.extraBytesMax
        }
        guard extra.count <= Self.extraMax, isBounded else {
            throw Fault(
                .invalid,
                "cannot read the request: \(kind) has too many members, or one that is too long"
            )
        }
        return extra
    }
}

extension DirectoryEdit {
    /// Members that Keystone's API names, in any kind of object, and those that only we write.
    private static let known: Set<String> = [
        "id", "name", "domain_id", "enabled", "description", "options", "password",
        "default_project_id", "parent_id", "tags", "is_domain", "password_expires_at",
        "original_password",
    ]

    /// Reads a change of a user, group, project, domain or role.
    init(_ body: JSONValue, _ kind: DirectoryKind) throws {
        let members = try RequestMembers(body, kind.rawValue)
        name = try members.text("name")
        domainID = try members.text("domain_id")
        isEnabled = try members.bool("enabled")
        description = try members.clearableText("description")
        options = try members.object("options")
        extra = try members.extra(besides: Self.known)
        switch kind {
        case .user:
            password = try members.clearableText("password").map { Secret($0) }
            defaultProjectID = try members.clearableText("default_project_id")
            guard options["multi_factor_auth_enabled"] != true else {
                throw Fault(
                    .invalid,
                    "cannot turn on multi_factor_auth_enabled: only one factor is offered here"
                )
            }
        case .project:
            parentID = try members.text("parent_id")
            tags = try members.texts("tags")
            guard try members.bool("is_domain") != true else {
                throw Fault(
                    .invalid,
                    "cannot create a project that is a domain; create a domain instead"
                )
            }
        case .domain, .group, .role: break
        }
    }
}

extension CatalogEdit {
    private static let known: Set<String> = [
        "id", "type", "name", "description", "enabled", "parent_region_id", "service_id",
        "region_id", "region", "interface", "url",
    ]

    /// Reads a change of a region, service or endpoint.
    init(_ body: JSONValue, _ kind: String) throws {
        let members = try RequestMembers(body, kind)
        id = try members.text("id", max: 255)
        type = try members.text("type", max: 255)
        guard type?.isEmpty != true else {
            throw Fault(.invalid, "cannot use an empty type for a \(kind): name what it offers")
        }
        name = try members.clearableText("name")
        description = try members.clearableText("description")
        isEnabled = try members.bool("enabled")
        parentID = try members.clearableText("parent_region_id")
        serviceID = try members.text("service_id")
        regionID = try members.clearableText("region_id") ?? members.clearableText("region")
        url = try members.text("url", max: 2048)
        extra = try members.extra(besides: Self.known)
        if let text = try members.text("interface") {
            guard let interface = EndpointInterface(rawValue: text) else {
                throw Fault(.invalid, "cannot use the interface: it is public, internal or admin")
            }
            self.interface = interface
        }
    }
}

extension DirectoryFilter {
    /// Reads a list's query.
    init(_ request: Request) throws {
        name = request.query("name")
        domainID = request.query("domain_id")
        isEnabled = Self.bool(request, "enabled")
        parentID = request.query("parent_id")
        func tags(_ name: String) -> [String] {
            request.query(name)?.split(separator: ",").prefix(80).map(String.init) ?? []
        }
        self.tags = Tags(
            all: tags("tags"),
            any: tags("tags-any"),
            notAll: tags("not-tags"),
            notAny: tags("not-tags-any")
        )
        after = request.query("marker") ?? ""
        if let text = request.query("limit") {
            guard let limit = Int(text), limit >= 0 else {
                throw Fault(.invalid, "cannot use limit=\(text.prefix(32)): it must be a number")
            }
            // Zero is no limit of the client's, as in Keystone.
            self.limit = limit == 0 ? Self.limitMax : min(limit, Self.limitMax)
        }
    }

    /// As Keystone reads a flag of a query: everything but 0 and false is true.
    static func bool(_ request: Request, _ name: String) -> Bool? {
        request.query(name).map { !["0", "false", "no", "off"].contains($0.lowercased()) }
    }
}

extension CatalogFilter {
    /// Reads a list's query.
    init(_ request: Request) {
        type = request.query("type")
        name = request.query("name")
        parentID = request.query("parent_region_id")
        serviceID = request.query("service_id")
        regionID = request.query("region_id") ?? request.query("region")
        interface = request.query("interface")
        isEnabled = DirectoryFilter.bool(request, "enabled")
    }
}
