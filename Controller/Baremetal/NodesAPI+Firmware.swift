import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Power
import Protocol

// Boot mode, secure boot, BIOS settings, firmware versions, virtual media and lamps.
extension NodesAPI {
    func addBootPolicyRoutes(to routes: Routes) {
        routes.ironic(.put, "/v1/nodes/:node/states/boot_mode", .member, .setBootMode) { call in
            try call.require(minor: 76)
            let target = try await call.object()["target"]
            guard let mode = target?.text.flatMap(BootMode.init(rawValue:)) else {
                throw wrong("boot_mode", target)
            }
            try await service.setBootMode(
                mode,
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty(.accepted)
        }
        routes.ironic(.put, "/v1/nodes/:node/states/secure_boot", .member, .setSecureBoot) { call in
            try call.require(minor: 76)
            let target = try await call.object()["target"]
            guard let isOn = target?.truth else { throw wrong("secure_boot", target) }
            try await service.setSecureBoot(
                isOn,
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty(.accepted)
        }
    }

    private func wrong(_ word: String, _ target: JSONValue?) -> Fault {
        Fault(
            .invalid,
            "cannot set \(word): the target “\(target?.plainText?.prefix(20) ?? "")” is none"
        )
    }

    func addFirmwareRoutes(to routes: Routes) {
        routes.ironic(.get, "/v1/nodes/:node/bios", .reader, .listSettings) { call in
            try call.require(minor: 40)
            let (node, settings) = try await service.biosSettings(
                of: try call.parameter("node"),
                by: call.principal
            )
            let names = try settingFields(call)
            return .json(["bios": .array(settings.map { document($0, of: node, names) })])
        }
        routes.ironic(.get, "/v1/nodes/:node/bios/:setting", .reader, .showSetting) { call in
            try call.require(minor: 40)
            let name = try call.parameter("setting")
            let (node, settings) = try await service.biosSettings(
                of: try call.parameter("node"),
                by: call.principal
            )
            guard let setting = settings.first(where: { $0.name == name }) else {
                throw Fault(
                    .notFound,
                    "cannot find BIOS setting \(name.prefix(80)) of node \(node.label): none is known of it"
                )
            }
            let names = call.version.minor >= 74 ? Self.settingNames : ["name", "value"]
            return .json(.object([name: document(setting, of: node, names)]))
        }
        routes.ironic(.get, "/v1/nodes/:node/firmware", .reader, .listFirmware) { call in
            try call.require(minor: 86)
            let found = try await service.firmware(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json(["firmware": .array(found.map { document($0, call.version) })])
        }
    }

    private static let settingNames = [
        "name", "value", "attribute_type", "allowable_values", "lower_bound", "max_length",
        "min_length", "read_only", "reset_required", "unique", "upper_bound",
    ]

    /// What a list of settings shows of each.
    private func settingFields(_ call: BaremetalCall) throws -> [String] {
        let list = call.request.query("fields")
        let isDetailed = call.request.query("detail").flatMap { JSONValue.string($0).truth }
        guard list != nil || isDetailed == true else { return ["name", "value"] }
        try call.accept(minor: 74, "fields of BIOS settings")
        guard let list else { return Self.settingNames }
        guard isDetailed != true else {
            throw Fault(.invalid, "cannot list BIOS settings: give detail or fields, not both")
        }
        let names = list.split(separator: ",").map(String.init)
        for name in names where !Self.settingNames.contains(name) {
            throw Fault(
                .invalid,
                "cannot show the field “\(name.prefix(40))”: a BIOS setting has none"
            )
        }
        return names
    }

    private func document(
        _ setting: StoredSetting,
        of node: Node,
        _ names: [String]
    ) -> JSONValue {
        let path = "nodes/\(node.id)/bios/\(setting.name)"
        var members: [String: JSONValue] = [
            "created_at": .string(setting.createdAt.description),
            "updated_at": JSONValue(setting.updatedAt?.description),
            "links": [
                ["href": .string("\(root)/v1/\(path)"), "rel": "self"],
                ["href": .string("\(root)/\(path)"), "rel": "bookmark"],
            ],
        ]
        for name in names {
            switch name {
            case "name": members[name] = .string(setting.name)
            case "value": members[name] = JSONValue(setting.value.pythonText)
            default: members[name] = setting.rule?[name] ?? .null
            }
        }
        return .object(members)
    }

    private func document(_ stored: StoredComponent, _ version: Microversion) -> JSONValue {
        let component = stored.component
        var members: [String: JSONValue] = [
            "component": .string(component.name),
            "initial_version": .string(stored.initialVersion),
            "current_version": .string(component.version), "last_version_flashed": .null,
            "created_at": .string(stored.createdAt.description),
            "updated_at": JSONValue(stored.updatedAt?.description),
        ]
        if version.minor >= 114 {
            members["vendor"] = JSONValue(component.vendor)
            members["model"] = JSONValue(component.model)
            members["serial_number"] = JSONValue(component.serial)
        }
        return .object(members)
    }

    func addMediaRoutes(to routes: Routes) {
        let path = "/v1/nodes/:node/vmedia"
        routes.ironic(.get, path, .reader, .showMedia) { call in
            try call.require(minor: 93)
            let node = try await seen(call)
            guard let media = try service.driver(of: node).media, node.manages else {
                throw Fault.unsupported("get_virtual_media", of: node)
            }
            let found = try await media.media(of: try service.driver(of: node).bmc(of: node))
            return .json(
                .array(
                    found.map {
                        [
                            "media_types": .array($0.types.map(JSONValue.string)),
                            "inserted": .bool($0.isInserted),
                            "image": JSONValue($0.image.map(BootMedium.masked)),
                        ]
                    }
                )
            )
        }
        routes.ironic(.post, path, .member, .attachMedia) { call in
            try call.require(minor: 89)
            let body = try await call.object()
            let schemes = ["http", "https", "nfs", "cifs"]
            guard let kind = body["device_type"]?.text.flatMap(VirtualMedium.Kind.init(rawValue:)),
                kind != .dvd, let url = body["image_url"]?.text, url.utf8.count <= 2048,
                url.utf8.allSatisfy({ (0x21...0x7e).contains($0) }),
                schemes.contains(where: { url.hasPrefix($0 + "://") })
            else {
                throw Fault(
                    .invalid,
                    "cannot attach virtual media: device_type or the scheme of image_url is unknown"
                )
            }
            let (media, bmc) = try await changedMedia(call, "attach")
            try await media.insert(url, into: kind, of: bmc)
            return .empty()
        }
        routes.ironic(.delete, path, .member, .detachMedia) { call in
            try call.require(minor: 89)
            let words = call.request.query("device_types")?.split(separator: ",").map(String.init)
            let kinds = try words?.map { word in
                guard let kind = VirtualMedium.Kind(rawValue: word), kind != .dvd else {
                    throw Fault(
                        .invalid,
                        "cannot detach virtual media: the device type “\(word.prefix(20))” is none of cdrom, disk, floppy"
                    )
                }
                return kind
            }
            let (media, bmc) = try await changedMedia(call, "detach")
            try await media.eject(kinds, of: bmc)
            return .empty()
        }
    }

    private func changedMedia(
        _ call: BaremetalCall,
        _ verb: String
    ) async throws -> (any MediaControl, BMC) {
        let node = try await seen(call)
        try service.requireIdle(node, by: call.principal, to: "\(verb) virtual media", .use)
        let driver = try service.driver(of: node)
        guard let media = driver.media, node.manages else {
            throw Fault.unsupported("\(verb)_virtual_media", of: node)
        }
        return (media, try driver.bmc(of: node))
    }
}

extension JSONValue {
    /// A setting's value as Ironic shows it: always a text.
    fileprivate var pythonText: String? {
        switch self {
        case .bool(let isOn): isOn ? "True" : "False"
        case .null: nil
        case .integer, .number, .string, .array, .object: plainText
        }
    }
}
