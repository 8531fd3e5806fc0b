/// Reads what `ipmitool` prints.
///
/// The text comes from a BMC in the end and is not trusted: what does not have exactly the known
/// form is no answer.
enum IPMIAnswer {
    /// `Chassis Power is on`.
    static func power(_ output: String) -> PowerState? {
        for line in lines(output) {
            switch line {
            case "Chassis Power is on": return .on
            case "Chassis Power is off": return .off
            default: continue
            }
        }
        return nil
    }

    /// The block that `chassis bootparam get 5` prints.
    static func bootChoice(_ output: String) -> BootChoice? {
        var device: BootDevice?
        var isPersistent = false
        var isValid = false
        var found = false
        for line in lines(output) {
            if line.contains("Boot Flag Valid") { isValid = true }
            if line.contains("Options apply to all future boots") { isPersistent = true }
            guard let value = value(of: "- Boot Device Selector", in: line) else { continue }
            found = true
            switch value {
            case "Force PXE": device = .pxe
            case "Force Boot from default Hard-Drive": device = .disk
            case "Force Boot from default Hard-Drive, request Safe-Mode": device = .safe
            case "Force Boot from CD/DVD": device = .cdrom
            case "Force Boot into BIOS Setup": device = .bios
            default: device = nil
            }
        }
        guard found else { return nil }
        return BootChoice(device: isValid ? device : nil, isPersistent: isValid && isPersistent)
    }

    /// `System GUID  : 31303043-534d-2500-90d8-7a1d2d9c0000` of `mc guid`.
    static func identity(_ output: String) -> String? {
        for line in lines(output) {
            guard let value = value(of: "System GUID", in: line) else { continue }
            let text = value.lowercased()
            let parts = text.split(separator: "-", omittingEmptySubsequences: false)
            guard parts.map(\.count) == [8, 4, 4, 4, 12],
                parts.allSatisfy({ $0.allSatisfy { $0.isASCII && $0.isHexDigit } })
            else { return nil }
            return text
        }
        return nil
    }

    /// What a failed call means, by the tool's own words.
    static func failure(_ errorOutput: String) -> PowerFault.Reason {
        let text = errorOutput.lowercased()
        func says(_ words: String...) -> Bool { words.contains { text.contains($0) } }
        if says("insufficient privilege", "privilege level", "insufficient resources for session") {
            return .privilege
        }
        if says(
            "cipher suite",
            "no matching cipher",
            "invalid authentication algorithm",
            "invalid integrity algorithm",
            "invalid confidentiality algorithm",
            "unsupported cipher"
        ) {
            return .settings
        }
        if says(
            "rakp 2 hmac is invalid",
            "rakp 2 message indicates an error",
            "unauthorized name",
            "invalid user name",
            "password",
            "hmac is invalid"
        ) {
            return .credentials
        }
        if says(
            "unable to establish",
            "get session challenge",
            "no response",
            "timeout",
            "timed out",
            "could not resolve",
            "address lookup",
            "no route",
            "unreachable",
            "connection refused",
            "unable to open"
        ) {
            return .noAnswer
        }
        return .refused
    }

    static func lines(_ output: String, max: Int = outputMax) -> [String] {
        output.prefix(max).split(whereSeparator: \.isNewline).map(trimmed)
    }

    /// Characters that are looked at; a BMC cannot make us read more.
    static let outputMax = 16 << 10

    static func value(of key: String, in line: String) -> String? {
        guard line.hasPrefix(key), let colon = line.firstIndex(of: ":") else { return nil }
        guard
            line[line.index(line.startIndex, offsetBy: key.count)..<colon].allSatisfy(
                \.isWhitespace
            )
        else { return nil }
        return trimmed(line[line.index(after: colon)...])
    }

    static func trimmed(_ text: some StringProtocol) -> String {
        var part = Substring(text)
        while part.first?.isWhitespace == true { part.removeFirst() }
        while part.last?.isWhitespace == true { part.removeLast() }
        return String(part)
    }
}
