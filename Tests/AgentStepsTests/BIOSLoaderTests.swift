import AgentSystem
import Basics
import Protocol
import Testing

@testable import AgentSteps

/// GRUB's two files, as far as the agent looks at them.
enum LoaderSample {
    static let sectors = 6

    static let bootSector: [UInt8] = {
        var bytes = noise(512, seed: 70)
        bytes[510] = 0x55
        bytes[511] = 0xaa
        return bytes
    }()

    static let core: [UInt8] = {
        var bytes = noise(sectors * 512, seed: 71)
        bytes.replaceSubrange(500..<512, with: [2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0x20, 0x08])
        bytes.replaceSubrange(0x218..<0x21b, with: [0xff, 0xff, 0xff])
        return bytes
    }()

    static func file(_ path: String) -> [UInt8]? {
        switch path {
        case "/usr/lib/rdo/bios/boot.img": bootSector
        case "/usr/lib/rdo/bios/core.img": core
        default: nil
        }
    }
}

private let mebibyte: Int64 = 1 << 20
private let menu = BootMenu(
    fileSystem: "0123abcd-0000-4000-8000-00000000beef",
    folder: "/boot/grub",
    hint: "gpt2"
)

/// A disk with a table of either kind, in whose other bytes something stands.
private func disk(_ table: DiskTable, bytes: Int64 = 16 << 20) throws -> MemoryDisk {
    let disk = MemoryDisk(bytes: bytes)
    var head = noise(Int(4 * mebibyte), seed: 3)
    table.place(into: &head)
    try disk.put(head, at: 0)
    try disk.put(table.tail, at: table.tailOffset)
    return disk
}

private func gpt(_ parts: [(DiskTable.Purpose, Int64)]) throws -> DiskTable {
    var table = DiskTable.gpt(
        try PartitionTable(
            emptyOn: 16 << 20,
            blockBytes: 512,
            diskID: GUID(bytes: noise(16, seed: 1))
        )
    )
    for (number, part) in parts.enumerated() {
        _ = try table.append(
            name: "p\(number)",
            part.0,
            id: GUID(bytes: noise(16, seed: UInt64(number + 2))),
            bytes: part.1
        )
    }
    return table
}

private func msdos(_ count: Int) throws -> DiskTable {
    var table = DiskTable.msdos(
        try MasterBootRecord(emptyOn: 16 << 20, blockBytes: 512, diskID: 0x1234_5678)
    )
    for number in 0..<count {
        _ = try table.append(
            name: "p\(number)",
            .root,
            id: GUID(bytes: noise(16, seed: 1)),
            bytes: mebibyte
        )
    }
    return table
}

private func number(_ bytes: [UInt8]) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

struct `GRUB on disks for BIOS` {
    private let loader = BIOSLoader(tree: FileTree(files: LoaderSample.file))

    @Test func `lies in the BIOS boot partition of a disk with GUIDs, wherever that is`() throws {
        let table = try gpt([(.data, 2 * mebibyte), (.biosBoot, mebibyte), (.root, mebibyte)])
        let disk = try disk(table)
        let before = try disk.bytes(0..<(16 * mebibyte))
        try loader.install(menu, on: [disk])
        let after = try disk.bytes(0..<(16 * mebibyte))
        let start = 3 * mebibyte
        let first = UInt64(start / 512)
        // The boot sector: its code, pointing at the core; identity and table stay.
        #expect(number(Array(after[0x5c..<0x64])) == first)
        #expect(after[0x64] == 0xff)
        #expect(after[0x66..<0x68] == [0x90, 0x90])
        #expect(after[0x68..<440] == LoaderSample.bootSector[0x68..<440])
        #expect(after[440..<Int(start)] == before[440..<Int(start)])
        // The core: where its other sectors are, and that partition 2 started it.
        let core = Array(after[Int(start)..<(Int(start) + LoaderSample.core.count)])
        #expect(number(Array(core[500..<508])) == first + 1)
        #expect(core[0x218..<0x21b] == [0xff, 0xff, 1])
        var plain = core
        plain.replaceSubrange(500..<508, with: LoaderSample.core[500..<508])
        plain[0x21a] = 0xff
        #expect(plain == LoaderSample.core)
        // What it runs first.
        let place = Int(start) + 1023 * 512
        let text = String(decoding: after[place..<(place + 512)], as: UTF8.self)
        #expect(text.contains("--hint=$disk,gpt2 \(menu.fileSystem); then\n"))
        #expect(text.contains("set prefix=($root)/boot/grub\n"))
        #expect(after[(Int(start + mebibyte))...] == before[(Int(start + mebibyte))...])
    }

    @Test func `lies before the first partition of a disk with an msdos table`() throws {
        let disk = try disk(try msdos(2))
        let before = try disk.bytes(0..<(16 * mebibyte))
        try loader.install(menu, on: [disk])
        let after = try disk.bytes(0..<(16 * mebibyte))
        #expect(number(Array(after[0x5c..<0x64])) == 1)
        #expect(after[440..<512] == before[440..<512])
        #expect(number(Array(after[(512 + 500)..<(512 + 508)])) == 2)
        #expect(after[(512 + 0x218)..<(512 + 0x21b)] == [0xff, 0xff, 0xff])
        #expect(after[(1023 * 512)...].starts(with: "regexp".utf8))
        #expect(after[Int(mebibyte)...] == before[Int(mebibyte)...])
    }

    @Test func `is the same on each disk of an array, which needs no hint`() throws {
        let table = try gpt([(.biosBoot, mebibyte), (.root, mebibyte)])
        let disks = [try disk(table), try disk(table)]
        let array = BootMenu(fileSystem: menu.fileSystem, folder: "/grub2", hint: nil)
        try loader.install(array, on: disks)
        let contents = try disks.map { try $0.bytes(0..<(4 * mebibyte)) }
        #expect(contents[0] == contents[1])
        let text = String(
            decoding: contents[0][(Int(mebibyte) + 1023 * 512)...].prefix(512),
            as: UTF8.self
        )
        #expect(text.contains("--set=root \(menu.fileSystem);"))
        #expect(text.contains("($root)/grub2\n"))
    }

    @Test func `starts nothing while it is half written`() throws {
        let table = try gpt([(.biosBoot, mebibyte)])
        let whole = try disk(table)
        let first = whole.changes.count
        try loader.install(menu, on: [whole])
        try #require(whole.changes.count == first + 3)
        for number in 0..<3 {
            let disk = try disk(table)
            let old = try disk.bytes(0..<440)
            disk.cut(before: first + number)
            #expect(throws: SystemFailure.self) { try loader.install(menu, on: [disk]) }
            let after = disk.afterPowerCut(SeededRandom(seed: UInt64(number)))
            #expect(try after.bytes(0..<440) == old, "cut before change \(number)")
        }
    }

    @Test func `that reads back differently is no success`() throws {
        let disk = try disk(try msdos(1))
        disk.lie(about: 1024..<1025)
        let failure = #expect(throws: SystemFailure.self) {
            try loader.install(menu, on: [disk])
        }
        #expect(failure?.action.contains("back from byte 512") == true)
    }

    @Test func `is refused where it has no room, and nothing is written to any disk`() throws {
        let good = try disk(try gpt([(.biosBoot, mebibyte)]))
        let large = MemoryDisk(bytes: 16 << 20, blockBytes: 4096)
        let early = MemoryDisk(bytes: 16 << 20)
        var sector = [UInt8](repeating: 0, count: 512)
        try msdos(1).place(into: &sector)
        sector[454] = 63
        sector.replaceSubrange(455..<458, with: [0, 0, 0])
        try early.put(sector, at: 0)
        let cases: [(MemoryDisk, String)] = [
            (try disk(try gpt([(.root, mebibyte)])), "has no BIOS boot partition"),
            (try disk(try gpt([(.biosBoot, mebibyte / 4)])), "has less than 524288 bytes"),
            (large, "blocks of 4096 bytes"), (MemoryDisk(bytes: 16 << 20), "no partition table"),
            (early, "begins before byte 524288"),
        ]
        for (bad, words) in cases {
            let changes = [good.changes.count, bad.changes.count]
            let refusal = #expect(throws: NoBIOSLoader.self) {
                try loader.install(menu, on: [good, bad])
            }
            #expect(refusal?.description.contains(words) == true, "\(refusal?.description ?? "")")
            #expect([good.changes.count, bad.changes.count] == changes)
        }
    }

    @Test(
        arguments: [
            ("", "/boot/grub", nil), ("a; halt", "/boot/grub", nil), ("ab\n", "/boot/grub", nil),
            ("abcd", "boot", nil), ("abcd", "/boot/$root", nil), ("abcd", "/boot grub", nil),
            ("abcd", "/boot/grub", "gpt1 x"), ("abcd", "/boot/grub", ""),
            (String(repeating: "a", count: 65), "/boot/grub", nil),
        ] as [(String, String, String?)]
    )
    func `takes no name that would be more than a word of its script`(
        fileSystem: String,
        folder: String,
        hint: String?
    ) {
        #expect(throws: NoBIOSLoader.self) {
            try BIOSLoader.settings(
                BootMenu(fileSystem: fileSystem, folder: folder, hint: hint)
            )
        }
    }

    @Test func `takes the longest names that are allowed`() throws {
        let word = String(repeating: "a", count: 64)
        let settings = try BIOSLoader.settings(
            BootMenu(fileSystem: word, folder: "/" + word.dropFirst(), hint: word)
        )
        #expect(settings.count == 512)
    }

    @Test func `is refused when the ramdisk's is missing or damaged`() throws {
        let disk = try disk(try msdos(1))
        let count = disk.changes.count
        let changes: [(String, @Sendable (String) -> [UInt8]?)] = [
            ("has no GRUB", { _ in nil }),
            ("is damaged", { LoaderSample.file($0).map { Array($0.dropLast(512)) } }),
            (
                "is damaged",
                {
                    LoaderSample.file($0).map { $0 + [UInt8](repeating: 0, count: 512) }
                }
            ),
            (
                "is damaged",
                {
                    $0.hasSuffix("core.img")
                        ? [UInt8](repeating: 0, count: 500 << 10) : LoaderSample.file($0)
                }
            ),
        ]
        for (words, files) in changes {
            let refusal = #expect(throws: NoBIOSLoader.self) {
                try BIOSLoader(tree: FileTree(files: files)).install(menu, on: [disk])
            }
            #expect(refusal?.description.contains(words) == true)
        }
        #expect(disk.changes.count == count)
    }
}
