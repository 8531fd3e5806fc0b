import Basics
import HTTP
import Hummingbird
import Protocol

extension Image {
    /// Names that Glance's documents use for itself; no property may have one.
    static let baseNames: Set<String> = [
        "id", "name", "status", "visibility", "protected", "os_hidden", "checksum", "os_hash_algo",
        "os_hash_value", "size", "virtual_size", "owner", "disk_format", "container_format",
        "min_disk", "min_ram", "created_at", "updated_at", "tags", "self", "file", "schema",
        "direct_url", "locations", "stores", "deleted", "deleted_at",
    ]

    /// As Glance shows it.
    var shape: JSONValue {
        var shape: JSONValue = [
            "id": .string(id.text), "name": .string(name), "status": .string(status.rawValue),
            "visibility": .string(visibility.rawValue), "protected": .bool(isProtected),
            "os_hidden": false, "owner": JSONValue(owner.isEmpty ? nil : owner),
            "disk_format": JSONValue(diskFormat?.rawValue), "container_format": "bare",
            "min_disk": .integer(minDisk), "min_ram": .integer(minRAM),
            "created_at": .string(created.rfc3339(suffix: "Z")),
            "updated_at": .string(updated.rfc3339(suffix: "Z")),
            "tags": .array(tags.map(JSONValue.string)),
            "checksum": JSONValue(content?.md5),
            "os_hash_algo": JSONValue(content.map { _ in "sha512" }),
            "os_hash_value": JSONValue(content?.sha512),
            "size": content.map { .integer($0.fileBytes) } ?? .null,
            "virtual_size": content.map { .integer($0.diskBytes) } ?? .null,
            "self": .string("/v2/images/\(id)"), "file": .string("/v2/images/\(id)/file"),
            "schema": "/v2/schemas/image",
        ]
        if let content { shape["rdo_manifest_sha256"] = .string(content.manifestDigest) }
        for (name, value) in properties where shape[name] == nil { shape[name] = .string(value) }
        return shape
    }

    /// Applies a patch as Glance takes it: one member per path.
    mutating func apply(_ operations: [JSONPatchOperation]) throws {
        for operation in operations {
            guard operation.path.count == 1, let name = operation.path.first else {
                throw Fault(
                    .invalid,
                    "cannot change /\(operation.path.joined(separator: "/")): members of members cannot be changed by themselves"
                )
            }
            try apply(operation, name)
        }
    }

    private mutating func apply(_ operation: JSONPatchOperation, _ member: String) throws {
        guard Self.baseNames.contains(member) || member == "rdo_manifest_sha256" else {
            try applyProperty(operation, member)
            return
        }
        guard operation.verb == .replace || operation.verb == .add else {
            throw Fault(
                .forbidden,
                "cannot \(operation.verb.rawValue) \(member): it is always there"
            )
        }
        let value = operation.value
        switch member {
        case "name": name = try value.string(member)
        case "visibility": visibility = try value.word(member)
        case "protected": isProtected = try value.flag(member)
        case "min_disk": minDisk = try value.count(member)
        case "min_ram": minRAM = try value.count(member)
        case "tags": tags = try value.strings(member)
        case "disk_format": diskFormat = try value.word(member)
        case "container_format": try value.checkContainer()
        case "os_hidden": try value.checkVisible()
        default: throw Fault.readOnly(member)
        }
    }

    private mutating func applyProperty(_ operation: JSONPatchOperation, _ name: String) throws {
        let missing = Fault(
            .conflict,
            "cannot \(operation.verb.rawValue) \(name): the image has no such property"
        )
        switch operation.verb {
        case .add: properties[name] = try operation.value.property(name)
        case .replace:
            guard properties[name] != nil else { throw missing }
            properties[name] = try operation.value.property(name)
        case .remove:
            guard properties.removeValue(forKey: name) != nil else { throw missing }
        case .test:
            guard properties[name].map(JSONValue.string) == operation.value else { throw missing }
        }
    }
}

extension ImageDraft {
    /// Reads a creation request.
    init(_ body: JSONValue) throws {
        guard let members = body.members else {
            throw Fault(.invalid, "cannot create the image: the request must be an object")
        }
        self.init()
        for (member, value) in members.sorted(by: { $0.key < $1.key }) {
            switch member {
            case "id":
                guard let found = value.text.flatMap({ ImageID($0) }) else {
                    throw Fault(.invalid, "cannot create the image: its id must be a UUID")
                }
                id = found
            case "name": name = value == .null ? "" : try value.string(member)
            case "visibility": visibility = try value.word(member)
            case "protected": isProtected = try value.flag(member)
            case "min_disk": minDisk = try value.count(member)
            case "min_ram": minRAM = try value.count(member)
            case "tags": tags = try value.strings(member)
            case "disk_format":
                if value != .null { diskFormat = try value.word(member) }
            case "container_format":
                if value != .null { try value.checkContainer() }
            case "os_hidden": try value.checkVisible()
            case "owner":
                // Clients send it back; the owner is whoever creates the image.
                continue
            case let name where Image.baseNames.contains(name) || name == "rdo_manifest_sha256":
                throw Fault.readOnly(name)
            default: properties[member] = try value.property(member)
            }
        }
    }
}

extension ImageFilter {
    /// Reads the query of a list request.
    init(_ request: Request) throws {
        self.init()
        func wrong(_ name: String, _ value: String) -> Fault {
            Fault(.invalid, "cannot list images: \(name) cannot be “\(value.prefix(64))”")
        }
        name = request.query("name")
        owner = request.query("owner")
        if let text = request.query("status") {
            guard let found = Image.Status(rawValue: text) else { throw wrong("status", text) }
            status = found
        }
        if let text = request.query("visibility"), text != "all" {
            guard let found = Image.Visibility(rawValue: text) else {
                throw wrong("visibility", text)
            }
            visibility = found
        }
        if let text = request.query("marker") {
            guard let id = ImageID(text) else { throw wrong("marker", text) }
            marker = id
        }
        if let text = request.query("limit") {
            guard let count = Int(text), count >= 0 else { throw wrong("limit", text) }
            limit = min(count, 1000)
        }
        let keys = ["name", "status", "created_at", "updated_at"]
        let columns: [SortKey] = [.name, .status, .created, .updated]
        let orders = request.query("sort")?.split(separator: ",").map(String.init)
        for order in orders ?? request.query("sort_key").map({ [$0] }) ?? [] {
            let pair = order.split(separator: ":").map(String.init)
            guard let key = pair.first, let index = keys.firstIndex(of: key) else {
                throw wrong("sort", order)
            }
            let direction = pair.count > 1 ? pair[1] : request.query("sort_dir") ?? "desc"
            guard ["asc", "desc"].contains(direction) else { throw wrong("sort", order) }
            sort.append((columns[index], direction == "desc"))
        }
    }
}

extension Fault {
    fileprivate static func readOnly(_ member: String) -> Fault {
        Fault(.forbidden, "cannot set \(member): it is read-only")
    }
}

extension JSONValue {
    private func wrong(_ member: String, _ demand: String) -> Fault {
        Fault(.invalid, "cannot take \(member) of the image: it must be \(demand)")
    }

    fileprivate func string(_ member: String) throws -> String {
        guard let text else { throw wrong(member, "a text") }
        return text
    }

    /// Properties are texts; other plain values are kept as the text that JSON has for them.
    fileprivate func property(_ member: String) throws -> String {
        switch self {
        case .string(let text): return text
        case .bool, .integer, .number: return canonicalText
        case .null, .array, .object: throw wrong(member, "a text")
        }
    }

    fileprivate func strings(_ member: String) throws -> [String] {
        guard let elements else { throw wrong(member, "a list of texts") }
        return try elements.map { try $0.string(member) }
    }

    fileprivate func flag(_ member: String) throws -> Bool {
        guard let bool else { throw wrong(member, "true or false") }
        return bool
    }

    fileprivate func count(_ member: String) throws -> Int64 {
        guard let integer, integer >= 0 else { throw wrong(member, "a whole number from 0") }
        return integer
    }

    fileprivate func word<Word: RawRepresentable & CaseIterable>(
        _ member: String
    ) throws -> Word where Word.RawValue == String {
        guard let word = text.flatMap(Word.init) else {
            let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
            throw wrong(member, "one of \(words)")
        }
        return word
    }

    fileprivate func checkContainer() throws {
        guard text == "bare" else { throw wrong("container_format", "bare") }
    }

    fileprivate func checkVisible() throws {
        guard bool == false else { throw wrong("os_hidden", "false") }
    }
}
