/// Where everything of an undercloud stands; below `root`, so that tests install into a folder.
package struct UndercloudLayout: Sendable, Equatable {
    /// Empty on a real host.
    package let root: String

    package init(root: String = "") { self.root = root }

    package var etc: String { root + "/etc/rdo" }
    package var state: String { root + "/var/lib/rdo" }
    package var run: String { root + "/run/rdo" }
    package var log: String { root + "/var/log/rdo" }
    package var programs: String { root + "/usr/lib/rdo/bin" }
    package var links: String { root + "/usr/bin" }
    package var units: String { root + "/etc/systemd/system" }

    package var configuration: String { etc + "/controller.yaml" }
    package var installed: String { etc + "/undercloud.conf" }
    package var authority: String { etc + "/tls/ca.pem" }
    package var certificate: String { etc + "/tls/server.pem" }
    package var certificateKey: String { etc + "/tls/server.key" }
    package var adminHash: String { etc + "/admin.hash" }
    package var dnsmasqConfiguration: String { state + "/dhcp/dnsmasq.conf" }
    package var tftp: String { state + "/tftp" }
    package var ramdisk: String { state + "/http/ramdisk" }

    package var controllerPID: String { run + "/controller.pid" }
    package var controllerLog: String { log + "/controller.log" }
    package var dnsmasqPID: String { run + "/rdo-dnsmasq.pid" }
    package var dnsmasqLog: String { log + "/dnsmasq.log" }

    /// Programs that belong to the undercloud, by name.
    package static let programNames = ["rdo-controller", "rdo", "rdo-ramdisk", "rdo-agent"]
    /// Firmware for network boot and where Debian's ipxe package has it.
    package static let firmware = [
        (name: "undionly.kpxe", source: "/usr/lib/ipxe/undionly.kpxe"),
        (name: "snponly.efi", source: "/usr/lib/ipxe/snponly.efi"),
    ]
}
