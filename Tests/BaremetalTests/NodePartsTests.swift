import HTTP
import HTTPTypes
import Protocol
import Testing

@testable import Baremetal

@Suite struct NodePartsTests {
    @Test func `every filter finds what it names`() async throws {
        let bench = try Bench()
        typealias Edit = @Sendable (inout Node) -> Void
        let nodes: [(String, Edit)] = [
            ("a", { $0.shard = "s1" }), ("b", { $0.description = "the old rack" }),
            ("c", { $0.lessee = "p1" }), ("d", { $0.owner = "p1" }),
            ("e", { $0.retired.isSet = true }), ("f", { $0.conductorGroup = "g" }),
            ("g", { $0.instanceName = "web" }), ("h", { $0.resourceClass = "gold" }),
        ]
        for (name, edit) in nodes {
            _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
                node.name = name
                edit(&node)
            }
        }
        let parent = try await bench.service.node("a").id
        _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
            node.name = "part"
            node.parent = parent
        }
        try await bench.withClient { client async throws in
            for (query, names) in [
                ("shard=s1,s2", ["a"]), ("sharded=true", ["a"]),
                ("description_contains=old", ["b"]), ("lessee=p1", ["c"]), ("owner=p1", ["d"]),
                ("project=p1", ["c", "d"]), ("retired=true", ["e"]), ("conductor_group=g", ["f"]),
                ("instance_name=web", ["g"]), ("resource_class=gold", ["h"]),
                ("parent_node=\(parent)", ["part"]), ("fault=power%20failure", []),
                ("conductor=elsewhere", []), ("conductor=undercloud&shard=s1", ["a"]),
                ("include_children=true&sort_key=name&sort_dir=desc&limit=2", ["part", "h"]),
            ] {
                let list = try await client.ask(.get, "/v1/nodes?" + query)
                let found = list.body["nodes"]?.elements?.compactMap { $0["name"]?.text }
                #expect(found == names, "\(query): \(list.fault)")
            }
            let all = try await client.ask(.get, "/v1/nodes")
            #expect(all.body["nodes"]?.elements?.count == 8)
            let children = try await client.ask(.get, "/v1/nodes/a/children")
            #expect(children.body["children"]?.elements?.count == 1)
            #expect(try await client.ask(.delete, "/v1/nodes/a").status == 409)
            let shards = try await client.ask(.get, "/v1/shards")
            #expect(shards.body["shards"]?.elements?.contains(["name": "s1", "count": 1]) == true)
            for key in NodeQuery.SortKey.allCases {
                let sorted = try await client.ask(.get, "/v1/nodes?sort_key=\(key.rawValue)")
                #expect(sorted.status == 200, "\(key)")
            }
        }
    }

    @Test func `a filter that is none, or of another type, is refused and lists nothing`()
        async throws
    {
        let bench = try Bench()
        _ = try await bench.register("c0")
        try await bench.withClient { client async throws in
            for (query, word) in [
                ("nodes?ownr=p1", "ownr"), ("nodes/detail?nam%65=c0&owner=p", "name"),
                ("nodes?fault=tired", "tired"), ("nodes?instance_uuid=seven", "seven"),
                ("nodes/c0?colour=red", "colour"), ("ports?adress=52:54:00:c0:00:01", "adress"),
                ("allocations?node_name=c0", "node_name"), ("drivers?tipe=dynamic", "tipe"),
                ("conductors?host=a", "host"), ("nodes/c0/history?details=true", "details"),
            ] {
                let answer = try await client.ask(.get, "/v1/" + query)
                #expect(answer.status == 400, "\(query)")
                #expect(answer.fault.contains("“\(word)”"), "\(query): \(answer.fault)")
            }
            let changed = try await client.ask(.delete, "/v1/nodes/c0?force=true")
            #expect(changed.status == 400)
            #expect(try await client.ask(.get, "/v1/nodes/c0").status == 200)
        }
    }

    @Test func `a parent is named by its name too, and one that is not there is none`() async throws
    {
        let bench = try Bench()
        let id = try await bench.register("c0")
        try await bench.withClient { client async throws in
            let made = try await client.ask(
                .post,
                "/v1/nodes",
                ["driver": "fake-hardware", "name": "part", "parent_node": "c0"]
            )
            #expect(made.body["parent_node"]?.text == id.text, "\(made.fault)")
            func set(_ value: JSONValue) async throws -> Answer {
                try await client.ask(
                    .patch,
                    "/v1/nodes/part",
                    [["op": "add", "path": "/parent_node", "value": value]]
                )
            }
            #expect(try await set("nobody").status == 400)
            #expect(try await set("part").status == 400)
            #expect(try await set(7).status == 400)
            #expect(try await set(.null).body["parent_node"] == .null)
            #expect(try await set("c0").body["parent_node"]?.text == id.text)
        }
    }

    @Test func `ports are found by words of their description, and by what their nodes are`()
        async throws
    {
        let bench = try Bench()
        _ = try await bench.register("c0")
        _ = try await bench.service.update("c0", by: nil) { node in
            node.shard = "s1"
            node.conductorGroup = "g1"
        }
        try await bench.withClient { client async throws in
            for number in 1...2 {
                let port: JSONValue = [
                    "node_uuid": "c0", "address": .string("52:54:00:c0:0a:0\(number)"),
                    "description": .string("slot \(number)"),
                ]
                #expect(try await client.ask(.post, "/v1/ports", port).status == 201)
            }
            for (query, count) in [
                ("description_contains=slot", 2), ("description_contains=t%202", 1),
                ("description_contains=%25", 0), ("shard=s1&description_contains=1", 1),
                ("conductor_groups=g1,g2&description_contains=slot", 2),
                ("conductor_groups=g2", 0),
            ] {
                let list = try await client.ask(.get, "/v1/ports?" + query)
                #expect(list.body["ports"]?.elements?.count == count, "\(query): \(list.fault)")
            }
            for (query, minor) in [
                ("ports?shard=s1", 82), ("ports?description_contains=a", 97),
                ("ports?conductor_groups=g1", 99), ("portgroups?conductor_groups=g1", 99),
                ("portgroups?shard=s1", 106),
            ] {
                let old = try await client.call(.get, "/v1/" + query, version: "1.\(minor - 1)")
                #expect(old.status == 406, "\(query)")
                let new = try await client.call(.get, "/v1/" + query, version: "1.\(minor)")
                #expect(new.status == 200, "\(query)")
            }
        }
    }

    @Test func `networks are attached to free ports, once, and detached`() async throws {
        let bench = try Bench()
        _ = try await bench.register("c0")
        try await bench.withClient { client async throws in
            let path = "/v1/nodes/c0/vifs"
            #expect(try await client.ask(.post, path, ["id": "net-1"]).status == 204)
            #expect(try await client.ask(.post, path, ["id": "net-1"]).status == 409)
            #expect(try await client.ask(.post, path, ["id": "net-2"]).status == 400)
            #expect(try await client.ask(.post, path, [:]).status == 400)
            #expect(try await client.ask(.get, path).body["vifs"] == [["id": "net-1"]])
            #expect(try await client.ask(.delete, path + "/net-1").status == 204)
            #expect(try await client.ask(.delete, path + "/net-1").status == 400)
        }
    }

    @Test func `the history tells what happened, and who asked for it`() async throws {
        let bench = try Bench()
        let id = try await bench.register("c0")
        bench.world.edit(id) { $0.bmc = .wrongPassword }
        try await bench.withClient { client async throws in
            let wish: JSONValue = ["target": "manage"]
            _ = try await client.ask(.put, "/v1/nodes/c0/states/provision", wish)
            try await bench.settle(id)
            let list = try await client.ask(.get, "/v1/nodes/c0/history?detail=true")
            let rows = try #require(list.body["history"]?.elements)
            #expect(rows.count == 3)
            #expect(rows[1]["user"] == "u")
            #expect(rows[1]["state"] == "verifying")
            #expect(rows[2]["severity"] == "ERROR")
            let entry = rows[2]["uuid"]?.text ?? ""
            let one = try await client.ask(.get, "/v1/nodes/c0/history/\(entry)")
            #expect(one.body == rows[2])
            let old = try await client.call(
                .get,
                "/v1/nodes/c0/history/\(entry)",
                version: "1.112"
            )
            #expect(old.body["project"] == nil && old.body["state"] == nil)
            let page = try await client.ask(.get, "/v1/nodes/c0/history?limit=2")
            let next = String(page.body["next"]?.text?.dropFirst(23 + 3) ?? "")
            #expect(page.body["next"]?.text?.contains("marker=") == true, "\(next)")
            #expect(try await client.ask(.get, "/v1/nodes/c0/history/none").status == 404)
        }
    }

    @Test(
        arguments: [
            ("PUT", "states/raid", ["logical_disks": []], 404, "does not support raid"),
            ("PUT", "states/boot_mode", ["target": "uefi"], 400, "set_boot_mode"),
            ("PUT", "states/boot_mode", ["target": "cp/m"], 400, "cp/m"),
            ("PUT", "states/secure_boot", ["target": true], 400, "set_secure_boot"),
            ("GET", "states/console", .null, 400, "console"),
            ("PUT", "states/console", ["enabled": true], 400, "does not support console"),
            ("GET", "management/indicators", .null, 400, "indicators"),
            ("GET", "bios/boot_order", .null, 404, "boot_order"),
            (
                "POST", "vmedia", ["device_type": "cdrom", "image_url": "https://x/y"], 400,
                "attach_virtual_media"
            ),
            (
                "POST", "vmedia", ["device_type": "cdrom", "image_url": "file:///etc"], 400,
                "scheme"
            ),
            ("DELETE", "vmedia", .null, 400, "detach_virtual_media"),
            ("POST", "vendor_passthru?method=dance", [:], 400, "dance"),
            ("POST", "vendor_passthru", [:], 400, "names none"),
            ("POST", "vendor_passthru/dance", [:], 400, "dance"),
            ("PUT", "management/inject_nmi", [:], 400, "inject_nmi"),
        ] as [(String, String, JSONValue, Int, String)]
    )
    func `what a driver has no interface for is refused as Ironic does`(
        method: String,
        path: String,
        body: JSONValue,
        status: Int,
        words: String
    ) async throws {
        let bench = try Bench()
        _ = try await bench.register("c0")
        try await bench.withClient { client async throws in
            let answer = try await client.ask(
                HTTPRequest.Method(method) ?? .get,
                "/v1/nodes/c0/\(path)",
                body == .null ? nil : body
            )
            #expect(answer.status == status, "\(answer.fault)")
            #expect(answer.fault.contains(words), "\(answer.fault)")
        }
    }

    @Test func `a node that may not be switched off stays on`() async throws {
        let bench = try Bench()
        _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
            node.name = "f"
            node.isPowerOffDisabled = true
        }
        try await bench.withClient { client async throws in
            let path = "/v1/nodes/f/states/power"
            for (target, status) in [
                ("power off", 409), ("soft power off", 409), ("power on", 202),
            ] {
                let answer = try await client.ask(.put, path, ["target": .string(target)])
                #expect(answer.status == status, "\(target)")
            }
            let nmi = try await client.ask(.put, "/v1/nodes/f/management/inject_nmi", [:])
            #expect(nmi.status == 204)
        }
    }
}
