/// Which kernel a ramdisk or image gets, and which of its modules.
package enum DriverSet: String, Sendable, CaseIterable {
    /// Virtual machines: the distribution's small "cloud" kernel.
    case virtio
    /// Real servers: the distribution's general kernel.
    case server

    /// The package that always depends on the newest kernel of this kind.
    package var kernelPackage: String {
        switch self {
        case .virtio: "linux-image-cloud-amd64"
        case .server: "linux-image-amd64"
        }
    }

    /// Modules wanted, by what they are for.
    ///
    /// A name that a kernel does not have is reported and left out.
    package var wanted: [(purpose: String, modules: [String])] {
        switch self {
        case .virtio: Self.common + Self.virtual
        case .server: Self.common + Self.virtual + Self.hardware
        }
    }

    /// Loaded at start, in this order, because no device asks for them by its alias.
    package var loadedAtStart: [String] {
        switch self {
        case .virtio: ["af_packet", "virtio_pci", "efivarfs"]
        case .server: ["af_packet", "virtio_pci", "efivarfs", "ipmi_si", "ipmi_devintf"]
        }
    }

    /// Modules with which a root file system on any disk can be mounted.
    package var neededForRoot: [String] {
        let purposes: Set<String> = [
            "file systems", "RAID", "disks", "virtual machines", "disk controllers",
        ]
        return wanted.filter { purposes.contains($0.purpose) }.flatMap(\.modules)
    }

    private static let common: [(purpose: String, modules: [String])] = [
        ("network protocols", ["af_packet", "8021q", "bonding"]),
        ("firmware", ["efivarfs", "efi_pstore", "dmi_sysfs", "qemu_fw_cfg"]),
        (
            "file systems",
            ["vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "isofs", "ext4", "loop"]
        ),
        // Roots of images of partitions; not of the images that are built here.
        ("other file systems", ["xfs"]),
        ("RAID", ["md_mod", "raid0", "raid1", "raid10", "raid456"]),
        ("disks", ["nvme", "ahci", "ata_piix", "sd_mod", "sr_mod", "sg"]),
    ]

    private static let virtual: [(purpose: String, modules: [String])] = [
        (
            "virtual machines",
            [
                "virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_console",
                "virtio_balloon", "e1000", "e1000e", "vmxnet3", "vmw_pvscsi", "hv_netvsc",
                "hv_storvsc", "ena",
            ]
        )
    ]

    private static let hardware: [(purpose: String, modules: [String])] = [
        (
            "network cards",
            [
                "igb", "igc", "ixgbe", "ixgbevf", "i40e", "iavf", "ice", "bnxt_en", "bnx2", "bnx2x",
                "tg3", "mlx4_en", "mlx5_core", "be2net", "cxgb4", "enic", "qede", "sfc", "r8169",
                "ionic",
            ]
        ),
        (
            "disk controllers",
            [
                "megaraid_sas", "mpt3sas", "mpi3mr", "smartpqi", "hpsa", "aacraid", "mptsas",
                "mptspi", "isci", "vmd", "lpfc", "qla2xxx", "ses", "usb_storage", "uas",
            ]
        ),
        (
            "management",
            [
                "ipmi_si", "ipmi_devintf", "ipmi_ssif", "i2c_i801", "acpi_power_meter", "iTCO_wdt",
                // The network cards by which BMCs show themselves to their machines.
                "cdc_ether", "cdc_ncm", "rndis_host",
            ]
        ),
        ("keyboards", ["usbhid", "hid_generic", "xhci_pci", "ehci_pci", "uhci_hcd"]),
    ]
}
