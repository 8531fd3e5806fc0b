import Basics
import Glibc
import Harness
import HostTools
import Testing

@testable import Undercloud

/// An undercloud that is installed into a folder, with the real controller making its keys.
@Suite struct InstallTests {
    private let folder: TemporaryFolder
    private let installer: UndercloudInstaller
    private var home: String { folder.path + "/home" }
    private var openrc: String { home + "/.config/openstack/openrc" }
    private var clouds: String { home + "/.config/openstack/clouds.yaml" }

    init() throws {
        folder = try TemporaryFolder()
        let controller = try BuiltProgram.path("rdo-controller")
        installer = UndercloudInstaller(
            layout: UndercloudLayout(root: folder.path + "/root"),
            settings: try UndercloudSettings(),
            programs: controller.split(separator: "/").dropLast().map { "/\($0)" }.joined(),
            person: Account(
                name: "kim",
                user: getuid(),
                group: getgid(),
                home: folder.path + "/home"
            ),
            time: SystemTime(),
            random: SystemRandom()
        )
    }

    private func mode(_ path: String) throws -> mode_t {
        var status = stat()
        try #require(stat(path, &status) == 0, "\(path)")
        return status.st_mode & 0o7777
    }

    @Test func `what holds the password is the operator's alone, and a second install keeps it`()
        async throws
    {
        let outcome = try await installer.install()
        #expect(outcome.cloudsFile == clouds)
        for path in [openrc, clouds] { #expect(try mode(path) == 0o600, "\(path)") }
        #expect(try mode(home + "/.config/openstack") == 0o700)
        let text = try #require(readText(clouds))
        let password = try #require(CloudsEntry.password(in: text))
        #expect(password.reveal().utf8.count == 32)
        let script = try #require(readText(openrc))
        #expect(script.contains("OS_PASSWORD") && script.contains(password.reveal()))
        for path in ["etc/rdo/sealing.key", "etc/rdo/token.key", "etc/rdo/admin.hash"] {
            #expect(try mode(folder.path + "/root/" + path) == 0o600, "\(path)")
        }
        let again = try await installer.install()
        #expect(again.changes == [] && !again.needsRestart)
        #expect(readText(clouds) == text && readText(openrc) == script)
    }

    @Test func `an openrc that everybody could read is closed when it is written anew`()
        async throws
    {
        try makeDirectories(home + "/.config/openstack")
        try writeText("export OS_PASSWORD=old\n", to: openrc, mode: 0o644)
        try writeText(
            "clouds:\n  prod:\n    auth: {auth_url: https://prod.example}\n",
            to: clouds,
            mode: 0o644
        )
        _ = try await installer.install()
        for path in [openrc, clouds] { #expect(try mode(path) == 0o600, "\(path)") }
        #expect(readText(openrc)?.contains("OS_PASSWORD=old") == false)
        #expect(readText(clouds)?.contains("prod.example") == true)
    }
}
