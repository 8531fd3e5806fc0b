import Basics
import Foundation
import HTTP
import HTTPTypes
import Power
import Protocol
import Store
import Testing

@testable import Baremetal

@Suite struct MigrationTests {
    @Test func `nodes and ports of the first release are there after the second migration`()
        async throws
    {
        let path = NSTemporaryDirectory() + "rdo-migration-\(UUID().uuidString).db"
        // What is left in the temporary folder harms nobody.
        defer { try? FileManager.default.removeItem(atPath: path) }
        let old = try Database(
            path: path,
            migrations: [baremetalMigrations[0]],
            feed: ChangeFeed()
        )
        try await old.write { try $0.insertOldNode() }
        let database = try Database(
            path: path,
            migrations: baremetalMigrations,
            feed: ChangeFeed()
        )
        let bench = try Bench(database: database)
        let node = try await bench.service.node("old")
        #expect(node.state == .manageable)
        #expect(node.chassis == nil && !node.isPowerOffDisabled)
        try await bench.withClient { client async throws in
            let port = try await client.ask(.get, "/v1/nodes/old/ports/detail")
            let row = try #require(port.body["ports"]?.elements?.first)
            #expect(row["available_for_dynamic_portgroup"] == true)
            #expect(row["portgroup_uuid"] == .null)
        }
    }

    /// Work as releases before the plans of steps stored it; the last two had plans of another shape.
    private static func oldWork() throws -> [(
        name: String, state: String, shown: String, data: String
    )] {
        func json(_ value: some Encodable) throws -> String {
            String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
        }
        let image = ImageID(unchecked: "aaaaaaaa-0000-4000-8000-0000000000aa")
        let job = try json(RamdiskJob(at: Timestamp(seconds: 5)))
        let open = job.dropLast()
        let order = try json(DeployOrder(image: image, hasAgent: false))
        let plan = #""plan":{"index":0,"powerBudget":[0,30],"steps":["hold"]}"#
        let installation = try json(
            Installation(
                image: image,
                hasAgent: false,
                device: "/dev/sda",
                attempt: Attempt(1),
                since: Timestamp(seconds: 3)
            )
        )
        return [
            ("cleaned", "cleaning", "clean wait", #"{"cleaning":{"job":\#(job)}}"#),
            (
                "deployed", "deploying", "deploying",
                #"{"deploying":{"job":{"device":"","order":\#(order),"stage":{"ramdisk":{"_0":\#(job)}}}}}"#
            ),
            ("held", "cleanHold", "clean hold", #"{"cleanHold":{"job":\#(open),\#(plan)}}}"#),
            (
                "serviced", "servicing", "servicing",
                #"{"servicing":{"job":{"installation":\#(installation),\#(plan)}}}"#
            ),
        ]
    }

    @Test
    func `work that an earlier release began fails with a reason, and may be asked for again`()
        async throws
    {
        let path = NSTemporaryDirectory() + "rdo-migration-\(UUID().uuidString).db"
        // What is left in the temporary folder harms nobody.
        defer { try? FileManager.default.removeItem(atPath: path) }
        let place = try #require(baremetalMigrations.firstIndex { $0.name == "baremetal-007" })
        let old = try Database(
            path: path,
            migrations: Array(baremetalMigrations[..<place]),
            feed: ChangeFeed()
        )
        let works = try Self.oldWork()
        try await old.write { transaction in
            for (index, work) in works.enumerated() {
                try transaction.insertOldNode(
                    work.name,
                    number: index + 1,
                    state: work.state,
                    shown: work.shown,
                    data: work.data
                )
            }
        }
        let before = try Bench(database: old)
        await #expect(throws: (any Error).self) { try await before.service.node("deployed") }
        let database = try Database(
            path: path,
            migrations: baremetalMigrations,
            feed: ChangeFeed()
        )
        let bench = try Bench(database: database)
        for (name, state) in [
            ("cleaned", "clean failed"), ("held", "clean failed"), ("deployed", "deploy failed"),
            ("serviced", "service failed"),
        ] {
            let node = try await bench.service.node(name)
            #expect(node.state.ironicName == state && node.attempt.number == 2, "\(name)")
            #expect(node.lastError?.contains("an earlier release began") == true, "\(name)")
        }
        let serviced = try await bench.service.node("serviced")
        #expect(serviced.state.installation?.device == "/dev/sda")
        let changes = try await database.read { try $0.changes(after: 0, limit: 100) }
        #expect(
            changes.map(\.after).sorted() == [
                "clean failed", "clean failed", "deploy failed", "service failed",
            ]
        )
        try await bench.withClient { client async throws in
            let found = try await client.ask(.get, "/v1/nodes?provision_state=clean%20failed")
            #expect(found.body["nodes"]?.elements?.count == 2)
            let history = try await client.ask(.get, "/v1/nodes/held/history")
            #expect(history.body["history"]?.elements?.count == 1)
            for (name, target) in [("cleaned", "manage"), ("deployed", "deleted")] {
                let wish: JSONValue = ["target": .string(target)]
                let asked = try await client.ask(.put, "/v1/nodes/\(name)/states/provision", wish)
                #expect(asked.status == 202, "\(asked.fault)")
            }
        }
    }
}
