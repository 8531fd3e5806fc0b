package import Basics
import Boot
import FoundationEssentials
import HostTools
import Identity
import Store
import Transport

/// Makes the keys that are missing and the DHCP server's configuration; install calls it as root.
package struct Preparation: Sendable {
    private let configuration: ControllerConfiguration
    private let random: any RandomSource

    package init(configuration: ControllerConfiguration, random: some RandomSource) {
        self.configuration = configuration
        self.random = random
    }

    /// Does it; existing keys are never replaced, the admin password only when one is given.
    /// - Returns: a sentence per thing that was made or changed.
    package func run(adminPassword: Secret?) throws -> [String] {
        var made: [String] = []
        let identity = configuration.identity
        try make(identity.sealingKey, "sealing key", &made) { Secret(bytes: random.bytes(32)) }
        try make(identity.tokenKey, "token key", &made) { TokenSigner.makeKey() }
        try make(configuration.agents.curveKey, "CURVE key", &made) {
            let pair = CurveKeyPair()
            try writeText(pair.publicKey.z85 + "\n", to: publicKeyFile)
            return pair.secretKey
        }
        if let adminPassword {
            let hash = try PasswordHash(of: adminPassword, random: random)
            try writeText(hash.text.reveal() + "\n", to: identity.adminHash, mode: 0o600)
            made.append("hash of the admin password written to \(identity.adminHash)")
        } else if !FileManager.default.fileExists(atPath: identity.adminHash) {
            throw Fault(
                .unavailable,
                "cannot prepare the controller: \(identity.adminHash) is missing; give the password with --admin-password-from-input"
            )
        }
        try writeDHCP(&made)
        return made
    }

    /// Beside the secret key, readable by everybody: the name with `.pub` in place of `.key`.
    private var publicKeyFile: String {
        let secret = configuration.agents.curveKey
        return (secret.hasSuffix(".key") ? String(secret.dropLast(4)) : secret) + ".pub"
    }

    private func make(
        _ path: String,
        _ what: String,
        _ made: inout [String],
        _ key: () throws -> Secret
    ) throws {
        guard !FileManager.default.fileExists(atPath: path) else { return }
        try KeyFile.create(path, try key())
        made.append("\(what) made in \(path)")
    }

    private func writeDHCP(_ made: inout [String]) throws {
        let boot = configuration.boot
        func address(_ text: String) throws -> IPv4Address {
            guard let address = IPv4Address(text) else {
                throw Fault(.invalid, "cannot configure DHCP: “\(text)” is no IPv4 address")
            }
            return address
        }
        let directory = configuration.stateDirectory + "/dhcp"
        let text = DNSMasqConfiguration(
            interface: boot.interface,
            address: try address(boot.address),
            netmask: try address(boot.netmask),
            rangeStart: try address(boot.rangeStart),
            rangeEnd: try address(boot.rangeEnd),
            httpPort: boot.port,
            tftpDirectory: configuration.stateDirectory + "/tftp",
            stateDirectory: directory,
            pidFile: configuration.runDirectory + "/dnsmasq.pid"
        ).text
        let path = directory + "/dnsmasq.conf"
        guard readText(path) != text else { return }
        try makeDirectories(directory)
        try writeText(text, to: path)
        made.append("DHCP configuration written to \(path)")
    }
}
