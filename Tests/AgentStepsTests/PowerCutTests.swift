import AgentSystem
import Basics
import Foundation
import Protocol
import Testing

@testable import AgentSteps

private let diskBytes: Int64 = 96 << 20

struct `A power cut while an image is written` {
    private let image = SampleImage(seed: 1)
    private let old = SampleImage(seed: 2)

    /// A disk that holds the old image.
    private func used(_ image: SampleImage) async throws -> MemoryDisk {
        let disk = MemoryDisk(bytes: diskBytes)
        var rig = WriteRig(image)
        rig.workers = 1
        _ = try await rig.write(image.order(), to: disk)
        return disk.afterPowerCut(SeededRandom(seed: 0))
    }

    private func rig() -> WriteRig {
        var rig = WriteRig(image)
        rig.workers = 1
        return rig
    }

    /// The number of changes that a whole write makes to a disk that holds the old image.
    private func changes() async throws -> (count: Int, complete: MemoryDisk) {
        let disk = try await used(old)
        _ = try await rig().write(image.order(), to: disk)
        return (disk.changes.count, disk)
    }

    /// Whether two disks agree from the end of the image to the end of the config drive.
    private func agree(_ disk: MemoryDisk, _ other: MemoryDisk) throws -> Bool {
        let drive = try drive(on: other)
        return try disk.bytes(drive) == other.bytes(drive)
    }

    private func drive(on disk: MemoryDisk) throws -> Range<Int64> {
        let table = try PartitionTable(
            head: try disk.bytes(0..<Int64(PartitionTable.headBytesMax)),
            blockBytes: 512,
            bytes: diskBytes
        )
        let found = try #require(table.partitions.last?.partition)
        let start = Int64(found.firstBlock) * 512
        return start..<(start + (1 << 20))
    }

    @Test func `leaves at every moment the old disk, the new one, or none that boots`() async throws
    {
        let (count, complete) = try await changes()
        try #require(count > 60)
        let seeds: UInt64 = ProcessInfo.processInfo.environment["CHECK_LONG"] == "true" ? 8 : 1
        var outcomes: [String: Int] = [:]
        for number in 0...count {
            for seed in 0..<seeds {
                let disk = try await used(old)
                disk.cut(before: number)
                // Only the last run has power to the end.
                _ = try? await rig().write(image.order(), to: disk)
                let after = disk.afterPowerCut(SeededRandom(seed: UInt64(number) << 8 | seed))
                let found = try tables(on: after)
                guard found.primary || found.backup else {
                    outcomes["none", default: 0] += 1
                    continue
                }
                if try differences(after, from: image).isEmpty, try agree(after, complete) {
                    outcomes["new", default: 0] += 1
                } else {
                    // What the invalidation took away first is all that may be missing.
                    let different = try differences(after, from: old).filter { $0 > 0 }
                    #expect(different == [], "cut before change \(number), seed \(seed)")
                    outcomes["old", default: 0] += 1
                }
            }
        }
        #expect(Set(outcomes.keys) == ["none", "new", "old"], "\(outcomes)")
    }

    @Test func `is made good by the next run`() async throws {
        let (count, complete) = try await changes()
        for number in stride(from: 0, through: count, by: 9) {
            let disk = try await used(old)
            disk.cut(before: number)
            _ = try? await rig().write(image.order(), to: disk)
            let after = disk.afterPowerCut(SeededRandom(seed: UInt64(number)))
            _ = try await rig().write(image.order(), to: after)
            #expect(try differences(after, from: image) == [], "cut before change \(number)")
            #expect(try agree(after, complete), "cut before change \(number)")
            #expect(try tables(on: after) == (true, true))
        }
    }
}
