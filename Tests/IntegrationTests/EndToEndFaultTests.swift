import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// What happens in the middle of the work, with real machines: `packaging/check` runs these after quickstart.
@Suite(
    .serialized,
    .enabled(if: RunningCloud.isUp, "the lab is down; packaging/check brings it up")
)
struct EndToEndFaultTests {
    /// Where the random data of the image begins, and how much there is.
    private static let (dataStart, dataBytes) = (1 << 20, 400 << 20)

    /// The first machine loses its power while the image is written; the second one's write goes on while the
    /// controller is killed.
    @Test func `deployments survive a power cut and a killed controller`() async throws {
        let cloud = try await RunningCloud()
        let api = try await CloudAPI()
        try #require(cloud.names.count >= 2)
        let (cut, spared) = (cloud.names[0], cloud.names[1])
        let folder = try TemporaryFolder()
        let image = try await makeImage(in: folder)
        _ = try await RunningCloud.rdo("image", "upload", image, "--name", "faults")
        for name in [cut, spared] { try await api.provision(name, to: "deleted") }
        for name in [cut, spared] {
            try await api.wait(for: name, within: .seconds(600)) { $0.isIn("available") }
        }
        _ = try await RunningCloud.rdo("node", "deploy", cut, spared, "--image", "faults")

        try await api.wait(for: cut, within: .seconds(300)) { $0.writtenPart > 0.3 }
        #expect(try await RunningCloud.rdo("lab", "power-cut", cut).contains("lost its power"))
        let controller = try #require(BackgroundProcess(pidFile: "/run/rdo/controller.pid"))
        try await controller.kill(time: SystemTime())
        let begun = try await writes(on: spared)
        _ = try await RunningCloud.rdo("undercloud", "start")

        for name in [cut, spared] {
            let node = try await api.wait(for: name, within: .seconds(900)) {
                $0.isIn("active", "deploy failed", "error")
            }
            #expect(node.provision_state == "active", "\(name): \(node.last_error ?? "")")
            // Every byte of the image is on the disk, whatever happened on the way.
            try await Tool.require(
                "cmp",
                [
                    "--ignore-initial=\(Self.dataStart)", "--bytes=\(Self.dataBytes)", image,
                    "/var/lib/rdo-lab/\(name)/disk.raw",
                ],
                budget: .seconds(120),
                time: SystemTime()
            )
        }
        let summary = try await api.node(cut).driver_internal_info.rdo_last_lines?.last ?? ""
        // What stood on the disk before the cut is not written again.
        #expect(summary.hasPrefix("wrote ") && !summary.contains("kept 0 B"), "\(summary)")
        // The other agent went on without a controller and was not told to begin again.
        #expect(begun == 1)
        #expect(try await writes(on: spared) == 1)
        try await api.delete(image: "faults")
    }

    /// A disk with a partition full of random bytes: nothing of it is on any machine.
    private func makeImage(in folder: TemporaryFolder) async throws -> String {
        let path = folder.path + "/faults.raw"
        let size = Self.dataStart + Self.dataBytes + (1 << 20)
        _ = try await RunningCloud.output("truncate", ["--size=\(size)", path])
        _ = try await RunningCloud.output(
            "dd",
            [
                "if=/dev/urandom", "of=\(path)", "bs=1M", "seek=\(Self.dataStart >> 20)",
                "count=\(Self.dataBytes >> 20)", "conv=notrunc",
            ]
        )
        _ = try await RunningCloud.output(
            "sgdisk",
            ["--clear", "--new=1:2048:\((Self.dataStart + Self.dataBytes) / 512 - 1)", path]
        )
        return path
    }

    /// How many writes of an image the machine's present boot began.
    private func writes(on machine: String) async throws -> Int {
        let text = try await RunningCloud.output("cat", ["/var/lib/rdo-lab/\(machine)/serial.log"])
        let boot = text.components(separatedBy: "agent: rdo-agent").last ?? ""
        return boot.components(separatedBy: "command accepted attempt").dropFirst()
            .filter { $0.prefix(60).contains("command=write_image") }.count
    }
}

/// The Bare Metal API of the running cloud.
struct CloudAPI {
    struct Node: Decodable {
        struct Internal: Decodable {
            struct Waiting: Decodable {
                var phase: String?
                var bytes_done: Double?
                var bytes_total: Double?
            }
            var rdo_waiting: Waiting?
            var rdo_last_lines: [String]?
        }
        var provision_state: String
        var last_error: String?
        var driver_internal_info: Internal

        func isIn(_ states: String...) -> Bool { states.contains(provision_state) }

        /// How much of the image's chunks is written, 0 to 1; clearing holes before counts for nothing.
        var writtenPart: Double {
            guard let waiting = driver_internal_info.rdo_waiting, waiting.phase == "write",
                let total = waiting.bytes_total, total > 0
            else { return 0 }
            return (waiting.bytes_done ?? 0) / total
        }
    }

    private let token: String

    init() async throws {
        struct Token: Decodable {
            var id: String
        }
        let text = try await RunningCloud.output(
            RunningCloud.root + "/.build/quickstart/venv/bin/openstack",
            ["--os-cloud", "rdo", "token", "issue", "-f", "json"]
        )
        token = try JSONDecoder().decode(Token.self, from: Data(text.utf8)).id
    }

    func node(_ name: String) async throws -> Node {
        let text = try await call(["--max-time", "10"], "/v1/nodes/\(name)")
        return try JSONDecoder().decode(Node.self, from: Data(text.utf8))
    }

    func delete(image: String) async throws {
        _ = try await RunningCloud.output(
            RunningCloud.root + "/.build/quickstart/venv/bin/openstack",
            ["--os-cloud", "rdo", "image", "delete", image]
        )
    }

    func provision(_ name: String, to target: String, with members: String = "") async throws {
        let status = try await call(
            [
                "--request", "PUT", "--json", #"{"target": "\#(target)"\#(members)}"#, "--output",
                "/dev/null", "--write-out", "%{http_code}",
            ],
            "/v1/nodes/\(name)/states/provision"
        )
        guard status == "202" else {
            throw Fault(.internalError, "cannot ask \(name) to become \(target): HTTP \(status)")
        }
    }

    /// Sets members of `instance_info`.
    func set(_ members: [String: String], of name: String) async throws {
        let patch = members.sorted { $0.key < $1.key }.map { key, value in
            #"{"op": "add", "path": "/instance_info/\#(key)", "value": "\#(value)"}"#
        }
        let status = try await call(
            [
                "--request", "PATCH", "--json", "[\(patch.joined(separator: ","))]", "--output",
                "/dev/null", "--write-out", "%{http_code}",
            ],
            "/v1/nodes/\(name)"
        )
        guard status == "200" else {
            throw Fault(.internalError, "cannot change node \(name): HTTP \(status)")
        }
    }

    /// Asks twice a second until the node is as wanted; a controller that is away is asked again.
    @discardableResult
    func wait(
        for name: String,
        within limit: Duration,
        until isWanted: (Node) -> Bool
    ) async throws -> Node {
        let time = SystemTime()
        let deadline = time.elapsed + limit
        while true {
            // Only the last answer counts; a missing one is followed by the next.
            if let node = try? await node(name), isWanted(node) { return node }
            guard time.elapsed < deadline else {
                throw TimeBudgetExceeded(subject: "node \(name)", budget: limit)
            }
            try await time.sleep(for: .milliseconds(500))
        }
    }

    private func call(_ options: [String], _ path: String) async throws -> String {
        // The token is a secret: curl reads it from its input, not from its arguments.
        try await Tool.require(
            "curl",
            [
                "--silent", "--show-error", "--cacert", RunningCloud.authority, "--header", "@-",
                "--header", "X-OpenStack-Ironic-API-Version: 1.90",
            ] + options + ["https://\(RunningCloud.api)\(path)"],
            input: Array("X-Auth-Token: \(token)\n".utf8),
            budget: .seconds(30),
            time: SystemTime()
        ).output
    }
}
