import Basics
import FoundationEssentials
import Harness
import HostTools
import Testing
import Undercloud

/// The unmodified `openstack` command line against a running controller.
@Suite struct ClientTests {
    private struct Node: Decodable {
        var uuid: String
        var name: String?
        var driver: String
        var provision_state: String
        var power_state: String?
        var maintenance: Bool
        var driver_info: [String: String]?
        var last_error: String?
    }

    private func withClient(_ body: (OpenStackClient) async throws -> Void) async throws {
        let controller = try await RunningController()
        try await controller.start()
        try await body(OpenStackClient(controller: controller))
        #expect(try await controller.stop())
    }

    @Test func `it signs in and finds the services`() async throws {
        try await withClient { client in
            struct Token: Decodable {
                var id: String
                var project_id: String
            }
            let token = try await client.json(Token.self, "token", "issue")
            #expect(!token.id.isEmpty)
            struct Service: Decodable {
                var Name: String
                var `Type`: String
            }
            let services = try await client.json([Service].self, "catalog", "list")
            #expect(Set(services.map(\.Type)) == ["baremetal", "identity", "image"])
        }
    }

    @Test func `a shell that read openrc signs in`() async throws {
        try await withClient { client in
            let controller = client.controller
            let entry = CloudsEntry(
                authURL: controller.url + "/identity/v3",
                password: controller.password,
                authorityFile: controller.authority
            )
            let path = controller.folder.path + "/openrc"
            try writeText(entry.openrc, to: path, mode: 0o600)
            let result = try await Tool.run(
                "bash",
                [
                    "-c", #"source "$0" && exec "$1" token issue -f value -c id"#, path,
                    OpenStackClient.program,
                ],
                environment: ["OS_CLOUD": "another", "HOME": controller.folder.path],
                budget: .seconds(120),
                time: SystemTime()
            )
            #expect(result.exitCode == 0, "\(result.lastWords)")
            #expect(result.output.count > 40)
        }
    }

    @Test func `a wrong password is refused in Keystone's words`() async throws {
        try await withClient { client in
            let result = try await client.run(["--os-password", "wrong", "token", "issue"])
            #expect(result.exitCode == 1)
            #expect(result.errorOutput.contains("HTTP 401"), "\(result.errorOutput)")
        }
    }

    @Test func `a node walks from enroll to active and back`() async throws {
        try await withClient { client in
            let made = try await client.json(
                Node.self,
                "baremetal",
                "node",
                "create",
                "--driver",
                "fake-hardware",
                "--name",
                "c0",
                "--driver-info",
                "ipmi_password=geheim",
                "--property",
                "cpus=4"
            )
            #expect(made.provision_state == "enroll")
            #expect(made.driver_info?["ipmi_password"] == "******")
            try await client.require(
                "baremetal",
                "port",
                "create",
                "52:54:00:c0:00:01",
                "--node",
                made.uuid
            )
            for (verb, state) in [
                ("manage", "manageable"), ("inspect", "manageable"), ("provide", "available"),
            ] {
                try await client.require("baremetal", "node", verb, "c0", "--wait", "60")
                let node = try await client.json(Node.self, "baremetal", "node", "show", "c0")
                #expect(node.provision_state == state, "\(verb): \(node.last_error ?? "")")
            }
            try await client.require(
                "baremetal",
                "node",
                "power",
                "on",
                "c0",
                "--power-timeout",
                "60"
            )
            try await client.require(
                "baremetal",
                "node",
                "maintenance",
                "set",
                "c0",
                "--reason",
                "new fans"
            )
            let kept = try await client.json(Node.self, "baremetal", "node", "show", "c0")
            #expect(kept.maintenance)
            try await client.require("baremetal", "node", "maintenance", "unset", "c0")
            struct Row: Decodable {
                var uuid: String
                var name: String?
            }
            let rows = try await client.json([Row].self, "baremetal", "node", "list")
            #expect(rows.map(\.name) == ["c0"])
            try await client.require("baremetal", "node", "delete", "c0")
            #expect(try await client.json([Row].self, "baremetal", "node", "list").isEmpty)
        }
    }

    @Test func `what is not there or not allowed is told in the client's own form`() async throws {
        try await withClient { client in
            let missing = try await client.run(["baremetal", "node", "show", "nobody"])
            #expect(missing.exitCode == 1)
            #expect(missing.errorOutput.contains("nobody"), "\(missing.errorOutput)")
            try await client.require(
                "baremetal",
                "node",
                "create",
                "--driver",
                "fake-hardware",
                "--name",
                "c0"
            )
            let early = try await client.run(["baremetal", "node", "deploy", "c0"])
            #expect(early.exitCode == 1)
            #expect(early.errorOutput.contains("cannot"), "\(early.errorOutput)")
        }
    }

    @Test func `an image is uploaded, listed, read back and deleted`() async throws {
        try await withClient { client in
            struct Image: Decodable {
                var id: String
                var name: String
                var status: String
                var size: Int64?
            }
            let file = client.controller.folder.path + "/disk.raw"
            let bytes = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try Data(bytes).write(to: URL(fileURLWithPath: file))
            let image = try await client.json(
                Image.self,
                "image",
                "create",
                "disk",
                "--file",
                file,
                "--disk-format",
                "raw",
                "--container-format",
                "bare"
            )
            #expect(image.status == "active" || image.status == "queued")
            let shown = try await client.json(Image.self, "image", "show", "disk")
            #expect(shown.status == "active")
            #expect(shown.size == 1 << 20)
            let copy = client.controller.folder.path + "/copy.raw"
            try await client.require("image", "save", "--file", copy, "disk")
            #expect(FileManager.default.contentsEqual(atPath: file, andPath: copy))
            try await client.require("image", "delete", "disk")
            #expect(try await client.json([[String: String]].self, "image", "list").isEmpty)
        }
    }
}
