import AgentSystem
import Protocol

/// The partitions that are made for an image that is a root partition's file system.
///
/// In Ironic's order: EFI system or BIOS boot, ephemeral, swap, config drive, root. The root partition is the
/// last one, so that the installed system can let it grow.
struct DiskParts: Sendable {
    /// One partition: its number, from 1, and its bytes on the disk.
    struct Part: Sendable, Equatable {
        let number: Int
        let range: Range<Int64>
    }

    /// Ironic's size of the EFI system partition.
    static let efiBytes: Int64 = 550 << 20
    /// Ironic's size of the BIOS boot partition, which only a GUID partition table needs.
    static let biosBytes: Int64 = 1 << 20
    static let ephemeralLabel = "ephemeral0"
    private static let swapLabel = "swap1"
    /// No disk has more.
    private static let mebibytesMax: UInt64 = 1 << 40

    private(set) var table: DiskTable
    private(set) var efiSystem: Part?
    private(set) var ephemeral: Part?
    private(set) var swap: Part?
    private(set) var drive: Part?
    private(set) var root: Part
    /// The swap partition's first bytes.
    private(set) var swapHeader: [UInt8] = []
    /// What stands on the disk while the image is written: the ephemeral partition alone.
    ///
    /// `nil` when no partition keeps its content.
    private(set) var keptTable: DiskTable?

    /// Lays the partitions out.
    ///
    /// `driveBytes`: 0 without a config drive. `firmware`: the command's `boot_mode`, `uefi` or `bios`; no
    /// partition is made for any other. `previous`: what the disk holds. `newID`: makes an identity.
    /// - Throws: `MalformedPartitionTable` when they do not fit, or when the ephemeral partition is to be
    ///   kept and the disk has another one.
    init(
        _ wish: WirePartitionLayout,
        driveBytes: Int64,
        firmware: String,
        on geometry: DiskGeometry,
        previous: DiskTable?,
        newID: () -> GUID
    ) throws(MalformedPartitionTable) {
        guard wish.rootMib > 0 else {
            throw MalformedPartitionTable("the root partition has no size")
        }
        for size in [wish.rootMib, wish.swapMib, wish.ephemeralMib] where size > Self.mebibytesMax {
            throw MalformedPartitionTable("\(size) MiB is no size of a partition")
        }
        if firmware == "bios", geometry.blockBytes != MasterBootRecord.blockBytes {
            throw MalformedPartitionTable(
                "its blocks have \(geometry.blockBytes) bytes, and BIOS starts from disks with blocks of 512 only"
            )
        }
        var table = try Self.emptyTable(wish.diskLabel, firmware, on: geometry, newID)
        func add(
            _ name: String,
            _ purpose: DiskTable.Purpose,
            _ bytes: Int64
        ) throws(MalformedPartitionTable) -> Part? {
            guard bytes > 0 else { return nil }
            let (number, range) = try table.append(name: name, purpose, id: newID(), bytes: bytes)
            return Part(number: number, range: range)
        }
        efiSystem = firmware == "uefi" ? try add("efi-part", .efiSystem, Self.efiBytes) : nil
        if firmware == "bios", case .gpt = table {
            _ = try add("bios-boot", .biosBoot, Self.biosBytes)
        }
        ephemeral = try add(Self.ephemeralLabel, .data, Int64(wish.ephemeralMib) << 20)
        swap = try add(Self.swapLabel, .swap, Int64(wish.swapMib) << 20)
        drive = try add(ConfigDriveImage.label, .data, driveBytes)
        guard let root = try add("root", .root, Int64(wish.rootMib) << 20) else {
            throw MalformedPartitionTable("the root partition has no size")
        }
        self.root = root
        self.table = table
        if let swap {
            swapHeader = SwapSpace.header(
                bytes: Int64(swap.range.count),
                id: newID(),
                label: Self.swapLabel
            )
        }
        if wish.preserveEphemeral { try keepEphemeral(previous) }
    }

    /// The table without partitions.
    private static func emptyTable(
        _ label: String,
        _ firmware: String,
        on geometry: DiskGeometry,
        _ newID: () -> GUID
    ) throws(MalformedPartitionTable) -> DiskTable {
        let (bytes, block) = (geometry.bytes, geometry.blockBytes)
        switch label {
        case "", "gpt":
            return .gpt(try PartitionTable(emptyOn: bytes, blockBytes: block, diskID: newID()))
        case "msdos" where firmware == "uefi":
            throw MalformedPartitionTable("UEFI needs a table of kind gpt, not msdos")
        case "msdos":
            let id = newID().bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
            return .msdos(try MasterBootRecord(emptyOn: bytes, blockBytes: block, diskID: id))
        default:
            throw MalformedPartitionTable(
                "the kind of table “\(label.prefix(40))” is neither gpt nor msdos"
            )
        }
    }

    /// Takes over the identity of the ephemeral partition that is there.
    private mutating func keepEphemeral(_ previous: DiskTable?) throws(MalformedPartitionTable) {
        guard let ephemeral else {
            throw MalformedPartitionTable(
                "the ephemeral partition is to be kept, but ephemeral_gb is 0"
            )
        }
        guard let previous else {
            throw MalformedPartitionTable(
                "the ephemeral partition is to be kept, but the disk has no partition table"
            )
        }
        guard table.takeOver(ephemeral.number, at: ephemeral.range, from: previous) else {
            throw MalformedPartitionTable(
                "the ephemeral partition is to be kept, but the disk has none of "
                    + "\(ByteCount(Int64(ephemeral.range.count))) at byte "
                    + "\(ephemeral.range.lowerBound) in a table of this kind"
            )
        }
        var kept = table
        kept.keepOnly(ephemeral.number)
        keptTable = kept
    }

    /// The bytes that must stay as they are.
    var keptRange: Range<Int64>? { keptTable == nil ? nil : ephemeral?.range }
}

extension Range<Int64> {
    /// What is left when others are taken out, in order.
    func subtracting(_ others: [Range<Int64>]) -> [Range<Int64>] {
        var left: [Range<Int64>] = []
        var start = lowerBound
        for other in others.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            let end = Swift.min(other.lowerBound, upperBound)
            if end > start { left.append(start..<end) }
            start = Swift.max(start, other.upperBound)
        }
        if start < upperBound { left.append(start..<upperBound) }
        return left
    }
}
