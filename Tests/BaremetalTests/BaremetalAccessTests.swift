import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Logging
import Protocol
import Rights
import Store
import Synchronization
import Testing

@testable import Baremetal

/// Routes × personas: who may, who must not, and that nothing leaks.
@Suite struct BaremetalAccessTests {
    /// A world with the node `c0` of `owner` and `lessee` and with all that can hang from it.
    private func lay(_ client: Client, in bench: Bench) async throws -> [String: String] {
        let node: JSONValue = ["driver": "fake-hardware", "name": "c0", "resource_class": "gold"]
        let made = try await client.call(.post, "/v1/nodes", node)
        let id = try #require(made.body["uuid"])
        let leased: JSONValue = [
            ["op": "add", "path": "/owner", "value": "owner"],
            ["op": "add", "path": "/lessee", "value": "lessee"],
        ]
        #expect(try await client.call(.patch, "/v1/nodes/c0", leased).status == 200)
        let step: JSONValue = ["interface": "deploy", "step": "x", "args": [:], "priority": 1]
        var names = [
            "node": id.text ?? "", "trait": "CUSTOM_A", "driver": "fake-hardware",
            "host": "undercloud", "vif": "net-a", "verb": "x", "setting": "order",
            "component": "system", "lamp": "front",
        ]
        for (kind, path, body) in [
            ("ports", "ports", ["node_uuid": id, "address": "52:54:00:99:00:00"]),
            ("portgroups", "portgroups", ["node_uuid": id, "name": "g0"]),
            (
                "connectors", "volume/connectors",
                ["node_uuid": id, "type": "iqn", "connector_id": "leaky"]
            ),
            (
                "targets", "volume/targets",
                ["node_uuid": id, "volume_type": "t", "volume_id": "leaky", "boot_index": 0]
            ),
            ("chassis", "chassis", ["description": "leaky"]),
            ("deploy_templates", "deploy_templates", ["name": "CUSTOM_LEAKY", "steps": [step]]),
            (
                "inspection_rules", "inspection_rules",
                ["actions": [["op": "fail", "args": ["msg": "leaky"]]]]
            ),
        ] as [(String, String, JSONValue)] {
            let made = try await client.call(.post, "/v1/" + path, body, version: "latest")
            #expect(made.status == 201, "\(kind): \(made.fault)")
            names[kind] = made.body["uuid"]?.text
        }
        _ = try await client.call(.put, "/v1/nodes/c0/traits/CUSTOM_A")
        _ = try await client.call(.post, "/v1/nodes/c0/vifs", ["id": "net-a"])
        try await layOwned(client, &names, in: bench)
        let history = try await client.call(.get, "/v1/nodes/c0/history", version: "latest")
        names["entry"] = history.body["history"]?.elements?.first?["uuid"]?.text ?? "1"
        return names
    }

    /// What the project `owner` made: an allocation, which got the node, a runbook and a job.
    private func layOwned(
        _ client: Client,
        _ names: inout [String: String],
        in bench: Bench
    ) async throws {
        let step: JSONValue = ["interface": "deploy", "step": "hold", "args": [:], "order": 1]
        let job: JSONValue = [
            "action": "power", "request": ["target": "power on"], "nodes": ["c0"],
        ]
        for (kind, body, status) in [
            ("allocations", ["resource_class": "leaky"], 201),
            ("runbooks", ["name": "leaky", "steps": [step]], 201), ("bulk", job, 202),
        ] as [(String, JSONValue, Int)] {
            let made = try await client.call(
                .post,
                "/v1/" + kind,
                body,
                as: "manager@owner",
                version: "latest"
            )
            #expect(made.status == status, "\(kind): \(made.fault)")
            names[kind] = made.body["uuid"]?.text
        }
        names["job"] = names["bulk"]
        let (id, now) = (names["allocations"] ?? "", bench.world.time.now)
        try await bench.database.write { [sealer = bench.service.sealer] transaction in
            let before = try #require(try transaction.node(named: "c0", sealer: sealer))
            let waiting = try #require(try transaction.resource(.allocation, id))
            var allocation = waiting
            allocation.values["state"] = "active"
            allocation.values["node_uuid"] = .string(before.id.text)
            try transaction.save(.allocation, allocation, before: waiting, at: now)
            var node = before
            node.allocation = id
            node.instanceID = id
            try transaction.save(node, before: before, cause: "laid", at: now, sealer: sealer)
        }
    }

    @Test(arguments: Persona.all)
    func `everybody may what Ironic's policies say, and nothing else`(persona: Persona) async throws
    {
        let left = Mutex(BaremetalAccess.calls[...])
        while left.withLock({ !$0.isEmpty }) {
            // A world lasts until somebody was allowed to change it.
            let bench = try Bench()
            try await bench.withClient { client in
                let names = try await lay(client, in: bench)
                let before = try await bench.service.node("c0")
                while let call = left.withLock({ $0.popFirst() }) {
                    let answer = try await client.call(
                        try #require(HTTPRequest.Method(call.method)),
                        call.path(with: names),
                        try call.body(with: names).map { try JSONValue(parsing: $0.utf8) },
                        as: persona.token,
                        version: "latest"
                    )
                    check(answer, call, persona)
                    if call.need.allows(persona) {
                        guard call.method == "GET" else { return }
                    } else {
                        #expect(try await bench.service.node("c0") == before)
                    }
                }
            }
        }
    }

    private func check(_ answer: Answer, _ call: AccessCall<Need>, _ persona: Persona) {
        let words = "\(persona) \(call): \(answer.status) \(answer.fault)"
        let isRefused = [401, 403, 404].contains(answer.status)
        // That there is nothing of the kind is told to who may ask.
        let isTold = call.missing.map { answer.fault.contains($0) } ?? false
        if call.need.allows(persona) {
            #expect(!isRefused || (isTold && answer.status == 404), "\(words)")
        } else {
            #expect(isRefused && !isTold, "\(words)")
        }
    }

    @Test(arguments: Persona.all)
    func `no list shows what belongs to others`(persona: Persona) async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let names = try await lay(client, in: bench)
            let secrets = [
                names["node"], names["ports"], names["portgroups"], "52:54:00:99", "leaky", "LEAKY",
            ].compactMap(\.self)
            let mayLook = Need.projectReader.allows(persona)
            let lists = BaremetalAccess.calls.filter {
                $0.method == "GET" && !$0.path.contains("{")
            }
            #expect(lists.count > 15)
            var found = 0
            for call in lists {
                for query in [
                    "", "?detail=true", "?node=c0", "?node_uuid=\(names["node"] ?? "")", "?limit=1",
                    "?owner=owner", "?lessee=lessee", "?project=owner", "?resource_class=gold",
                    "?marker=\(names["node"] ?? "")", "?sort_key=uuid&sort_dir=desc",
                    "?address=52:54:00:99:00:00", "?portgroup=g0",
                ] {
                    let answer = try await client.call(
                        .get,
                        call.path + query,
                        as: persona.token,
                        version: "latest"
                    )
                    // A refusal repeats what was asked, and no more.
                    guard answer.status == 200 else { continue }
                    var body = answer.body
                    body["next"] = nil
                    let text = body.canonicalText
                    guard secrets.contains(where: { text.contains($0) }) else { continue }
                    found += 1
                    if !mayLook { Issue.record("\(persona) \(call)\(query): \(text.prefix(300))") }
                }
            }
            // Those who may look prove that there was something to see.
            #expect((found > 20) == mayLook)
        }
    }

    @Test func `a name that another project has taken is not told whose it is`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let names = try await lay(client, in: bench)
            _ = try await client.call(
                .post,
                "/v1/nodes",
                ["driver": "fake-hardware", "name": "c1"]
            )
            let mine: JSONValue = [["op": "add", "path": "/owner", "value": "other"]]
            _ = try await client.call(.patch, "/v1/nodes/c1", mine)
            let port: JSONValue = ["node_ident": "c1", "address": "52:54:00:99:00:00"]
            for (path, body) in [
                ("/v1/ports", port), ("/v1/nodes/c1/vifs", ["id": "net-a"]),
            ] {
                let answer = try await client.call(
                    .post,
                    path,
                    body,
                    as: "admin@other",
                    version: "latest"
                )
                #expect(answer.status == 409, "\(answer.fault)")
                for secret in [names["node"], names["ports"]].compactMap(\.self) {
                    #expect(!answer.fault.contains(secret), "\(answer.fault)")
                }
            }
        }
    }

    @Test(arguments: [
        ("GET", "/v1/lookup", "", 400), ("GET", "/v1/lookup?addresses=x", "", 400),
        ("GET", "/v1/lookup?node_uuid={node}", "", 404),
        ("GET", "/v1/lookup?addresses=52:54:00:99:00:00", "", 404),
        ("POST", "/v1/heartbeat/{node}", #"{"callback_url":"https://x"}"#, 400),
        ("POST", "/v1/heartbeat/{node}", #"{"callback_url":"ftp://x","agent_token":"t"}"#, 400),
        ("POST", "/v1/heartbeat/{node}", #"{"callback_url":"https://x","agent_token":"t"}"#, 404),
        ("POST", "/v1/heartbeat/nobody", #"{"callback_url":"https://x","agent_token":"t"}"#, 404),
        ("POST", "/v1/continue_inspection", "{}", 400),
        (
            "POST", "/v1/continue_inspection?node_uuid={node}",
            #"{"inventory":{"interfaces":[{"mac_address":"52:54:00:99:00:00"}]}}"#, 404
        ),
    ])
    func `a stranger learns nothing from what is an agent's`(
        method: String,
        path: String,
        body: String,
        status: Int
    ) async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let names = try await lay(client, in: bench)
            let before = try await bench.service.node("c0")
            for token in [nil, "admin"] {
                let answer = try await client.call(
                    try #require(HTTPRequest.Method(method)),
                    path.replacing("{node}", with: names["node"] ?? ""),
                    body.isEmpty ? nil : try JSONValue(parsing: body.utf8),
                    as: token,
                    version: "latest"
                )
                #expect(answer.status == status, "\(answer.fault)")
                #expect(!answer.fault.contains(names["node"] ?? "-"))
            }
            #expect(try await bench.service.node("c0") == before)
        }
    }

    @Test func `a project makes a bounded number of allocations`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            var last = 201
            for _ in 0...ResourceKind.ownedMax {
                let wish: JSONValue = ["resource_class": "none"]
                last = try await client.call(.post, "/v1/allocations", wish, as: "member@other")
                    .status
            }
            #expect(last == 403)
            let others = try await client.call(
                .post,
                "/v1/allocations",
                ["resource_class": "none"],
                as: "member@owner"
            )
            #expect(others.status == 201)
        }
    }

    @Test func `the table covers every route of the area`() throws {
        let bench = try Bench()
        let surface = Surface(
            authenticator: Tokens(),
            logger: Logger(label: "test"),
            time: PatientTime(),
            random: SeededRandom(seed: 3)
        )
        let root = "https://192.0.2.1:6385"
        let areas: [any RouteArea] = [
            NodesAPI(service: bench.service, publicURL: root),
            ResourcesAPI(service: bench.service, publicURL: root),
            DriversAPI(service: bench.service, publicURL: root),
            BulkAPI(service: bench.bulk, publicURL: root), RamdiskAPI(),
        ]
        for area in areas { area.addRoutes(to: surface) }
        let routes = Set(surface.table.map { routeName($0.method, $0.path) })
        let covered = Set(BaremetalAccess.calls.map { $0.route() })
        let missing = routes.subtracting(covered).subtracting(BaremetalAccess.others.keys)
        #expect(missing.sorted() == [])
        #expect(covered.subtracting(routes).sorted() == [])
    }
}
