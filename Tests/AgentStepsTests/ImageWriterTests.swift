import AgentSystem
import Basics
import Foundation
import Protocol
import Testing

@testable import AgentSteps

private let diskBytes: Int64 = 96 << 20

struct `The writer of images` {
    private let image = SampleImage(seed: 1)

    @Test(arguments: [(512, true), (512, false), (4096, true), (4096, false)])
    func `leaves the image, its holes, the table and the drive on the disk`(
        block: Int,
        quick: Bool
    ) async throws {
        let image = SampleImage(seed: 1, blockBytes: block)
        let disk = MemoryDisk(bytes: diskBytes, blockBytes: block, clearsQuickly: quick)
        try disk.put(noise(SampleImage.bytes, seed: 77), at: 0)
        let rig = WriteRig(image)
        let written = try await rig.write(image.order(), to: disk)
        #expect(try differences(disk, from: image) == [])
        #expect(try tables(on: disk) == (true, true))
        #expect(written.device == "/dev/vda")
        #expect(written.serial == "c0-root")
        #expect(written.imageBytes == UInt64(SampleImage.bytes))
        #expect(written.keptBytes == 0)
        let content = (image.offsets.count + 1) * SampleImage.chunkBytes
        #expect(written.writtenBytes == UInt64(content))
        #expect(rig.server.chunksFetched.count == image.offsets.count + 1)
        let drive = try ConfigDrive(
            "/dev/vda3",
            disks: DiskShelf(disks: ["/dev/vda3": try part(disk, 3)])
        )
        #expect(try drive.file("rdo/agent.json") == Array(#"{"token":"c2VjcmV0IHRva2Vu"}"#.utf8))
        #expect(
            try drive.file("openstack/latest/meta_data.json")
                == Array(#"{"hostname":"c0"}"#.utf8)
        )
        #expect(drive.hasToken)
    }

    /// A partition of the disk as a disk of its own.
    private func part(_ disk: MemoryDisk, _ number: Int) throws -> MemoryDisk {
        let block = disk.geometry.blockBytes
        let table = try PartitionTable(
            head: try disk.bytes(0..<Int64(PartitionTable.headBytesMax)),
            blockBytes: block,
            bytes: disk.geometry.bytes
        )
        let found = try #require(table.partitions.first { $0.number == number }?.partition)
        let start = Int64(found.firstBlock) * Int64(block)
        let end = (Int64(found.lastBlock) + 1) * Int64(block)
        let part = MemoryDisk(bytes: end - start)
        try part.put(try disk.bytes(start..<(start + (1 << 20))), at: 0)
        return part
    }

    @Test func `a deployment of a similar image writes only what differs`() async throws {
        let disk = MemoryDisk(bytes: diskBytes)
        _ = try await WriteRig(image).write(image.order(), to: disk)
        let changed: Set<Int> = [20, 22, 40]
        let next = SampleImage(seed: 1, changing: changed)
        let rig = WriteRig(next)
        let written = try await rig.write(next.order(), to: disk)
        #expect(try differences(disk, from: next) == [])
        // The first chunk is always fetched, because the table in it is changed.
        #expect(rig.server.chunksFetched.count == changed.count + 1)
        #expect(written.writtenBytes == UInt64((changed.count + 1) * SampleImage.chunkBytes))
        let kept = (image.offsets.count - changed.count) * SampleImage.chunkBytes
        #expect(written.keptBytes == UInt64(kept))
    }

    @Test func `an interrupted write goes on where it stood`() async throws {
        let disk = MemoryDisk(bytes: diskBytes)
        // Two ends, the discard and twenty holes come before the chunks.
        disk.cut(before: 45)
        var first = WriteRig(image)
        first.workers = 1
        await #expect(throws: StepFailure.self) { try await first.write(image.order(), to: disk) }
        let after = disk.afterPowerCut(SeededRandom(seed: 3))
        let durable = try image.offsets.filter { offset in
            let range = Int64(offset)..<Int64(offset + SampleImage.chunkBytes)
            return try after.bytes(range).elementsEqual(
                image.disk[offset..<(offset + SampleImage.chunkBytes)]
            )
        }
        try #require(!durable.isEmpty, "the cut came before any chunk")
        let second = WriteRig(image)
        let written = try await second.write(image.order(), to: after)
        #expect(try differences(after, from: image) == [])
        #expect(written.keptBytes == UInt64(durable.count * SampleImage.chunkBytes))
        #expect(second.server.chunksFetched.count == image.offsets.count + 1 - durable.count)
    }

    @Test func `tells where it stands`() async throws {
        let ear = Ear()
        _ = try await WriteRig(image).write(
            image.order(),
            to: MemoryDisk(bytes: diskBytes),
            ear: ear
        )
        let order = [
            "choose", "manifest", "verify", "discard", "clear", "write", "flush", "finish",
            "read-back",
        ]
        let seen = ear.phases.reduce(into: [String]()) { if $0.last != $1 { $0.append($1) } }
        #expect(seen == order)
        #expect(ear.lines.first?.contains("is chosen: it satisfies name “/dev/vda”") == true)
    }

    @Test func `ends when it is cancelled and can go on later`() async throws {
        let disk = MemoryDisk(bytes: diskBytes)
        let rig = WriteRig(image)
        let order = image.order()
        let result = await withTaskGroup(of: Bool.self) { group in
            let (stream, began) = AsyncStream.makeStream(of: Void.self)
            let ear = Ear { if $0.phase == "write" { began.yield() } }
            group.addTask(name: "write") {
                do {
                    _ = try await rig.write(order, to: disk, ear: ear)
                    return false
                } catch { return error is CancellationError }
            }
            var first = stream.makeAsyncIterator()
            await first.next()
            group.cancelAll()
            return await group.next() ?? false
        }
        // On a slow day the write may end before it hears of the cancellation; then all is there.
        let complete = try differences(disk, from: image).isEmpty
        #expect(result || complete)
        _ = try await WriteRig(image).write(image.order(), to: disk)
        #expect(try differences(disk, from: image) == [])
    }
}

struct `What is refused before anything is written` {
    private let image = SampleImage(seed: 1)

    private func refusal(
        _ rig: WriteRig,
        _ order: WireWriteImage,
        diskBytes: Int64 = 96 << 20
    ) async -> StepFailure? {
        let disk = MemoryDisk(bytes: diskBytes)
        let failure = await #expect(throws: StepFailure.self) {
            try await rig.write(order, to: disk)
        }
        #expect(disk.changes.isEmpty)
        return failure
    }

    @Test func `a manifest with another digest`() async {
        let rig = WriteRig(image)
        let other = SampleImage(seed: 1, changing: [4])
        rig.server.lie("/manifest", other.manifest)
        let failure = await refusal(rig, image.order())
        #expect(failure?.retryable == false)
        #expect(failure?.message.contains("does not have the digest") == true)
        #expect(rig.server.chunksFetched.isEmpty)
    }

    @Test func `a manifest that its digest fits but that makes no sense`() async {
        var broken = image
        broken.manifest = Array(#"{"version":1,"image_bytes":512}"#.utf8)
        let failure = await refusal(WriteRig(broken), broken.order())
        #expect(failure?.message.contains("its manifest is not taken") == true)
    }

    @Test func `an image larger than the disk`() async {
        let rig = WriteRig(image)
        let failure = await refusal(rig, image.order(), diskBytes: 2 << 20)
        #expect(failure?.message.contains("the image has 4.0 MiB and the disk 2.0 MiB") == true)
        #expect(rig.server.chunksFetched.isEmpty)
    }

    @Test func `hints that no disk satisfies`() async {
        var order = image.order()
        order.hints.serial = "another"
        let failure = await refusal(WriteRig(image), order)
        #expect(failure?.retryable == false)
        #expect(failure?.lines.count == 1)
        #expect(failure?.lines.first?.contains("its serial is “c0-root”") == true)
    }

    @Test func `a first chunk that is not what the manifest says`() async throws {
        let rig = WriteRig(image)
        let first = SHA256Digest(of: Array(image.disk[..<SampleImage.chunkBytes]))
        rig.server.lie("/chunks/\(first)", zstd(noise(SampleImage.chunkBytes, seed: 8)))
        let failure = await refusal(rig, image.order())
        #expect(failure?.message.contains("its digest is wrong") == true)
        #expect(rig.server.chunksFetched.count == ChunkLoader.triesMax)
    }

    @Test func `a disk that is in use`() async {
        var command = WireCommand()
        command.writeImage = image.order()
        command.writeImage.hints.name = "/dev/vdb"
        let step = WriteImage(
            WriteImage.Seams(
                devices: DeviceList(devices: [BlockDevice(path: "/dev/vdb", bytes: 96 << 20)]),
                disks: DiskShelf(disks: [:]),
                sources: ChunkServer(image),
                firmware: MemoryVariables(),
                fileSystems: MemoryFileSystems(),
                arrays: MemoryArrays(),
                time: LeapingTime(),
                random: SeededRandom(seed: 1),
                executor: { OwnThread(name: $0) },
                workers: 1
            )
        )
        let failure = await #expect(throws: StepFailure.self) {
            try await step.run(command, in: noContext, report: Ear())
        }
        #expect(failure?.message.contains("cannot open /dev/vdb: Device or resource busy") == true)
        #expect(failure?.retryable == true)
    }
}

struct `Chunks that cannot be trusted` {
    private let image = SampleImage(seed: 1)

    /// The digest of a chunk in the middle.
    private var victim: SHA256Digest {
        let start = 31 * SampleImage.chunkBytes
        return SHA256Digest(of: Array(image.disk[start..<(start + SampleImage.chunkBytes)]))
    }

    private static let lies: [(name: String, content: [UInt8])] = [
        ("other bytes", zstd(noise(SampleImage.chunkBytes, seed: 99))),
        ("too few bytes", zstd(noise(512, seed: 99))),
        ("a bomb", zstd([UInt8](repeating: 0, count: 4 << 20))),
        ("no zstd at all", noise(600, seed: 4)), ("nothing", []),
    ]

    @Test(arguments: lies.indices)
    func `are never written and leave no bootable disk`(index: Int) async throws {
        let (name, content) = Self.lies[index]
        let disk = MemoryDisk(bytes: 96 << 20)
        let rig = WriteRig(image)
        rig.server.lie("/chunks/\(victim)", content)
        let failure = await #expect(throws: StepFailure.self, "\(name)") {
            try await rig.write(image.order(), to: disk)
        }
        #expect(failure?.message.contains("was wrong 3 times") == true)
        #expect(failure?.retryable == false)
        let place = Int64(31 * SampleImage.chunkBytes)
        let written = Set(try disk.bytes(place..<(place + Int64(SampleImage.chunkBytes))))
        #expect(written.count == 1, "\(name): nothing but what a discarded range reads as")
        #expect(try tables(on: disk) == (false, false))
    }

    // In the first table, in the config drive, in the last table.
    @Test(arguments: [600, (31 << 20) + 3, (96 << 20) - 500] as [Int64])
    func `a disk that keeps something else is found out`(place: Int64) async throws {
        let disk = MemoryDisk(bytes: 96 << 20)
        disk.lie(about: place..<(place + 1))
        let failure = await #expect(throws: StepFailure.self) {
            try await WriteRig(image).write(image.order(), to: disk)
        }
        #expect(failure?.message.contains("reads back differently") == true)
    }
}

struct `The firmware's boot entry` {
    private let image = SampleImage(seed: 1)

    @Test func `is first after a deployment by UEFI`() async throws {
        var order = image.order()
        order.bootMode = "uefi"
        var rig = WriteRig(image)
        rig.firmware = MemoryVariables(["BootOrder": [7, 0], "Boot0007": [1, 0, 0, 0, 0, 0]])
        _ = try await rig.write(order, to: MemoryDisk(bytes: 96 << 20))
        #expect(rig.firmware.value("BootOrder") == [0, 0, 7, 0])
        #expect(rig.firmware.value("Boot0000")?.count ?? 0 > 60)
    }

    @Test func `is left alone on BIOS`() async throws {
        let rig = WriteRig(image)
        _ = try await rig.write(image.order(), to: MemoryDisk(bytes: 96 << 20))
        #expect(rig.firmware.names().isEmpty)
    }

    @Test func `that cannot be written does not fail the deployment`() async throws {
        var order = image.order()
        order.bootMode = "uefi"
        var rig = WriteRig(image)
        rig.firmware = MemoryVariables(isFull: true)
        let ear = Ear()
        _ = try await rig.write(order, to: MemoryDisk(bytes: 96 << 20), ear: ear)
        #expect(ear.lines.contains { $0.contains("the firmware keeps its own boot order") })
    }
}
