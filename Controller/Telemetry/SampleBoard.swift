package import Basics
package import Protocol
import Synchronization

/// The last sample of every series of every node, in memory.
///
/// What agents send is untrusted: names are checked, counts bounded, and a sample that is not a number is
/// left out.
package final class SampleBoard: Sendable {
    /// Names one series of a node.
    package struct Series: Hashable, Comparable, Sendable {
        package var name: String
        /// `vda`, `ens3`; empty when there is only one.
        package var instance: String

        package static func < (left: Series, right: Series) -> Bool {
            (left.name, left.instance) < (right.name, right.instance)
        }
    }

    /// A value and when it was taken, by the controller's clock.
    package struct Point: Sendable, Equatable {
        package var value: Double
        package var time: Timestamp
        package var cumulative: Bool
    }

    private struct Board {
        var nodes: [NodeID: [Series: Point]] = [:]
        var received: UInt64 = 0
        var refused: UInt64 = 0
        var droppedByAgents: UInt64 = 0
    }

    /// Series kept of one node.
    package static let seriesMax = 512
    /// Age at which a point is no longer shown.
    package static let age: Duration = .seconds(300)

    private let board = Mutex(Board())
    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    /// Takes a batch.
    /// - Returns: the samples that were taken.
    @discardableResult
    package func take(_ batch: WireMetricBatch, from node: NodeID) -> [WireSample] {
        let now = time.now
        return board.withLock { board in
            var series = board.nodes[node] ?? [:]
            var taken: [WireSample] = []
            for sample in batch.samples {
                let key = Series(name: sample.name, instance: sample.instance)
                guard Self.isName(sample.name), Self.isInstance(sample.instance),
                    sample.value.isFinite, series[key] != nil || series.count < Self.seriesMax
                else {
                    board.refused += 1
                    continue
                }
                series[key] = Point(value: sample.value, time: now, cumulative: sample.cumulative)
                taken.append(sample)
            }
            board.received += UInt64(taken.count)
            board.droppedByAgents &+= batch.dropped
            board.nodes[node] = series
            return taken
        }
    }

    /// The present points of one node.
    package func points(of node: NodeID) -> [(series: Series, point: Point)] {
        let oldest = time.now - Self.age
        return board.withLock { board in
            (board.nodes[node] ?? [:]).filter { $0.value.time > oldest }
                .sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
    }

    /// The present value of one series; `nil` when there is none.
    package func value(of name: String, instance: String = "", on node: NodeID) -> Double? {
        let oldest = time.now - Self.age
        return board.withLock { board in
            board.nodes[node]?[Series(name: name, instance: instance)]
                .flatMap { $0.time > oldest ? $0.value : nil }
        }
    }

    /// Forgets nodes that are no longer there.
    package func keep(only nodes: Set<NodeID>) {
        board.withLock { board in
            board.nodes = board.nodes.filter { nodes.contains($0.key) }
        }
    }

    /// Samples taken, refused, and dropped by agents before they were sent.
    package var counts: (received: UInt64, refused: UInt64, droppedByAgents: UInt64) {
        board.withLock { ($0.received, $0.refused, $0.droppedByAgents) }
    }

    /// Prometheus' rule for metric names, in lower case and bounded.
    private static func isName(_ text: String) -> Bool {
        guard (1...64).contains(text.utf8.count), let first = text.utf8.first,
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first)
        else { return false }
        return text.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "_")
        }
    }

    /// Device and interface names: printable ASCII.
    private static func isInstance(_ text: String) -> Bool {
        text.utf8.count <= 64 && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}
