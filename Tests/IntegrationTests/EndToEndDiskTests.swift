import Basics
import Foundation
import Harness
import HostTools
import Testing

/// Partitions and rescue on a real machine with UEFI: `packaging/check` runs these after quickstart.
@Suite(
    .serialized,
    .enabled(if: RunningCloud.isUp, "the lab is down; packaging/check brings it up")
)
struct EndToEndDiskTests {
    private func upload(_ marker: String, in folder: TemporaryFolder) async throws {
        let kernel = RunningCloud.root + "/.build/quickstart/ramdisk/kernel"
        let image = try await PartitionImage(marker, kernel: kernel, in: folder.path).make(.ext4)
        _ = try await RunningCloud.rdo(
            "image",
            "upload",
            image,
            "--name",
            marker,
            "--property",
            "img_type=partition"
        )
    }

    /// Waits until the machine's disk starts.
    private func start(_ marker: String, times: Int, _ machine: RunningCloud.Machine) async throws {
        try await eventually("\(marker) to start", within: .seconds(240)) {
            let log = try await RunningCloud.output("cat", [machine.serialLog])
            return log.components(separatedBy: PartitionImage.mark(of: marker)).count > times
        }
    }

    /// Runs a command of `debugfs` on the ephemeral partition.
    private func ephemeral(_ machine: RunningCloud.Machine, _ options: [String]) async throws
        -> String
    {
        struct Dump: Decodable {
            struct Table: Decodable {
                struct Entry: Decodable {
                    var start: Int
                    var name: String?
                }
                var partitions: [Entry]
            }
            var partitiontable: Table
        }
        let disk = "/var/lib/rdo-lab/\(machine.name)/disk.raw"
        let text = try await RunningCloud.output("sfdisk", ["--json", disk])
        let table = try JSONDecoder().decode(Dump.self, from: Data(text.utf8)).partitiontable
        #expect(
            table.partitions.map(\.name)
                == ["efi-part", "ephemeral0", "swap1", "config-2", "root"]
        )
        let start = try #require(table.partitions.first { $0.name == "ephemeral0" }).start
        return try await RunningCloud.output("debugfs", options + ["\(disk)?offset=\(start * 512)"])
    }

    @Test func `partitions are made and kept, and a rescue lets its user in`() async throws {
        let cloud = try await RunningCloud()
        let api = try await CloudAPI()
        let machine = try #require(cloud.machines.last { $0.firmware == "uefi" })
        let folder = try TemporaryFolder()
        for marker in ["part-one", "part-two"] { try await upload(marker, in: folder) }
        try await api.provision(machine.name, to: "deleted")
        try await api.wait(for: machine.name, within: .seconds(600)) { $0.isIn("available") }
        try await api.set(
            [
                "image_source": "part-one", "root_gb": "2", "ephemeral_gb": "1",
                "swap_mb": "128",
            ],
            of: machine.name
        )
        try await deploy(machine, "active", api)
        try await start("part-one", times: 1, machine)

        try writeText("precious\n", to: folder.path + "/precious")
        _ = try await ephemeral(machine, ["-w", "-R", "write \(folder.path)/precious precious"])
        try await api.set(
            ["image_source": "part-two", "preserve_ephemeral": "true"],
            of: machine.name
        )
        try await deploy(machine, "rebuild", api)
        try await start("part-two", times: 1, machine)
        #expect(try await ephemeral(machine, ["-R", "cat precious"]) == "precious\n")

        try await api.provision(
            machine.name,
            to: "rescue",
            with: #", "rescue_password": "let me in""#
        )
        let node = try await api.wait(for: machine.name, within: .seconds(600)) {
            $0.isIn("rescue", "rescue failed")
        }
        #expect(node.provision_state == "rescue", "\(node.last_error ?? "")")
        let line = try #require(node.driver_internal_info.rdo_last_lines?.first)
        let account = try #require(line.split(separator: " ").last.map(String.init))
        let command = "mount -o ro /dev/vda5 /mnt && cat /mnt/etc/marker; umount /mnt"
        #expect(try await login(account, "let me in", command, folder) == "part-two is here\n")
        await #expect(throws: Fault.self) { try await login(account, "let me", "id", folder) }
        let root = account.replacingOccurrences(of: "rescue@", with: "root@")
        await #expect(throws: Fault.self) { try await login(root, "let me in", "id", folder) }

        try await api.provision(machine.name, to: "unrescue")
        try await api.wait(for: machine.name, within: .seconds(300)) { $0.isIn("active") }
        try await start("part-two", times: 2, machine)
        for marker in ["part-one", "part-two"] { try await api.delete(image: marker) }
    }

    private func deploy(
        _ machine: RunningCloud.Machine,
        _ target: String,
        _ api: CloudAPI
    ) async throws {
        try await api.provision(machine.name, to: target)
        let node = try await api.wait(for: machine.name, within: .seconds(900)) {
            $0.isIn("active", "deploy failed", "error")
        }
        #expect(node.provision_state == "active", "\(node.last_error ?? "")")
    }

    /// Runs a command over SSH; `ssh` asks a program for the password.
    private func login(
        _ account: String,
        _ password: String,
        _ command: String,
        _ folder: TemporaryFolder
    ) async throws -> String {
        let answer = "\(folder.path)/answer"
        try writeText("#!/bin/sh\necho '\(password)'\n", to: answer)
        _ = try await RunningCloud.output("chmod", ["700", answer])
        return try await Tool.require(
            "ip",
            [
                "netns", "exec", "rdo-undercloud", "setsid", "--wait", "ssh", "-o",
                "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                "NumberOfPasswordPrompts=1", "-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR",
                account, command,
            ],
            environment: ["SSH_ASKPASS": answer, "SSH_ASKPASS_REQUIRE": "force"],
            budget: .seconds(90),
            time: SystemTime()
        ).output
    }
}
