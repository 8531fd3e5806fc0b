// Sensors, event log and network settings, as `ipmitool -v` prints them.
extension IPMIAnswer {
    /// Characters that are looked at: 500 entries of a log are about 210,000.
    private static let recordsMax = 256 << 10
    private static let readingsMax = 1024

    /// Reads the lines of `-c sdr elist full`.
    ///
    /// They hold name, value, unit, status, entity, its name, type of sensor, and limits.
    ///
    /// What is measured in another way than `SensorReading` knows is left out.
    static func readings(_ output: String) -> [SensorReading] {
        var found: [SensorReading] = []
        for line in lines(output, max: recordsMax) {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map(trimmed)
            guard fields.count >= 7, found.count < readingsMax, !fields[0].isEmpty,
                let unit = unit(fields[2]), let kind = kind(fields[6], unit: unit)
            else { continue }
            let status = fields[3]
            let value = Double(fields[1]).flatMap { $0.isFinite ? $0 : nil }
            found.append(
                SensorReading(
                    kind: kind,
                    name: plain(fields[0]),
                    value: status == "ns" ? nil : value,
                    unit: unit,
                    state: plain(status),
                    health: health(status)
                )
            )
        }
        return found
    }

    private static func unit(_ text: String) -> String? {
        switch text {
        case "degrees C": "Cel"
        case "degrees F": "[degF]"
        case "RPM": "RPM"
        case "percent": "%"
        case "Volts": "V"
        case "Watts": "W"
        default: nil
        }
    }

    private static func kind(_ type: String, unit: String) -> SensorReading.Kind? {
        if unit == "W" { return type == "Power Supply" ? .powerSupply : .power }
        return switch type {
        case "Temperature": .temperature
        case "Fan": .fan
        case "Voltage": .voltage
        case "Power Supply": .powerSupply
        default: nil
        }
    }

    private static func health(_ status: String) -> String? {
        switch status {
        case "ok": "OK"
        case "nc", "lnc", "unc": "Warning"
        case "cr", "nr", "lcr", "lnr", "ucr", "unr": "Critical"
        default: nil
        }
    }

    /// The blocks that `sel list` prints; each begins with `SEL Record ID`.
    static func events(_ output: String) -> [BMCEvent] {
        var found: [BMCEvent] = []
        var fields: [String: String] = [:]
        func end() {
            if let event = event(fields) { found.append(event) }
            fields = [:]
        }
        for line in lines(output, max: recordsMax) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let key = trimmed(line[..<colon])
            if key == "SEL Record ID" { end() }
            if fields[key] == nil { fields[key] = trimmed(line[line.index(after: colon)...]) }
        }
        end()
        return found
    }

    private static func event(_ fields: [String: String]) -> BMCEvent? {
        guard let id = fields["SEL Record ID"].flatMap({ UInt16($0, radix: 16) }),
            let type = fields["Record Type"]
        else { return nil }
        let data = fields["Event Data"] ?? fields["Event Data (RAW)"] ?? fields["OEM Defined"]
        let direction = fields["Event Direction"]
        return BMCEvent(
            id: id,
            at: fields["Timestamp"].map(plain),
            source: plain(fields["Sensor Type"] ?? "record type \(type)"),
            sensor: fields["Sensor Number"].map(plain),
            text: fields["Description"].map(plain),
            isAsserted: direction == "Assertion Event"
                ? true : direction == "Deassertion Event" ? false : nil,
            data: String((data ?? "").prefix { $0.isASCII && $0.isHexDigit }.prefix(64))
        )
    }

    /// The 18 bytes that `raw` prints for a record: the next one's number, its own, its type, its content.
    static func record(_ number: UInt16, _ output: String) -> EventRecord? {
        let words = output.prefix(outputMax).split(whereSeparator: \.isWhitespace)
        let bytes = words.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
        guard words.count == 18, bytes.count == 18,
            UInt16(bytes[2]) | UInt16(bytes[3]) << 8 == number
        else { return nil }
        return EventRecord(type: bytes[4], data: Array(bytes[5...]))
    }

    /// `lan print`; `nil` when it has nothing of that form.
    static func network(_ output: String) -> BMCNetwork? {
        var network = BMCNetwork()
        var isOne = false
        for line in lines(output) {
            if let text = value(of: "IP Address Source", in: line) {
                network.source = plain(text)
                isOne = true
            } else if let text = value(of: "IP Address", in: line) {
                network.address = ipv4(text)
            } else if let text = value(of: "Subnet Mask", in: line) {
                network.netmask = ipv4(text)
            } else if let text = value(of: "Default Gateway IP", in: line) {
                network.gateway = ipv4(text)
            } else if let text = value(of: "MAC Address", in: line) {
                network.mac = mac(text)
            } else if let text = value(of: "802.1q VLAN ID", in: line) {
                network.vlan = UInt16(text).flatMap { (1...4094).contains($0) ? $0 : nil }
            }
        }
        return isOne ? network : nil
    }

    /// A dotted IPv4 address; 0.0.0.0 is none.
    static func ipv4(_ text: String) -> String? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, text != "0.0.0.0",
            parts.allSatisfy({ part in UInt8(part).map { String($0) == part } ?? false })
        else { return nil }
        return text
    }

    private static func mac(_ text: String) -> String? {
        let parts = text.lowercased().split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6, text != "00:00:00:00:00:00",
            parts.allSatisfy({ $0.count == 2 && $0.allSatisfy { $0.isASCII && $0.isHexDigit } })
        else { return nil }
        return parts.joined(separator: ":")
    }

    /// Foreign text as the API may show it: one line of at most 160 characters.
    private static func plain(_ text: String) -> String {
        String(
            text.unicodeScalars.prefix(160).map { scalar in
                scalar.properties.generalCategory == .control
                    || scalar.properties.generalCategory == .format ? " " : Character(scalar)
            }
        )
    }
}
