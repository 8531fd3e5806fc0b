import Basics
import Protocol
import Synchronization
@testable import Telemetry
import Testing

/// A clock that stands still until it is moved.
final class HandClock: TimeSource {
    private let nanoseconds = Mutex<Int64>(1_000_000_000_000)

    var now: Timestamp { Timestamp(nanoseconds: nanoseconds.withLock { $0 }) }
    var elapsed: Duration { .nanoseconds(nanoseconds.withLock { $0 }) }

    func advance(by span: Duration) { nanoseconds.withLock { $0 += span.wholeNanoseconds } }
    func sleep(for span: Duration) async throws { advance(by: span) }
}

let nodeA = NodeID(random: Array(repeating: 1, count: 16))

func sample(_ name: String, _ value: Double, instance: String = "") -> WireSample {
    var sample = WireSample()
    sample.name = name
    sample.instance = instance
    sample.value = value
    return sample
}

func batch(_ samples: [WireSample]) -> WireMetricBatch {
    var batch = WireMetricBatch()
    batch.samples = samples
    return batch
}

@Suite struct SampleBoardTests {
    @Test func `the last sample of each series is kept`() {
        let board = SampleBoard(time: HandClock())
        board.take(batch([sample("load1", 1), sample("load1", 2)]), from: nodeA)
        board.take(batch([sample("disk_read_bytes", 7, instance: "vda")]), from: nodeA)
        #expect(board.value(of: "load1", on: nodeA) == 2)
        #expect(board.value(of: "disk_read_bytes", instance: "vda", on: nodeA) == 7)
        #expect(board.points(of: nodeA).map(\.series.name) == ["disk_read_bytes", "load1"])
    }

    @Test(
        arguments: [
            sample("", 1), sample("Load", 1), sample("load-1", 1), sample("1load", 1),
            sample(String(repeating: "x", count: 65), 1), sample("load1\n# HELP", 1),
            sample("load1", .nan), sample("load1", .infinity),
            sample("load1", 1, instance: "vda\"} 1\nevil 2"),
            sample("load1", 1, instance: String(repeating: "x", count: 65)),
        ])
    func `a malformed sample is refused and counted`(bad: WireSample) {
        let board = SampleBoard(time: HandClock())
        #expect(board.take(batch([bad, sample("load5", 1)]), from: nodeA).count == 1)
        #expect(board.counts.refused == 1)
        #expect(board.points(of: nodeA).count == 1)
    }

    @Test func `a node cannot have more series than the bound`() {
        let board = SampleBoard(time: HandClock())
        let many = (0..<SampleBoard.seriesMax + 10).map { sample("series_\($0)", 1) }
        board.take(batch(many), from: nodeA)
        #expect(board.points(of: nodeA).count == SampleBoard.seriesMax)
        board.take(batch([sample("series_0", 9)]), from: nodeA)
        #expect(board.value(of: "series_0", on: nodeA) == 9, "a known series still moves")
    }

    @Test func `old samples are not shown and gone nodes are forgotten`() {
        let clock = HandClock()
        let board = SampleBoard(time: clock)
        board.take(batch([sample("load1", 1)]), from: nodeA)
        clock.advance(by: SampleBoard.age + .seconds(1))
        #expect(board.points(of: nodeA).isEmpty)
        board.take(batch([sample("load1", 1)]), from: nodeA)
        board.keep(only: [])
        #expect(board.points(of: nodeA).isEmpty)
    }
}
