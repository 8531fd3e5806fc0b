import Protocol

/// A partition table of four entries in a disk's first sector, with room for a loader's first bytes.
///
/// The format is what every PC's firmware knows: 440 bytes of code, the disk's identity, and from byte 446
/// on four entries of 16 bytes with a mark, a type and two 32-bit numbers of sectors. Extended partitions are
/// not taken.
package struct MasterBootRecord: Sendable, Equatable {
    /// One partition.
    package struct Entry: Sendable, Hashable {
        package let type: UInt8
        package let firstBlock: UInt32
        package let blocks: UInt32
        /// Firmware that asks for it finds its system here.
        package let isActive: Bool
    }

    /// Linux file systems.
    package static let linuxType: UInt8 = 0x83
    /// Linux swap space.
    package static let swapType: UInt8 = 0x82
    /// Marks a sector of a disk that has a GUID partition table.
    private static let protectiveType: UInt8 = 0xee
    /// The sectors of disks that this table describes; none other is taken.
    package static let blockBytes = 512
    /// The place of the disk's identity, and so the end of a loader's code.
    package static let codeBytes = 440
    private static let entriesOffset = 446
    private static let entryBytes = 16
    private static let alignment: UInt64 = (1 << 20) / UInt64(blockBytes)

    /// Tells this disk from others; partitions are named after it (`PARTUUID`).
    package var diskID: UInt32
    /// Four of them; `nil` where nothing is.
    package private(set) var slots: [Entry?]
    private let diskBlocks: UInt64

    /// An empty table for a disk of `bytes`.
    /// - Throws: `MalformedPartitionTable` for a disk whose sectors are not of 512 bytes.
    package init(
        emptyOn bytes: Int64,
        blockBytes: Int,
        diskID: UInt32
    ) throws(MalformedPartitionTable) {
        guard blockBytes == Self.blockBytes else {
            throw MalformedPartitionTable(
                "its blocks have \(blockBytes) bytes, and an msdos table counts blocks of 512"
            )
        }
        diskBlocks = UInt64(max(0, bytes)) / UInt64(blockBytes)
        self.diskID = diskID
        slots = [Entry?](repeating: nil, count: 4)
    }

    /// Reads the table out of a disk's first sector.
    ///
    /// `head`: at least 512 bytes. `bytes`: the size of the whole disk.
    /// - Throws: `MalformedPartitionTable`, also for a table without partitions (what a loader or a file
    ///   system without a table leaves there), with overlapping ones, with logical ones, and for the sector
    ///   that protects a GUID partition table.
    package init(
        head: [UInt8],
        blockBytes: Int,
        bytes: Int64
    ) throws(MalformedPartitionTable) {
        guard head.count >= 512, head[510] == 0x55, head[511] == 0xaa else {
            throw MalformedPartitionTable("it has no boot sector")
        }
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(head[offset + $1]) << UInt32(8 * $1) }
        }
        try self.init(emptyOn: bytes, blockBytes: blockBytes, diskID: word(Self.codeBytes))
        for index in slots.indices {
            let place = Self.entriesOffset + index * Self.entryBytes
            let (mark, type) = (head[place], head[place + 4])
            guard type != 0 else { continue }
            guard mark & 0x7f == 0, ![Self.protectiveType, 0x05, 0x0f, 0x85].contains(type) else {
                throw MalformedPartitionTable("partition \(index + 1) is of a kind not known here")
            }
            slots[index] = Entry(
                type: type,
                firstBlock: word(place + 8),
                blocks: word(place + 12),
                isActive: mark == 0x80
            )
        }
        try checkEntries()
    }

    private func checkEntries() throws(MalformedPartitionTable) {
        var end: UInt64 = 1
        let sorted = partitions.sorted { $0.entry.firstBlock < $1.entry.firstBlock }
        guard !sorted.isEmpty else { throw MalformedPartitionTable("it has no partitions") }
        for (number, entry) in sorted {
            let first = UInt64(entry.firstBlock)
            guard entry.blocks > 0, first >= end, first + UInt64(entry.blocks) <= diskBlocks else {
                throw MalformedPartitionTable("partition \(number) lies outside or on another")
            }
            end = first + UInt64(entry.blocks)
        }
    }

    /// The size of the disk, in whole sectors.
    package var diskBytes: Int64 { Int64(diskBlocks) * Int64(Self.blockBytes) }

    /// Number (from 1) and entry of every used slot.
    package var partitions: [(number: Int, entry: Entry)] {
        slots.enumerated().compactMap { index, slot in slot.map { (index + 1, $0) } }
    }

    /// Adds a partition behind all others, begun at a multiple of 1 MiB.
    /// - Returns: its number, from 1, and its bytes on the disk.
    /// - Throws: `MalformedPartitionTable` when there is no room, on the disk or within the 2 TiB that such
    ///   a table can tell.
    package mutating func append(
        name: String,
        type: UInt8,
        bytes: Int64,
        isActive: Bool
    ) throws(MalformedPartitionTable) -> (number: Int, range: Range<Int64>) {
        let used = partitions.map { UInt64($0.entry.firstBlock) + UInt64($0.entry.blocks) }.max()
        let first = ((used ?? 1) + Self.alignment - 1) / Self.alignment * Self.alignment
        let count = UInt64(max(0, bytes)) / UInt64(Self.blockBytes)
        guard let slot = slots.firstIndex(of: nil), count > 0, first + count <= diskBlocks else {
            throw MalformedPartitionTable(
                "there is no room for the partition \(name) of \(ByteCount(bytes))"
            )
        }
        guard first + count <= UInt64(UInt32.max) else {
            throw MalformedPartitionTable(
                "the partition \(name) would end beyond 2 TiB, which an msdos table cannot tell"
            )
        }
        let entry = Entry(
            type: type,
            firstBlock: UInt32(first),
            blocks: UInt32(count),
            isActive: isActive
        )
        slots[slot] = entry
        return (slot + 1, range(of: entry))
    }

    /// Takes all partitions out but the one with this number.
    package mutating func keepOnly(_ number: Int) {
        for index in slots.indices where index != number - 1 { slots[index] = nil }
    }

    /// The bytes that a partition takes on the disk.
    package func range(of entry: Entry) -> Range<Int64> {
        let start = Int64(entry.firstBlock) * Int64(Self.blockBytes)
        return start..<(start + Int64(entry.blocks) * Int64(Self.blockBytes))
    }

    /// Puts identity, entries and signature into a disk's first sector; the code before them stays.
    package func place(into head: inout [UInt8]) {
        precondition(head.count >= 512, "the head is too short for a boot sector")
        head.replaceSubrange(Self.codeBytes..<(Self.codeBytes + 4), with: littleEndian(diskID))
        head.replaceSubrange((Self.codeBytes + 4)..<Self.entriesOffset, with: [0, 0])
        for (index, slot) in slots.enumerated() {
            let place = Self.entriesOffset + index * Self.entryBytes
            var bytes = [UInt8](repeating: 0, count: Self.entryBytes)
            if let slot {
                // Cylinders, heads and sectors cannot tell where it lies; this says so.
                bytes = [slot.isActive ? 0x80 : 0, 0xfe, 0xff, 0xff, slot.type, 0xfe, 0xff, 0xff]
                bytes += littleEndian(slot.firstBlock) + littleEndian(slot.blocks)
            }
            head.replaceSubrange(place..<(place + Self.entryBytes), with: bytes)
        }
        head.replaceSubrange(510..<512, with: [0x55, 0xaa])
    }
}
