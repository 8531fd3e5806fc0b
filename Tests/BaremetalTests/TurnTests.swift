import Basics
import HTTP
import HTTPTypes
import Protocol
import Store
import Testing

@testable import Baremetal

/// Who waits, for tables.
private func party(
    _ name: String,
    running: Int = 0,
    served: Int64? = nil,
    first: Int64 = 0,
    _ waiting: String...
) -> TurnOrder.Party {
    TurnOrder.Party(
        name: name,
        running: running,
        servedAt: served.map { Timestamp(nanoseconds: $0) },
        waiting: waiting.map(NodeID.init(unchecked:)),
        firstAt: Timestamp(nanoseconds: first)
    )
}

extension Bench {
    func state(_ id: NodeID) async throws -> String {
        try await service.find(id)?.state.ironicName ?? "gone"
    }
}

@Suite struct TurnOrderTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let parties: [TurnOrder.Party]
        let order: [String]
    }

    static let cases = [
        Case(
            testDescription: "first come, first served within a party",
            parties: [party("a", "a1", "a2", "a3")],
            order: ["a1", "a2", "a3"]
        ),
        Case(
            testDescription: "parties take turns, whoever asked first begins",
            parties: [party("a", first: 5, "a1", "a2", "a3"), party("b", first: 1, "b1")],
            order: ["b1", "a1", "a2", "a3"]
        ),
        Case(
            testDescription: "who has more under way waits",
            parties: [party("a", running: 2, "a1", "a2"), party("b", "b1", "b2", "b3")],
            order: ["b1", "b2", "a1", "b3", "a2"]
        ),
        Case(
            testDescription: "who was served longest ago is first",
            parties: [
                party("a", served: 9, first: 1, "a1", "a2"), party("b", served: 3, first: 2, "b1"),
                party("c", first: 8, "c1"),
            ],
            order: ["c1", "b1", "a1", "a2"]
        ),
    ]

    @Test(arguments: cases)
    func `the order of turns is fair`(row: Case) {
        let order = TurnOrder(parties: row.parties)
        #expect(order.next(.max).map(\.text) == row.order)
        #expect(order.next(2).map(\.text) == Array(row.order.prefix(2)))
        #expect(TurnOrder(parties: row.parties.reversed()).next(.max).map(\.text) == row.order)
    }

    @Test func `an estimate fills the slots in the order in which they become free`() {
        let now = Timestamp(seconds: 1000)
        let estimates = TurnOrder.estimate(
            4,
            started: [Timestamp(seconds: 990), Timestamp(seconds: 970), Timestamp(seconds: 800)],
            slots: 3,
            pace: .seconds(60),
            at: now
        )
        // The longest work is over its pace: its slot may become free at once.
        #expect(estimates.map { ($0 - now) / .seconds(1) } == [0, 30, 50, 60])
    }

    @Test func `a lowered limit frees a slot only when enough work has ended`() {
        let now = Timestamp(seconds: 0)
        let estimates = TurnOrder.estimate(
            1,
            started: [now, now - .seconds(30), now - .seconds(50)],
            slots: 1,
            pace: .seconds(60),
            at: now
        )
        #expect(estimates.map { ($0 - now) / .seconds(1) } == [60])
    }
}

@Suite struct TurnTests {
    private static func principal(_ project: String) -> Principal {
        Principal(
            userID: "u-\(project)",
            userName: project,
            scope: .project(id: project, name: project),
            role: .member,
            isAdminProject: false,
            tokenID: "t"
        )
    }

    /// Nodes in state `manageable` that belong to projects `a` and `b`.
    private func bench(
        _ nodes: [(name: String, project: String)],
        database: Database? = nil,
        waitingMax: Int = 100,
        inspection: Int = 1
    ) async throws -> Bench {
        let bench = try Bench(
            settings: {
                $0.work.inspection = inspection
                $0.work.waitingMax = waitingMax
            },
            database: database
        )
        for (name, project) in nodes {
            _ = try await bench.service.create(id: nil, driver: "fake-hardware", by: nil) {
                $0.name = name
                $0.owner = project
            }
            _ = try await bench.service.change(name, by: nil, cause: "test") {
                $0.state = .manageable
            }
        }
        return bench
    }

    private func inspect(_ bench: Bench, _ names: String...) async throws {
        for name in names {
            bench.world.time.advance(.seconds(1))
            let project = try await bench.service.node(name).owner ?? ""
            _ = try await bench.service.request(
                .inspect,
                for: name,
                by: Self.principal(project)
            )
        }
    }

    private func names(_ bench: Bench, queued: Bool) async throws -> [String] {
        try await bench.service.nodes(NodeQuery()).filter {
            $0.state.workKind != nil && $0.isQueued == queued
        }.map(\.label)
    }

    /// Ends the work of one node, as its agent would.
    private func end(_ bench: Bench, _ name: String) async throws {
        let id = try await bench.service.node(name).id
        for _ in 0..<4 { _ = await bench.reconciler.reconcile(id) }
        #expect(try await bench.state(id) == "manageable")
    }

    /// Looks at every node, as the reconciler does when room is made.
    private func passOn(_ bench: Bench) async throws {
        for kind in bench.service.queue.takeRooms() { try await bench.service.wakeNext(kind) }
        while let id = bench.service.queue.take(runningMax: 100) {
            defer { bench.service.queue.finish(id) }
            guard let node = try await bench.service.find(id), node.isQueued else { continue }
            _ = try await bench.service.takeTurn(node)
        }
    }

    @Test func `a project with many nodes does not hold up one with few`() async throws {
        let bench = try await bench([("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")])
        try await inspect(bench, "a1", "a2", "a3", "b1")
        #expect(try await names(bench, queued: false) == ["a1"])
        var order: [String] = []
        for _ in 0..<4 {
            let running = try await names(bench, queued: false)
            order += running
            for name in running { try await end(bench, name) }
            try await passOn(bench)
        }
        #expect(order == ["a1", "b1", "a2", "a3"])
    }

    @Test func `a waiting node shows its position, its queue and when its turn will come`()
        async throws
    {
        let bench = try await bench([("a1", "a"), ("a2", "a"), ("b1", "b")])
        try await inspect(bench, "a1")
        bench.world.time.advance(.seconds(100))
        try await end(bench, "a1")
        try await inspect(bench, "a1", "a2", "b1")
        let began = bench.world.time.now - .seconds(2)
        try await bench.withClient { client async throws in
            let shown = try await client.ask(.get, "/v1/nodes/a2")
            #expect(shown.body["provision_state"] == "inspecting")
            let waiting = try #require(shown.body["driver_internal_info"]?["rdo_waiting"])
            #expect(waiting["position"] == 2)
            #expect(waiting["queue_length"] == 2)
            #expect(waiting["queue"] == "inspection")
            #expect(waiting["until"] == .null)
            #expect(waiting["eta"]?.text == (began + .seconds(200)).description)
            #expect(waiting["reason"]?.text?.contains("number 2 of 2 that wait") == true)
            let own = try await client.ask(.get, "/v1/nodes/a2/waiting")
            #expect(own.body["waiting"] == waiting)
            let list = try await client.ask(.get, "/v1/nodes/detail")
            let row = list.body["nodes"]?.elements?.first { $0["name"] == "a2" }
            #expect(row?["driver_internal_info"]?["rdo_waiting"] == waiting)
            let running = try await client.ask(.get, "/v1/nodes/a1/waiting")
            #expect(running.body["waiting"]?["position"] == nil)
        }
    }

    @Test func `no budget runs and nothing is done while a node waits`() async throws {
        let bench = try await bench([("a1", "a"), ("a2", "a")])
        try await inspect(bench, "a1", "a2")
        let id = try await bench.service.node("a2").id
        bench.world.time.advance(.seconds(100_000))
        #expect(await bench.reconciler.reconcile(id) != .changed)
        let waits = try #require(try await bench.service.find(id))
        #expect(waits.isQueued && waits.actions.isEmpty && !waits.expectsRamdisk)
        _ = try await bench.service.request(.abort, for: "a1", by: nil)
        try await passOn(bench)
        let begins = try #require(try await bench.service.find(id))
        let deadline = bench.world.time.now + bench.service.settings.budgets.powerOn
        #expect(begins.deadline(bench.service.settings.budgets) == deadline)
        try await end(bench, "a2")
    }

    @Test func `a queued service's step has its whole budget when its turn comes`() throws {
        let start = Timestamp(seconds: 1000)
        let image = Installation(
            image: ImageID(unchecked: "00000000-0000-4000-8000-000000000001"),
            hasAgent: false,
            device: "",
            attempt: Attempt(1),
            since: start
        )
        var node = Node(id: NodeID(unchecked: "n"), driver: "ipmi", at: start)
        node.state = .active(installation: image)
        let plan = StepPlan(steps: [.reboot], powerBudget: .seconds(120))
        try node.apply(.wish(.service(plan)), at: start)
        node.begin(hasRoom: false, at: start)
        #expect(node.actions.isEmpty)
        node.takeTurn(at: start + .seconds(5000))
        #expect(node.powerWish?.deadline == start + .seconds(5120))
        #expect(node.wait?.since == start + .seconds(5000))
        #expect(!node.actions.isEmpty)
    }

    @Test func `the queue is the nodes themselves: a new run goes on with it`() async throws {
        let first = try await bench([("a1", "a"), ("a2", "a"), ("b1", "b")])
        try await inspect(first, "a1", "a2", "b1")
        let second = try await bench([], database: first.database)
        for id in try await second.service.allIDs() { second.service.queue.wake(id) }
        try await passOn(second)
        #expect(try await names(second, queued: false) == ["a1"])
        try await end(second, "a1")
        try await passOn(second)
        #expect(try await names(second, queued: false) == ["b1"])
        #expect(try await names(second, queued: true) == ["a2"])
    }

    @Test(arguments: [true, false])
    func `a node in maintenance or under a lockout holds up nobody`(isLocked: Bool) async throws {
        let bench = try await bench([("a1", "a"), ("a2", "a"), ("a3", "a")])
        try await inspect(bench, "a1", "a2", "a3")
        func hold(_ name: String, _ isHeld: Bool) async throws {
            if isLocked {
                try await bench.service.setLockout(
                    reason: isHeld ? "hands inside" : nil,
                    of: name,
                    by: nil
                )
            } else {
                try await bench.service.setMaintenance(isHeld, reason: nil, of: name, by: nil)
            }
            try await passOn(bench)
        }
        // The first in the queue is passed over, and keeps its place.
        try await hold("a2", true)
        try await end(bench, "a1")
        try await passOn(bench)
        #expect(try await names(bench, queued: false) == ["a3"])
        // Work that stands still frees its slot.
        try await hold("a2", false)
        try await hold("a3", true)
        #expect(Set(try await names(bench, queued: false)) == ["a2", "a3"])
        #expect(try await bench.service.node("a2").place == .running(.inspection))
    }

    @Test func `an aborted, undeployed or forgotten node leaves the queue`() async throws {
        let bench = try await bench([("a1", "a"), ("a2", "a"), ("a3", "a")])
        try await inspect(bench, "a1", "a2", "a3")
        let aborted = try await bench.service.request(.abort, for: "a2", by: nil)
        #expect(aborted.state == .inspectFailed && !aborted.isQueued)
        _ = try await bench.service.request(.abort, for: "a1", by: nil)
        try await passOn(bench)
        #expect(try await names(bench, queued: false) == ["a3"])
        try await inspect(bench, "a1")
        try await bench.service.setMaintenance(true, reason: nil, of: "a3", by: nil)
        try await bench.service.delete("a3", by: nil)
        try await passOn(bench)
        #expect(try await names(bench, queued: false) == ["a1"])
    }

    @Test func `beyond the queue's limit a wish is answered with 503 and when to come back`()
        async throws
    {
        let bench = try await bench([("a1", "a"), ("a2", "a"), ("a3", "a")], waitingMax: 1)
        try await inspect(bench, "a1", "a2")
        try await bench.withClient { client async throws in
            let refused = try await client.ask(
                .put,
                "/v1/nodes/a3/states/provision",
                ["target": "inspect"]
            )
            #expect(refused.status == 503)
            #expect(refused.headers[.retryAfter] == "30")
        }
        #expect(try await bench.service.node("a3").state == .manageable)
    }

    @Test func `cleaning after an undeploy waits in the name of who asked, and is never refused`()
        async throws
    {
        let bench = try await bench([("a1", "a"), ("b1", "b")], waitingMax: 0)
        let image = ImageID(unchecked: "00000000-0000-4000-8000-000000000001")
        for name in ["a1", "b1"] {
            _ = try await bench.service.change(name, by: nil, cause: "test") { node in
                node.state = .active(
                    installation: Installation(
                        image: image,
                        hasAgent: false,
                        device: "",
                        attempt: node.attempt,
                        since: node.createdAt
                    )
                )
            }
        }
        let settings = try Bench(
            settings: {
                $0.work.cleaning = 1
                $0.work.waitingMax = 0
            },
            database: bench.database
        )
        for (name, project) in [("a1", "a"), ("b1", "b")] {
            let node = try await settings.service.request(
                .delete,
                for: name,
                by: Self.principal(project)
            )
            _ = await settings.reconciler.reconcile(node.id)
        }
        let first = try await settings.service.node("a1")
        let second = try await settings.service.node("b1")
        #expect(first.state.name == .cleaning && !first.isQueued && first.party == "a")
        #expect(second.state.name == .cleaning && second.isQueued && second.party == "b")
    }
}
