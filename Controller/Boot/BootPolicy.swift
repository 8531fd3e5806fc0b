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
    package var mac: MACAddress
    /// `ramdisk` or `overcloud`.
    package var role: String

    package init(controller: Controller, token: Secret, mac: MACAddress, role: String = "ramdisk") {
        self.controller = controller
        self.token = token
        self.mac = mac
        self.role = role
    }
}
