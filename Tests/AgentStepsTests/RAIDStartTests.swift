import AgentSystem
import Basics
import Protocol
import Synchronization
import Testing

@testable import AgentSteps

struct `Starting software RAID` {
    private let own = ArrayID(bytes: [UInt8](repeating: 7, count: 16))
    private let other = ArrayID(bytes: [UInt8](repeating: 8, count: 16))

    private func wanted(_ id: ArrayID) -> WireRAIDLayout {
        var layout = smallMirror
        layout.volumes[0].array = id.description
        return layout
    }

    @Test func `goes by identity; what strangers left on disks stays stopped`() async throws {
        let rack = Rack()
        _ = try await build(rack)
        try rack.mark("/dev/sda2", own)
        try rack.mark("/dev/sdb2", other)
        rack.arrays.state.withLock { $0.running = ["/dev/md99"] }
        let started = try await rack.work.start(wanted(own), Ear())
        #expect(started == [RAIDWork.Started(device: "/dev/md0", isRoot: true)])
        let state = rack.arrays.state.withLock { $0 }
        #expect(state.stopped == ["/dev/md99"])
        #expect(state.assembled.map(\.members) == [["/dev/sda2"]])
        #expect(state.assembled.map(\.id) == [own])
    }

    @Test(arguments: ["07", "../../x", String(repeating: "a", count: 32)])
    func `says so when the root volume is gone`(array: String) async throws {
        let rack = Rack()
        _ = try await build(rack)
        var layout = smallMirror
        layout.volumes[0].array = array
        let failure = await #expect(throws: StepFailure.self) {
            try await rack.work.start(layout, Ear())
        }
        #expect(failure?.message.contains("cannot start the software RAID volume") == true)
        #expect(rack.arrays.state.withLock { $0.assembled.isEmpty })
    }

    @Test func `nothing is started for a node without RAID`() async throws {
        let rack = Rack()
        _ = try await build(rack)
        try rack.mark("/dev/sda2", own)
        #expect(try await rack.work.start(WireRAIDLayout(), Ear()).isEmpty)
        #expect(rack.arrays.state.withLock { $0.assembled.isEmpty })
    }

    /// Two volumes, the second not the root's, on disks whose members carry their marks.
    private func twoVolumes(on rack: Rack) async throws -> WireRAIDLayout {
        var layout = smallMirror
        layout.volumes.append(layout.volumes[0])
        layout.volumes[1].isRoot = false
        _ = try await build(rack, layout)
        for (place, id) in [own, other].enumerated() {
            layout.volumes[place].array = id.description
            for disk in ["/dev/sda", "/dev/sdb"] { try rack.mark("\(disk)\(place + 2)", id) }
        }
        return layout
    }

    /// Its members would be disks like all others, and the volume beside it the only array.
    @Test func `nothing is written while any volume cannot be started`() async throws {
        let rack = Rack()
        let layout = try await twoVolumes(on: rack)
        rack.arrays.state.withLock { $0.broken = [other] }
        let (before, image) = (rack.volume.changes.count, SampleImage(seed: 1))
        var command = WireCommand()
        command.writeImage = image.order(drive: false)
        command.writeImage.bootMode = "uefi"
        command.writeImage.raid = layout
        let failure = await #expect(throws: StepFailure.self) {
            try await rack.writer(of: image).run(command, in: noContext, report: Ear())
        }
        #expect(failure?.message.contains("cannot start the software RAID volume") == true)
        #expect(failure?.message.contains("replace the broken disk") == true)
        #expect(failure?.retryable == true)
        #expect(rack.volume.changes.count == before)
    }

    @Test func `an inspection says which volume cannot be started and shows the rest`()
        async throws
    {
        let rack = Rack()
        var command = WireCommand()
        command.inspect.raid = try await twoVolumes(on: rack)
        rack.arrays.state.withLock { $0.broken = [own] }
        let tree = FileTree(files: { _ in nil })
        let step = Inspect(
            machine: Machine(
                tree: tree,
                disks: rack,
                network: SystemNetwork(tree: tree),
                firmware: SystemFirmware(tree: tree)
            ),
            network: SystemNetwork(tree: tree),
            lldp: LLDPMemory(),
            bootMAC: "",
            started: .zero,
            time: LeapingTime(),
            raid: rack.work
        )
        let ear = Ear()
        _ = try await step.run(command, in: noContext, report: ear)
        #expect(rack.arrays.state.withLock { $0.assembled.map(\.id) } == [other])
        #expect(ear.lines.contains { $0.contains("cannot start the software RAID volume") })
    }

    /// `raid_config` keeps the names that the build reported.
    @Test func `gives arrays the names they were built with`() async throws {
        let rack = Rack()
        var layout = smallMirror
        layout.volumes[0].sizeMib = 0
        layout.volumes.append(wish("1", gibibytes: 0, name: "data"))
        layout.volumes[1].sizeMib = 100
        let built = try await build(rack, layout)
        #expect(built.volumes.map(\.device) == ["/dev/md1", "/dev/md0"])
        for (place, volume) in built.volumes.enumerated() {
            layout.volumes[place].array = volume.array
            let id = try #require(ArrayID(volume.array))
            let orders = rack.arrays.state.withLock { $0.created }
            for member in try #require(orders.first { $0.id == id }).members {
                try rack.mark(member, id)
            }
        }
        let started = try await rack.work.start(layout, Ear())
        let names = rack.arrays.state.withLock { $0.assembled.map { [$0.device, "\($0.id)"] } }
        #expect(Set(names) == Set(built.volumes.map { [$0.device, $0.array] }))
        #expect(started.first(where: \.isRoot)?.device == "/dev/md1")
    }

    @Test(arguments: [2, 3])
    func `a write tells of a volume that lacks members`(members: UInt32) async throws {
        let rack = Rack()
        var command = WireCommand()
        command.writeImage = SampleImage(seed: 1).order(drive: false)
        command.writeImage.bootMode = "uefi"
        command.writeImage.raid = try await twoVolumes(on: rack)
        command.writeImage.raid.volumes[0].members = 2
        command.writeImage.raid.volumes[1].members = members
        let ear = Ear()
        let outcome = try await rack.writer(of: SampleImage(seed: 1))
            .run(command, in: noContext, report: ear)
        guard case .written(let written) = outcome else {
            throw StepFailure("cannot test: another outcome", retryable: false)
        }
        let words = "runs with 2 of 3 members (found: /dev/sda3, /dev/sdb3)"
        #expect(written.choice.contains { $0.contains(words) } == (members == 3))
        #expect(ear.lines.contains { $0.contains(words) } == (members == 3))
        #expect(!written.choice.contains { $0.contains("/dev/md0 is the volume") })
    }

    @Test func `an erase does not build a mirror anew of the disk that is left`() async throws {
        let rack = Rack()
        var command = WireCommand()
        command.eraseMetadata.raid = smallMirror
        command.eraseMetadata.raid.volumes[0].members = 3
        let failure = await #expect(throws: StepFailure.self) {
            try await EraseMetadata(raid: rack.work).run(command, in: noContext, report: Ear())
        }
        #expect(failure?.message.contains("was built of 3 disks and there are 2") == true)
        #expect(failure?.message.contains("have the disks as they were") == true)
        #expect(rack.arrays.state.withLock { $0.created.isEmpty })
    }
}
