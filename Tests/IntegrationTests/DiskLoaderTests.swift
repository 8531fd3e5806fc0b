import AgentSteps
import AgentSystem
import Basics
import Foundation
import Harness
import HostTools
import Protocol
import RamdiskBuilder
import Testing

/// The ramdisk's GRUB on disks that QEMU's BIOS then starts.
@Suite(.serialized)
struct DiskLoaderTests {
    private static let budget = Duration.seconds(60)

    /// A file system with a menu that says where it was found.
    private func makeRoot(_ format: String, in folder: TemporaryFolder) async throws -> [UInt8] {
        let path = folder.path
        try makeDirectories("\(path)/root/boot/grub")
        try writeText(
            """
            insmod part_gpt
            serial --unit=0 --speed=115200
            terminal_output serial
            echo "MENU of $root, prefix $prefix"
            halt

            """,
            to: "\(path)/root/boot/grub/grub.cfg"
        )
        let image = "\(path)/\(format)"
        let size = format == "xfs" ? "300M" : "16M"
        _ = try await RunningCloud.output("truncate", ["--size=\(size)", image])
        if format == "xfs" {
            try writeText(
                """
                /stand
                0 0
                d--755 0 0
                boot d--755 0 0
                grub d--755 0 0
                grub.cfg ---644 0 0 \(path)/root/boot/grub/grub.cfg
                $
                $
                $

                """,
                to: "\(path)/protofile"
            )
            _ = try await RunningCloud.output(
                "mkfs.xfs",
                ["-q", "-p", "\(path)/protofile", image]
            )
        } else {
            _ = try await RunningCloud.output(
                "mke2fs",
                ["-q", "-t", format, "-d", "\(path)/root", image]
            )
        }
        return try HostFile.read(image)
    }

    @Test(
        .timeLimit(.minutes(3)),
        arguments: [("gpt", "ext4"), ("msdos", "ext4"), ("gpt", "xfs"), ("msdos", "xfs")]
    )
    func `a machine with BIOS starts the menu of its root file system`(
        label: String,
        format: String
    ) async throws {
        let folder = try TemporaryFolder()
        for (name, bytes) in try await DiskLoader(
            scratch: folder.path,
            modified: 0,
            time: SystemTime()
        ).build() {
            try HostFile.write(bytes, to: "\(folder.path)/\(name)")
        }
        let root = try await makeRoot(format, in: folder)
        let identity = try #require(FileSystemIdentity(head: root))
        let path = "\(folder.path)/disk"
        _ = try await RunningCloud.output("truncate", ["--size=1G", path])
        let disk = try SystemDisks().open(path, exclusive: true)
        var table = try emptyTable(label)
        let id = GUID(random: [UInt8](repeating: 3, count: 16))
        if label == "gpt" {
            _ = try table.append(name: "bios-boot", .biosBoot, id: id, bytes: 1 << 20)
        }
        let (number, range) = try table.append(
            name: "root",
            .root,
            id: GUID(random: [UInt8](repeating: 4, count: 16)),
            bytes: Int64(root.count)
        )
        var head = [UInt8](repeating: 0, count: 64 << 10)
        table.place(into: &head)
        try disk.put(head, at: 0)
        try disk.put(table.tail, at: table.tailOffset)
        try disk.put(root, at: range.lowerBound)
        try BIOSLoader(directory: folder.path).install(
            BootMenu(
                fileSystem: identity.uuid,
                folder: "/boot/grub",
                hint: "\(label)\(number)"
            ),
            on: [disk]
        )
        let place = "hd0,\(label)\(number)"
        #expect(try await start(path).contains("MENU of \(place), prefix (\(place))/boot/grub"))
    }

    private func emptyTable(_ label: String) throws -> DiskTable {
        if label == "msdos" {
            return .msdos(try MasterBootRecord(emptyOn: 1 << 30, blockBytes: 512, diskID: 7))
        }
        let id = GUID(random: [UInt8](repeating: 2, count: 16))
        return .gpt(try PartitionTable(emptyOn: 1 << 30, blockBytes: 512, diskID: id))
    }

    /// What a machine writes to its serial line until it switches itself off.
    private func start(_ disk: String) async throws -> String {
        try await Tool.require(
            "qemu-system-x86_64",
            [
                "-m", "256", "-display", "none", "-no-reboot", "-nic", "none", "-serial", "stdio",
                "-drive", "file=\(disk),format=raw,if=virtio",
            ],
            budget: Self.budget,
            time: SystemTime()
        ).output
    }
}
