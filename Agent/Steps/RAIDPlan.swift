import AgentSystem
import Protocol

/// Why software RAID cannot be made as it is wished.
struct ImpossibleRAID: Error, Equatable {
    /// A clause that names disk or volume.
    let reason: String
}

/// Which partitions and arrays software RAID comes to on the disks of a machine.
///
/// Pure. The rules are those of Ironic's ramdisk (`hardware.py`, `validate_configuration` and
/// `create_configuration`): one or two volumes, the first a mirror; a volume that takes what is left comes last.
/// Each disk that is taken gets a GUID partition table with room for a boot loader and a member for each volume.
struct RAIDPlan: Sendable {
    /// One member: a partition, by its disk and its number from 1.
    struct Member: Sendable, Equatable {
        let disk: BlockDevice
        let place: PartitionPlace
    }

    /// One array.
    struct Volume: Sendable, Equatable {
        let order: ArrayOrder
        let members: [Member]
    }

    /// The EFI system partition of each disk: an image's of 550 MiB (Ironic's size) and the superblock of the
    /// array that they are.
    static let efiBytes: Int64 = 552 << 20
    static let loaderBytes: Int64 = 8 << 20
    static let efiName = "rdo-esp"
    static let volumesMax = 2

    /// The disks that are taken, by path, with their new tables.
    let tables: [(disk: BlockDevice, table: PartitionTable)]
    /// In the order of the wish.
    let volumes: [Volume]

    /// Lays volumes out.
    ///
    /// `devices`: what the machine has. `newID`: makes 16 random bytes.
    init(
        _ layout: WireRAIDLayout,
        on devices: [BlockDevice],
        newID: () -> [UInt8]
    ) throws(ImpossibleRAID) {
        let wishes = try Self.checked(layout)
        let disks = devices.filter { !$0.removable && !$0.readOnly && $0.members.isEmpty }
            .sorted { $0.path < $1.path }
        let chosen = try wishes.map { wish throws(ImpossibleRAID) in try Self.disks(of: wish, disks)
        }
        var tables: [String: PartitionTable] = [:]
        for disk in chosen.joined() where tables[disk.path] == nil {
            tables[disk.path] = try Self.table(on: disk, layout.bootMode == "uefi", newID)
        }
        var volumes = [Volume?](repeating: nil, count: wishes.count)
        for (number, index) in Self.turns(of: wishes).enumerated() {
            let wish = wishes[index]
            let name = wish.name.isEmpty ? "md\(number)" : wish.name
            let members = try chosen[index].map { disk throws(ImpossibleRAID) in
                try Self.addMember(to: &tables[disk.path], of: disk, name, wish.sizeMib, newID)
            }
            volumes[index] = Volume(
                order: ArrayOrder(
                    device: "/dev/md\(number)",
                    name: name,
                    level: RAIDLevel(rawValue: wish.level) ?? .mirror,
                    id: ArrayID(bytes: newID()),
                    members: members.map(\.place.path)
                ),
                members: members
            )
        }
        self.volumes = volumes.compactMap(\.self)
        self.tables = disks.compactMap { disk in tables[disk.path].map { (disk, $0) } }
    }

    // MARK: - Rules

    /// Places in a layout, in the order in which its arrays are numbered, as Ironic numbers them: what takes the
    /// rest comes after what has a size.
    ///
    /// What was built is numbered by the same rule whenever it is started, so that devices keep their names.
    static func turns(of volumes: [WireRAIDLayout.Volume]) -> [Int] {
        volumes.indices.sorted { left, right in
            let (one, two) = (volumes[left].sizeMib == 0, volumes[right].sizeMib == 0)
            return one == two ? left < right : two
        }
    }

    private static func checked(
        _ layout: WireRAIDLayout
    ) throws(ImpossibleRAID) -> [WireRAIDLayout.Volume] {
        let wishes = layout.volumes
        func fail(_ reason: String) -> ImpossibleRAID { ImpossibleRAID(reason: reason) }
        guard (1...volumesMax).contains(wishes.count) else {
            throw fail("it has \(wishes.count) volumes; software RAID takes one or two")
        }
        guard wishes[0].level == RAIDLevel.mirror.rawValue else {
            throw fail(
                "its first volume has level \(wishes[0].level.prefix(8)); it must be a mirror, level 1"
            )
        }
        guard wishes.filter({ $0.sizeMib == 0 }).count <= 1 else {
            throw fail("both volumes take all that is left; give one of them a size")
        }
        guard wishes.filter(\.isRoot).count <= 1 else {
            throw fail("both volumes are the root volume")
        }
        var names: Set<String> = []
        for wish in wishes {
            guard RAIDLevel(rawValue: wish.level) != nil else {
                throw fail("level \(wish.level.prefix(8)) is not made by software")
            }
            guard wish.sizeMib <= 1 << 40 else {
                throw fail("\(wish.sizeMib) MiB is no size of a disk")
            }
            guard isName(wish.name) else {
                throw fail(
                    "“\(wish.name.prefix(40))” is no name of a volume: it has at most \(ArrayOrder.nameBytesMax) letters, digits, “-”, “_” or “.” and begins with a letter or digit"
                )
            }
            guard wish.name.isEmpty || names.insert(wish.name).inserted else {
                throw fail("both volumes are called \(wish.name)")
            }
        }
        return wishes
    }

    /// Empty names are made up.
    static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first else { return true }
        func isPlain(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        return name.utf8.count <= ArrayOrder.nameBytesMax && isPlain(first)
            && name.utf8.allSatisfy { isPlain($0) || "-_.".utf8.contains($0) }
    }

    /// One disk for each hint, or all disks.
    private static func disks(
        of wish: WireRAIDLayout.Volume,
        _ disks: [BlockDevice]
    ) throws(ImpossibleRAID) -> [BlockDevice] {
        var chosen = disks
        if !wish.disks.isEmpty {
            chosen = []
            for hints in wish.disks {
                do throws(NoRootDevice) {
                    let words = try described(hints)
                    guard
                        let disk = try matching(disks, hints).first(where: { !chosen.contains($0) })
                    else {
                        throw NoRootDevice(
                            reason:
                                "no disk is left for the hints of member \(chosen.count + 1), \(words)",
                            explanations: []
                        )
                    }
                    chosen.append(disk)
                } catch {
                    throw ImpossibleRAID(reason: "\(error.reason) (physical_disks)")
                }
            }
        }
        // What was built is not built anew of less, nor with what others may have put in.
        guard wish.members == 0 || chosen.count == Int(wish.members) else {
            let paths = chosen.map(\.path).joined(separator: ", ")
            throw ImpossibleRAID(
                reason:
                    "the volume \(wish.name) of level \(wish.level) was built of \(wish.members) disks and there are \(chosen.count): \(paths)"
            )
        }
        let least = RAIDLevel(rawValue: wish.level)?.membersMin ?? 2
        guard chosen.count >= least else {
            throw ImpossibleRAID(
                reason: "level \(wish.level) takes \(least) disks and there are \(chosen.count)"
            )
        }
        return chosen
    }

    private static func table(
        on disk: BlockDevice,
        _ isUEFI: Bool,
        _ newID: () -> [UInt8]
    ) throws(ImpossibleRAID) -> PartitionTable {
        do throws(MalformedPartitionTable) {
            var table = try PartitionTable(
                emptyOn: Int64(clamping: disk.bytes),
                blockBytes: disk.logicalSectorBytes,
                diskID: GUID(random: newID())
            )
            _ = try table.append(
                name: isUEFI ? efiName : "rdo-bios-boot",
                type: isUEFI ? .efiSystem : .biosBoot,
                id: GUID(random: newID()),
                bytes: isUEFI ? efiBytes : loaderBytes
            )
            return table
        } catch {
            throw ImpossibleRAID(reason: "\(disk.path) is too small: \(error)")
        }
    }

    private static func addMember(
        to table: inout PartitionTable?,
        of disk: BlockDevice,
        _ name: String,
        _ mebibytes: UInt64,
        _ newID: () -> [UInt8]
    ) throws(ImpossibleRAID) -> Member {
        guard var changed = table else { throw ImpossibleRAID(reason: "\(disk.path) has no table") }
        let bytes = mebibytes == 0 ? changed.bytesLeft : Int64(mebibytes) << 20
        do throws(MalformedPartitionTable) {
            let (number, partition) = try changed.append(
                name: name,
                type: .linuxRAID,
                id: GUID(random: newID()),
                bytes: bytes
            )
            table = changed
            let range = changed.range(of: partition)
            return Member(
                disk: disk,
                place: PartitionPlace(disk: disk.path, number: number, range: range)
            )
        } catch {
            throw ImpossibleRAID(
                reason:
                    "\(disk.path) of \(ByteCount(Int64(clamping: disk.bytes))) is too small for it: \(error); give smaller sizes or name the disks in physical_disks"
            )
        }
    }
}

extension PartitionTable {
    /// Bytes of the largest partition that can be appended.
    fileprivate var bytesLeft: Int64 {
        let alignment = UInt64((1 << 20) / blockBytes)
        let used = partitions.map(\.partition.lastBlock).max().map { $0 + 1 } ?? firstUsable
        let first = (used + alignment - 1) / alignment * alignment
        guard first <= lastUsable else { return 0 }
        return Int64((lastUsable + 1 - first) / alignment * alignment) * Int64(blockBytes)
    }
}

extension GUID {
    /// Linux RAID (the Discoverable Partitions Specification names it so).
    static let linuxRAID = GUID(bytes: [
        0x0f, 0x88, 0x9d, 0xa1, 0xfc, 0x05, 0x3b, 0x4d, 0xa0, 0x06, 0x74, 0x3f, 0x0f, 0x84, 0x91,
        0x1e,
    ])
}
