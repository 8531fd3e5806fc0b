package import Basics
import FoundationEssentials
import Glibc
import HostTools

/// Makes this host an undercloud.
///
/// Each step looks first and changes only what is missing or different, so that a second run keeps keys,
/// passwords and data.
package struct UndercloudInstaller: Sendable {
    /// The service user: no login, no privileges.
    package static let userName = "rdo"

    /// What an install did.
    package struct Outcome: Sendable, Equatable {
        /// One sentence per thing that was made or changed.
        package var changes: [String] = []
        /// Whether running services must be started anew.
        package var needsRestart = false
        /// Where the operator's `clouds.yaml` stands.
        package var cloudsFile = ""
    }

    let layout: UndercloudLayout
    let settings: UndercloudSettings
    /// The folder with the built programs.
    let programs: String
    let person: Account
    let time: any TimeSource
    let random: any RandomSource

    /// An installer for `settings`, with the programs of a build folder, for the person who runs it.
    package init(
        layout: UndercloudLayout,
        settings: UndercloudSettings,
        programs: String,
        person: Account,
        time: any TimeSource,
        random: any RandomSource
    ) {
        self.layout = layout
        self.settings = settings
        self.programs = programs
        self.person = person
        self.time = time
        self.random = random
    }

    /// Does everything but start the services.
    /// - Throws: `Fault` that names the step's object and what to do.
    package func install() async throws -> Outcome {
        try checkPrerequisites()
        var outcome = Outcome()
        if layout.root.isEmpty { try await makeUser(&outcome) }
        try makeDirectories()
        try installPrograms(&outcome)
        try makeCertificates(&outcome)
        if try writeIfChanged(
            ControllerFile.text(settings, layout),
            to: layout.configuration,
            mode: 0o640
        ) {
            outcome.changes.append("configuration written to \(layout.configuration)")
            outcome.needsRestart = true
        }
        try await makeKeys(&outcome)
        try copyBootFiles(&outcome)
        if layout.root.isEmpty { try await makeAddress(&outcome) }
        try await installUnits(&outcome)
        try giveToService()
        return outcome
    }

    /// What must be there before anything is changed.
    private func checkPrerequisites() throws {
        if layout.root.isEmpty, !isRoot {
            throw Fault(
                .forbidden,
                "cannot install the undercloud: run it as root (sudo rdo undercloud install)"
            )
        }
        guard Tool.locate(programs + "/rdo-controller") != nil else {
            throw Fault(
                .notFound,
                "cannot install the undercloud: \(programs) has no rdo-controller; build it with “swift build -c release” or name the folder with --programs"
            )
        }
        for (tool, package) in [
            ("dnsmasq", "dnsmasq-base"), ("ipmitool", "ipmitool"), ("ip", "iproute2"),
        ]
        where Tool.locate(tool) == nil {
            throw Fault(
                .unavailable,
                "cannot install the undercloud: \(tool) is not installed; run “apt-get install \(package)”"
            )
        }
        for firmware in UndercloudLayout.firmware
        where !FileManager.default.fileExists(atPath: firmware.source) {
            throw Fault(
                .unavailable,
                "cannot install the undercloud: \(firmware.source) is missing; run “apt-get install ipxe”"
            )
        }
    }

    private func makeUser(_ outcome: inout Outcome) async throws {
        guard Account(named: Self.userName) == nil else { return }
        try await Tool.require(
            "useradd",
            [
                "--system", "--user-group", "--home-dir", layout.state, "--no-create-home",
                "--shell",
                "/usr/sbin/nologin", Self.userName,
            ],
            budget: .seconds(60),
            time: time
        )
        outcome.changes.append("user \(Self.userName) made")
    }

    private func makeDirectories() throws {
        for folder in [layout.etc, layout.etc + "/tls", layout.programs, layout.links] {
            try HostTools.makeDirectories(folder)
        }
        for folder in [
            layout.state, layout.state + "/images", layout.ramdisk, layout.tftp,
            layout.state + "/dhcp/hosts.d", layout.state + "/dhcp/options.d", layout.run,
            layout.log,
        ] {
            try HostTools.makeDirectories(folder, mode: 0o755)
        }
        chmod(layout.state, 0o750)
        chmod(layout.log, 0o750)
    }

    private func installPrograms(_ outcome: inout Outcome) throws {
        for name in UndercloudLayout.programNames {
            let source = "\(programs)/\(name)"
            let target = "\(layout.programs)/\(name)"
            guard Tool.locate(source) != nil else { continue }
            if source != target, !FileManager.default.contentsEqual(atPath: source, andPath: target)
            {
                try replace(target, with: source, mode: 0o755)
                outcome.changes.append("\(name) installed")
                if name == "rdo-controller" { outcome.needsRestart = true }
            }
            let link = "\(layout.links)/\(name)"
            guard source != link, !FileManager.default.fileExists(atPath: link) else { continue }
            unlink(link)
            guard symlink(target, link) == 0 else { throw systemFault("make the link \(link)") }
        }
    }

    private func makeCertificates(_ outcome: inout Outcome) throws {
        var names = ["localhost"]
        var addresses = ["127.0.0.1", settings.localIP.address.text].compactMap { IPv4Number($0) }
        if let address = IPv4Number(settings.publicHost) {
            addresses.append(address)
        } else {
            names.append(settings.publicHost)
        }
        if let host = hostName(), !names.contains(host) { names.append(host) }
        if let pem = readText(layout.certificate), readText(layout.authority) != nil,
            CertificateBundle.serves(pem, names: names, addresses: addresses, at: time.now)
        {
            return
        }
        let bundle = try CertificateBundle(names: names, addresses: addresses, at: time.now)
        try writeText(bundle.authority, to: layout.authority)
        try writeText(bundle.certificate, to: layout.certificate)
        try writeText(bundle.key.reveal(), to: layout.certificateKey, mode: 0o600)
        outcome.changes.append(
            "certificate made for \((names + addresses.map(\.text)).joined(separator: ", "))"
        )
        outcome.needsRestart = true
    }

    private func hostName() -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        let name = String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        let allowed = name.utf8.allSatisfy { isalnum(Int32($0)) != 0 || $0 == 45 || $0 == 46 }
        return name.isEmpty || !allowed ? nil : name.lowercased()
    }

    private func copyBootFiles(_ outcome: inout Outcome) throws {
        for firmware in UndercloudLayout.firmware {
            let target = "\(layout.tftp)/\(firmware.name)"
            guard !FileManager.default.contentsEqual(atPath: firmware.source, andPath: target)
            else { continue }
            try replace(target, with: firmware.source, mode: 0o644)
            outcome.changes.append("firmware \(firmware.name) installed")
        }
        for name in ["kernel", "initrd", "media.iso"] {
            let source = "\(settings.imagePath)/\(name)"
            let target = "\(layout.ramdisk)/\(name)"
            guard FileManager.default.fileExists(atPath: source), source != target,
                !FileManager.default.contentsEqual(atPath: source, andPath: target)
            else { continue }
            try replace(target, with: source, mode: 0o644)
            outcome.changes.append("ramdisk \(name) installed")
        }
    }

    private func installUnits(_ outcome: inout Outcome) async throws {
        guard ServiceControl(layout: layout, settings: settings, time: time).usesSystemd else {
            return
        }
        var written = false
        for unit in SystemdUnits.all {
            written =
                try writeIfChanged(unit.text, to: "\(layout.units)/\(unit.name)", mode: 0o644)
                || written
        }
        guard written else { return }
        try await Tool.require("systemctl", ["daemon-reload"], budget: .seconds(90), time: time)
        outcome.changes.append("units written to \(layout.units)")
        outcome.needsRestart = true
    }

    /// The provisioning interface gets our address unless it has it.
    private func makeAddress(_ outcome: inout Outcome) async throws {
        let prefix = settings.namespace.map { ["-n", $0] } ?? []
        let shown = try await Tool.run(
            "ip",
            prefix + ["-brief", "-4", "address", "show", "dev", settings.localInterface],
            budget: .seconds(10),
            time: time
        )
        guard shown.exitCode == 0 else {
            throw Fault(
                .notFound,
                "cannot use interface \(settings.localInterface) (local_interface): \(shown.lastWords)"
            )
        }
        guard !shown.output.split(separator: " ").contains(Substring(settings.localIP.text)) else {
            return
        }
        try await Tool.require(
            "ip",
            prefix + ["address", "add", settings.localIP.text, "dev", settings.localInterface],
            budget: .seconds(10),
            time: time
        )
        try await Tool.require(
            "ip",
            prefix + ["link", "set", settings.localInterface, "up"],
            budget: .seconds(10),
            time: time
        )
        outcome.changes.append(
            "address \(settings.localIP.text) added to \(settings.localInterface) until the next boot; make it permanent in the host's network settings"
        )
    }
}
