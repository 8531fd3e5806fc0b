package import Basics
import FoundationEssentials

/// One machine of an `instackenv.json` or a CSV file.
package struct NodeEntry: Sendable, Equatable {
    package var name: String?
    package var address: String
    package var port: Int?
    package var user: String
    package var password: Secret
    /// In lower case, without repetition.
    package var macs: [String]
    /// Ironic's names: `cpus`, `memory_mb`, `local_gb`, `cpu_arch`, `capabilities`.
    package var properties: [String: String]

    /// What messages call it.
    package var label: String { name ?? address }
}

/// What a file of machines holds: those that can be imported, and a sentence for each that cannot.
package struct NodeFile: Sendable {
    package var entries: [NodeEntry] = []
    package var problems: [String] = []

    /// Machines of one file.
    package static let entriesMax = 10_000

    /// Reads `{"nodes": […]}`, a bare list, or CSV rows `pm_type,pm_addr,pm_user,pm_password,mac`.
    /// - Throws: `Fault` when it is none of these.
    package init(text: String, path: String) throws {
        let start = text.first { !$0.isWhitespace }
        if start == "{" || start == "[" {
            try readJSON(text, path: path)
        } else {
            readCSV(text)
        }
        guard entries.count + problems.count > 0 else {
            throw Fault(.invalid, "cannot import \(path): it names no machine")
        }
        guard entries.count <= Self.entriesMax else {
            throw Fault(
                .tooLarge,
                "cannot import \(path): it names more than \(Self.entriesMax) machines"
            )
        }
        refuseRepetitions()
    }

    private mutating func readJSON(_ text: String, path: String) throws {
        let json: JSON
        do {
            json = try JSONDecoder().decode(JSON.self, from: Data(text.utf8))
        } catch {
            throw Fault(.invalid, "cannot import \(path): it is not JSON", cause: error)
        }
        let list: [JSON]
        if case .list(let nodes) = json {
            list = nodes
        } else {
            list = json["nodes"].array
        }
        for (index, node) in list.enumerated() {
            var fields: [String: String] = [:]
            for key in [
                "pm_type", "pm_addr", "pm_port", "pm_user", "pm_password", "name", "cpu", "memory",
                "disk", "arch", "capabilities",
            ] {
                switch node[key] {
                case .text(let text): fields[key] = text
                case .number(let number): fields[key] = String(Int64(number))
                default: break
                }
            }
            var macs = node["mac"].array.compactMap(\.string)
            if let mac = node["mac"].string { macs.append(mac) }
            macs += node["ports"].array.compactMap { $0["address"].string }
            add(fields, macs: macs, position: index + 1)
        }
    }

    private mutating func readCSV(_ text: String) {
        let rows = text.split(whereSeparator: \.isNewline).map {
            $0.split(separator: ",", omittingEmptySubsequences: false).map {
                String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            }
        }
        for (index, row) in rows.enumerated() where row.count >= 4 && row[0] != "pm_type" {
            let fields = [
                "pm_type": row[0], "pm_addr": row[1], "pm_user": row[2], "pm_password": row[3],
            ]
            add(fields, macs: Array(row.dropFirst(4)), position: index + 1)
        }
    }

    private mutating func add(_ fields: [String: String], macs: [String], position: Int) {
        let label = fields["name"] ?? fields["pm_addr"] ?? "number \(position)"
        func problem(_ text: String) -> String { "cannot import node \(label): \(text)" }
        let type = fields["pm_type"] ?? "ipmi"
        guard ["ipmi", "pxe_ipmitool", "agent_ipmitool"].contains(type) else {
            return problems.append(
                problem("its pm_type “\(type)” is not supported; use ipmi (or pxe_ipmitool)")
            )
        }
        guard let address = fields["pm_addr"], !address.isEmpty else {
            return problems.append(problem("pm_addr, the address of its BMC, is missing"))
        }
        guard let user = fields["pm_user"], !user.isEmpty else {
            return problems.append(problem("pm_user, the user of its BMC, is missing"))
        }
        guard let password = fields["pm_password"], !password.isEmpty else {
            return problems.append(problem("pm_password, the password of its BMC, is missing"))
        }
        var seen: [String] = []
        for mac in macs.map({ $0.lowercased() }) where !mac.isEmpty {
            guard isMAC(mac) else {
                return problems.append(problem("“\(mac)” is not a MAC address"))
            }
            if !seen.contains(mac) { seen.append(mac) }
        }
        guard !seen.isEmpty else {
            return problems.append(problem("mac, the address of its boot interface, is missing"))
        }
        let names = [
            "cpu": "cpus", "memory": "memory_mb", "disk": "local_gb", "arch": "cpu_arch",
            "capabilities": "capabilities",
        ]
        var properties: [String: String] = [:]
        for (key, name) in names { properties[name] = fields[key] }
        entries.append(
            NodeEntry(
                name: fields["name"],
                address: address,
                port: fields["pm_port"].flatMap { Int($0) },
                user: user,
                password: Secret(password),
                macs: seen,
                properties: properties
            )
        )
    }

    /// Two machines with one BMC or one MAC would take each other's commands.
    private mutating func refuseRepetitions() {
        var owners: [String: String] = [:]
        var kept: [NodeEntry] = []
        for entry in entries {
            let keys =
                ["BMC \(entry.address) port \(entry.port ?? 623)"] + entry.macs.map { "MAC \($0)" }
            if let key = keys.first(where: { owners[$0] != nil }), let owner = owners[key] {
                problems.append(
                    "cannot import node \(entry.label): \(key) belongs to node \(owner) already"
                )
                continue
            }
            for key in keys { owners[key] = entry.label }
            kept.append(entry)
        }
        entries = kept
    }

    private func isMAC(_ text: String) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count == 6 && parts.allSatisfy { $0.count == 2 && $0.allSatisfy(\.isHexDigit) }
    }
}
