import FoundationEssentials
import Glibc
package import Protocol

/// Takes stock of a machine in the terms of Ironic's inventory.
package struct InventoryCollector: Sendable {
    private let tree: FileTree
    private let disks: any BlockDevices
    private let network: any Network
    private let firmware: any Firmware

    package init(
        tree: FileTree,
        disks: any BlockDevices,
        network: any Network,
        firmware: any Firmware
    ) {
        self.tree = tree
        self.disks = disks
        self.network = network
        self.firmware = firmware
    }

    /// Everything that can be read at once.
    ///
    /// `bootMAC` is the interface that the firmware booted from, empty when unknown; `lldp` is what was
    /// heard, by interface name.
    package func collect(bootMAC: String, lldp: [String: [LLDPEntry]]) -> WireInventory {
        let description = firmware.description()
        let addresses = firmware.bmcAddresses()
        var inventory = WireInventory()
        inventory.cpu = cpu(description)
        inventory.memory = memory(description)
        inventory.disks = disks.list().map(disk)
        inventory.interfaces = network.interfaces().map { interface($0, lldp[$0.name] ?? []) }
        inventory.systemVendor = vendor(description)
        inventory.boot.currentBootMode = firmware.bootMode().rawValue
        inventory.boot.pxeInterface = bootMAC
        inventory.hostname = tree.text("/proc/sys/kernel/hostname") ?? ""
        inventory.bmcAddress = addresses.ipv4
        inventory.bmcV6Address = addresses.ipv6
        inventory.bmcMac = addresses.mac
        inventory.systemUuid = description.systemUUID
        return inventory
    }

    private func cpu(_ description: SMBIOS) -> WireCPU {
        var cpu = WireCPU()
        var sockets: Set<String> = []
        for line in (tree.text("/proc/cpuinfo") ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let value = trimmed(parts[1].utf8)
            switch trimmed(parts[0].utf8) {
            case "processor": cpu.count += 1
            case "model name": cpu.modelName = value
            case "cpu MHz": cpu.frequencyMhz = Double(value) ?? 0
            case "physical id": sockets.insert(value)
            case "flags", "Features":
                if cpu.flags.isEmpty { cpu.flags = value.split(separator: " ").map(String.init) }
            default: break
            }
        }
        if let highest = tree.number("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq") {
            cpu.frequencyMhz = Double(highest) / 1000
        }
        cpu.architecture = architecture()
        cpu.socketCount = UInt32(max(sockets.count, max(1, description.processors)))
        return cpu
    }

    private func architecture() -> String {
        var names = utsname()
        guard uname(&names) == 0 else { return "" }
        return withUnsafeBytes(of: &names.machine) { trimmed($0.prefix { $0 != 0 }) }
    }

    private func memory(_ description: SMBIOS) -> WireMemory {
        var memory = WireMemory()
        memory.totalBytes = memoryFacts(tree.text("/proc/meminfo") ?? "")["MemTotal"] ?? 0
        memory.physicalMb = description.memoryBytes >> 20
        // Without firmware's word, the kernel's total rounded up to what modules come in.
        if memory.physicalMb == 0 {
            memory.physicalMb = ((memory.totalBytes + (127 << 20)) >> 27) << 7
        }
        return memory
    }

    private func disk(_ device: BlockDevice) -> WireDisk {
        var disk = WireDisk()
        disk.name = device.path
        disk.model = device.model
        disk.vendor = device.vendor
        disk.serial = device.serial
        disk.sizeBytes = device.bytes
        disk.rotational = device.rotational
        disk.wwn = device.wwn
        disk.wwnWithExtension = device.wwnWithExtension
        disk.wwnVendorExtension = device.wwnVendorExtension
        disk.hctl = device.hctl
        disk.byPath = device.byPath
        disk.logicalSectors = UInt32(clamping: device.logicalSectorBytes)
        disk.physicalSectors = UInt32(clamping: device.physicalSectorBytes)
        disk.removable = device.removable
        disk.readOnly = device.readOnly
        return disk
    }

    private func interface(_ source: NetworkInterface, _ entries: [LLDPEntry]) -> WireInterface {
        var interface = WireInterface()
        interface.name = source.name
        interface.macAddress = source.mac
        interface.ipv4Address = source.ipv4
        interface.ipv6Address = source.ipv6
        interface.hasCarrier_p = source.hasCarrier
        interface.speedMbps = UInt32(clamping: source.speedMbps)
        interface.vendor = source.vendor
        interface.product = source.product
        interface.pciAddress = source.pciAddress
        interface.driver = source.driver
        interface.lldp = entries.map { entry in
            var wire = WireLLDP()
            wire.type = UInt32(entry.type)
            wire.value = .init(entry.value)
            return wire
        }
        return interface
    }

    private func vendor(_ description: SMBIOS) -> WireSystemVendor {
        var vendor = WireSystemVendor()
        vendor.productName = description.productName
        vendor.serialNumber = description.serialNumber
        vendor.manufacturer = description.manufacturer
        vendor.firmwareVendor = description.biosVendor
        vendor.firmwareVersion = description.biosVersion
        vendor.firmwareBuildDate = description.biosDate
        return vendor
    }
}
