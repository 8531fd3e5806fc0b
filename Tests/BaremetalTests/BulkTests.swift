import Basics
import Foundation
import HTTP
import HTTPTypes
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

/// Keeps audit records where a test sees them.
final class Trail: AuditTrail {
    private let kept = Mutex<[AuditRecord]>([])
    var records: [AuditRecord] { kept.withLock { $0 } }
    func keep(_ record: AuditRecord) async { kept.withLock { $0.append(record) } }
    func accompany<Answer>(
        _ call: AuditedCall,
        _ work: () async throws -> Answer
    ) async rethrows -> Answer { try await work() }
}

@Suite struct BulkTests {
    /// Nodes `n0` … of the driver fake-hardware; every second belongs to project `a`.
    private func bench(_ count: Int, database: Database? = nil) async throws -> Bench {
        let bench = try Bench(database: database)
        for number in 0..<count {
            _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) {
                $0.name = "n\(number)"
                $0.owner = number.isMultiple(of: 2) ? "a" : "b"
            }
        }
        return bench
    }

    private func finish(_ bench: Bench) async {
        while await bench.bulk.workOnce() {}
    }

    private func results(_ job: JSONValue, _ name: String = "result") -> [String] {
        job["results"]?.elements?.compactMap { $0[name]?.text } ?? []
    }

    @Test func `a job asks each node as a single call would and tells what came of it`()
        async throws
    {
        let bench = try await bench(3)
        _ = try await bench.service.update("n1", by: nil) { $0.isPowerOffDisabled = true }
        try await bench.withClient { client async throws in
            let made = try await client.ask(
                .post,
                "/v1/bulk",
                [
                    "action": "power", "nodes": ["n0", "n1", "n2", "n0", "gone"],
                    "request": ["target": "power off"],
                ]
            )
            #expect(made.status == 202)
            let id = try #require(made.body["uuid"]?.text)
            #expect(made.headers[.location] == "https://192.0.2.1:6385/v1/bulk/\(id)")
            #expect(made.body["progress"]?["waiting"] == 3)
            await finish(bench)
            let job = try await client.ask(.get, "/v1/bulk/\(id)")
            #expect(job.body["state"] == "done")
            #expect(results(job.body, "name") == ["n0", "n1", "n2", "gone"])
            #expect(results(job.body) == ["accepted", "refused", "accepted", "refused"])
            let single = try await client.ask(
                .put,
                "/v1/nodes/n1/states/power",
                ["target": "power off"]
            )
            let rows = try #require(job.body["results"]?.elements)
            #expect(rows[1]["message"]?.text == single.fault)
            #expect(rows[3]["message"]?.text?.hasPrefix("cannot find node gone") == true)
            let page = try await client.ask(.get, "/v1/bulk/\(id)?limit=2")
            #expect(results(page.body, "name") == ["n0", "n1"])
            let next = try #require(page.body["next"]?.text)
            let rest = try await client.ask(
                .get,
                String(next.dropFirst("https://192.0.2.1:6385".count))
            )
            #expect(results(rest.body, "name") == ["n2", "gone"])
            let list = try await client.ask(.get, "/v1/bulk")
            #expect(list.body["jobs"]?.elements?.count == 1)
        }
        #expect(try await bench.service.node("n0").powerWish?.target == .off)
        #expect(try await bench.service.node("n1").powerWish == nil)
        let records = bench.trail.records.sorted { $0.subject.targetID < $1.subject.targetID }
        #expect(records.count == 3)
        #expect(records.map(\.status).sorted() == [202, 202, 409])
        #expect(Set(records.map(\.subject.action)) == ["update/states"])
        #expect(records.allSatisfy { $0.userName == "kim" })
    }

    @Test func `every action of a job changes its nodes`() async throws {
        let bench = try await bench(2)
        try await bench.withClient { client async throws in
            for (action, request) in [
                ("maintenance", ["maintenance": true, "reason": "cables"]),
                ("set", [["op": "add", "path": "/extra/rack", "value": "r1"]]),
                ("provision", ["target": "manage"]),
            ] as [(String, JSONValue)] {
                let made = try await client.ask(
                    .post,
                    "/v1/bulk",
                    ["action": .string(action), "filter": [:], "request": request]
                )
                #expect(made.status == 202)
                await finish(bench)
                let job = try await client.ask(.get, "/v1/bulk/\(made.body["uuid"]?.text ?? "")")
                #expect(results(job.body) == ["accepted", "accepted"], "\(action)")
            }
        }
        let node = try await bench.service.node("n1")
        #expect(node.maintenance?.reason == "cables")
        #expect(node.extra["rack"] == "r1")
        #expect(node.state == .verifying)
    }

    @Test func `a job sees and changes only what its author may`() async throws {
        let bench = try await bench(4)
        _ = try await bench.service.update("n1", by: nil) { $0.lessee = "a" }
        try await bench.withClient { client async throws in
            let all: JSONValue = [
                "action": "maintenance", "filter": [:], "request": ["maintenance": true],
            ]
            let made = try await client.ask(.post, "/v1/bulk", all, as: "member@a")
            await finish(bench)
            let path = "/v1/bulk/\(made.body["uuid"]?.text ?? "")"
            let job = try await client.ask(.get, path, as: "reader@a")
            #expect(results(job.body, "name") == ["n0", "n1", "n2"])
            // Of a leased node a member may change nothing.
            #expect(results(job.body) == ["accepted", "refused", "accepted"])
            for method in [HTTPRequest.Method.get, .delete] {
                #expect(try await client.ask(method, path, as: "admin@b").status == 404)
            }
            let others = try await client.ask(.get, "/v1/bulk", as: "admin@b")
            #expect(others.body["jobs"] == [])
            let named = try await client.ask(
                .post,
                "/v1/bulk",
                ["action": "maintenance", "nodes": ["n3"], "request": ["maintenance": true]],
                as: "admin@a"
            )
            #expect(named.body["progress"]?["refused"] == 1)
            #expect(try await client.ask(.post, "/v1/bulk", all, as: "reader@a").status == 403)
        }
        #expect(try await bench.service.node("n3").maintenance == nil)
        #expect(try await bench.service.node("n1").maintenance == nil)
    }

    @Test func `a new run of the controller goes on with a job and asks no node twice`()
        async throws
    {
        let first = try await bench(20)
        try await first.withClient { client async throws in
            let made = try await client.ask(
                .post,
                "/v1/bulk",
                ["action": "provision", "filter": [:], "request": ["target": "manage"]]
            )
            #expect(made.status == 202)
        }
        #expect(await first.bulk.workOnce())
        let half = try await first.bulk.jobs(by: system)
        #expect(half.first?.1.accepted == 16)
        #expect(half.first?.1.waiting == 4)
        let second = try await bench(0, database: first.database)
        await finish(second)
        let (job, progress) = try #require(try await second.bulk.jobs(by: system).first)
        #expect(job.state == .done && progress.accepted == 20)
        for node in try await second.service.nodes(NodeQuery()) {
            #expect(node.attempt == Attempt(1) && node.state == .verifying)
        }
    }

    @Test func `a cancelled job asks no further node`() async throws {
        let bench = try await bench(20)
        try await bench.withClient { client async throws in
            let made = try await client.ask(
                .post,
                "/v1/bulk",
                ["action": "provision", "filter": [:], "request": ["target": "manage"]]
            )
            _ = await bench.bulk.workOnce()
            let path = "/v1/bulk/\(made.body["uuid"]?.text ?? "")"
            #expect(try await client.ask(.delete, path).status == 204)
            await finish(bench)
            let job = try await client.ask(.get, path)
            #expect(job.body["state"] == "cancelled")
            #expect(job.body["progress"]?["accepted"] == 16)
            #expect(job.body["progress"]?["cancelled"] == 4)
        }
        let asked = try await bench.service.nodes(NodeQuery()).filter { $0.state == .verifying }
        #expect(asked.count == 16)
    }

    @Test func `a job that is too old ends`() async throws {
        let bench = try await bench(1)
        try await bench.withClient { client async throws in
            _ = try await client.ask(
                .post,
                "/v1/bulk",
                ["action": "provision", "filter": [:], "request": ["target": "manage"]]
            )
        }
        bench.world.time.advance(BulkService.lifetime)
        await finish(bench)
        #expect(try await bench.bulk.jobs(by: system).first?.0.state == .expired)
        #expect(try await bench.service.node("n0").state == .enroll)
    }

    @Test func `what a job sets is sealed and never shown`() async throws {
        let bench = try await bench(1)
        try await bench.withClient { client async throws in
            let made = try await client.ask(
                .post,
                "/v1/bulk",
                [
                    "action": "set", "filter": [:],
                    "request": [
                        [
                            "op": "add", "path": "/driver_info/ipmi_password", "value": "hunter2",
                        ]
                    ],
                ]
            )
            #expect(made.status == 202)
            await finish(bench)
            let job = try await client.ask(.get, "/v1/bulk/\(made.body["uuid"]?.text ?? "")")
            #expect(results(job.body) == ["accepted"])
            #expect(!(made.body.canonicalText + job.body.canonicalText).contains("hunter2"))
        }
        #expect(
            try await bench.service.node("n0").driverInfo.secrets["ipmi_password"]
                == Secret("hunter2")
        )
        let path = NSTemporaryDirectory() + "rdo-bulk-\(UUID().uuidString).sqlite"
        try await bench.database.backUp(to: path)
        // A left-over file harms nothing.
        defer { try? FileManager.default.removeItem(atPath: path) }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(bytes.range(of: Data("hunter2".utf8)) == nil)
    }

    @Test func `only so many jobs of one party run at a time`() async throws {
        let bench = try await bench(1)
        let body: JSONValue = [
            "action": "maintenance", "filter": [:], "request": ["maintenance": true],
        ]
        try await bench.withClient { client async throws in
            for _ in 0..<BulkService.jobsMax {
                #expect(try await client.ask(.post, "/v1/bulk", body, as: "admin@a").status == 202)
            }
            #expect(try await client.ask(.post, "/v1/bulk", body, as: "admin@a").status == 429)
            #expect(try await client.ask(.post, "/v1/bulk", body, as: "admin@b").status == 202)
            await finish(bench)
            #expect(try await client.ask(.post, "/v1/bulk", body, as: "admin@a").status == 202)
        }
    }

    static let wrong: [(String, JSONValue, String)] = [
        ("no action", ["filter": [:]], "action must be one of"),
        ("another action", ["action": "delete", "filter": [:]], "action must be one of"),
        ("an unknown member", ["action": "power", "all": true], "it has no “all”"),
        (
            "neither nodes nor filter", ["action": "power", "request": ["target": "power on"]],
            "not both"
        ),
        (
            "both",
            ["action": "power", "request": ["target": "power on"], "nodes": ["a"], "filter": [:]],
            "not both"
        ),
        (
            "no nodes", ["action": "power", "request": ["target": "power on"], "nodes": []],
            "must be a list of names"
        ),
        (
            "an unknown filter",
            ["action": "power", "request": ["target": "power on"], "filter": ["colour": "red"]],
            "there is no such filter"
        ),
        (
            "an unknown state",
            [
                "action": "power", "request": ["target": "power on"],
                "filter": ["provision_state": "tired"],
            ], "there is no such state"
        ),
        ("a wrong power target", ["action": "power", "filter": [:]], "target must be one of"),
        (
            "a wrong provision target",
            ["action": "provision", "filter": [:], "request": ["target": "dance"]],
            "it must be one of"
        ),
        (
            "a wrong field",
            [
                "action": "set", "filter": [:],
                "request": [["op": "add", "path": "/colour", "value": "red"]],
            ], "cannot set the field “colour”"
        ),
        (
            "no yes or no",
            ["action": "maintenance", "filter": [:], "request": ["reason": "x"]],
            "must be true or false"
        ),
    ]

    @Test(arguments: wrong)
    func `a wrong job is refused before any node is asked`(
        name: String,
        body: JSONValue,
        words: String
    ) async throws {
        let bench = try await bench(1)
        try await bench.withClient { client async throws in
            let answer = try await client.ask(.post, "/v1/bulk", body)
            #expect(answer.status == 400, "\(name)")
            #expect(answer.fault.contains(words), "\(answer.fault)")
        }
        #expect(try await bench.bulk.jobs(by: system).isEmpty)
    }

    private var system: Principal {
        Principal(
            userID: "u",
            userName: "kim",
            scope: .system,
            role: .admin,
            isAdminProject: false,
            tokenID: "t"
        )
    }
}
