import AgentSystem
import Basics
import Protocol
import Testing

@testable import AgentSteps

private func device(
    _ name: String,
    _ change: (inout BlockDevice) -> Void = { _ in }
) -> BlockDevice {
    var device = BlockDevice(path: "/dev/\(name)", bytes: 64 << 20)
    device.serial = "serial of \(name)"
    change(&device)
    return device
}

private func erase(
    _ devices: [BlockDevice],
    _ disks: [String: any Disk],
    _ ear: Ear = Ear()
) async throws -> WireErasedDisks {
    let step = EraseMetadata(
        raid: raidWork(DeviceList(devices: devices), DiskShelf(disks: disks))
    )
    guard
        case .erased(let erased) = try await step.run(WireCommand(), in: noContext, report: ear)
    else { throw StepFailure("cannot test: another outcome", retryable: false) }
    return erased
}

struct `Erasing the metadata of disks` {
    /// A disk of 64 MiB full of ones with a table on it.
    private func used(_ blockBytes: Int = 512) throws -> MemoryDisk {
        let disk = MemoryDisk(bytes: 64 << 20, blockBytes: blockBytes)
        try disk.put([UInt8](repeating: 0xff, count: 64 << 20), at: 0)
        var head = [UInt8](repeating: 0xff, count: 64 << 20)
        GuidTable(diskBytes: 64 << 20, blockBytes: blockBytes).write(to: &head)
        try disk.put(Array(head[..<(1 << 20)]), at: 0)
        try disk.put(Array(head[(63 << 20)...]), at: 63 << 20)
        try disk.flush()
        return disk
    }

    @Test(arguments: [512, 4096])
    func `wipes both ends of the disk and of every partition`(block: Int) async throws {
        let disk = try used(block)
        let erased = try await erase([device("vda")], ["/dev/vda": disk])
        let proof = try #require(erased.disks.first)
        #expect(proof.name == "/dev/vda")
        #expect(proof.serial == "serial of vda")
        #expect(proof.method == "zeros")
        // The system partition lies in the first 2 MiB; the root partition begins there.
        #expect(proof.zeroedBytes == UInt64(6 << 20) + UInt64(16_384 + block))
        for place in [0, (4 << 20) - 1, 62 << 20, (64 << 20) - 1] {
            #expect(try disk.bytes(Int64(place)..<Int64(place + 1)) == [0], "\(place)")
        }
        // Data between stays: that is another command's work.
        #expect(try disk.bytes((30 << 20)..<((30 << 20) + 1)) == [0xff])
        #expect(try tables(on: disk) == (false, false))
    }

    @Test func `leaves read-only and removable disks alone and says so`() async throws {
        let disk = try used()
        let before = disk.changes.count
        let ear = Ear()
        let erased = try await erase(
            [device("sr1") { $0.readOnly = true }, device("sdc") { $0.removable = true }],
            ["/dev/sr1": disk, "/dev/sdc": disk],
            ear
        )
        #expect(erased.disks.isEmpty)
        #expect(disk.changes.count == before)
        #expect(
            ear.lines == [
                "/dev/sdc is left alone: it is removable",
                "/dev/sr1 is left alone: it is read-only",
            ]
        )
    }

    @Test func `proves it: a disk that keeps its content is not called erased`() async throws {
        let disk = try used()
        disk.lie(about: (2 << 20) - 512..<(2 << 20))
        let failure = await #expect(throws: StepFailure.self) {
            try await erase([device("vda")], ["/dev/vda": disk])
        }
        #expect(failure?.message.contains("cannot prove that /dev/vda was wiped") == true)
    }

    @Test func `a disk that is in use fails the step by name`() async {
        let failure = await #expect(throws: StepFailure.self) {
            try await erase([device("vdb")], [:])
        }
        #expect(failure?.message.hasPrefix("cannot wipe /dev/vdb: cannot open") == true)
        #expect(failure?.retryable == true)
    }

    @Test func `goes over all disks by name`() async throws {
        let disks: [String: any Disk] = ["/dev/vda": try used(), "/dev/vdb": try used()]
        let erased = try await erase([device("vdb"), device("vda")], disks)
        #expect(erased.disks.map(\.name) == ["/dev/vda", "/dev/vdb"])
    }

    @Test func `a disk smaller than both ends is wiped once`() async throws {
        let disk = MemoryDisk(bytes: 1 << 20)
        try disk.put([UInt8](repeating: 0xff, count: 1 << 20), at: 0)
        let erased = try await erase([device("vda")], ["/dev/vda": disk])
        #expect(erased.disks.first?.zeroedBytes == 1 << 20)
        #expect(try disk.bytes(0..<(1 << 20)).allSatisfy { $0 == 0 })
    }

    @Test func `many small partitions do not make it read them all at once`() async throws {
        let disk = MemoryDisk(bytes: 64 << 20)
        var head = [UInt8](repeating: 0, count: 64 << 20)
        var table = GuidTable(diskBytes: 64 << 20, blockBytes: 512)
        table.entries = (0..<64).map { index in
            let first = UInt64(64 + index * 1600)
            return GuidTable.Entry(
                type: GuidTable.linux,
                id: UInt8(index + 1),
                first: first,
                last: first + 1599,
                name: "p\(index)"
            )
        }
        table.write(to: &head)
        try disk.put(Array(head[..<(1 << 20)]), at: 0)
        let erased = try await erase([device("vda")], ["/dev/vda": disk])
        #expect(erased.disks.first?.zeroedBytes == UInt64(64 * 1600 + 64) * 512 + (2 << 20))
        #expect(disk.longestRead <= 4 << 20)
    }

    /// What images of partitions leave on machines with BIOS, and what an interrupted write leaves of a table.
    @Test(arguments: ["msdos", "a GUID table's backup"])
    func `finds partitions in a table of any kind`(kind: String) async throws {
        let (bytes, driveBytes): (Int64, Int64) = (160 << 20, 64 << 20)
        func id(_ byte: UInt8) -> GUID { GUID(bytes: [UInt8](repeating: byte, count: 16)) }
        let disk = MemoryDisk(bytes: bytes)
        var table =
            kind == "msdos"
            ? DiskTable.msdos(try MasterBootRecord(emptyOn: bytes, blockBytes: 512, diskID: 7))
            : .gpt(try PartitionTable(emptyOn: bytes, blockBytes: 512, diskID: id(1)))
        let root = try table.append(name: "root", .root, id: id(2), bytes: 64 << 20)
        let drive = try table.append(
            name: "config-2",
            .data,
            id: id(3),
            bytes: driveBytes
        )
        if kind == "msdos" {
            var head = [UInt8](repeating: 0, count: 512)
            table.place(into: &head)
            try disk.put(head, at: 0)
        } else {
            try disk.put(table.tail, at: table.tailOffset)
        }
        let mark = [UInt8](repeating: 0xfc, count: 512)
        // ISO 9660's descriptor, a file system's superblock, md's of version 1.2 and 1.0.
        var places: [Int64] = []
        for range in [root.range, drive.range] {
            places += ([32_768, 1024, 4096] as [Int64]).map { range.lowerBound + $0 }
            places.append(range.upperBound - 8192)
        }
        let data: Int64 = root.range.lowerBound + Int64(32 << 20)
        places.append(data)
        for place in places { try disk.put(mark, at: place) }
        try disk.flush()
        let erased = try await erase([device("vda")], ["/dev/vda": disk])
        for place in places.dropLast() {
            let left = try disk.bytes(place..<(place + 512))
            #expect(left.allSatisfy { $0 == 0 }, "\(place)")
        }
        #expect(disk.partitionTable() == nil)
        #expect(try disk.bytes(data..<(data + 512)) == mark)
        // The root partition begins in the disk's first 2 MiB, the config drive right behind it.
        #expect(erased.disks.first?.zeroedBytes == 11 << 20)
    }
}
