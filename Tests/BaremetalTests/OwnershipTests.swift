import HTTP
import HTTPTypes
import Protocol
import Testing

@testable import Baremetal

/// What the owner, the lessee and the installation may change of one node.
@Suite struct OwnershipTests {
    private func withNode(
        _ body: @escaping @Sendable (Bench, Client) async throws -> Void
    ) async throws {
        let bench = try Bench()
        try await bench.withClient { client in
            _ = try await client.call(.post, "/v1/nodes", registration)
            let leased: JSONValue = [
                ["op": "add", "path": "/owner", "value": "p1"],
                ["op": "add", "path": "/lessee", "value": "p2"],
            ]
            #expect(try await client.call(.patch, "/v1/nodes/c0", leased).status == 200)
            try await body(bench, client)
        }
    }

    @Test(arguments: [
        ("/owner", "p2", "manager@p2", 403), ("/owner", "p2", "admin@p1", 403),
        ("/owner", "p3", "admin", 200), ("/lessee", "p3", "manager@p2", 403),
        ("/lessee", "p3", "member@p1", 403), ("/lessee", "p3", "admin@p1", 200),
        ("/driver_info/ipmi_username", "x", "manager@p2", 403),
        ("/driver_info/ipmi_username", "x", "member@p1", 200),
        ("/driver_info/ipmi_address", "192.0.2.66", "member@p1", 403),
        ("/driver_info/ipmi_address", "192.0.2.66", "admin", 200),
        ("/protected", "true", "manager@p2", 403), ("/retired", "true", "manager@p2", 403),
        ("/description", "mine for a while", "manager@p2", 200),
    ])
    func `each field is changed only by whom it belongs to`(
        path: String,
        value: String,
        token: String,
        status: Int
    ) async throws {
        try await withNode { bench, client in
            let before = try await bench.service.node("c0")
            let patch: JSONValue = [
                ["op": "add", "path": .string(path), "value": .string(value)]
            ]
            let answer = try await client.call(.patch, "/v1/nodes/c0", patch, as: token)
            #expect(answer.status == status, "\(answer.fault)")
            if status == 403 { #expect(try await bench.service.node("c0") == before) }
        }
    }

    @Test func `a new address with a new password is the owner's to give`() async throws {
        try await withNode { bench, client in
            let patch: JSONValue = [
                ["op": "add", "path": "/driver_info/ipmi_address", "value": "192.0.2.66"],
                ["op": "add", "path": "/driver_info/ipmi_password", "value": "another"],
            ]
            let answer = try await client.call(.patch, "/v1/nodes/c0", patch, as: "member@p1")
            #expect(answer.status == 200, "\(answer.fault)")
        }
    }

    @Test func `a lessee neither sets nor lifts a lockout`() async throws {
        try await withNode { _, client in
            let path = "/v1/nodes/c0/lockout"
            let body: JSONValue = ["reason": "work on the rack"]
            let lessee = try await client.call(.put, path, body, as: "manager@p2")
            #expect(lessee.status == 403)
            let owner = try await client.call(.put, path, body, as: "member@p1")
            #expect(owner.status < 300)
            let lift = try await client.call(.delete, path, as: "manager@p2")
            #expect(lift.status == 403)
        }
    }

    @Test func `an allocation names a bounded number of candidates`() async throws {
        try await withNode { _, client in
            let names = (0...NodesService.candidatesMax).map { JSONValue.string("n\($0)") }
            let body: JSONValue = ["resource_class": "gold", "candidate_nodes": .array(names)]
            let answer = try await client.call(.post, "/v1/allocations", body)
            #expect(answer.status == 400)
            #expect(answer.fault.contains("at most 256"), "\(answer.fault)")
        }
    }
}
