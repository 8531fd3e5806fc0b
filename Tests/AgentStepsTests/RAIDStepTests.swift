import AgentSystem
import Basics
import Glibc
import Protocol
import Synchronization
import Testing

@testable import AgentSteps

/// Two disks of 1 GiB whose kernel shows partitions and arrays as soon as they are there.
final class Rack: BlockDevices, DiskAccess {
    let whole: [String: MemoryDisk]
    let arrays: MemoryArrays
    let volume: MemoryDisk
    private let random = SeededRandom(seed: 3)

    init(
        _ names: [String] = ["sda", "sdb"],
        arrays: MemoryArrays = MemoryArrays(),
        volumeBytes: Int64 = 64 << 20
    ) {
        volume = MemoryDisk(bytes: volumeBytes)
        whole = Dictionary(
            uniqueKeysWithValues: names.map { ("/dev/\($0)", MemoryDisk(bytes: 1 << 30)) }
        )
        self.arrays = arrays
    }

    var work: RAIDWork { raidWork(self, self, arrays: arrays, random: random) }

    func list() -> [BlockDevice] {
        let disks = whole.keys.map { BlockDevice(path: $0, bytes: 1 << 30) }
        let running = arrays.running().map { device in
            var array = BlockDevice(path: device, bytes: UInt64(volume.geometry.bytes))
            // Partitions have one digit here.
            let members = arrays.state.withLock { state in
                state.assembled.last { $0.device == device }?.members
                    ?? state.created.last { $0.device == device }?.members
            }
            array.members = members?.map { String($0.dropLast()) }.sorted() ?? whole.keys.sorted()
            return array
        }
        return disks + running
    }

    func open(_ path: String) throws -> Int32 { throw SystemFailure("open", code: ENOTSUP) }

    func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk {
        if let disk = whole[path] { return disk }
        if path == "/dev/md100" {
            let members = arrays.state.withLock { $0.created.last?.members ?? [] }
            var parts: [any Disk] = []
            for member in members { parts.append(try open(member, exclusive: false)) }
            return Mirror(parts: parts)
        }
        if arrays.running().contains(path) { return volume }
        let disks = whole.merging(["/dev/md0p": volume]) { first, _ in first }
        guard let disk = disks[String(path.dropLast())], let table = disk.partitionTable()?.gpt,
            let part = table.partitions.first(where: { "\($0.number)" == path.suffix(1) })
        else { throw SystemFailure("open \(path)", code: ENOENT) }
        return DiskPart(disk: disk, range: table.range(of: part.partition))
    }

    /// What writes the image to one of these disks.
    func writer(
        of image: SampleImage,
        _ firmware: MemoryVariables = MemoryVariables(),
        _ fileSystems: any FileSystems = MemoryFileSystems()
    ) -> WriteImage {
        WriteImage(
            WriteImage.Seams(
                devices: self,
                disks: self,
                sources: ChunkServer(image),
                firmware: firmware,
                fileSystems: fileSystems,
                loader: BIOSLoader(tree: FileTree(files: LoaderSample.file)),
                arrays: arrays,
                time: LeapingTime(),
                random: SeededRandom(seed: 5),
                executor: { OwnThread(name: $0) },
                workers: 2
            )
        )
    }

    /// Puts a superblock of version 1.2 on a member.
    func mark(_ path: String, _ id: ArrayID) throws {
        let part = try open(path, exclusive: false)
        try part.put(
            [0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + id.bytes,
            at: 4096
        )
    }
}

/// What is written goes to every part.
private struct Mirror: Disk {
    let parts: [any Disk]

    var geometry: DiskGeometry { parts[0].geometry }
    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try parts[0].read(bytes, at: offset)
    }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        for part in parts { try part.write(bytes, at: offset) }
    }
    func clear(_ range: Range<Int64>, by method: ClearMethod) throws(SystemFailure) {
        for part in parts { try part.clear(range, by: method) }
    }
    func flush() throws(SystemFailure) { for part in parts { try part.flush() } }
    func rereadPartitions() throws(SystemFailure) {}
}

/// A mirror of what little these disks leave beside the EFI system partition.
let smallMirror: WireRAIDLayout = {
    var volume = wish("1", gibibytes: 0, isRoot: true)
    volume.sizeMib = 100
    return layout(volume)
}()

private func run(_ step: some StepRunner, _ body: WireCommand.OneOf_Body) async throws
    -> WireBuiltRAID
{
    var command = WireCommand()
    command.body = body
    guard case .builtRaid(let built) = try await step.run(command, in: noContext, report: Ear())
    else { throw StepFailure("cannot test: another outcome", retryable: false) }
    return built
}

func build(
    _ rack: Rack,
    _ layout: WireRAIDLayout = smallMirror,
    deletes: Bool = false,
    mode: String = "uefi"
) async throws -> WireBuiltRAID {
    var order = WireBuildRAID()
    order.layout = layout
    order.layout.bootMode = mode
    order.deleteExisting = deletes
    return try await run(BuildRAID(raid: rack.work), .buildRaid(order))
}

struct `Building software RAID` {
    @Test func `lays empty disks out, makes the arrays and tells what they are`() async throws {
        let rack = Rack()
        let built = try await build(rack)
        let volume = try #require(built.volumes.first)
        #expect(volume.device == "/dev/md0" && volume.name == "md0" && volume.level == "1")
        #expect(volume.disks == ["/dev/sda", "/dev/sdb"])
        let order = try #require(rack.arrays.state.withLock { $0.created.first })
        #expect(order.members == ["/dev/sda2", "/dev/sdb2"])
        #expect(volume.array == order.id.description)
        for disk in rack.whole.values {
            #expect(disk.partitionTable()?.partitionRanges.count == 2)
        }
    }

    @Test func `leaves disks alone that hold partitions or a stranger's member`() async throws {
        let rack = Rack()
        _ = try await build(rack)
        let failure = await #expect(throws: StepFailure.self) { try await build(rack) }
        #expect(failure?.message.contains("raid.delete_configuration") == true)
        #expect(failure?.retryable == false)

        let other = Rack()
        let disk = try #require(other.whole["/dev/sdb"])
        try disk.put([0xfc, 0x4e, 0x2b, 0xa9], at: 4096)
        await #expect(throws: StepFailure.self) { try await build(other) }
        #expect(other.whole["/dev/sda"]?.changes.isEmpty == true)
        // Where the command says so they are wiped first.
        _ = try await build(other, deletes: true)
        #expect(try disk.bytes(4096..<4100) != [0xfc, 0x4e, 0x2b, 0xa9])
    }

    @Test(arguments: [false, true])
    func `deleting what exists wipes members on other disks too`(deletes: Bool) async throws {
        let rack = Rack(["sda", "sdb", "sdc", "sdd"])
        for name in ["sdc", "sdd"] {
            try rack.whole["/dev/\(name)"]?.put(
                [0xfc, 0x4e, 0x2b, 0xa9],
                at: name == "sdc" ? 4096 : 8192
            )
        }
        var layout = smallMirror
        layout.volumes[0].disks = ["/dev/sda", "/dev/sdb"].map { name in
            var hints = WireRootDeviceHints()
            hints.name = name
            return hints
        }
        let built = try await build(rack, layout, deletes: deletes)
        #expect(built.volumes.first?.disks == ["/dev/sda", "/dev/sdb"])
        let member = try rack.whole["/dev/sdc"]?.bytes(4096..<4100)
        #expect(member == (deletes ? [0, 0, 0, 0] : [0xfc, 0x4e, 0x2b, 0xa9]))
        // What looks alike at another place is no member's mark.
        #expect(try rack.whole["/dev/sdd"]?.bytes(8192..<8196) == [0xfc, 0x4e, 0x2b, 0xa9])
    }

    /// Versions 1.1, 1.2, 1.0 and 0.90, the last also of a machine with the other byte order.
    @Test(arguments: [0, 4096, (1 << 30) - 8192, (1 << 30) - 65_536], [false, true])
    func `takes members of any version away`(place: Int64, isTurned: Bool) async throws {
        let rack = Rack(["sda", "sdb", "sdc"], arrays: MemoryArrays(running: ["/dev/md127"]))
        let magic: [UInt8] = [0xfc, 0x4e, 0x2b, 0xa9]
        try rack.whole["/dev/sdb"]?.put(isTurned ? magic.reversed() : magic, at: place)
        let built = try await run(DeleteRAID(raid: rack.work), .deleteRaid(WireDeleteRAID()))
        #expect(built.volumes.isEmpty)
        #expect(rack.arrays.state.withLock { $0.stopped } == ["/dev/md127"])
        #expect(try rack.whole["/dev/sdb"]?.bytes(place..<(place + 4)) == [0, 0, 0, 0])
        for other in ["/dev/sda", "/dev/sdc"] {
            #expect(rack.whole[other]?.changes.isEmpty == true, "\(other) held no member")
        }
    }

    @Test func `an array in use keeps everything as it is`() async throws {
        let rack = Rack(arrays: MemoryArrays(running: ["/dev/md5"], busy: ["/dev/md5"]))
        let failure = await #expect(throws: StepFailure.self) {
            try await run(DeleteRAID(raid: rack.work), .deleteRaid(WireDeleteRAID()))
        }
        #expect(failure?.message.contains("cannot stop the array /dev/md5") == true)
        #expect(rack.whole.values.allSatisfy { $0.changes.isEmpty })
    }

    @Test func `an erase stops arrays and builds the node's anew`() async throws {
        let rack = Rack()
        let first = try await build(rack)
        var command = WireCommand()
        command.eraseMetadata.raid = smallMirror
        let outcome = try await EraseMetadata(raid: rack.work)
            .run(command, in: noContext, report: Ear())
        guard case .erased(let erased) = outcome else {
            throw StepFailure("cannot test: another outcome", retryable: false)
        }
        #expect(erased.disks.map(\.name) == ["/dev/sda", "/dev/sdb"])
        #expect(erased.raid.volumes.count == 1)
        #expect(erased.raid.volumes.first?.array != first.volumes.first?.array)
        #expect(rack.arrays.state.withLock { $0.stopped } == ["/dev/md0"])
    }
}

struct `An image on software RAID` {
    private let image = SampleImage(seed: 1)
    private let own = ArrayID(bytes: [UInt8](repeating: 7, count: 16))

    /// Writes the image to a machine whose root volume runs.
    private func write(
        _ image: SampleImage,
        on rack: Rack,
        _ firmware: MemoryVariables = MemoryVariables(),
        mode: String = "uefi",
        fileSystems: any FileSystems = MemoryFileSystems(),
        partitioned: Bool = false
    ) async throws -> WireWrittenImage {
        for path in ["/dev/sda2", "/dev/sdb2"] { try rack.mark(path, own) }
        var command = WireCommand()
        command.writeImage =
            partitioned
            ? image.partitionOrder(mode, ephemeral: 0, swap: 0) : image.order(drive: false)
        command.writeImage.bootMode = mode
        command.writeImage.raid = smallMirror
        command.writeImage.raid.volumes[0].array = own.description
        let step = rack.writer(of: image, firmware, fileSystems)
        guard case .written(let written) = try await step.run(command, in: noContext, report: Ear())
        else { throw StepFailure("cannot test: another outcome", retryable: false) }
        return written
    }

    @Test func `goes to the root volume, its loader to every member disk`() async throws {
        let rack = Rack()
        _ = try await build(rack)
        let firmware = MemoryVariables()
        let written = try await write(image, on: rack, firmware)
        #expect(written.device == "/dev/md0")
        #expect(
            written.choice.contains {
                $0.contains("/dev/sda") && $0.contains("member of the array /dev/md0")
            }
        )
        let esp = Array(image.disk[(1 << 20)..<(2 << 20)])
        for path in ["/dev/sda1", "/dev/sdb1"] {
            #expect(try rack.open(path, exclusive: false).bytes(0..<(1 << 20)) == esp)
        }
        // The one inside the array is no file system any more; the rest of the image is there.
        let volume = rack.volume
        #expect(try volume.bytes((1 << 20)..<(2 << 20)).allSatisfy { $0 == 0 })
        #expect(try volume.bytes((2 << 20)..<(3 << 20)) == Array(image.disk[(2 << 20)..<(3 << 20)]))
        let order = try #require(rack.arrays.state.withLock { $0.created.last })
        #expect(order.superblocksAtEnd && order.level == .mirror)
        #expect(order.members == ["/dev/sda1", "/dev/sdb1"])
        // The first disk's entry is first, the second disk's follows.
        let ids = ["/dev/sda", "/dev/sdb"].map { path in
            rack.whole[path]?.partitionTable()?.gpt?.partitions.first?.partition.id.bytes ?? []
        }
        let boot = firmware.value("BootOrder") ?? []
        #expect(boot.count == 4)
        for (place, id) in ids.enumerated() {
            let entry = "Boot000\(boot[2 * place])"
            let option = firmware.value(entry) ?? []
            #expect(option.indices.contains { option[$0...].starts(with: id) }, "\(entry)")
        }
    }

    @Test func `a machine that starts in an unknown way is told so, before anything is written`()
        async throws
    {
        let rack = Rack()
        _ = try await build(rack)
        let before = rack.volume.changes.count
        let failure = await #expect(throws: StepFailure.self) {
            try await write(image, on: rack, mode: "")
        }
        #expect(failure?.message.contains("boot_mode") == true)
        #expect(rack.volume.changes.count == before)
    }

    @Test func `an image without an EFI system partition leaves the disks as they are`()
        async throws
    {
        let rack = Rack()
        _ = try await build(rack)
        var other = image
        var table = GuidTable(diskBytes: SampleImage.bytes, blockBytes: 512)
        table.entries.removeFirst()
        table.write(to: &other.disk)
        other.pack()
        let (volume, esp) = (
            rack.volume.changes.count, try rack.open("/dev/sda1", exclusive: false)
        )
        try esp.put([1, 2, 3], at: 0)
        let failure = await #expect(throws: StepFailure.self) { try await write(other, on: rack) }
        #expect(failure?.message.contains("no EFI system partition") == true)
        #expect(rack.volume.changes.count == volume)
        #expect(try esp.bytes(0..<3) == [1, 2, 3])
    }

    @Test func `a member disk that was laid out for BIOS is named`() async throws {
        let rack = Rack()
        _ = try await build(rack, mode: "bios")
        let failure = await #expect(throws: StepFailure.self) { try await write(image, on: rack) }
        #expect(failure?.message.contains("/dev/sda has no EFI system partition") == true)
    }

    @Test func `an image of a root partition has its loader on every member disk too`()
        async throws
    {
        let rack = Rack(volumeBytes: 700 << 20)
        _ = try await build(rack)
        let firmware = MemoryVariables()
        let fileSystems = MarkingFileSystems(volume: rack.volume)
        _ = try await write(
            image,
            on: rack,
            firmware,
            fileSystems: fileSystems,
            partitioned: true
        )
        for path in ["/dev/sda1", "/dev/sdb1"] {
            let head = try rack.open(path, exclusive: false).bytes(0..<16)
            #expect(head == Array("loader of /dev/m".utf8))
        }
        let table = try #require(rack.volume.partitionTable()?.gpt)
        let (efi, root) = (
            table.range(of: table.partitions[0].partition),
            table.range(of: table.partitions[2].partition)
        )
        #expect(
            try rack.volume.bytes(efi.lowerBound..<(efi.lowerBound + 512)).allSatisfy { $0 == 0 }
        )
        let end = root.lowerBound + Int64(image.disk.count)
        #expect(try rack.volume.bytes(root.lowerBound..<end) == image.disk)
        // One entry for each disk, none for the array.
        #expect(firmware.value("BootOrder")?.count == 4)
    }
}

/// Marks the EFI system partition of an array where loaders would go.
private struct MarkingFileSystems: FileSystems {
    let volume: MemoryDisk
    var isBroken = false
    let real = MemoryFileSystems()

    func make(_ format: FileSystemFormat, label: String, on place: PartitionPlace) async throws {
        try await real.make(format, label: label, on: place)
    }

    func copyLoaders(from root: PartitionPlace, to efiSystem: PartitionPlace) throws -> [String] {
        try volume.put(Array("loader of \(root.path)".utf8), at: efiSystem.range.lowerBound)
        return try real.copyLoaders(from: root, to: efiSystem)
    }

    func menu(on root: PartitionPlace) throws -> MenuFile? {
        if isBroken { throw SystemFailure("mount \(root.path)", code: EUCLEAN) }
        return try real.menu(on: root)
    }
}

/// Machines with BIOS.
extension `An image on software RAID` {
    /// The image with a file system of kind ext4 in its second partition, or as one.
    private func rooted(at offset: Int) -> SampleImage {
        var image = image
        image.disk.replaceSubrange((offset + 1080)..<(offset + 1082), with: [0x53, 0xef])
        image.disk.replaceSubrange(
            (offset + 1128)..<(offset + 1144),
            with: Array("ABCDABCDABCDABCD".utf8)
        )
        image.pack()
        return image
    }

    @Test(arguments: [false, true])
    func `GRUB goes to every member disk and looks into the array`(partitioned: Bool) async throws {
        let rack = Rack(volumeBytes: 256 << 20)
        _ = try await build(rack, mode: "bios")
        let image = rooted(at: partitioned ? 0 : 2 << 20)
        let firmware = MemoryVariables()
        _ = try await write(image, on: rack, firmware, mode: "bios", partitioned: partitioned)
        for disk in rack.whole.values {
            #expect(try disk.bytes(0x68..<440) == Array(LoaderSample.bootSector[0x68..<440]))
            // The table stands.
            #expect(disk.partitionTable()?.gpt?.partitions.count == 2)
            let settings = Int64(1 << 20) + 1023 * 512
            let text = String(decoding: try disk.bytes(settings..<(settings + 512)), as: UTF8.self)
            #expect(text.contains("--set=root 41424344-4142-4344-4142-434441424344;"), "\(text)")
            #expect(text.contains("/boot/grub"))
        }
        #expect(firmware.names() == [])
        #expect(rack.arrays.state.withLock { $0.created.count } == 1)
    }

    @Test(
        arguments: [
            (nil, "grub.cfg in /boot/grub or /boot/grub2"),
            (MenuFile(folder: "/boot/grub2", needsEntries: true), "blscfg"),
        ] as [(MenuFile?, String)]
    )
    func `without a menu no member disk starts anything`(
        menu: MenuFile?,
        reason: String
    ) async throws {
        let rack = Rack()
        _ = try await build(rack, mode: "bios")
        for disk in rack.whole.values { try disk.put([0xeb, 0x63], at: 0) }
        let failure = await #expect(throws: StepFailure.self) {
            try await write(
                rooted(at: 2 << 20),
                on: rack,
                mode: "bios",
                fileSystems: MemoryFileSystems(menu: menu)
            )
        }
        #expect(failure?.message.contains(reason) == true, "\(failure?.message ?? "")")
        for disk in rack.whole.values {
            #expect(try disk.bytes(0..<440).allSatisfy { $0 == 0 })
        }
    }

    @Test func `a file system that cannot be mounted is no menu`() async throws {
        let rack = Rack()
        _ = try await build(rack, mode: "bios")
        let failure = await #expect(throws: StepFailure.self) {
            try await write(
                rooted(at: 2 << 20),
                on: rack,
                mode: "bios",
                fileSystems: MarkingFileSystems(volume: rack.volume, isBroken: true)
            )
        }
        #expect(failure?.message.contains("none of its file systems") == true)
        for disk in rack.whole.values { #expect(try disk.bytes(0..<440).allSatisfy { $0 == 0 }) }
    }

    @Test func `disks that were laid out for UEFI are named, and stay as they are`() async throws {
        let rack = Rack()
        _ = try await build(rack)
        let before = rack.volume.changes.count
        for disk in rack.whole.values { try disk.put([0xeb, 0x63], at: 0) }
        let failure = await #expect(throws: StepFailure.self) {
            try await write(rooted(at: 2 << 20), on: rack, mode: "bios")
        }
        let reason = "has no BIOS boot partition; build the RAID anew"
        #expect(failure?.message.contains(reason) == true, "\(failure?.message ?? "")")
        #expect(rack.volume.changes.count == before)
        for disk in rack.whole.values { #expect(try disk.bytes(0..<2) == [0xeb, 0x63]) }
    }
}
