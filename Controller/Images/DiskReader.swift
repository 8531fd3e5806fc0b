import Basics
import Glibc

/// A file that is open for reading and, once made, never changed.
///
/// Threads may share it.
final class SpoolHandle: Sendable {
    let descriptor: CInt
    let bytes: UInt64

    init(descriptor: CInt, bytes: UInt64) {
        self.descriptor = descriptor
        self.bytes = bytes
    }

    deinit { close(descriptor) }

    /// Fills `buffer` from `offset`; what lies after the end of the file reads as zero.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        var filled = 0
        while filled < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + filled)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw Fault(
                    .unavailable,
                    "cannot read the uploaded file back: \(String(cString: strerror(errno)))"
                )
            }
            guard count > 0 else {
                rest.initializeMemory(as: UInt8.self, repeating: 0)
                return
            }
            filled += count
        }
    }

    func read(_ count: Int, at offset: UInt64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        try bytes.withUnsafeMutableBytes { try read(into: $0, at: offset) }
        return bytes
    }
}

/// Reads the disk that an uploaded file describes.
///
/// Each worker has its own.
protocol DiskReader {
    var diskBytes: UInt64 { get }

    /// Fills `buffer` with the disk's bytes from `offset`.
    ///
    /// Returns false, and leaves the buffer alone, when all of them are known to be zero.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Bool
}

/// A raw disk: the file is the disk.
struct RawReader: DiskReader {
    let file: SpoolHandle
    var diskBytes: UInt64 { file.bytes }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Bool {
        try file.read(into: buffer, at: offset)
        return true
    }
}

/// The disk inside a qcow2 file.
struct Qcow2Reader: DiskReader {
    private let file: SpoolHandle
    private let header: Qcow2Header
    /// Offsets of the second-level tables; 0 where there is none.
    private let firstTable: [UInt64]
    private var cached: (offset: UInt64, entries: [UInt64]) = (0, [])
    private var packed: [UInt8] = []
    /// Bytes of the file that the clusters read so far must take, were they written by QEMU.
    private var neededBytes: UInt64 = 0

    var diskBytes: UInt64 { header.diskBytes }

    /// Reads the header and the first-level table and checks both.
    init(_ file: SpoolHandle, diskBytesMax: UInt64) throws {
        self.file = file
        let head = try file.read(
            Int(min(file.bytes, UInt64(Qcow2Header.bytesMax))),
            at: 0
        )
        let header = try Qcow2Header(head, fileBytes: file.bytes, diskBytesMax: diskBytesMax)
        self.header = header
        let table = try file.read(header.firstTableEntries * 8, at: header.firstTableOffset)
        var seen: Set<UInt64> = []
        var offsets: [UInt64] = []
        for index in 0..<header.firstTableEntries {
            let entry = table.bigEndian64(at: index * 8)
            let offset = entry & Self.offsetMask
            guard entry & ~(Self.offsetMask | 1 << 63) == 0 else { throw Qcow2Refusal.secondTable }
            if offset != 0 {
                // A table that stands for two parts of the disk is how a small file claims a huge one.
                guard offset % UInt64(header.clusterBytes) == 0,
                    offset + UInt64(header.clusterBytes) <= file.bytes,
                    seen.insert(offset).inserted
                else { throw Qcow2Refusal.secondTable }
            }
            offsets.append(offset)
        }
        firstTable = offsets
    }

    private static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00

    mutating func read(
        into buffer: UnsafeMutableRawBufferPointer,
        at offset: UInt64
    ) throws -> Bool {
        let clusterBytes = UInt64(header.clusterBytes)
        precondition(offset % clusterBytes == 0, "reads begin at a cluster")
        var isWritten = false
        var done = 0
        while done < buffer.count {
            let count = min(header.clusterBytes, buffer.count - done)
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            let isData = try readCluster((offset + UInt64(done)) / clusterBytes, into: part)
            if isData, !isWritten {
                // Zero clusters before the first with data have not been filled in yet.
                UnsafeMutableRawBufferPointer(rebasing: buffer[..<done])
                    .initializeMemory(as: UInt8.self, repeating: 0)
                isWritten = true
            } else if !isData, isWritten {
                part.initializeMemory(as: UInt8.self, repeating: 0)
            }
            done += count
        }
        return isWritten
    }

    /// Reads a cluster; false when it is all zero.
    private mutating func readCluster(
        _ cluster: UInt64,
        into part: UnsafeMutableRawBufferPointer
    ) throws -> Bool {
        let entries = UInt64(header.secondTableEntries)
        let tableOffset = firstTable[Int(cluster / entries)]
        guard tableOffset != 0 else { return false }
        try load(table: tableOffset)
        let entry = cached.entries[Int(cluster % entries)]
        if entry & 1 << 62 != 0 {
            try spend(header.clusterBytes / Self.packedRatioMax)
            try unpack(entry, into: part)
            return true
        }
        guard entry & 0x3f00_0000_0000_01fe == 0 else { throw Qcow2Refusal.cluster }
        if entry & 1 != 0 {
            guard header.version == 3 else { throw Qcow2Refusal.cluster }
            return false
        }
        let offset = entry & Self.offsetMask
        guard offset != 0 else { return false }
        guard offset % UInt64(header.clusterBytes) == 0, offset < file.bytes else {
            throw Qcow2Refusal.cluster
        }
        try spend(header.clusterBytes)
        try file.read(into: part, at: offset)
        return true
    }

    /// No compressed cluster is smaller: deflate reaches 1:1032, zstd more in theory only.
    private static let packedRatioMax = 32_768
    private static let packedBytesMin = 16

    /// Counts what a cluster takes in the file.
    ///
    /// A small file whose entries all point at the same cluster claims a huge disk, which would keep us
    /// unpacking for hours. QEMU never refers to one cluster twice from one disk.
    private mutating func spend(_ bytes: Int) throws {
        neededBytes += UInt64(max(bytes, Self.packedBytesMin))
        guard neededBytes <= file.bytes + UInt64(header.clusterBytes) else {
            throw Qcow2Refusal.cluster
        }
    }

    private mutating func load(table offset: UInt64) throws {
        guard cached.offset != offset else { return }
        let bytes = try file.read(header.clusterBytes, at: offset)
        cached = (
            offset,
            (0..<header.secondTableEntries).map { bytes.bigEndian64(at: $0 * 8) }
        )
    }

    /// Unpacks a compressed cluster.
    private mutating func unpack(
        _ entry: UInt64,
        into part: UnsafeMutableRawBufferPointer
    ) throws {
        let offsetBits = 62 - (header.clusterBits - 8)
        let offset = entry & (1 << UInt64(offsetBits) - 1)
        let sectors = (entry & (1 << 62 - 1)) >> UInt64(offsetBits)
        let count = Int((sectors + 1) * 512 - offset & 511)
        guard offset < file.bytes, count <= 2 * header.clusterBytes else {
            throw Qcow2Refusal.cluster
        }
        // The last sector of the file may be cut short.
        packed = try file.read(Int(min(UInt64(count), file.bytes - offset)), at: offset)
        let whole = try Unpacker.unpack(
            packed,
            header.compression,
            bytes: header.clusterBytes
        )
        whole.withUnsafeBytes { part.copyMemory(from: .init(rebasing: $0[..<part.count])) }
    }
}
