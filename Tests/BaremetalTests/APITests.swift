import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Power
import Protocol
import Store
import Testing
@testable import Baremetal

@Suite struct APITests {
    @Test func `a node is registered, shown, listed, changed and forgotten`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let made = try await client.call(.post, "/v1/nodes", registration)
            #expect(made.status == 201)
            let id = try #require(made.body["uuid"]?.text)
            #expect(made.headers[.location] == "https://192.0.2.1:6385/v1/nodes/\(id)")
            #expect(made.body["provision_state"] == "enroll")
            #expect(made.body["driver_info"]?["ipmi_password"] == "******")
            #expect(made.body["power_interface"] == "ipmitool")
            let shown = try await client.call(.get, "/v1/nodes/c0")
            #expect(shown.body == made.body)
            let list = try await client.call(.get, "/v1/nodes")
            #expect(list.body["nodes"]?.elements?.count == 1)
            #expect(
                list.body["nodes"]?.elements?.first?.members?.keys.sorted()
                    == NodeDocument.summary.sorted()
            )
            let patch: JSONValue = [
                ["op": "add", "path": "/properties/cpus", "value": 4],
                ["op": "replace", "path": "/name", "value": "c0-new"],
                ["op": "remove", "path": "/extra/rack"],
            ]
            let changed = try await client.call(.patch, "/v1/nodes/\(id)", patch)
            #expect(changed.status == 200)
            #expect(changed.body["properties"] == ["memory_mb": 2048, "cpus": 4])
            #expect(changed.body["name"] == "c0-new")
            #expect(changed.body["extra"] == [:])
            #expect(try await client.call(.delete, "/v1/nodes/c0-new").status == 204)
            #expect(try await client.call(.get, "/v1/nodes/\(id)").status == 404)
        }
    }

    @Test func `a row of a list says the same as the node itself`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            for name in ["c0", "c1"] {
                var body = registration
                body["name"] = .string(name)
                #expect(try await client.call(.post, "/v1/nodes", body).status == 201)
            }
            let wish: JSONValue = ["reason": "a “test”\n"]
            _ = try await client.call(.put, "/v1/nodes/c1/maintenance", wish)
            let whole = try await client.call(.get, "/v1/nodes/detail")
            let short = try await client.call(.get, "/v1/nodes")
            let rows = try #require(short.body["nodes"]?.elements)
            let nodes = try #require(whole.body["nodes"]?.elements)
            #expect(rows.count == 2)
            for (row, node) in zip(rows, nodes) {
                for name in NodeDocument.summary { #expect(row[name] == node[name]) }
                let one = try await client.call(.get, "/v1/nodes/\(node["uuid"]?.text ?? "")")
                #expect(one.body == node)
            }
            let page = try await client.call(.get, "/v1/nodes?limit=1")
            let next = try #require(page.body["next"]?.text)
            #expect(next.hasPrefix("https://192.0.2.1:6385/v1/nodes?limit=1&marker="))
            let path = String(next.dropFirst("https://192.0.2.1:6385".count))
            let second = try await client.call(.get, path)
            #expect(second.body["nodes"]?.elements?.first?["name"] == "c1")
        }
    }

    @Test func `changing another field keeps the masked password`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            _ = try await client.call(.post, "/v1/nodes", registration)
            let patch: JSONValue = [
                ["op": "add", "path": "/driver_info/ipmi_port", "value": "6230"]
            ]
            #expect(try await client.call(.patch, "/v1/nodes/c0", patch).status == 200)
        }
        let bmc = try await bench.service.node("c0").driverInfo.bmc(label: "c0")
        #expect(bmc.port == 6230)
        #expect(bmc.password == Secret("hunter2"))
    }

    @Test func `no answer, log value or stored byte shows a BMC password`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let answer = try await client.call(.post, "/v1/nodes", registration)
            #expect(!answer.body.canonicalText.contains("hunter2"))
        }
        let node = try await bench.service.node("c0")
        #expect(!"\(node)".contains("hunter2"))
        let path =
            "/tmp/rdo-baremetal-test-\(bench.service.random.bytes(4).map(String.init).joined()).sqlite"
        try await bench.database.backUp(to: path)
        // A left-over file harms nothing.
        defer { try? FileManager.default.removeItem(atPath: path) }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(bytes.range(of: Data("hunter2".utf8)) == nil)
        #expect(bytes.range(of: Data("192.0.2.201".utf8)) != nil)
    }

    @Test(arguments: wrongRequests)
    fileprivate func `a wrong request is told what is wrong`(
        wrong: WrongRequest
    ) async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            _ = try await client.call(.post, "/v1/nodes", registration)
            let answer = try await client.call(
                try #require(HTTPRequest.Method(wrong.method)),
                wrong.path,
                wrong.body == .null ? nil : wrong.body
            )
            #expect(answer.status == wrong.status)
            #expect(answer.fault.hasPrefix("cannot "), "\(answer.fault)")
            #expect(answer.fault.contains(wrong.words), "\(answer.fault)")
            #expect(answer.headers[.ironicVersionMaximum] == "1.115")
        }
    }

    @Test func `versions are negotiated as Ironic's clients expect`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            _ = try await client.call(.post, "/v1/nodes", registration)
            let tooNew = try await client.call(.get, "/v1/nodes", version: "1.116")
            #expect(tooNew.status == 406)
            #expect(tooNew.headers[.ironicVersionMinimum] == "1.1")
            #expect(tooNew.headers[.ironicVersionMaximum] == "1.115")
            let latest = try await client.call(.get, "/v1/nodes/c0", version: "latest")
            #expect(latest.headers[.ironicVersion] == "1.115")
            let old = try await client.call(.get, "/v1/nodes/c0", version: "1.30")
            #expect(old.body["power_interface"] == nil)
            #expect(old.body["resource_class"] != nil)
            let none = try await client.call(.get, "/v1/nodes/c0", version: nil)
            #expect(none.headers[.ironicVersion] == "1.1")
            #expect(none.body["name"] == nil)
            let newer = try await client.call(
                .get,
                "/v1/nodes?fields=traits",
                version: "1.30"
            )
            #expect(newer.status == 406)
        }
    }

    @Test func `each field appears in exactly the versions that have it`() {
        for field in NodeField.all where field.minor > 1 {
            let before = NodeDocument.names(Microversion(minor: field.minor - 1))
            let since = NodeDocument.names(Microversion(minor: field.minor))
            #expect(!before.contains(field.name))
            #expect(since.contains(field.name))
        }
    }

    @Test func `pages follow each other without gap or repetition`() async throws {
        let bench = try Bench()
        for number in 1...25 {
            _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) {
                $0.name = "n\(number % 10)-\(number)"
            }
        }
        try await bench.withClient { client in
            for query in ["", "&sort_key=name", "&sort_key=name&sort_dir=desc", "&fields=uuid"] {
                var path = "/v1/nodes?limit=7" + query
                var seen: [String] = []
                var pages = 0
                while pages < 10 {
                    let page = try await client.call(.get, path)
                    seen += page.body["nodes"]?.elements?.compactMap { $0["uuid"]?.text } ?? []
                    pages += 1
                    guard let next = page.body["next"]?.text else { break }
                    path = String(next.dropFirst("https://192.0.2.1:6385".count))
                }
                #expect(seen.count == 25, "\(query)")
                #expect(Set(seen).count == 25, "\(query)")
            }
        }
    }

    @Test func `filters find what they name`() async throws {
        let bench = try Bench()
        let id = try await bench.register("c1", number: 1)
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
            node.name = "f1"
            node.owner = "p1"
        }
        try await bench.service.setMaintenance(true, reason: "fans", of: "f1", by: nil)
        try await bench.withClient { client in
            for (query, names) in [
                ("provision_state=manageable", ["c1"]), ("maintenance=true", ["f1"]),
                ("maintenance=False", ["c1"]), ("driver=ipmi", ["c1"]), ("owner=p1", ["f1"]),
                ("associated=true", []), ("resource_class=none'%20OR%201=1", []),
            ] {
                let list = try await client.call(.get, "/v1/nodes?" + query)
                let found = list.body["nodes"]?.elements?.compactMap { $0["name"]?.text }
                #expect(found == names, "\(query)")
            }
        }
    }

    @Test func `those without a role are refused and projects see their own nodes only`()
        async throws
    {
        let bench = try Bench()
        for (name, owner) in [("mine", "p1"), ("yours", "p2"), ("nobody", nil)] {
            _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) { node in
                node.name = name
                node.owner = owner
            }
        }
        try await bench.withClient { client in
            #expect(try await client.call(.get, "/v1/nodes", as: nil).status == 401)
            #expect(
                try await client.call(.post, "/v1/nodes", registration, as: "reader").status == 403
            )
            #expect(
                try await client.call(.post, "/v1/nodes", registration, as: "member").status == 403
            )
            let list = try await client.call(.get, "/v1/nodes", as: "reader@p1")
            #expect(list.body["nodes"]?.elements?.compactMap { $0["name"]?.text } == ["mine"])
            for (method, path) in [
                (HTTPRequest.Method.get, "/v1/nodes/yours"), (.delete, "/v1/nodes/yours"),
                (.get, "/v1/nodes/yours/ports"), (.get, "/v1/nodes/yours/inventory"),
                (.put, "/v1/nodes/yours/maintenance"),
            ] {
                let answer = try await client.call(method, path, as: "manager@p1")
                #expect(answer.status == 404 || answer.status == 403, "\(method) \(path)")
            }
            let own = try await client.call(.put, "/v1/nodes/mine/maintenance", as: "member@p1")
            #expect(own.status == 202)
            let look = try await client.call(.put, "/v1/nodes/mine/maintenance", as: "reader@p1")
            #expect(look.status == 403)
        }
    }

    @Test func `ports belong to nodes and a MAC to one port`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let node = try await client.call(.post, "/v1/nodes", registration)
            let body: JSONValue = [
                "address": "52:54:00:C0:00:01", "node_uuid": node.body["uuid"] ?? .null,
                "pxe_enabled": true,
            ]
            let made = try await client.call(.post, "/v1/ports", body)
            #expect(made.status == 201)
            #expect(made.body["address"] == "52:54:00:c0:00:01")
            #expect(try await client.call(.post, "/v1/ports", body).status == 409)
            let found = try await client.call(.get, "/v1/ports?address=52:54:00:c0:00:01")
            #expect(found.body["ports"]?.elements?.count == 1)
            let under = try await client.call(.get, "/v1/nodes/c0/ports/detail")
            #expect(under.body["ports"]?.elements?.first == made.body)
            let id = try #require(made.body["uuid"]?.text)
            let patch: JSONValue = [["op": "replace", "path": "/pxe_enabled", "value": false]]
            let changed = try await client.call(.patch, "/v1/ports/\(id)", patch)
            #expect(changed.body["pxe_enabled"] == false)
            #expect(try await client.call(.delete, "/v1/ports/\(id)").status == 204)
            #expect(try await client.call(.get, "/v1/ports/\(id)").status == 404)
        }
    }

    @Test func `a waiting node says why, since when, until when and what comes next`() async throws
    {
        let bench = try Bench()
        let id = try await bench.register()
        bench.world.edit(id) { $0.bmc = .dead }
        try await bench.ask(.manage, id)
        _ = await bench.reconciler.reconcile(id)
        try await bench.withClient { client in
            let node = try await client.call(.get, "/v1/nodes/c0")
            #expect(node.body["provision_state"] == "verifying")
            #expect(node.body["target_provision_state"] == "manageable")
            let waiting = try #require(node.body["driver_internal_info"]?["rdo_waiting"])
            for name in ["reason", "since", "until", "next"] {
                #expect(waiting[name]?.text?.isEmpty == false, "\(name)")
            }
            #expect(waiting["obstacle"]?["message"]?.text?.contains("does not answer") == true)
            #expect(waiting["obstacle"]?["next_try"]?.text != nil)
            let own = try await client.call(.get, "/v1/nodes/c0/waiting")
            #expect(own.body["waiting"] == waiting)
        }
    }

    @Test func `validate tells what would stop a deployment`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            _ = try await client.call(.post, "/v1/nodes", ["driver": "ipmi", "name": "bare"])
            let answer = try await client.call(.get, "/v1/nodes/bare/validate")
            #expect(answer.body["power"]?["result"] == false)
            #expect(answer.body["power"]?["reason"]?.text?.contains("ipmi_address") == true)
            #expect(answer.body["deploy"]?["reason"]?.text?.contains("image_source") == true)
            #expect(answer.body["raid"]?["result"] == .null)
        }
    }

    @Test(arguments: [
        ("http://evil/image", "not a URL"), ("file:///dev/zero", "not a URL"),
        ("huge", "its largest disk"), ("empty", "queued"), ("unknown", "cannot find image"),
        ("", "image_source"),
    ])
    func `an image that cannot be installed is refused before anything happens`(
        image: String,
        words: String
    ) async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose(image, for: id)
        try await bench.withClient { client in
            let answer = try await client.call(
                .put,
                "/v1/nodes/c0/states/provision",
                ["target": "active"]
            )
            #expect([400, 404].contains(answer.status))
            #expect(answer.fault.contains(words), "\(answer.fault)")
        }
        #expect(try await bench.state(id) == "available")
    }

    @Test func `power and maintenance are taken and shown`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.withClient { client in
            let on: JSONValue = ["target": "power on"]
            #expect(try await client.call(.put, "/v1/nodes/c0/states/power", on).status == 202)
            let waiting = try await client.call(.get, "/v1/nodes/c0/states")
            #expect(waiting.body["target_power_state"] == "power on")
            try await bench.settle(id)
            let states = try await client.call(.get, "/v1/nodes/c0/states")
            #expect(states.body["power_state"] == "power on")
            #expect(states.body["target_power_state"] == .null)
            let lock = try await client.call(
                .put,
                "/v1/nodes/c0/lockout",
                ["reason": "hands inside"]
            )
            #expect(lock.status == 202)
            let refused = try await client.call(.put, "/v1/nodes/c0/states/power", on)
            #expect(refused.status == 409)
            #expect(refused.fault.contains("hands inside"))
        }
    }

    @Test func `a machine without hardware goes all the way at once`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            _ = try await client.call(.post, "/v1/nodes", ["driver": "fake-hardware", "name": "f"])
            let id = try await bench.service.node("f").id
            for target in ["manage", "inspect", "provide", "active", "deleted"] {
                let answer = try await client.call(
                    .put,
                    "/v1/nodes/f/states/provision",
                    ["target": .string(target)]
                )
                #expect(answer.status == 202, "\(target)")
                try await bench.settle(id)
            }
            let node = try await client.call(.get, "/v1/nodes/f")
            #expect(node.body["provision_state"] == "available")
            #expect(node.body["last_error"] == .null)
        }
    }

    @Test func `drivers and the conductor are listed`() async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            let drivers = try await client.call(.get, "/v1/drivers")
            #expect(
                drivers.body["drivers"]?.elements?.compactMap { $0["name"]?.text }
                    == ["fake-hardware", "ipmi", "manual-management", "redfish"]
            )
            let driver = try await client.call(.get, "/v1/drivers/ipmi")
            #expect(driver.body["default_deploy_interface"] == "direct")
            #expect(try await client.call(.get, "/v1/drivers/none").status == 404)
            let conductors = try await client.call(.get, "/v1/conductors")
            #expect(conductors.body["conductors"]?.elements?.first?["hostname"] == "undercloud")
        }
    }
}
