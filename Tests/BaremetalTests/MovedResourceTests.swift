import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

/// Ports, port groups and volumes that are given to another node by a PATCH of `node_uuid`.
@Suite struct MovedResourceTests {
    private static let kinds: [(path: String, list: String, body: JSONValue)] = [
        ("/v1/ports", "ports", ["node_uuid": "c0", "address": "52:54:00:99:00:00"]),
        ("/v1/portgroups", "portgroups", ["node_uuid": "c0", "name": "bond0"]),
        (
            "/v1/volume/connectors", "connectors",
            ["node_uuid": "c0", "type": "iqn", "connector_id": "iqn.a"]
        ),
        (
            "/v1/volume/targets", "targets",
            ["node_uuid": "c0", "volume_type": "t", "volume_id": "v", "boot_index": 0]
        ),
    ]

    /// Nodes `c0` of the project `p1` and `c1` of `p2`, both switched off, and one resource of `c0`.
    private func withResource(
        _ index: Int,
        _ body:
            @escaping @Sendable (
                Client, _ path: String, _ node: String, _ other: String
            ) async throws -> Void
    ) async throws {
        let bench = try Bench()
        let kind = Self.kinds[index]
        var ids: [String] = []
        for (name, owner) in [("c0", "p1"), ("c1", "p2")] {
            let node = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) {
                $0.name = name
                $0.owner = owner
            }
            try await bench.power(node.id, .off)
            ids.append(node.id.text)
        }
        let (node, other) = (ids[0], ids[1])
        try await bench.withClient { client async throws in
            let made = try await client.ask(.post, kind.path, kind.body)
            try #require(made.status == 201, "\(made.fault)")
            try await body(client, "\(kind.path)/\(made.body["uuid"]?.text ?? "")", node, other)
        }
    }

    private func move(to node: String) -> JSONValue {
        [["op": "replace", "path": "/node_uuid", "value": .string(node)]]
    }

    @Test(arguments: kinds.indices)
    func `it is the other node's then, and no longer the first one's`(index: Int) async throws {
        try await withResource(index) { client, path, node, other in
            let moved = try await client.ask(.patch, path, move(to: other))
            #expect(moved.status == 200, "\(moved.fault)")
            #expect(moved.body["node_uuid"]?.text == other)
            let list = Self.kinds[index].list
            let below = Self.kinds[index].path.dropFirst("/v1/".count)
            for (id, count) in [(node, 0), (other, 1)] {
                let found = try await client.ask(.get, "/v1/nodes/\(id)/\(below)")
                #expect(found.body[list]?.elements?.count == count, "\(found.body.canonicalText)")
            }
            // Its owner has changed with it.
            #expect(try await client.ask(.get, path, as: "reader@p1").status == 404)
            #expect(try await client.ask(.get, path, as: "reader@p2").status == 200)
        }
    }

    @Test(arguments: kinds.indices)
    func `nobody gives it to a node that is not theirs, or to none`(index: Int) async throws {
        try await withResource(index) { client, path, node, other in
            let gone = "aaaaaaaa-0000-4000-8000-000000000009"
            for (patch, token, statuses) in [
                (move(to: other), "admin@p1", [403, 404]),
                (move(to: other), "admin@p2", [403, 404]), (move(to: gone), "admin", [400, 404]),
                ([["op": "remove", "path": "/node_uuid"]], "admin", [400]),
            ] as [(JSONValue, String, [Int])] {
                let refused = try await client.ask(.patch, path, patch, as: token)
                #expect(statuses.contains(refused.status), "\(token): \(refused.fault)")
                #expect(!refused.fault.contains("node c1"), "\(refused.fault)")
                let kept = try await client.ask(.get, path)
                #expect(kept.body["node_uuid"]?.text == node)
            }
        }
    }
}
