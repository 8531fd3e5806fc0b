import Basics
import HostTools
import ImageBuilder
import RamdiskBuilder
import Testing

@Suite struct `The reader of the config drive` {
    /// Runs the element's own program on a drive that is a directory, and gives what it wrote.
    private static func run(
        _ documents: [String: String]
    ) async throws -> (files: [String: String], result: ToolResult) {
        let scratch = try Scratch()
        let latest = "\(scratch.path)/drive/openstack/latest"
        try makeDirectories(latest)
        for (name, text) in documents { try writeText(text, to: "\(latest)/\(name)") }
        let root = "\(scratch.path)/root"
        try makeDirectories(root)
        let elements = try ImageLocations.elements(beside: #filePath)
        let result = try await Tool.run(
            "perl",
            ["\(elements)/\(ImageRecipe.element)/files/usr/lib/rdo/config-drive"],
            environment: ["RDO_CONFIG_DRIVE": "\(scratch.path)/drive", "RDO_ROOT": root],
            budget: .seconds(20),
            time: SystemTime()
        )
        var files: [String: String] = [:]
        for path in try HostFile.files(below: root) { files[path] = readText("\(root)/\(path)") }
        return (files, result)
    }

    @Test func `sets the name, the keys and a fixed address`() async throws {
        let (files, result) = try await Self.run([
            "meta_data.json": """
            {"hostname": "compute-0.example.org", "note": "\\u00e9 \\"quoted\\" \\\\", "list": [1, -2.5e3,
            true, false, null, {}], "public_keys": {"b": "ssh-ed25519 AAAA b\\n", "a": "ssh-rsa BBB a",
            "two lines": "ssh-rsa x\\nssh-rsa y", "no key": "hello"}}
            """,
            "network_data.json": """
            {"links": [{"id": "l0", "ethernet_mac_address": "52:54:00:c0:00:01"}, {"id": "l1",
            "ethernet_mac_address": "52:54:00:c0:00:02"}], "networks": [{"link": "l0", "type": "ipv4",
            "ip_address": "192.0.2.9", "netmask": "255.255.254.0", "routes": [{"network": "0.0.0.0",
            "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]}, {"link": "l1", "type": "ipv4_dhcp"}],
            "services": [{"type": "dns", "address": "192.0.2.1"}]}
            """,
        ])
        #expect(result.exitCode == 0)
        #expect(result.errorOutput == "")
        #expect(
            files == [
                "etc/hostname": "compute-0\n",
                "etc/hosts": """
                127.0.0.1 localhost
                127.0.1.1 compute-0.example.org compute-0
                ::1 localhost ip6-localhost

                """,
                "root/.ssh/authorized_keys": "ssh-rsa BBB a\nssh-ed25519 AAAA b\n",
                "run/systemd/network/70-525400c00001.network": """
                [Match]
                PermanentMACAddress=52:54:00:c0:00:01
                [Network]
                DHCP=no
                DNS=192.0.2.1
                [Address]
                Address=192.0.2.9/23
                [Route]
                Gateway=192.0.2.1
                Destination=0.0.0.0/0

                """,
            ]
        )
    }

    @Test(arguments: [
        "", "{", "[]", "{\"hostname\": \"a\"} x", "{\"hostname\": }", "{\"hostname\": \"a}",
        String(repeating: "[", count: 40), "{\"hostname\": \"\\x\"}",
    ])
    func `leaves out what is no JSON object and says so`(text: String) async throws {
        let (files, result) = try await Self.run(["meta_data.json": text])
        #expect(files.isEmpty)
        #expect(result.errorOutput.contains("cannot read meta_data.json"))
    }

    @Test(arguments: ["a b", "../x", "a\\nb", "-x", "é", "$(reboot)"])
    func `refuses a name that no host has`(name: String) async throws {
        let (files, result) = try await Self.run(["meta_data.json": "{\"hostname\": \"\(name)\"}"])
        #expect(files.isEmpty)
        #expect(result.errorOutput.contains("cannot use the host name"))
    }

    @Test(arguments: [
        #"{"links": 5, "networks": {"a": 1}}"#,
        #"{"links": [{"id": "l", "ethernet_mac_address": "../../x"}], "networks": [{"link": "l", "type": "ipv4", "ip_address": "192.0.2.9"}]}"#,
        #"{"links": [{"id": "l", "ethernet_mac_address": "52:54:00:c0:00:01"}], "networks": [{"link": "l", "type": "ipv4", "ip_address": "192.0.2.9\nGateway=x"}]}"#,
    ])
    func `writes nothing for networks that make no sense`(text: String) async throws {
        let (files, result) = try await Self.run(["network_data.json": text])
        #expect(files.isEmpty)
        #expect(result.exitCode == 0)
    }
}
