/// A disk's partition table, of either kind that machines start from.
package enum DiskTable: Sendable, Equatable {
    /// A GUID partition table.
    case gpt(PartitionTable)
    /// The table of disks for BIOS.
    case msdos(MasterBootRecord)

    /// What a partition is for.
    package enum Purpose: Sendable {
        /// The loaders of machines with UEFI.
        case efiSystem
        /// GRUB's second part, on machines with BIOS.
        case biosBoot
        case swap
        case data
        /// The system's own file system.
        case root

        fileprivate var guid: GUID {
            switch self {
            case .efiSystem: .efiSystem
            case .biosBoot: .biosBoot
            case .swap: .linuxSwap
            case .data, .root: .linuxFileSystem
            }
        }
    }

    /// Reads what stands on a disk: a GUID partition table at its head, else an msdos table, else a GUID
    /// partition table's backup; `nil` when there is none that makes sense.
    ///
    /// `head`, `tail`: the first and last bytes of the disk, `PartitionTable.headBytesMax` of them where it
    /// has as many. `bytes`: its size.
    package init?(head: [UInt8], tail: [UInt8], blockBytes: Int, bytes: Int64) {
        // What cannot be understood is no table; the next kind may be one.
        if let table = try? PartitionTable(head: head, blockBytes: blockBytes, bytes: bytes) {
            self = .gpt(table)
        } else if let table = try? MasterBootRecord(  // The same.
            head: head,
            blockBytes: blockBytes,
            bytes: bytes
        ) {
            self = .msdos(table)
        } else if let table = try? PartitionTable(  // The same.
            tail: tail,
            blockBytes: blockBytes,
            bytes: bytes
        ) {
            self = .gpt(table)
        } else {
            return nil
        }
    }

    /// Adds a partition behind all others, begun at a multiple of 1 MiB.
    ///
    /// `name` and `id` are lost in a table of kind `msdos`.
    /// - Returns: its number, from 1, and its bytes on the disk.
    /// - Throws: `MalformedPartitionTable` when there is no room.
    package mutating func append(
        name: String,
        _ purpose: Purpose,
        id: GUID,
        bytes: Int64
    ) throws(MalformedPartitionTable) -> (number: Int, range: Range<Int64>) {
        switch self {
        case .gpt(var table):
            let (number, partition) = try table.append(
                name: name,
                type: purpose.guid,
                id: id,
                bytes: bytes
            )
            self = .gpt(table)
            return (number, table.range(of: partition))
        case .msdos(var table):
            let type: UInt8 =
                switch purpose {
                case .swap: MasterBootRecord.swapType
                case .data, .root, .efiSystem, .biosBoot: MasterBootRecord.linuxType
                }
            var isRoot = false
            if case .root = purpose { isRoot = true }
            let added = try table.append(name: name, type: type, bytes: bytes, isActive: isRoot)
            self = .msdos(table)
            return added
        }
    }

    /// Takes all partitions out but the one with this number.
    package mutating func keepOnly(_ number: Int) {
        switch self {
        case .gpt(var table):
            table.keepOnly(number)
            self = .gpt(table)
        case .msdos(var table):
            table.keepOnly(number)
            self = .msdos(table)
        }
    }

    /// Lets the partition `number` have the identity of the one that lies at `range` in `previous`.
    ///
    /// An EFI system partition is nobody's data and never taken over.
    /// - Returns: false, with nothing changed, when there is none or `previous` is of the other kind.
    package mutating func takeOver(
        _ number: Int,
        at range: Range<Int64>,
        from previous: DiskTable
    ) -> Bool {
        switch (self, previous) {
        case (.gpt(var table), .gpt(let old)):
            let same = old.partitions.map(\.partition).first {
                old.range(of: $0) == range && $0.type != .efiSystem
            }
            guard let same else { return false }
            table.set(id: same.id, of: number)
            self = .gpt(table)
            return true
        case (.msdos(var table), .msdos(let old)):
            guard old.partitions.contains(where: { old.range(of: $0.entry) == range }) else {
                return false
            }
            // The partition is named after the disk.
            table.diskID = old.diskID
            self = .msdos(table)
            return true
        case (.gpt, .msdos), (.msdos, .gpt): return false
        }
    }

    /// The table, when it is a GUID partition table.
    package var gpt: PartitionTable? {
        guard case .gpt(let table) = self else { return nil }
        return table
    }

    /// The EFI system partition: number, from 1, and entry; a table of kind `msdos` has none.
    package var efiSystem: (number: Int, partition: Partition)? {
        gpt?.partitions.first { $0.partition.type == .efiSystem }
    }

    /// Where each partition lies, in bytes.
    package var partitionRanges: [Range<Int64>] {
        switch self {
        case .gpt(let table): table.partitions.map { table.range(of: $0.partition) }
        case .msdos(let table): table.partitions.map { table.range(of: $0.entry) }
        }
    }

    /// The bytes of every partition that may be a config drive, at most `bytes` of each.
    ///
    /// They are known by their name where the table has names, else by being of `bytes` exactly.
    package func configDrives(named name: String, bytes: Int64) -> [Range<Int64>] {
        switch self {
        case .gpt(let table):
            return table.partitions.map(\.partition).filter { $0.name == name }
                .map { table.range(of: $0) }
                .map { $0.lowerBound..<min($0.upperBound, $0.lowerBound + bytes) }
        case .msdos(let table):
            return table.partitions.map { table.range(of: $0.entry) }
                .filter { Int64($0.count) == bytes }
        }
    }

    /// The bytes that partitions may take.
    package var usableRange: Range<Int64> {
        switch self {
        case .gpt(let table):
            Int64(table.firstUsable) * Int64(table.blockBytes)..<table.tailOffset
        case .msdos(let table): Int64(MasterBootRecord.blockBytes)..<table.diskBytes
        }
    }

    /// Puts the table into the first bytes of the disk; what lies between its parts stays.
    package func place(into head: inout [UInt8]) {
        switch self {
        case .gpt(let table): table.place(into: &head)
        case .msdos(let table): table.place(into: &head)
        }
    }

    /// The last bytes of the disk; empty where the table has no copy there.
    package var tail: [UInt8] {
        switch self {
        case .gpt(let table): table.tail
        case .msdos: []
        }
    }

    /// Where `tail` belongs.
    package var tailOffset: Int64 {
        switch self {
        case .gpt(let table): table.tailOffset
        case .msdos(let table): table.diskBytes
        }
    }
}

extension Disk {
    /// The partition table that stands on the disk; `nil` when there is none that makes sense.
    package func partitionTable() -> DiskTable? {
        let (bytes, block) = (geometry.bytes, geometry.blockBytes)
        let count = min(bytes, Int64(PartitionTable.headBytesMax)) / Int64(block) * Int64(block)
        // What cannot be read is no table; the other copy may be one.
        let head = try? self.bytes(0..<count)
        let tail = try? self.bytes((bytes - count)..<bytes)  // The same.
        return DiskTable(head: head ?? [], tail: tail ?? [], blockBytes: block, bytes: bytes)
    }
}
