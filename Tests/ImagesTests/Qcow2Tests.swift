import Basics
import CZstd
import Foundation
import Glibc
import Testing

@testable import Images

/// A file without a name that holds `bytes`.
func spooled(_ bytes: [UInt8]) throws -> SpoolHandle {
    var template = Array("/tmp/rdo-spool-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    unlink(template)
    guard descriptor >= 0 else { throw Fault(.unavailable, "cannot make a file") }
    let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    precondition(count == bytes.count, "the file takes the bytes")
    return SpoolHandle(descriptor: descriptor, bytes: UInt64(bytes.count))
}

@Suite struct Qcow2Tests {
    /// Reads the whole disk as the store does, in chunks.
    private func read(_ file: [UInt8], step: Int = 4 << 20) throws -> [UInt8] {
        var reader = try Qcow2Reader(spooled(file), diskBytesMax: 1 << 40)
        var disk: [UInt8] = []
        while disk.count < Int(reader.diskBytes) {
            let count = min(step, Int(reader.diskBytes) - disk.count)
            var part = [UInt8](repeating: 0x55, count: count)
            let isData = try part.withUnsafeMutableBytes {
                try reader.read(into: $0, at: UInt64(disk.count))
            }
            disk += isData ? part : [UInt8](repeating: 0, count: count)
        }
        return disk
    }

    @Test(
        arguments: [
            (2, 16, 8 << 20), (3, 16, 8 << 20), (3, 9, 64 << 10), (3, 12, 1 << 20),
            (3, 21, 8 << 20),
            (3, 16, (1 << 20) + 512),
        ] as [(UInt32, UInt32, UInt64)]
    )
    func `the disk is what was written`(version: UInt32, bits: UInt32, bytes: UInt64) throws {
        var builder = Qcow2Builder(version: version, clusterBits: bits, diskBytes: bytes)
        let size = builder.clusterBytes
        builder.clusters[0] = .data(noise(size, seed: 1))
        builder.clusters[2] = .deflate(Array(repeating: 0x41, count: size))
        if version == 3 { builder.clusters[1] = .zeroFlag }
        let last = (Int(bytes) - 1) / size
        builder.clusters[last] = .data(noise(size, seed: 2))
        #expect(try read(builder.build()) == builder.disk())
    }

    @Test func `zstd clusters are unpacked`() throws {
        var builder = Qcow2Builder()
        builder.clusters[5] = .zstd(noise(1000, seed: 1) + Array(repeating: 7, count: 64536))
        #expect(try read(builder.build()) == builder.disk())
    }

    @Test func `a cluster that the end of the file cuts short reads as zero there`() throws {
        var builder = Qcow2Builder()
        builder.clusters[3] = .data([1, 2, 3])
        let file = Array(builder.build().dropLast(60_000))
        #expect(try read(file) == builder.disk())
    }

    private static let refusals: [(String, Qcow2Refusal, @Sendable (inout Qcow2Builder) -> Void)] =
        [
            (
                "backing file", .backingFile,
                { $0.patches = [(8, bigEndian64(0x200)), (16, bigEndian32(11))] }
            ),
            (
                "backing file without a length", .backingFile,
                { $0.patches = [(8, bigEndian64(0x200))] }
            ),
            (
                "backing format", .backingFile,
                { $0.extensions = [(0xe279_2aca, Array("raw".utf8))] }
            ),
            ("external data file", .dataFile, { $0.patches = [(72, bigEndian64(4))] }),
            (
                "name of a data file", .dataFile,
                { $0.extensions = [(0x4441_5441, Array("/etc/shadow".utf8))] }
            ),
            ("encryption", .encryption, { $0.patches = [(32, bigEndian32(2))] }),
            (
                "encryption header", .encryption,
                { $0.extensions = [(0x0537_be77, Array(repeating: 0, count: 16))] }
            ),
            ("dirty", .dirty, { $0.patches = [(72, bigEndian64(1))] }),
            ("corrupt", .corrupt, { $0.patches = [(72, bigEndian64(2))] }),
            ("extended entries", .feature(bit: 4), { $0.patches = [(72, bigEndian64(16))] }),
            ("unknown feature", .feature(bit: 63), { $0.patches = [(72, bigEndian64(1 << 63))] }),
            ("version 1", .version(1), { $0.patches = [(4, bigEndian32(1))] }),
            ("version 4", .version(4), { $0.patches = [(4, bigEndian32(4))] }),
            ("tiny clusters", .clusterBits(8), { $0.patches = [(20, bigEndian32(8))] }),
            ("huge clusters", .clusterBits(60), { $0.patches = [(20, bigEndian32(60))] }),
            ("no disk", .size(0), { $0.patches = [(24, bigEndian64(0))] }),
            (
                "half a sector", .size(8 << 20 | 1),
                { $0.patches = [(24, bigEndian64(8 << 20 | 1))] }
            ),
            ("enormous disk", .size(.max), { $0.patches = [(24, bigEndian64(.max))] }),
            ("no first table", .firstTable, { $0.patches = [(36, bigEndian32(0))] }),
            ("huge first table", .firstTable, { $0.patches = [(36, bigEndian32(.max))] }),
            ("first table outside", .firstTable, { $0.patches = [(40, bigEndian64(1 << 40))] }),
            (
                "first table at the end of numbers", .firstTable,
                { $0.patches = [(40, bigEndian64(.max - 65535))] }
            ),
            ("first table misaligned", .firstTable, { $0.patches = [(40, bigEndian64(65537))] }),
            (
                "second table outside", .secondTable,
                { $0.patches = [($0.firstTableOffset, bigEndian64(1 << 40))] }
            ),
            (
                "second table misaligned", .secondTable,
                { $0.patches = [($0.firstTableOffset, bigEndian64(66_048))] }
            ),
            (
                "second table with reserved bits", .secondTable,
                { $0.patches = [($0.firstTableOffset, bigEndian64(131_073))] }
            ),
            ("header length", .headerLength(96), { $0.patches = [(100, bigEndian32(96))] }),
            (
                "header length over the cluster", .headerLength(1 << 20),
                { $0.patches = [(100, bigEndian32(1 << 20))] }
            ),
            ("compression type", .compression(2), { $0.patches = [(104, [2])] }),
            ("reference counts", .refcountOrder(7), { $0.patches = [(96, bigEndian32(7))] }),
            (
                "extension over the end", .extensions,
                { $0.patches = [(112, bigEndian32(0x1234_5678)), (116, bigEndian32(.max))] }
            ),
        ]

    @Test(arguments: refusals.indices)
    func `a dangerous or malformed header is refused`(index: Int) throws {
        let (name, refusal, change) = Self.refusals[index]
        var builder = Qcow2Builder()
        builder.clusters[0] = .data([1])
        change(&builder)
        let file = builder.build()
        let found = #expect(throws: Qcow2Refusal.self, "\(name)") {
            try Qcow2Reader(spooled(file), diskBytesMax: 1 << 40)
        }
        #expect(found == refusal, "\(name)")
    }

    private static let entries: [(String, UInt64)] = [
        ("outside the file", 1 << 40), ("misaligned", 0x20200), ("reserved low bit", 0x40002),
        ("reserved high bit", 0x40000 | 1 << 58), ("compressed outside", 1 << 62 | 1 << 45),
        ("compressed rubbish", 1 << 62 | 0x10000),
    ]

    @Test(arguments: entries)
    func `a malformed cluster entry is refused when it is read`(name: String, entry: UInt64) throws
    {
        var builder = Qcow2Builder()
        builder.clusters[0] = .data([1])
        builder.patches = [(builder.secondTableOffset(0), bigEndian64(entry))]
        let file = builder.build()
        #expect(throws: Qcow2Refusal.self, "\(name)") { try read(file) }
    }

    @Test func `version 2 has no zero clusters`() throws {
        var builder = Qcow2Builder(version: 2)
        builder.clusters[0] = .zeroFlag
        let file = builder.build()
        #expect(throws: Qcow2Refusal.cluster) { try read(file) }
    }

    @Test func `two parts of the disk cannot share a table`() throws {
        var builder = Qcow2Builder(clusterBits: 9, diskBytes: 128 << 10)
        builder.patches = [
            (builder.firstTableOffset + 8, bigEndian64(UInt64(builder.secondTableOffset(0))))
        ]
        let file = builder.build()
        #expect(throws: Qcow2Refusal.secondTable) { try read(file) }
    }

    @Test func `a table that points at itself ends`() throws {
        var builder = Qcow2Builder(clusterBits: 9, diskBytes: 32 << 10)
        let table = builder.secondTableOffset(0)
        builder.patches = [(builder.secondTableOffset(0), bigEndian64(UInt64(table)))]
        // The table reads as data of the disk: only the file's own bytes, and only once.
        #expect(try read(builder.build()).count == 32 << 10)
    }

    @Test func `a file whose entries all name one cluster is refused`() throws {
        var builder = Qcow2Builder(clusterBits: 9, diskBytes: 1 << 20)
        builder.clusters[0] = .data(noise(512, seed: 1))
        builder.clusters[1] = .deflate(Array(repeating: 9, count: 512))
        let file = builder.build()
        let table = builder.secondTableOffset(0)
        for cluster in 0..<2 {
            let entry = Array(file[(table + cluster * 8)..<(table + cluster * 8 + 8)])
            var bomb = file
            for index in 0..<2048 {
                bomb.replaceSubrange((table + index * 8)..<(table + index * 8 + 8), with: entry)
            }
            #expect(throws: Qcow2Refusal.cluster) { try read(bomb) }
        }
    }

    @Test func `a compressed cluster fills a cluster and no more`() throws {
        for bytes in [511, 513, 4 << 20] {
            for pack in [Qcow2Builder.deflate, Qcow2Builder.zstd] {
                let packed = pack([UInt8](repeating: 7, count: bytes))
                for kind in [Qcow2Header.Compression.deflate, .zstd] {
                    // Too little is refused; of too much only a cluster is unpacked.
                    let found = try? Unpacker.unpack(packed, kind, bytes: 512)
                    #expect(found == nil || found?.count == 512)
                    if bytes == 511 { #expect(found == nil) }
                }
            }
        }
    }

    @Test func `a compressed cluster cannot ask for more memory than a cluster needs`() throws {
        let content = [UInt8](repeating: 7, count: 64 << 10)
        let context = try #require(ZSTD_createCCtx())
        defer { ZSTD_freeCCtx(context) }
        for (log, isTaken) in [(Int32(21), true), (22, false), (27, false)] {
            ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters)
            ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log)
            var packed = [UInt8](repeating: 0, count: 1 << 17)
            let count = packed.withUnsafeMutableBytes { output in
                content.withUnsafeBytes { input in
                    var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
                    var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
                    // In two steps, so that the size is not known when the frame's head is written.
                    ZSTD_compressStream2(context, &target, &source, ZSTD_e_flush)
                    ZSTD_compressStream2(context, &target, &source, ZSTD_e_end)
                    return target.pos
                }
            }
            // A frame that nobody can unpack says so.
            let found = try? Unpacker.unpack(Array(packed[..<count]), .zstd, bytes: content.count)
            #expect(found == (isTaken ? content : nil), "window of 2^\(log) bytes")
        }
    }

    @Test func `every cut of a file is refused or read without a trap`() throws {
        var builder = Qcow2Builder(clusterBits: 9, diskBytes: 32 << 10)
        builder.clusters[1] = .deflate(Array(repeating: 9, count: 512))
        builder.clusters[2] = .data(noise(512, seed: 3))
        let file = builder.build()
        var refused = 0
        for count in stride(from: 0, to: file.count, by: 7) {
            do { _ = try read(Array(file[..<count])) } catch is Qcow2Refusal { refused += 1 }
        }
        #expect(refused > file.count / 7 / 2)
    }

    @Test func `seeded noise in the header and tables never traps`() throws {
        var builder = Qcow2Builder(clusterBits: 9, diskBytes: 64 << 10)
        builder.clusters[1] = .deflate(Array(repeating: 9, count: 512))
        builder.clusters[2] = .data(noise(512, seed: 3))
        let file = builder.build()
        let random = SeededRandom(seed: 11)
        var refused = 0
        for _ in 0..<400 {
            var changed = file
            for _ in 0..<3 {
                changed[Int(random.number(below: 2048))] = UInt8(random.number(below: 256))
            }
            do { _ = try read(changed) } catch is Qcow2Refusal { refused += 1 }
        }
        #expect(refused > 20)
    }
}

@Suite struct ImageFormatTests {
    @Test(arguments: [
        ("QFI\u{fb}", ""), ("KDMV", "vmdk"), ("COWD", "vmdk"), ("# Disk DescriptorFile", "vmdk"),
        ("conectix", "vhd"), ("vhdxfile", "vhdx"), ("QED\0", "qed"), ("BZh9", "bzip2"),
    ])
    func `a container is known by its first bytes`(magic: String, name: String) {
        let head = magic.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
        let found = FoundFormat.detect(head: head + Array(repeating: 0, count: 500), tail: [])
        #expect(found == (name.isEmpty ? .qcow2 : .foreign(name)))
    }

    @Test func `a fixed VHD is known by its last sector`() {
        let zero = [UInt8](repeating: 0, count: 512)
        let tail = Array("conectix".utf8) + Array(repeating: 0, count: 504)
        #expect(FoundFormat.detect(head: zero, tail: tail) == .foreign("vhd"))
        #expect(FoundFormat.detect(head: zero, tail: zero) == .raw)
    }
}

@Suite struct ManifestTests {
    @Test func `the canonical text is fixed`() {
        let digest = String(repeating: "ab", count: 32)
        let manifest = ImageManifest(
            imageBytes: 9 << 20,
            extents: [.init(offset: 4 << 20, bytes: 4 << 20, sha256: digest)]
        )
        #expect(
            manifest.canonicalText == """
                {"version":1,"image_bytes":9437184,"chunk_bytes":4194304,"extents":\
                [{"offset":4194304,"bytes":4194304,"sha256":"\(digest)"}]}
                """
        )
        #expect(
            ImageManifest(imageBytes: 512, extents: []).canonicalText
                == #"{"version":1,"image_bytes":512,"chunk_bytes":4194304,"extents":[]}"#
        )
    }

    @Test(arguments: [
        ("", false), (String(repeating: "a", count: 64), true),
        (String(repeating: "A", count: 64), false),
        ("../" + String(repeating: "a", count: 61), false),
        (String(repeating: "a", count: 63), false), (String(repeating: "g", count: 64), false),
    ])
    func `only a digest is a file's name`(text: String, isOne: Bool) {
        #expect(isDigest(text) == isOne)
    }
}
