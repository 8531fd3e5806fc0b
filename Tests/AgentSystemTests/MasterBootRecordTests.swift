import Testing

@testable import AgentSystem

private let diskBytes: Int64 = 64 << 20

private func table(_ parts: [Int64]) throws -> MasterBootRecord {
    var table = try MasterBootRecord(emptyOn: diskBytes, blockBytes: 512, diskID: 0xcafe_f00d)
    for bytes in parts {
        _ = try table.append(name: "p", type: 0x83, bytes: bytes, isActive: bytes == parts.last)
    }
    return table
}

private func sector(_ table: MasterBootRecord) -> [UInt8] {
    var head = [UInt8](repeating: 0x77, count: 1024)
    table.place(into: &head)
    return head
}

private func read(_ head: [UInt8]) throws -> MasterBootRecord {
    try MasterBootRecord(head: head, blockBytes: 512, bytes: diskBytes)
}

struct `An msdos partition table` {
    @Test func `is read as it was written, and leaves the loader's code alone`() throws {
        let made = try table([8 << 20, 3 << 20, 20 << 20])
        let head = sector(made)
        #expect(try read(head) == made)
        #expect(head[..<440].allSatisfy { $0 == 0x77 })
        #expect(head[512...].allSatisfy { $0 == 0x77 })
        #expect(head[440..<444] == [0x0d, 0xf0, 0xfe, 0xca])
        #expect(
            made.partitions.map { made.range(of: $0.entry).lowerBound } == [
                1 << 20, 9 << 20, 12 << 20,
            ]
        )
        #expect(made.partitions.map(\.entry.isActive) == [false, false, true])
    }

    @Test func `has room for four partitions, on the disk and within 2 TiB`() throws {
        let four = try table([1 << 20, 1 << 20, 1 << 20, 1 << 20])
        #expect(throws: MalformedPartitionTable.self) {
            var copy = four
            _ = try copy.append(name: "p", type: 0x83, bytes: 512, isActive: false)
        }
        #expect(throws: MalformedPartitionTable.self) { try table([64 << 20]) }
        #expect(try table([63 << 20]).partitions.count == 1)
        let large = try MasterBootRecord(emptyOn: 3 << 40, blockBytes: 512, diskID: 1)
        let refusal = #expect(throws: MalformedPartitionTable.self) {
            var copy = large
            _ = try copy.append(name: "root", type: 0x83, bytes: 2 << 40, isActive: true)
        }
        #expect(refusal?.description.contains("beyond 2 TiB") == true)
        #expect(throws: MalformedPartitionTable.self) {
            try MasterBootRecord(emptyOn: 1 << 40, blockBytes: 4096, diskID: 1)
        }
    }

    @Test(
        arguments: [
            ("no boot sector", { @Sendable in $0[510] = 0 }),
            ("a kind not known here", { @Sendable in $0[450] = 0xee }),
            ("a kind not known here", { @Sendable in $0[450] = 0x05 }),
            ("a kind not known here", { @Sendable in $0[446] = 0x21 }),
            (
                "no partitions",
                { @Sendable in $0.replaceSubrange(446..<510, with: repeatElement(0, count: 64)) }
            ),
            ("lies outside", { @Sendable in $0.replaceSubrange(454..<458, with: [0, 0, 0, 0]) }),
            (
                "lies outside",
                { @Sendable in $0.replaceSubrange(458..<462, with: [0xff, 0xff, 0xff, 0xff]) }
            ),
            ("lies outside", { @Sendable in $0.replaceSubrange(458..<462, with: [0, 0, 0, 0]) }),
            ("lies outside", { @Sendable in $0.replaceSubrange(470..<474, with: $0[454..<458]) }),
        ] as [(String, @Sendable (inout [UInt8]) -> Void)]
    )
    func `of another disk is refused where it makes no sense`(
        words: String,
        change: @Sendable (inout [UInt8]) -> Void
    ) throws {
        var head = sector(try table([8 << 20, 8 << 20]))
        change(&head)
        let refusal = #expect(throws: MalformedPartitionTable.self) { try read(head) }
        #expect(refusal?.description.contains(words) == true, "\(refusal?.description ?? "")")
    }
}

struct `A disk's table` {
    private func gpt() throws -> PartitionTable {
        var table = try PartitionTable(
            emptyOn: diskBytes,
            blockBytes: 512,
            diskID: GUID(random: [UInt8](repeating: 1, count: 16))
        )
        _ = try table.append(
            name: "root",
            type: .linuxFileSystem,
            id: GUID(random: [UInt8](repeating: 2, count: 16)),
            bytes: 8 << 20
        )
        return table
    }

    private func found(_ head: [UInt8], _ tail: [UInt8]) -> DiskTable? {
        DiskTable(head: head, tail: tail, blockBytes: 512, bytes: diskBytes)
    }

    @Test func `is the one that stands first, and what an old one left at the end counts last`()
        throws
    {
        let (gpt, msdos) = (try gpt(), try table([8 << 20]))
        var head = [UInt8](repeating: 0, count: PartitionTable.headBytesMax)
        let empty = head
        let end = empty[gpt.tail.count...] + gpt.tail
        gpt.place(into: &head)
        #expect(found(head, []) == .gpt(gpt))
        #expect(
            found(empty, Array(end))?.gpt?.partitions.map(\.partition)
                == gpt.partitions.map(\.partition)
        )
        #expect(found(sector(msdos), Array(end)) == .msdos(msdos))
        #expect(found(empty, empty) == nil)
        #expect(found([], []) == nil)
    }

    private func take(
        _ table: inout DiskTable,
        _ number: Int,
        _ range: Range<Int64>,
        _ old: DiskTable
    ) -> Bool { table.takeOver(number, at: range, from: old) }

    @Test func `keeps a partition only from a table of its own kind`() throws {
        let range: Range<Int64> = (1 << 20)..<(9 << 20)
        let old = try table([8 << 20])
        var msdos = DiskTable.msdos(
            try MasterBootRecord(emptyOn: diskBytes, blockBytes: 512, diskID: 1)
        )
        let number = try msdos.append(name: "e", .data, id: .unused, bytes: 8 << 20).number
        let foreign = try gpt()
        #expect(!take(&msdos, number, range, .gpt(foreign)))
        let smaller = try table([7 << 20])
        #expect(!take(&msdos, number, range, .msdos(smaller)))
        let unchanged = msdos
        #expect(take(&msdos, number, range, .msdos(old)))
        #expect(msdos != unchanged, "the partition is named after the disk")
        var other = DiskTable.gpt(try gpt())
        #expect(!take(&other, 1, range, .msdos(old)))
        #expect(take(&other, 1, range, .gpt(foreign)))
    }

    @Test func `tells which partitions may be a config drive`() throws {
        let old = DiskTable.msdos(try table([8 << 20, 3 << 20]))
        #expect(old.configDrives(named: "config-2", bytes: 3 << 20) == [(9 << 20)..<(12 << 20)])
        #expect(
            DiskTable.gpt(try gpt()).configDrives(named: "root", bytes: 1 << 20) == [
                (1 << 20)..<(2 << 20)
            ]
        )
        #expect(DiskTable.gpt(try gpt()).configDrives(named: "config-2", bytes: 8 << 20) == [])
    }
}

struct `A file system's UUID` {
    private let id: [UInt8] = Array(0x10...0x1f)
    private let text = "10111213-1415-1617-1819-1a1b1c1d1e1f"

    private func head(_ marks: [(Int, [UInt8])]) -> [UInt8] {
        var head = [UInt8](repeating: 0, count: Int(FileSystemIdentity.headBytes))
        for (offset, bytes) in marks {
            head.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
        }
        return head
    }

    @Test func `is found where each kind keeps it`() {
        let ext = FileSystemIdentity(head: head([(1080, [0x53, 0xef]), (1128, id)]))
        #expect(ext?.kind == .ext)
        #expect(ext?.uuid == text)
        let xfs = FileSystemIdentity(head: head([(0, Array("XFSB".utf8)), (32, id)]))
        #expect(xfs?.kind == .xfs)
        #expect(xfs?.uuid == text)
        let mark = Array("_BHRfS_M".utf8)
        let btrfs = FileSystemIdentity(head: head([(65_600, mark), (65_568, id)]))
        #expect(btrfs?.kind == .btrfs)
        #expect(btrfs?.uuid == text)
    }

    @Test func `is none of another kind, of zeros, or where the head ends`() {
        #expect(FileSystemIdentity(head: head([])) == nil)
        #expect(FileSystemIdentity(head: []) == nil)
        #expect(FileSystemIdentity(head: head([(1080, [0x53, 0xef])])) == nil)
        for count in [4, 40, 47] {
            let short = head([(0, Array("XFSB".utf8)), (32, id)]).prefix(count)
            #expect(FileSystemIdentity(head: Array(short)) == nil)
        }
    }
}
