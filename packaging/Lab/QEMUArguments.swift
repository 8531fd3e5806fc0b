/// The argument vector of one machine's QEMU.
package struct QEMUArguments: Sendable {
    package static let program = "qemu-system-x86_64"
    package static let firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
    package static let firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
    /// QEMU's device names, by which the monitor changes the boot order.
    package static let diskDevice = "disk0"
    package static let networkDevice = "net0"

    package let machine: LabMachine
    package let places: MachinePlaces
    package let accelerator: Accelerator

    package init(machine: LabMachine, places: MachinePlaces, accelerator: Accelerator) {
        self.machine = machine
        self.places = places
        self.accelerator = accelerator
    }

    /// The vector for a start that looks at `first` before the other device.
    package func vector(first: BootDevice) -> [String] {
        let disk = first == .disk ? 1 : 2
        return ["-name", machine.name, "-nodefaults", "-display", "none"]
            + ["-machine", "q35,graphics=off"] + processor
            + ["-m", "\(machine.memoryMebibytes)", "-smp", "1", "-rtc", "base=utc"]
            + ["-uuid", machine.uuid]
            + [
                "-smbios",
                "type=1,manufacturer=RDO,product=Lab,serial=RDO-LAB-\(machine.index + 1)",
            ]
            + firmware
            + [
                "-drive",
                "file=\(places.disk),format=raw,if=none,id=image0,cache=unsafe,discard=unmap,"
                    + "detect-zeroes=unmap",
                "-device",
                "virtio-blk-pci,id=\(Self.diskDevice),drive=image0,serial=RDO-\(machine.name),"
                    + "bootindex=\(disk)",
                "-netdev", "tap,id=tap0,ifname=\(machine.tap),script=no,downscript=no",
                "-device",
                "virtio-net-pci,id=\(Self.networkDevice),netdev=tap0,mac=\(machine.mac),"
                    + "bootindex=\(3 - disk)" + (machine.firmware == .uefi ? ",romfile=" : ""),
                "-device", "virtio-rng-pci",
            ] + managementController
            + [
                "-chardev",
                "socket,id=serial0,path=\(places.serialSocket),server=on,wait=off,"
                    + "logfile=\(places.serialLog),logappend=on",
                "-serial", "chardev:serial0",
                "-chardev", "socket,id=monitor0,path=\(places.monitorSocket),server=on,wait=off",
                "-mon", "chardev=monitor0,mode=control",
            ]
    }

    // The machine's own side of its BMC: a KCS interface as most servers have it.
    private var managementController: [String] {
        [
            "-chardev",
            "socket,id=bmc-line,host=127.0.0.1,port=\(machine.bmcMachinePort),reconnect=1",
            "-device", "ipmi-bmc-extern,id=bmc0,chardev=bmc-line",
            "-device", "isa-ipmi-kcs,bmc=bmc0",
        ]
    }

    // `max` is about a tenth faster than `qemu64` under emulation. The translation buffer is bounded: its
    // default of a gibibyte per machine is not for a laptop.
    private var processor: [String] {
        switch accelerator {
        case .tcg: ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"]
        case .kvm: ["-accel", "kvm", "-cpu", "host"]
        }
    }

    // With UEFI the NIC has no ROM, so that the firmware's own network stack fetches `snponly.efi`, as on
    // a real machine. IPv6 is off: nothing answers it here, and each attempt takes half a minute.
    private var firmware: [String] {
        switch machine.firmware {
        case .bios: []
        case .uefi:
            [
                "-drive",
                "if=pflash,unit=0,format=raw,readonly=on,file=\(Self.firmwareCode)",
                "-drive", "if=pflash,unit=1,format=raw,file=\(places.variables)",
                "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n",
            ]
        }
    }
}
