import Glibc
import Synchronization
import Testing

@testable import AgentSystem

/// Variables in memory; `sets` says which were written.
private final class Variables: FirmwareVariables {
    private let state: Mutex<(values: [String: [UInt8]], sets: [String])>

    init(_ values: [String: [UInt8]] = [:]) { state = Mutex((values, [])) }

    func names() -> [String] { state.withLock { $0.values.keys.sorted() } }
    func value(_ name: String) -> [UInt8]? { state.withLock { $0.values[name] } }

    func set(_ name: String, to value: [UInt8]) throws(SystemFailure) {
        state.withLock { state in
            state.values[name] = value
            state.sets.append(name)
        }
    }

    var sets: [String] { state.withLock { $0.sets } }
}

private let partition = Partition(
    type: .efiSystem,
    id: GUID(bytes: [UInt8](1...16)),
    firstBlock: 2048,
    lastBlock: 4095,
    attributes: 0,
    name: "esp"
)

struct `The boot entry` {
    @Test func `points at the standard loader on the system partition`() throws {
        let variables = Variables()
        #expect(try variables.bootFirst(number: 15, partition: partition) == "Boot0000")
        let option = try #require(variables.value("Boot0000"))
        // Active; the path's length; the title.
        #expect(option[..<4].elementsEqual([1, 0, 0, 0]))
        let title: [UInt8] = (Array("RDO-Manager".utf16) + [0]).flatMap { littleEndian($0) }
        #expect(option[6..<(6 + title.count)].elementsEqual(title))
        let path = Array(option[(6 + title.count)...])
        #expect(path.count == Int(option[4]) | Int(option[5]) << 8)
        // A hard drive: number, start, size, identity, GPT by GUID.
        let drive: [UInt8] =
            [4, 1, 42, 0, 15, 0, 0, 0] + littleEndian(UInt64(2048)) + littleEndian(UInt64(2048))
            + [UInt8](1...16) + [2, 2]
        #expect(path.starts(with: drive))
        #expect(path.suffix(4) == [0x7f, 0xff, 4, 0])
    }

    @Test func `is used again and writes nothing that is right already`() throws {
        let variables = Variables(["BootOrder": [1, 0], "Boot0001": [1, 0, 0, 0, 0, 0]])
        _ = try variables.bootFirst(number: 1, partition: partition)
        #expect(variables.sets == ["Boot0000", "BootOrder"])
        #expect(variables.value("BootOrder") == [0, 0, 1, 0])
        _ = try variables.bootFirst(number: 1, partition: partition)
        #expect(variables.sets.count == 2)
    }

    @Test(arguments: [[], [7], [7, 0, 0], [0, 0, 0, 0, 0, 0], [5, 0, 0, 0, 5, 0]])
    func `comes first in any order that firmware left`(order: [UInt8]) throws {
        let variables = Variables(["BootOrder": order])
        _ = try variables.bootFirst(number: 1, partition: partition)
        let now = try #require(variables.value("BootOrder"))
        #expect(now.starts(with: [0, 0]))
        #expect(now.count.isMultiple(of: 2))
    }

    @Test func `leaves entries of others alone, also malformed ones`() throws {
        let others: [String: [UInt8]] = [
            "Boot0000": [], "Boot0001": [1], "Boot00AB": [1, 0, 0, 0, 0, 0, 0x52],
            "Boot002G": [1, 0, 0, 0, 0, 0, 0, 0], "BootNext": [1, 0],
        ]
        let variables = Variables(others)
        #expect(try variables.bootFirst(number: 1, partition: partition) == "Boot0002")
        for (name, value) in others { #expect(variables.value(name) == value) }
    }

    @Test func `is refused when every number is taken`() {
        let names = (0...0xffff).map { number in
            let digits = String(number, radix: 16, uppercase: true)
            return "Boot" + String(repeating: "0", count: 4 - digits.count) + digits
        }
        let variables = Variables(Dictionary(uniqueKeysWithValues: names.map { ($0, [UInt8]()) }))
        let failure = #expect(throws: SystemFailure.self) {
            try variables.bootFirst(number: 1, partition: partition)
        }
        #expect(failure?.code == ENOSPC)
    }
}

struct `Variables in efivarfs` {
    private static let vendor = "8be4df61-93ca-11d2-aa0d-00e098032b8c"

    @Test func `are those of the global vendor without their attributes`() throws {
        let tree = try TemporaryTree()
        try tree.file("/efivars/BootOrder-\(Self.vendor)", bytes: [7, 0, 0, 0, 1, 0])
            .file("/efivars/Boot0001-\(Self.vendor)", bytes: [7, 0])
            .file("/efivars/Mine-00000000-0000-0000-0000-000000000000", bytes: [7, 0, 0, 0, 1])
        let variables = SystemFirmwareVariables(tree: tree.tree, directory: "/efivars")
        #expect(variables.names() == ["Boot0001", "BootOrder"])
        #expect(variables.value("BootOrder") == [1, 0])
        #expect(variables.value("Boot0001") == nil, "shorter than its attributes")
        try variables.set("Boot0002", to: [9])
        #expect(tree.tree.bytes("/efivars/Boot0002-\(Self.vendor)") == [7, 0, 0, 0, 9])
    }

    @Test func `are none on a machine without UEFI`() throws {
        let variables = SystemFirmwareVariables(tree: try TemporaryTree().tree)
        #expect(variables.names().isEmpty)
        #expect(throws: SystemFailure.self) { try variables.set("BootOrder", to: [1, 0]) }
    }
}
