import Basics
import Glibc
import HostTools
import RamdiskBuilder

/// What must be on a host that builds images: programs and files of Debian packages.
package enum Prerequisites {
    /// A program and the package that brings it.
    package static let programs: [(program: String, package: String)] = [
        ("apt-get", "apt"), ("debootstrap", "debootstrap"), ("depmod", "kmod"),
        ("disk-image-create", "python3-diskimage-builder"), ("dpkg-deb", "dpkg"),
        ("busybox", "busybox-static"), ("mcopy", "mtools"), ("mke2fs", "e2fsprogs"),
        ("mkfs.vfat", "dosfstools"), ("qemu-img", "qemu-utils"), ("sgdisk", "gdisk"),
        ("sudo", "sudo"), ("syslinux", "syslinux"), ("tar", "tar"),
    ]

    /// Master boot record that starts the partition marked for BIOS machines.
    package static let masterBootRecord = "/usr/lib/syslinux/mbr/gptmbr.bin"
    /// systemd-boot.
    package static let bootLoader = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"

    /// Looks for everything at once.
    /// - Throws: `Fault` (`unavailable`) that names every missing program and what to install.
    package static func check() throws {
        var missing: [(what: String, package: String)] = []
        for (program, package) in programs where Tool.locate(program) == nil {
            missing.append((program, package))
        }
        for (path, package) in [
            (masterBootRecord, "syslinux-common"), (bootLoader, "systemd-boot-efi"),
        ] where !HostFile.exists(path) {
            missing.append((path, package))
        }
        guard missing.isEmpty else {
            throw Fault(
                .unavailable,
                "cannot build an image: \(missing.map(\.what).joined(separator: ", ")) not found; "
                    + "run apt-get install \(missing.map(\.package).joined(separator: " "))"
            )
        }
        guard geteuid() == 0 else {
            throw Fault(
                .forbidden,
                "cannot build an image: its files belong to root; run the command as root"
            )
        }
    }
}
