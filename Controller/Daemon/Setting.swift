import Agents
/// One key of the controller's configuration.
package struct Setting: Sendable {
    /// What a value must be.
    package enum Kind: Sendable {
        case text
        case path
        /// A path, or empty for “not used”.
        case optionalPath
        /// An IPv4 address.
        case address
        /// An IPv4 address, or empty for “not used”.
        case optionalAddress
        case url
        case boolean
        case choice([String])
        /// A whole number in this range, counted in this unit.
        case number(ClosedRange<Int>, unit: String)
    }

    /// Words joined by dots: `api.port`.
    ///
    /// In the file the words before the last dot are sections; as an environment variable it is
    /// `RDO_API_PORT`.
    package let key: String
    package let kind: Kind
    package let standard: String
    /// A sentence for the sample file.
    package let comment: String

    package init(_ key: String, _ kind: Kind, _ standard: String, _ comment: String) {
        self.key = key
        self.kind = kind
        self.standard = standard
        self.comment = comment
    }

    /// The environment variable's name.
    package var variable: String {
        "RDO_" + key.uppercased().map { $0 == "." ? "_" : String($0) }.joined()
    }

    /// Why the value is not allowed; `nil` when it is.
    package func problem(with value: String) -> String? {
        switch kind {
        case .text: return nil
        case .path: return value.hasPrefix("/") ? nil : "it must be an absolute path"
        case .optionalPath:
            return value.isEmpty || value.hasPrefix("/")
                ? nil : "it must be an absolute path or empty"
        case .optionalAddress where value.isEmpty: return nil
        case .address, .optionalAddress:
            let parts = value.split(separator: ".", omittingEmptySubsequences: false)
            let valid = parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
            return valid ? nil : "it must be an IPv4 address"
        case .url:
            let valid = value.hasPrefix("https://") && value.count > 8 && !value.hasSuffix("/")
            return valid ? nil : "it must be an https address without a path or a slash at its end"
        case .boolean: return ["true", "false"].contains(value) ? nil : "it must be true or false"
        case .choice(let choices):
            return choices.contains(value)
                ? nil : "it must be one of \(choices.joined(separator: ", "))"
        case .number(let range, let unit):
            guard let number = Int(value), range.contains(number) else {
                return
                    "it must be a whole number from \(range.lowerBound) to \(range.upperBound) (\(unit))"
            }
            return nil
        }
    }

    /// Type, unit and range, for the sample file.
    package var description: String {
        switch kind {
        case .text: "text"
        case .path: "absolute path"
        case .optionalPath: "absolute path, or empty"
        case .address: "IPv4 address"
        case .optionalAddress: "IPv4 address, or empty"
        case .url: "https address"
        case .boolean: "true or false"
        case .choice(let choices): "one of \(choices.joined(separator: ", "))"
        case .number(let range, let unit): "\(unit), \(range.lowerBound) to \(range.upperBound)"
        }
    }
}

extension Setting {
    private static func port(_ key: String, _ standard: Int, _ comment: String) -> Setting {
        Setting(key, .number(1...65535, unit: "TCP port"), String(standard), comment)
    }

    private static func work(_ key: String, _ standard: Int, _ comment: String) -> Setting {
        Setting("work.\(key)", .number(1...10_000, unit: "nodes"), String(standard), comment)
    }

    /// Every key, in the order of the sample file.
    package static let all: [Setting] = [
        Setting(
            "state_directory",
            .path,
            "/var/lib/rdo",
            "Holds the database, images and boot files; back it up."
        ),
        Setting("run_directory", .path, "/run/rdo", "Holds pid files and local sockets."),
        Setting(
            "log.level",
            .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]),
            "info",
            "What is less important than this is not logged."
        ),

        Setting(
            "api.address",
            .optionalAddress,
            "0.0.0.0",
            "Where the HTTPS API listens; sockets handed over by the service manager come on top. Empty: only those."
        ),
        port("api.port", 6385, "The HTTPS API's port."),
        Setting(
            "api.public_url",
            .url,
            "https://192.0.2.1:6385",
            "The address that the service catalog gives to clients."
        ),
        Setting(
            "api.certificate",
            .path,
            "/etc/rdo/tls/server.pem",
            "The API's certificate chain (PEM)."
        ),
        Setting(
            "api.key",
            .path,
            "/etc/rdo/tls/server.key",
            "The API's private key (PEM, mode 0600)."
        ),
        Setting(
            "api.authority",
            .path,
            "/etc/rdo/tls/ca.pem",
            "The authority that agents trust (PEM)."
        ),

        Setting(
            "boot.address",
            .address,
            "192.0.2.1",
            "Our address on the provisioning network: boot files and agents reach us there."
        ),
        port(
            "boot.port",
            8088,
            "The port of the boot files (plain HTTP, as network boot needs it)."
        ),
        Setting(
            "boot.discovery",
            .boolean,
            "true",
            "Whether machines that nobody registered get the ramdisk and appear in state enroll."
        ),

        Setting(
            "dhcp.interface",
            .text,
            "eth1",
            "The network interface on the provisioning network."
        ),
        Setting("dhcp.netmask", .address, "255.255.255.0", "The provisioning network's mask."),
        Setting("dhcp.start", .address, "192.0.2.100", "First address given to machines."),
        Setting("dhcp.end", .address, "192.0.2.199", "Last address given to machines."),
        Setting(
            "dhcp.lease",
            .number(120...86_400, unit: "seconds"),
            "3600",
            "How long a machine keeps its address without asking again."
        ),

        port("agents.enrolment_port", 5601, "ZeroMQ port where new agents introduce themselves."),
        port("agents.control_port", 5602, "ZeroMQ port for commands and reports."),
        port("agents.telemetry_port", 5603, "ZeroMQ port for metrics."),
        port("agents.stream_port", 5604, "ZeroMQ port of the live stream for dashboards."),
        Setting(
            "agents.curve_key",
            .path,
            "/etc/rdo/curve.key",
            "Our secret CURVE key (Z85, mode 0600)."
        ),
        Setting(
            "agents.trust_first_boot",
            .boolean,
            "false",
            "Whether the first key of an expected boot is believed without proof through the BMC."
        ),
        Setting(
            "agents.bmc_proof",
            .choice(ProofPolicy.allCases.map(\.rawValue)),
            ProofPolicy.offered.rawValue,
            "Whether machines prove themselves through their BMCs instead of waiting for an operator; required: even if trust_first_boot is true."
        ),
        Setting(
            "agents.metric_interval",
            .number(1...3600, unit: "seconds"),
            "10",
            "How often agents send their metrics."
        ),

        Setting(
            "identity.sealing_key",
            .path,
            "/etc/rdo/sealing.key",
            "Seals secrets in the database (32 bytes, mode 0600); keep it outside every backup."
        ),
        Setting(
            "identity.token_key",
            .path,
            "/etc/rdo/token.key",
            "Signs tokens (PEM, mode 0600)."
        ),
        Setting(
            "identity.admin_hash",
            .path,
            "/etc/rdo/admin.hash",
            "The hash of the admin's password, as install wrote it (mode 0600)."
        ),
        Setting(
            "identity.token_lifetime",
            .number(5...1440, unit: "minutes"),
            "60",
            "How long a token is valid."
        ),

        Setting(
            "baremetal.automated_clean",
            .boolean,
            "true",
            "Whether a node is cleaned before it becomes available."
        ),
        Setting(
            "baremetal.erase_devices_priority",
            .number(0...999, unit: "priority"),
            "0",
            "The turn of erasing whole disks in automated cleaning; 0 leaves it out."
        ),
        Setting(
            "baremetal.erase_devices_metadata_priority",
            .number(0...999, unit: "priority"),
            "99",
            "The turn of erasing the metadata of disks in automated cleaning; 0 leaves it out."
        ),
        Setting(
            "baremetal.power_poll",
            .number(10...3600, unit: "seconds"),
            "60",
            "How often each BMC is asked for the power state."
        ),
        Setting(
            "baremetal.redfish_events",
            .boolean,
            "false",
            "Whether Redfish BMCs are told to send their events to api.public_url, which they must reach."
        ),
        Setting(
            "baremetal.rotate_bmc_credentials",
            .boolean,
            "false",
            "Whether a BMC's user gets a new password, known to the controller alone, when its node is verified."
        ),

        Setting(
            "baremetal.fake_hardware",
            .boolean,
            "false",
            "Whether nodes of the driver fake-hardware may be made: machines that exist only in the database."
        ),

        work("inspections", 100, "How many nodes are inspected at a time; others wait their turn."),
        work("cleanings", 100, "How many nodes are cleaned at a time."),
        work("deployments", 50, "How many nodes are deployed at a time."),
        work("services", 50, "How many nodes are serviced, rescued or unrescued at a time."),
        Setting(
            "work.waiting",
            .number(0...100_000, unit: "nodes"),
            "10000",
            "How many nodes may wait for their turn; what is asked beyond that is answered with 503."
        ),

        Setting(
            "dashboard.stylesheet",
            .optionalPath,
            "/usr/share/javascript/bootstrap5/css/bootstrap.min.css",
            "Bootstrap's style sheet for the dashboard; without it the pages are plain."
        ),
        Setting(
            "webhooks.plain",
            .boolean,
            "false",
            "Whether webhooks may go over plain HTTP."
        ),
        Setting(
            "webhooks.internal",
            .boolean,
            "false",
            "Whether webhooks may go to this host and to the provisioning network."
        ),
        Setting(
            "webhooks.authority",
            .optionalPath,
            "",
            "The authorities whose certificates webhooks trust (PEM). Empty: the system's."
        ),

        Setting(
            "events.keep",
            .number(1...3650, unit: "days"),
            "30",
            "How long the change feed and the audit trail are kept."
        ),
    ]
}
