import Basics
import Foundation
import HTTP
import Protocol
import Testing

@testable import Baremetal

@Suite struct PartitionOrderTests {
    private func available(
        _ info: [String: JSONValue],
        image: String = "plain"
    ) async throws -> (Bench, NodeID) {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        _ = try await bench.service.update(id.text, by: nil) {
            $0.instanceInfo = info.merging(["image_source": .string(image)]) { $1 }
        }
        return (bench, id)
    }

    @Test func `an image of a partition goes to the agent with the layout that is wanted`()
        async throws
    {
        let (bench, id) = try await available([
            "image_type": "partition", "root_gb": "5", "swap_mb": 512, "ephemeral_gb": 1,
            "preserve_ephemeral": "true",
        ])
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        let layout = try #require(bench.world.machine(id)?.partitions)
        #expect(layout.rootMib == 5 * 1024)
        #expect(layout.swapMib == 512)
        #expect(layout.ephemeralMib == 1024)
        #expect(layout.ephemeralFormat == "ext4")
        #expect(layout.preserveEphemeral)
    }

    @Test func `a kernel and a ramdisk make it one, as in Ironic`() async throws {
        let (bench, id) = try await available([
            "kernel": "k", "ramdisk": "r", "root_gb": 4, "ephemeral_format": "vfat",
        ])
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(bench.world.machine(id)?.partitions.rootMib == 4096)
        #expect(bench.world.machine(id)?.partitions.ephemeralMib == 0)
    }

    @Test func `an image of a whole disk gets no layout`() async throws {
        let (bench, id) = try await available([
            "root_gb": 4, "swap_mb": "0", "ephemeral_gb": 0, "preserve_ephemeral": false,
        ])
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        #expect(bench.world.machine(id)?.partitions == WirePartitionLayout())
    }

    @Test(
        arguments: [
            (["image_type": "partition"], "no root_gb"),
            (["image_type": "partition", "root_gb": "much"], "root_gb “much”"),
            (["image_type": "partition", "root_gb": -1], "root_gb “-1”"),
            (["image_type": "partition", "root_gb": 3], "root partition is too small"),
            (["image_type": "partition", "root_gb": 4, "ephemeral_gb": 900], "largest disk"),
            (["image_type": "partition", "root_gb": .integer(.max)], "no size"),
            (
                ["image_type": "partition", "root_gb": 4, "ephemeral_format": "ntfs"],
                "ephemeral_format “ntfs”"
            ),
            (
                ["image_type": "partition", "root_gb": 4, "preserve_ephemeral": "perhaps"],
                "preserve_ephemeral “perhaps”"
            ),
            (
                ["image_type": "partition", "root_gb": 4, "preserve_ephemeral": true],
                "ephemeral_gb is 0"
            ),
            (
                [
                    "image_type": "partition", "root_gb": 4,
                    "capabilities": ["disk_label": "msdos"],
                ], "disk_label “msdos”"
            ),
            (["image_type": "floppy"], "image type “floppy”"),
            (["swap_mb": 512], "swap_mb is set"),
        ] as [([String: JSONValue], String)]
    )
    func `what makes no sense is refused before anything happens`(
        info: [String: JSONValue],
        words: String
    ) async throws {
        let (bench, id) = try await available(info)
        let refusal = await #expect(throws: Fault.self) {
            try await bench.ask(.deploy(configDrive: nil), id)
        }
        #expect(refusal?.message.contains(words) == true, "\(refusal?.message ?? "")")
        #expect(refusal?.kind == .invalid)
        #expect(try await bench.state(id) == "available")
    }

    @Test(
        arguments: [
            (nil, nil, "msdos"), ("disk_label:gpt", nil, "gpt"), (nil, "gpt", "gpt"),
            ("disk_label:gpt", "msdos", "msdos"),
        ] as [(String?, String?, String)]
    )
    func
        `a machine that boots by BIOS gets the kind of table that is wanted, else msdos as in Ironic`(
            ofNode: String?,
            ofInstance: String?,
            label: String
        ) async throws
    {
        var info: [String: JSONValue] = ["image_type": "partition", "root_gb": 4]
        if let ofInstance { info["capabilities"] = ["disk_label": .string(ofInstance)] }
        let (bench, id) = try await available(info)
        _ = try await bench.service.update(id.text, by: nil) {
            let words = ["boot_mode:bios", ofNode].compactMap(\.self)
            $0.properties["capabilities"] = .string(words.joined(separator: ","))
        }
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        #expect(bench.world.machine(id)?.partitions.diskLabel == label)
    }

    @Test(
        arguments: [
            ("bios", "prep", 4, "disk_label “prep” is not one of gpt, msdos"),
            ("uefi", "msdos", 4, "which UEFI needs"),
            ("bios", "msdos", 2048, "ends at 2 TiB"),
        ]
    )
    func `a kind of table that cannot be is refused`(
        mode: String,
        label: String,
        size: Int64,
        words: String
    ) async throws {
        let (bench, id) = try await available([
            "image_type": "partition", "root_gb": .integer(size),
            "capabilities": ["disk_label": .string(label)],
        ])
        _ = try await bench.service.update(id.text, by: nil) {
            $0.properties["capabilities"] = .string("boot_mode:\(mode)")
        }
        let refusal = await #expect(throws: Fault.self) {
            try await bench.ask(.deploy(configDrive: nil), id)
        }
        #expect(refusal?.message.contains(words) == true, "\(refusal?.message ?? "")")
        #expect(refusal?.kind == .invalid)
    }

    @Test func `an order that an older release stored can be read`() throws {
        let order = DeployOrder(image: SimulatedImages.plain, hasAgent: true)
        let text = String(decoding: try JSONEncoder().encode(order), as: UTF8.self)
        #expect(!text.contains("partitions"))
        #expect(try JSONDecoder().decode(DeployOrder.self, from: Data(text.utf8)) == order)
    }
}
