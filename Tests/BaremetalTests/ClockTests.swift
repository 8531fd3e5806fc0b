import Basics
import HTTP
import Power
import Protocol
import Testing

@testable import Baremetal

/// Somebody sets the controller's clock back while nodes are worked on.
@Suite struct ClockTests {
    private static let back = Duration.seconds(-36_000)

    /// Begins something, sets the clock back, and tells how long it then takes until the node is at rest.
    private func settling(
        _ bench: Bench,
        _ id: NodeID,
        after looks: Int = 3,
        _ meanwhile: () -> Void = {}
    ) async throws -> Duration {
        for _ in 0..<looks {
            _ = await bench.reconciler.reconcile(id)
            bench.world.time.advance(.seconds(4))
        }
        bench.world.time.setClock(by: Self.back)
        meanwhile()
        let begin = bench.world.time.elapsed
        try await bench.settle(id, seconds: 80_000)
        return bench.world.time.elapsed - begin
    }

    @Test func `a budget ends as if nothing had happened`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        bench.world.edit(id) { $0.bmc = .dead }
        try await bench.ask(.manage, id)
        let span = try await settling(bench, id)
        let node = try await bench.service.node("c0")
        #expect(node.state == .enroll)
        #expect(node.lastError?.contains("did not answer in time") == true)
        #expect(span <= bench.service.settings.budgets.verify + .seconds(30), "\(span)")
    }

    @Test func `a BMC that comes back is asked again at once`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        bench.world.edit(id) { $0.bmc = .dead }
        try await bench.ask(.manage, id)
        let span = try await settling(bench, id) { bench.world.edit(id) { $0.bmc = .none } }
        #expect(try await bench.service.node("c0").state == .manageable)
        #expect(span < .seconds(30), "\(span)")
    }

    @Test func `a ramdisk that never comes fails the work in its time`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.agent = .silent }
        try await bench.ask(.inspect, id)
        let span = try await settling(bench, id)
        #expect(try await bench.service.node("c0").state.name == .inspectFailed)
        let budgets = bench.service.settings.budgets
        #expect(span < budgets.agent * 2 + budgets.powerOn * 2 + .seconds(120), "\(span)")
    }

    @Test func `work that goes well goes well`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.ask(.inspect, id)
        let span = try await settling(bench, id)
        let node = try await bench.service.node("c0")
        #expect(node.state == .manageable, "\(node.lastError ?? "")")
        #expect(node.inspectionFinishedAt != nil)
        #expect(span < bench.service.settings.budgets.agent * 2, "\(span)")
    }

    @Test func `a power change that nobody obeys fails in its time`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        bench.world.edit(id) { $0.bmc = .liar }
        _ = try await bench.service.requestPower(.on, of: "c0", within: .seconds(60), by: nil)
        _ = await bench.reconciler.reconcile(id)
        bench.world.time.setClock(by: Self.back)
        let begin = bench.world.time.elapsed
        while try await bench.service.node("c0").powerWish != nil,
            bench.world.time.elapsed - begin < .seconds(40_000)
        {
            _ = await bench.reconciler.reconcile(id)
            bench.world.time.advance(.seconds(4))
        }
        #expect(try await bench.service.node("c0").lastError?.contains("took the order") == true)
        #expect(bench.world.time.elapsed - begin < .seconds(90))
    }

    @Test func `the power of an idle node is read on`() async throws {
        let bench = try Bench { $0.powerPoll = .seconds(60) }
        let id = try await bench.register()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        _ = await bench.reconciler.reconcile(id)
        bench.world.time.setClock(by: Self.back)
        bench.world.edit(id) { $0.power = .on }
        bench.world.time.advance(.seconds(61))
        _ = await bench.reconciler.reconcile(id)
        #expect(try await bench.service.node("c0").powerState == .on)
    }
}
