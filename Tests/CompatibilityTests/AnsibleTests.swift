import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// `packaging/examples/ansible/node.yaml`, with the unmodified modules of `openstack.cloud`, against a running controller.
@Suite struct AnsibleTests {
    private static let root =
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    /// Where Ansible is installed: `TEST_ANSIBLE_VENV`, as `packaging/check` sets it.
    private static let program: String = {
        let folder = getenv("TEST_ANSIBLE_VENV").map { String(cString: $0) }
        return [folder, root + "/.build/ansible"].compactMap {
            $0.map { $0 + "/bin/ansible-playbook" }
        }
        .first { Tool.locate($0) != nil } ?? "/nonexistent/ansible-playbook"
    }()

    /// What a run says about its host.
    private struct Stats: Decodable {
        var ok: Int
        var changed: Int
        var failures: Int
        var unreachable: Int
    }

    private struct Outcome: Decodable {
        var stats: [String: Stats]
    }

    private struct Variables: Encodable {
        var driver = "fake-hardware"
        var properties = ["cpus": "4", "memory_mb": "8192"]
        var image = "disk"
        var seconds = 60
    }

    /// Runs the parts of the playbook that the tags name, all of which must go well.
    /// - Returns: how many tasks changed something.
    private func play(_ tags: String, on controller: RunningController) async throws -> Int {
        let variables = String(decoding: try JSONEncoder().encode(Variables()), as: UTF8.self)
        let result = try await Tool.run(
            Self.program,
            [
                Self.root + "/packaging/examples/ansible/node.yaml",
                "--inventory", "localhost,", "--tags", tags, "--extra-vars", variables,
            ],
            environment: [
                "OS_CLIENT_CONFIG_FILE": controller.cloudsFile, "HOME": controller.folder.path,
                "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            ],
            budget: .seconds(180),
            outputMax: 8 << 20,
            time: SystemTime()
        )
        guard result.exitCode == 0 else {
            throw Fault(
                .internalError,
                "cannot play \(tags): \(result.lastWords) \(result.output.suffix(3000))"
            )
        }
        let outcome = try JSONDecoder().decode(Outcome.self, from: Data(result.output.utf8))
        let stats = try #require(outcome.stats["localhost"], "\(result.output.suffix(1000))")
        #expect(stats.failures == 0 && stats.unreachable == 0 && stats.ok > 0)
        return stats.changed
    }

    private struct Node: Decodable {
        var uuid: String
        var provision_state: String
        var driver: String
        var properties: [String: String]
        var instance_info: [String: String]
        var inspection_finished_at: String?
    }

    private func node(_ client: OpenStackClient) async throws -> Node {
        try await client.json(Node.self, "baremetal", "node", "show", "c0")
    }

    @Test func `a playbook registers, inspects, deploys, undeploys and forgets a node`()
        async throws
    {
        let controller = try await RunningController()
        try await controller.start()
        let client = OpenStackClient(controller: controller)
        let file = controller.folder.path + "/disk.raw"
        try Data(repeating: 7, count: 1 << 20).write(to: URL(fileURLWithPath: file))
        try await client.require(
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

        #expect(try await play("register", on: controller) == 2)
        let made = try await node(client)
        #expect(made.provision_state == "available" && made.driver == "fake-hardware")
        #expect(made.properties == ["cpus": "4", "memory_mb": "8192"])
        #expect(made.inspection_finished_at == nil)
        struct Port: Decodable {
            var address: String
            var node_uuid: String
            var extra: [String: String]
        }
        let ports = try await client.json([Port].self, "baremetal", "port", "list", "--long")
        #expect(ports.map(\.address) == ["52:54:00:c0:00:01"])
        #expect(ports.first?.node_uuid == made.uuid)
        #expect(ports.first?.extra == ["purpose": "provisioning"])

        #expect(try await play("inspect", on: controller) == 1)
        let inspected = try await node(client)
        #expect(inspected.provision_state == "available")
        #expect(inspected.inspection_finished_at != nil)

        #expect(try await play("deploy", on: controller) == 1)
        let deployed = try await node(client)
        #expect(deployed.provision_state == "active" && deployed.uuid == made.uuid)
        #expect(deployed.instance_info["image_source"] == "disk")

        // Everything is as wished.
        #expect(try await play("register,deploy", on: controller) == 0)
        #expect(try await node(client).provision_state == "active")

        #expect(try await play("undeploy", on: controller) == 1)
        let free = try await node(client)
        #expect(free.provision_state == "available" && free.instance_info.isEmpty)
        #expect(try await play("undeploy", on: controller) == 0)

        #expect(try await play("forget", on: controller) == 1)
        let gone = try await client.run(["baremetal", "node", "show", "c0"])
        #expect(gone.exitCode == 1, "\(gone.output)")
        #expect(try await play("forget,undeploy", on: controller) == 0)
        #expect(try await controller.stop())
    }
}
