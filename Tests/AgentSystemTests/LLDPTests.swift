import Basics
import Testing

@testable import AgentSystem

/// Chassis, port, time to live, system name, as a switch sends them.
private let frame: [UInt8] =
    [0x02, 0x07, 4, 0, 0x1b, 0x21, 1, 2, 3] + [0x04, 0x05, 5] + Array("ge-0".utf8)
    + [0x06, 0x02, 0, 120] + [0x0a, 0x04] + Array("leaf".utf8) + [0, 0]

struct `LLDP frames` {
    @Test func `entries are read in order`() throws {
        let entries = try LLDPEntry.parse(frame)
        #expect(entries.map(\.type) == [1, 2, 3, 5])
        #expect(entries[3].value == Array("leaf".utf8))
    }

    @Test func `what follows the end mark is padding`() throws {
        #expect(try LLDPEntry.parse(frame + [9, 9, 9]).count == 4)
    }

    @Test func `a cut frame is refused or shorter, never read beyond`() {
        for length in 0..<frame.count {
            guard let entries = try? LLDPEntry.parse(Array(frame[..<length])) else { continue }
            #expect(entries.count < 4 || length >= frame.count - 2)
        }
    }

    @Test(arguments: [
        [UInt8](arrayLiteral: 0x04, 1, 5, 0x02, 1, 4, 0x06, 2, 0, 120), [], [0, 0], [0x02],
        [0x02, 0xff],
    ])
    func `a frame without its first three entries is refused`(frame: [UInt8]) {
        #expect(throws: MalformedPacket.self) { try LLDPEntry.parse(frame) }
    }

    @Test func `a frame of endless empty entries is refused`() {
        let flood = frame.dropLast(2) + [[UInt8]](repeating: [0x10, 0], count: 100).joined()
        #expect(throws: MalformedPacket.badField("number of entries")) {
            try LLDPEntry.parse(Array(flood))
        }
    }

    @Test func `random bytes never do harm`() {
        let random = SeededRandom(seed: 88)
        for _ in 0..<2000 {
            let bytes = random.bytes(Int(random.number(below: 300)))
            _ = try? LLDPEntry.parse(bytes)
            _ = try? LLDPEntry.parse(Array(frame.dropLast(2)) + bytes)
        }
    }
}
