package import Basics
import Glibc
import HostTools
import Protocol
import RamdiskBuilder

/// Puts a disk together that boots on BIOS and UEFI machines.
///
/// No partition is mounted: `mkfs.vfat`,
/// `mtools`, `syslinux` and `mke2fs` all write at an offset of the same file.
package struct DiskAssembly<Time: TimeSource>: Sendable {
    /// What the boot loaders start.
    package struct Boot: Sendable {
        package var kernel: String
        package var initrd: String
        package var loader: String
        package var masterBootRecord: String

        /// All are paths: kernel, initramfs, systemd-boot, and `gptmbr.bin` of syslinux.
        package init(kernel: String, initrd: String, loader: String, masterBootRecord: String) {
            self.kernel = kernel
            self.initrd = initrd
            self.loader = loader
            self.masterBootRecord = masterBootRecord
        }
    }

    private let identity: ImageIdentity
    private let work: String
    private let time: Time
    /// Same times in file systems as far as the tools allow it.
    private let environment = [
        "SOURCE_DATE_EPOCH": "1", "E2FSPROGS_FAKE_TIME": "1", "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC",
    ]

    /// - Parameters:
    ///   - identity: source of all identifiers.
    ///   - work: directory for small files.
    ///   - time: bounds what programs may take.
    package init(identity: ImageIdentity, work: String, time: Time) {
        self.identity = identity
        self.work = work
        self.time = time
    }

    /// Makes the disk.
    /// - Parameters:
    ///   - disk: path of the raw disk; it must not be there yet.
    ///   - tree: directory with the root file system's files.
    ///   - boot: what the boot loaders start.
    ///   - layout: sizes.
    /// - Throws: `Fault` with the words of the tool that failed.
    package func make(_ disk: String, tree: String, boot: Boot, layout: DiskLayout) async throws {
        try await run("truncate", ["--size=\(layout.diskBytes)", disk])
        try await run("sgdisk", layout.tableArguments(identity, disk: disk))
        try await makeBoot(disk, boot, layout)
        try await makeRoot(disk, tree, layout)
        try writeMasterBootRecord(boot.masterBootRecord, to: disk)
        let check = try await run("sgdisk", ["--verify", disk])
        guard check.output.contains("No problems found") else {
            throw Fault(
                .internalError,
                "cannot use \(disk): its partition table is damaged",
                detail: check.lastWords
            )
        }
    }

    private func makeBoot(_ disk: String, _ boot: Boot, _ layout: DiskLayout) async throws {
        let start = DiskLayout.bootStart
        let sectors = start / DiskLayout.sectorBytes
        try await run(
            "mkfs.vfat",
            [
                "--invariant", "-F", "32", "-s", "1", "-n", "BOOT", "-h", "\(sectors)",
                "-i", String(identity.uuid("fat").prefix(8)), "--offset", "\(sectors)", disk,
                "\(layout.bootBytes >> 10)",
            ]
        )
        let root = identity.uuid("root-filesystem")
        let texts = [
            "loader.conf": BootFiles.loader, "rdo.conf": BootFiles.entry(root: root),
            "syslinux.cfg": BootFiles.syslinux(root: root),
        ]
        for (name, text) in texts { try writeText(text, to: "\(work)/\(name)") }
        let image = "\(disk)@@\(start)"
        try await run(
            "mmd",
            ["-i", image, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"]
        )
        for (source, target) in [
            (boot.kernel, "/vmlinuz"), (boot.initrd, "/initrd"),
            (boot.loader, "/EFI/BOOT/BOOTX64.EFI"), ("\(work)/loader.conf", "/loader/loader.conf"),
            ("\(work)/rdo.conf", "/loader/entries/rdo.conf"),
            ("\(work)/syslinux.cfg", "/syslinux.cfg"),
        ] {
            try await run("mcopy", ["-i", image, source, "::\(target)"])
        }
        try await run("syslinux", ["--install", "--offset", "\(start)", disk])
    }

    private func makeRoot(_ disk: String, _ tree: String, _ layout: DiskLayout) async throws {
        let options = [
            "offset=\(DiskLayout.rootStart)", "hash_seed=\(identity.uuid("hash-seed"))",
            "root_owner=0:0",
        ]
        try await run(
            "mke2fs",
            [
                "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "rdo-root", "-m", "1",
                "-U", identity.uuid("root-filesystem"), "-O", "^metadata_csum_seed,^orphan_file",
                "-E", options.joined(separator: ","), "-d", tree, disk,
                "\(layout.rootBytes >> 10)k",
            ]
        )
    }

    /// Writes the boot code in front of the partition table of the first sector.
    private func writeMasterBootRecord(_ source: String, to disk: String) throws {
        let code = try HostFile.read(source)
        guard code.count <= 440 else {
            throw Fault(.invalid, "cannot use \(source): boot code has at most 440 bytes")
        }
        let file = open(disk, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw systemFault("write \(disk)") }
        defer { close(file) }
        guard pwrite(file, code, code.count, 0) == code.count else {
            throw systemFault("write \(disk)")
        }
    }

    @discardableResult
    private func run(_ program: String, _ arguments: [String]) async throws -> ToolResult {
        try await Tool.require(
            program,
            arguments,
            environment: environment,
            budget: .seconds(600),
            time: time
        )
    }
}
