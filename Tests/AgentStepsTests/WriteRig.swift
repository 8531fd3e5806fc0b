import AgentSteps
import AgentSystem
import Basics
import Foundation
import Protocol
import Synchronization

/// Firmware variables in memory.
final class MemoryVariables: FirmwareVariables {
    private let values: Mutex<[String: [UInt8]]>
    private let isFull: Bool

    init(_ values: [String: [UInt8]] = [:], isFull: Bool = false) {
        self.values = Mutex(values)
        self.isFull = isFull
    }

    func names() -> [String] { values.withLock { $0.keys.sorted() } }
    func value(_ name: String) -> [UInt8]? { values.withLock { $0[name] } }

    func set(_ name: String, to value: [UInt8]) throws(SystemFailure) {
        if isFull { throw SystemFailure("write the firmware variable \(name)", code: ENOSPC) }
        values.withLock { $0[name] = value }
    }
}

/// File systems that are remembered by what was asked for.
final class MemoryFileSystems: FileSystems {
    private let state = Mutex([String]())
    /// What the root file system has below `/boot/efi`.
    let loaders: [String]
    /// The boot menu that the root file system has.
    let menu: MenuFile?

    init(
        loaders: [String] = ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg"],
        menu: MenuFile? = MenuFile(folder: "/boot/grub", needsEntries: false)
    ) {
        self.loaders = loaders
        self.menu = menu
    }

    /// What was done, in order.
    var done: [String] { state.withLock { $0 } }

    func make(_ format: FileSystemFormat, label: String, on place: PartitionPlace) async throws {
        state.withLock { $0.append("\(format.rawValue) \(label) on \(place.path)") }
    }

    func copyLoaders(from root: PartitionPlace, to efiSystem: PartitionPlace) throws -> [String] {
        state.withLock { $0.append("loaders from \(root.path) to \(efiSystem.path)") }
        return loaders
    }

    func menu(on root: PartitionPlace) throws -> MenuFile? {
        state.withLock { $0.append("menu of \(root.path)") }
        return menu
    }
}

/// Everything that writes an image, with doubles where a machine would be.
struct WriteRig {
    let server: ChunkServer
    let time = LeapingTime()
    var firmware = MemoryVariables()
    var fileSystems = MemoryFileSystems()
    var loader = BIOSLoader(tree: FileTree(files: LoaderSample.file))
    var random = SeededRandom(seed: 5)
    var workers = 2

    init(_ image: SampleImage) { server = ChunkServer(image) }

    /// Writes to a disk that the machine calls `/dev/vda`.
    func write(
        _ order: WireWriteImage,
        to disk: any Disk,
        ear: Ear = Ear()
    ) async throws -> WireWrittenImage {
        var device = BlockDevice(path: "/dev/vda", bytes: UInt64(disk.geometry.bytes))
        device.serial = "c0-root"
        // The smallest that is taken without a hint has 4 GiB; these are smaller.
        var order = order
        if order.hints == WireRootDeviceHints() { order.hints.name = "/dev/vda" }
        var command = WireCommand()
        command.id = "c"
        command.writeImage = order
        let outcome = try await WriteImage(
            WriteImage.Seams(
                devices: DeviceList(devices: [device]),
                disks: DiskShelf(disks: ["/dev/vda": disk]),
                sources: server,
                firmware: firmware,
                fileSystems: fileSystems,
                loader: loader,
                arrays: MemoryArrays(),
                time: time,
                random: random,
                executor: { OwnThread(name: $0) },
                workers: workers
            )
        ).run(command, in: noContext, report: ear)
        guard case .written(let written) = outcome else {
            throw StepFailure("cannot test: another outcome", retryable: false)
        }
        return written
    }
}

/// What a disk must hold where an image was written: every byte of the image but those of its first
/// table, which was stretched.
func differences(_ disk: any Disk, from image: SampleImage) throws -> [Int] {
    var found: [Int] = []
    for start in stride(from: 0, to: image.disk.count, by: SampleImage.chunkBytes) {
        var wanted = Array(image.disk[start..<(start + SampleImage.chunkBytes)])
        var content = try disk.bytes(Int64(start)..<Int64(start + SampleImage.chunkBytes))
        if start == 0 {
            let table = 2 * image.blockBytes + 16_384
            wanted.replaceSubrange(446..<table, with: [])
            content.replaceSubrange(446..<table, with: [])
        }
        if wanted != content { found.append(start) }
    }
    return found
}

/// Whether firmware would find a partition table: at the disk's beginning or, failing that, at its end.
func tables(on disk: any Disk) throws -> (primary: Bool, backup: Bool) {
    let block = disk.geometry.blockBytes
    let head = try disk.bytes(0..<Int64(PartitionTable.headBytesMax))
    let primary =
        (try? PartitionTable(head: head, blockBytes: block, bytes: disk.geometry.bytes)) != nil
    let last = try disk.bytes((disk.geometry.bytes - Int64(block))..<disk.geometry.bytes)
    var header = Array(last[..<92])
    let stored = Array(header[16..<20])
    header.replaceSubrange(16..<20, with: [0, 0, 0, 0])
    let backup = last.starts(with: Array("EFI PART".utf8)) && bytes(crc32(header)) == stored
    return (primary, backup)
}
