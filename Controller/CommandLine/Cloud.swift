package import Basics
import FoundationEssentials
import Yams

/// How to reach a cloud and who we are there: one entry of a `clouds.yaml`.
package struct Cloud: Sendable, Equatable {
    /// The Keystone address, with its `/v3`.
    package var authURL: String
    package var userName: String
    package var password: Secret
    package var userDomain = "Default"
    package var projectName = "admin"
    package var projectDomain = "Default"
    /// The file with the certificate authority; `nil`: the system's.
    package var authorityFile: String?
    /// False only when the operator wrote `verify: false`.
    package var verifies = true

    /// The part of the address before the path: `https://192.0.2.1:6385`.
    package var base: String {
        guard let scheme = authURL.firstRange(of: "://") else { return authURL }
        let host = authURL[scheme.upperBound...].prefix { $0 != "/" }
        return String(authURL[..<scheme.upperBound] + host)
    }

    /// Reads an entry of a `clouds.yaml`.
    /// - Throws: `Fault` that names the file, the entry and what is missing.
    package init(yaml text: String, name: String, path: String) throws {
        let file: CloudsFile
        do {
            file = try YAMLDecoder().decode(CloudsFile.self, from: text)
        } catch {
            throw Fault(
                .invalid,
                "cannot read \(path): it is not a clouds.yaml; see “rdo undercloud install”",
                cause: error
            )
        }
        guard let entry = file.clouds[name] else {
            let known = file.clouds.keys.sorted().joined(separator: ", ")
            throw Fault(
                .notFound,
                "cannot find cloud “\(name)” in \(path): it holds \(known.isEmpty ? "none" : known); choose one with --os-cloud"
            )
        }
        func require(_ value: String?, _ key: String) throws -> String {
            guard let value, !value.isEmpty else {
                throw Fault(
                    .invalid,
                    "cannot use cloud “\(name)” of \(path): auth.\(key) is missing"
                )
            }
            return value
        }
        let auth = entry.auth
        var url = try require(auth.auth_url, "auth_url")
        while url.hasSuffix("/") { url.removeLast() }
        authURL = url.hasSuffix("/v3") ? url : url + "/v3"
        userName = try require(auth.username, "username")
        password = Secret(try require(auth.password, "password"))
        userDomain = auth.user_domain_name ?? userDomain
        projectName = auth.project_name ?? projectName
        projectDomain = auth.project_domain_name ?? projectDomain
        authorityFile = entry.cacert
        verifies = entry.verify ?? true
    }

    /// Finds the file as OpenStack's clients do and reads the entry.
    ///
    /// `name` comes from `--os-cloud`; without it `OS_CLOUD` counts, then `rdo`.
    package static func find(name: String?, environment: [String: String]) throws -> Cloud {
        let name = name ?? environment["OS_CLOUD"] ?? "rdo"
        let home = environment["HOME"] ?? "/root"
        let places =
            environment["OS_CLIENT_CONFIG_FILE"].map { [$0] }
            ?? [
                "clouds.yaml", "\(home)/.config/openstack/clouds.yaml",
                "/etc/openstack/clouds.yaml",
            ]
        guard let path = places.first(where: FileManager.default.fileExists(atPath:)) else {
            throw Fault(
                .notFound,
                "cannot find a clouds.yaml in \(places.joined(separator: ", ")): run “rdo undercloud install” or set OS_CLIENT_CONFIG_FILE"
            )
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Fault(.unavailable, "cannot read \(path): check who may read it")
        }
        return try Cloud(yaml: String(decoding: data, as: UTF8.self), name: name, path: path)
    }
}

/// The file's shape, with OpenStack's spelling.
private struct CloudsFile: Decodable {
    struct Auth: Decodable {
        var auth_url: String?
        var username: String?
        var password: String?
        var user_domain_name: String?
        var project_name: String?
        var project_domain_name: String?
    }

    struct Entry: Decodable {
        var auth: Auth
        var cacert: String?
        var verify: Bool?
    }

    var clouds: [String: Entry]
}
