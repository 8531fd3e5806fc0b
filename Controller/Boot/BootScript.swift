/// Makes iPXE scripts out of checked values only.
///
/// No text from a request, from a node's properties or from DHCP reaches a script: addresses and MACs are
/// types of their own, names are constants of ours. What carries words for people goes through `printable`,
/// which leaves nothing that iPXE could take for a command, a setting or a new line (CVE-2026-46447).
package struct BootScript: Sendable {
    private let address: IPv4Address
    private let port: UInt16

    /// - Parameters:
    ///   - address: the controller on the provisioning network.
    ///   - port: the plain HTTP port of the boot files.
    package init(address: IPv4Address, port: UInt16) {
        self.address = address
        self.port = port
    }

    private var base: String { "http://\(address.text):\(port)" }

    /// Asks the controller again, with the MAC that iPXE booted from.
    package var chain: String {
        """
        #!ipxe
        chain --replace \(base)/boot.ipxe?mac=${netX/mac}

        """
    }

    /// Kernel, ramdisk and the machine's own fragment.
    package func ramdisk(for mac: MACAddress) -> String {
        let arguments = [
            "console=tty0", "console=ttyS0,115200", "BOOTIF=\(mac.bootInterface)",
            "rdo.role=ramdisk", "initrd=initrd", "initrd=fragment",
        ]
        return """
            #!ipxe
            echo RDO-Manager: starting the ramdisk
            imgfree
            kernel --name kernel \(base)/ramdisk/kernel \(arguments.joined(separator: " ")) || goto failed
            initrd --name initrd \(base)/ramdisk/initrd || goto failed
            initrd --name fragment \(base)/boot/\(mac.text)/fragment || goto failed
            boot kernel || goto failed
            :failed
            echo RDO-Manager: the ramdisk cannot be loaded, trying again in 10 seconds
            sleep 10
            reboot

            """
    }

    /// The machine's own disk.
    ///
    /// On BIOS iPXE starts the first disk itself. On UEFI an old iPXE cannot; it leaves with an error, so that
    /// the firmware goes on to its next boot entry (after a success it would end in its setup menu).
    package func localDisk(reason: String) -> String {
        """
        #!ipxe
        echo RDO-Manager: booting from the local disk (\(Self.printable(reason)))
        iseq ${platform} efi && exit 1 ||
        sanboot --no-describe --drive 0x80 || exit 1

        """
    }

    /// Words for people without anything that iPXE reads: letters, digits and a little punctuation.
    static func printable(_ text: String) -> String {
        String(
            text.unicodeScalars.prefix(120).map { scalar in
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9", " ", ".", ",", ":", "-": Character(scalar)
                default: "_"
                }
            }
        )
    }
}
