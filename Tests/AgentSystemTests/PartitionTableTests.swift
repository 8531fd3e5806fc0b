import Testing

@testable import AgentSystem

private let diskBytes = 16 << 20
private let blocks = UInt64(diskBytes / 512)

/// What a test changes of a table before its checksums are made.
private struct Draft {
    var firstUsable: UInt64 = 34
    var lastUsable = blocks - 34
    var place: UInt64 = 1
    var entriesBlock: UInt64 = 2
    var entryBytes: UInt32 = 128
    var entryCount: UInt32 = 128
    var headerBytes: UInt32 = 92
    var revision: UInt32 = 0x10000
    var partitions: [(first: UInt64, last: UInt64, id: UInt8)] = [(2048, 4095, 1), (4096, 8191, 2)]
    var protection: UInt8 = 0xee

    var head: [UInt8] {
        var entries: [UInt8] = []
        for partition in partitions {
            entries += GUID.linuxFileSystem.bytes + [UInt8](repeating: partition.id, count: 16)
            entries += littleEndian(partition.first) + littleEndian(partition.last)
            entries += littleEndian(UInt64(0)) + [UInt8](repeating: 0, count: 72)
        }
        entries += [UInt8](repeating: 0, count: 128 * 128 - entries.count)
        var header = Array("EFI PART".utf8) + littleEndian(revision) + littleEndian(headerBytes)
        header += littleEndian(UInt64(0)) + littleEndian(place) + littleEndian(blocks - 1)
        header += littleEndian(firstUsable) + littleEndian(lastUsable)
        header += [UInt8](repeating: 0xd1, count: 16) + littleEndian(entriesBlock)
        header += littleEndian(entryCount) + littleEndian(entryBytes) + littleEndian(crc32(entries))
        header.replaceSubrange(16..<20, with: littleEndian(crc32(header)))
        var head = [UInt8](repeating: 0, count: 1024) + entries
        head.replaceSubrange(512..<(512 + header.count), with: header)
        head.replaceSubrange(446..<458, with: [0, 0, 2, 0, protection, 0, 0, 0, 1, 0, 0, 0])
        head.replaceSubrange(510..<512, with: [0x55, 0xaa])
        return head + [UInt8](repeating: 0, count: 64 << 10)
    }
}

private func read(_ head: [UInt8], blockBytes: Int = 512) throws -> PartitionTable {
    try PartitionTable(head: head, blockBytes: blockBytes, bytes: Int64(diskBytes))
}

struct `A partition table` {
    @Test func `is read with its partitions by number`() throws {
        let table = try read(Draft().head)
        #expect(table.partitions.map(\.number) == [1, 2])
        #expect(table.partitions.map(\.partition.firstBlock) == [2048, 4096])
        #expect(table.diskBlocks == blocks)
    }

    private static let refusals: [(name: String, change: @Sendable (inout Draft) -> Void)] = [
        ("a header that stands elsewhere", { $0.place = 2 }),
        ("another revision", { $0.revision = 0x20000 }),
        ("a header of another size", { $0.headerBytes = 91 }),
        ("a header larger than a block", { $0.headerBytes = 513 }),
        ("an enormous header", { $0.headerBytes = .max }),
        ("no entries", { $0.entryCount = 0 }), ("too many entries", { $0.entryCount = 1025 }),
        ("all entries there can be", { $0.entryCount = .max }),
        ("entries of another size", { $0.entryBytes = 256 }),
        ("entries over the header", { $0.entriesBlock = 1 }),
        ("entries far inside", { $0.entriesBlock = 300 }),
        ("entries at the end of numbers", { $0.entriesBlock = .max }),
        ("entries over the first partition", { $0.firstUsable = 33 }),
        ("an end before the beginning", { $0.lastUsable = 33 }),
        ("an end beyond the disk", { $0.lastUsable = blocks }),
        ("an end at the end of numbers", { $0.lastUsable = .max }),
        ("a partition before the beginning", { $0.partitions[0].first = 33 }),
        ("a partition beyond the end", { $0.partitions[1].last = blocks - 33 }),
        ("a partition at the end of numbers", { $0.partitions[1].last = .max }),
        ("a partition that ends before it begins", { $0.partitions[1].last = 4095 }),
        ("partitions that overlap", { $0.partitions[1].first = 4095 }),
        ("two partitions with one identity", { $0.partitions[1].id = 1 }),
        ("no protective boot sector", { $0.protection = 0x83 }),
    ]

    @Test(arguments: refusals.indices)
    func `is refused when it makes no sense`(index: Int) {
        let (name, change) = Self.refusals[index]
        var draft = Draft()
        change(&draft)
        #expect(throws: MalformedPartitionTable.self, "\(name)") { try read(draft.head) }
    }

    @Test(arguments: [8, 40, 56, 510, 512, 512 + 60, 1024, 1024 + 33])
    func `with one wrong byte is refused, or the byte does not matter`(place: Int) throws {
        var head = Draft().head
        head[place] ^= 0x10
        if place < 446 {
            #expect(try read(head).partitions.count == 2)
        } else {
            #expect(throws: MalformedPartitionTable.self) { try read(head) }
        }
    }

    @Test func `made for other blocks says so`() {
        let error = #expect(throws: MalformedPartitionTable.self) {
            try read(Draft().head, blockBytes: 4096)
        }
        #expect(error?.description.contains("blocks of 512 bytes and the disk has 4096") == true)
    }

    @Test func `cut anywhere is refused`() {
        let head = Array(Draft().head[..<(34 * 512)])
        for count in stride(from: 0, to: head.count, by: 61) {
            #expect(throws: MalformedPartitionTable.self) { try read(Array(head[..<count])) }
        }
    }
}

struct `A partition table on a larger disk` {
    private func stretched(_ bytes: Int64) throws -> PartitionTable {
        var table = try read(Draft().head)
        try table.stretch(over: bytes)
        return table
    }

    @Test func `is read back as it was written`() throws {
        let bytes = Int64(64 << 20)
        let table = try stretched(bytes)
        var head = [UInt8](repeating: 0x90, count: 64 << 10)
        table.place(into: &head)
        let again = try PartitionTable(head: head, blockBytes: 512, bytes: bytes)
        #expect(again.slots == table.slots)
        #expect(again.lastUsable == UInt64(bytes / 512) - 34)
        #expect(head[20 << 10] == 0x90, "what lies behind the table stays")
        #expect(table.tailOffset + Int64(table.tail.count) == bytes)
        #expect(Array(table.tail[(32 * 512)..<(32 * 512 + 8)]) == Array("EFI PART".utf8))
    }

    @Test func `cannot be on a smaller one than its partitions need`() throws {
        // The last partition ends with block 8191; behind it stand 33 blocks.
        #expect(try stretched(Int64(8191 + 1 + 33) * 512).lastUsable == 8191)
        #expect(throws: MalformedPartitionTable.self) { try stretched(Int64(8191 + 33) * 512) }
        #expect(throws: MalformedPartitionTable.self) { try stretched(512) }
        #expect(throws: MalformedPartitionTable.self) { try stretched(0) }
    }

    @Test func `gets one partition of a name, however often it is added`() throws {
        var table = try stretched(256 << 20)
        for round in UInt8(1)...3 {
            let added = try table.addLast(
                name: "config-2",
                type: .linuxFileSystem,
                id: GUID(random: [UInt8](repeating: round, count: 16)),
                bytes: 64 << 20
            )
            #expect(added.firstBlock % 2048 == 0)
            #expect(added.lastBlock <= table.lastUsable)
        }
        #expect(table.partitions.map(\.partition.name) == ["", "", "config-2"])
    }

    @Test func `has no room where there is none`() throws {
        var table = try stretched(32 << 20)
        #expect(throws: MalformedPartitionTable.self) {
            _ = try table.addLast(
                name: "x",
                type: .linuxFileSystem,
                id: .unused,
                bytes: 64 << 20
            )
        }
        #expect(table.partitions.count == 2)
    }
}
