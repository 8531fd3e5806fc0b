import Basics
import HTTP
import HTTPTypes
import Images
import Protocol
import Synchronization
import Testing

@testable import Baremetal

/// Images during whose look-up somebody else is served, once.
final class OvertakingImages: ImageSource {
    private let images = SimulatedImages()
    private let other = Mutex<(@Sendable () async throws -> Void)?>(nil)

    func overtake(_ body: @escaping @Sendable () async throws -> Void) {
        other.withLock { $0 = body }
    }

    func image(_ identifierOrName: String) async throws -> Image {
        let body = other.withLock { other in
            defer { other = nil }
            return other
        }
        try await body?()
        return try await images.image(identifierOrName)
    }

    func manifest(of image: ImageID) async throws -> ImagesService.Manifest {
        try await images.manifest(of: image)
    }

    func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) async -> String {
        await images.makeCapability(
            image: image,
            node: node,
            attempt: attempt,
            keyFingerprint: keyFingerprint,
            validFor: span
        )
    }
}

/// Two clients at one node: one wins, the other is told so, and nothing is half done.
@Suite struct RaceTests {
    private struct Call: Sendable {
        let method: HTTPRequest.Method
        let path: String
        var body: JSONValue?
    }

    /// Makes both calls at the same time.
    /// - Returns: their statuses, the smaller first.
    private func race(_ client: Client, _ first: Call, _ second: Call) async throws -> [Int] {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for call in [first, second] {
                group.addTask {
                    try await client.ask(call.method, call.path, call.body).status
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }.sorted()
        }
    }

    @Test func `of two who ask for one node exactly one is obeyed`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        let before = try await bench.service.node("c0").attempt
        try await bench.withClient { client async throws in
            let path = "/v1/nodes/c0/states/provision"
            // A state that does not allow a verb is a 400, as in Ironic; one that allowed it when the call
            // looked, and does no more when it is stored, is a 409 (README).
            let statuses = try await race(
                client,
                Call(method: .put, path: path, body: ["target": "active"]),
                Call(method: .put, path: path, body: ["target": "active"])
            )
            #expect([[202, 400], [202, 409]].contains(statuses))
            let different = try await race(
                client,
                Call(method: .put, path: path, body: ["target": "deleted"]),
                Call(method: .put, path: path, body: ["target": "deleted"])
            )
            #expect([[202, 400], [202, 409]].contains(different))
        }
        let node = try await bench.service.node("c0")
        #expect(node.attempt.number == before.number + 2)
        try await bench.settle(id)
        #expect(try await bench.service.node("c0").state.ironicName == "available")
        #expect(bench.world.machine(id)?.writes == 0)
    }

    @Test func `who is overtaken between look and change gets 409, who comes later 400`()
        async throws
    {
        let images = OvertakingImages()
        let bench = try Bench(images: images)
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        let before = try await bench.service.node("c0").attempt
        // Both have looked when the first one is stored.
        images.overtake { try await bench.ask(.deploy(configDrive: nil), id) }
        let fault = await #expect(throws: Fault.self) {
            try await bench.ask(.deploy(configDrive: nil), id)
        }
        #expect(fault?.kind == .conflict)
        #expect(fault?.message.contains("somebody else changed it just now") == true)
        await #expect(throws: InvalidTransition.self) {
            try await bench.ask(.deploy(configDrive: nil), id)
        }
        #expect(try await bench.service.node("c0").attempt.number == before.number + 1)
    }

    @Test func `a name, an instance, an address or a network is one's who came first`() async throws
    {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            let node: JSONValue = ["driver": "fake-hardware", "name": "same"]
            let made = Call(method: .post, path: "/v1/nodes", body: node)
            #expect(try await race(client, made, made) == [201, 409])
            for name in ["n1", "n2"] {
                let node: JSONValue = ["driver": "fake-hardware", "name": .string(name)]
                #expect(try await client.ask(.post, "/v1/nodes", node).status == 201)
            }
            let instance: JSONValue = [
                [
                    "op": "add", "path": "/instance_uuid",
                    "value": "aaaaaaaa-0000-4000-8000-0000000000cc",
                ]
            ]
            let claims = try await race(
                client,
                Call(method: .patch, path: "/v1/nodes/n1", body: instance),
                Call(method: .patch, path: "/v1/nodes/n2", body: instance)
            )
            #expect(claims == [200, 409])
            let ports = ["n1", "n2"].map { name in
                Call(
                    method: .post,
                    path: "/v1/ports",
                    body: ["node_ident": .string(name), "address": "52:54:00:c0:00:01"]
                )
            }
            #expect(try await race(client, ports[0], ports[1]) == [201, 409])
            let owner = try await client.ask(.get, "/v1/ports/detail")
            let at = owner.body["ports"]?.elements?.first?["node_uuid"]?.text ?? ""
            let network = Call(
                method: .post,
                path: "/v1/nodes/\(at)/vifs",
                body: ["id": "net-a"]
            )
            #expect(try await race(client, network, network) == [204, 409])
        }
    }

    @Test func `of two allocations one gets the only node, and a node is forgotten once`()
        async throws
    {
        let bench = try Bench()
        _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) {
            $0.name = "n1"
            $0.resourceClass = "gold"
        }
        let id = try await bench.service.node("n1").id
        try await bench.makeAvailable(id)
        try await bench.withClient { client async throws in
            let wish = Call(
                method: .post,
                path: "/v1/allocations",
                body: ["resource_class": "gold"]
            )
            #expect(try await race(client, wish, wish) == [201, 201])
            let list = try await client.ask(.get, "/v1/allocations")
            let states = list.body["allocations"]?.elements?.compactMap { $0["state"]?.text }
            #expect(states?.sorted() == ["active", "error"])
            for row in list.body["allocations"]?.elements ?? [] {
                let path = "/v1/allocations/\(row["uuid"]?.text ?? "")"
                #expect(try await client.ask(.delete, path).status == 204)
            }
            let gone = Call(method: .delete, path: "/v1/nodes/n1")
            #expect(try await race(client, gone, gone) == [204, 404])
        }
    }

    @Test func `a node with work under way is not forgotten, and goes on`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.withClient { client async throws in
            func refused(_ state: String) async throws {
                let answer = try await client.ask(.delete, "/v1/nodes/c0")
                #expect(answer.status == 409, "\(state): \(answer.fault)")
                #expect(answer.fault.contains("it is \(state)"), "\(answer.fault)")
                #expect(try await bench.service.node("c0").state.ironicName == state)
            }
            try await bench.ask(.manage, id)
            try await bench.settle(id)
            try await bench.ask(.inspect, id)
            try await refused("inspecting")
            try await bench.settle(id)
            try await bench.ask(.provide, id)
            try await refused("cleaning")
            try await bench.settle(id)
            try await bench.ask(.deploy(configDrive: nil), id)
            try await refused("deploying")
            try await bench.settle(id)
            try await refused("active")
            try await bench.ask(.delete, id)
            try await refused("deleting")
            try await bench.settle(id)
            #expect(try await client.ask(.delete, "/v1/nodes/c0").status == 204)
        }
    }

    @Test func `a clock that is moved back delays nothing for ever and repeats nothing`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("overcloud", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        for step in 0..<400 {
            guard try await bench.service.node("c0").wait != nil else { break }
            _ = await bench.reconciler.reconcile(id)
            // Once in the middle of the boot, once in the middle of the write.
            if step == 10 || step == 60 { bench.world.time.advance(.seconds(-7200)) }
            bench.world.time.advance(.seconds(1))
            try await bench.world.advance(id, policy: bench.policy) { result in
                try await bench.reconciler.agentResult(result, from: id, role: .ramdisk)
            }
        }
        try await bench.settle(id)
        let node = try await bench.service.node("c0")
        #expect(node.state.ironicName == "active", "\(node.lastError ?? "")")
        #expect(bench.world.machine(id)?.writes == 1)
    }
}
