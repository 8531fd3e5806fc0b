import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// The virtual data centre and the undercloud that `packaging/quickstart` left running on this host.
struct RunningCloud {
    /// One machine as `rdo lab status --json` tells of it.
    struct Machine: Decodable {
        var name: String
        var power: String
        var firmware: String
        var serialLog: String
    }

    /// Whether `packaging/check` brought one up before these tests.
    static let isUp = getenv("TEST_LAB").map { String(cString: $0) } == "1"

    static let cloudsFile: String = {
        let home = getenv("HOME").map { String(cString: $0) } ?? "/root"
        return home + "/.config/openstack/clouds.yaml"
    }()
    static let authority = "/etc/rdo/tls/ca.pem"
    /// Where the API is on the host's loopback.
    static let api = "127.0.0.1:6385"
    /// The root partition's place on a disk of our overcloud image, in bytes (`DiskLayout`).
    private static let rootStart = 64 << 20
    /// The repository.
    static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    let machines: [Machine]

    init() async throws {
        struct Status: Decodable {
            var machines: [Machine]
        }
        let text = try await Self.rdo("lab", "status", "--json")
        machines = try JSONDecoder().decode(Status?.self, from: Data(text.utf8))?.machines ?? []
        guard !machines.isEmpty else {
            throw Fault(.unavailable, "cannot test the lab: it is down; run packaging/quickstart")
        }
    }

    var names: [String] { machines.map(\.name) }

    /// Runs the installed `rdo`, which must succeed.
    static func rdo(_ arguments: String...) async throws -> String {
        try await Tool.require(
            "/usr/lib/rdo/bin/rdo",
            arguments,
            environment: ["OS_CLOUD": "rdo"],
            budget: .seconds(60),
            time: SystemTime()
        ).output
    }

    /// A program that must succeed; its output.
    static func output(
        _ program: String,
        _ arguments: [String],
        budget: Duration = .seconds(60)
    ) async throws -> String {
        try await Tool.require(program, arguments, budget: budget, time: SystemTime()).output
    }

    /// A file on a machine's root file system, read from the disk under the running machine; `nil` when it is not
    /// there (yet).
    static func file(_ path: String, on machine: String) async throws -> String? {
        let disk = "/var/lib/rdo-lab/\(machine)/disk.raw?offset=\(rootStart)"
        let result = try await Tool.run(
            "debugfs",
            ["-R", "cat \(path)", disk],
            budget: .seconds(60),
            time: SystemTime()
        )
        let isMissing = result.exitCode != 0 || result.errorOutput.contains("not found")
        return isMissing ? nil : result.output
    }
}
