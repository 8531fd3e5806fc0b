package import Basics
import HTTP

/// What a machine that boots from the network gets.
package enum BootDecision: Sendable, Equatable {
    /// The ramdisk, with a fragment of its own.
    case ramdisk
    /// Its own disk. The reason is for the log and for the machine's console.
    case localDisk(reason: String)
}

/// Decides what machines boot; implemented by Baremetal.
package protocol BootPolicy: Sendable {
    /// What a machine gets. Asked for each boot script; makes no token.
    func decision(for mac: MACAddress) async throws -> BootDecision

    /// The fragment for a machine, with a new token.
    ///
    /// Asked only for the address that holds the machine's lease, and only while a boot of it is expected
    /// or discovery is open.
    /// - Returns: `nil` when the machine gets no ramdisk.
    func fragment(for mac: MACAddress) async throws -> BootFragment?

    /// The fragment of the boot image that a BMC was told to fetch by this capability; makes no token, so that
    /// every part of the image that is fetched belongs to the same boot.
    /// - Returns: `nil` when no boot is expected by it.
    func medium(of capability: Secret) async throws -> BootFragment?
}

/// What the ramdisk's agent needs to enrol; travels in a small second initrd, never on the kernel's
/// command line, because that stays in serial logs.
package struct BootFragment: Sendable, Equatable {
    /// Where the controller is.
    package struct Controller: Sendable, Equatable {
        /// IPv4 address on the provisioning network.
        package var address: String
        package var enrolmentPort: UInt16
        package var controlPort: UInt16
        package var telemetryPort: UInt16
        /// The controller's CURVE public key in Z85.
        package var curveKey: String

        package init(
            address: String,
            enrolmentPort: UInt16 = 5601,
            controlPort: UInt16 = 5602,
            telemetryPort: UInt16 = 5603,
            curveKey: String
        ) {
            self.address = address
            self.enrolmentPort = enrolmentPort
            self.controlPort = controlPort
            self.telemetryPort = telemetryPort
            self.curveKey = curveKey
        }
    }

    package var controller: Controller
    /// 32 bytes.
    package var token: Secret
    /// `nil` when nobody knows it; the agent then takes the first interface that has a carrier.
    package var mac: MACAddress?
    /// `ramdisk` or `overcloud`.
    package var role: String
    /// What the ramdisk sets instead of asking a DHCP server.
    package var network: BootNetwork?

    package init(
        controller: Controller,
        token: Secret,
        mac: MACAddress?,
        role: String = "ramdisk",
        network: BootNetwork? = nil
    ) {
        self.controller = controller
        self.token = token
        self.mac = mac
        self.role = role
        self.network = network
    }
}

/// A network that is set, not asked for.
package struct BootNetwork: Sendable, Equatable {
    /// A way to other networks.
    package struct Route: Sendable, Equatable {
        package var destination: IPv4Address
        /// 0 to 32.
        package var prefix: Int
        package var gateway: IPv4Address

        package init(destination: IPv4Address, prefix: Int, gateway: IPv4Address) {
            self.destination = destination
            self.prefix = prefix
            self.gateway = gateway
        }
    }

    /// The network card.
    package var mac: MACAddress
    /// 1 to 4094; `nil` for untagged frames.
    package var vlan: Int?
    package var address: IPv4Address
    /// 1 to 32.
    package var prefix: Int
    package var routes: [Route]
    package var nameServers: [IPv4Address]

    package init(
        mac: MACAddress,
        vlan: Int? = nil,
        address: IPv4Address,
        prefix: Int,
        routes: [Route] = [],
        nameServers: [IPv4Address] = []
    ) {
        self.mac = mac
        self.vlan = vlan
        self.address = address
        self.prefix = prefix
        self.routes = routes
        self.nameServers = nameServers
    }
}
