import Testing

@testable import AgentSystem

private let devices = "/sys/devices/pci0000:00"

/// A machine with a virtio disk, a SATA disk, a SAS volume, an NVMe drive, and what is no disk.
private func machine() throws -> TemporaryTree {
    let tree = try TemporaryTree()
    func disk(_ name: String, _ place: String, _ facts: [String: String]) throws {
        for (file, text) in facts { try tree.file("\(place)/\(file)", text + "\n") }
        tree.link("/sys/class/block/\(name)", to: place)
    }
    try disk(
        "vda",
        "\(devices)/0000:00:04.0/virtio1/block/vda",
        [
            "size": "20971520", "serial": "c0-root", "removable": "0", "ro": "0",
            "queue/rotational": "1",
        ]
    )
    try tree.file("\(devices)/0000:00:04.0/virtio1/vendor", "0x1af4\n")
    tree.link("\(devices)/0000:00:04.0/virtio1/block/vda/device", to: "../../../virtio1")

    let sata = "\(devices)/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0"
    try disk(
        "sda",
        "\(sata)/block/sda",
        [
            "size": "100", "removable": "0", "queue/rotational": "0",
            "queue/physical_block_size": "4096",
        ]
    )
    try tree.file("\(sata)/model", "ACME SSD       \n").file("\(sata)/vendor", "ATA     \n")
        .file("\(sata)/wwid", "naa.5000c500a1b2c3d4\n")
        .file("\(sata)/vpd_pg80", bytes: [0, 0x80, 0, 8] + Array("  S3RIAL".utf8))
        .file("\(devices)/0000:00:1f.2/ata3/ata_port/ata3/port_no", "3\n")
    tree.link("\(sata)/block/sda/device", to: "../../../2:0:0:0")

    let sas = "\(devices)/0000:02:00.0/host0/target0:2:1/0:2:1:0"
    try disk("sdb", "\(sas)/block/sdb", ["size": "200"])
    try tree.file("\(sas)/wwid", "naa.600508b1001c4d5e6f708192a3b4c5d6\n")
    tree.link("\(sas)/block/sdb/device", to: "../../../0:2:1:0")

    let nvme = "\(devices)/0000:03:00.0/nvme/nvme0"
    try disk(
        "nvme0n1",
        "\(nvme)/nvme0n1",
        ["size": "300", "wwid": "eui.0025385b71b00001", "nsid": "1", "ro": "1"]
    )
    try tree.file("\(nvme)/serial", "NV01  \n").file("\(nvme)/model", "Fast\n")
    tree.link("\(nvme)/nvme0n1/device", to: "../../nvme0")

    try tree.file("/sys/class/block/vda1/partition", "1").file("/sys/class/block/vda1/size", "5")
    for name in ["loop0", "ram0", "sr0", "dm-0", "md0", "fd0", "zram0"] {
        try tree.file("/sys/class/block/\(name)/size", "50")
    }
    try tree.file("/sys/class/block/sdz/size", "0")
    return tree
}

struct `The list of disks` {
    @Test func `holds whole disks with a medium and nothing else`() throws {
        let tree = try machine()
        let names = SystemBlockDevices(tree: tree.tree).list().map(\.name)
        #expect(names == ["nvme0n1", "sda", "sdb", "vda"])
    }

    @Test func `holds software RAID that runs, with the disks below it`() throws {
        let tree = try machine()
        tree.link("/sys/class/block/sdb2", to: "/sys/devices/pci0/block/sdb/sdb2")
        try tree.file("/sys/devices/pci0/block/sdb/sdb2/partition", "2")
            .file("/sys/class/block/md5/size", "2048")
        tree.link("/sys/class/block/md5/slaves/sdb2", to: "/sys/devices/pci0/block/sdb/sdb2")
        tree.link("/sys/class/block/md5/slaves/nvme0n1", to: "/sys/class/block/nvme0n1")
        try tree.file("/sys/class/block/md5p1/partition", "1")
            .file("/sys/class/block/md5p1/size", "5")
        let found = SystemBlockDevices(tree: tree.tree).list()
        let array = try #require(found.first { $0.name == "md5" })
        #expect(array.members == ["/dev/nvme0n1", "/dev/sdb"])
        #expect(array.bytes == 1 << 20)
        // An array without members, as one is that is being taken away, is none.
        #expect(found.map(\.name) == ["md5", "nvme0n1", "sda", "sdb", "vda"])
    }

    @Test func `knows what the kernel knows`() throws {
        let tree = try machine()
        let found = SystemBlockDevices(tree: tree.tree).list()
        let disks = Dictionary(uniqueKeysWithValues: found.map { ($0.name, $0) })
        let virtio = try #require(disks["vda"])
        #expect(virtio.path == "/dev/vda")
        #expect(virtio.bytes == 10 << 30)
        #expect(virtio.serial == "c0-root")
        #expect(virtio.vendor == "0x1af4")
        #expect(virtio.rotational)
        #expect(virtio.byPath == "/dev/disk/by-path/pci-0000:00:04.0")
        #expect(virtio.hctl.isEmpty)
        let sata = try #require(disks["sda"])
        #expect(sata.model == "ACME SSD")
        #expect(sata.serial == "S3RIAL")
        #expect(sata.wwn == "0x5000c500a1b2c3d4")
        #expect(sata.hctl == "2:0:0:0")
        #expect(sata.byPath == "/dev/disk/by-path/pci-0000:00:1f.2-ata-3")
        #expect(sata.physicalSectorBytes == 4096)
        #expect(!sata.rotational)
        let sas = try #require(disks["sdb"])
        #expect(sas.wwn == "0x600508b1001c4d5e")
        #expect(sas.wwnVendorExtension == "0x6f708192a3b4c5d6")
        #expect(sas.wwnWithExtension == "0x600508b1001c4d5e6f708192a3b4c5d6")
        #expect(sas.byPath == "/dev/disk/by-path/pci-0000:02:00.0-scsi-0:2:1:0")
        let nvme = try #require(disks["nvme0n1"])
        #expect(nvme.wwn == "eui.0025385b71b00001")
        #expect(nvme.serial == "NV01")
        #expect(nvme.readOnly)
        #expect(nvme.byPath == "/dev/disk/by-path/pci-0000:03:00.0-nvme-1")
    }

    @Test func `udev's names win where it runs`() throws {
        let tree = try machine()
        try tree.file("\(devices)/0000:00:04.0/virtio1/block/vda/dev", "254:0\n")
            .file(
                "/run/udev/data/b254:0",
                "E:ID_PATH=pci-0000:00:04.0-x\nE:ID_WWN=0x1234\nodd\nE:ID_SERIAL_SHORT=other\n"
            )
        let disk = try #require(
            SystemBlockDevices(tree: tree.tree).list().first { $0.name == "vda" }
        )
        #expect(disk.byPath == "/dev/disk/by-path/pci-0000:00:04.0-x")
        #expect(disk.wwn == "0x1234")
        #expect(disk.serial == "c0-root")
    }

    @Test(arguments: [
        "t10.ATA     QEMU", "", "naa.", "naa.5000", "naa.zzzzc500a1b2c3d4", "scsi.5000c500a1b2c3d4",
    ])
    func `a name that is not unique in the world is none`(wwid: String) {
        #expect(worldWideName(wwid).name.isEmpty)
    }

    @Test(arguments: [
        ("0000:00:1f.2", true), ("0000:00:1f.22", false), ("0000-00:1f.2", false), ("", false),
        ("000g:00:1f.2", false),
    ])
    func `a PCI address is recognised`(text: String, expected: Bool) {
        #expect(isPCIAddress(text) == expected)
    }
}
