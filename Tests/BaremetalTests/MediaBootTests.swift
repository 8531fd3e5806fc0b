import Agents
import Basics
import Boot
import HTTP
import HTTPTypes
import Power
import Protocol
import Store
import Testing

@testable import Baremetal

/// Nodes whose ramdisk comes from a CD that their BMC shows.
@Suite struct MediaBootTests {
    static let network: JSONValue = [
        "links": [
            ["id": "nic", "type": "phy", "ethernet_mac_address": "52:54:00:C0:00:01"],
            [
                "id": "tagged", "type": "vlan", "vlan_id": 100, "vlan_link": "nic",
                "vlan_mac_address": "52:54:00:c0:00:01",
            ],
        ],
        "networks": [
            [
                "id": "far", "type": "ipv4", "link": "nic", "network_id": "x",
                "ip_address": "198.51.100.9", "netmask": "255.255.255.0",
            ],
            [
                "id": "near", "type": "ipv4", "link": "tagged", "network_id": "y",
                "ip_address": "192.0.2.77", "netmask": "255.255.255.0",
                "routes": [
                    ["network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.254"]
                ],
                "services": [["type": "dns", "address": "192.0.2.53"]],
            ],
        ],
        "services": [["type": "dns", "address": "2001:db8::1"]],
    ]

    private func register(_ bench: Bench, network: JSONValue? = network) async throws -> NodeID {
        let id = try await bench.register()
        _ = try await bench.service.update(id.text, by: nil) { node in
            node.driver = "redfish"
            node.driverInfo = DriverInfo(
                fields: ["redfish_address": "https://192.0.2.201", "redfish_username": "bmc1"],
                secrets: ["redfish_password": Secret("secret")]
            )
            node.interfaces["boot_interface"] = "redfish-virtual-media"
            node.networkData = network?.members ?? [:]
        }
        return id
    }

    /// Works until the BMC has the image; its capability.
    private func startBoot(_ bench: Bench, _ id: NodeID) async throws -> Secret {
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(.inspect, id)
        for _ in 0..<20 where bench.world.machine(id)?.medium == nil {
            _ = await bench.reconciler.reconcile(id)
        }
        let image = try #require(bench.world.machine(id)?.medium)
        #expect(image.hasPrefix("http://192.0.2.1:8088/boot/media/"))
        #expect(image.hasSuffix("/ramdisk.iso"))
        return SimulatedWorld.capability(of: image)
    }

    @Test func `a node is inspected, cleaned and deployed without DHCP and one boot from the CD`()
        async throws
    {
        let bench = try Bench()
        let id = try await register(bench)
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        let machine = try #require(bench.world.machine(id))
        #expect(
            machine.log.prefix(5) == [
                "keys revoked, ramdisk", "insert cdrom", "boot cdrom once", "power on",
                "ramdisk runs",
            ]
        )
        #expect(machine.log.filter { $0.hasPrefix("insert") || $0 == "eject" }.count == 2)
        #expect(!machine.log.contains("boot pxe once"))
        #expect(machine.medium == nil, "the image is taken out once the agent came")
        #expect(try #require(try await bench.service.find(id)).bootMedium == nil)
    }

    @Test(arguments: [true, false])
    func `nobody gets the ramdisk or a token over the network while the CD is expected`(
        isOpen: Bool
    ) async throws {
        let bench = try Bench {
            $0.isDiscoveryOpen = isOpen
            $0.trustsFirstBoot = true
        }
        let id = try await register(bench)
        _ = try await startBoot(bench, id)
        #expect(try #require(try await bench.service.find(id)).expectsRamdisk)
        let mac = try #require(bench.world.machine(id)).mac
        let tokens = bench.world.issued.count
        #expect(
            try await bench.policy.decision(for: mac)
                == .localDisk(reason: "node c0 takes its ramdisk from virtual media")
        )
        #expect(try await bench.policy.fragment(for: mac) == nil)
        #expect(bench.world.issued.count == tokens)
        // Over the network, as soon as its boot interface says so.
        _ = try await bench.service.update(id.text, by: nil) {
            $0.interfaces["boot_interface"] = "ipxe"
        }
        #expect(try await bench.policy.decision(for: mac) == .ramdisk)
    }

    @Test func `a machine that tells the BMC of such a node is not taken for it`() async throws {
        let bench = try Bench {
            $0.isDiscoveryOpen = true
            $0.trustsFirstBoot = true
        }
        let known = try await bench.service.create(id: nil, driver: "redfish", by: nil) { node in
            node.name = "victim"
            node.driverInfo.fields["ipmi_address"] = "192.0.2.201"
            node.interfaces["boot_interface"] = "redfish-virtual-media"
        }
        try await bench.service.database.write { [sealer = bench.service.sealer] transaction in
            var node = known
            node.state = .inspecting(job: RamdiskJob(at: known.createdAt))
            try transaction.save(
                node,
                before: known,
                cause: "test",
                at: known.createdAt,
                sealer: sealer
            )
        }
        var request = WireEnrolRequest()
        request.bootMac = "52:54:00:99:00:07"
        request.bmcAddress = "192.0.2.201"
        let refusal = await #expect(throws: Fault.self) {
            _ = try await bench.policy.enrolUnknown(request, address: "192.0.2.150")
        }
        #expect(refusal?.message.contains("virtual media") == true)
        let ports = try await bench.service.database.read { try $0.ports(of: known.id) }
        #expect(ports.isEmpty)
    }

    @Test func `the image holds the node's own network and token, and only during its boot`()
        async throws
    {
        let bench = try Bench()
        let id = try await register(bench)
        let capability = try await startBoot(bench, id)
        let fragment = try #require(try await bench.policy.medium(of: capability))
        #expect(fragment.token == Secret(bytes: [UInt8](repeating: 7, count: 32)))
        #expect(fragment.mac?.text == "52:54:00:c0:00:01")
        let network = try #require(fragment.network)
        #expect(network.address.text == "192.0.2.77", "the one that leads to the controller")
        #expect(network.vlan == 100)
        #expect(network.prefix == 24)
        #expect(network.routes.map(\.gateway.text) == ["192.0.2.254"])
        #expect(network.nameServers.map(\.text) == ["192.0.2.53"])
        // Each part of the image that is fetched is of the same boot.
        #expect(try await bench.policy.medium(of: capability) == fragment)
        #expect(bench.world.issued.count == 1)
        #expect(try await bench.service.mediaPlacement(of: id) == .at("192.0.2.77"))

        for wrong in ["", ".", id.text, "\(id.text).", "\(id.text).AAAA", "x.y", "a.b.c"] {
            #expect(try await bench.policy.medium(of: Secret(wrong)) == nil, "\(wrong)")
        }
        try await bench.settle(id)
        #expect(try await bench.state(id) == "manageable")
        #expect(try await bench.policy.medium(of: capability) == nil)
        #expect(try await bench.service.mediaPlacement(of: id) == nil)
    }

    @Test func `readers of the node do not learn the address of its boot image`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        let capability = try await startBoot(bench, id)
        try await bench.withClient { client async throws in
            let answer = try await client.ask(.get, "/v1/nodes/\(id.text)/vmedia")
            #expect(answer.status == 200)
            let text = answer.body.canonicalText
            #expect(text.contains("http://192.0.2.1:8088/boot/media/***"))
            #expect(!text.contains(capability.reveal()))
        }
    }

    @Test func `an aborted boot takes the image out, and a new one has another capability`()
        async throws
    {
        let bench = try Bench()
        let id = try await register(bench)
        let first = try await startBoot(bench, id)
        try await bench.ask(.abort, id)
        #expect(try await bench.policy.medium(of: first) == nil)
        _ = await bench.reconciler.reconcile(id)
        #expect(bench.world.machine(id)?.medium == nil)
        let second = try await startBoot(bench, id)
        #expect(first != second)
        #expect(try await bench.policy.medium(of: first) == nil)
        #expect(try await bench.policy.medium(of: second) != nil)
    }

    @Test func `a controller that stops in the middle of a boot serves the same image`()
        async throws
    {
        let bench = try Bench()
        let id = try await register(bench)
        let capability = try await startBoot(bench, id)
        let before = try await bench.policy.medium(of: capability)
        let again = try Bench(database: bench.database)
        #expect(before != nil)
        #expect(try await again.policy.medium(of: capability) == before)
    }

    @Test func `a BMC that keeps the image holds up nothing but the ejection`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        _ = try await startBoot(bench, id)
        try await bench.ask(.abort, id)
        bench.world.edit(id) { $0.bmc = .dead }
        _ = await bench.reconciler.reconcile(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.bootMedium != nil)
        #expect(node.obstacle == nil)
        bench.world.edit(id) { $0.bmc = .wrongPassword }
        _ = await bench.reconciler.reconcile(id)
        #expect(try #require(try await bench.service.find(id)).bootMedium == nil)
    }

    @Test func `a BMC that refuses to eject is let be after some tries`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        _ = try await startBoot(bench, id)
        bench.world.edit(id) { $0.keepsMedia = true }
        try await bench.ask(.abort, id)
        for _ in 0..<9 { _ = await bench.reconciler.reconcile(id) }
        #expect(try #require(try await bench.service.find(id)).bootMedium != nil)
        _ = await bench.reconciler.reconcile(id)
        #expect(try #require(try await bench.service.find(id)).bootMedium == nil)
    }

    @Test func `an image that somebody else put into the drive stays there`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        _ = try await startBoot(bench, id)
        bench.world.edit(id) { $0.medium = "http://192.0.2.9/firmware.iso" }
        try await bench.ask(.abort, id)
        _ = await bench.reconciler.reconcile(id)
        #expect(bench.world.machine(id)?.medium == "http://192.0.2.9/firmware.iso")
        #expect(try #require(try await bench.service.find(id)).bootMedium == nil)
    }

    @Test func `why a boot from media waits tells nobody the image's address`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.keepsMedia = true }
        try await bench.ask(.inspect, id)
        for _ in 0..<5 { _ = await bench.reconciler.reconcile(id) }
        let node = try #require(try await bench.service.find(id))
        let key = try #require(node.bootMedium).key.reveal()
        let obstacle = try #require(node.obstacle)
        #expect(obstacle.message.contains("/boot/media/***/ramdisk.iso (x)"))
        #expect(!obstacle.message.contains(key))
    }

    @Test func `without network data the ramdisk asks any DHCP server`() async throws {
        let bench = try Bench()
        let id = try await register(bench, network: nil)
        let capability = try await startBoot(bench, id)
        let fragment = try #require(try await bench.policy.medium(of: capability))
        #expect(fragment.network == nil)
        #expect(fragment.mac?.text == "52:54:00:c0:00:01")
        #expect(try await bench.service.mediaPlacement(of: id) == .anywhere)
    }

    @Test(
        arguments: [
            ([:], "links"), (["links": [], "networks": []], "IPv4 only"),
            (["links": [["id": "a", "type": "phy"]], "networks": []], "ethernet_mac_address"),
            (
                [
                    "links": [["id": "b", "type": "bond"]],
                    "networks": [["id": "n", "type": "ipv4", "link": "b"]],
                ], "not a bond"
            ),
            (
                [
                    "links": [
                        ["id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:c0:00:01"]
                    ],
                    "networks": [
                        [
                            "id": "n", "type": "ipv4", "link": "a", "ip_address": "192.0.2.7",
                            "netmask": "255.0.255.0",
                        ]
                    ],
                ], "netmask"
            ),
            (
                [
                    "links": [
                        ["id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:c0:00:01"],
                        ["id": "v", "type": "vlan", "vlan_link": "a", "vlan_id": 4095],
                    ], "networks": [],
                ], "vlan_id from 1 to 4094"
            ),
        ] as [(JSONValue, String)]
    )
    func `network data that the ramdisk cannot use is told before the machine is touched`(
        data: JSONValue,
        words: String
    ) async throws {
        let bench = try Bench()
        let id = try await register(bench, network: data == [:] ? ["x": 1] : data)
        try await bench.withClient { client async throws in
            let answer = try await client.ask(.get, "/v1/nodes/c0/validate").body
            #expect(answer["boot"]?["result"] == false)
            #expect(answer["boot"]?["reason"]?.text?.contains(words) == true)
        }
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(.inspect, id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state == .inspectFailed)
        #expect(node.lastError?.contains(words) == true)
        #expect(bench.world.machine(id)?.log.contains("power on") == false)
    }

    @Test func `the boot interface is Ironic's, and only of drivers that have it`() async throws {
        let bench = try Bench()
        _ = try await register(bench)
        try await bench.withClient { client async throws in
            let node = try await client.ask(.get, "/v1/nodes/c0").body
            #expect(node["boot_interface"] == "redfish-virtual-media")
            let valid = try await client.ask(.get, "/v1/nodes/c0/validate").body
            #expect(valid["boot"]?["result"] == true)
        }
        let other = try await bench.register("c1", number: 2)
        try await bench.withClient { client async throws in
            let patch: JSONValue = [
                ["op": "add", "path": "/boot_interface", "value": "redfish-virtual-media"]
            ]
            #expect(try await client.ask(.patch, "/v1/nodes/\(other)", patch).status == 400)
        }
    }
}

/// How often a machine starts on its way to a running image.
@Suite struct FastTrackTests {
    @Test(arguments: ["ipmi", "redfish-virtual-media"])
    func `a fresh node is switched on once and restarted once until it is active`(
        way: String
    ) async throws {
        let bench = try Bench()
        let id = try await bench.register()
        if way != "ipmi" {
            _ = try await bench.service.update(id.text, by: nil) { node in
                node.driver = "redfish"
                node.driverInfo = DriverInfo(
                    fields: ["redfish_address": "https://192.0.2.201", "redfish_username": "bmc1"],
                    secrets: ["redfish_password": Secret("secret")]
                )
                node.interfaces["boot_interface"] = way
            }
        }
        try await bench.makeAvailable(id)
        let ramdisk = try #require(bench.world.machine(id))
        #expect(ramdisk.running == .ramdisk, "it stays up between the jobs")
        #expect(ramdisk.boots == 1)
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        let machine = try #require(bench.world.machine(id))
        let starts = machine.log.filter {
            $0.hasPrefix("power ") || $0 == "restarted" || $0.hasSuffix(" runs")
        }
        let restart = way == "ipmi" ? ["restarted"] : ["power off", "power on"]
        #expect(starts == ["power on", "ramdisk runs"] + restart + ["disk runs"])
        #expect(machine.log.filter { ["inspected", "erased", "written"].contains($0) }.count == 3)
    }
}
