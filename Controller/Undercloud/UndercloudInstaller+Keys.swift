package import Basics
import FoundationEssentials
import Glibc
import HostTools

extension UndercloudInstaller {
    /// Bytes of the admin password: 192 bits.
    private static let passwordBytes = 24

    /// Lets the controller make its missing keys, then writes the operator's `clouds.yaml` and `openrc`.
    func makeKeys(_ outcome: inout Outcome) async throws {
        let clouds = person.home + "/.config/openstack/clouds.yaml"
        outcome.cloudsFile = clouds
        let old = readText(clouds)
        let known = old.flatMap(CloudsEntry.password)
        let hashed = FileManager.default.fileExists(atPath: layout.adminHash)
        let password = hashed ? known ?? makePassword() : makePassword()
        let isNew = !hashed || known == nil

        var arguments = ["--config", layout.configuration, "--prepare"]
        if isNew { arguments.append("--admin-password-from-input") }
        let result = try await Tool.require(
            layout.programs + "/rdo-controller",
            arguments,
            input: isNew ? password.revealBytes() : [],
            budget: .seconds(120),
            time: time
        )
        let made = result.output.split(separator: "\n").map(String.init)
        outcome.changes += made
        if !made.isEmpty { outcome.needsRestart = true }

        let entry = CloudsEntry(
            authURL: "https://\(settings.publicHost):\(settings.apiPort)/identity/v3",
            password: password,
            authorityFile: layout.authority
        )
        let text = try entry.merged(into: old, path: clouds)
        let script = person.home + "/.config/openstack/openrc"
        let isSame = readText(script) == entry.openrc
        guard text != old || !isSame else { return }
        let folder = person.home + "/.config/openstack"
        let isOurs = !FileManager.default.fileExists(atPath: folder)
        try HostTools.makeDirectories(folder, mode: 0o700)
        try writeText(text, to: clouds, mode: 0o600)
        try writeText(entry.openrc, to: script, mode: 0o600)
        if layout.root.isEmpty {
            if isOurs {
                try person.own(person.home + "/.config")
                try person.own(folder)
            }
            try person.own(clouds)
            try person.own(script)
        }
        outcome.changes.append("cloud “rdo” written to \(clouds), and for shells to \(script)")
    }

    private func makePassword() -> Secret {
        Secret(
            Data(random.bytes(Self.passwordBytes)).base64EncodedString()
                .map { $0 == "+" ? "-" : $0 == "/" ? "_" : String($0) }.joined()
        )
    }

    /// What the service writes belongs to it; what it only reads belongs to root.
    func giveToService() throws {
        guard layout.root.isEmpty else { return }
        guard let account = Account(named: Self.userName) else {
            throw Fault(
                .notFound,
                "cannot find user \(Self.userName): it was removed during the install"
            )
        }
        for name in [
            "sealing.key", "token.key", "curve.key", "admin.hash", "tls/server.key",
            "controller.yaml",
        ] {
            let path = "\(layout.etc)/\(name)"
            if FileManager.default.fileExists(atPath: path) { try account.own(path) }
        }
        for path in [layout.state, layout.run, layout.log] {
            try account.own(path)
            // A folder that cannot be listed is reported by the service that needs it.
            for entry in (try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? [] {
                try account.own("\(path)/\(entry)")
            }
        }
    }

    /// Writes a text unless the file holds it already.
    /// - Returns: whether it was written.
    func writeIfChanged(_ text: String, to path: String, mode: UInt32) throws -> Bool {
        guard readText(path) != text else { return false }
        try writeText(text, to: path, mode: mode)
        return true
    }

    /// Puts a copy in place of a file in one step, so that a running program keeps its old file.
    func replace(_ target: String, with source: String, mode: UInt32) throws {
        let temporary = target + ".new"
        do {
            if FileManager.default.fileExists(atPath: temporary) {
                try FileManager.default.removeItem(atPath: temporary)
            }
            try FileManager.default.copyItem(atPath: source, toPath: temporary)
        } catch {
            throw Fault(
                .unavailable,
                "cannot copy \(source) to \(target): check space and permissions",
                cause: error
            )
        }
        chmod(temporary, mode)
        guard rename(temporary, target) == 0 else { throw systemFault("replace \(target)") }
    }
}

/// Removes what install made.
package struct UndercloudRemoval: Sendable {
    private let layout: UndercloudLayout
    private let person: Account
    private let time: any TimeSource

    package init(layout: UndercloudLayout, person: Account, time: any TimeSource) {
        self.layout = layout
        self.person = person
        self.time = time
    }

    /// Removes every file, the units, the cloud's entry and the service user; services are stopped before.
    /// - Throws: `Fault` that names what could not be removed.
    package func remove() async throws {
        for unit in SystemdUnits.all { unlink("\(layout.units)/\(unit.name)") }
        for name in UndercloudLayout.programNames {
            let link = "\(layout.links)/\(name)"
            // Only our own links: a package's program of that name is no link of ours.
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: link)
            if target == "\(layout.programs)/\(name)" { unlink(link) }
        }
        for folder in [
            layout.state, layout.etc, layout.run, layout.log, layout.root + "/usr/lib/rdo",
        ]
        where FileManager.default.fileExists(atPath: folder) {
            do {
                try FileManager.default.removeItem(atPath: folder)
            } catch {
                throw Fault(
                    .unavailable,
                    "cannot remove \(folder): it is in use or protected",
                    cause: error
                )
            }
        }
        try removeCloud()
        guard layout.root.isEmpty, Account(named: UndercloudInstaller.userName) != nil else {
            return
        }
        try await Tool.require(
            "userdel",
            [UndercloudInstaller.userName],
            budget: .seconds(60),
            time: time
        )
    }

    private func removeCloud() throws {
        unlink(person.home + "/.config/openstack/openrc")
        let clouds = person.home + "/.config/openstack/clouds.yaml"
        guard let text = readText(clouds) else { return }
        guard let rest = CloudsEntry.removed(from: text) else {
            unlink(clouds)
            return
        }
        guard rest != text else { return }
        try writeText(rest, to: clouds, mode: 0o600)
        if layout.root.isEmpty { try person.own(clouds) }
    }
}
