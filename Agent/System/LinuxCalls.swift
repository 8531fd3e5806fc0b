import CLinux

/// The network calls of `CLinux` in this module's own types.
///
/// Results below zero are error numbers.
enum LinuxCalls {
    static func index(_ name: String) -> Int32 { rdo_interface_index(name) }

    static func interfaceUp(_ name: String) -> Int32 { rdo_interface_up(name) }

    static func setAddress(_ name: String, _ address: IPv4, _ mask: IPv4) -> Int32 {
        rdo_set_address(name, address.bits.bigEndian, mask.bits.bigEndian)
    }

    static func addRoute(_ name: String, _ route: DHCPLease.Route) -> Int32 {
        rdo_add_route(
            name,
            route.destination.bits.bigEndian,
            IPv4(prefix: route.prefix).bits.bigEndian,
            route.gateway.bits.bigEndian
        )
    }

    static func addVLAN(_ name: String, _ tag: Int) -> Int32 { rdo_add_vlan(name, Int32(tag)) }

    static func openDHCP(_ index: Int32) -> Int32 { rdo_open_dhcp(index) }

    static func openLLDP(_ index: Int32) -> Int32 { rdo_open_lldp(index) }

    static func sendIPv4(_ file: Int32, _ index: Int32, _ packet: [UInt8]) -> Int32 {
        rdo_send_ipv4(file, index, packet, packet.count)
    }
}
