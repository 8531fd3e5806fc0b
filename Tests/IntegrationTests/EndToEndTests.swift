import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// What a user sees after `packaging/quickstart`: `packaging/check` runs it, and these on what it left running.
@Suite(
    .serialized,
    .enabled(if: RunningCloud.isUp, "the lab is down; packaging/check brings it up")
)
struct EndToEndTests {
    @Test func `the OpenStack client sees every machine active and measured`() async throws {
        let cloud = try await RunningCloud()
        struct Row: Decodable {
            var name: String
            var provision_state: String
            var power_state: String
        }
        let text = try await RunningCloud.output(
            RunningCloud.root + "/.build/quickstart/venv/bin/openstack",
            ["--os-cloud", "rdo", "baremetal", "node", "list", "-f", "json"]
        )
        let rows = try JSONDecoder().decode([Row].self, from: Data(text.utf8))
        #expect(rows.map(\.name).sorted() == cloud.names.sorted())
        for row in rows {
            #expect(row.provision_state == "active", "\(row.name)")
            #expect(row.power_state == "power on", "\(row.name)")
        }
    }

    @Test func `machines with BIOS and with UEFI were deployed`() async throws {
        let cloud = try await RunningCloud()
        #expect(Set(cloud.machines.map(\.firmware)) == ["bios", "uefi"])
        #expect(cloud.machines.allSatisfy { $0.power == "on" })
    }

    @Test func `what Puppet made stands on every machine's disk`() async throws {
        let cloud = try await RunningCloud()
        for machine in cloud.names {
            let role = machine == "c0" ? "controller" : "compute"
            // The guest writes its cache back within half a minute.
            try await eventually("Puppet's last file on \(machine)", within: .seconds(90)) {
                try await RunningCloud.file("/var/lib/rdo-demo/ready", on: machine)
                    == "\(role) is ready\n"
            }
            // Hiera's level of the node stands above the common one.
            let greeting = machine == "c0" ? "hello from node c0" : "hello from the undercloud"
            let base = try await RunningCloud.file("/var/lib/rdo-demo/base", on: machine)
            #expect(base == "role \(role), greeting \(greeting)\n")
        }
    }

    @Test func `an agent that wrote an image stayed within 96 MB`() async throws {
        let cloud = try await RunningCloud()
        for machine in cloud.machines {
            let log = try await RunningCloud.output("cat", [machine.serialLog])
            let line = try #require(
                log.split(separator: "\n").last {
                    $0.contains("command ended") && $0.contains("command=write_image")
                },
                "\(machine.name)"
            )
            // `memory.peak=55.1 MiB`
            let peak = try #require(line.split(separator: "memory.peak=").last)
            #expect(peak.contains(" MiB"), "\(line)")
            let megabytes = try #require(peak.split(separator: " ").first.flatMap { Double($0) })
            #expect(megabytes * 1.048576 <= 96, "\(line)")
        }
    }

    @Test func `no token and no BMC password lies on a machine's disk or in a log`() async throws {
        let cloud = try await RunningCloud()
        let password = try #require(readText("/var/lib/rdo-lab/password"))
            .filter { !$0.isWhitespace }
        #expect(password.count == 16)
        let logs = ["/var/log/rdo/controller.log", "/var/log/rdo/dnsmasq.log"]
        for path in logs + cloud.machines.map(\.serialLog) {
            let text = try await RunningCloud.output("cat", [path])
            #expect(!text.contains(password), "\(path)")
        }
    }

    @Test func `a real Prometheus scrapes every machine's metrics`() async throws {
        let cloud = try await RunningCloud()
        let folder = try TemporaryFolder()
        let name = "prometheus-\(getpid())"
        let credential = try await RunningCloud.rdo("reader", "create", name)
        try writeText(credential, to: folder.path + "/credential", mode: 0o600)
        try writeText(
            """
            global: {scrape_interval: 2s}
            scrape_configs:
              - job_name: rdo
                scheme: https
                tls_config: {ca_file: \(RunningCloud.authority)}
                authorization: {credentials_file: \(folder.path)/credential}
                static_configs: [{targets: ["\(RunningCloud.api)"]}]

            """,
            to: folder.path + "/prometheus.yaml"
        )
        let port = try FreePorts.take()
        let process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                "prometheus",
                [
                    "--config.file=\(folder.path)/prometheus.yaml",
                    "--storage.tsdb.path=\(folder.path)/data",
                    "--web.listen-address=127.0.0.1:\(port)",
                ],
                pidFile: folder.path + "/pid",
                logFile: folder.path + "/log"
            )
        )
        do {
            for metric in ["rdo_node_load1", "rdo_node_memory_available_bytes"] {
                try await eventually("\(metric) of every machine", within: .seconds(60)) {
                    try await series(metric, port: port) == cloud.names.sorted()
                }
            }
        } catch {
            Issue.record("\(error); Prometheus said: \(readText(folder.path + "/log") ?? "")")
        }
        try await process.stop(within: .seconds(10), time: SystemTime())
        _ = try await RunningCloud.rdo("reader", "revoke", name)
        let refused = try await RunningCloud.output(
            "curl",
            [
                "--silent", "--cacert", RunningCloud.authority, "--output", "/dev/null",
                "--write-out", "%{http_code}", "--oauth2-bearer",
                credential.filter { !$0.isWhitespace }, "https://\(RunningCloud.api)/metrics",
            ]
        )
        #expect(refused == "401")
    }

    /// The nodes that Prometheus has a value of, sorted.
    private func series(_ metric: String, port: UInt16) async throws -> [String] {
        struct Answer: Decodable {
            struct Data: Decodable {
                struct Series: Decodable {
                    var metric: [String: String]
                }
                var result: [Series]
            }
            var data: Data
        }
        let result = try await Tool.run(
            "curl",
            ["--silent", "http://127.0.0.1:\(port)/api/v1/query?query=\(metric)"],
            budget: .seconds(30),
            time: SystemTime()
        )
        guard result.exitCode == 0, !result.output.isEmpty,
            let answer = try? JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
        else { return [] }  // It is still starting.
        return Set(answer.data.result.compactMap { $0.metric["node"] }).sorted()
    }

    @Test func `the Python subscriber prints every machine's live metrics`() async throws {
        let cloud = try await RunningCloud()
        let folder = try TemporaryFolder()
        let name = "subscriber-\(getpid())"
        let text = try await RunningCloud.rdo("stream", "key", "create", name)
        let keys = try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
        for (file, key) in [
            ("server", "server_key"), ("public", "public_key"), ("secret", "secret_key"),
        ] {
            try writeText(try #require(keys[key]), to: "\(folder.path)/\(file)", mode: 0o600)
        }
        let lines = try await RunningCloud.output(
            "ip",
            [
                "netns", "exec", "rdo-undercloud", "/usr/bin/python3",
                RunningCloud.root + "/packaging/examples/metrics_subscriber.py",
                "--endpoint", "tcp://192.0.2.1:5604", "--server-key", folder.path + "/server",
                "--public-key", folder.path + "/public", "--secret-key", folder.path + "/secret",
                "--count", String(cloud.names.count * 100),
            ],
            budget: .seconds(120)
        )
        let nodes = Set(
            lines.split(separator: "\n").compactMap { $0.split(separator: " ").dropFirst().first }
        )
        #expect(nodes == Set(cloud.names.map { $0[...] }))
        #expect(lines.contains(" load1 "))
        _ = try await RunningCloud.rdo("stream", "key", "revoke", name)
    }

    @Test func `the dashboard shows every machine live in a real browser`() async throws {
        let cloud = try await RunningCloud()
        try makeDirectories(RunningCloud.root + "/.build/check")
        let picture = RunningCloud.root + "/.build/check/dashboard.png"
        let said = try await RunningCloud.output(
            "/usr/bin/python3",
            [
                RunningCloud.root + "/Tests/IntegrationTests/Scripts/dashboard.py",
                RunningCloud.cloudsFile, picture,
            ] + cloud.names,
            budget: .seconds(180)
        )
        #expect(said.contains("missing=[]"))
        let size = try FileManager.default.attributesOfItem(atPath: picture)[.size] as? Int
        #expect((size ?? 0) > 10_000)
    }
}
