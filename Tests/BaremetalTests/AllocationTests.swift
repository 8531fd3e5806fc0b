import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

@Suite struct AllocationTests {
    /// Registers nodes of class `gold` that are free.
    private func free(_ bench: Bench, _ names: String...) async throws {
        for name in names {
            let node = try await bench.service.create(
                id: nil,
                driver: "fake-hardware",
                by: nil
            ) { node in
                node.name = name
                node.resourceClass = "gold"
                node.traits = name == "c" ? ["CUSTOM_GPU"] : []
                node.automatedClean = false
            }
            try await bench.ask(.manage, node.id)
            try await bench.settle(node.id)
            try await bench.ask(.provide, node.id)
            try await bench.settle(node.id)
        }
    }

    @Test func `two allocations never get one node`() async throws {
        let bench = try Bench()
        try await free(bench, "a", "b", "c")
        try await bench.withClient { client async throws in
            let body: JSONValue = ["resource_class": "gold"]
            let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
                for _ in 0..<5 {
                    group.addTask { try await client.ask(.post, "/v1/allocations", body) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let active = answers.filter { $0.body["state"] == "active" }
            #expect(active.count == 3)
            #expect(Set(active.compactMap { $0.body["node_uuid"]?.text }).count == 3)
            let failed = answers.filter { $0.body["state"] == "error" }
            #expect(failed.count == 2)
            for answer in failed {
                #expect(answer.body["last_error"]?.text?.contains("gold") == true)
            }
        }
    }

    @Test func `candidates, traits and names choose the node`() async throws {
        let bench = try Bench()
        try await free(bench, "a", "b", "c")
        try await bench.withClient { client async throws in
            for (body, name) in [
                (["traits": ["CUSTOM_GPU"]], "c"), (["candidate_nodes": ["b"]], "b"),
                (["name": "a"], "a"),
            ] as [([String: JSONValue], String)] {
                var body = body
                body["resource_class"] = "gold"
                let made = try await client.ask(.post, "/v1/allocations", .object(body))
                #expect(made.status == 201)
                let node = try await client.ask(
                    .get,
                    "/v1/nodes/\(made.body["node_uuid"]?.text ?? "")"
                )
                #expect(node.body["name"] == .string(name))
                #expect(node.body["allocation_uuid"] == made.body["uuid"])
                #expect(node.body["instance_uuid"] == made.body["uuid"])
                let under = try await client.ask(.get, "/v1/nodes/\(name)/allocation")
                #expect(under.body["uuid"] == made.body["uuid"])
            }
            let none = try await client.ask(
                .post,
                "/v1/allocations",
                ["resource_class": "gold", "candidate_nodes": ["a"]]
            )
            #expect(none.body["state"] == "error")
            let list = try await client.ask(.get, "/v1/allocations?state=active")
            #expect(list.body["allocations"]?.elements?.count == 3)
            let wrong = try await client.ask(
                .post,
                "/v1/allocations",
                ["resource_class": "gold", "candidate_nodes": ["nobody"]]
            )
            #expect(wrong.status == 400)
            #expect(try await client.ask(.post, "/v1/allocations", [:]).status == 400)
        }
    }

    @Test func `a node is given back when its allocation or its instance ends`() async throws {
        let bench = try Bench()
        try await free(bench, "a")
        let id = try await bench.service.node("a").id
        try await bench.withClient { client async throws in
            let body: JSONValue = ["resource_class": "gold", "name": "job"]
            _ = try await client.ask(.post, "/v1/allocations", body)
            #expect(try await client.ask(.delete, "/v1/allocations/job").status == 204)
            let free = try await client.ask(.get, "/v1/nodes/a")
            #expect(free.body["instance_uuid"] == .null)
            #expect(free.body["allocation_uuid"] == .null)
            _ = try await client.ask(.post, "/v1/allocations", body)
            try await bench.ask(.deploy(configDrive: nil), id)
            try await bench.settle(id)
            #expect(try await client.ask(.delete, "/v1/allocations/job").status == 409)
            try await bench.ask(.delete, id)
            try await bench.settle(id)
            #expect(try await client.ask(.get, "/v1/allocations/job").status == 404)
        }
    }

    @Test func `a node that is deployed already is filled in`() async throws {
        let bench = try Bench()
        try await free(bench, "a", "b")
        let id = try await bench.service.node("a").id
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        try await bench.withClient { client async throws in
            let made = try await client.ask(.post, "/v1/allocations", ["node": "a"])
            #expect(made.status == 201, "\(made.fault)")
            #expect(made.body["node_uuid"] == .string(id.text))
            #expect(made.body["resource_class"] == "gold")
            #expect(try await client.ask(.post, "/v1/allocations", ["node": "a"]).status == 409)
            #expect(try await client.ask(.post, "/v1/allocations", ["node": "b"]).status == 409)
        }
    }

    @Test func `a project gets its own nodes only`() async throws {
        let bench = try Bench()
        try await free(bench, "a", "b")
        _ = try await bench.service.update("b", by: nil) { $0.owner = "p1" }
        try await bench.withClient { client async throws in
            let body: JSONValue = ["resource_class": "gold"]
            let own = try await client.ask(.post, "/v1/allocations", body, as: "member@p1")
            #expect(own.body["owner"] == "p1")
            let node = try await bench.service.node("b")
            #expect(own.body["node_uuid"] == .string(node.id.text))
            let next = try await client.ask(.post, "/v1/allocations", body, as: "member@p1")
            #expect(next.body["state"] == "error")
            let list = try await client.ask(.get, "/v1/allocations", as: "reader@p2")
            #expect(list.body["allocations"] == [])
        }
    }
}
