import Protocol

/// Why a partition table is not taken.
package struct MalformedPartitionTable: Error, Sendable, Hashable, CustomStringConvertible {
    /// A clause: `the header's checksum is wrong`.
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Sixteen bytes as they stand on a disk (the first three fields little-endian).
package struct GUID: Sendable, Hashable, CustomStringConvertible {
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) {
        precondition(bytes.count == 16, "a GUID takes 16 bytes")
        self.bytes = bytes
    }

    /// A new one from 16 random bytes (version 4).
    package init(random bytes: [UInt8]) {
        var bytes = bytes
        bytes[7] = bytes[7] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        self.init(bytes: bytes)
    }

    /// An entry of this type is not used.
    package static let unused = GUID(bytes: [UInt8](repeating: 0, count: 16))
    /// EFI system partition.
    package static let efiSystem = GUID(bytes: [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9,
        0x3b,
    ])
    /// BIOS boot partition: where GRUB's second part lies on disks for BIOS.
    package static let biosBoot = GUID(bytes: Array("Hah!IdontNeedEFI".utf8))
    /// Linux swap space.
    package static let linuxSwap = GUID(bytes: [
        0x6d, 0xfd, 0x57, 0x06, 0xab, 0xa4, 0xc4, 0x43, 0x84, 0xe5, 0x09, 0x33, 0xc8, 0x4b, 0x4f,
        0x4f,
    ])
    /// Linux file system.
    package static let linuxFileSystem = GUID(bytes: [
        0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
        0xe4,
    ])

    package var description: String {
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (place, index) in order.enumerated() {
            if [4, 6, 8, 10].contains(place) { text.append(UInt8(ascii: "-")) }
            text += [digits[Int(bytes[index] >> 4)], digits[Int(bytes[index] & 15)]]
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// One partition of a GUID partition table.
package struct Partition: Sendable, Hashable {
    package var type: GUID
    package var id: GUID
    package var firstBlock: UInt64
    /// Included.
    package var lastBlock: UInt64
    package var attributes: UInt64
    /// At most 36 UTF-16 units.
    package var name: String
}

/// A GUID partition table (UEFI specification 2.10, section 5.3) with its protective MBR.
///
/// Read strictly from an image that nobody trusts, moved to the size of the real disk, and rendered with
/// new checksums for both ends.
package struct PartitionTable: Sendable, Equatable {
    private static let entryBytes = 128
    private static let entriesMax = 1024
    private static let headerBytes = 92
    /// A head shorter than this cannot hold every table that is taken.
    package static let headBytesMax = 256 << 10

    package let blockBytes: Int
    package let diskID: GUID
    /// Slot by slot; `nil` where nothing is.
    package private(set) var slots: [Partition?]
    package private(set) var firstUsable: UInt64
    package private(set) var lastUsable: UInt64
    package private(set) var diskBlocks: UInt64
    private let entriesBlock: UInt64
    private var bootSector: [UInt8]

    /// Number (from 1) and partition of every used slot.
    package var partitions: [(number: Int, partition: Partition)] {
        slots.enumerated().compactMap { index, slot in slot.map { (index + 1, $0) } }
    }

    // MARK: - Making

    /// An empty table of 128 entries for a whole disk.
    /// - Throws: `MalformedPartitionTable` when the disk is too small for one.
    package init(
        emptyOn bytes: Int64,
        blockBytes: Int,
        diskID: GUID
    ) throws(MalformedPartitionTable) {
        let blocks = UInt64(bytes) / UInt64(blockBytes)
        let area = UInt64(Self.entryBytes * 128 / blockBytes)
        guard blocks > 2 * (area + 2) else {
            throw MalformedPartitionTable("the disk is too small for one")
        }
        self.blockBytes = blockBytes
        self.diskID = diskID
        slots = [Partition?](repeating: nil, count: 128)
        entriesBlock = 2
        firstUsable = 2 + area
        lastUsable = blocks - 2 - area
        diskBlocks = blocks
        bootSector = Self.protectiveBootSector(blocks)
    }

    /// A boot sector without code whose one entry covers the disk.
    private static func protectiveBootSector(_ blocks: UInt64) -> [UInt8] {
        var sector = [UInt8](repeating: 0, count: 512)
        let entry: [UInt8] =
            [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff] + littleEndian(UInt32(1))
            + littleEndian(UInt32(clamping: blocks - 1))
        sector.replaceSubrange(446..<462, with: entry)
        sector.replaceSubrange(510..<512, with: [0x55, 0xaa])
        return sector
    }

    // MARK: - Reading

    /// Reads the backup table out of the last bytes of a disk, as if it stood at the beginning.
    ///
    /// `tail`: the last bytes of the disk; `headBytesMax` are enough.
    /// - Throws: `MalformedPartitionTable`, also for a backup whose entries do not stand right before it.
    package init(
        tail: [UInt8],
        blockBytes: Int,
        bytes: Int64
    ) throws(MalformedPartitionTable) {
        guard bytes % Int64(blockBytes) == 0, tail.count % blockBytes == 0,
            tail.count >= 3 * blockBytes
        else { throw MalformedPartitionTable("it is too short for one") }
        let last = Array(tail[(tail.count - blockBytes)...])
        var header = try Self.header([UInt8](repeating: 0, count: blockBytes) + last, blockBytes)
            .bytes.prefix(Self.headerBytes)
        let blocks = UInt64(bytes) / UInt64(blockBytes)
        let fields = Fields(Array(header), at: 0)
        let count = Int(fields.half(80))
        guard (1...Self.entriesMax).contains(count) else {
            throw MalformedPartitionTable("it has \(count) entries")
        }
        let entryBlocks = (count * Self.entryBytes + blockBytes - 1) / blockBytes
        guard fields.word(24) == blocks - 1,
            fields.word(72) == blocks - 1 - UInt64(entryBlocks),
            tail.count > (entryBlocks + 1) * blockBytes
        else { throw MalformedPartitionTable("its backup stands elsewhere") }
        let start = tail.count - (entryBlocks + 1) * blockBytes
        header.replaceSubrange(
            12..<20,
            with: littleEndian(UInt32(Self.headerBytes)) + [0, 0, 0, 0]
        )
        header.replaceSubrange(24..<40, with: littleEndian(UInt64(1)) + littleEndian(blocks - 1))
        header.replaceSubrange(72..<80, with: littleEndian(UInt64(2)))
        header.replaceSubrange(16..<20, with: littleEndian(crc32(Array(header))))
        var head = Self.protectiveBootSector(blocks)
        head += [UInt8](repeating: 0, count: blockBytes - head.count) + header
        head += [UInt8](repeating: 0, count: blockBytes - Self.headerBytes)
        head += tail[start..<(tail.count - blockBytes)]
        try self.init(head: head, blockBytes: blockBytes, bytes: bytes)
    }

    /// Reads the primary table out of the first bytes of an image or disk.
    ///
    /// `head`: the first bytes; `headBytesMax` are always enough.
    /// `bytes`: the size of the whole image or disk.
    package init(
        head: [UInt8],
        blockBytes: Int,
        bytes: Int64
    ) throws(MalformedPartitionTable) {
        guard head.count >= 2 * blockBytes, bytes >= Int64(4 * blockBytes) else {
            throw MalformedPartitionTable("it is too short for one")
        }
        guard head[510] == 0x55, head[511] == 0xaa else {
            throw MalformedPartitionTable("it has no boot sector")
        }
        let blocks = UInt64(bytes) / UInt64(blockBytes)
        let header = try Self.header(head, blockBytes)
        guard header.word(24) == 1 else {
            throw MalformedPartitionTable("the header says that it stands elsewhere")
        }
        let count = Int(header.half(80))
        guard header.half(84) == UInt32(Self.entryBytes), (1...Self.entriesMax).contains(count)
        else { throw MalformedPartitionTable("it has \(count) entries of an unusual size") }
        let entriesBlock = header.word(72)
        let entryBlocks = UInt64((count * Self.entryBytes + blockBytes - 1) / blockBytes)
        let firstUsable = header.word(40)
        let lastUsable = header.word(48)
        guard entriesBlock >= 2, entriesBlock <= 256, entriesBlock + entryBlocks <= firstUsable,
            firstUsable <= lastUsable, lastUsable < blocks
        else { throw MalformedPartitionTable("its areas overlap or lie outside") }
        let start = Int(entriesBlock) * blockBytes
        guard start + count * Self.entryBytes <= head.count else {
            throw MalformedPartitionTable("its entries lie too far inside")
        }
        let entries = Array(head[start..<(start + count * Self.entryBytes)])
        guard crc32(entries) == header.half(88) else {
            throw MalformedPartitionTable("the checksum of its entries is wrong")
        }
        self.blockBytes = blockBytes
        self.entriesBlock = entriesBlock
        self.firstUsable = firstUsable
        self.lastUsable = lastUsable
        diskBlocks = blocks
        diskID = GUID(bytes: Array(header.bytes[56..<72]))
        bootSector = Array(head[..<512])
        slots = (0..<count).map { index in
            Self.partition(Fields(entries, at: index * Self.entryBytes))
        }
        try checkPartitions()
        try checkProtection()
    }

    private static func header(
        _ head: [UInt8],
        _ blockBytes: Int
    ) throws(MalformedPartitionTable) -> Fields {
        let header = Fields(Array(head[blockBytes..<(2 * blockBytes)]), at: 0)
        guard header.bytes.starts(with: Array("EFI PART".utf8)) else {
            let other = blockBytes == 512 ? 4096 : 512
            let isOther = head.count > other + 8 && head[other...].starts(with: "EFI PART".utf8)
            throw MalformedPartitionTable(
                isOther
                    ? "it is made for blocks of \(other) bytes and the disk has \(blockBytes)"
                    : "it has no GUID partition table"
            )
        }
        let size = Int(header.half(12))
        guard header.half(8) == 0x0001_0000, (headerBytes...blockBytes).contains(size) else {
            throw MalformedPartitionTable("its header has an unknown revision or size")
        }
        var checked = Array(header.bytes[..<size])
        checked.replaceSubrange(16..<20, with: [0, 0, 0, 0])
        guard crc32(checked) == header.half(16) else {
            throw MalformedPartitionTable("the checksum of its header is wrong")
        }
        return header
    }

    private static func partition(_ entry: Fields) -> Partition? {
        let type = GUID(bytes: Array(entry.bytes[..<16]))
        guard type != .unused else { return nil }
        var name: [UInt16] = []
        for index in 0..<36 {
            let unit =
                UInt16(entry.bytes[56 + 2 * index]) | UInt16(entry.bytes[57 + 2 * index]) << 8
            if unit == 0 { break }
            name.append(unit)
        }
        return Partition(
            type: type,
            id: GUID(bytes: Array(entry.bytes[16..<32])),
            firstBlock: entry.word(32),
            lastBlock: entry.word(40),
            attributes: entry.word(48),
            name: String(decoding: name, as: UTF16.self)
        )
    }

    private func checkPartitions() throws(MalformedPartitionTable) {
        var end = firstUsable
        let sorted = partitions.sorted { $0.partition.firstBlock < $1.partition.firstBlock }
        for (number, partition) in sorted {
            guard partition.firstBlock <= partition.lastBlock, partition.lastBlock <= lastUsable
            else { throw MalformedPartitionTable("partition \(number) lies outside") }
            guard partition.firstBlock >= end else {
                throw MalformedPartitionTable("partition \(number) overlaps what is before it")
            }
            end = partition.lastBlock + 1
        }
        guard Set(partitions.map(\.partition.id)).count == partitions.count else {
            throw MalformedPartitionTable("two partitions have the same identity")
        }
    }

    private func checkProtection() throws(MalformedPartitionTable) {
        guard bootSector[510] == 0x55, bootSector[511] == 0xaa, protection != nil else {
            throw MalformedPartitionTable("it has no protective MBR")
        }
    }

    /// Where in the boot sector the protecting entry (type 0xee) stands.
    private var protection: Int? {
        (0..<4).map { 446 + 16 * $0 }.first { bootSector[$0 + 4] == 0xee }
    }

    // MARK: - Changing

    /// Stretches the table over a disk of `bytes`; the backup goes to its end.
    /// - Throws: `MalformedPartitionTable` when a partition would lie outside.
    package mutating func stretch(over bytes: Int64) throws(MalformedPartitionTable) {
        let blocks = UInt64(bytes) / UInt64(blockBytes)
        let used = partitions.map(\.partition.lastBlock).max() ?? firstUsable
        guard blocks > entryBlocks + 2, used < blocks - 1 - entryBlocks else {
            throw MalformedPartitionTable("its last partition ends beyond the disk")
        }
        diskBlocks = blocks
        lastUsable = blocks - 2 - entryBlocks
        guard let place = protection else { return }
        let first = UInt64(Fields(bootSector, at: place).half(8))
        let count = UInt32(clamping: blocks - min(first, blocks))
        bootSector.replaceSubrange((place + 12)..<(place + 16), with: littleEndian(count))
        // The end in cylinders, heads and sectors: past what can be told.
        bootSector.replaceSubrange((place + 5)..<(place + 8), with: [0xff, 0xff, 0xff])
    }

    /// Adds a partition at the end of the disk, begun at a multiple of 1 MiB.
    ///
    /// One of the same name is taken out first.
    /// - Throws: `MalformedPartitionTable` when there is no room.
    package mutating func addLast(
        name: String,
        type: GUID,
        id: GUID,
        bytes: Int64
    ) throws(MalformedPartitionTable) -> Partition {
        for index in slots.indices where slots[index]?.name == name { slots[index] = nil }
        let alignment = UInt64((1 << 20) / blockBytes)
        let count = UInt64(bytes) / UInt64(blockBytes)
        let used = partitions.map(\.partition.lastBlock).max().map { $0 + 1 } ?? firstUsable
        guard lastUsable + 1 >= used + count else {
            throw MalformedPartitionTable("there is no room for a partition of \(bytes) bytes")
        }
        let first = (lastUsable + 1 - count) / alignment * alignment
        guard first >= used, let slot = slots.firstIndex(of: nil) else {
            throw MalformedPartitionTable("there is no room for another partition")
        }
        let partition = Partition(
            type: type,
            id: id,
            firstBlock: first,
            lastBlock: first + count - 1,
            attributes: 0,
            name: name
        )
        slots[slot] = partition
        return partition
    }

    /// Adds a partition behind all others, begun at a multiple of 1 MiB.
    /// - Returns: its number, from 1, and where it lies.
    /// - Throws: `MalformedPartitionTable` when there is no room.
    package mutating func append(
        name: String,
        type: GUID,
        id: GUID,
        bytes: Int64
    ) throws(MalformedPartitionTable) -> (number: Int, partition: Partition) {
        let alignment = UInt64((1 << 20) / blockBytes)
        let used = partitions.map(\.partition.lastBlock).max().map { $0 + 1 } ?? firstUsable
        let first = (used + alignment - 1) / alignment * alignment
        let count = UInt64(bytes) / UInt64(blockBytes)
        guard let slot = slots.firstIndex(of: nil), count > 0, first + count <= lastUsable + 1
        else {
            throw MalformedPartitionTable(
                "there is no room for the partition \(name) of \(ByteCount(bytes))"
            )
        }
        let partition = Partition(
            type: type,
            id: id,
            firstBlock: first,
            lastBlock: first + count - 1,
            attributes: 0,
            name: name
        )
        slots[slot] = partition
        return (slot + 1, partition)
    }

    /// Takes all partitions out but the one with this number.
    package mutating func keepOnly(_ number: Int) {
        for index in slots.indices where index != number - 1 { slots[index] = nil }
    }

    /// Replaces the identity of a partition.
    package mutating func set(id: GUID, of number: Int) { slots[number - 1]?.id = id }

    /// The bytes that a partition takes on the disk.
    package func range(of partition: Partition) -> Range<Int64> {
        Int64(partition.firstBlock) * Int64(blockBytes)..<(Int64(partition.lastBlock) + 1)
            * Int64(blockBytes)
    }

    // MARK: - Writing

    /// Puts boot sector, primary header and entries into the first bytes of the disk; what lies between
    /// them stays.
    package func place(into head: inout [UInt8]) {
        let header = header(at: 1, other: diskBlocks - 1, entriesAt: entriesBlock)
        let start = Int(entriesBlock) * blockBytes
        precondition(head.count >= start + entries.count, "the head is too short for the table")
        head.replaceSubrange(0..<512, with: bootSector)
        head.replaceSubrange(blockBytes..<(blockBytes + header.count), with: header)
        head.replaceSubrange(start..<(start + entries.count), with: entries)
    }

    /// Entries and backup header: the last bytes of the disk.
    package var tail: [UInt8] {
        var bytes = entries
        bytes += [UInt8](repeating: 0, count: Int(entryBlocks) * blockBytes - bytes.count)
        let header = header(
            at: diskBlocks - 1,
            other: 1,
            entriesAt: diskBlocks - 1 - entryBlocks
        )
        bytes += header
        bytes += [UInt8](repeating: 0, count: blockBytes - header.count)
        return bytes
    }

    /// Where `tail` belongs.
    package var tailOffset: Int64 {
        Int64(diskBlocks - entryBlocks - 1) * Int64(blockBytes)
    }

    private var entryBlocks: UInt64 {
        UInt64((slots.count * Self.entryBytes + blockBytes - 1) / blockBytes)
    }

    private var entries: [UInt8] {
        var bytes: [UInt8] = []
        for slot in slots {
            guard let slot else {
                bytes += [UInt8](repeating: 0, count: Self.entryBytes)
                continue
            }
            bytes += slot.type.bytes + slot.id.bytes
            bytes += littleEndian(slot.firstBlock) + littleEndian(slot.lastBlock)
            bytes += littleEndian(slot.attributes)
            let name = slot.name.utf16.prefix(36).flatMap { littleEndian($0) }
            bytes += name + [UInt8](repeating: 0, count: 72 - name.count)
        }
        return bytes
    }

    private func header(at place: UInt64, other: UInt64, entriesAt: UInt64) -> [UInt8] {
        var header = Array("EFI PART".utf8)
        header += littleEndian(UInt32(0x0001_0000)) + littleEndian(UInt32(Self.headerBytes))
        header += littleEndian(UInt64(0)) + littleEndian(place) + littleEndian(other)
        header += littleEndian(firstUsable) + littleEndian(lastUsable) + diskID.bytes
        header += littleEndian(entriesAt) + littleEndian(UInt32(slots.count))
        header += littleEndian(UInt32(Self.entryBytes)) + littleEndian(crc32(entries))
        header.replaceSubrange(16..<20, with: littleEndian(crc32(header)))
        return header
    }
}

/// Little-endian numbers in a run of bytes.
private struct Fields {
    let bytes: ArraySlice<UInt8>

    init(_ bytes: [UInt8], at start: Int) { self.bytes = ArraySlice(Array(bytes[start...])) }

    func half(_ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    func word(_ offset: Int) -> UInt64 { UInt64(half(offset)) | UInt64(half(offset + 4)) << 32 }
}

/// A number's bytes, lowest first.
func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

/// CRC-32 as GUID partition tables use it (ISO 3309, reflected).
package func crc32(_ bytes: [UInt8]) -> UInt32 {
    var remainder: UInt32 = .max
    for byte in bytes {
        remainder ^= UInt32(byte)
        for _ in 0..<8 {
            remainder = remainder >> 1 ^ (remainder & 1 == 0 ? 0 : 0xedb8_8320)
        }
    }
    return ~remainder
}
