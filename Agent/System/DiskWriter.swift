import CLinux
import Glibc

/// What a disk is, for whoever writes to it.
package struct DiskGeometry: Sendable, Equatable {
    /// The device's path, for messages.
    package let path: String
    package let bytes: Int64
    /// Offsets and lengths of reads and writes are multiples of this (512 or 4096).
    package let blockBytes: Int
    /// Whether the device itself can make ranges read as zero without zeros being sent to it.
    package let clearsQuickly: Bool

    package init(path: String, bytes: Int64, blockBytes: Int, clearsQuickly: Bool) {
        self.path = path
        self.bytes = bytes
        self.blockBytes = blockBytes
        self.clearsQuickly = clearsQuickly
    }
}

/// A disk that is open for reading and writing, past the kernel's cache where that is possible.
///
/// Calls block their thread; several threads may call at once. Buffers come from `AlignedBuffer`.
package protocol Disk: Sendable {
    var geometry: DiskGeometry { get }

    /// Fills `bytes` from `offset` on.
    /// - Throws: `SystemFailure`, also for a range beyond the end.
    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure)

    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure)

    /// Empties a range. After `.zero` it reads as zero; `.discard` only tells the device that nobody
    /// needs the content: whatever it holds then is unknown, and a device that cannot is no failure.
    /// Ends early, with code `ECANCELED`, when the task is cancelled.
    func clear(_ range: Range<Int64>, by method: ClearMethod) throws(SystemFailure)

    /// Returns once everything written is on the medium.
    func flush() throws(SystemFailure)

    /// Makes the kernel look at the partition table again.
    func rereadPartitions() throws(SystemFailure)
}

/// How a range is emptied.
package enum ClearMethod: Sendable {
    case zero
    case discard
}

/// Opens disks.
package protocol DiskAccess: Sendable {
    /// Opens a whole disk or a partition.
    ///
    /// `exclusive`: refuse when somebody has it mounted or claimed.
    /// - Throws: `SystemFailure`; code `EBUSY` when somebody has.
    func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk
}

/// The kernel's block devices.
///
/// Regular files work too, which tests and image tools use.
package struct SystemDisks: DiskAccess {
    private let tree: FileTree

    package init(tree: FileTree = FileTree()) { self.tree = tree }

    package func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk {
        try DiskFile(path, exclusive: exclusive, tree: tree)
    }
}

/// A block device or a regular file, opened with `O_DIRECT` where the file system knows it.
final class DiskFile: Disk {
    /// A single request to the kernel is at most this long, so that a cancelled task ends soon.
    private static let clearBytesMax: Int64 = 256 << 20

    let geometry: DiskGeometry
    private let file: Int32
    private let isBlockDevice: Bool

    init(_ path: String, exclusive: Bool, tree: FileTree) throws(SystemFailure) {
        var file = rdo_disk_open(path, exclusive ? 1 : 0, 1)
        if file < 0, errno == EINVAL { file = rdo_disk_open(path, exclusive ? 1 : 0, 0) }
        guard file >= 0 else { throw SystemFailure("open \(path)", code: errno) }
        var bytes: UInt64 = 0
        var blockBytes: UInt32 = 0
        let status = rdo_disk_geometry(file, &bytes, &blockBytes)
        guard status == 0 else {
            close(file)
            throw SystemFailure("ask for the size of \(path)", code: status)
        }
        var facts = stat()
        fstat(file, &facts)
        self.file = file
        isBlockDevice = facts.st_mode & S_IFMT == S_IFBLK
        let quick: Bool
        if isBlockDevice {
            let entry = "/sys/dev/block/\(major(facts.st_rdev)):\(minor(facts.st_rdev))"
            let limit =
                tree.number("\(entry)/queue/write_zeroes_max_bytes")
                ?? tree.number("\(entry)/../queue/write_zeroes_max_bytes")
            quick = (limit ?? 0) > 0
        } else {
            quick = true
        }
        geometry = DiskGeometry(
            path: path,
            bytes: Int64(clamping: bytes),
            blockBytes: Int(blockBytes),
            clearsQuickly: quick
        )
    }

    deinit { close(file) }

    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        var done = 0
        while done < bytes.count {
            let count = pread(
                file,
                bytes.baseAddress?.advanced(by: done),
                bytes.count - done,
                Int(offset) + done
            )
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("read", offset + Int64(done), count) }
            done += count
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        guard offset >= 0, offset + Int64(bytes.count) <= geometry.bytes else {
            throw failure("write", offset, 0)
        }
        var done = 0
        while done < bytes.count {
            let count = pwrite(
                file,
                bytes.baseAddress?.advanced(by: done),
                bytes.count - done,
                Int(offset) + done
            )
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write", offset + Int64(done), count) }
            done += count
        }
    }

    func clear(_ range: Range<Int64>, by method: ClearMethod) throws(SystemFailure) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            if Task.isCancelled { throw SystemFailure("empty \(geometry.path)", code: ECANCELED) }
            let count = min(Self.clearBytesMax, range.upperBound - offset)
            let status = request(UInt64(offset), UInt64(count), method)
            switch (status, method) {
            case (0, _): break
            case (_, .discard): return
            default: throw SystemFailure("empty \(geometry.path) at byte \(offset)", code: status)
            }
            offset += count
        }
    }

    private func request(_ offset: UInt64, _ count: UInt64, _ method: ClearMethod) -> Int32 {
        guard isBlockDevice else { return rdo_file_punch(file, offset, count) }
        return switch method {
        case .zero: rdo_disk_zero(file, offset, count)
        case .discard: rdo_disk_discard(file, offset, count)
        }
    }

    func flush() throws(SystemFailure) {
        guard fsync(file) == 0 else { throw SystemFailure("flush \(geometry.path)", code: errno) }
    }

    func rereadPartitions() throws(SystemFailure) {
        guard isBlockDevice else { return }
        let status = rdo_disk_reread(file)
        guard status == 0 else {
            throw SystemFailure("read the partition table of \(geometry.path) again", code: status)
        }
    }

    private func failure(_ verb: String, _ offset: Int64, _ count: Int) -> SystemFailure {
        let code = count < 0 ? errno : EIO
        return SystemFailure("\(verb) \(geometry.path) at byte \(offset)", code: code)
    }
}

/// The device number's major part, as Glibc's macro computes it.
private func major(_ device: dev_t) -> UInt64 {
    let device = UInt64(device)
    return device >> 8 & 0xfff | device >> 32 & ~0xfff
}

/// The device number's minor part.
private func minor(_ device: dev_t) -> UInt64 {
    let device = UInt64(device)
    return device & 0xff | device >> 12 & ~0xff
}

/// Memory that direct reads and writes accept: aligned to a page, zero at first.
///
/// Used by one thread.
package final class AlignedBuffer {
    /// All of it.
    package let bytes: UnsafeMutableRawBufferPointer

    package init(bytes count: Int) {
        bytes = .allocate(byteCount: count, alignment: 4096)
        // Swift's own filling goes byte by byte in a build for debugging.
        if let start = bytes.baseAddress { memset(start, 0, count) }
    }

    deinit { bytes.deallocate() }

    /// The bytes in `range`.
    package func part(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: bytes[range])
    }
}

extension Disk {
    /// Reads bytes at any offset, block by block.
    package func bytes(_ range: Range<Int64>) throws(SystemFailure) -> [UInt8] {
        let block = Int64(geometry.blockBytes)
        let start = range.lowerBound / block * block
        let end = (range.upperBound + block - 1) / block * block
        let buffer = AlignedBuffer(bytes: Int(end - start))
        try read(buffer.bytes, at: start)
        let first = Int(range.lowerBound - start)
        return Array(buffer.bytes[first..<(first + Int(range.upperBound - range.lowerBound))])
    }

    /// Writes bytes at any offset; what shares their first and last block stays as it is.
    package func put(_ content: [UInt8], at offset: Int64) throws(SystemFailure) {
        guard !content.isEmpty else { return }
        let block = Int64(geometry.blockBytes)
        let start = offset / block * block
        let end = (offset + Int64(content.count) + block - 1) / block * block
        let buffer = AlignedBuffer(bytes: Int(end - start))
        if start != offset || end != offset + Int64(content.count) {
            try read(buffer.bytes, at: start)
        }
        let first = Int(offset - start)
        buffer.part(first..<(first + content.count)).copyBytes(from: content)
        try write(UnsafeRawBufferPointer(buffer.bytes), at: start)
    }
}
