import Basics
import Glibc
import HostTools

/// Writes the directories that dnsmasq watches: one small file per machine.
///
/// File names and contents are made of checked types only, so that nothing foreign reaches dnsmasq's
/// syntax.
package struct DHCPDirectory: Sendable {
    private let hosts: String
    private let options: String

    /// - Parameter root: holds `hosts.d` and `options.d`; both are made when missing.
    /// - Throws: `Fault` that names the path.
    package init(root: String) throws {
        hosts = root + "/hosts.d"
        options = root + "/options.d"
        try makeDirectories(hosts)
        try makeDirectories(options)
    }

    /// Reserves an address, or with `nil` makes the machine known with whatever address is free.
    ///
    /// The name becomes the lease's host name; it is left out when it is no host name label.
    package func reserve(_ mac: MACAddress, address: IPv4Address?, name: String?) throws {
        var words = [mac.text]
        if let address { words.append(address.text) }
        if let name, Self.isLabel(name) { words.append(name) }
        try writeText(words.joined(separator: ",") + "\n", to: hosts + "/" + Self.file(mac))
    }

    /// Makes the DHCP server ignore a machine.
    package func ignore(_ mac: MACAddress) throws {
        try writeText("\(mac.text),ignore\n", to: hosts + "/" + Self.file(mac))
    }

    /// Forgets a machine.
    ///
    /// Without a file nothing happens.
    package func forget(_ mac: MACAddress) throws {
        let path = hosts + "/" + Self.file(mac)
        guard unlink(path) == 0 || errno == ENOENT else { throw systemFault("remove \(path)") }
    }

    /// Sets the NTP server that the DHCP server announces.
    package func announce(timeServer: IPv4Address?) throws {
        let path = options + "/time"
        guard let timeServer else {
            guard unlink(path) == 0 || errno == ENOENT else { throw systemFault("remove \(path)") }
            return
        }
        try writeText("option:ntp-server,\(timeServer.text)\n", to: path)
    }

    private static func file(_ mac: MACAddress) -> String {
        mac.text.split(separator: ":").joined(separator: "-")
    }

    /// Whether a text is a host name label: 1 to 63 letters, digits and inner hyphens.
    static func isLabel(_ text: String) -> Bool {
        guard (1...63).contains(text.utf8.count), text.first != "-", text.last != "-" else {
            return false
        }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }
}
