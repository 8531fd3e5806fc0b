import Basics

/// Why a qcow2 file is not taken.
enum Qcow2Refusal: Error, Equatable {
    case truncated
    case notQcow2
    case version(UInt32)
    case backingFile
    case dataFile
    case encryption
    case dirty
    case corrupt
    case feature(bit: Int)
    case headerLength(UInt32)
    case clusterBits(UInt32)
    case compression(UInt8)
    case refcountOrder(UInt32)
    case size(UInt64)
    case extensions
    /// The first-level table is too small, too large or outside the file.
    case firstTable
    /// A second-level table is outside the file, misaligned, shared or has reserved bits.
    case secondTable
    /// A cluster is outside the file or its entry has reserved bits.
    case cluster
    /// A compressed cluster does not unpack to a cluster.
    case packed
}

extension Qcow2Refusal: FaultConvertible {
    var fault: Fault {
        let reason =
            switch self {
            case .truncated: "it ends inside its header; upload the whole file"
            case .notQcow2: "it does not begin like a qcow2 file; declare the format that it has"
            case .version(let version): "its version is \(version); only 2 and 3 are taken"
            case .backingFile:
                "it names a backing file; flatten it with “qemu-img convert -O qcow2”"
            case .dataFile:
                "its data is in an external file; flatten it with “qemu-img convert -O qcow2”"
            case .encryption: "it is encrypted; decrypt it first"
            case .dirty: "it was not closed cleanly; repair it with “qemu-img check -r all”"
            case .corrupt: "it is marked as corrupt; make it again"
            case .feature(let bit):
                "it needs feature \(bit), which is not known here; convert it with “qemu-img convert -O qcow2 -o compat=1.1”"
            case .headerLength(let length): "its header claims \(length) bytes"
            case .clusterBits(let bits): "its clusters have 2^\(bits) bytes; 2^9 to 2^21 are taken"
            case .compression(let type): "its compression type \(type) is not known"
            case .refcountOrder(let order): "its reference counts have order \(order)"
            case .size(let bytes):
                "its disk of \(bytes) bytes is empty, too large or no whole sectors"
            case .extensions: "its header extensions are malformed"
            case .firstTable: "its first-level table is malformed"
            case .secondTable: "a second-level table is malformed"
            case .cluster: "a cluster lies outside the file or is malformed; upload the whole file"
            case .packed: "a compressed cluster cannot be unpacked"
            }
        return Fault(.invalid, "cannot take the qcow2 file: \(reason)")
    }
}

/// The header of a qcow2 file (QEMU's docs/interop/qcow2.rst), checked strictly.
///
/// Whatever would make a reader look into another file, or is not fully understood here, is refused.
struct Qcow2Header: Equatable {
    enum Compression: Equatable {
        case deflate, zstd
    }

    /// Bytes that `init` wants to see: a header and its extensions fill a cluster at most.
    static let bytesMax = 1 << 16

    let version: UInt32
    let clusterBits: UInt32
    /// The disk's size.
    let diskBytes: UInt64
    let firstTableEntries: Int
    let firstTableOffset: UInt64
    let compression: Compression

    var clusterBytes: Int { 1 << clusterBits }
    /// Entries of a second-level table.
    var secondTableEntries: Int { clusterBytes / 8 }

    /// Reads and checks a header.
    ///
    /// `bytes` is the file's beginning, as much as there is up to `bytesMax`.
    init(
        _ bytes: [UInt8],
        fileBytes: UInt64,
        diskBytesMax: UInt64
    ) throws(Qcow2Refusal) {
        guard bytes.starts(with: [0x51, 0x46, 0x49, 0xfb]) else { throw .notQcow2 }
        guard bytes.count >= 72 else { throw .truncated }
        version = bytes.bigEndian32(at: 4)
        guard version == 2 || version == 3 else { throw .version(version) }
        guard bytes.bigEndian64(at: 8) == 0, bytes.bigEndian32(at: 16) == 0 else {
            throw .backingFile
        }
        clusterBits = bytes.bigEndian32(at: 20)
        guard (9...21).contains(clusterBits) else { throw .clusterBits(clusterBits) }
        let clusterBytes = UInt64(1) << clusterBits
        diskBytes = bytes.bigEndian64(at: 24)
        guard diskBytes > 0, diskBytes % 512 == 0, diskBytes <= diskBytesMax else {
            throw .size(diskBytes)
        }
        guard bytes.bigEndian32(at: 32) == 0 else { throw .encryption }

        var headerBytes = 72
        var found = Compression.deflate
        if version == 3 {
            guard bytes.count >= 104 else { throw .truncated }
            try Self.checkFeatures(bytes.bigEndian64(at: 72))
            let order = bytes.bigEndian32(at: 96)
            guard order <= 6 else { throw .refcountOrder(order) }
            let length = bytes.bigEndian32(at: 100)
            guard length >= 104, length % 8 == 0, UInt64(length) <= clusterBytes,
                length <= Self.bytesMax, length <= bytes.count
            else { throw .headerLength(length) }
            headerBytes = Int(length)
            let type = length > 104 ? bytes[104] : 0
            let hasTypeBit = bytes.bigEndian64(at: 72) & 0b1000 != 0
            switch (type, hasTypeBit) {
            case (0, false), (0, true): break
            case (1, true): found = .zstd
            default: throw .compression(type)
            }
        }
        compression = found
        try Self.checkExtensions(
            bytes,
            from: headerBytes,
            to: min(bytes.count, Int(clusterBytes))
        )

        // The first-level table: as long as the disk needs it, and not longer than QEMU allows (32 MiB).
        let covered = clusterBytes * (clusterBytes / 8)
        let needed = (diskBytes + covered - 1) / covered
        let entries = UInt64(bytes.bigEndian32(at: 36))
        firstTableOffset = bytes.bigEndian64(at: 40)
        guard entries >= needed, entries * 8 <= 32 << 20, firstTableOffset > 0,
            firstTableOffset % clusterBytes == 0,
            firstTableOffset <= fileBytes, entries * 8 <= fileBytes - firstTableOffset
        else { throw .firstTable }
        firstTableEntries = Int(needed)
    }

    private static func checkFeatures(_ incompatible: UInt64) throws(Qcow2Refusal) {
        if incompatible & 0b1 != 0 { throw .dirty }
        if incompatible & 0b10 != 0 { throw .corrupt }
        if incompatible & 0b100 != 0 { throw .dataFile }
        let unknown = incompatible & ~0b1000
        guard unknown == 0 else { throw .feature(bit: unknown.trailingZeroBitCount) }
    }

    private static func checkExtensions(
        _ bytes: [UInt8],
        from start: Int,
        to end: Int
    ) throws(Qcow2Refusal) {
        var offset = start
        while offset + 8 <= end {
            let type = bytes.bigEndian32(at: offset)
            let length = Int(bytes.bigEndian32(at: offset + 4))
            switch type {
            case 0: return
            case 0xe279_2aca: throw .backingFile
            case 0x4441_5441: throw .dataFile
            case 0x0537_be77: throw .encryption
            default: break
            }
            guard length <= end - offset - 8 else { throw .extensions }
            offset += 8 + (length + 7) / 8 * 8
        }
    }
}

extension [UInt8] {
    /// A big-endian number; the caller has checked that it is inside.
    func bigEndian32(at offset: Int) -> UInt32 {
        self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// A big-endian number; the caller has checked that it is inside.
    func bigEndian64(at offset: Int) -> UInt64 {
        self[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
