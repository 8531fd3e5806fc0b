import AgentSystem
import Basics
import Protocol
import Testing

@testable import AgentSteps

func disk(_ name: String, gibibytes: UInt64 = 20, _ change: (inout BlockDevice) -> Void = { _ in })
    -> BlockDevice
{
    var device = BlockDevice(path: "/dev/\(name)", bytes: gibibytes << 30)
    device.serial = "serial of \(name)"
    change(&device)
    return device
}

func wish(
    _ level: String,
    gibibytes: UInt64,
    name: String = "",
    isRoot: Bool = false,
    disks: [String] = []
) -> WireRAIDLayout.Volume {
    var volume = WireRAIDLayout.Volume()
    volume.level = level
    volume.sizeMib = gibibytes << 10
    volume.name = name
    volume.isRoot = isRoot
    volume.disks = disks.map { serial in
        var hints = WireRootDeviceHints()
        hints.serial = serial
        return hints
    }
    return volume
}

func layout(_ volumes: WireRAIDLayout.Volume..., mode: String = "uefi") -> WireRAIDLayout {
    var layout = WireRAIDLayout()
    layout.volumes = volumes
    layout.bootMode = mode
    return layout
}

private func plan(_ layout: WireRAIDLayout, _ disks: [BlockDevice]) throws -> RAIDPlan {
    let random = SeededRandom(seed: 1)
    return try RAIDPlan(layout, on: disks) { random.bytes(16) }
}

struct `A plan of software RAID` {
    @Test func `gives each disk room for a boot loader and a member of each volume`() throws {
        let plan = try plan(
            layout(wish("1", gibibytes: 5, isRoot: true), wish("0", gibibytes: 0, name: "data")),
            [disk("sdb"), disk("nvme0n1"), disk("sr0") { $0.removable = true }]
        )
        #expect(plan.tables.map(\.disk.path) == ["/dev/nvme0n1", "/dev/sdb"])
        for (_, table) in plan.tables {
            let parts = table.partitions.map(\.partition)
            #expect(parts.map(\.name) == ["rdo-esp", "md0", "data"])
            #expect(parts.map(\.type) == [.efiSystem, .linuxRAID, .linuxRAID])
            let ranges = parts.map(table.range)
            #expect(ranges[0] == (1 << 20)..<(553 << 20))
            #expect(ranges[1].count == 5 << 30)
            #expect(ranges.allSatisfy { $0.lowerBound % (1 << 20) == 0 })
            // The last one takes the rest, but less than a mebibyte and the other table.
            #expect(ranges[2].upperBound > (20 << 30) - (2 << 20))
            #expect(Set(parts.map(\.id)).count == 3)
        }
        #expect(plan.volumes.map(\.order.device) == ["/dev/md0", "/dev/md1"])
        #expect(plan.volumes[0].order.members == ["/dev/nvme0n1p2", "/dev/sdb2"])
        #expect(plan.volumes[1].order.members == ["/dev/nvme0n1p3", "/dev/sdb3"])
        #expect(plan.volumes[0].order.id != plan.volumes[1].order.id)
        #expect(plan.volumes.map(\.order.level) == [.mirror, .stripes])
    }

    @Test func `puts what takes the rest last, and numbers arrays in that order`() throws {
        let plan = try plan(
            layout(wish("1", gibibytes: 0), wish("10", gibibytes: 3), mode: "bios"),
            [disk("sda"), disk("sdb")]
        )
        #expect(plan.volumes.map(\.order.device) == ["/dev/md1", "/dev/md0"])
        #expect(plan.volumes.map(\.order.name) == ["md1", "md0"])
        #expect(plan.volumes[0].order.members == ["/dev/sda3", "/dev/sdb3"])
        let parts = plan.tables[0].table.partitions.map(\.partition)
        #expect(parts.map(\.type) == [.biosBoot, .linuxRAID, .linuxRAID])
        #expect(GUID.biosBoot.description == "21686148-6449-6e6f-744e-656564454649")
        #expect(GUID.linuxRAID.description == "a19d880f-05fc-4d3b-a006-743f0f84911e")
    }

    @Test func `takes the disks that hints name, each once`() throws {
        let disks = [disk("sda"), disk("sdb"), disk("sdc")]
        let plan = try plan(
            layout(wish("1", gibibytes: 1, disks: ["s== serial of sdc", "<in> serial"])),
            disks
        )
        #expect(plan.tables.map(\.disk.path) == ["/dev/sda", "/dev/sdc"])
        #expect(plan.volumes[0].order.members == ["/dev/sdc2", "/dev/sda2"])
    }

    @Test func `what was built is built anew of as many disks, else the missing one is named`()
        throws
    {
        var volume = wish("1", gibibytes: 1)
        volume.members = 3
        func reason(_ disks: [BlockDevice]) -> String {
            let rebuilt = layout(volume)
            let failure = #expect(throws: ImpossibleRAID.self) { try plan(rebuilt, disks) }
            return failure?.reason ?? ""
        }
        let three = [disk("sda"), disk("sdb"), disk("sdc")]
        #expect(try plan(layout(volume), three).tables.count == 3)
        #expect(
            reason([disk("sda"), disk("sdc")])
                .contains("was built of 3 disks and there are 2: /dev/sda, /dev/sdc")
        )
        #expect(reason(three + [disk("sdd")]).contains("there are 4"))
        // Serial numbers say which one.
        volume.disks =
            wish("1", gibibytes: 1, disks: ["s== serial of sda", "s== serial of sdb"]).disks
        volume.members = 2
        #expect(
            reason([disk("sda"), disk("sdc")]).contains("member 2, serial “s== serial of sdb”")
        )
    }

    @Test(
        arguments: [
            (layout(), "0 volumes"),
            (
                layout(wish("1", gibibytes: 1), wish("1", gibibytes: 1), wish("1", gibibytes: 1)),
                "3 volumes"
            ),
            (layout(wish("0", gibibytes: 1)), "must be a mirror"),
            (layout(wish("1", gibibytes: 1), wish("50", gibibytes: 1)), "level 50"),
            (layout(wish("1", gibibytes: 1), wish("5", gibibytes: 1)), "takes 3 disks"),
            (layout(wish("1", gibibytes: 1), wish("6", gibibytes: 1)), "takes 4 disks"),
            (layout(wish("1", gibibytes: 0), wish("0", gibibytes: 0)), "all that is left"),
            (layout(wish("1", gibibytes: 20)), "too small"),
            (layout(wish("1", gibibytes: 1 << 50)), "no size"),
            (layout(wish("1", gibibytes: 1, name: "--force")), "no name"),
            (layout(wish("1", gibibytes: 1, name: "a\nb")), "no name"),
            (layout(wish("1", gibibytes: 1, name: "../x")), "no name"),
            (layout(wish("1", gibibytes: 1, name: String(repeating: "x", count: 28))), "no name"),
            (
                layout(wish("1", gibibytes: 1, name: "a"), wish("0", gibibytes: 1, name: "a")),
                "called a"
            ),
            (
                layout(
                    wish("1", gibibytes: 1, isRoot: true),
                    wish("0", gibibytes: 1, isRoot: true)
                ), "root volume"
            ),
            (layout(wish("1", gibibytes: 1, disks: ["none", "none"])), "no disk is left"),
            (layout(wish("1", gibibytes: 1, disks: ["", ""])), "hints of a disk are empty"),
            (layout(wish("1", gibibytes: 1, disks: ["s== serial of sda"])), "takes 2 disks"),
        ] as [(WireRAIDLayout, String)]
    )
    func `says what cannot be built`(layout: WireRAIDLayout, words: String) {
        let failure = #expect(throws: ImpossibleRAID.self) {
            try plan(layout, [disk("sda"), disk("sdb")])
        }
        #expect(failure?.reason.contains(words) == true, "\(failure?.reason ?? "")")
    }
}
