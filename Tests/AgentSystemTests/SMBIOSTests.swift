import Basics
import Testing

@testable import AgentSystem

/// One structure of the table with its strings.
private func structure(_ type: UInt8, _ body: [UInt8], _ strings: [String] = []) -> [UInt8] {
    var bytes: [UInt8] = [type, UInt8(body.count + 4), 0, 0]
    bytes += body
    for string in strings { bytes += Array(string.utf8) + [0] }
    return bytes + (strings.isEmpty ? [0, 0] : [0])
}

private let uuid: [UInt8] = [
    0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]

private func memoryDevice(_ size: UInt16, extended: UInt32 = 0) -> [UInt8] {
    var body = [UInt8](repeating: 0, count: 36)
    body[8] = UInt8(size & 255)
    body[9] = UInt8(size >> 8)
    for index in 0..<4 { body[24 + index] = UInt8(truncatingIfNeeded: extended >> (8 * index)) }
    return structure(17, body)
}

private let table: [UInt8] = {
    let padding = [UInt8](repeating: 0, count: 20)
    let structures = [
        structure(0, [1, 2, 0, 0, 3] + padding, ["SeaBIOS", "1.16", "04/01/2014"]),
        structure(1, [1, 2, 0, 3] + uuid + [0, 0, 0], ["QEMU", "Standard PC", "S-7"]),
        structure(4, padding + [0x41] + padding),
        memoryDevice(0x4000), memoryDevice(0), memoryDevice(0xffff),
        memoryDevice(0x7fff, extended: 65_536), memoryDevice(0x8400),
        structure(127, []),
    ]
    return Array(structures.joined())
}()

struct `The SMBIOS table` {
    @Test func `names the machine and sums its memory`() {
        let read = SMBIOS(table: table)
        #expect(read.biosVendor == "SeaBIOS")
        #expect(read.biosVersion == "1.16")
        #expect(read.biosDate == "04/01/2014")
        #expect(read.manufacturer == "QEMU")
        #expect(read.productName == "Standard PC")
        #expect(read.serialNumber == "S-7")
        #expect(read.systemUUID == "00112233-4455-6677-8899-aabbccddeeff")
        #expect(read.processors == 1)
        // 16 GiB, an empty slot, an unknown one, 64 GiB, 1 MiB.
        #expect(read.memoryBytes == (80 << 30) + (1 << 20))
    }

    @Test func `keeps what stood before a cut`() {
        let whole = SMBIOS(table: table)
        for length in 0..<table.count {
            let read = SMBIOS(table: Array(table[..<length]))
            #expect(read.manufacturer.isEmpty || read.manufacturer == whole.manufacturer)
            #expect(read.memoryBytes <= whole.memoryBytes)
        }
    }

    @Test(arguments: [UInt8(0), 0xff])
    func `a UUID of one repeated byte is none`(byte: UInt8) {
        let body = [0, 0, 0, 0] + [UInt8](repeating: byte, count: 16) + [0, 0, 0]
        #expect(SMBIOS(table: structure(1, body)).systemUUID.isEmpty)
    }

    @Test func `a string number beyond the strings is empty`() {
        #expect(SMBIOS(table: structure(1, [9, 200, 0, 1], ["only"])).manufacturer.isEmpty)
    }

    @Test func `control characters of a string are left out`() {
        let read = SMBIOS(table: structure(1, [1, 0, 0, 0], ["a\u{1b}[2Jb\nc"]))
        #expect(read.manufacturer == "a[2Jbc")
    }

    @Test(arguments: [UInt8(0), 1, 3])
    func `a structure shorter than its header ends the reading`(length: UInt8) {
        #expect(SMBIOS(table: [1, length, 0, 0, 0, 0] + table) == SMBIOS())
    }

    @Test func `random bytes never do harm`() {
        let random = SeededRandom(seed: 127)
        for _ in 0..<2000 {
            var bytes = table
            for _ in 0..<8 {
                bytes[Int(random.number(below: UInt64(bytes.count)))] = random.bytes(1)[0]
            }
            _ = SMBIOS(table: bytes)
            _ = SMBIOS(table: random.bytes(Int(random.number(below: 500))))
        }
    }
}
