import Basics
import Protocol
import Simulator
import Testing

/// What BMCs that never answer do to machines that work, in the world's own time.
@Suite struct SilentRackTests {
    /// A seed whose limits let both machines work at the same time.
    private static let seed: UInt64 = 26

    private func run(
        silent: Int,
        liveAfter: Duration = .zero,
        _ change: (inout ToolBounds) -> Void = { _ in }
    ) -> SilentRack.Report {
        var bounds = ToolBounds()
        change(&bounds)
        return SilentRack(seed: Self.seed, silent: silent, liveAfter: liveAfter, bounds: bounds)
            .run()
    }

    /// Registered together with the silent ones, and long after them.
    @Test(arguments: [Duration.zero, .seconds(300)])
    func `beside two hundred silent BMCs a machine takes exactly as long as alone`(after: Duration)
    {
        let alone = run(silent: 0, liveAfter: after)
        let beside = run(silent: 200, liveAfter: after)
        #expect(alone.failures.isEmpty, "\(alone.failures)")
        #expect(beside.failures.isEmpty, "\(beside.failures)")
        #expect(alone.spans.count == 12)
        #expect(beside.spans == alone.spans)
        // They were asked for all the while.
        #expect(beside.silentNodes == 200)
        #expect(beside.silentWishes >= 200)
    }

    @Test func `the same seed is the same rack`() {
        let report = run(silent: 40)
        #expect(report == run(silent: 40))
        let other = SilentRack(seed: Self.seed + 27, silent: 40, liveAfter: .zero).run()
        #expect(report.digest != other.digest)
    }

    /// Each bound taken away: then the silent ones hold the others up, and this suite sees it.
    @Test func `without its bounds the controller would be held up`() {
        let verify = "c0-01 verify"
        // Each silent one takes a place of the tool for ten seconds.
        let unasked = run(silent: 200) { $0.greets = false }
        #expect(unasked.spans[verify] ?? .zero > .seconds(60), "\(unasked)")
        // Work on one node at a time: the machines are not verified within their budget.
        let serial = run(silent: 60) { $0.workers = 1 }
        #expect(serial.failures.count == 2, "\(serial)")
        let few = run(silent: 300) { $0.workers = 256 }
        #expect(few.spans[verify] ?? .zero > .seconds(9), "\(few)")
        #expect(run(silent: 300).spans[verify] ?? .zero < .seconds(1))
    }
}
