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
}
