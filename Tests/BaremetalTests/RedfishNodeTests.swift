import Basics
import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

@Suite struct RedfishNodeTests {
    private func register(_ bench: Bench) async throws -> NodeID {
        try await bench.registerRedfish()
    }

    @Test func `a redfish node is inspected, provided and deployed as one with IPMI`() async throws
    {
        let bench = try Bench()
        let id = try await register(bench)
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "active")
        let machine = try #require(bench.world.machine(id))
        #expect(machine.log.prefix(3) == ["keys revoked, ramdisk", "boot pxe once", "power on"])
        #expect(machine.log.contains("boot disk always"))
    }

    @Test func `what the BMC tells about firmware is kept and shown`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.withClient { client async throws in
            let node = try await client.ask(.get, "/v1/nodes/c0").body
            #expect(node["boot_mode"] == "uefi")
            #expect(node["secure_boot"] == false)
            #expect(node["bios_interface"] == "redfish")
            let list = try await client.ask(.get, "/v1/nodes/c0/bios").body
            let settings = list["bios"]?.elements ?? []
            #expect(settings.map { $0["name"]?.text } == ["Boot", "Cores", "Quiet"])
            #expect(settings.map { $0["value"]?.text } == ["Uefi", "4", "True"])
            #expect(settings.first?["attribute_type"] == nil)
            let detailed = try await client.ask(.get, "/v1/nodes/c0/bios?detail=true").body
            #expect(detailed["bios"]?.elements?.first?["attribute_type"] == .null)
            let one = try await client.ask(.get, "/v1/nodes/c0/bios/Cores").body
            #expect(one["Cores"]?["value"] == "4")
            let wrong = try await client.ask(.get, "/v1/nodes/c0/bios?fields=colour")
            #expect(wrong.status == 400)
            let firmware = try await client.ask(.get, "/v1/nodes/c0/firmware").body
            let rows = firmware["firmware"]?.elements ?? []
            #expect(rows.map { $0["component"]?.text } == ["bios", "bmc"])
            #expect(rows.last?["model"] == "M2")
            #expect(rows.last?["initial_version"] == "2.1")
        }
    }

    @Test func `boot mode and secure boot are set and shown`() async throws {
        let bench = try Bench()
        let id = try await register(bench)
        try await bench.withClient { client async throws in
            let path = "/v1/nodes/c0/states"
            let mode = try await client.ask(.put, path + "/boot_mode", ["target": "bios"])
            #expect(mode.status == 202)
            let secure = try await client.ask(.put, path + "/secure_boot", ["target": true])
            #expect(secure.status == 202)
            let states = try await client.ask(.get, path).body
            #expect(states["boot_mode"] == "bios")
            #expect(states["secure_boot"] == true)
            let other = try await client.ask(.put, path + "/boot_mode", ["target": "fast"])
            #expect(other.status == 400)
            try await bench.ask(.manage, id)
            let busy = try await client.ask(.put, path + "/boot_mode", ["target": "uefi"])
            #expect(busy.status == 409)
        }
    }

    @Test func `a node without the interface is answered as Ironic does`() async throws {
        let bench = try Bench()
        _ = try await register(bench)
        _ = try await bench.register("c1", number: 2)
        try await bench.withClient { client async throws in
            for path in ["c0/management/indicators", "c1/vmedia", "c0/sensors"] {
                let answer = try await client.ask(.get, "/v1/nodes/" + path)
                #expect(answer.status == 400, "\(path)")
            }
            let patch: JSONValue = [
                ["op": "add", "path": "/management_interface", "value": "noop"]
            ]
            #expect(try await client.ask(.patch, "/v1/nodes/c0", patch).status == 200)
            let mode = try await client.ask(
                .put,
                "/v1/nodes/c0/states/boot_mode",
                ["target": "uefi"]
            )
            #expect(mode.status == 400)
        }
    }

    @Test func `another driver takes interfaces that it has, or none of the old ones`() async throws
    {
        let bench = try Bench()
        _ = try await register(bench)
        try await bench.withClient { client async throws in
            func set(_ members: [(String, JSONValue)], _ query: String = "") async throws -> Answer
            {
                let patch = members.map { name, value -> JSONValue in
                    ["op": "add", "path": .string("/" + name), "value": value]
                }
                return try await client.ask(.patch, "/v1/nodes/c0" + query, .array(patch))
            }
            for (name, value) in [
                ("boot_interface", "redfish-virtual-media"), ("bios_interface", "redfish"),
                ("power_interface", "redfish"),
            ] {
                #expect(try await set([(name, .string(value))]).status == 200)
                let wrong = try await set([("driver", "ipmi")])
                #expect(wrong.status == 400, "\(name)")
                #expect(wrong.fault.contains(name), "\(wrong.fault)")
                let both = try await set([(name, .null), ("driver", "ipmi")])
                #expect(both.status == 200, "\(both.fault)")
                #expect(try await set([("driver", "redfish")]).status == 200)
            }
            _ = try await set([("boot_interface", "redfish-virtual-media")])
            let alone = try await set([("name", "c0")], "?reset_interfaces=true")
            #expect(alone.status == 400)
            #expect(alone.fault.contains("with a change of the driver only"))
            let reset = try await set(
                [("driver", "ipmi"), ("boot_interface", "pxe")],
                "?reset_interfaces=true"
            )
            #expect(reset.status == 200)
            #expect(reset.body["power_interface"] == "ipmitool")
            #expect(reset.body["boot_interface"] == "pxe")
        }
    }

    @Test(arguments: [
        (["redfish_address": "bmc.example"], "https://bmc.example:443/redfish/v1"),
        (["redfish_address": "http://192.0.2.1:8000/api/"], "http://192.0.2.1:8000/api"),
        (["redfish_address": "https://[2001:db8::1]"], "https://2001:db8::1:443/redfish/v1"),
    ])
    func `driver_info names the service`(_ fields: [String: String], _ wanted: String) throws {
        let info = DriverInfo(fields: fields.mapValues(JSONValue.string))
        let bmc = try info.redfish(label: "c0")
        let access = try #require(bmc.redfish)
        let scheme = access.isSecure ? "https" : "http"
        #expect("\(scheme)://\(bmc.endpoint)\(access.root)" == wanted)
        #expect(access.authentication == .auto)
        #expect(access.verification == .host)
    }

    @Test(
        arguments: [
            ([:], "has no redfish_address"),
            (["redfish_address": "https://u:p@bmc"], "is no address"),
            (
                ["redfish_address": "bmc", "redfish_system_id": "437"],
                "redfish_system_id is no path"
            ),
            (["redfish_address": "bmc", "redfish_username": "a"], "go together"),
            (["redfish_address": "bmc", "redfish_auth_type": "none"], "redfish_auth_type must be"),
            (
                ["redfish_address": "bmc", "redfish_verify_ca": "/etc/shadow"],
                "redfish_verify_ca must"
            ),
            (
                ["redfish_address": "bmc", "redfish_verify_ca": "/etc/ssl/../shadow"],
                "verify_ca must"
            ),
        ] as [([String: String], String)]
    )
    func `a wrong driver_info is named`(_ fields: [String: String], _ words: String) {
        let info = DriverInfo(fields: fields.mapValues(JSONValue.string))
        let fault = #expect(throws: Fault.self) { try info.redfish(label: "c0") }
        #expect(fault?.kind == .invalid)
        #expect(fault?.message.contains(words) == true)
    }

    @Test func `a project does not move the address and keep the password`() throws {
        var before = Node(
            id: NodeID(unchecked: "5f0c6b9e-0000-4000-8000-000000000001"),
            driver: "redfish",
            at: Timestamp(nanoseconds: 0)
        )
        before.owner = "project"
        before.driverInfo = DriverInfo(
            fields: ["redfish_address": "https://bmc", "redfish_verify_ca": "true"],
            secrets: ["redfish_password": Secret("secret")]
        )
        let member = Principal(
            userID: "u",
            userName: "kim",
            scope: .project(id: "project", name: "project"),
            role: .member,
            isAdminProject: false,
            tokenID: "t"
        )
        for change in [
            ["redfish_address": "https://thief"], ["redfish_verify_ca": "false"],
        ] {
            var after = before
            for (key, value) in change { after.driverInfo.fields[key] = .string(value) }
            #expect(throws: Fault.self) {
                try NodeAccess.check(after, editedFrom: before, by: member)
            }
            after.driverInfo.secrets["redfish_password"] = Secret("new")
            #expect(throws: Never.self) {
                try NodeAccess.check(after, editedFrom: before, by: member)
            }
        }
    }
}
