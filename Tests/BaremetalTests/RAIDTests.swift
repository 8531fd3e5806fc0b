import Basics
import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

private let root: JSONValue = [
    "size_gb": 100, "raid_level": "1", "controller": "software", "is_root_volume": true,
]
private let data: JSONValue = [
    "size_gb": "MAX", "raid_level": "1+0", "controller": "software", "volume_name": "data",
]
private let both: JSONValue = ["logical_disks": [root, data]]

extension JSONValue {
    /// The same with other members.
    fileprivate func with(_ members: [String: JSONValue]) -> JSONValue {
        .object((self.members ?? [:]).merging(members) { $1 })
    }
}

@Suite struct RAIDTests {
    private static let node = "/v1/nodes/c0"

    /// A node that may have RAID, with UEFI.
    private func bench() async throws -> (Bench, NodeID) {
        let bench = try Bench()
        let id = try await bench.register()
        _ = try await bench.service.update("c0", by: nil) {
            $0.interfaces["raid_interface"] = "agent"
            $0.properties["capabilities"] = "boot_mode:uefi,x:y"
        }
        return (bench, id)
    }

    private func clean(_ steps: JSONValue..., on id: NodeID, _ bench: Bench) async throws {
        try await bench.ask(.clean(steps.map(StepRequest.init), ramdisk: nil), id)
        try await bench.settle(id)
    }

    private func step(_ name: String, _ args: JSONValue = [:]) -> JSONValue {
        ["interface": "raid", "step": .string(name), "args": args]
    }

    private func manageable(_ id: NodeID, _ bench: Bench) async throws {
        try await bench.ask(.manage, id)
        try await bench.settle(id)
    }

    @Test func `a target is stored, shown and taken back; without the interface it is refused`()
        async throws
    {
        let (bench, _) = try await bench()
        try await bench.withClient { client async throws in
            let set = try await client.ask(.put, Self.node + "/states/raid", both)
            #expect(set.status == 204)
            let shown = try await client.ask(.get, Self.node)
            #expect(shown.body["target_raid_config"] == both)
            #expect(shown.body["raid_config"] == [:])
            let states = try await client.ask(.get, Self.node + "/states")
            #expect(states.body["target_raid_config"] == both)
            #expect(try await client.ask(.put, Self.node + "/states/raid", [:]).status == 204)
            #expect(try await client.ask(.get, Self.node).body["target_raid_config"] == [:])
            let valid = try await client.ask(.get, Self.node + "/validate")
            #expect(valid.body["raid"]?["result"] == true)
            _ = try await client.ask(
                .patch,
                Self.node,
                [["op": "remove", "path": "/raid_interface"]]
            )
            let refused = try await client.ask(.put, Self.node + "/states/raid", both)
            #expect(refused.status == 404)
            #expect(refused.fault.contains("does not support raid"))
            let patch = try await client.ask(
                .patch,
                Self.node,
                [["op": "add", "path": "/target_raid_config", "value": both]]
            )
            #expect(patch.status == 400)
        }
    }

    @Test func `what a logical disk may say is listed for every driver`() async throws {
        let (bench, _) = try await bench()
        try await bench.withClient { client async throws in
            let path = "/v1/drivers/ipmi/raid/logical_disk_properties"
            let answer = try await client.ask(.get, path)
            #expect(
                answer.body.members?.keys.sorted() == [
                    "controller", "disk_type", "interface_type", "is_root_volume",
                    "number_of_physical_disks", "physical_disks", "raid_level",
                    "share_physical_disks", "size_gb", "volume_name",
                ]
            )
            let none = "/v1/drivers/none/raid/logical_disk_properties"
            #expect(try await client.ask(.get, none).status == 404)
        }
    }

    @Test(
        arguments: [
            ([:], "logical_disks is required"), (["logical_disks": []], "1 to 64"),
            (["logical_disks": "x"], "1 to 64"), (["logical_disks": [1]], "must be an object"),
            (["logical_disks": [root], "x": 1], "“x” is not known"),
            (["logical_disks": [["size_gb": 1]]], "raid_level is required"),
            (["logical_disks": [["raid_level": "1"]]], "size_gb is required"),
            (["logical_disks": [root.with(["raid_level": "7"])]], "raid_level must be one of"),
            (["logical_disks": [root.with(["size_gb": -1])]], "size_gb must be"),
            (["logical_disks": [root.with(["size_gb": "max"])]], "size_gb must be"),
            (["logical_disks": [root.with(["size_gb": 1.5])]], "size_gb must be"),
            (["logical_disks": [root.with(["is_root_volume": "yes"])]], "true or false"),
            (["logical_disks": [root.with(["disk_type": "tape"])]], "hdd or ssd"),
            (["logical_disks": [root.with(["number_of_physical_disks": 0])]], "above zero"),
            (["logical_disks": [root.with(["physical_disks": [["size": 1]]])]], "at least two"),
            (["logical_disks": [root.with(["physical_disks": [1, 2]])]], "list of names"),
            (["logical_disks": [root.with(["shape": "round"])]], "“shape” is no property"),
            (["logical_disks": [root, root]], "more than one root volume"),
            (
                [
                    "logical_disks": [
                        ["size_gb": 1, "raid_level": "1", "physical_disks": ["sda"]]
                    ]
                ], "takes controller"
            ),
        ] as [(JSONValue, String)]
    )
    func `a configuration outside of Ironic's schema is refused`(
        config: JSONValue,
        words: String
    ) throws {
        let failure = #expect(throws: Fault.self) {
            try RAIDConfiguration.check(config.members ?? [:])
        }
        #expect(failure?.kind == .invalid)
        #expect(failure?.message.contains(words) == true, "\(failure?.message ?? "")")
    }

    @Test(
        arguments: [
            (["logical_disks": [root, data, data.with(["volume_name": "d"])]], "one or two"),
            (["logical_disks": [["size_gb": 1, "raid_level": "1"]]], "controller “software”"),
            (["logical_disks": [data]], "raid_level 1"),
            (["logical_disks": [root, data.with(["raid_level": "5+0"])]], "5+0"),
            (["logical_disks": [root.with(["size_gb": "MAX"]), data]], "size MAX"),
            (["logical_disks": [root.with(["size_gb": 0])]], "above zero"),
            (["logical_disks": [root.with(["volume_name": "data"]), data]], "twice"),
            (["logical_disks": [root.with(["volume_name": "-x"])]], "begin with"),
            (["logical_disks": [root.with(["volume_name": "a b"])]], "begin with"),
            (["logical_disks": [root.with(["physical_disks": ["a", "b"]])]], "with hints"),
        ] as [(JSONValue, String)]
    )
    func `a step that software cannot take is refused before any machine boots`(
        config: JSONValue,
        words: String
    ) async throws {
        let (bench, id) = try await bench()
        try await manageable(id, bench)
        try await bench.service.setTargetRAID(config.members ?? [:], of: "c0", by: nil)
        let failure = await #expect(throws: (any Error).self) {
            try await clean(step("create_configuration"), on: id, bench)
        }
        #expect(failure.map { "\($0)" }?.contains(words) == true)
        #expect(try await bench.state(id) == "manageable")
    }

    @Test(
        arguments: [
            ("create_configuration", [:], "no target RAID configuration"),
            ("create_configuration", ["create_root_volume": "perhaps"], "true or false"),
            ("create_configuration", ["raid_config": [:]], "unexpected arguments"),
            ("apply_configuration", ["raid_config": both], "does not support this clean step"),
        ] as [(String, JSONValue, String)]
    )
    func `a step that makes no sense is refused`(
        name: String,
        args: JSONValue,
        words: String
    ) async throws {
        let (bench, id) = try await bench()
        try await manageable(id, bench)
        let failure = await #expect(throws: (any Error).self) {
            try await clean(step(name, args), on: id, bench)
        }
        #expect(failure.map { "\($0)" }?.contains(words) == true)
    }

    @Test func `RAID is built, kept by every erase, used by a deployment, and taken away`()
        async throws
    {
        let (bench, id) = try await bench()
        try await manageable(id, bench)
        try await bench.service.setTargetRAID(both.members ?? [:], of: "c0", by: nil)
        try await clean(step("delete_configuration"), step("create_configuration"), on: id, bench)
        var node = try #require(try await bench.service.find(id))
        #expect(node.state == .manageable, "\(node.lastError ?? "")")
        let disks = try #require(node.raidConfig["logical_disks"]?.elements)
        #expect(disks.map { $0["volume_name"] } == ["md0", "data"])
        #expect(disks.map { $0["device"] } == ["/dev/md0", "/dev/md1"])
        #expect(
            disks[0]["member_disks"]?.elements?.compactMap { $0["serial"]?.text } == ["S1", "S2"]
        )
        #expect(node.raidConfig["last_updated"]?.text != nil)
        #expect(node.properties["local_gb"] == 100)
        #expect(node.capabilities == ["boot_mode": "uefi", "raid_level": "1", "x": "y"])

        // The cleaning before a node is free wipes its disks and builds the same again.
        try await bench.ask(.provide, id)
        try await bench.settle(id)
        node = try #require(try await bench.service.find(id))
        #expect(node.state == .available)
        let again = try #require(node.raidConfig["logical_disks"]?.elements)
        #expect(again.map { $0["volume_name"] } == ["md0", "data"])
        #expect(again[0]["array_uuid"] != disks[0]["array_uuid"])

        try await bench.choose("plain", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        let machine = try #require(bench.world.machine(id))
        #expect(machine.raid.volumes.map(\.array) == again.compactMap { $0["array_uuid"]?.text })
        #expect(machine.raid.volumes.map(\.isRoot) == [true, false])
        #expect(machine.raid.volumes.map(\.level) == ["1", "10"])
        // A rebuilt array takes the very same disks.
        #expect(machine.raid.volumes[0].disks.map(\.serial) == ["s== S1", "s== S2"])

        try await bench.ask(.delete, id)
        try await bench.settle(id)
        try await bench.ask(.manage, id)
        try await clean(step("delete_configuration"), on: id, bench)
        node = try #require(try await bench.service.find(id))
        #expect(node.raidConfig.isEmpty)
        #expect(!node.targetRAIDConfig.isEmpty)
    }

    @Test func `says that deleting what exists reaches beyond the disks that are named`() {
        for step in RAIDSteps.all where step.step != "delete_configuration" {
            let argument = step.arguments.first { $0.name == "delete_existing" }
            #expect(argument?.description.contains("also outside physical_disks") == true)
        }
    }

    @Test func `arguments choose the volumes`() async throws {
        let (bench, id) = try await bench()
        try await manageable(id, bench)
        try await bench.service.setTargetRAID(both.members ?? [:], of: "c0", by: nil)
        let args: JSONValue = ["create_nonroot_volumes": false, "delete_existing": true]
        try await clean(step("create_configuration", args), on: id, bench)
        let node = try #require(try await bench.service.find(id))
        #expect(node.raidConfig["logical_disks"]?.elements?.count == 1)
        // Of the others alone the first would be no mirror.
        let other = await #expect(throws: (any Error).self) {
            try await clean(
                step("create_configuration", ["create_root_volume": false]),
                on: id,
                bench
            )
        }
        #expect(other.map { "\($0)" }?.contains("raid_level 1") == true)
    }

    @Test func `a deployment may build it, before its image is written`() async throws {
        let (bench, id) = try await bench()
        try await bench.makeAvailable(id)
        try await bench.choose("plain", for: id)
        func request(_ priority: Int) -> StepRequest {
            StepRequest(
                "raid",
                "apply_configuration",
                args: ["raid_config": ["logical_disks": [root]]],
                priority: priority
            )
        }
        let late = await #expect(throws: (any Error).self) {
            try await bench.ask(.deploy(configDrive: nil, steps: [request(70)]), id)
        }
        #expect(late.map { "\($0)" }?.contains("would destroy") == true)
        try await bench.ask(.deploy(configDrive: nil, steps: [request(90)]), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        let machine = try #require(bench.world.machine(id))
        #expect(machine.raid.volumes.count == 1)
        let steps = machine.log.filter { ["built RAID", "written"].contains($0) }
        #expect(steps == ["built RAID", "written"])
    }

    @Test(arguments: ["boot_mode:bios", "boot_mode:uefi"], [nil, "S3"])
    func `an image goes to the root volume, or to the disk that is named`(
        mode: String,
        named: String?
    ) async throws {
        let (bench, id) = try await bench()
        try await manageable(id, bench)
        _ = try await bench.service.update("c0", by: nil) {
            $0.properties["capabilities"] = .string(mode)
        }
        try await bench.service.setTargetRAID(["logical_disks": [root]], of: "c0", by: nil)
        try await clean(step("create_configuration"), on: id, bench)
        try await bench.ask(.provide, id)
        try await bench.settle(id)
        try await bench.choose("plain", for: id)
        if let named {
            _ = try await bench.service.update("c0", by: nil) {
                $0.properties["root_device"] = ["serial": .string(named)]
            }
        }
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
    }
}

extension WireBuiltRAID {
    /// Arrays as an agent would build them on two disks; with another identity each time.
    init(made layout: WireRAIDLayout) {
        self.init()
        for (number, wish) in layout.volumes.enumerated() {
            var volume = WireBuiltRAID.Volume()
            volume.name = wish.name.isEmpty ? "md\(number)" : wish.name
            volume.level = wish.level
            volume.device = "/dev/md\(number)"
            volume.bytes = (wish.sizeMib == 0 ? 40 << 10 : wish.sizeMib) << 20
            let digit = wish.array.hasPrefix("a") ? "b" : "a"
            volume.array = String(repeating: digit, count: 31) + "\(number)"
            volume.disks = ["/dev/sda", "/dev/sdb"]
            volume.serials = ["S1", "S2"]
            volumes.append(volume)
        }
    }
}
