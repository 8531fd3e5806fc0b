import AgentSystem
import Basics
import Protocol
import Testing

@testable import AgentSteps

private func layout(
    _ image: SampleImage,
    _ order: WireWriteImage? = nil,
    diskBytes: Int64 = 256 << 20,
    blockBytes: Int = 512
) throws -> ImageLayout {
    try ImageLayout(
        of: try ImageManifest(json: image.manifest),
        for: order ?? image.order(),
        head: Array(image.disk[..<SampleImage.chunkBytes]),
        on: DiskGeometry(
            path: "/dev/vda",
            bytes: diskBytes,
            blockBytes: blockBytes,
            clearsQuickly: true
        ),
        driveID: GUID(random: noise(16, seed: 9)),
        time: Timestamp(seconds: 1_800_000_000)
    )
}

struct `The layout of an image on a disk` {
    private let image = SampleImage(seed: 1)

    @Test(arguments: [512, 4096])
    func `stretches the table and puts the config drive at the end`(block: Int) throws {
        let image = SampleImage(seed: 1, blockBytes: block)
        let layout = try layout(image, blockBytes: block)
        let blocks = UInt64(256 << 20) / UInt64(block)
        let table = try #require(layout.table.gpt)
        #expect(table.lastUsable == blocks - 2 - UInt64(16_384 / block))
        #expect(layout.table.tailOffset + Int64(layout.table.tail.count) == 256 << 20)
        #expect(table.partitions.map(\.partition.name) == ["esp", "root", "config-2"])
        let drive = try #require(layout.drive)
        #expect(drive.range.lowerBound % (1 << 20) == 0)
        #expect(drive.range.upperBound <= layout.table.tailOffset)
        #expect(Int64(drive.image.bytes.count) <= Int64(drive.range.count))
        #expect(layout.efiSystem?.number == 1)
    }

    @Test func `has no drive when there is nothing for it`() throws {
        let layout = try layout(image, image.order(drive: false))
        #expect(layout.drive == nil)
        #expect(layout.table.gpt?.partitions.count == 2)
    }

    @Test func `is refused when the image is larger than the disk`() {
        let refusal = #expect(throws: StepFailure.self) {
            try layout(image, diskBytes: Int64(SampleImage.bytes) - 512)
        }
        #expect(refusal?.retryable == false)
        #expect(refusal?.message.contains("the image has 4.0 MiB and the disk 3.9 MiB") == true)
    }

    @Test func `is refused when the drive has no room`() {
        let refusal = #expect(throws: StepFailure.self) { try layout(image, diskBytes: 32 << 20) }
        #expect(refusal?.message.contains("no room") == true)
    }

    @Test func `is refused for a disk with other blocks than the image`() {
        let refusal = #expect(throws: StepFailure.self) { try layout(image, blockBytes: 4096) }
        #expect(refusal?.message.contains("made for blocks of 512 bytes") == true)
    }

    @Test(arguments: ["../../etc/shadow", "a/../b", "/etc/passwd", "a b", "", "x\0y", "é"])
    func `takes names for the drive and never paths that lead out`(name: String) {
        var order = image.order()
        order.configDrive[name] = order.configDrive["meta_data.json"]
        let refusal = #expect(throws: StepFailure.self) { try layout(image, order) }
        #expect(refusal?.message.contains("config drive") == true)
        #expect(refusal?.retryable == false)
    }

    @Test func `is refused for an image without a table`() {
        var image = image
        image.disk.replaceSubrange(0..<34 * 512, with: [UInt8](repeating: 0, count: 34 * 512))
        image.pack()
        #expect(throws: StepFailure.self) { try layout(image) }
    }
}
