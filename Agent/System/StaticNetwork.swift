import Basics
import FoundationEssentials

/// The network that the boot file sets, where no DHCP server is asked.
package struct StaticNetwork: Sendable, Equatable {
    /// The network card; lower case with colons.
    package var mac: String
    /// 1 to 4094; `nil` for untagged frames.
    package var vlan: Int?
    package var address: IPv4
    /// 1 to 32.
    package var prefix: Int
    package var routes: [DHCPLease.Route]
    package var nameServers: [IPv4]

    private static let routesMax = 16
    private static let nameServersMax = 3

    /// Reads the member `network` of the boot file; `nil` when it has none.
    /// - Throws: `Fault` of kind `invalid` that names what is wrong.
    package init?(bootFile bytes: [UInt8], name: String) throws {
        func wrong(_ what: String) -> Fault {
            Fault(
                .invalid,
                "cannot read the network of \(name): \(what); let the controller make it anew"
            )
        }
        let form: File
        do {
            form = try JSONDecoder().decode(File.self, from: Data(bytes))
        } catch {
            throw wrong("it is not the JSON that it should be")
        }
        guard let network = form.network else { return nil }
        let mac = network.mac.lowercased()
        guard isMAC(mac) else { throw wrong("“mac” is no Ethernet address") }
        guard let address = IPv4(network.address), (1...32).contains(network.prefix) else {
            throw wrong("“address” and “prefix” are no IPv4 network")
        }
        guard network.vlan.map((1...4094).contains) ?? true else { throw wrong("“vlan” is none") }
        let (routes, nameServers) = (network.routes ?? [], network.nameServers ?? [])
        guard routes.count <= Self.routesMax, nameServers.count <= Self.nameServersMax else {
            throw wrong("it has too many routes or name servers")
        }
        self.mac = mac
        vlan = network.vlan
        self.address = address
        prefix = network.prefix
        self.routes = try routes.map { route in
            guard let destination = IPv4(route.destination), let gateway = IPv4(route.gateway),
                (0...32).contains(route.prefix)
            else { throw wrong("a route is none") }
            return DHCPLease.Route(
                destination: destination,
                prefix: route.prefix,
                gateway: gateway
            )
        }
        self.nameServers = try nameServers.map {
            guard let server = IPv4($0) else { throw wrong("a name server is no IPv4 address") }
            return server
        }
    }

    private struct File: Decodable {
        struct Network: Decodable {
            struct Route: Decodable {
                let destination: String
                let prefix: Int
                let gateway: String
            }

            let mac: String
            let vlan: Int?
            let address: String
            let prefix: Int
            let routes: [Route]?
            let nameServers: [String]?

            enum CodingKeys: String, CodingKey {
                case mac, vlan, address, prefix, routes
                case nameServers = "name_servers"
            }
        }

        let network: Network?
    }
}

extension SystemNetwork {
    /// Gives an interface, or a VLAN on it, a fixed address, and the system its name servers.
    ///
    /// `modules` loads what VLANs need.
    /// - Returns: the interface that has the address, and the routes that the kernel refused.
    /// - Throws: `SystemFailure` when the address or the VLAN is refused.
    package func configure(
        _ network: StaticNetwork,
        on card: String,
        modules: some KernelModules
    ) throws -> (name: String, refused: [SystemFailure]) {
        try bringUp(card)
        var name = card
        if let vlan = network.vlan {
            try modules.load("8021q")
            try SystemFailure.check(LinuxCalls.addVLAN(card, vlan), "make VLAN \(vlan) on \(card)")
            name = "\(card).\(vlan)"
            try bringUp(name)
        }
        var lease = DHCPLease(
            address: network.address,
            mask: IPv4(prefix: network.prefix),
            server: network.address,
            seconds: .max
        )
        lease.routes = network.routes
        let refused = try configure(name, lease: lease)
        if !network.nameServers.isEmpty {
            let lines = network.nameServers.map { "nameserver \($0)\n" }.joined()
            try replaceFile("/etc/resolv.conf", with: Array(lines.utf8), mode: 0o644)
        }
        return (name, refused)
    }
}
