import Basics
package import Power
import Protocol

/// A kind of machine: how it is reached and switched, what else its BMC can do, and whether an agent runs on it.
package struct NodeDriver: Sendable {
    /// What its BMC speaks.
    package enum BMCKind: Sendable {
        /// It has none.
        case none
        case ipmi
        case redfish
    }

    /// As in the node's field `driver`.
    package let name: String
    package let power: any PowerControl
    /// Without an agent its work is done at once: machines that exist only in tests.
    package let hasAgent: Bool
    package let bmcKind: BMCKind
    /// What the firmware can be told to boot from.
    package var bootDevices = BootDevice.allCases
    /// `nil` where no BMC of this kind can; then the API answers as Ironic does for a driver without it.
    package var firmware: (any FirmwareControl)?
    package var bios: (any BIOSControl)?
    package var media: (any MediaControl)?
    package var indicators: (any IndicatorControl)?
    package var sensors: (any SensorControl)?
    package var eventLog: (any EventLogControl)?
    package var network: (any NetworkControl)?
    /// Where a machine proves itself by a record of its BMC's event log, read by its number; `nil` where that cannot be.
    package var records: (any EventRecordControl)?
    /// The same by a record that is looked for.
    package var recordSearch: (any EventSearchControl)?
    /// Where a machine can prove itself by its `AssetTag` as well.
    package var assetTags: (any AssetTagControl)?
    /// `nil` where the password of a BMC's user cannot be changed.
    package var credentials: (any CredentialControl)?
    /// `nil` where BMCs of this kind send no events.
    package var events: (any EventControl)?
    /// Steps of its own, beside those of the agent.
    package var steps: (any DriverSteps)?

    package init(name: String, power: any PowerControl, hasAgent: Bool, needsBMC: Bool) {
        self.init(name: name, power: power, hasAgent: hasAgent, bmcKind: needsBMC ? .ipmi : .none)
    }

    init(name: String, power: any PowerControl, hasAgent: Bool, bmcKind: BMCKind) {
        self.name = name
        self.power = power
        self.hasAgent = hasAgent
        self.bmcKind = bmcKind
    }

    /// Whether a BMC address is needed.
    package var needsBMC: Bool { bmcKind != .none }

    /// Real machines with an IPMI BMC.
    package static func ipmi(
        _ control: some PowerControl & SensorControl & EventLogControl & NetworkControl
            & EventRecordControl & CredentialControl
    ) -> NodeDriver {
        var driver = NodeDriver(name: "ipmi", power: control, hasAgent: true, bmcKind: .ipmi)
        driver.sensors = control
        driver.eventLog = control
        driver.network = control
        driver.records = control
        driver.credentials = control
        return driver
    }

    /// Real machines with a Redfish BMC.
    package static func redfish(
        _ control: some PowerControl & FirmwareControl & BIOSControl & MediaControl
            & IndicatorControl & SensorControl & EventControl & FirmwareUpdateControl
            & CredentialControl & EventSearchControl & AssetTagControl
    ) -> NodeDriver {
        var driver = NodeDriver(
            name: "redfish",
            power: control,
            hasAgent: true,
            bmcKind: .redfish
        )
        driver.bootDevices = [.pxe, .disk, .cdrom, .bios]
        driver.firmware = control
        driver.bios = control
        driver.media = control
        driver.indicators = control
        driver.sensors = control
        driver.events = control
        driver.credentials = control
        driver.recordSearch = control
        driver.assetTags = control
        let bmc: @Sendable (Node) throws -> BMC = { try $0.driverInfo.redfish(label: $0.label) }
        driver.steps = DriverStepGroup([
            BIOSSteps(control, bmc: bmc), FirmwareSteps(control, bmc: bmc),
        ])
        return driver
    }

    /// Machines that people switch on and off; what was asked last counts as their power state.
    package static func manual() -> NodeDriver {
        NodeDriver(
            name: "manual-management",
            power: FakePower(),
            hasAgent: true,
            bmcKind: .none
        )
    }

    /// Machines that exist only in the database, to try the API; enabled by configuration only.
    package static func fake() -> NodeDriver {
        NodeDriver(name: "fake-hardware", power: FakePower(), hasAgent: false, bmcKind: .none)
    }

    /// The BMC of a node.
    /// - Throws: `Fault` that names the missing or wrong field.
    func bmc(of node: Node) throws -> BMC {
        switch bmcKind {
        case .ipmi: try node.driverInfo.bmc(label: node.label)
        case .redfish: try node.driverInfo.redfish(label: node.label)
        case .none: BMC(host: node.id.text, port: 1, user: "fake", password: Secret(""))
        }
    }
}
