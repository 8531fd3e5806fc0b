import AgentSystem
import Basics
import Foundation
import Glibc
import Protocol
import Testing

@testable import AgentSteps

/// A disk in a sparse file, written through the same code as a block device.
private struct FileDisk {
    let scratch: Scratch
    let path: String
    static let bytes: Int64 = 96 << 20

    init() throws {
        scratch = try Scratch()
        path = "\(scratch.path)/disk"
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(file) }
        guard file >= 0, ftruncate(file, Int(Self.bytes)) == 0 else {
            throw SystemFailure("make a disk", code: errno)
        }
    }

    func open() throws -> any Disk { try SystemDisks().open(path, exclusive: true) }

    /// Bytes that the file takes on its file system.
    var allocated: Int64 {
        var facts = stat()
        return stat(path, &facts) == 0 ? Int64(facts.st_blocks) * 512 : -1
    }

    private func open(_ path: String, _ flags: Int32, _ mode: UInt32) -> Int32 {
        Glibc.open(path, flags, mode)
    }
}

struct `An image on a disk in a file` {
    private let image = SampleImage(seed: 1)

    @Test func `has a table that gdisk, sfdisk and blkid take`() async throws {
        let disk = try FileDisk()
        _ = try await WriteRig(image).write(image.order(), to: try disk.open())
        let verified = try await run("sgdisk", ["-v", disk.path])
        #expect(verified.succeeded)
        #expect(verified.outputText.contains("No problems found"), "\(verified.outputText)")
        let dump = try await run("sfdisk", ["--json", disk.path])
        let table = try JSONDecoder().decode(Dump.self, from: Data(dump.output)).partitiontable
        #expect(table.label == "gpt")
        #expect(table.partitions.map(\.name) == ["esp", "root", "config-2"])
        #expect(table.lastlba == UInt64(FileDisk.bytes / 512) - 34)
        let drive = try #require(table.partitions.last)
        #expect(drive.start % 2048 == 0)
        #expect(drive.size == UInt64(ImageLayout.driveBytes / 512))
        let probed = try await run(
            "blkid",
            ["-p", "-o", "export", "-O", "\(drive.start * 512)", disk.path]
        )
        #expect(probed.outputText.contains("TYPE=iso9660"), "\(probed.outputText)")
        #expect(probed.outputText.contains("LABEL=config-2"))
    }

    private struct Dump: Decodable {
        struct Table: Decodable {
            struct Entry: Decodable {
                let start: UInt64
                let size: UInt64
                let name: String
            }

            let label: String
            let lastlba: UInt64
            let partitions: [Entry]
        }

        let partitiontable: Table
    }

    @Test func `takes no more room than its content`() async throws {
        let disk = try FileDisk()
        let rubbish = noise(1 << 20, seed: 6)
        let file = try disk.open()
        for mebibyte in Int64(0)..<8 { try file.put(rubbish, at: mebibyte << 20) }
        try file.flush()
        _ = try await WriteRig(image).write(image.order(), to: file)
        #expect(try differences(file, from: image) == [])
        let content = Int64((image.offsets.count + 1) * SampleImage.chunkBytes)
        // The end that was zeroed and the config drive come on top.
        #expect(disk.allocated < content + (2 << 20))
    }

    @Test func `is written again with what is missing only`() async throws {
        let disk = try FileDisk()
        let file = try disk.open()
        _ = try await WriteRig(image).write(image.order(), to: file)
        let victim = Int64(image.offsets[7])
        try file.put([0xff], at: victim + 1000)
        let rig = WriteRig(image)
        let written = try await rig.write(image.order(), to: try disk.open())
        #expect(written.writtenBytes == UInt64(2 * SampleImage.chunkBytes))
        #expect(rig.server.chunksFetched.count == 2)
        #expect(try differences(file, from: image) == [])
    }

    @Test func `keeps the token until it is overwritten`() async throws {
        let disk = try FileDisk()
        _ = try await WriteRig(image).write(image.order(), to: try disk.open())
        let dump = try await run("sfdisk", ["--json", disk.path])
        let table = try JSONDecoder().decode(Dump.self, from: Data(dump.output)).partitiontable
        let start = Int64(try #require(table.partitions.last).start * 512)
        // The drive alone, as the kernel shows the partition.
        let content = try disk.open().bytes(start..<(start + (1 << 20)))
        let part = try FileDisk()
        try part.open().put(content, at: 0)
        let drive = try ConfigDrive(part.path, disks: SystemDisks())
        #expect(drive.hasToken)
        try drive.forgetToken()
        #expect(!drive.hasToken)
        let token = Array("c2VjcmV0IHRva2Vu".utf8)
        let after = try part.open().bytes(0..<Int64(1 << 20))
        #expect(after.firstRange(of: token) == nil)
        #expect(content.firstRange(of: token) != nil)
        try drive.forgetToken()
        #expect(try drive.file("rdo/agent.json") == Array(#"{"token":"AAAAAAAAAAAAAAAA"}"#.utf8))
    }
}

/// What the memory disk and the file disk have in common.
struct `A disk` {
    private func both() throws -> [any Disk] {
        [MemoryDisk(bytes: FileDisk.bytes), try FileDisk().open()]
    }

    @Test func `gives back what was written and zeros elsewhere`() throws {
        for disk in try both() {
            try disk.put([1, 2, 3], at: 1000)
            try disk.flush()
            #expect(try disk.bytes(999..<1004) == [0, 1, 2, 3, 0])
            #expect(try disk.bytes((FileDisk.bytes - 4)..<FileDisk.bytes) == [0, 0, 0, 0])
        }
    }

    @Test func `keeps what shares a block with what is put`() throws {
        for disk in try both() {
            try disk.put([UInt8](repeating: 7, count: 1024), at: 0)
            try disk.put([9], at: 511)
            #expect(try disk.bytes(509..<514) == [7, 7, 9, 7, 7])
        }
    }

    @Test func `reads as zero where it was cleared`() throws {
        for disk in try both() {
            try disk.put([UInt8](repeating: 7, count: 4096), at: 0)
            try disk.clear(512..<1024, by: .zero)
            #expect(try disk.bytes(511..<1025) == [7] + [UInt8](repeating: 0, count: 512) + [7])
        }
    }

    @Test func `ends where it ends`() throws {
        for disk in try both() {
            #expect(throws: SystemFailure.self) {
                try disk.bytes((FileDisk.bytes - 1)..<(FileDisk.bytes + 1))
            }
            #expect(throws: SystemFailure.self) { try disk.put([1], at: FileDisk.bytes) }
            #expect(disk.geometry.bytes == FileDisk.bytes)
        }
    }

    @Test func `cannot be a directory or something that is not there`() throws {
        let scratch = try Scratch()
        #expect(throws: SystemFailure.self) {
            try SystemDisks().open(scratch.path, exclusive: true)
        }
        #expect(throws: SystemFailure.self) {
            try SystemDisks().open("\(scratch.path)/none", exclusive: true)
        }
    }
}
