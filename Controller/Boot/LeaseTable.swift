package import Basics
import HostTools
import Protocol

/// One address that the DHCP server gave out.
package struct Lease: Sendable, Equatable {
    package let mac: MACAddress
    package let address: IPv4Address
    /// Seconds since 1970; 0 never ends.
    package let expires: Int64
}

/// Reads dnsmasq's lease file.
///
/// It is read anew for each question: it is small, and the answer decides who gets a boot fragment.
package struct LeaseTable: Sendable {
    private let path: String
    private let time: any TimeSource

    /// Leases that are looked at.
    package static let leasesMax = 4096

    /// The path is that of dnsmasq's `dhcp-leasefile`.
    package init(path: String, time: any TimeSource) {
        self.path = path
        self.time = time
    }

    /// The address that holds a MAC's lease; `nil` without a lease that is still valid.
    package func address(of mac: MACAddress) -> IPv4Address? {
        leases.last { $0.mac == mac }?.address
    }

    /// The MAC whose lease an address is.
    package func mac(at address: IPv4Address) -> MACAddress? {
        leases.last { $0.address == address }?.mac
    }

    /// The IP address that the DHCP server gave to a MAC (lower case, colons).
    package func leasedAddress(of mac: String) async -> String? {
        MACAddress(mac).flatMap(address(of:))?.text
    }

    /// What is valid now.
    package var leases: [Lease] {
        let now = time.now.nanoseconds / 1_000_000_000
        return Self.parse(readText(path) ?? "").filter { $0.expires == 0 || $0.expires > now }
    }

    /// Reads lines of `expiry mac address name client-id`; whatever has another form is left out.
    static func parse(_ text: String) -> [Lease] {
        var leases: [Lease] = []
        for line in text.split(separator: "\n") {
            guard leases.count < leasesMax else { break }
            let words = line.split(separator: " ")
            guard words.count >= 4, let expires = Int64(words[0]), expires >= 0,
                let mac = MACAddress(words[1]), let address = IPv4Address(words[2])
            else { continue }
            leases.append(Lease(mac: mac, address: address, expires: expires))
        }
        return leases
    }
}
