import Basics
package import HTTP

extension RedfishPower: FirmwareControl {
    package func bootPolicy(of bmc: BMC) async throws -> BootPolicyState {
        try await client.call(bmc, to: "read the boot mode") { call in
            let system = try await call.findSystem().machine
            let secure: Bool?
            do {
                secure = try await call.find(system.secureBoot)?.value["SecureBootEnable"]?.bool
            } catch RedfishTrouble.privilege {
                // Some makers show it for a licence only.
                secure = nil
            }
            return BootPolicyState(mode: system.bootMode, isSecure: secure)
        }
    }

    package func setBootMode(_ mode: BootMode, of bmc: BMC) async throws {
        try await client.call(bmc, to: "set the boot mode \(mode.rawValue)") { call in
            let (document, system) = try await call.findSystem()
            guard let present = system.boot.mode else {
                throw RedfishTrouble.unsupported("set_boot_mode")
            }
            guard present != mode.redfishName else { return }
            var boot: [String: JSONValue] = ["BootSourceOverrideMode": .string(mode.redfishName)]
            if system.needsWholeBoot {
                boot["BootSourceOverrideEnabled"] = .string(system.boot.enabled ?? "Once")
                boot["BootSourceOverrideTarget"] = .string(system.boot.target ?? "Pxe")
            }
            try await call.patch(document, ["Boot": .object(boot)])
        }
    }

    package func setSecureBoot(_ isOn: Bool, of bmc: BMC) async throws {
        try await client.call(bmc, to: "switch secure boot \(isOn ? "on" : "off")") { call in
            let system = try await call.findSystem().machine
            guard let secure = try await call.find(system.secureBoot) else {
                throw RedfishTrouble.unsupported("set_secure_boot")
            }
            guard secure.value["SecureBootEnable"]?.bool != isOn else { return }
            guard system.bootMode != .bios else {
                throw RedfishTrouble.unknown("secure boot takes the boot mode uefi; set that first")
            }
            try await call.patch(secure, ["SecureBootEnable": .bool(isOn)])
        }
    }

    package func components(of bmc: BMC) async throws -> [FirmwareComponent] {
        try await client.call(bmc, to: "list the firmware") { call in
            let system = try await call.findSystem().machine
            var found: [FirmwareComponent] = []
            if let version = system.biosVersion {
                found.append(FirmwareComponent(name: "bios", version: version))
            }
            // The BMC's own name need not be the system's: only the link counts.
            if let manager = try await call.find(system.managers.first),
                let version = RedfishAnswer.text(manager.value["FirmwareVersion"])
            {
                found.append(
                    FirmwareComponent(
                        name: "bmc",
                        version: version,
                        model: RedfishAnswer.text(manager.value["Model"])
                    )
                )
            }
            if let chassis = try await call.find(system.chassis.first) {
                found += try await call.adapters(of: chassis)
            }
            return found
        }
    }
}

extension RedfishCall {
    /// Network adapters that are asked at most.
    private static let adaptersMax = 16

    fileprivate func adapters(of chassis: RedfishDocument) async throws -> [FirmwareComponent] {
        let link = RedfishAnswer.link(chassis.value["NetworkAdapters"])
        guard let list = try await find(link) else { return [] }
        var found: [FirmwareComponent] = []
        for link in RedfishAnswer.links(list.value["Members"]).prefix(Self.adaptersMax) {
            guard let document = try await find(link),
                let component = RedfishAnswer.adapter(document.value),
                !found.contains(where: { $0.name == component.name })
            else { continue }
            found.append(component)
        }
        return found
    }
}

extension RedfishPower: BIOSControl {
    package func settings(of bmc: BMC) async throws -> [BIOSSetting] {
        try await client.call(bmc, to: "list the BIOS settings") { call in
            let bios = try await call.bios()
            let rules = try await call.rules(of: bios)
            return RedfishAnswer.attributes(bios.value).sorted { $0.key < $1.key }.map {
                BIOSSetting(name: $0.key, value: $0.value, rule: rules[$0.key])
            }
        }
    }

    package func apply(_ settings: [String: JSONValue], of bmc: BMC) async throws {
        try await client.call(bmc, to: "change the BIOS settings") { call in
            let bios = try await call.bios()
            let present = RedfishAnswer.attributes(bios.value)
            let rules = try await call.rules(of: bios)
            var changes: [String: JSONValue] = [:]
            for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
                guard let old = present[name] else {
                    throw RedfishTrouble.unknown("there is no setting \(printable(name, max: 80))")
                }
                let new = try BIOSSetting(name: name, value: old, rule: rules[name]).changed(
                    to: value
                )
                if new != old { changes[name] = new }
            }
            guard !changes.isEmpty else { return }
            let object = bios.value["@Redfish.Settings"]
            var change: JSONValue = ["Attributes": .object(changes)]
            let times = RedfishAnswer.texts(object?["SupportedApplyTimes"])
            if times.contains("OnReset") {
                change["@Redfish.SettingsApplyTime"] = ["ApplyTime": "OnReset"]
            }
            // Where the pending settings are a resource of their own, it takes them.
            let pending = try await call.find(RedfishAnswer.link(object?["SettingsObject"]))
            try await call.patch(pending ?? bios, change)
        }
    }

    package func pending(of bmc: BMC) async throws -> Set<String>? {
        try await client.call(bmc, to: "list the pending BIOS settings") { call in
            let object = try await call.bios().value["@Redfish.Settings"]
            let link = RedfishAnswer.link(object?["SettingsObject"])
            guard let settings = try await call.find(link) else { return nil }
            // Some list what they never show, such as passwords, always and without a value.
            let set = RedfishAnswer.attributes(settings.value).filter { $0.value != .null }
            return Set(set.keys)
        }
    }

    package func reset(of bmc: BMC) async throws {
        try await client.call(bmc, to: "reset the BIOS settings") { call in
            let bios = try await call.bios()
            guard let action = RedfishAction(bios.value["Actions"], "Bios.ResetBios") else {
                throw RedfishTrouble.unsupported("a factory reset of its BIOS")
            }
            try await call.post(action.target, [:])
        }
    }
}

extension RedfishCall {
    fileprivate func bios() async throws -> RedfishDocument {
        guard let bios = try await find(try await findSystem().machine.bios) else {
            throw RedfishTrouble.unsupported("BIOS settings")
        }
        return bios
    }

    /// What the registry that the settings name says about them; empty where there is none.
    fileprivate func rules(of bios: RedfishDocument) async throws -> [String: BIOSSetting.Rule] {
        guard let name = RedfishAnswer.text(bios.value["AttributeRegistry"]) else { return [:] }
        let files = try await find(access.root + "/Registries")
        let link = RedfishAnswer.links(files?.value["Members"]).first {
            $0.split(separator: "/").last.map(String.init) == name
        }
        guard let file = try await find(link) else { return [:] }
        let places = (file.value["Location"]?.elements ?? []).prefix(8)
        let place =
            places.first { ["en", "en-US", "default"].contains($0["Language"]?.text) }
            ?? places.first
        // One that is published elsewhere, or packed, is not fetched.
        guard let uri = place?["Uri"]?.text, uri.hasPrefix("/") else { return [:] }
        do {
            return RedfishAnswer.registry(try await find(uri)?.value ?? .null)
        } catch RedfishTrouble.malformed {
            return [:]
        }
    }
}

extension BIOSSetting {
    /// The value that the setting would get, of the setting's own type.
    /// - Throws: `RedfishTrouble.unknown` when its rule does not let it.
    func changed(to wanted: JSONValue) throws(RedfishTrouble) -> JSONValue {
        func wrong(_ what: String) -> RedfishTrouble {
            .unknown("\(printable(name, max: 80)) \(what)")
        }
        guard rule?.isReadOnly != true else { throw wrong("may not be changed") }
        switch (value, wanted) {
        case (.bool, .bool), (.null, _): return wanted
        case (.bool, .string(let text)):
            guard let isOn = ["true": true, "false": false][text.lowercased()] else {
                throw wrong("must be true or false")
            }
            return .bool(isOn)
        case (.integer, .integer(let number)): return try within(number, wrong)
        case (.integer, .string(let text)):
            guard let number = Int64(text) else { throw wrong("must be a whole number") }
            return try within(number, wrong)
        case (.string, .string(let text)):
            if let allowed = rule?.allowed, !allowed.isEmpty, !allowed.contains(text) {
                throw wrong("must be one of \(allowed.prefix(32).joined(separator: ", "))")
            }
            let length = Int64(text.count)
            guard length >= rule?.lengthMin ?? 0, length <= rule?.lengthMax ?? .max else {
                throw wrong(
                    "must have \(rule?.lengthMin ?? 0) to \(rule?.lengthMax ?? .max) characters"
                )
            }
            return wanted
        case (.number, .number), (.number, .integer): return wanted
        default: throw wrong("is of another type")
        }
    }

    private func within(
        _ number: Int64,
        _ wrong: (String) -> RedfishTrouble
    ) throws(RedfishTrouble) -> JSONValue {
        let (low, high) = (rule?.lowerBound ?? .min, rule?.upperBound ?? .max)
        guard number >= low, number <= high else { throw wrong("must be \(low) to \(high)") }
        return .integer(number)
    }
}
