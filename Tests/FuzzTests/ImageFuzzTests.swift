import Basics
import Foundation
import Glibc
import Protocol
import Testing

@testable import Images

/// A file without a name that holds `bytes`.
private func spooled(_ bytes: [UInt8]) throws -> SpoolHandle {
    let file = memfd("rdo-fuzz")
    let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    try demand(file >= 0 && count == bytes.count, "the test has no file")
    return SpoolHandle(descriptor: file, bytes: UInt64(bytes.count))
}

private func memfd(_ name: String) -> Int32 {
    var template = Array("/tmp/\(name)-XXXXXX".utf8CString)
    let file = mkstemp(&template)
    unlink(template)
    return file
}

private let diskBytes: UInt64 = 64 << 10

/// Small files with everything in them: data, deflate and zstd clusters, zero clusters.
private let files: [[UInt8]] = {
    var plain = Qcow2Builder(clusterBits: 9, diskBytes: diskBytes)
    plain.clusters[0] = .data(noise(512, seed: 1))
    plain.clusters[1] = .deflate(Array(repeating: 9, count: 512))
    plain.clusters[2] = .zeroFlag
    plain.extensions = [(0x6803_f857, Array(repeating: 0, count: 48))]
    var packed = Qcow2Builder(clusterBits: 9, diskBytes: diskBytes)
    packed.clusters[5] = .zstd(Array(repeating: 3, count: 512))
    packed.clusters[127] = .data(noise(512, seed: 2))
    var old = Qcow2Builder(version: 2, clusterBits: 12, diskBytes: diskBytes)
    old.clusters[3] = .data(noise(4096, seed: 3))
    return [plain, packed, old].map { $0.build() }
}()

private let words = ["QFI\u{fb}", "raw", "/etc/shadow", "json:{}"]

extension Fuzzing {
    struct `Images that users upload` {
        @Test func `headers of qcow2 files`() async throws {
            let samples = files.map { Array($0.prefix(1024)) }
            let file = UInt64(files.map(\.count).max() ?? 0)
            try await Fuzzer("qcow2-headers", samples, words: words).run { input in
                let header: Qcow2Header
                do {
                    header = try Qcow2Header(input, fileBytes: file, diskBytesMax: 1 << 30)
                } catch { return .refused }
                try demand(input.bigEndian64(at: 8) == 0, "a backing file is taken")
                try demand(input.bigEndian32(at: 32) == 0, "an encrypted file is taken")
                if header.version == 3 {
                    try demand(input.bigEndian64(at: 72) & ~0b1000 == 0, "an unknown feature")
                }
                let table = UInt64(header.firstTableEntries) * 8
                try demand(header.firstTableOffset + table <= file, "the table lies outside")
                try demand(header.diskBytes <= 1 << 30, "the disk is too large")
                return .taken
            }
        }

        @Test func `whole qcow2 files`() async throws {
            try await Fuzzer("qcow2-files", files, words: words, iterations: 3_000).run { input in
                do {
                    var reader = try Qcow2Reader(spooled(input), diskBytesMax: 1 << 20)
                    try demand(reader.diskBytes <= 1 << 20, "the disk is too large")
                    // As the store reads: chunks of 4 MiB, of which the disk fills a part of one.
                    var part = [UInt8](repeating: 0x55, count: Int(reader.diskBytes))
                    let isData = try part.withUnsafeMutableBytes {
                        try reader.read(into: $0, at: 0)
                    }
                    let isUntouched = isData || part.allSatisfy { $0 == 0x55 }
                    try demand(isUntouched, "a hole is written into the buffer")
                    return .taken
                } catch let refusal as Qcow2Refusal {
                    let message = refusal.fault.message
                    try demand(message.hasPrefix("cannot take the qcow2 file: "), message)
                    return .refused
                }
            }
        }

        @Test func `the chunks that become of them`() async throws {
            let directory = NSTemporaryDirectory() + "rdo-fuzz-chunks-\(getpid())"
            defer { _ = try? FileManager.default.removeItem(atPath: directory) }
            let store = try ChunkStore(directory: directory)
            try await Fuzzer("ingest", files, words: words, iterations: 120).run { input in
                let file = try spooled(input)
                do {
                    let reader = try Qcow2Reader(file, diskBytesMax: 1 << 20)
                    let manifest = try await Ingest.run(
                        name: "fuzz",
                        diskBytes: reader.diskBytes,
                        pins: PinList(store: store)
                    ) { try Qcow2Reader(file, diskBytesMax: 1 << 20) }
                    for extent in manifest.extents {
                        try demand(store.has(extent.sha256), "a chunk is missing")
                    }
                    try demand(
                        try isEmpty("\(directory)/incoming"),
                        "half a chunk is left behind"
                    )
                    return .taken
                } catch is Qcow2Refusal { return .refused }
            }
        }

        private func isEmpty(_ directory: String) throws -> Bool {
            try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty
        }

        @Test func `formats that are no disk`() async throws {
            let samples = [files[0], [UInt8](repeating: 0, count: 1024)]
            let magic = [
                "KDMV", "conectix", "vhdxfile", "# Disk DescriptorFile", "QFI\u{fb}", "BZh",
            ]
            try await Fuzzer("formats", samples, words: magic).run { input in
                let found = FoundFormat.detect(
                    head: Array(input.prefix(FoundFormat.headBytes)),
                    tail: Array(input.suffix(FoundFormat.tailBytes))
                )
                if input.starts(with: [0x51, 0x46, 0x49, 0xfb]) {
                    try demand(found == .qcow2, "a qcow2 file passes for \(found)")
                }
                if input.starts(with: "KDMV".utf8) {
                    try demand(found == .foreign("vmdk"), "a VMDK file passes for \(found)")
                }
                return found == .raw || found == .qcow2 ? .taken : .refused
            }
        }
    }
}
