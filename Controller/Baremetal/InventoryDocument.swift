package import HTTP
package import Protocol

extension WireInventory {
    /// The inventory in the form that Ironic's API shows.
    package var document: JSONValue {
        [
            "cpu": [
                "model_name": .string(cpu.modelName),
                "frequency": .string(String(cpu.frequencyMhz)),
                "count": .integer(Int64(cpu.count)),
                "architecture": .string(cpu.architecture),
                "flags": .array(cpu.flags.prefix(512).map(JSONValue.string)),
                "socket_count": .integer(Int64(cpu.socketCount)),
            ],
            "memory": [
                "total": .integer(Int64(clamping: memory.totalBytes)),
                "physical_mb": .integer(Int64(clamping: memory.physicalMb)),
            ],
            "disks": .array(disks.prefix(Self.partsMax).map(\.document)),
            "interfaces": .array(interfaces.prefix(Self.partsMax).map(\.document)),
            "system_vendor": [
                "product_name": .string(systemVendor.productName),
                "serial_number": .string(systemVendor.serialNumber),
                "manufacturer": .string(systemVendor.manufacturer),
                "firmware": [
                    "vendor": .string(systemVendor.firmwareVendor),
                    "version": .string(systemVendor.firmwareVersion),
                    "build_date": .string(systemVendor.firmwareBuildDate),
                ],
            ],
            "boot": [
                "current_boot_mode": .string(boot.currentBootMode),
                "pxe_interface": text(boot.pxeInterface),
            ],
            "hostname": text(hostname),
            "bmc_address": text(bmcAddress),
            "bmc_v6address": text(bmcV6Address),
            "bmc_mac": text(bmcMac),
            "system_uuid": text(systemUuid),
        ]
    }

    /// What is derived from the inventory, as Ironic's inspection hooks leave it.
    package var pluginData: JSONValue {
        [
            "macs": .array(interfaces.prefix(Self.partsMax).map { .string($0.macAddress) }),
            "cpus": .integer(Int64(cpu.count)),
            "cpu_arch": .string(cpu.architecture),
            "memory_mb": .integer(Int64(clamping: memory.physicalMb)),
            "local_gb": .integer(localGigabytes),
            "boot_interface": text(boot.pxeInterface),
        ]
    }

    /// Parts of one kind that are kept; what a machine says about itself is bounded.
    static let partsMax = 256

    /// The largest disk that can be installed on, less one GiB, as Ironic counts.
    package var localGigabytes: Int64 {
        let sizes = disks.filter { !$0.removable && !$0.readOnly }.map(\.sizeBytes)
        return max(0, Int64(clamping: (sizes.max() ?? 0) >> 30) - 1)
    }

    /// The properties that scheduling reads.
    package var properties: [String: JSONValue] {
        [
            "cpus": .integer(Int64(cpu.count)),
            "cpu_arch": .string(cpu.architecture),
            "memory_mb": .integer(Int64(clamping: memory.physicalMb)),
            "local_gb": .integer(localGigabytes),
        ]
    }
}

private func text(_ text: String) -> JSONValue { text.isEmpty ? .null : .string(text) }

extension WireDisk {
    fileprivate var document: JSONValue {
        [
            "name": .string(name), "model": .string(model), "vendor": text(vendor),
            "serial": text(serial), "size": .integer(Int64(clamping: sizeBytes)),
            "rotational": .bool(rotational), "wwn": text(wwn),
            "wwn_with_extension": text(wwnWithExtension),
            "wwn_vendor_extension": text(wwnVendorExtension), "hctl": text(hctl),
            "by_path": text(byPath), "logical_sectors": .integer(Int64(logicalSectors)),
            "physical_sectors": .integer(Int64(physicalSectors)),
            "removable": .bool(removable), "read_only": .bool(readOnly),
        ]
    }
}

extension WireInterface {
    fileprivate var document: JSONValue {
        [
            "name": .string(name), "mac_address": .string(macAddress),
            "ipv4_address": text(ipv4Address), "ipv6_address": text(ipv6Address),
            "has_carrier": .bool(hasCarrier_p),
            "speed_mbps": speedMbps == 0 ? .null : .integer(Int64(speedMbps)),
            "vendor": text(vendor), "product": text(product), "client_id": text(clientID),
            "biosdevname": text(biosdevname), "pci_address": text(pciAddress),
            "driver": text(driver),
            "lldp": .array(
                lldp.prefix(128).map { [.integer(Int64($0.type)), .string(hexadecimal($0.value))] }
            ),
        ]
    }
}

private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes.prefix(512) {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
