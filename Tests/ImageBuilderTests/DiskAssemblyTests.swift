import Basics
import Glibc
import HostTools
import ImageBuilder
import RamdiskBuilder
import Testing

@Suite struct `A disk` {
    private static let identity = ImageIdentity(of: [.init("test", "disk")])

    private static func tool(_ program: String, _ arguments: [String]) async throws -> String {
        try await Tool.require(program, arguments, budget: .seconds(120), time: SystemTime()).output
    }

    @Test(arguments: [0, 1 << 20, 800 << 20, 3 << 30])
    func `has room for its files and for a second table of partitions`(treeBytes: Int) {
        let layout = DiskLayout(treeBytes: treeBytes)
        #expect(layout.rootBytes >= max(DiskLayout.rootBytesMin, treeBytes + treeBytes / 2))
        #expect(
            layout.diskBytes - DiskLayout.rootStart - layout.rootBytes >= 33
                * DiskLayout.sectorBytes
        )
        #expect(layout.diskBytes % (1 << 20) == 0)
        #expect(DiskLayout.bootStart % (4 << 20) == 0)
        #expect(DiskLayout.rootStart % (4 << 20) == 0)
    }

    @Test(.timeLimit(.minutes(3)))
    func `boots on BIOS and UEFI machines as far as its structures tell`() async throws {
        let scratch = try Scratch()
        let tree = "\(scratch.path)/tree"
        try makeDirectories("\(tree)/etc")
        try writeText("hello\n", to: "\(tree)/etc/motd")
        for name in ["kernel", "initrd"] {
            try HostFile.write(Array("a \(name)".utf8), to: "\(scratch.path)/\(name)")
        }
        let disk = "\(scratch.path)/disk.raw"
        let layout = DiskLayout(treeBytes: 0)
        try await DiskAssembly(identity: Self.identity, work: scratch.path, time: SystemTime())
            .make(
                disk,
                tree: tree,
                boot: .init(
                    kernel: "\(scratch.path)/kernel",
                    initrd: "\(scratch.path)/initrd",
                    loader: Prerequisites.bootLoader,
                    masterBootRecord: Prerequisites.masterBootRecord
                ),
                layout: layout
            )

        #expect(HostFile.size(disk) == layout.diskBytes)
        let table = try await Self.tool("sgdisk", ["--print", disk])
        #expect(table.contains("EF00  boot"))
        #expect(table.contains("8304  root"))
        let attributes = try await Self.tool("sgdisk", ["--attributes=1:show", disk])
        #expect(attributes.contains("1:2:1"))
        let boot = "\(disk)@@\(DiskLayout.bootStart)"
        let files = try await Self.tool("mdir", ["-/", "-a", "-b", "-i", boot, "::"])
        for name in [
            "vmlinuz", "initrd", "EFI/BOOT/BOOTX64.EFI", "loader/entries/rdo.conf", "syslinux.cfg",
            "ldlinux.sys",
        ] {
            #expect(files.contains("::/\(name)\n"), "\(name) is missing")
        }
        let entry = try await Self.tool("mtype", ["-i", boot, "::/loader/entries/rdo.conf"])
        #expect(entry.contains("root=UUID=\(Self.identity.uuid("root-filesystem")) rw"))
        let code = try HostFile.read(Prerequisites.masterBootRecord)
        let first = try await Self.tool(
            "cmp",
            ["--bytes=\(code.count)", Prerequisites.masterBootRecord, disk]
        )
        #expect(first.isEmpty)
        let check = try await Self.tool(
            "e2fsck",
            ["-f", "-n", "\(disk)?offset=\(DiskLayout.rootStart)"]
        )
        #expect(check.contains("rdo-root"))
    }
}
