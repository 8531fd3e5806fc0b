import Basics
import FoundationEssentials
import Glibc
import HostTools
import Protocol

/// Builds the image of a CD from which a machine boots the ramdisk, with BIOS as with UEFI.
///
/// ```
/// /boot/bios.img     GRUB for BIOS (El Torito)
/// /boot/efi.img      a FAT file system with GRUB for UEFI (El Torito)
/// /rdo/boot.cfg      what GRUB does
/// /rdo/kernel, /rdo/initrd
/// /rdo/fragment      the slot of each machine's own boot archive
/// ```
/// The same kernel and initrd give the same bytes.
struct MediaImage<Time: TimeSource>: Sendable {
    private let scratch: String
    private let modified: UInt32
    private let time: Time

    /// Modules of GRUB that both firmwares need; it can read this file system and no other, so that nothing
    /// on a machine's disks is taken for ours.
    private static var modules: [String] {
        [
            "iso9660", "linux", "normal", "configfile", "search", "search_fs_file", "echo", "sleep",
            "reboot",
        ]
    }

    /// Runs before GRUB knows its own files: finds the CD, first where the firmware said.
    private static var start: String {
        """
        search --file /rdo/boot.cfg --set=root --hint=cd --hint=cd0
        configfile /rdo/boot.cfg

        """
    }

    /// `console=ttyS0` last, as in the scripts for network boot.
    private static var menu: String {
        """
        echo "RDO-Manager: starting the ramdisk"
        if linux /rdo/kernel console=tty0 console=ttyS0,115200 rdo.role=ramdisk; then
            if initrd /rdo/initrd /rdo/fragment; then
                boot
            fi
        fi
        echo "RDO-Manager: the ramdisk cannot be loaded, trying again in 10 seconds"
        sleep 10
        reboot

        """
    }

    /// - Parameters:
    ///   - scratch: directory for what lives only as long as the build.
    ///   - modified: time of every file, in seconds since 1970.
    ///   - time: bounds what a program may take.
    init(scratch: String, modified: UInt32, time: Time) {
        self.scratch = scratch
        self.modified = modified
        self.time = time
    }

    /// Writes the image.
    ///
    /// `directory` holds `kernel` and `initrd`, and gets `media.iso`.
    /// - Throws: `Fault` that names the program that is missing or failed.
    func build(in directory: String) async throws {
        let work = "\(scratch)/media.\(getpid())"
        let tree = work + "/tree"
        // What an earlier build left is in the way.
        try? FileManager.default.removeItem(atPath: work)
        // What is left in the scratch directory harms nobody.
        defer { try? FileManager.default.removeItem(atPath: work) }
        try makeDirectories(tree + "/boot")
        try makeDirectories(tree + "/rdo")
        try writeText(Self.start, to: work + "/start.cfg")
        try writeText(Self.menu, to: tree + "/rdo/boot.cfg")
        try HostFile.write(MediaSlot.filling, to: tree + "/rdo/fragment")
        for name in ["kernel", "initrd"] {
            try HostFile.write(
                try HostFile.read("\(directory)/\(name)"),
                to: "\(tree)/rdo/\(name)"
            )
        }
        try await makeLoader("i386-pc-eltorito", ["biosdisk"], work, to: tree + "/boot/bios.img")
        try await makeLoader("x86_64-efi", ["all_video"], work, to: work + "/grub.efi")
        try await makeFirmwarePartition(work + "/grub.efi", at: tree + "/boot/efi.img")
        try setTimes(below: tree)
        let output = "\(directory)/media.iso.\(getpid()).new"
        defer { unlink(output) }
        try await run(
            "xorriso",
            [
                "-as", "mkisofs", "-quiet", "-o", output, "-V", "RDO", "-R",
                "-b", "boot/bios.img", "-c", "boot/catalog", "-no-emul-boot",
                "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
                "-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot",
                tree,
            ]
        )
        guard rename(output, "\(directory)/media.iso") == 0 else {
            throw systemFault("write \(directory)/media.iso")
        }
    }

    private func makeLoader(
        _ format: String,
        _ modules: [String],
        _ work: String,
        to path: String
    ) async throws {
        try await run(
            "grub-mkimage",
            ["-O", format, "-o", path, "-p", "/boot", "-c", work + "/start.cfg"] + modules
                + Self.modules
        )
    }

    /// A floppy's size holds it, and every firmware reads one.
    private func makeFirmwarePartition(_ loader: String, at path: String) async throws {
        try await run("mformat", ["-C", "-i", path, "-f", "2880", "-N", "0", "::"])
        try await run("mmd", ["-i", path, "::/EFI", "::/EFI/BOOT"])
        try await run("mcopy", ["-i", path, loader, "::/EFI/BOOT/BOOTX64.EFI"])
    }

    private func run(_ program: String, _ arguments: [String]) async throws {
        try await Tool.require(
            program,
            arguments,
            environment: ["SOURCE_DATE_EPOCH": String(modified)],
            budget: .seconds(120),
            time: time
        )
    }

    /// The image holds its files' times.
    private func setTimes(below tree: String) throws {
        let names = try HostFile.files(below: tree) + ["boot", "rdo", "."]
        let time = timespec(tv_sec: Int(modified), tv_nsec: 0)
        for name in names where utimensat(AT_FDCWD, "\(tree)/\(name)", [time, time], 0) != 0 {
            throw systemFault("set the time of \(tree)/\(name)")
        }
    }
}
