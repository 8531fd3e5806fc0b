import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

/// One kind of resource with what makes one, what changes it, and what is wrong.
private struct Sample: Sendable, CustomTestStringConvertible {
    let path: String
    let list: String
    let body: JSONValue
    let patch: JSONValue
    /// The field that the patch changes, and its value then.
    let changed: (name: String, value: JSONValue)
    let wrong: [JSONValue]
    var testDescription: String { path }
}

private let step: JSONValue = [
    "interface": "deploy", "step": "erase_devices_metadata", "args": ["password": "x"],
    "priority": 10,
]
private let rule: JSONValue = [
    "op": "set-attribute", "args": ["path": "extra/seen", "value": "yes"],
]

private let samples: [Sample] = [
    Sample(
        path: "/v1/chassis",
        list: "chassis",
        body: ["description": "rack 1", "extra": ["row": "a"]],
        patch: [["op": "replace", "path": "/description", "value": "rack 2"]],
        changed: ("description", "rack 2"),
        wrong: [["description": 3], ["colour": "red"], ["uuid": "no"]]
    ),
    Sample(
        path: "/v1/ports",
        list: "ports",
        body: ["node_uuid": "c0", "address": "52:54:00:C0:00:AA", "name": "p0"],
        patch: [["op": "add", "path": "/physical_network", "value": "net1"]],
        changed: ("physical_network", "net1"),
        wrong: [
            ["node_uuid": "c0", "address": "no"], ["address": "52:54:00:c0:00:02"],
            ["node_uuid": "c0", "address": "52:54:00:c0:00:02", "pxe_enabled": "perhaps"],
            [
                "node_uuid": "c0", "address": "52:54:00:c0:00:02",
                "local_link_connection": ["colour": "red"],
            ],
        ]
    ),
    Sample(
        path: "/v1/portgroups",
        list: "portgroups",
        body: ["node_uuid": "c0", "address": "52:54:00:c0:00:09", "name": "bond0"],
        patch: [["op": "replace", "path": "/mode", "value": "802.3ad"]],
        changed: ("mode", "802.3ad"),
        wrong: [["name": "x"], ["node_uuid": "c0", "name": "a b"]]
    ),
    Sample(
        path: "/v1/deploy_templates",
        list: "deploy_templates",
        body: ["name": "CUSTOM_ERASE", "steps": [step]],
        patch: [["op": "replace", "path": "/name", "value": "CUSTOM_WIPE"]],
        changed: ("name", "CUSTOM_WIPE"),
        wrong: [
            ["name": "erase", "steps": [step]], ["name": "CUSTOM_X", "steps": []],
            ["name": "CUSTOM_X"], ["name": "CUSTOM_X", "steps": [step, step]],
            ["name": "CUSTOM_X", "steps": [["interface": "magic", "step": "x"]]],
        ]
    ),
    Sample(
        path: "/v1/runbooks",
        list: "runbooks",
        body: [
            "name": "CUSTOM_BOOK",
            "steps": [["interface": "deploy", "step": "hold", "order": 1]],
        ],
        patch: [["op": "replace", "path": "/public", "value": true]],
        changed: ("public", true),
        wrong: [["name": "CUSTOM_X", "steps": [step]], ["steps": []]]
    ),
    Sample(
        path: "/v1/inspection_rules",
        list: "inspection_rules",
        body: ["description": "d", "actions": [rule], "priority": 7],
        patch: [["op": "replace", "path": "/priority", "value": 9]],
        changed: ("priority", 9),
        wrong: [
            ["actions": []], ["actions": [["op": "dance", "args": [:]]]],
            ["actions": [["op": "fail", "args": [:]]]], ["actions": [rule], "priority": -1],
            ["actions": [rule], "phase": "early"],
            ["actions": [rule], "conditions": [["op": "eq"]]],
        ]
    ),
    Sample(
        path: "/v1/volume/connectors",
        list: "connectors",
        body: ["node_uuid": "c0", "type": "iqn", "connector_id": "iqn.2026:c0"],
        patch: [["op": "replace", "path": "/type", "value": "wwnn"]],
        changed: ("type", "wwnn"),
        wrong: [["node_uuid": "c0", "type": "iqn"], ["type": "iqn", "connector_id": "x"]]
    ),
    Sample(
        path: "/v1/volume/targets",
        list: "targets",
        body: [
            "node_uuid": "c0", "volume_type": "iscsi", "volume_id": "v1", "boot_index": 0,
            "properties": ["auth_password": "geheim"],
        ],
        patch: [["op": "replace", "path": "/volume_id", "value": "v2"]],
        changed: ("volume_id", "v2"),
        wrong: [["node_uuid": "c0", "volume_type": "iscsi", "volume_id": "v1"]]
    ),
]

private let newest = "1.115"

extension Client {
    /// As `call`, in the newest version.
    func ask(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ body: JSONValue? = nil,
        as token: String = "admin"
    ) async throws -> Answer {
        try await call(method, path, body, as: token, version: newest)
    }
}

extension Bench {
    /// Lets the controller believe that a machine's power is so.
    func power(_ id: NodeID, _ state: PowerState) async throws {
        let node = try await service.node(id.text)
        try await service.apply(nil, to: node, cause: "test") { $0.powerState = state }
    }
}

@Suite struct ResourceTests {
    @Test(arguments: samples)
    private func `a resource is made, shown, listed, changed and deleted`(
        sample: Sample
    ) async throws {
        let bench = try Bench()
        let id = try await bench.register("c0")
        try await bench.power(id, .off)
        try await bench.withClient { client async throws in
            let made = try await client.ask(.post, sample.path, sample.body)
            #expect(made.status == 201, "\(made.fault)")
            let uuid = try #require(made.body["uuid"]?.text)
            #expect(made.headers[.location]?.hasSuffix("\(sample.path)/\(uuid)") == true)
            #expect(!made.body.canonicalText.contains("geheim"))
            let path = "\(sample.path)/\(uuid)"
            #expect(try await client.ask(.get, path).body == made.body)
            let list = try await client.ask(.get, sample.path)
            // The node's own first port is there as well.
            let row = try #require(list.body[sample.list]?.elements?.last)
            #expect(row["uuid"]?.text == uuid)
            #expect(row["extra"] == nil)
            let detail = try await client.ask(.get, sample.path + "?detail=true")
            #expect(detail.body[sample.list]?.elements?.last == made.body)
            let few = try await client.ask(.get, sample.path + "?fields=uuid")
            #expect(
                few.body[sample.list]?.elements?.first?.members?.keys.sorted() == ["links", "uuid"]
            )
            let changed = try await client.ask(.patch, path, sample.patch)
            #expect(changed.status == 200, "\(changed.fault)")
            #expect(changed.body[sample.changed.name] == sample.changed.value)
            #expect(changed.body["updated_at"] != .null)
            #expect(try await client.ask(.delete, path).status == 204)
            #expect(try await client.ask(.get, path).status == 404)
        }
    }

    @Test(arguments: samples)
    private func `wrong resources and patches are refused`(sample: Sample) async throws {
        let bench = try Bench()
        let id = try await bench.register("c0")
        try await bench.power(id, .off)
        try await bench.withClient { client async throws in
            for body in sample.wrong {
                let answer = try await client.ask(.post, sample.path, body)
                #expect(answer.status == 400, "\(body.canonicalText)")
                #expect(answer.fault.hasPrefix("cannot "), "\(answer.fault)")
            }
            let made = try await client.ask(.post, sample.path, sample.body)
            let path = "\(sample.path)/\(made.body["uuid"]?.text ?? "")"
            for patch in [
                [["op": "replace", "path": "/uuid", "value": "x"]],
                [["op": "replace", "path": "/colour", "value": "x"]],
                [["op": "remove", "path": "/extra/none"]], [["op": "dance"]],
            ] as [JSONValue] {
                #expect(try await client.ask(.patch, path, patch).status == 400)
            }
            #expect(try await client.ask(.get, path).body == made.body)
            for query in ["fields=colour", "sort_key=extra", "limit=x", "sort_dir=up", "marker=x"] {
                let answer = try await client.ask(.get, sample.path + "?" + query)
                #expect(answer.status == 400, "\(query)")
            }
            #expect(
                try await client.ask(.post, sample.path, sample.body, as: "reader").status == 403
            )
        }
    }

    @Test func `what only one may have is refused to the next`() async throws {
        let bench = try Bench()
        _ = try await bench.register("c0")
        try await bench.withClient { client async throws in
            for sample in samples
            where !["chassis", "inspection_rules"].contains(sample.list) {
                #expect(try await client.ask(.post, sample.path, sample.body).status == 201)
                let second = try await client.ask(.post, sample.path, sample.body)
                #expect(second.status == 409, "\(sample.path)")
            }
        }
    }

    @Test func `pages cover every resource once in any order`() async throws {
        let bench = try Bench()
        _ = try await bench.register("c0")
        try await bench.withClient { client async throws in
            for number in 10..<35 {
                let body: JSONValue = [
                    "node_uuid": "c0", "name": .string("g\(number % 7)-\(number)"),
                ]
                #expect(try await client.ask(.post, "/v1/portgroups", body).status == 201)
            }
            for query in ["", "&sort_key=name", "&sort_key=address&sort_dir=desc"] {
                var path = "/v1/portgroups?limit=6" + query
                var seen: [String] = []
                for _ in 0..<10 {
                    let page = try await client.ask(.get, path)
                    seen += page.body["portgroups"]?.elements?.compactMap { $0["uuid"]?.text } ?? []
                    guard let next = page.body["next"]?.text else { break }
                    path = String(next.dropFirst("https://192.0.2.1:6385".count))
                }
                #expect(seen.count == 25, "\(query)")
                #expect(Set(seen).count == 25, "\(query)")
            }
        }
    }

    @Test func `projects see and change only what is their nodes' or their own`() async throws {
        let bench = try Bench()
        for (name, owner) in [("mine", "p1"), ("yours", "p2")] {
            _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
                node.name = name
                node.owner = owner
            }
        }
        try await bench.withClient { client async throws in
            for name in ["mine", "yours"] {
                let body: JSONValue = ["node_uuid": .string(name), "name": .string("g-\(name)")]
                #expect(try await client.ask(.post, "/v1/portgroups", body).status == 201)
            }
            let list = try await client.ask(.get, "/v1/portgroups", as: "reader@p1")
            #expect(
                list.body["portgroups"]?.elements?.compactMap { $0["name"]?.text } == ["g-mine"]
            )
            for method in [HTTPRequest.Method.get, .delete] {
                let answer = try await client.ask(
                    method,
                    "/v1/portgroups/g-yours",
                    as: "manager@p1"
                )
                #expect(answer.status == 404)
            }
            for path in [
                "/v1/chassis", "/v1/deploy_templates", "/v1/inspection_rules", "/v1/shards",
            ] {
                #expect(try await client.ask(.get, path, as: "admin@p1").status == 403, "\(path)")
            }
            let steps: JSONValue = [["interface": "deploy", "step": "hold", "order": 1]]
            let book: JSONValue = ["name": "CUSTOM_P1", "steps": steps]
            let made = try await client.ask(.post, "/v1/runbooks", book, as: "manager@p1")
            #expect(made.body["owner"] == "p1")
            let stolen: JSONValue = ["name": "CUSTOM_P2", "steps": steps, "owner": "p2"]
            #expect(
                try await client.ask(.post, "/v1/runbooks", stolen, as: "manager@p1").status == 403
            )
            #expect(
                try await client.ask(.get, "/v1/runbooks/CUSTOM_P1", as: "reader@p2").status == 404
            )
            let patch: JSONValue = [["op": "replace", "path": "/public", "value": true]]
            let own = "/v1/runbooks/CUSTOM_P1"
            #expect(try await client.ask(.patch, own, patch, as: "manager@p1").status == 403)
            let gift: JSONValue = [["op": "replace", "path": "/owner", "value": "p2"]]
            #expect(try await client.ask(.patch, own, gift, as: "manager@p1").status == 403)
            _ = try await client.ask(.patch, own, patch)
            #expect(
                try await client.ask(.get, "/v1/runbooks/CUSTOM_P1", as: "reader@p2").status == 200
            )
            #expect(
                try await client.ask(.delete, "/v1/runbooks/CUSTOM_P1", as: "manager@p2").status
                    == 403
            )
        }
    }

    @Test func `a chassis holds nodes and a port group holds ports`() async throws {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            let chassis = try await client.ask(.post, "/v1/chassis", ["description": "r"])
            let id = try #require(chassis.body["uuid"])
            let node: JSONValue = ["driver": "fake-hardware", "name": "n1", "chassis_uuid": id]
            #expect(try await client.ask(.post, "/v1/nodes", node).body["chassis_uuid"] == id)
            let path = "/v1/chassis/\(id.text ?? "")"
            let under = try await client.ask(.get, path + "/nodes")
            #expect(under.body["nodes"]?.elements?.first?["name"] == "n1")
            #expect(try await client.ask(.delete, path).status == 400)
            let group = try await client.ask(
                .post,
                "/v1/portgroups",
                ["node_uuid": "n1", "name": "b0"]
            )
            let port: JSONValue = [
                "node_uuid": "n1", "address": "52:54:00:c0:00:01",
                "portgroup_uuid": group.body["uuid"] ?? .null,
            ]
            let made = try await client.ask(.post, "/v1/ports", port)
            #expect(made.body["portgroup_uuid"] == group.body["uuid"])
            let members = try await client.ask(.get, "/v1/portgroups/b0/ports")
            #expect(members.body["ports"]?.elements?.count == 1)
            #expect(try await client.ask(.delete, "/v1/portgroups/b0").status == 400)
            let unset: JSONValue = [["op": "remove", "path": "/chassis_uuid"]]
            #expect(try await client.ask(.patch, "/v1/nodes/n1", unset).status == 200)
            #expect(try await client.ask(.delete, path).status == 204)
        }
    }

    @Test func `runbook traits are set one by one or all together`() async throws {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            let steps: JSONValue = [["interface": "deploy", "step": "hold", "order": 1]]
            _ = try await client.ask(.post, "/v1/runbooks", ["name": "book", "steps": steps])
            let path = "/v1/runbooks/book/traits"
            #expect(try await client.ask(.put, path + "/CUSTOM_A").status == 204)
            #expect(try await client.ask(.put, path, ["traits": ["CUSTOM_B"]]).status == 204)
            #expect(try await client.ask(.put, path + "/red").status == 400)
            #expect(try await client.ask(.get, path).body["traits"] == ["CUSTOM_B"])
            #expect(try await client.ask(.delete, path + "/CUSTOM_B").status == 204)
            #expect(try await client.ask(.get, path).body["traits"] == [])
        }
    }

    @Test func `a sensitive rule hides what it does and stays sensitive`() async throws {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            let body: JSONValue = ["actions": [rule], "sensitive": true]
            let made = try await client.ask(.post, "/v1/inspection_rules", body)
            #expect(made.body["actions"] == .null)
            let patch: JSONValue = [["op": "replace", "path": "/sensitive", "value": false]]
            let path = "/v1/inspection_rules/\(made.body["uuid"]?.text ?? "")"
            #expect(try await client.ask(.patch, path, patch).status == 400)
        }
    }
}
