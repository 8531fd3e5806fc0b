import AgentSystem
import Basics
import Foundation
import Protocol
import Testing

@testable import AgentSteps

private let mebibyte: Int64 = 1 << 20

extension SampleImage {
    /// The command that writes this image into a root partition.
    func partitionOrder(
        _ mode: String = "",
        ephemeral: UInt64 = 16,
        swap: UInt64 = 8,
        preserve: Bool = false,
        label: String = ""
    ) -> WireWriteImage {
        var order = order()
        order.bootMode = mode
        order.partitions.rootMib = 8
        order.partitions.swapMib = swap
        order.partitions.ephemeralMib = ephemeral
        order.partitions.ephemeralFormat = "ext4"
        order.partitions.preserveEphemeral = preserve
        order.partitions.diskLabel = label
        return order
    }
}

private func table(_ disk: any Disk) throws -> PartitionTable {
    try PartitionTable(
        head: try disk.bytes(0..<Int64(PartitionTable.headBytesMax)),
        blockBytes: disk.geometry.blockBytes,
        bytes: disk.geometry.bytes
    )
}

private func range(_ name: String, on disk: any Disk) throws -> Range<Int64> {
    let table = try table(disk)
    let found = table.partitions.first { $0.partition.name == name }
    return table.range(of: try #require(found?.partition, "there is no partition \(name)"))
}

struct `The writer of a root partition` {
    private let image = SampleImage(seed: 1)

    @Test(arguments: [(512, true), (4096, false)])
    func `makes Ironic's partitions, in their order, and fills them`(
        block: Int,
        quick: Bool
    ) async throws {
        let disk = MemoryDisk(bytes: 1 << 30, blockBytes: block, clearsQuickly: quick)
        let rig = WriteRig(image)
        _ = try await rig.write(image.partitionOrder("uefi"), to: disk)
        let table = try table(disk)
        #expect(
            table.partitions.map(\.partition.name)
                == ["efi-part", "ephemeral0", "swap1", "config-2", "root"]
        )
        #expect(table.partitions.first?.partition.type == .efiSystem)
        #expect(try tables(on: disk) == (true, true))
        #expect(try range("efi-part", on: disk) == mebibyte..<(551 * mebibyte))
        #expect(try range("ephemeral0", on: disk) == (551 * mebibyte)..<(567 * mebibyte))
        let root = try range("root", on: disk)
        #expect(root.count == 8 << 20)
        let content = try disk.bytes(root.lowerBound..<(root.lowerBound + Int64(image.disk.count)))
        #expect(content == image.disk)
        let swap = try range("swap1", on: disk).lowerBound
        #expect(try disk.bytes((swap + 4086)..<(swap + 4096)) == Array("SWAPSPACE2".utf8))
        let drive = try range("config-2", on: disk).lowerBound + 16 * 2048
        #expect(try disk.bytes((drive + 1)..<(drive + 6)) == Array("CD001".utf8))
        #expect(
            rig.fileSystems.done == [
                "ext4 ephemeral0 on /dev/vda2", "vfat efi-part on /dev/vda1",
                "loaders from /dev/vda5 to /dev/vda1",
            ]
        )
        #expect(rig.firmware.names().contains("BootOrder"))
    }

    @Test(arguments: ["gpt", "msdos"])
    func `makes a disk that starts by BIOS, with GRUB at its end`(label: String) async throws {
        let disk = MemoryDisk(bytes: 256 << 20)
        let rig = WriteRig(rooted)
        _ = try await rig.write(rooted.partitionOrder("bios", label: label), to: disk)
        let table = try #require(disk.partitionTable())
        let root: Range<Int64>
        if let gpt = table.gpt {
            #expect(label == "gpt")
            #expect(
                gpt.partitions.map(\.partition.name)
                    == ["bios-boot", "ephemeral0", "swap1", "config-2", "root"]
            )
            root = try range("root", on: disk)
        } else if case .msdos(let old) = table {
            #expect(label == "msdos")
            #expect(old.partitions.map(\.entry.type) == [0x83, 0x82, 0x83, 0x83])
            #expect(old.partitions.map(\.entry.isActive) == [false, false, false, true])
            root = old.range(of: try #require(old.partitions.last?.entry))
        } else {
            return
        }
        let content = try disk.bytes(root.lowerBound..<(root.lowerBound + Int64(rooted.disk.count)))
        #expect(content == rooted.disk)
        let last = label == "gpt" ? "/dev/vda5" : "/dev/vda4"
        let ephemeral = label == "gpt" ? "/dev/vda2" : "/dev/vda1"
        #expect(
            rig.fileSystems.done == ["ext4 ephemeral0 on \(ephemeral)", "menu of \(last)"]
        )
        #expect(try disk.bytes(0x68..<440) == Array(LoaderSample.bootSector[0x68..<440]))
        let settings = (label == "gpt" ? 1 << 20 : 0) + Int64(1023 * 512)
        let text = String(decoding: try disk.bytes(settings..<(settings + 512)), as: UTF8.self)
        #expect(
            text.contains(
                "--hint=$disk,\(label)\(last.last ?? "0") 41424344-4142-4344-4142-434441424344;"
            )
        )
        #expect(rig.firmware.names() == [])
    }

    /// An image that looks like a file system of kind ext4.
    private var rooted: SampleImage {
        var image = image
        let id = Array("ABCDABCDABCDABCD".utf8)
        image.disk.replaceSubrange(1080..<1082, with: [0x53, 0xef])
        image.disk.replaceSubrange(1128..<1144, with: id)
        image.pack()
        return image
    }

    @Test(
        arguments: [
            (nil, "no grub.cfg in /boot/grub or /boot/grub2"),
            (MenuFile(folder: "/boot/grub2", needsEntries: true), "blscfg"),
            (MenuFile(folder: "/boot/grub", needsEntries: false), "none of ext2 to ext4"),
        ] as [(MenuFile?, String)]
    )
    func `says so when GRUB has nothing to start, and leaves no loader`(
        menu: MenuFile?,
        words: String
    ) async throws {
        var rig = WriteRig(image)
        rig.fileSystems = MemoryFileSystems(menu: menu)
        let disk = MemoryDisk(bytes: 256 << 20)
        let refusal = await #expect(throws: StepFailure.self) {
            try await rig.write(image.partitionOrder("bios", label: "msdos"), to: disk)
        }
        #expect(refusal?.message.contains(words) == true, "\(refusal?.message ?? "")")
        #expect(refusal?.retryable == false)
        #expect(try disk.bytes(0..<440).allSatisfy { $0 == 0 })
    }

    @Test func `leaves out what nobody asked for`() async throws {
        var order = image.partitionOrder(ephemeral: 0, swap: 0)
        order.configDrive = [:]
        let disk = MemoryDisk(bytes: 64 << 20)
        let rig = WriteRig(image)
        _ = try await rig.write(order, to: disk)
        #expect(try table(disk).partitions.map(\.partition.name) == ["root"])
        #expect(rig.fileSystems.done == [])
        #expect(rig.firmware.names() == [])
    }

    @Test(
        arguments: [
            ("the image has 4.0 MiB", { @Sendable in $0.partitions.rootMib = 3 }),
            ("no room for the partition root", { @Sendable in $0.partitions.rootMib = 900 }),
            ("no size of a partition", { @Sendable in $0.partitions.swapMib = .max }),
            ("root partition has no size", { @Sendable in $0.partitions.rootMib = 0 }),
            ("has no partition table", { @Sendable in $0.partitions.preserveEphemeral = true }),
            ("“prep” is neither gpt nor msdos", { @Sendable in $0.partitions.diskLabel = "prep" }),
            (
                "UEFI needs a table of kind gpt",
                { @Sendable in
                    $0.bootMode = "uefi"
                    $0.partitions.diskLabel = "msdos"
                }
            ),
        ] as [(String, @Sendable (inout WireWriteImage) -> Void)]
    )
    func `refuses a layout that makes no sense, and writes nothing`(
        words: String,
        change: @Sendable (inout WireWriteImage) -> Void
    ) async throws {
        var order = image.partitionOrder()
        change(&order)
        let disk = MemoryDisk(bytes: 256 << 20)
        let refusal = await #expect(throws: StepFailure.self) {
            try await WriteRig(image).write(order, to: disk)
        }
        #expect(refusal?.message.contains(words) == true, "\(refusal?.message ?? "")")
        #expect(refusal?.retryable == false)
        #expect(disk.changes.isEmpty)
    }

    @Test func `says so when the image has no boot loader`() async throws {
        var rig = WriteRig(image)
        rig.fileSystems = MemoryFileSystems(loaders: ["EFI/debian/grub.cfg"])
        let refusal = await #expect(throws: StepFailure.self) {
            try await rig.write(image.partitionOrder("uefi"), to: MemoryDisk(bytes: 1 << 30))
        }
        #expect(refusal?.message.contains("no EFI/BOOT/BOOTX64.EFI below /boot/efi") == true)
        #expect(refusal?.retryable == false)
        #expect(rig.firmware.names() == [])
    }

    @Test func `a config drive of an image of a whole disk does not outlive it`() async throws {
        let disk = MemoryDisk(bytes: 256 << 20)
        _ = try await WriteRig(image).write(image.order(), to: disk)
        let old = try range("config-2", on: disk).lowerBound + 16 * 2048
        #expect(try disk.bytes((old + 1)..<(old + 6)) == Array("CD001".utf8))
        _ = try await WriteRig(image).write(image.partitionOrder(), to: disk)
        #expect(try disk.bytes((old + 1)..<(old + 6)) != Array("CD001".utf8))
        let between = try range("config-2", on: disk).lowerBound + 16 * 2048
        var order = image.order()
        order.configDrive = [:]
        _ = try await WriteRig(image).write(order, to: disk)
        #expect(try disk.bytes((between + 1)..<(between + 6)) != Array("CD001".utf8))
    }
}

struct `An ephemeral partition that is to be kept` {
    private let old = SampleImage(seed: 2)
    private let image = SampleImage(seed: 1)
    private let diskBytes: Int64 = 128 << 20

    private func rig(_ image: SampleImage) -> WriteRig {
        var rig = WriteRig(image)
        rig.workers = 1
        return rig
    }

    /// A disk with the old image and something in its ephemeral partition.
    private func used() async throws -> (disk: MemoryDisk, range: Range<Int64>, content: [UInt8]) {
        let disk = MemoryDisk(bytes: diskBytes)
        _ = try await rig(old).write(old.partitionOrder(), to: disk)
        let range = try range("ephemeral0", on: disk)
        let content = noise(range.count, seed: 50)
        try disk.put(content, at: range.lowerBound)
        try disk.flush()
        return (disk.afterPowerCut(SeededRandom(seed: 0)), range, content)
    }

    private func identity(_ disk: any Disk) throws -> GUID? {
        disk.partitionTable()?.gpt?.partitions.first { $0.partition.name == "ephemeral0" }?
            .partition.id
    }

    @Test func `keeps its content and identity, and everything else is new`() async throws {
        let (disk, range, content) = try await used()
        let id = try identity(disk)
        let rig = rig(image)
        _ = try await rig.write(image.partitionOrder(preserve: true), to: disk)
        #expect(try disk.bytes(range) == content)
        #expect(try identity(disk) == id)
        #expect(rig.fileSystems.done == [])
        let root = try AgentStepsTests.range("root", on: disk).lowerBound
        #expect(try disk.bytes(root..<(root + Int64(image.disk.count))) == image.disk)
    }

    @Test(arguments: [UInt64(15), 17, 0])
    func `of another size is refused, and nothing is written`(mebibytes: UInt64) async throws {
        let (disk, range, content) = try await used()
        let refusal = await #expect(throws: StepFailure.self) {
            let order = image.partitionOrder(ephemeral: mebibytes, preserve: true)
            return try await rig(image).write(order, to: disk)
        }
        #expect(refusal?.message.contains("to be kept") == true, "\(refusal?.message ?? "")")
        #expect(disk.changes.isEmpty)
        #expect(try disk.bytes(range) == content)
    }

    @Test func `in an msdos table survives a power cut at every moment`() async throws {
        func order(_ image: SampleImage, preserve: Bool) -> WireWriteImage {
            image.partitionOrder(preserve: preserve, label: "msdos")
        }
        func used() async throws -> MemoryDisk {
            let disk = MemoryDisk(bytes: diskBytes)
            _ = try await rig(self.old).write(order(self.old, preserve: false), to: disk)
            try disk.put(noise(16 << 20, seed: 50), at: mebibyte)
            try disk.flush()
            return disk.afterPowerCut(SeededRandom(seed: 0))
        }
        let old = try await used()
        let first = old.copy
        _ = try await rig(image).write(order(image, preserve: true), to: first)
        let content = noise(16 << 20, seed: 50)
        try #require(first.changes.count > 15)
        for number in 0...first.changes.count {
            let disk = old.copy
            let before = disk.partitionTable()
            disk.cut(before: number)
            // Only the last run has power to the end.
            _ = try? await rig(image).write(order(image, preserve: true), to: disk)
            let after = disk.afterPowerCut(SeededRandom(seed: UInt64(number)))
            #expect(isSame(try after.bytes(mebibyte..<(17 * mebibyte)), content))
            guard case .msdos(let before) = before, case .msdos(let new) = after.partitionTable()
            else {
                Issue.record("cut before change \(number): no msdos table")
                continue
            }
            #expect(before.diskID == new.diskID)
            #expect(before.partitions.first?.entry == new.partitions.first?.entry)
        }
        let refusal = await #expect(throws: StepFailure.self) {
            try await rig(image).write(image.partitionOrder(preserve: true), to: old.copy)
        }
        #expect(refusal?.message.contains("in a table of this kind") == true)
    }

    @Test func `survives a power cut at every moment, and the next run finds it`() async throws {
        let (old, range, content) = try await used()
        let id = try identity(old)
        let first = old.copy
        _ = try await rig(image).write(image.partitionOrder(preserve: true), to: first)
        let count = first.changes.count
        try #require(count > 20)
        for number in 0...count {
            let disk = old.copy
            disk.cut(before: number)
            // Only the last run has power to the end.
            _ = try? await rig(image).write(image.partitionOrder(preserve: true), to: disk)
            let after = disk.afterPowerCut(SeededRandom(seed: UInt64(number)))
            #expect(isSame(try after.bytes(range), content), "cut before change \(number)")
            #expect(try identity(after) == id, "cut before change \(number)")
            _ = try await rig(image).write(image.partitionOrder(preserve: true), to: after)
            #expect(isSame(try after.bytes(range), content))
            let root = try AgentStepsTests.range("root", on: after).lowerBound
            let written = try after.bytes(root..<(root + Int64(image.disk.count)))
            #expect(isSame(written, image.disk))
        }
    }
}

struct `Partitions in a file` {
    private let image = SampleImage(seed: 1)

    @Test func `are what sgdisk and blkid take`() async throws {
        let scratch = try Scratch()
        let path = try scratch.file("disk", "")
        try #require(truncate(path, 1 << 30) == 0)
        let disk = try SystemDisks().open(path, exclusive: true)
        _ = try await WriteRig(image).write(image.partitionOrder("uefi"), to: disk)
        let verified = try await run("sgdisk", ["-v", path])
        #expect(verified.outputText.contains("No problems found"), "\(verified.outputText)")
        let printed = try await run("sgdisk", ["-p", path]).outputText
        for code in ["EF00  efi-part", "8300  ephemeral0", "8200  swap1", "8300  root"] {
            #expect(printed.contains(code), "\(printed)")
        }
        let swap = try range("swap1", on: disk).lowerBound
        let probed = try await run("blkid", ["-p", "-o", "export", "-O", "\(swap)", path])
        #expect(probed.outputText.contains("TYPE=swap"), "\(probed.outputText)")
        #expect(probed.outputText.contains("LABEL=swap1"))
    }

    @Test(arguments: [(FileSystemFormat.ext4, "ext4"), (.ext2, "ext2"), (.vfat, "vfat")])
    func `get the file systems that are asked for`(
        format: FileSystemFormat,
        type: String
    ) async throws {
        let scratch = try Scratch()
        let path = try scratch.file("disk1", "")
        try #require(truncate(path, 64 << 20) == 0)
        let place = PartitionPlace(
            disk: "\(scratch.path)/disk",
            number: 1,
            range: mebibyte..<(65 * mebibyte)
        )
        func systems(start: Int64) -> SystemFileSystems {
            let tree = FileTree { name in
                if name.hasSuffix("/start") { return Array("\(start / 512)".utf8) }
                return name.hasSuffix("/size") ? Array("\(64 * mebibyte / 512)".utf8) : nil
            }
            return SystemFileSystems(
                processes: SystemProcesses(),
                mounts: SystemMounts(tree: tree),
                tree: tree
            )
        }
        // The kernel still has the partition of an older table at this number.
        let refusal = await #expect(throws: SystemFailure.self) {
            try await systems(start: 2 * mebibyte).make(format, label: "data", on: place)
        }
        #expect(refusal?.action.contains("another partition") == true)
        try await systems(start: mebibyte).make(format, label: "data", on: place)
        let probed = try await run("blkid", ["-p", "-o", "export", path])
        #expect(probed.outputText.contains("TYPE=\(type)"), "\(probed.outputText)")
        #expect(probed.outputText.contains("LABEL=data"))
    }
}
