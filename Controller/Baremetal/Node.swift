package import Basics
package import HTTP
package import Power
package import Protocol

/// A machine under the controller's care.
package struct Node: Sendable, Equatable {
    package let id: NodeID
    /// Unique when there is one; a host name label or several with dots.
    package var name: String?
    package var driver: String
    package var driverInfo: DriverInfo
    /// What the machine is made of and can do, for scheduling.
    package var properties: [String: JSONValue]
    package var extra: [String: JSONValue]
    /// What is to be installed.
    package var instanceInfo: [String: JSONValue]
    package var instanceID: String?
    package var instanceName: String?
    package var networkData: [String: JSONValue]
    package var description: String?
    package var resourceClass: String?
    package var conductorGroup: String
    package var owner: String?
    package var lessee: String?
    /// The chassis that it stands in, by UUID.
    package var chassis: String?
    /// The node that it is a part of.
    package var parent: NodeID?
    package var shard: String?
    /// The allocation that it is reserved for, by UUID.
    package internal(set) var allocation: String?
    /// Whether nobody may switch it off, because its parts share a power supply.
    package var isPowerOffDisabled = false
    package var traits: [String]
    /// `nil`: as the configuration says.
    package var automatedClean: Bool?
    package var protected: Flag
    package var retired: Flag
    /// Interfaces that were named by the operator; others have the driver's default.
    package var interfaces: [String: String]

    package internal(set) var state: ProvisionState
    /// When the node came into its present state, its phases not counted.
    package internal(set) var stateSince: Timestamp
    /// Grows with each wish; what carries a lower number is out of date.
    package internal(set) var attempt: Attempt
    /// For whom the present work is done: a project, or a user who speaks for the whole installation.
    package internal(set) var party = ""
    /// Since when its work waits for its turn; `nil` when it does not.
    package internal(set) var queuedAt: Timestamp?
    /// When its bounded work began; `nil` in other states.
    package internal(set) var startedAt: Timestamp?
    /// What the BMC last told; `nil` before it was asked.
    package var powerState: PowerState?
    /// How the firmware boots and whether it starts signed systems only, as the BMC last told.
    package var observedBootMode: BootMode?
    package var secureBoot: Bool?
    package internal(set) var powerWish: PowerWish?
    package internal(set) var maintenance: Maintenance?
    /// Somebody at the rack forbids every power action.
    package internal(set) var lockout: Lockout?
    /// Why the last work failed; for people.
    package internal(set) var lastError: String?
    /// The last lines of the console of the command that failed.
    package internal(set) var lastLines: [String]
    /// What the last erase proved, disk by disk.
    package internal(set) var erasures: [Erasure] = []
    /// Which RAID the operator wants; empty without one.
    package internal(set) var targetRAIDConfig: [String: JSONValue] = [:]
    /// Which RAID the machine has, as it was built; empty without one.
    package internal(set) var raidConfig: [String: JSONValue] = [:]
    /// What holds up the present work, and when it is tried again.
    package internal(set) var obstacle: Obstacle?
    /// The boot image that its BMC was told to show; `nil` when no image of ours is in the drive.
    package internal(set) var bootMedium: BootMedium?
    package var createdAt: Timestamp
    package var updatedAt: Timestamp?
    package internal(set) var inspectionStartedAt: Timestamp?
    package internal(set) var inspectionFinishedAt: Timestamp?

    /// A new node in state `enroll`.
    package init(id: NodeID, driver: String, at now: Timestamp) {
        self.id = id
        self.driver = driver
        driverInfo = DriverInfo()
        properties = [:]
        extra = [:]
        instanceInfo = [:]
        networkData = [:]
        conductorGroup = ""
        traits = []
        protected = Flag()
        retired = Flag()
        interfaces = [:]
        state = .enroll
        stateSince = now
        attempt = Attempt(0)
        lastLines = []
        createdAt = now
    }

    /// The name, or the identifier of a node without one.
    package var label: String { name ?? id.text }
}

/// What one boot from virtual media is made of.
package struct BootMedium: Sendable, Equatable {
    /// The part of the image's address that nobody can guess.
    package var key: Secret
    /// What lets the agent of this boot enrol.
    package var token: Secret

    private static let route = "/boot/media/"

    /// Whether an image's address is one of ours.
    static func isBootImage(_ address: String) -> Bool { address.contains(route) }

    /// A text for people without the addresses of boot images: whoever knows that of a boot gets its token.
    static func masked(_ text: String) -> String {
        var parts = text.split(separator: route, omittingEmptySubsequences: false).map(String.init)
        for index in parts.indices.dropFirst() {
            let end = parts[index].firstIndex { !$0.isASCII || " /\"'\n\t<>".contains($0) }
            parts[index] = "***" + parts[index][(end ?? parts[index].endIndex)...]
        }
        return parts.joined(separator: route)
    }
}

/// A yes or no with a reason.
package struct Flag: Sendable, Equatable, Codable {
    package var isSet = false
    package var reason: String?
}

/// Taken out of the controller's hands: no automatic power action until it ends.
package struct Maintenance: Sendable, Equatable, Codable {
    package var reason: String?
    package var since: Timestamp
}

/// No power action at all, not even one that an operator asks for.
package struct Lockout: Sendable, Equatable, Codable {
    package var reason: String
    package var user: String
    package var since: Timestamp
}

/// Something that the present work runs into and that may pass.
package struct Obstacle: Sendable, Equatable, Codable {
    /// A sentence for people.
    package var message: String
    package var tries: Int
    package var at: Timestamp
    package var nextTry: Timestamp
}

/// A power change that an operator asked for.
package struct PowerWish: Sendable, Equatable, Codable {
    /// What Ironic calls the target.
    package enum Target: String, Sendable, Codable, CaseIterable {
        case on = "power on"
        case off = "power off"
        case reboot = "rebooting"
        case softOff = "soft power off"
        case softReboot = "soft rebooting"
    }

    /// How far the change is.
    package enum Phase: Sendable, Equatable, Codable {
        /// Nothing was asked of the BMC yet.
        case ask
        /// The machine is to be off before it is switched on again, or for good.
        case goingOff
        /// The machine is to come on.
        case goingOn
    }

    package var target: Target
    package var phase: Phase
    package var since: Timestamp
    package var deadline: Timestamp

    /// The power state in the end.
    package var goal: PowerState {
        switch target {
        case .on, .reboot, .softReboot: .on
        case .off, .softOff: .off
        }
    }
}

/// What the driver needs to reach the machine, its secrets apart from the rest.
package struct DriverInfo: Sendable, Equatable {
    /// What may be seen.
    package var fields: [String: JSONValue]
    /// What may not; sealed at rest, masked in every answer.
    package var secrets: [String: Secret]

    /// What every answer shows in place of a secret, as OpenStack does.
    package static let mask = "******"

    package init(fields: [String: JSONValue] = [:], secrets: [String: Secret] = [:]) {
        self.fields = fields
        self.secrets = secrets
    }

    /// Splits what a request holds.
    ///
    /// A masked secret keeps the value it had.
    package init(merging members: [String: JSONValue], over old: DriverInfo = DriverInfo()) {
        self.init()
        for (key, value) in members {
            guard Self.isSecret(key) else {
                fields[key] = value
                continue
            }
            guard let text = value.plainText else { continue }
            secrets[key] = text == Self.mask ? old.secrets[key] ?? Secret("") : Secret(text)
        }
    }

    /// Whether a value of this name is a secret.
    package static func isSecret(_ key: String) -> Bool {
        let key = key.lowercased()
        return [
            "password", "secret", "token", "private_key", "passphrase", "auth_key", "community",
        ]
        .contains { key.contains($0) }
    }

    /// A document of others' with its secrets masked.
    static func mask(_ members: [String: JSONValue]) -> [String: JSONValue] {
        Dictionary(
            uniqueKeysWithValues: members.map { key, value in
                (key, isSecret(key) ? .string(mask) : value)
            }
        )
    }

    /// Everything, with secrets masked.
    package var masked: [String: JSONValue] {
        fields.merging(secrets.mapValues { _ in .string(Self.mask) }) { $1 }
    }

    /// Where the BMC is.
    ///
    /// `label` is the node, for messages.
    /// - Throws: `Fault` of kind `invalid` that names the missing or wrong field.
    package func bmc(label: String) throws -> BMC {
        func fail(_ what: String) -> Fault {
            Fault(.invalid, "cannot reach the BMC of node \(label): \(what)")
        }
        guard let host = fields["ipmi_address"]?.text, !host.isEmpty else {
            throw fail("driver_info has no ipmi_address; set it with --driver-info ipmi_address=…")
        }
        guard BMC.isAddress(host) else {
            throw fail("ipmi_address “\(host.prefix(80))” is no address or host name")
        }
        let port = fields["ipmi_port"]?.wholeNumber ?? (fields["ipmi_port"] == nil ? 623 : 0)
        guard let port = UInt16(exactly: port), port > 0 else {
            throw fail("ipmi_port is no number from 1 to 65535")
        }
        let user = fields["ipmi_username"]?.text ?? ""
        guard BMC.isUser(user) else {
            throw fail(
                "ipmi_username is missing, begins with a hyphen or is longer than 16 characters"
            )
        }
        guard let password = secrets["ipmi_password"], !password.isEmpty else {
            throw fail("driver_info has no ipmi_password")
        }
        var suite: UInt8?
        if let value = fields["ipmi_cipher_suite"], value != .null {
            guard let number = value.wholeNumber, [3, 17].contains(number) else {
                throw fail("ipmi_cipher_suite must be 17 or 3; suite 0 has no authentication")
            }
            suite = UInt8(number)
        }
        return BMC(host: host, port: port, user: user, password: password, cipherSuite: suite)
    }
}
