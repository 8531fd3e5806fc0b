import AgentSystem
import Basics
import Logging
import Protocol
import Synchronization
import Testing

@testable import AgentCore

/// A clock that moves only when somebody sleeps.
private final class SkippingTime: TimeSource {
    private let nanoseconds = Mutex<Int64>(0)

    var now: Timestamp { Timestamp(nanoseconds: nanoseconds.withLock { $0 }) }
    var elapsed: Duration { .nanoseconds(nanoseconds.withLock { $0 }) }

    func sleep(for span: Duration) async throws {
        try Task.checkCancellation()
        nanoseconds.withLock { $0 += max(0, span.wholeNanoseconds) }
    }
}

struct `Enrolment` {
    private func enrol(_ refusals: [WireRefused.Code]) async throws -> (tries: Int, span: Duration)
    {
        let controller = TestController(refusals: refusals)
        let time = SkippingTime()
        let tree = FileTree(root: "/nonexistent")
        let enrolment = AgentCore.Enrolment(
            link: controller,
            machine: Machine(
                tree: tree,
                disks: SystemBlockDevices(tree: tree),
                network: SystemNetwork(tree: tree),
                firmware: SystemFirmware(tree: tree)
            ),
            random: SeededRandom(seed: 5),
            time: time,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        _ = try await enrolment.run(
            Applicant(role: .overcloud, token: Secret(""), bootMAC: "", agentVersion: "test")
        )
        return (controller.read(\.enrolments).count, time.elapsed)
    }

    @Test func `succeeds at once when it is admitted`() async throws {
        let (tries, span) = try await enrol([])
        #expect(tries == 1)
        #expect(span == .zero)
    }

    @Test(arguments: [
        (WireRefused.Code.busy, 0.75...1.25), (.address, 3.75...6.25), (.fingerprint, 7.5...12.5),
        (.token, 45...75), (.malformed, 45...75), (.version, 225...375),
    ])
    func `each refusal has its own pause`(
        code: WireRefused.Code,
        seconds: ClosedRange<Double>
    ) async throws {
        let (tries, span) = try await enrol([code])
        #expect(tries == 2)
        #expect(seconds.contains(span.inSeconds))
    }

    @Test func `the controller's wish for a longer pause is obeyed, within an hour`() {
        var pause = AgentCore.Enrolment.Pause()
        var refused = WireRefused()
        refused.code = .busy
        refused.retrySeconds = 90
        #expect(pause.after(refused) == .seconds(90))
        refused.retrySeconds = .max
        #expect(pause.after(refused) == .seconds(3600))
    }

    @Test func `silence doubles the pause up to half a minute`() {
        var pause = AgentCore.Enrolment.Pause()
        let pauses = (0..<7).map { _ in pause.afterSilence().inSeconds }
        #expect(pauses == [1, 2, 4, 8, 16, 30, 30])
    }
}
