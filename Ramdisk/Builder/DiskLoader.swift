package import Basics
import Glibc
import HostTools

/// Makes the GRUB that the agent installs on the disks of machines with BIOS.
///
/// It is the same for every machine and menu: whatever menus of Linux distributions ask for is in it, and its
/// first act is to run sector 1023 of the place that it was started from (`Agent/Steps/BIOSLoader.swift`).
package struct DiskLoader<Time: TimeSource>: Sendable {
    /// Where the agent looks for the files, by name.
    package static var directory: String { "usr/lib/rdo/bios" }
    /// GRUB's own limit is 480 KiB.
    package static var coreBytesMax: Int { 480 << 10 }

    /// The first name is what GRUB sees the disk by.
    private static var modules: [String] {
        [
            "biosdisk", "part_gpt", "part_msdos",
            // File systems and what lies below them.
            "ext2", "xfs", "btrfs", "fat", "iso9660", "lvm", "diskfilter", "mdraid09", "mdraid1x",
            // What menus do.
            "normal", "configfile", "echo", "test", "true", "regexp", "eval", "read", "sleep",
            "search", "search_fs_uuid", "search_fs_file", "search_label", "probe", "loadenv",
            "linux", "linux16", "chain", "gzio", "xzio", "boot", "halt", "reboot", "ls", "cat",
            "minicmd", "keystatus", "password_pbkdf2", "gettext",
            // What they look like.
            "serial", "terminal", "all_video", "font", "gfxterm", "gfxterm_background", "gfxmenu",
            "png", "jpeg",
        ]
    }

    private let scratch: String
    private let modified: UInt32
    private let time: Time

    /// - Parameters:
    ///   - scratch: directory for what lives only as long as the build.
    ///   - modified: time in seconds since 1970, for programs that want one.
    ///   - time: bounds what a program may take.
    package init(scratch: String, modified: UInt32, time: Time) {
        self.scratch = scratch
        self.modified = modified
        self.time = time
    }

    /// Builds `boot.img` and `core.img`.
    ///
    /// `modules`: where GRUB for BIOS is on this host.
    /// - Throws: `Fault` that names what is missing, failed or is too large.
    package func build(modules: String = "/usr/lib/grub/i386-pc") async throws -> [String: [UInt8]]
    {
        guard HostFile.exists("\(modules)/boot.img") else {
            throw Fault(
                .unavailable,
                "cannot find \(modules)/boot.img: install package grub-pc-bin"
            )
        }
        try makeDirectories(scratch)
        let path = "\(scratch)/core.\(getpid())"
        defer {
            unlink(path + ".cfg")
            unlink(path + ".img")
        }
        // The name of the place that GRUB was started from is in `root`.
        try writeText("source ($root)1023+1\n", to: path + ".cfg")
        try await Tool.require(
            "grub-mkimage",
            [
                "-O", "i386-pc", "-d", modules, "-p", "/boot/grub", "-c", path + ".cfg",
                "-o", path + ".img",
            ] + Self.modules,
            environment: ["SOURCE_DATE_EPOCH": String(modified)],
            budget: .seconds(120),
            time: time
        )
        var core = try HostFile.read(path + ".img")
        core += [UInt8](repeating: 0, count: (512 - core.count % 512) % 512)
        guard core.count <= Self.coreBytesMax else {
            throw Fault(
                .tooLarge,
                "cannot use GRUB's core: it has \(core.count) bytes and may have \(Self.coreBytesMax); take modules out of DiskLoader.swift"
            )
        }
        return ["boot.img": try HostFile.read("\(modules)/boot.img"), "core.img": core]
    }
}
