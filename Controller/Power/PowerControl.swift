package import Basics

/// Whether a machine has power, as its BMC tells.
package enum PowerState: String, Sendable, Codable, CaseIterable {
    case on = "power on"
    case off = "power off"
    /// The BMC answered something that is neither.
    case unknown = "error"
}

/// What a machine's power is asked to do.
package enum PowerChange: String, Sendable, Codable, CaseIterable {
    case on
    /// At once; the running system loses what it did not write.
    case off
    /// Asks the running system to shut down.
    case softOff
    /// Off, a pause, on.
    case cycle
}

/// What a machine boots from.
package enum BootDevice: String, Sendable, Codable, CaseIterable {
    case pxe
    case disk
    case cdrom
    case bios
    case safe
}

/// What the firmware is told to boot from.
package struct BootChoice: Sendable, Equatable {
    /// `nil` when the firmware follows its own order.
    package let device: BootDevice?
    /// Whether it holds for every boot or only for the next one.
    package let isPersistent: Bool

    package init(device: BootDevice?, isPersistent: Bool) {
        self.device = device
        self.isPersistent = isPersistent
    }
}

/// How the firmware boots.
package enum BootMode: String, Sendable, Codable, CaseIterable {
    case bios
    case uefi
}

/// Where a BMC is and who may speak to it.
package struct BMC: Sendable, Hashable {
    package let host: String
    package let port: UInt16
    package let user: String
    package let password: Secret
    /// IPMI cipher suite, never 0; `nil` uses the driver's.
    package let cipherSuite: UInt8?
    /// How its Redfish service is reached; `nil` for a BMC that speaks IPMI.
    package let redfish: RedfishAccess?

    package init(
        host: String,
        port: UInt16,
        user: String,
        password: Secret,
        cipherSuite: UInt8? = nil,
        redfish: RedfishAccess? = nil
    ) {
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.cipherSuite = cipherSuite
        self.redfish = redfish
    }

    /// Host and port, for messages.
    package var endpoint: String { "\(host):\(port)" }
}

/// Switches a machine on and off and chooses its boot device, through its BMC.
///
/// Every call is bounded in time and safe to repeat. Answers are foreign text: they are parsed strictly.
/// All throw `PowerFault`.
package protocol PowerControl: Sendable {
    /// Whether the machine has power.
    func power(of bmc: BMC) async throws -> PowerState

    /// Asks for a change and returns once the BMC took it; whether it happened tells `power`.
    func change(_ change: PowerChange, of bmc: BMC) async throws

    /// Chooses what the machine boots from, next time or always.
    func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws

    /// What the machine is told to boot from.
    func bootDevice(of bmc: BMC) async throws -> BootChoice

    /// The BMC's own GUID, a UUID in lower case; `nil` when it has none that can be read.
    func identity(of bmc: BMC) async throws -> String?

    /// Interrupts the running system, so that it shows or dumps where it hangs.
    func injectNMI(into bmc: BMC) async throws
}

extension PowerControl {
    /// For those that have no such interrupt.
    package func injectNMI(into bmc: BMC) async throws {
        throw Fault(
            .invalid,
            "cannot inject an NMI at \(bmc.endpoint): its driver does not support inject_nmi"
        )
    }
}

/// Why a BMC did not do what it was asked.
package struct PowerFault: FaultConvertible, Sendable, Equatable {
    /// What went wrong, as far as it can be told apart.
    package enum Reason: String, Sendable {
        /// Nothing answered in time.
        case noAnswer
        /// The user is unknown or the password wrong.
        case credentials
        /// The user may not do this.
        case privilege
        /// The BMC refused or answered nonsense.
        case refused
        /// A cipher suite or another setting of ours does not fit.
        case settings
        /// The tool is missing or broken.
        case tool
        /// The machine has no such thing, or what was asked of it does not exist.
        case unsupported
    }

    package let reason: Reason
    /// One sentence for people.
    package let message: String
    /// The tool's own words, for the log.
    package let detail: String

    package init(_ reason: Reason, _ message: String, detail: String = "") {
        self.reason = reason
        self.message = message
        self.detail = detail
    }

    /// Whether a later try may succeed without anybody changing a setting.
    package var isTransient: Bool {
        switch reason {
        case .noAnswer, .refused: true
        case .credentials, .privilege, .settings, .tool, .unsupported: false
        }
    }

    /// As a refusal of a request.
    ///
    /// Never 503, which Ironic's clients repeat on their own: a wrong password that is tried six times locks users
    /// out of BMCs.
    package var fault: Fault {
        let kind: Fault.Kind =
            switch reason {
            case .noAnswer: .timeout
            case .credentials, .privilege, .refused, .settings, .unsupported: .invalid
            case .tool: .unavailable
            }
        return Fault(kind, message, detail: detail)
    }
}
