import Basics
import Glibc
import Synchronization
import Testing

@testable import AgentSystem

/// Remembers what was to be run.
private final class Recorder: ProcessRunner {
    let requests = Mutex([ProcessRequest]())
    private let result: ProcessResult

    init(_ result: ProcessResult = ProcessResult(ending: .exited(0))) { self.result = result }

    func run(_ request: ProcessRequest) async throws -> ProcessResult {
        requests.withLock { $0.append(request) }
        return result
    }

    func locate(_ program: String) -> String? { nil }

    var lines: [String] {
        requests.withLock { $0.map { ([$0.program] + $0.arguments).joined(separator: " ") } }
    }
}

private let id = ArrayID(bytes: (0..<16).map { UInt8($0) })

struct `Software RAID` {
    @Test func `is made and started by mdadm with an identity, never by what stands on disks`()
        async throws
    {
        let recorder = Recorder()
        let loaded = Mutex([String]())
        let arrays = SystemRAIDArrays(processes: recorder) { name in
            loaded.withLock { $0.append(name) }
        }
        try await arrays.create(
            ArrayOrder(
                device: "/dev/md0",
                name: "root",
                level: .mirror,
                id: id,
                members: ["/dev/sda2", "/dev/nvme0n1p2"]
            )
        )
        try await arrays.create(
            ArrayOrder(
                device: "/dev/md100",
                name: "esp",
                level: .mirror,
                id: id,
                members: ["/dev/sda1", "/dev/sdb1"],
                superblocksAtEnd: true
            )
        )
        try await arrays.assemble(
            "/dev/md1",
            level: .mirroredStripes,
            id: id,
            members: ["/dev/sdc2"]
        )
        try await arrays.stop("/dev/md1")
        let uuid = "--uuid=00010203:04050607:08090a0b:0c0d0e0f"
        #expect(
            recorder.lines == [
                "mdadm --create /dev/md0 --run --force --metadata=1.2 --homehost=any --name=root \(uuid) --level=1 --raid-devices=2 /dev/sda2 /dev/nvme0n1p2",
                "mdadm --create /dev/md100 --run --force --metadata=1.0 --homehost=any --name=esp \(uuid) --level=1 --raid-devices=2 /dev/sda1 /dev/sdb1",
                "mdadm --assemble /dev/md1 --config=none --run \(uuid) /dev/sdc2",
                "mdadm --stop /dev/md1",
            ]
        )
        #expect(
            loaded.withLock { $0 } == ["md_mod", "raid1", "md_mod", "raid1", "md_mod", "raid10"]
        )
        let first = try #require(recorder.requests.withLock { $0.first })
        #expect(first.environment["MDADM_NO_UDEV"] == "1")
        #expect(first.budget <= .seconds(60))
    }

    @Test func `fails in the tool's words`() async {
        let broken = ProcessResult(ending: .exited(1), errorOutput: Array("mdadm: no room\n".utf8))
        let arrays = SystemRAIDArrays(processes: Recorder(broken)) { _ in }
        let failure = await #expect(throws: SystemFailure.self) {
            try await arrays.stop("/dev/md0")
        }
        #expect(failure.map { "\($0)" }?.contains("mdadm says “mdadm: no room”") == true)
    }

    @Test(arguments: [
        "", "0", String(repeating: "g", count: 32), String(repeating: "１", count: 32),
    ])
    func `has no identity of other texts`(text: String) { #expect(ArrayID(text) == nil) }

    @Test func `has an identity that reads as it is written`() {
        #expect(ArrayID(id.description) == id)
        #expect(ArrayID(String(repeating: "0", count: 31)) == nil)
    }

    @Test func `runs where the kernel says so`() throws {
        let tree = try TemporaryTree()
        try tree.file("/sys/class/block/md1/md/array_state", "clean")
            .file("/sys/class/block/md0/md/array_state", "inactive")
            .file("/sys/class/block/md7/md/array_state", "clear")
            .file("/sys/class/block/md1p1/partition", "1")
            .file("/sys/class/block/sda/size", "5")
        let arrays = SystemRAIDArrays(processes: Recorder(), tree: tree.tree) { _ in }
        #expect(arrays.running() == ["/dev/md0", "/dev/md1"])
    }
}
