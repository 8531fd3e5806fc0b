package import HTTP

// What some BMCs can do beyond power and the boot device. Every call is bounded in time and safe to repeat;
// all throw `PowerFault`, with the reason `unsupported` where the machine has no such thing.

/// Chooses how a machine's firmware boots.
package protocol FirmwareControl: Sendable {
    /// How the machine boots and whether it starts signed systems only; `nil` where its BMC does not tell.
    func bootPolicy(of bmc: BMC) async throws -> BootPolicyState

    /// Chooses the boot mode; it may take the machine's next start to show.
    func setBootMode(_ mode: BootMode, of bmc: BMC) async throws

    /// Switches secure boot; it may take the machine's next start to show.
    func setSecureBoot(_ isOn: Bool, of bmc: BMC) async throws

    /// The versions of the machine's firmware.
    func components(of bmc: BMC) async throws -> [FirmwareComponent]
}

/// How a machine boots, as its BMC tells.
package struct BootPolicyState: Sendable, Equatable {
    package var mode: BootMode?
    package var isSecure: Bool?

    package init(mode: BootMode? = nil, isSecure: Bool? = nil) {
        self.mode = mode
        self.isSecure = isSecure
    }
}

/// A piece of firmware and its version.
package struct FirmwareComponent: Sendable, Equatable {
    /// `bios`, `bmc`, or `nic:` and the adapter's name.
    package var name: String
    package var version: String
    package var vendor: String?
    package var model: String?
    package var serial: String?

    package init(
        name: String,
        version: String,
        vendor: String? = nil,
        model: String? = nil,
        serial: String? = nil
    ) {
        self.name = name
        self.version = version
        self.vendor = vendor
        self.model = model
        self.serial = serial
    }
}

/// Reads and changes the settings of a machine's firmware.
package protocol BIOSControl: Sendable {
    /// All settings, in the order of their names.
    func settings(of bmc: BMC) async throws -> [BIOSSetting]

    /// Changes settings; they hold from the machine's next start. What does not fit the firmware's own rules is refused.
    func apply(_ settings: [String: JSONValue], of bmc: BMC) async throws

    /// The names of changed settings that the firmware did not take over yet; `nil` where the BMC does not tell.
    func pending(of bmc: BMC) async throws -> Set<String>?

    /// Gives all settings their values of the factory, from the machine's next start.
    func reset(of bmc: BMC) async throws
}

/// One setting of a machine's firmware.
package struct BIOSSetting: Sendable, Equatable {
    /// What the firmware says that a setting may be.
    package struct Rule: Sendable, Equatable {
        /// `Enumeration`, `String`, `Integer`, `Boolean` or `Password`.
        package var type: String?
        package var allowed: [String]?
        package var lowerBound: Int64?
        package var upperBound: Int64?
        package var lengthMin: Int64?
        package var lengthMax: Int64?
        package var isReadOnly: Bool?
        package var needsReset: Bool?
        package var isUnique: Bool?
    }

    package var name: String
    package var value: JSONValue
    /// `nil` when the firmware has no registry of its settings.
    package var rule: Rule?

    package init(name: String, value: JSONValue, rule: Rule? = nil) {
        self.name = name
        self.value = value
        self.rule = rule
    }
}

/// Puts images into drives that a BMC pretends to have.
package protocol MediaControl: Sendable {
    /// The drives, in the order of the BMC.
    func media(of bmc: BMC) async throws -> [VirtualMedium]

    /// Puts an image into the first drive of a kind; what was in drives of that kind is taken out before.
    ///
    /// `image`: the address from which the BMC itself reads.
    func insert(_ image: String, into kind: VirtualMedium.Kind, of bmc: BMC) async throws

    /// Takes images out of the drives of these kinds, or of all.
    func eject(_ kinds: [VirtualMedium.Kind]?, of bmc: BMC) async throws
}

/// A drive that a BMC pretends to have.
package struct VirtualMedium: Sendable, Equatable {
    /// What a drive takes; the raw values are Ironic's.
    package enum Kind: String, Sendable, CaseIterable {
        case cdrom
        case dvd
        case disk
        case floppy
    }

    package let id: String
    /// In the BMC's words: `CD`, `DVD`, `USBStick`, `Floppy`.
    package let types: [String]
    package let image: String?
    package let isInserted: Bool
    package let isWriteProtected: Bool?
    package let connectedVia: String?

    package init(
        id: String,
        types: [String],
        image: String?,
        isInserted: Bool,
        isWriteProtected: Bool? = nil,
        connectedVia: String? = nil
    ) {
        self.id = id
        self.types = types
        self.image = image
        self.isInserted = isInserted
        self.isWriteProtected = isWriteProtected
        self.connectedVia = connectedVia
    }
}

/// Switches the lamps of a machine.
package protocol IndicatorControl: Sendable {
    /// All lamps.
    func indicators(of bmc: BMC) async throws -> [Indicator]

    /// Switches one; of kind `unsupported` when the machine has no such lamp.
    func set(_ state: Indicator.State, of indicator: Indicator.Name, of bmc: BMC) async throws
}

/// A lamp of a machine.
package struct Indicator: Sendable, Equatable {
    /// What it shows; the raw values are Ironic's.
    package enum State: String, Sendable, CaseIterable {
        case on = "ON"
        case off = "OFF"
        case blinking = "BLINKING"
        case unknown = "UNKNOWN"
    }

    /// Which lamp it is.
    package struct Name: Sendable, Hashable {
        /// `system` or `chassis`.
        package let component: String
        package let id: String

        package init(component: String, id: String) {
            self.component = component
            self.id = id
        }
    }

    package let name: Name
    package let state: State
}

/// Reads a machine's sensors.
package protocol SensorControl: Sendable {
    /// The readings, in the order of the BMC.
    func readings(of bmc: BMC) async throws -> [SensorReading]
}

/// What one sensor shows.
package struct SensorReading: Sendable, Equatable {
    /// What it measures.
    package enum Kind: String, Sendable, CaseIterable {
        case temperature
        case fan
        case voltage
        case power
        case powerSupply = "power_supply"
    }

    package let kind: Kind
    package let name: String
    /// `nil` when the sensor shows nothing just now.
    package let value: Double?
    /// As UCUM writes it: `Cel`, `RPM`, `%`, `V`, `W`.
    package let unit: String
    /// In the BMC's words, such as `Enabled` or `Absent`.
    package let state: String?
    /// In the BMC's words: `OK`, `Warning` or `Critical`.
    package let health: String?

    package init(
        kind: Kind,
        name: String,
        value: Double?,
        unit: String,
        state: String?,
        health: String?
    ) {
        self.kind = kind
        self.name = name
        self.value = value
        self.unit = unit
        self.state = state
        self.health = health
    }
}

/// Reads what a BMC wrote down about its machine.
package protocol EventLogControl: Sendable {
    /// The newest entries of its event log, the oldest of them first.
    ///
    /// `max`: how many, 1 to 500.
    func events(of bmc: BMC, max: Int) async throws -> [BMCEvent]
}

/// One entry of a BMC's event log, in the BMC's words.
package struct BMCEvent: Sendable, Equatable {
    /// The entry's number in the log; a log that was cleared counts anew.
    package let id: UInt16
    /// By the BMC's clock, which is often wrong; `nil` where it noted none.
    package let at: String?
    /// What kind of sensor saw it, or which record of the maker's it is.
    package let source: String
    /// The sensor's number in hexadecimal digits.
    package let sensor: String?
    /// `nil` for a record that only its maker can read.
    package let text: String?
    /// Whether something began; false when it ended, `nil` when the entry does not say.
    package let isAsserted: Bool?
    /// The entry's bytes, in hexadecimal digits.
    package let data: String

    package init(
        id: UInt16,
        at: String?,
        source: String,
        sensor: String?,
        text: String?,
        isAsserted: Bool?,
        data: String
    ) {
        self.id = id
        self.at = at
        self.source = source
        self.sensor = sensor
        self.text = text
        self.isAsserted = isAsserted
        self.data = data
    }
}

/// Reads how a BMC is reached, as it knows it itself.
package protocol NetworkControl: Sendable {
    /// Its own network settings.
    func network(of bmc: BMC) async throws -> BMCNetwork
}

/// A BMC's own network settings; what it does not tell is `nil`.
package struct BMCNetwork: Sendable, Equatable {
    package var address: String?
    /// Where it has the address from, in its words: `DHCP Address`, `Static Address`.
    package var source: String?
    package var netmask: String?
    package var gateway: String?
    /// Lower case with colons.
    package var mac: String?
    package var vlan: UInt16?

    package init() {}

    /// Whether this is the BMC that an address names.
    ///
    /// `nil` when it cannot be told: a host name, another family, or a BMC that does not know its own address. False
    /// is no proof of a mistake either: there may be address translation on the way.
    package func isAt(_ host: String) -> Bool? {
        guard let address, IPMIAnswer.ipv4(host) != nil else { return nil }
        return address == host
    }
}

/// Reads single records of a BMC's event log, to which the machine itself may write.
package protocol EventRecordControl: Sendable {
    /// A record's type and its 13 bytes; `nil` when the log has none of this number.
    func record(_ number: UInt16, of bmc: BMC) async throws -> EventRecord?

    /// Takes a record out of the log; BMCs need not be able to.
    func forget(_ number: UInt16, of bmc: BMC) async throws
}

/// Looks for a record that a machine wrote into its BMC's event log, where records cannot be read by their numbers.
package protocol EventSearchControl: Sendable {
    /// Looks through the event log of one machine, and of no other behind the same BMC.
    /// - Throws: `PowerFault`; of reason `unsupported` when there is no event log.
    func search(for record: EventRecord, of bmc: BMC) async throws -> EventSearch
}

/// Reads and changes the text by which a site names a machine.
package protocol AssetTagControl: Sendable {
    /// The text; empty when there is none.
    /// - Throws: `PowerFault`; of reason `unsupported` when the machine has no place for one.
    func assetTag(of bmc: BMC) async throws -> String

    /// Whether the text becomes this one within a few looks.
    func shows(assetTag: String, of bmc: BMC) async throws -> Bool

    /// Changes the text, if the one that stands there may be replaced.
    /// - Returns: whether it was changed.
    func set(
        assetTag: String,
        where mayReplace: @escaping @Sendable (String) -> Bool,
        of bmc: BMC
    ) async throws -> Bool
}

/// What an event log shows of a record.
package enum EventSearch: Sendable, Equatable {
    /// This record.
    case found
    /// Records of its type, all of them other ones.
    case others
    /// None of its type, or it is longer than what is read of it.
    case nothing
}

/// What a record of an event log holds.
package struct EventRecord: Sendable, Equatable {
    package let type: UInt8
    package let data: [UInt8]

    package init(type: UInt8, data: [UInt8]) {
        self.type = type
        self.data = data
    }
}

/// Puts other firmware into a machine.
package protocol FirmwareUpdateControl: Sendable {
    /// Has the BMC fetch an image by itself and install it; returns once the BMC took the order.
    ///
    /// What it is for the BMC tells by the image.
    /// - Returns: where the BMC tells how far it is; `nil` when it does not tell.
    func update(from url: String, of bmc: BMC) async throws -> String?

    /// How far an update is, by what `update` returned.
    func state(ofUpdate task: String, of bmc: BMC) async throws -> FirmwareUpdateState
}

/// How far an update of firmware is, as the BMC tells.
package enum FirmwareUpdateState: Sendable, Equatable {
    /// It works; percent where it tells them.
    case running(percent: Int?)
    /// It waits: for the machine's restart, or for its turn.
    case waiting
    case done
    /// In the BMC's words.
    case failed(String)
    /// The BMC knows nothing of it any more.
    case gone
}
