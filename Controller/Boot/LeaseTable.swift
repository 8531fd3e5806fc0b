package import Basics
import Glibc
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
/// It is read anew for each question, because the answer decides who gets a boot fragment; only lines that
/// hold what is asked for are taken apart, since a thousand machines that start together ask two thousand
/// times.
package struct LeaseTable: Sendable {
    private let path: String
    private let time: any TimeSource

    /// Leases that are looked at; more than there may be nodes.
    package static let leasesMax = 16_384

    /// The path is that of dnsmasq's `dhcp-leasefile`.
    package init(path: String, time: any TimeSource) {
        self.path = path
        self.time = time
    }

    /// The address that holds a MAC's lease; `nil` without a lease that is still valid.
    package func address(of mac: MACAddress) -> IPv4Address? {
        leases(with: mac.text).last { $0.mac == mac }?.address
    }

    /// The MAC whose lease an address is.
    package func mac(at address: IPv4Address) -> MACAddress? {
        leases(with: address.text).last { $0.address == address }?.mac
    }

    /// The IP address that the DHCP server gave to a MAC (lower case, colons).
    package func leasedAddress(of mac: String) async -> String? {
        MACAddress(mac).flatMap(address(of:))?.text
    }

    /// What is valid now.
    package var leases: [Lease] { valid(Self.parse(readText(path) ?? "")) }

    private func valid(_ leases: [Lease]) -> [Lease] {
        let now = time.now.nanoseconds / 1_000_000_000
        return leases.filter { $0.expires == 0 || $0.expires > now }
    }

    private func leases(with word: String) -> [Lease] {
        valid(Self.parse(Self.lines(of: readText(path) ?? "", with: word)))
    }

    /// The lines that contain a word; dnsmasq writes MACs in lower case, as we do.
    static func lines(of text: String, with word: String) -> String {
        let word = Array(word.utf8)
        var text = text
        return text.withUTF8 { bytes in
            var found: [UInt8] = []
            var start = 0
            while start < bytes.count, let place = first(word, in: bytes, from: start) {
                var begin = place
                while begin > start, bytes[begin - 1] != 10 { begin -= 1 }
                var end = place
                while end < bytes.count, bytes[end] != 10 { end += 1 }
                found += bytes[begin..<end] + [10]
                start = end + 1
            }
            return String(decoding: found, as: UTF8.self)
        }
    }

    private static func first(
        _ word: [UInt8],
        in bytes: UnsafeBufferPointer<UInt8>,
        from start: Int
    ) -> Int? {
        guard let base = bytes.baseAddress, let head = word.first else { return nil }
        var place = start
        while place + word.count <= bytes.count,
            let found = memchr(base + place, CInt(head), bytes.count - place)
        {
            place = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            guard place + word.count <= bytes.count else { return nil }
            if memcmp(base + place, word, word.count) == 0 { return place }
            place += 1
        }
        return nil
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
