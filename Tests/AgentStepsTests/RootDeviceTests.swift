import AgentSystem
import Protocol
import Testing

@testable import AgentSteps

/// A machine with four disks of different kinds.
private let machine: [BlockDevice] = {
    var system = BlockDevice(path: "/dev/sda", bytes: 480 << 30)
    system.model = "ACME SSD 480"
    system.vendor = "ATA"
    system.serial = "S3RIAL"
    system.wwn = "0x5000c500a1b2c3d4"
    system.wwnWithExtension = "0x5000c500a1b2c3d4"
    system.hctl = "2:0:0:0"
    system.byPath = "/dev/disk/by-path/pci-0000:00:1f.2-ata-3"
    var volume = BlockDevice(path: "/dev/sdb", bytes: 2 << 40)
    volume.model = "LOGICAL VOLUME"
    volume.vendor = "HP"
    volume.serial = "600508B1"
    volume.wwn = "0x600508b1001c4d5e"
    volume.wwnVendorExtension = "0x6f708192a3b4c5d6"
    volume.wwnWithExtension = "0x600508b1001c4d5e6f708192a3b4c5d6"
    volume.rotational = true
    var flash = BlockDevice(path: "/dev/nvme0n1", bytes: 960 << 30)
    flash.model = "Fast"
    flash.wwn = "eui.0025385b71b00001"
    var stick = BlockDevice(path: "/dev/sdc", bytes: 8 << 30)
    stick.removable = true
    return [volume, stick, flash, system]
}()

private func hints(_ change: (inout WireRootDeviceHints) -> Void) -> WireRootDeviceHints {
    var hints = WireRootDeviceHints()
    change(&hints)
    return hints
}

private typealias HintField = any WritableKeyPath<WireRootDeviceHints, String> & Sendable

struct `The choice of the root device` {
    private static let table: [(field: HintField, text: String, disk: String?)] = [
        (\.name, "/dev/sdb", "sdb"), (\.name, "/dev/sdd", nil),
        (\.model, "ACME SSD 480", "sda"), (\.model, "acme ssd 480", "sda"),
        (\.model, "s== fast", "nvme0n1"), (\.model, "s!= fast", "sda"),
        (\.model, "<in> logical", "sdb"), (\.model, "<all-in> 480 acme", "sda"),
        (\.model, "<all-in> acme volume", nil),
        (\.model, "<or> other <or> logical volume", "sdb"),
        (\.vendor, "ata", "sda"), (\.vendor, "s>= b", "sdb"), (\.vendor, "s< b", "sda"),
        (\.vendor, "s> ata", "sdb"), (\.vendor, "s<= ata", "sda"),
        (\.serial, "S3RIAL", "sda"), (\.serial, "== 3", nil),
        (\.size, "480", "sda"), (\.size, "== 480", "sda"), (\.size, ">= 2048", "sdb"),
        (\.size, "> 960", "sdb"), (\.size, "< 480", "sdc"), (\.size, "<= 480", "sda"),
        (\.size, "= 900", "nvme0n1"), (\.size, "!= 960", "sda"),
        (\.size, "<or> 100 <or> 2048", "sdb"), (\.size, "> 4096", nil),
        (\.wwn, "0x5000C500A1B2C3D4", "sda"), (\.wwn, "eui.0025385b71b00001", "nvme0n1"),
        (\.wwnWithExtension, "0x600508b1001c4d5e6f708192a3b4c5d6", "sdb"),
        (\.wwnVendorExtension, "0x6f708192a3b4c5d6", "sdb"),
        (\.hctl, "2:0:0:0", "sda"), (\.hctl, "2:0:0:1", nil),
        (\.byPath, "/dev/disk/by-path/pci-0000:00:1f.2-ata-3", "sda"),
        (\.rotational, "true", "sdb"), (\.rotational, "1", "sdb"), (\.rotational, "no", "nvme0n1"),
    ]

    @Test(arguments: table.indices)
    func `follows Ironic's hint`(index: Int) throws {
        let (field, text, expected) = Self.table[index]
        let wanted = hints { $0[keyPath: field] = text }
        guard let expected else {
            let refusal = #expect(throws: NoRootDevice.self, "\(text)") {
                try chooseRootDevice(machine, hints: wanted)
            }
            #expect(refusal?.explanations.count == machine.count)
            return
        }
        let choice = try chooseRootDevice(machine, hints: wanted)
        #expect(choice.disk.name == expected, "\(text)")
    }

    @Test func `all hints must hold`() throws {
        let both = hints {
            $0.size = ">= 400"
            $0.rotational = "true"
        }
        #expect(try chooseRootDevice(machine, hints: both).disk.name == "sdb")
        let neither = hints {
            $0.size = "480"
            $0.rotational = "true"
        }
        #expect(throws: NoRootDevice.self) { try chooseRootDevice(machine, hints: neither) }
    }

    @Test func `says of every disk why it was chosen or not`() throws {
        let choice = try chooseRootDevice(machine, hints: hints { $0.model = "ACME SSD 480" })
        #expect(
            choice.explanations == [
                "/dev/nvme0n1 (960.0 GiB) is not: its model is “Fast”, the hint asks for “ACME SSD 480”",
                "/dev/sda (480.0 GiB, serial S3RIAL) is chosen: it satisfies model “ACME SSD 480”",
                "/dev/sdb (2.0 TiB, serial 600508B1) is not: its model is “LOGICAL VOLUME”, the hint asks for “ACME SSD 480”",
                "/dev/sdc (8.0 GiB) is not: it has no model, the hint asks for “ACME SSD 480”",
            ]
        )
    }

    @Test func `refuses with every disk's obstacle when none matches`() {
        let refusal = #expect(throws: NoRootDevice.self) {
            try chooseRootDevice(machine, hints: hints { $0.serial = "NONE" })
        }
        #expect(refusal?.reason == "no disk satisfies serial “NONE”")
        #expect(refusal?.explanations.allSatisfy { $0.contains("serial") } == true)
    }

    @Test func `without hints takes the smallest that holds an image`() throws {
        #expect(try chooseRootDevice(machine, hints: WireRootDeviceHints()).disk.name == "sda")
        let small = BlockDevice(path: "/dev/vda", bytes: (4 << 30) - 1)
        #expect(throws: NoRootDevice.self) {
            try chooseRootDevice([small], hints: WireRootDeviceHints())
        }
    }

    @Test func `of disks of one size takes the first by name`() throws {
        let disks = ["/dev/vdc", "/dev/vda", "/dev/vdb"].map {
            BlockDevice(path: $0, bytes: 10 << 30)
        }
        #expect(try chooseRootDevice(disks, hints: WireRootDeviceHints()).disk.name == "vda")
    }

    @Test func `does not depend on the order in which the kernel found the disks`() throws {
        for hint in ["", ">= 400"] {
            let wanted = hints { $0.size = hint }
            let choice = try chooseRootDevice(machine, hints: wanted)
            #expect(try chooseRootDevice(machine.reversed(), hints: wanted) == choice)
        }
    }

    @Test func `never takes a disk that is read-only`() {
        var disk = BlockDevice(path: "/dev/sda", bytes: 10 << 30)
        disk.readOnly = true
        for wanted in [WireRootDeviceHints(), hints { $0.name = "/dev/sda" }] {
            let refusal = #expect(throws: NoRootDevice.self) {
                try chooseRootDevice([disk], hints: wanted)
            }
            #expect(refusal?.explanations.first?.hasSuffix("it is read-only") == true)
        }
    }

    @Test func `a machine without disks is told so`() {
        #expect(throws: NoRootDevice(reason: "the machine has no disk", explanations: [])) {
            try chooseRootDevice([], hints: WireRootDeviceHints())
        }
    }

    private static let nonsense: [(field: HintField, text: String)] = [
        (\.size, "large"), (\.size, "0"), (\.size, "-5"), (\.size, "1.5"), (\.size, "s== 5"),
        (\.size, ">="), (\.size, "<in> 5"), (\.size, "<or>"), (\.size, "99999999999999999999"),
        (\.rotational, "perhaps"), (\.rotational, "!= true"), (\.model, "s=="), (\.model, "== abc"),
        (\.model, "   "), (\.model, "<all-in>"), (\.model, "<or> a <or>"),
    ]

    @Test(arguments: nonsense.indices)
    func `a hint that makes no sense chooses no disk`(index: Int) {
        let (field, text) = Self.nonsense[index]
        let refusal = #expect(throws: NoRootDevice.self, "\(text)") {
            try chooseRootDevice(machine, hints: hints { $0[keyPath: field] = text })
        }
        #expect(refusal?.reason.contains("makes no sense") == true, "\(text)")
    }

    @Test func `an absent property satisfies no comparison`() {
        let bare = [BlockDevice(path: "/dev/vda", bytes: 10 << 30)]
        for text in ["s!= x", "!= 5", "s< z", "<in> x", "x"] {
            #expect(throws: NoRootDevice.self, "\(text)") {
                try chooseRootDevice(bare, hints: hints { $0.serial = text })
            }
        }
    }

    @Test func `a disk of an absurd size does no harm`() throws {
        let disk = BlockDevice(path: "/dev/vda", bytes: .max)
        let choice = try chooseRootDevice([disk], hints: hints { $0.size = ">= 100" })
        #expect(choice.explanations.first?.contains("8191.9 PiB") == true)
    }
}
