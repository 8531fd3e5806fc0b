import Basics
import Harness
import FoundationEssentials
import HostTools
import Protocol
import Testing
import Undercloud

@Suite struct UndercloudFilesTests {
    private let now = Timestamp(seconds: 1_795_000_000)

    @Test func `a made certificate serves the names it was made for, until it gets old`() throws {
        let address = try #require(IPv4Number("192.0.2.1"))
        let other = try #require(IPv4Number("192.0.2.2"))
        let bundle = try CertificateBundle(names: ["localhost"], addresses: [address], at: now)
        func serves(_ names: [String], _ addresses: [IPv4Number], later: Duration = .zero) -> Bool {
            CertificateBundle.serves(
                bundle.certificate,
                names: names,
                addresses: addresses,
                at: now + later
            )
        }
        #expect(serves(["localhost"], [address]))
        #expect(!serves(["localhost", "c0"], [address]))
        #expect(!serves(["localhost"], [other]))
        #expect(!serves(["localhost"], [address], later: .seconds(800 * 86_400)))
        #expect(!CertificateBundle.serves("no certificate", names: [], addresses: [], at: now))
    }

    @Test func `openssl believes the certificate and its key`() async throws {
        let folder = try TemporaryFolder()
        let address = try #require(IPv4Number("192.0.2.1"))
        let bundle = try CertificateBundle(
            names: ["localhost"],
            addresses: [address],
            at: SystemTime().now
        )
        try writeText(bundle.authority, to: folder.path + "/ca.pem")
        try writeText(bundle.certificate, to: folder.path + "/server.pem")
        try writeText(bundle.key.reveal(), to: folder.path + "/server.key")
        let verified = try await Tool.require(
            "openssl",
            [
                "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "192.0.2.1",
                "-CAfile",
                folder.path + "/ca.pem", folder.path + "/server.pem",
            ],
            budget: .seconds(30),
            time: SystemTime()
        )
        #expect(verified.output.contains("OK"))
        let key = try await Tool.require(
            "openssl",
            ["pkey", "-in", folder.path + "/server.key", "-pubout"],
            budget: .seconds(30),
            time: SystemTime()
        )
        let certified = try await Tool.require(
            "openssl",
            ["x509", "-in", folder.path + "/server.pem", "-noout", "-pubkey"],
            budget: .seconds(30),
            time: SystemTime()
        )
        #expect(key.output == certified.output)
    }

    @Test func `a shell reads every value of openrc as it is, whatever it holds`() async throws {
        let folder = try TemporaryFolder()
        let password = #"it's "$(touch \(folder.path)/ran)" `id` \ #1"#
        let entry = CloudsEntry(
            authURL: "https://127.0.0.1:6385/identity/v3",
            password: Secret(password),
            authorityFile: "/etc/rdo/tls/ca.pem"
        )
        let path = folder.path + "/openrc"
        try writeText(entry.openrc, to: path, mode: 0o600)
        let shown = try await Tool.require(
            "bash",
            [
                "-c",
                #"source "$0" && printf '%s|%s|%s' "$OS_PASSWORD" "$OS_AUTH_URL" "$OS_CLOUD""#,
                path,
            ],
            environment: ["OS_CLOUD": "another"],
            budget: .seconds(30),
            time: SystemTime()
        )
        #expect(shown.output == "\(password)|https://127.0.0.1:6385/identity/v3|")
        #expect(readText(folder.path + "/ran") == nil)
    }

    @Test func `other clouds stay when ours is written and removed`() throws {
        let old = "clouds:\n  prod:\n    auth:\n      username: me\n"
        let entry = CloudsEntry(
            authURL: "https://127.0.0.1:6385/identity/v3",
            password: Secret("p:w#d"),
            authorityFile: "/etc/rdo/tls/ca.pem"
        )
        let text = try entry.merged(into: old, path: "clouds.yaml")
        #expect(text.contains("prod:"))
        #expect(CloudsEntry.password(in: text) == Secret("p:w#d"))
        #expect(try entry.merged(into: text, path: "clouds.yaml") == text)
        let rest = try #require(CloudsEntry.removed(from: text))
        #expect(rest.contains("prod:"))
        #expect(CloudsEntry.password(in: rest) == nil)
        #expect(CloudsEntry.removed(from: try entry.merged(into: nil, path: "clouds.yaml")) == nil)
    }

    @Test func `the units in packaging are those that install writes`() throws {
        for unit in SystemdUnits.all {
            #expect(readText(repository + "/packaging/units/" + unit.name) == unit.text)
        }
    }

    @Test func `the controller's file holds what undercloud.conf says`() throws {
        var settings = try UndercloudSettings()
        settings.publicHost = "127.0.0.1"
        let text = ControllerFile.text(settings, UndercloudLayout())
        #expect(text.contains("public_url: https://127.0.0.1:6385\n"))
        #expect(text.contains("interface: eth1\n"))
        #expect(text.contains("state_directory: /var/lib/rdo\n"))
    }
}

/// The repository that this test was built from.
private var repository: String {
    "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
}
