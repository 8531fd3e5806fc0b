package import AgentSystem
package import Basics
import Glibc
import Protocol

/// Builds, starts and takes away software RAID; shared by the steps that meet it.
///
/// Nothing is started for what stands on a disk: a stranger's array is stopped or wiped, never opened.
package struct RAIDWork: Sendable {
    /// How long the kernel may take to show a new partition or array.
    private static let appearsWithin: Duration = .seconds(10)
    /// Arrays may be members of arrays.
    private static let stopRounds = 4
    private static let edgeBytes: Int64 = 2 << 20

    let devices: any BlockDevices
    let disks: any DiskAccess
    package let arrays: any RAIDArrays
    let time: any TimeSource
    let random: any RandomSource

    package init(
        devices: any BlockDevices,
        disks: any DiskAccess,
        arrays: any RAIDArrays,
        time: any TimeSource,
        random: any RandomSource
    ) {
        self.devices = devices
        self.disks = disks
        self.arrays = arrays
        self.time = time
        self.random = random
    }

    // MARK: - Taking away

    /// Stops every array; what members hold stays.
    /// - Throws: `StepFailure` when one is in use.
    func stopAll(_ report: some StepReporter) async throws {
        var problem: String?
        for _ in 0..<Self.stopRounds {
            let running = arrays.running()
            guard !running.isEmpty else { return }
            for device in running {
                do {
                    try await arrays.stop(device)
                    report.log(["\(device) is stopped"])
                } catch is CancellationError {
                    throw CancellationError()
                } catch {
                    // It may be free once the array on it is stopped.
                    problem = "\(error)"
                }
            }
        }
        let left = arrays.running()
        guard left.isEmpty else {
            throw StepFailure(
                "cannot stop the array \(left.joined(separator: ", ")): \(problem ?? "it is in use"); restart the machine",
                retryable: true
            )
        }
    }

    /// Stops all arrays and wipes every disk that holds a member of one, and the disks that are `chosen`.
    /// - Returns: the paths of the disks that were wiped.
    @discardableResult
    func takeAway(
        alsoFrom chosen: Set<String> = [],
        _ report: some StepReporter
    ) async throws -> [String] {
        try await stopAll(report)
        var wiped: [String] = []
        for device in physicalDisks() {
            try Task.checkCancellation()
            do {
                let disk = try disks.open(device.path, exclusive: true)
                guard try chosen.contains(device.path) || holdsMember(disk) else { continue }
                report.progress(StepProgress(phase: "wipe", text: device.path))
                _ = try EraseMetadata.wipe(device, disk, reason: "")
            } catch let error as SystemFailure where error.code != ECANCELED {
                throw StepFailure(
                    "cannot take RAID away from \(device.path): \(error); free or replace the disk",
                    retryable: true
                )
            }
            wiped.append(device.path)
        }
        return wiped
    }

    private func physicalDisks() -> [BlockDevice] {
        devices.list().filter { $0.members.isEmpty && !$0.removable && !$0.readOnly }
            .sorted { $0.path < $1.path }
    }

    /// Whether the disk itself or one of its partitions has a superblock.
    private func holdsMember(_ disk: any Disk) throws(SystemFailure) -> Bool {
        if try RAIDSuperblock.isMember(disk) { return true }
        for range in disk.partitionTable()?.partitionRanges ?? [] {
            let part = DiskPart(disk: disk, range: range)
            if try RAIDSuperblock.isMember(part) { return true }
        }
        return false
    }

    // MARK: - Starting

    /// An array of the node's that runs.
    struct Started: Sendable, Equatable {
        let device: String
        let isRoot: Bool
        /// A sentence that says which members are left, for an array that lacks some.
        var shortage: String?
    }

    /// Starts the arrays that the controller knows, found by their identity; all others are stopped.
    ///
    /// `toleratesFailures`: a volume that cannot be started is told in the log and left out. Never for what writes:
    /// it would take the volume's members for disks of their own, or another volume for this one.
    /// - Throws: `StepFailure` that names the volume which cannot be started.
    func start(
        _ layout: WireRAIDLayout,
        toleratesFailures: Bool = false,
        _ report: some StepReporter
    ) async throws -> [Started] {
        try await stopAll(report)
        let wanted = Array(
            layout.volumes.filter { !$0.array.isEmpty }.prefix(RAIDPlan.volumesMax)
        )
        guard !wanted.isEmpty else { return [] }
        report.progress(StepProgress(phase: "raid", text: "starting software RAID"))
        let found = try members()
        var started: [Started] = []
        for (number, place) in RAIDPlan.turns(of: wanted).enumerated() {
            let (device, volume) = ("/dev/md\(number)", wanted[place])
            do {
                let shortage = try await start(volume, as: device, found)
                report.log([shortage ?? "\(device) is the volume \(volume.name)"])
                started.append(
                    Started(device: device, isRoot: volume.isRoot, shortage: shortage)
                )
            } catch let failure as StepFailure {
                guard toleratesFailures else { throw failure }
                report.log([failure.message])
            }
        }
        return started
    }

    /// - Returns: what the array lacks, a sentence; `nil` when it has as many members as it was built of.
    private func start(
        _ volume: WireRAIDLayout.Volume,
        as device: String,
        _ found: [ArrayID: [String]]
    ) async throws -> String? {
        func failure(_ reason: String, retryable: Bool) -> StepFailure {
            StepFailure(
                "cannot start the software RAID volume \(volume.name.prefix(40)): \(reason)",
                retryable: retryable
            )
        }
        guard let id = ArrayID(volume.array), let level = RAIDLevel(rawValue: volume.level) else {
            throw failure("its identity or level makes no sense; build it anew", retryable: false)
        }
        guard let members = found[id], !members.isEmpty else {
            throw failure(
                "no disk of this machine holds a member of array \(id); build the RAID anew by the clean step raid.create_configuration",
                retryable: false
            )
        }
        do {
            try await arrays.assemble(device, level: level, id: id, members: members)
            let array = try await appeared(device)
            // mdadm may have found a member that the array has left behind, and not taken it.
            let count = min(members.count, array.members.count)
            guard count < volume.members else { return nil }
            return
                "\(device) is the volume \(volume.name.prefix(40)) and runs with \(count) of \(volume.members) members (found: \(members.joined(separator: ", "))); replace the broken disk and build the RAID anew"
        } catch let error as SystemFailure where error.code != ECANCELED {
            throw failure(
                "\(error); replace the broken disk and build the RAID anew",
                retryable: true
            )
        } catch let fault as Fault {
            throw failure(fault.message, retryable: false)
        }
    }

    /// The partitions of each array, by its identity.
    private func members() throws -> [ArrayID: [String]] {
        var found: [ArrayID: [String]] = [:]
        for device in physicalDisks() {
            do throws(SystemFailure) {
                let disk = try disks.open(device.path, exclusive: false)
                guard let table = disk.partitionTable()?.gpt else { continue }
                for (number, partition) in table.partitions where partition.type == .linuxRAID {
                    let range = table.range(of: partition)
                    guard let id = try RAIDSuperblock.array(of: DiskPart(disk: disk, range: range))
                    else { continue }
                    let place = PartitionPlace(disk: device.path, number: number, range: range)
                    found[id, default: []].append(place.path)
                }
            } catch {
                // The array lives without a disk that cannot be read.
                continue
            }
        }
        return found
    }

    // MARK: - Building

    /// Builds anew what an erase took away; nothing is built for an empty layout.
    func rebuild(
        _ layout: WireRAIDLayout,
        into erased: inout WireErasedDisks,
        _ report: some StepReporter
    ) async throws {
        guard !layout.volumes.isEmpty else { return }
        erased.raid = try await build(layout, deletes: false, report)
    }

    /// Builds what is wished on disks that hold nothing.
    ///
    /// `deletes`: wipes first the chosen disks and, as Ironic's ramdisk does, every other disk with a member of any array.
    /// - Throws: `StepFailure` that names disk or volume.
    func build(
        _ layout: WireRAIDLayout,
        deletes: Bool,
        _ report: some StepReporter
    ) async throws -> WireBuiltRAID {
        let plan: RAIDPlan
        do throws(ImpossibleRAID) {
            plan = try RAIDPlan(layout, on: devices.list()) { random.bytes(16) }
        } catch {
            throw StepFailure(
                "cannot build software RAID: \(error.reason); \(layout.wasBuilt ? "have the disks as they were, or take the clean step raid.delete_configuration" : "change the target RAID configuration")",
                retryable: false
            )
        }
        if deletes {
            try await takeAway(alsoFrom: Set(plan.tables.map(\.disk.path)), report)
        } else {
            for (disk, _) in plan.tables { try checkEmpty(disk) }
        }
        do {
            for (disk, table) in plan.tables { try lay(table, on: disk) }
            var built = WireBuiltRAID()
            for volume in plan.volumes { built.volumes.append(try await make(volume, report)) }
            return built
        } catch let error as SystemFailure where error.code != ECANCELED {
            throw StepFailure(
                "cannot build software RAID: \(error); replace the disk, then take the clean step raid.delete_configuration",
                retryable: false
            )
        } catch let fault as Fault {
            throw StepFailure("cannot build software RAID: \(fault.message)", retryable: false)
        }
    }

    private func checkEmpty(_ device: BlockDevice) throws {
        do throws(SystemFailure) {
            let disk = try disks.open(device.path, exclusive: true)
            let head = try disk.bytes(0..<512)
            let hasTable =
                disk.partitionTable()?.partitionRanges.isEmpty == false
                || head[510...] == [0x55, 0xaa]
                    && (0..<4).contains { ![0, 0xee].contains(head[450 + 16 * $0]) }
            let isMember = try holdsMember(disk)
            guard !hasTable, !isMember else {
                throw SystemFailure(
                    "use \(device.path), which has partitions or is a member of an array",
                    code: EEXIST
                )
            }
        } catch {
            throw StepFailure(
                "cannot build software RAID: \(error); take the clean step raid.delete_configuration or deploy.erase_devices_metadata before",
                retryable: false
            )
        }
    }

    /// Writes a table, and zeros where members begin and end, so that nothing of before is found in them.
    private func lay(_ table: PartitionTable, on device: BlockDevice) throws(SystemFailure) {
        let disk = try disks.open(device.path, exclusive: true)
        for (_, partition) in table.partitions {
            let range = table.range(of: partition)
            let edge = min(Self.edgeBytes, Int64(range.count))
            try disk.clear(range.lowerBound..<(range.lowerBound + edge), by: .zero)
            try disk.clear((range.upperBound - edge)..<range.upperBound, by: .zero)
        }
        var head = [UInt8](repeating: 0, count: 64 << 10)
        table.place(into: &head)
        try disk.put(table.tail, at: table.tailOffset)
        try disk.put(head, at: 0)
        try disk.flush()
        try disk.rereadPartitions()
    }

    private func make(
        _ volume: RAIDPlan.Volume,
        _ report: some StepReporter
    ) async throws -> WireBuiltRAID.Volume {
        let order = volume.order
        report.progress(StepProgress(phase: "raid", text: "building \(order.name)"))
        for member in volume.members { try await awaitPartition(member.place) }
        try await arrays.create(order)
        let array = try await appeared(order.device)
        let wanted = volume.members.map(\.disk.path).sorted()
        guard array.members == wanted else {
            throw SystemFailure(
                "use \(order.device): it has the disks \(array.members.joined(separator: ", ")) in place of \(wanted.joined(separator: ", "))",
                code: EIO
            )
        }
        // What members held before may look like content now.
        let disk = try disks.open(order.device, exclusive: true)
        _ = try EraseMetadata.wipe(array, disk, reason: "")
        report.log([
            "\(order.device) is the volume \(order.name): \(order.members.joined(separator: ", "))"
        ])
        var built = WireBuiltRAID.Volume()
        built.name = order.name
        built.level = order.level.rawValue
        built.bytes = array.bytes
        built.device = order.device
        built.array = order.id.description
        built.disks = volume.members.map(\.disk.path)
        built.serials = volume.members.map(\.disk.serial)
        return built
    }

    /// Waits until the kernel shows a partition as its table says.
    func awaitPartition(_ place: PartitionPlace) async throws {
        let end = time.elapsed + Self.appearsWithin
        while true {
            do throws(SystemFailure) {
                let part = try disks.open(place.path, exclusive: true)
                guard part.geometry.bytes == Int64(place.range.count) else {
                    throw SystemFailure(
                        "use \(place.path): the kernel has another partition there",
                        code: ENXIO
                    )
                }
                return
            } catch {
                guard time.elapsed < end else { throw error }
            }
            try await time.sleep(for: .milliseconds(100))
        }
    }

    /// Waits until the kernel shows an array.
    private func appeared(_ device: String) async throws -> BlockDevice {
        let end = time.elapsed + Self.appearsWithin
        while true {
            if let array = devices.list().first(where: { $0.path == device }) { return array }
            guard time.elapsed < end else {
                throw SystemFailure("use \(device): the kernel does not show it", code: ENXIO)
            }
            try await time.sleep(for: .milliseconds(100))
        }
    }
}

extension WireRAIDLayout {
    /// Whether it says what there was, not what is wished.
    fileprivate var wasBuilt: Bool { volumes.contains { $0.members > 0 } }
}

/// A part of a disk that reads as a disk of its own.
struct DiskPart: Disk {
    let disk: any Disk
    let range: Range<Int64>

    var geometry: DiskGeometry {
        DiskGeometry(
            path: disk.geometry.path,
            bytes: Int64(range.count),
            blockBytes: disk.geometry.blockBytes,
            clearsQuickly: disk.geometry.clearsQuickly
        )
    }

    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try check(offset, Int64(bytes.count))
        try disk.read(bytes, at: range.lowerBound + offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try check(offset, Int64(bytes.count))
        try disk.write(bytes, at: range.lowerBound + offset)
    }

    func clear(_ part: Range<Int64>, by method: ClearMethod) throws(SystemFailure) {
        try check(part.lowerBound, Int64(part.count))
        let start = range.lowerBound
        try disk.clear((start + part.lowerBound)..<(start + part.upperBound), by: method)
    }

    func flush() throws(SystemFailure) { try disk.flush() }
    func rereadPartitions() throws(SystemFailure) { try disk.rereadPartitions() }

    private func check(_ offset: Int64, _ count: Int64) throws(SystemFailure) {
        guard offset >= 0, count <= Int64(range.count) - offset else {
            throw SystemFailure("use \(geometry.path) beyond the end of a partition", code: EINVAL)
        }
    }
}
