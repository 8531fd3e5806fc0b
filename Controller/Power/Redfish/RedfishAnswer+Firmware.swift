import HTTP

extension RedfishAnswer {
    /// Settings of a firmware at most.
    static let settingsMax = 4096
    /// Sensors of a machine at most.
    static let sensorsMax = 512

    /// A firmware's settings by name; those that are no plain values are left out.
    static func attributes(_ document: JSONValue) -> [String: JSONValue] {
        var found: [String: JSONValue] = [:]
        let members = document["Attributes"]?.members ?? [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }).prefix(settingsMax) {
            guard !name.isEmpty, name.utf8.count <= 255 else { continue }
            switch value {
            case .string(let text): found[name] = .string(printable(text, max: textMax))
            case .bool, .integer: found[name] = value
            case .number(let number) where number.isFinite: found[name] = value
            case .null: found[name] = .null
            case .number, .array, .object: continue
            }
        }
        return found
    }

    /// What a registry says about settings, by their names.
    static func registry(_ document: JSONValue) -> [String: BIOSSetting.Rule] {
        var found: [String: BIOSSetting.Rule] = [:]
        let entries = document["RegistryEntries"]?["Attributes"]?.elements ?? []
        for entry in entries.prefix(settingsMax) {
            guard let name = entry["AttributeName"]?.text, name.utf8.count <= 255 else { continue }
            func whole(_ key: String) -> Int64? { entry[key]?.integer }
            found[name] = BIOSSetting.Rule(
                type: text(entry["Type"]),
                allowed: entry["Value"]?.elements.map { values in
                    values.prefix(256).compactMap {
                        text($0["ValueName"]) ?? text($0["ValueDisplayName"])
                    }
                },
                lowerBound: whole("LowerBound"),
                upperBound: whole("UpperBound"),
                lengthMin: whole("MinLength"),
                lengthMax: whole("MaxLength"),
                isReadOnly: entry["ReadOnly"]?.bool,
                needsReset: entry["ResetRequired"]?.bool,
                isUnique: entry["IsSystemUniqueProperty"]?.bool
            )
        }
        return found
    }

    /// The readings of a chassis's documents `Thermal` and `Power`.
    static func readings(_ document: JSONValue) -> [SensorReading] {
        var found: [SensorReading] = []
        func take(_ list: String, _ kind: SensorReading.Kind, _ key: String, _ unit: String) {
            for entry in (document[list]?.elements ?? []).prefix(sensorsMax)
            where found.count < sensorsMax {
                guard let name = text(entry["Name"]) ?? text(entry["MemberId"]) else { continue }
                found.append(
                    SensorReading(
                        kind: kind,
                        name: name,
                        value: number(entry[key]),
                        unit: kind == .fan ? text(entry["ReadingUnits"]) ?? unit : unit,
                        state: text(entry["Status"]?["State"]),
                        health: text(entry["Status"]?["Health"])
                    )
                )
            }
        }
        take("Temperatures", .temperature, "ReadingCelsius", "Cel")
        take("Fans", .fan, "Reading", "RPM")
        take("Voltages", .voltage, "ReadingVolts", "V")
        take("PowerControl", .power, "PowerConsumedWatts", "W")
        take("PowerSupplies", .powerSupply, "LastPowerOutputWatts", "W")
        return found
    }

    /// The firmware of a network adapter.
    static func adapter(_ document: JSONValue) -> FirmwareComponent? {
        guard let id = text(document["Id"]),
            let version = text(document["Controllers"]?.elements?.first?["FirmwarePackageVersion"])
        else { return nil }
        return FirmwareComponent(
            name: "nic:" + id,
            version: version,
            vendor: text(document["Manufacturer"]),
            model: text(document["Model"]),
            serial: text(document["SerialNumber"])
        )
    }
}
