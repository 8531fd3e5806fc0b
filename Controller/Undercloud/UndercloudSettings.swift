import Basics

/// What `undercloud.conf` says, checked; instack-undercloud's keys plus our own.
package struct UndercloudSettings: Sendable, Equatable {
    /// Our address on the provisioning network.
    package var localIP: IPv4Network
    /// The interface that faces the machines.
    package var localInterface = "eth1"
    package var network: IPv4Network
    package var dhcpStart: IPv4Number
    package var dhcpEnd: IPv4Number
    /// Holds `kernel`, `initrd` and `media.iso` of the ramdisk; copied when they are there.
    package var imagePath = "."
    package var debug = true
    /// The name or address under which clients reach the API; our local address when not set.
    package var publicHost: String
    package var apiPort = 6385
    /// Where the API listens besides the provisioning network; `nil`: everywhere.
    package var apiListen: String?
    /// A network namespace for the services, as the virtual lab has; `nil`: the host's own network.
    package var namespace: String?
    package var trustFirstBoot = false
    /// Whether machines prove themselves through their BMCs: `offered`, `required` or `off`.
    package var bmcProof = "offered"
    /// Whether unknown machines get the ramdisk.
    package var discovery = true

    private static let defaults: [(key: String, value: String)] = [
        ("local_ip", "192.0.2.1/24"), ("local_interface", "eth1"), ("network_cidr", "192.0.2.0/24"),
        ("dhcp_start", "192.0.2.100"), ("dhcp_end", "192.0.2.199"), ("image_path", "."),
        ("undercloud_debug", "true"), ("public_host", ""), ("api_port", "6385"), ("api_listen", ""),
        ("namespace", ""), ("trust_first_boot", "false"), ("discovery", "true"),
        ("bmc_proof", "offered"),
    ]

    /// Keys of instack-undercloud whose work other parts do now: taken and reported, not refused.
    private static let superseded = [
        "masquerade_network", "network_gateway", "discovery_interface", "discovery_iprange",
        "discovery_runbench",
    ]

    /// Keys that were given and have no effect.
    package private(set) var ignored: [String] = []

    /// Everything at its default.
    package init() throws { try self.init(INIFile("", path: ""), path: "") }

    /// Takes the values of a file.
    /// - Throws: `Fault` that names the file, the line, the key and the nearest known key.
    package init(_ file: INIFile, path: String) throws {
        var values = Dictionary(uniqueKeysWithValues: Self.defaults.map { ($0.key, $0.value) })
        var places: [String: String] = [:]
        var ignored: [String] = []
        for entry in file.entries {
            let place = "\(path):\(entry.line)"
            guard entry.section == "DEFAULT" else {
                throw Fault(
                    .invalid,
                    "cannot use section [\(entry.section)] (\(place)): there is none; passwords are made by install, other keys stand in [DEFAULT]"
                )
            }
            if Self.superseded.contains(entry.key) {
                ignored.append(entry.key)
                continue
            }
            guard values[entry.key] != nil else {
                let known = (Self.defaults.map(\.key) + Self.superseded)
                let nearest = known.min { distance($0, entry.key) < distance($1, entry.key) } ?? ""
                throw Fault(
                    .invalid,
                    "cannot use the key “\(entry.key)” (\(place)): there is none; did you mean “\(nearest)”?"
                )
            }
            guard places[entry.key] == nil else {
                throw Fault(.invalid, "cannot use \(entry.key) (\(place)): it stands there twice")
            }
            values[entry.key] = entry.value
            places[entry.key] = place
        }
        let reader = Reader(values: values, places: places)
        localIP = try reader.network("local_ip")
        localInterface = try reader.interface("local_interface")
        network = try reader.network("network_cidr")
        dhcpStart = try reader.address("dhcp_start")
        dhcpEnd = try reader.address("dhcp_end")
        imagePath = reader["image_path"]
        debug = try reader.boolean("undercloud_debug")
        publicHost = reader["public_host"].isEmpty ? localIP.address.text : reader["public_host"]
        apiPort = try reader.number("api_port", 1...65535)
        apiListen = reader["api_listen"].isEmpty ? nil : try reader.address("api_listen").text
        namespace = reader["namespace"].isEmpty ? nil : try reader.interface("namespace")
        trustFirstBoot = try reader.boolean("trust_first_boot")
        discovery = try reader.boolean("discovery")
        bmcProof = try reader.choice("bmc_proof", ["offered", "required", "off"])
        self.ignored = ignored
        try checkRange(reader)
    }

    private func checkRange(_ reader: Reader) throws {
        guard localIP.contains(network.address), localIP.prefix == network.prefix else {
            throw reader.fault("local_ip", "it is not in network_cidr")
        }
        for (key, address) in [("dhcp_start", dhcpStart), ("dhcp_end", dhcpEnd)]
        where !network.contains(address) {
            throw reader.fault(key, "it is not in network_cidr")
        }
        guard dhcpStart.number <= dhcpEnd.number else {
            throw reader.fault("dhcp_end", "it is before dhcp_start")
        }
        guard !(dhcpStart.number...dhcpEnd.number).contains(localIP.address.number) else {
            throw reader.fault("local_ip", "it is inside dhcp_start to dhcp_end")
        }
    }
}

/// Reads single values and names the key when one is wrong.
private struct Reader {
    let values: [String: String]
    let places: [String: String]

    subscript(key: String) -> String { values[key] ?? "" }

    func fault(_ key: String, _ why: String) -> Fault {
        let place = places[key].map { " (\($0))" } ?? ""
        return Fault(.invalid, "cannot use “\(self[key])” for \(key)\(place): \(why)")
    }

    func address(_ key: String) throws -> IPv4Number {
        guard let address = IPv4Number(self[key]) else { throw fault(key, "it is no IPv4 address") }
        return address
    }

    func network(_ key: String) throws -> IPv4Network {
        guard let network = IPv4Network(self[key]) else {
            throw fault(key, "write an address and its prefix, as 192.0.2.1/24")
        }
        return network
    }

    func boolean(_ key: String) throws -> Bool {
        switch self[key].lowercased() {
        case "true", "yes", "1", "on": true
        case "false", "no", "0", "off": false
        default: throw fault(key, "write true or false")
        }
    }

    func choice(_ key: String, _ words: [String]) throws -> String {
        guard words.contains(self[key]) else {
            throw fault(key, "write one of \(words.joined(separator: ", "))")
        }
        return self[key]
    }

    func number(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(self[key]), range.contains(number) else {
            throw fault(key, "write a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A name that the kernel takes for an interface or a namespace.
    func interface(_ key: String) throws -> String {
        let name = self[key]
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard (1...63).contains(name.utf8.count), allowed, name.first != "-", name.first != "."
        else {
            throw fault(key, "a name has letters, digits, “-”, “_” and “.”")
        }
        return name
    }
}

/// The number of letters to change, insert or remove (Levenshtein).
private func distance(_ left: String, _ right: String) -> Int {
    let right = Array(right)
    var row = Array(0...right.count)
    for (index, letter) in left.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for column in right.indices {
            let change = diagonal + (letter == right[column] ? 0 : 1)
            diagonal = row[column + 1]
            row[column + 1] = min(change, diagonal + 1, row[column] + 1)
        }
    }
    return row[right.count]
}
