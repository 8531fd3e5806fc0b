/// The interfaces that each driver enables, its default first.
enum DriverInterfaces {
    static let ipmi: [String: [String]] = [
        "bios_interface": ["no-bios"], "boot_interface": ["ipxe", "pxe"],
        "console_interface": ["no-console"], "deploy_interface": ["direct"],
        "firmware_interface": ["no-firmware"], "inspect_interface": ["agent", "no-inspect"],
        "management_interface": ["ipmitool", "noop"], "network_interface": ["noop", "flat"],
        "power_interface": ["ipmitool"], "raid_interface": ["no-raid", "agent"],
        "rescue_interface": ["agent", "no-rescue"], "storage_interface": ["noop"],
        "vendor_interface": ["no-vendor"],
    ]

    static let redfish = ipmi.merging([
        "bios_interface": ["redfish", "no-bios"], "firmware_interface": ["redfish", "no-firmware"],
        "management_interface": ["redfish", "noop"], "power_interface": ["redfish"],
        "boot_interface": ["ipxe", "pxe", "redfish-virtual-media"],
    ]) { $1 }

    private static let manual = ipmi.merging([
        "management_interface": ["noop"], "power_interface": ["fake"],
    ]) { $1 }

    private static let fake = ipmi.merging(pretended.map { ($0, ["fake"] + (ipmi[$0] ?? [])) }) {
        $1
    }

    static func of(_ driver: String) -> [String: [String]] {
        switch driver {
        case "fake-hardware": fake
        case "redfish": redfish
        case "manual-management": manual
        default: ipmi
        }
    }

    /// What machines that exist only in the database pretend to do.
    private static let pretended = [
        "boot_interface", "deploy_interface", "inspect_interface", "management_interface",
        "power_interface", "raid_interface", "rescue_interface",
    ]

    /// `boot`, `deploy` …, in the order of the alphabet.
    static let kinds = ipmi.keys.sorted().map { String($0.dropLast("_interface".count)) }
}

/// What `driver_info` may hold, per driver; the names are Ironic's.
enum DriverProperties {
    static func of(_ driver: String) -> [String: String] {
        switch driver {
        case "ipmi": ipmi
        case "redfish": redfish
        default: [:]
        }
    }

    private static let ipmi = [
        "ipmi_address": "IP address or host name of the BMC. Required.",
        "ipmi_username": "User of the BMC with the administrator privilege. Required.",
        "ipmi_password": "The user's password. Required.",
        "ipmi_port": "UDP port of the BMC; 623 by default.",
        "ipmi_cipher_suite": "IPMI 2.0 cipher suite, 17 or 3. Suite 0 is refused.",
    ]

    private static let redfish = [
        "redfish_address":
            "Address of the Redfish service: https://host:port; HTTPS without a scheme. A path is the service's root. Required.",
        "redfish_system_id":
            "Path of the system, such as /redfish/v1/Systems/1. Required where the service has several.",
        "redfish_username": "User of the BMC with the role Administrator.",
        "redfish_password": "The user's password.",
        "redfish_verify_ca":
            "Whether the certificate is checked, or the PEM file of its authority on this host. True by default.",
        "redfish_auth_type": "basic, session or auto; auto by default.",
    ]
}
