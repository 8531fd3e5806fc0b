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
