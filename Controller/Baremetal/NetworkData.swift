import Basics
import Boot
import HTTP

/// A node's `network_data`, in the form of OpenStack's `network_data.json`, as far as the ramdisk can use it:
/// network cards, tagged or not, with IPv4 addresses.
struct NetworkData {
    private struct Link {
        let mac: MACAddress
        let vlan: Int?
    }

    private let links: [String: Link]
    private let networks: [BootNetwork]

    private static let itemsMax = 64
    private static let routesMax = 16
    private static let nameServersMax = 3

    /// Reads it; `label` is the node, for messages.
    /// - Throws: `Fault` of kind `invalid` that names what is wrong.
    init(_ data: [String: JSONValue], label: String) throws {
        func fail(_ what: String) -> Fault {
            Fault(.invalid, "cannot use network_data of node \(label): \(what)")
        }
        func items(_ name: String) throws -> [JSONValue] {
            guard let items = data[name]?.elements, items.count <= Self.itemsMax else {
                throw fail("it has no list “\(name)”, or one of more than \(Self.itemsMax)")
            }
            return items
        }
        let links = try Self.links(try items("links"), fail)
        self.links = links
        let shared = try Self.nameServers(data["services"], fail)
        networks = try items("networks").compactMap { item -> BootNetwork? in
            guard item["type"]?.text == "ipv4" else { return nil }
            let id = item["id"]?.text ?? "?"
            guard let link = item["link"]?.text.flatMap({ links[$0] }) else {
                throw fail(
                    "network \(id.prefix(80)) is on no link that the ramdisk can use: a network card or a VLAN on one, not a bond"
                )
            }
            guard let address = item["ip_address"]?.text.flatMap({ IPv4Address($0) }),
                let prefix = item["netmask"]?.text.flatMap(Self.prefix), prefix > 0
            else {
                throw fail("network \(id.prefix(80)) needs ip_address and netmask")
            }
            let own = try Self.nameServers(item["services"], fail)
            return BootNetwork(
                mac: link.mac,
                vlan: link.vlan,
                address: address,
                prefix: prefix,
                routes: try Self.routes(item["routes"], id, fail),
                nameServers: Array((own + shared).prefix(Self.nameServersMax))
            )
        }
        let asks = try items("networks").contains { $0["type"]?.text == "ipv4_dhcp" }
        guard !networks.isEmpty || asks else {
            throw fail("it has no IPv4 network, and the ramdisk speaks IPv4 only")
        }
    }

    /// The network that leads to the controller: the one that it is in, else the first with a default route, else
    /// the first; `nil` when all are asked for by DHCP.
    func network(toward controller: IPv4Address?) -> BootNetwork? {
        if let controller, let near = networks.first(where: { $0.contains(controller) }) {
            return near
        }
        return networks.first { $0.routes.contains { $0.prefix == 0 } } ?? networks.first
    }

    private static func links(
        _ items: [JSONValue],
        _ fail: (String) -> Fault
    ) throws -> [String: Link] {
        var links: [String: Link] = [:]
        for item in items {
            guard let id = item["id"]?.text else { throw fail("a link has no id") }
            switch item["type"]?.text {
            case "vlan", "bond": continue
            default:
                guard let mac = item["ethernet_mac_address"]?.text.flatMap({ MACAddress($0) })
                else {
                    throw fail("link \(id.prefix(80)) has no ethernet_mac_address")
                }
                links[id] = Link(mac: mac, vlan: nil)
            }
        }
        for item in items where item["type"]?.text == "vlan" {
            guard let id = item["id"]?.text,
                let below = item["vlan_link"]?.text.flatMap({ links[$0] }), below.vlan == nil,
                let tag = item["vlan_id"]?.wholeNumber, (1...4094).contains(tag)
            else {
                throw fail(
                    "VLAN \(item["id"]?.text?.prefix(80) ?? "?") needs a vlan_id from 1 to 4094 and a vlan_link that is a network card"
                )
            }
            links[id] = Link(mac: below.mac, vlan: Int(tag))
        }
        return links
    }

    private static func routes(
        _ value: JSONValue?,
        _ id: String,
        _ fail: (String) -> Fault
    ) throws -> [BootNetwork.Route] {
        let items = value?.elements ?? []
        guard items.count <= routesMax else {
            throw fail("network \(id.prefix(80)) has more than \(routesMax) routes")
        }
        return try items.map { item in
            guard let destination = item["network"]?.text.flatMap({ IPv4Address($0) }),
                let prefix = item["netmask"]?.text.flatMap(Self.prefix),
                let gateway = item["gateway"]?.text.flatMap({ IPv4Address($0) })
            else {
                throw fail("a route of network \(id.prefix(80)) needs network, netmask and gateway")
            }
            return BootNetwork.Route(destination: destination, prefix: prefix, gateway: gateway)
        }
    }

    private static func nameServers(
        _ value: JSONValue?,
        _ fail: (String) -> Fault
    ) throws -> [IPv4Address] {
        try (value?.elements ?? []).prefix(itemsMax).compactMap { item in
            guard item["type"]?.text == "dns" else { return nil }
            guard let text = item["address"]?.text, text.utf8.count <= 64 else {
                throw fail("a name server has no address")
            }
            // One of IPv6 is for whoever speaks it.
            return IPv4Address(text)
        }
    }

    /// The number of leading ones; `nil` when it is no mask.
    private static func prefix(_ mask: String) -> Int? {
        guard let bits = IPv4Address(mask)?.bits else { return nil }
        let prefix = (~bits).leadingZeroBitCount
        return bits == (prefix == 0 ? 0 : ~UInt32(0) << UInt32(32 - prefix)) ? prefix : nil
    }
}

extension IPv4Address {
    /// The address as a number: 192.0.2.1 is `0xc0000201`.
    fileprivate var bits: UInt32 {
        text.split(separator: ".").reduce(0) { $0 << 8 | (UInt32($1) ?? 0) }
    }
}

extension BootNetwork {
    fileprivate func contains(_ other: IPv4Address) -> Bool {
        (address.bits ^ other.bits) >> UInt32(32 - prefix) == 0
    }
}
