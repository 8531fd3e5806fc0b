package import Agents
package import Baremetal
import Basics
package import Telemetry

/// Everything that can be set, checked, as one value that is read once at start.
package struct ControllerConfiguration: Sendable, Equatable {
    /// The HTTPS API.
    package struct API: Sendable, Equatable {
        /// `nil`: only on sockets that are handed over.
        package var address: String?
        package var port: Int
        package var publicURL: String
        package var certificate: String
        package var key: String
        package var authority: String
    }

    /// Boot files and the provisioning network.
    package struct Boot: Sendable, Equatable {
        package var address: String
        package var port: UInt16
        package var discovery: Bool
        package var interface: String
        package var netmask: String
        package var rangeStart: String
        package var rangeEnd: String
        package var leaseSeconds: Int
    }

    /// The wire to the agents.
    package struct Agents: Sendable, Equatable {
        package var enrolmentPort: UInt16
        package var controlPort: UInt16
        package var telemetryPort: UInt16
        package var streamPort: UInt16
        package var curveKey: String
        package var trustsFirstBoot: Bool
        package var proof: ProofPolicy
        package var metricInterval: Duration
    }

    /// Keys and tokens.
    package struct Identity: Sendable, Equatable {
        package var sealingKey: String
        package var tokenKey: String
        package var adminHash: String
        package var tokenLifetime: Duration
    }

    package var stateDirectory: String
    package var runDirectory: String
    package var logLevel: String
    package var api: API
    package var boot: Boot
    package var agents: Agents
    package var identity: Identity
    package var automatedClean: Bool
    /// The turns of cleaning steps, by `interface.step`.
    package var cleanPriorities: [String: Int]
    package var fakeHardware: Bool
    package var powerPoll: Duration
    package var redfishEvents: Bool
    package var rotatesCredentials: Bool
    package var work = WorkLimits()
    package var webhooks = WebhookRules()
    package var webhookAuthority: String?
    package var stylesheet: String?
    package var eventsKeep: Duration

    /// Takes the values; the sources have checked each of them.
    /// - Throws: `Fault` when values do not go together.
    package init(_ sources: ConfigurationSources) throws {
        func number(_ key: String) -> Int { Int(sources[key]) ?? 0 }
        func port(_ key: String) -> UInt16 { UInt16(sources[key]) ?? 0 }
        stateDirectory = sources["state_directory"]
        runDirectory = sources["run_directory"]
        logLevel = sources["log.level"]
        api = API(
            address: sources["api.address"].isEmpty ? nil : sources["api.address"],
            port: number("api.port"),
            publicURL: sources["api.public_url"],
            certificate: sources["api.certificate"],
            key: sources["api.key"],
            authority: sources["api.authority"]
        )
        boot = Boot(
            address: sources["boot.address"],
            port: port("boot.port"),
            discovery: sources["boot.discovery"] == "true",
            interface: sources["dhcp.interface"],
            netmask: sources["dhcp.netmask"],
            rangeStart: sources["dhcp.start"],
            rangeEnd: sources["dhcp.end"],
            leaseSeconds: number("dhcp.lease")
        )
        agents = Agents(
            enrolmentPort: port("agents.enrolment_port"),
            controlPort: port("agents.control_port"),
            telemetryPort: port("agents.telemetry_port"),
            streamPort: port("agents.stream_port"),
            curveKey: sources["agents.curve_key"],
            trustsFirstBoot: sources["agents.trust_first_boot"] == "true",
            proof: ProofPolicy(rawValue: sources["agents.bmc_proof"]) ?? .offered,
            metricInterval: .seconds(number("agents.metric_interval"))
        )
        identity = Identity(
            sealingKey: sources["identity.sealing_key"],
            tokenKey: sources["identity.token_key"],
            adminHash: sources["identity.admin_hash"],
            tokenLifetime: .seconds(60 * number("identity.token_lifetime"))
        )
        automatedClean = sources["baremetal.automated_clean"] == "true"
        cleanPriorities = [
            "deploy.erase_devices": Int(number("baremetal.erase_devices_priority")),
            "deploy.erase_devices_metadata": Int(
                number("baremetal.erase_devices_metadata_priority")
            ),
        ]
        fakeHardware = sources["baremetal.fake_hardware"] == "true"
        powerPoll = .seconds(number("baremetal.power_poll"))
        redfishEvents = sources["baremetal.redfish_events"] == "true"
        rotatesCredentials = sources["baremetal.rotate_bmc_credentials"] == "true"
        work.inspection = number("work.inspections")
        work.cleaning = number("work.cleanings")
        work.deployment = number("work.deployments")
        work.service = number("work.services")
        work.waitingMax = number("work.waiting")
        webhooks.allowsPlain = sources["webhooks.plain"] == "true"
        webhooks.allowsInternal = sources["webhooks.internal"] == "true"
        let bytes = { (key: String) in sources[key].split(separator: ".").compactMap { UInt8($0) } }
        webhooks.network = (bytes("boot.address"), bytes("dhcp.netmask"))
        webhookAuthority =
            sources["webhooks.authority"].isEmpty ? nil : sources["webhooks.authority"]
        stylesheet = sources["dashboard.stylesheet"].isEmpty ? nil : sources["dashboard.stylesheet"]
        eventsKeep = .seconds(86_400 * number("events.keep"))
        try refusePortsUsedTwice()
    }

    private func refusePortsUsedTwice() throws {
        let ports: [(key: String, port: Int)] = [
            ("api.port", api.port), ("boot.port", Int(boot.port)),
            ("agents.enrolment_port", Int(agents.enrolmentPort)),
            ("agents.control_port", Int(agents.controlPort)),
            ("agents.telemetry_port", Int(agents.telemetryPort)),
            ("agents.stream_port", Int(agents.streamPort)),
        ]
        for (index, entry) in ports.enumerated() {
            guard let other = ports[..<index].first(where: { $0.port == entry.port }) else {
                continue
            }
            throw Fault(
                .invalid,
                "cannot use port \(entry.port) for \(entry.key): \(other.key) has it; choose another"
            )
        }
    }
}

/// The sample file, made of the settings themselves.
package enum SampleConfiguration {
    /// The text of `packaging/controller.sample.yaml`: every key with its comment, commented out.
    package static var text: String {
        var lines = [
            "# /etc/rdo/controller.yaml: made by rdo-controller --print-sample-configuration.",
            "# Every key may also be given as --set KEY=VALUE or as an environment variable (RDO_API_PORT);",
            "# a flag counts before a variable, a variable before this file. Unknown keys are refused.",
        ]
        var section = ""
        for setting in Setting.all {
            let words = setting.key.split(separator: ".")
            let here = words.count > 1 ? String(words[0]) : ""
            if here != section || section.isEmpty { lines.append("") }
            if here != section, !here.isEmpty { lines.append("#\(here):") }
            section = here
            let indent = here.isEmpty ? "" : "  "
            lines.append("#\(indent)# \(setting.comment) (\(setting.description))")
            let value = setting.standard.isEmpty ? #""""# : setting.standard
            lines.append("#\(indent)\(words.last ?? ""): \(value)")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
