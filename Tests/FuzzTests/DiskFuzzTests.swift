import Basics
import CZstd
import Foundation
import Glibc
import Protocol
import Synchronization
import Testing

@testable import AgentSteps
@testable import AgentSystem

/// A disk that is an array.
private final class ArrayDisk: Disk, DiskAccess {
    let geometry: DiskGeometry
    private let content: Mutex<[UInt8]>

    init(_ content: [UInt8]) {
        let whole = content.count / 512 * 512
        geometry = DiskGeometry(
            path: "/dev/vda",
            bytes: Int64(whole),
            blockBytes: 512,
            clearsQuickly: true
        )
        self.content = Mutex(Array(content[..<whole]))
    }

    func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk { self }

    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        guard offset >= 0, offset + Int64(bytes.count) <= geometry.bytes else {
            throw SystemFailure("read", code: EIO)
        }
        let start = Int(offset)
        let part = content.withLock { Array($0[start..<(start + bytes.count)]) }
        bytes.copyBytes(from: part)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        guard offset >= 0, offset + Int64(bytes.count) <= geometry.bytes else {
            throw SystemFailure("write", code: EIO)
        }
        let part = Array(bytes)
        let start = Int(offset)
        content.withLock { $0.replaceSubrange(start..<(start + part.count), with: part) }
    }

    func clear(_ range: Range<Int64>, by method: ClearMethod) throws(SystemFailure) {
        let zeros = AlignedBuffer(bytes: range.count)
        try write(UnsafeRawBufferPointer(zeros.bytes), at: range.lowerBound)
    }

    func flush() throws(SystemFailure) {}
    func rereadPartitions() throws(SystemFailure) {}
}

/// The first blocks of a disk with two partitions.
private func tableHead(diskBytes: Int, _ partitions: [(Int, Int)]) -> [UInt8] {
    let blocks = UInt64(diskBytes / 512)
    var entries: [UInt8] = []
    for (index, range) in partitions.enumerated() {
        entries += (index == 0 ? GUID.efiSystem : GUID.linuxFileSystem).bytes
        entries += [UInt8](repeating: UInt8(index + 1), count: 16)
        entries += littleEndian(UInt64(range.0)) + littleEndian(UInt64(range.1))
        entries += littleEndian(UInt64(0)) + [UInt8](repeating: 0, count: 72)
    }
    entries += [UInt8](repeating: 0, count: 16_384 - entries.count)
    var header = Array("EFI PART".utf8) + littleEndian(UInt32(0x10000)) + littleEndian(UInt32(92))
    header += littleEndian(UInt64(0)) + littleEndian(UInt64(1)) + littleEndian(blocks - 1)
    header += littleEndian(UInt64(34)) + littleEndian(blocks - 34)
    header += [UInt8](repeating: 0xd1, count: 16) + littleEndian(UInt64(2))
    header += littleEndian(UInt32(128)) + littleEndian(UInt32(128)) + littleEndian(UInt32(0))
    var head = [UInt8](repeating: 0, count: 1024) + entries
    head.replaceSubrange(512..<(512 + header.count), with: header)
    head.replaceSubrange(446..<458, with: [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0])
    head.replaceSubrange(510..<512, with: [0x55, 0xaa])
    return withChecksums(head)
}

/// Makes the checksums right again, so that changes reach what lies behind them.
private func withChecksums(_ head: [UInt8]) -> [UInt8] {
    guard head.count >= 1024 else { return head }
    var head = head
    func number(_ offset: Int) -> Int {
        (0..<4).reduce(0) { $0 | Int(head[512 + offset + $1]) << (8 * $1) }
    }
    let (block, count) = (number(72), number(80))
    if block < 1000, count < 2000, block * 512 + count * 128 <= head.count {
        let entries = Array(head[(block * 512)..<(block * 512 + count * 128)])
        head.replaceSubrange(600..<604, with: littleEndian(crc32(entries)))
    }
    let size = number(12)
    guard (92...512).contains(size) else { return head }
    head.replaceSubrange(528..<532, with: [0, 0, 0, 0])
    let checksum = crc32(Array(head[512..<(512 + size)]))
    head.replaceSubrange(528..<532, with: littleEndian(checksum))
    return head
}

extension Fuzzing {
    struct `What lies on disks and in images` {
        @Test func `partition tables`() async throws {
            let diskBytes = 64 << 20
            let samples = [tableHead(diskBytes: diskBytes, [(2048, 4095), (4096, 130_000)])]
            let outcome = try await Fuzzer("partition-tables", samples, iterations: 600).run {
                input in
                let head = withChecksums(input)
                guard
                    var table = try? PartitionTable(
                        head: head,
                        blockBytes: 512,
                        bytes: Int64(diskBytes)
                    )
                else { return .refused }
                try check(&table, head)
                return .taken
            }
            #expect(outcome.taken > 20, "the checksums keep everything out")
        }

        @Test func `msdos tables and superblocks`() async throws {
            let bytes = Int64(64 << 20)
            var table = try MasterBootRecord(emptyOn: bytes, blockBytes: 512, diskID: 7)
            for size in [8 << 20, 4 << 20] {
                _ = try table.append(
                    name: "p",
                    type: 0x83,
                    bytes: Int64(size),
                    isActive: false
                )
            }
            var head = [UInt8](repeating: 0, count: 2048)
            table.place(into: &head)
            head.replaceSubrange(1080..<1082, with: [0x53, 0xef])
            head.replaceSubrange(1128..<1144, with: repeatElement(0x41, count: 16))
            let outcome = try await Fuzzer("msdos-tables", [head]).run { input in
                let allowed = Set("0123456789abcdef-")
                if let identity = FileSystemIdentity(head: input) {
                    try demand(identity.uuid.count == 36, "a UUID has another length")
                    try demand(identity.uuid.allSatisfy(allowed.contains), "no UUID")
                }
                guard
                    let table = try? MasterBootRecord(head: input, blockBytes: 512, bytes: bytes)
                else { return .refused }
                let ranges = table.partitions.map { table.range(of: $0.entry) }
                    .sorted { $0.lowerBound < $1.lowerBound }
                for (left, right) in zip(ranges, ranges.dropFirst()) {
                    try demand(left.upperBound <= right.lowerBound, "two overlap")
                }
                try demand(ranges.allSatisfy { $0.upperBound <= bytes }, "one lies outside")
                var moved = input
                table.place(into: &moved)
                let again = try MasterBootRecord(head: moved, blockBytes: 512, bytes: bytes)
                try demand(again == table, "it is read differently")
                return .taken
            }
            #expect(outcome.taken > 20)
        }

        /// What is taken can be moved to a larger disk and is read there as it was.
        private func check(_ table: inout PartitionTable, _ head: [UInt8]) throws {
            let before = table.partitions.map(\.partition)
            let bytes = Int64(256 << 20)
            guard (try? table.stretch(over: bytes)) != nil else { return }
            _ = try? table.addLast(
                name: "config-2",
                type: .linuxFileSystem,
                id: GUID(random: [UInt8](repeating: 0x5a, count: 16)),
                bytes: 64 << 20
            )
            var moved = head + [UInt8](repeating: 0, count: PartitionTable.headBytesMax)
            table.place(into: &moved)
            let again = try PartitionTable(head: moved, blockBytes: 512, bytes: bytes)
            let after = again.partitions.map(\.partition)
            // One of the drive's name makes way for the drive.
            let kept = before.filter { $0.name != "config-2" }
            try demand(kept.allSatisfy(after.contains), "a partition is lost")
            try demand(after.allSatisfy { $0.lastBlock <= again.lastUsable }, "one lies outside")
            try demand(table.tailOffset + Int64(table.tail.count) == bytes, "the backup lies wrong")
        }

        @Test func `disks whose metadata is erased`() async throws {
            let table = tableHead(diskBytes: 1 << 18, [(64, 127), (128, 400)])
            let samples = [table + [UInt8](repeating: 1, count: 1 << 18 - table.count)]
            try await Fuzzer("erased-disks", samples, iterations: 300).run { input in
                guard input.count >= 4096 else { return .refused }
                let disk = ArrayDisk(withChecksums(input))
                let ranges = EraseMetadata.ranges(of: disk)
                try demand(ranges.first?.lowerBound == 0, "the beginning is left out")
                try demand(ranges.last?.upperBound == disk.geometry.bytes, "the end is left out")
                for (one, next) in zip(ranges, ranges.dropFirst()) {
                    try demand(one.upperBound < next.lowerBound, "ranges overlap")
                }
                return .taken
            }
        }

        @Test func `config drives`() async throws {
            let token = Data(repeating: 5, count: 32).base64EncodedString()
            let image = try ConfigDriveImage(
                files: [
                    "meta_data.json": Array(#"{"hostname":"c0"}"#.utf8),
                    "rdo/agent.json": Array(#"{"token": "\#(token)", "address": "::1"}"#.utf8),
                ],
                time: Timestamp(seconds: 1_800_000_000)
            )
            let words = ["\"token\"", "CD001", "config-2", "NM", ":", "\""]
            try await Fuzzer("config-drives", [image.bytes], words: words, iterations: 6_000)
                .run { input in
                    let disk = ArrayDisk(input)
                    guard let drive = try? ConfigDrive("/dev/vda", disks: disk) else {
                        return .refused
                    }
                    _ = try? drive.file("openstack/latest/meta_data.json")
                    guard drive.hasToken else { return input == image.bytes ? .refused : .taken }
                    try drive.forgetToken()
                    try demand(!drive.hasToken, "the token is still there")
                    return .taken
                }
        }

        @Test func `manifests of images`() async throws {
            let digest = String(repeating: "ab", count: 32)
            let sample = """
                {"version":1,"image_bytes":1048576,"chunk_bytes":65536,"extents":[\
                {"offset":0,"bytes":65536,"sha256":"\(digest)"},\
                {"offset":983040,"bytes":65536,"sha256":"\(digest)"}]}
                """
            let words = [#""offset":"#, #","bytes":65536"#, "65536", "131072", "-65536", "[[[[[["]
            try await Fuzzer("manifests", [Array(sample.utf8)], words: words, iterations: 6_000)
                .run { input in
                    guard let manifest = try? AgentSteps.ImageManifest(json: input) else {
                        return .refused
                    }
                    var end: Int64 = 0
                    let ranges = manifest.extents.map(\.range) + manifest.holes
                    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
                        try demand(range.lowerBound == end, "chunks and holes do not fit")
                        end = range.upperBound
                    }
                    try demand(end == manifest.imageBytes, "the image is not covered")
                    return .taken
                }
        }

        @Test func `packed chunks`() async throws {
            let raw = (0..<4096).map { UInt8(truncatingIfNeeded: $0 / 7) }
            var space = [UInt8](repeating: 0, count: ZSTD_compressBound(raw.count))
            let count = ZSTD_compress(&space, space.count, raw, raw.count, 3)
            let packed = Array(space[..<count])
            let decoder = ChunkDecoder()
            let guarded = AlignedBuffer(bytes: 3 * 4096)
            try await Fuzzer("packed-chunks", [packed]).run { input in
                guarded.bytes.initializeMemory(as: UInt8.self, repeating: 0xa5)
                let isDone = (try? decoder.decode(input, into: guarded.part(4096..<8192))) != nil
                for place in [0..<4096, 8192..<(3 * 4096)] {
                    let isWhole = guarded.part(place).allSatisfy { $0 == 0xa5 }
                    try demand(isWhole, "it writes beyond its memory")
                }
                return isDone ? .taken : .refused
            }
        }

        @Test func `boot entries of firmware`() async throws {
            let sample: [UInt8] = [1, 0, 0, 0, 4, 0] + Array("R\u{0}D\u{0}\u{0}\u{0}".utf8)
            try await Fuzzer("boot-entries", [sample, [], [7, 0, 1, 0, 3]], iterations: 6_000)
                .run { input in
                    let variables = FixedVariables([
                        "BootOrder": input, "Boot0000": input, "Boot000A": Array(input.reversed()),
                    ])
                    let partition = Partition(
                        type: .efiSystem,
                        id: .unused,
                        firstBlock: 2048,
                        lastBlock: 4095,
                        attributes: 0,
                        name: "esp"
                    )
                    let name = try variables.bootFirst(number: 1, partition: partition)
                    let order = variables.value("BootOrder") ?? []
                    let index = try #require(UInt16(name.dropFirst(4), radix: 16))
                    try demand(order.starts(with: littleEndian(index)), "ours is not the first")
                    try demand(
                        try variables.bootFirst(number: 1, partition: partition) == name,
                        "a second entry is made"
                    )
                    return .taken
                }
        }
    }
}

private final class FixedVariables: FirmwareVariables {
    private let values: Mutex<[String: [UInt8]]>

    init(_ values: [String: [UInt8]]) { self.values = Mutex(values) }

    func names() -> [String] { values.withLock { $0.keys.sorted() } }
    func value(_ name: String) -> [UInt8]? { values.withLock { $0[name] } }
    func set(_ name: String, to value: [UInt8]) throws(SystemFailure) {
        values.withLock { $0[name] = value }
    }
}
