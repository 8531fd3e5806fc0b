import Glibc

/// A network interface with hardware behind it.
package struct NetworkInterface: Sendable, Equatable {
    package var name: String
    /// Lower case with colons.
    package var mac: String
    package var ipv4 = ""
    package var ipv6 = ""
    package var hasCarrier = false
    /// Megabits per second; 0 when the driver does not say.
    package var speedMbps = 0
    /// PCI vendor and product as the kernel writes them: `0x1af4`.
    package var vendor = ""
    package var product = ""
    package var pciAddress = ""
    package var driver = ""

    package init(name: String, mac: String) {
        self.name = name
        self.mac = mac
    }
}

/// Looks at and changes the machine's network.
package protocol Network: Sendable {
    /// Every interface with hardware behind it, sorted by name.
    func interfaces() -> [NetworkInterface]

    /// The first IPv4 address of each interface, also of those without hardware of their own (VLANs, bonds),
    /// sorted by the interface's name; none of loopback interfaces.
    func addresses() -> [String]

    /// Switches an interface on, so that it looks for a carrier.
    /// - Throws: `SystemFailure`.
    func bringUp(_ name: String) throws

    /// Gives an interface its address and the routes that came with it.
    /// - Returns: routes that the kernel refused; the address works without them.
    /// - Throws: `SystemFailure` when the address is refused.
    func configure(_ name: String, lease: DHCPLease) throws -> [SystemFailure]

    /// Opens the channel of the DHCP client on an interface.
    /// - Throws: `SystemFailure`.
    func openDHCP(_ name: String) throws -> any FrameChannel

    /// Listens for link-layer discovery frames on an interface.
    /// - Throws: `SystemFailure`.
    func openLLDP(_ name: String) throws -> any FrameChannel
}

/// Sends and receives whole frames; closed when it is released.
package protocol FrameChannel: Sendable {
    /// Sends one frame to everybody on the segment.
    /// - Throws: `SystemFailure`.
    func send(_ frame: [UInt8]) throws

    /// Takes the next frame that is there; `nil` when there is none now.
    func receive() -> [UInt8]?
}

/// The kernel's network.
package struct SystemNetwork: Network {
    private let tree: FileTree

    /// - Parameter tree: where `/sys` is.
    package init(tree: FileTree = FileTree()) { self.tree = tree }

    package func interfaces() -> [NetworkInterface] {
        let addresses = interfaceAddresses()
        return tree.names(in: "/sys/class/net").compactMap { name in
            let entry = "/sys/class/net/\(name)"
            guard tree.exists("\(entry)/device"), let mac = tree.text("\(entry)/address"),
                isMAC(mac)
            else { return nil }
            var interface = NetworkInterface(name: name, mac: mac)
            interface.hasCarrier = tree.number("\(entry)/carrier") == 1
            interface.speedMbps = Int(max(0, tree.number("\(entry)/speed") ?? 0))
            interface.vendor = tree.text("\(entry)/device/vendor") ?? ""
            interface.product = tree.text("\(entry)/device/device") ?? ""
            let place = tree.resolved("\(entry)/device") ?? ""
            interface.pciAddress =
                place.split(separator: "/").map(String.init).last(where: isPCIAddress) ?? ""
            interface.driver =
                tree.link("\(entry)/device/driver")?.split(separator: "/").last.map(String.init)
                ?? ""
            interface.ipv4 = addresses.ipv4[name] ?? ""
            interface.ipv6 = addresses.ipv6[name] ?? ""
            return interface
        }
    }

    package func addresses() -> [String] { Self.outward(interfaceAddresses().ipv4, tree) }

    /// Addresses by interface without those that lead nowhere else.
    static func outward(_ addresses: [String: String], _ tree: FileTree) -> [String] {
        // ARPHRD_LOOPBACK of `include/uapi/linux/if_arp.h`.
        addresses.filter { tree.number("/sys/class/net/\($0.key)/type") != 772 }
            .sorted { $0.key < $1.key }.map(\.value)
    }

    package func bringUp(_ name: String) throws {
        try SystemFailure.check(LinuxCalls.interfaceUp(name), "switch on \(name)")
    }

    package func configure(_ name: String, lease: DHCPLease) throws -> [SystemFailure] {
        try SystemFailure.check(
            LinuxCalls.setAddress(name, lease.address, lease.mask),
            "give \(name) the address \(lease.address)"
        )
        return lease.routes.compactMap { route in
            let result = LinuxCalls.addRoute(name, route)
            guard result < 0 else { return nil }
            return SystemFailure(
                "add the route to \(route.destination) by \(route.gateway) on \(name)",
                code: -result
            )
        }
    }

    package func openDHCP(_ name: String) throws -> any FrameChannel {
        let index = try SystemFailure.check(LinuxCalls.index(name), "find interface \(name)")
        let file = try SystemFailure.check(LinuxCalls.openDHCP(index), "listen for DHCP on \(name)")
        return PacketChannel(file: file, interface: index, name: name)
    }

    package func openLLDP(_ name: String) throws -> any FrameChannel {
        let index = try SystemFailure.check(LinuxCalls.index(name), "find interface \(name)")
        let file = try SystemFailure.check(LinuxCalls.openLLDP(index), "listen for LLDP on \(name)")
        return PacketChannel(file: file, interface: index, name: name)
    }
}

/// A packet socket on one interface.
private final class PacketChannel: FrameChannel {
    private let file: Int32
    private let interface: Int32
    private let name: String

    init(file: Int32, interface: Int32, name: String) {
        self.file = file
        self.interface = interface
        self.name = name
    }

    deinit { close(file) }

    func send(_ frame: [UInt8]) throws {
        try SystemFailure.check(
            LinuxCalls.sendIPv4(file, interface, frame),
            "send a packet on \(name)"
        )
    }

    func receive() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 2048)
        let count = recv(file, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return count > 0 ? Array(buffer[..<count]) : nil
    }
}

/// The first address of each family on each interface; IPv6 addresses of the link only when there is no
/// other.
private func interfaceAddresses() -> (ipv4: [String: String], ipv6: [String: String]) {
    var ipv4: [String: String] = [:]
    var ipv6: [String: String] = [:]
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return (ipv4, ipv6) }
    defer { freeifaddrs(list) }
    var entry = list
    while let current = entry {
        defer { entry = current.pointee.ifa_next }
        guard let address = current.pointee.ifa_addr else { continue }
        let family = Int32(address.pointee.sa_family)
        guard family == AF_INET || family == AF_INET6 else { continue }
        let size =
            family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
        var host = [CChar](repeating: 0, count: 64)
        guard
            getnameinfo(
                address,
                socklen_t(size),
                &host,
                socklen_t(host.count),
                nil,
                0,
                NI_NUMERICHOST
            ) == 0
        else { continue }
        let text = String(
            decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        let name = String(cString: current.pointee.ifa_name)
        if family == AF_INET {
            if ipv4[name] == nil { ipv4[name] = text }
        } else {
            let plain = String(text.prefix { $0 != "%" })
            let known = ipv6[name]
            if known == nil || (known?.hasPrefix("fe80:") == true && !plain.hasPrefix("fe80:")) {
                ipv6[name] = plain
            }
        }
    }
    return (ipv4, ipv6)
}

/// Whether the text is an Ethernet address in lower case with colons that is not all zero.
package func isMAC(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard bytes.count == 17, text != "00:00:00:00:00:00" else { return false }
    return bytes.enumerated().allSatisfy { index, byte in
        index % 3 == 2
            ? byte == UInt8(ascii: ":")
            : (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }
}

/// The six bytes of an Ethernet address; `nil` unless `isMAC`.
package func macBytes(_ text: String) -> [UInt8]? {
    guard isMAC(text) else { return nil }
    return text.split(separator: ":").compactMap { UInt8($0, radix: 16) }
}
