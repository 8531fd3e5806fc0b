/// The texts that the boot loaders read from the EFI system partition.
package enum BootFiles {
    /// What the kernel is told.
    ///
    /// The serial console comes last, so that it is the system's console.
    /// - Parameter root: UUID of the root file system.
    /// - Returns: the kernel's command line.
    package static func commandLine(root: String) -> String {
        "root=UUID=\(root) rw console=tty0 console=ttyS0,115200 loglevel=5 systemd.gpt_auto=0"
    }

    /// `loader/loader.conf` of systemd-boot: no menu.
    package static let loader = "timeout 0\ndefault rdo.conf\neditor no\n"

    /// `loader/entries/rdo.conf` of systemd-boot.
    package static func entry(root: String) -> String {
        """
        title RDO overcloud
        linux /vmlinuz
        initrd /initrd
        options \(commandLine(root: root))

        """
    }

    /// `syslinux.cfg`, for machines with a BIOS.
    package static func syslinux(root: String) -> String {
        """
        SERIAL 0 115200
        DEFAULT rdo
        PROMPT 0
        TIMEOUT 1
        LABEL rdo
            LINUX /vmlinuz
            INITRD /initrd
            APPEND \(commandLine(root: root))

        """
    }

    /// `/etc/fstab` with the root file system only.
    ///
    /// It is checked by its journal only.
    package static func table(root: String) -> String {
        "UUID=\(root) / ext4 noatime 0 0\n"
    }
}
