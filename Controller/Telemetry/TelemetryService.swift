import Agents
package import Basics
import Foundation
package import Logging
package import Protocol
import Synchronization
import SwiftProtobuf
package import Transport

/// Counts of the message bus; the transport gives them.
package protocol BusTraffic: Sendable {
    /// Names and values since the start, all growing.
    func traffic() -> [(name: String, value: UInt64)]
    /// Names and present lengths of the controller's queues.
    func queues() -> [(name: String, length: Int)]
}

/// Takes samples from agents and gives them out: the last of each, the stream, the scrape.
package final class TelemetryService: MetricSink {
    package let board: SampleBoard
    /// A name that was changed shows on the stream after this time at the latest.
    private static let nameValid: Duration = .seconds(60)

    private let nodes: any NodeOverviews
    private let stream: any StreamPublisher
    private let bus: any BusTraffic
    private let time: any TimeSource
    private let logger: Logger
    private let names = Mutex<[NodeID: (name: String, until: Duration)]>([:])

    package init(
        nodes: any NodeOverviews,
        stream: any StreamPublisher,
        bus: any BusTraffic,
        time: any TimeSource,
        logger: Logger
    ) {
        board = SampleBoard(time: time)
        self.nodes = nodes
        self.stream = stream
        self.bus = bus
        self.time = time
        self.logger = logger
    }

    package func metrics(_ batch: WireMetricBatch, from node: NodeID) async {
        let name = await name(of: node)
        for sample in board.take(batch, from: node) {
            var message = WireStreamMetric()
            message.node = node.text
            message.nodeName = name
            message.sample = sample
            // Only a message with an Any inside can fail to serialise; this has none.
            guard let payload: [UInt8] = try? message.serializedBytes() else { continue }
            stream.publish(topic: "metric.\(node.text).\(sample.name)", payload: payload)
        }
    }

    /// The node's name, looked up once a minute; empty when it cannot be told.
    private func name(of node: NodeID) async -> String {
        let now = time.elapsed
        if let known = names.withLock({ $0[node] }), now < known.until { return known.name }
        // Metrics do not wait for a database that has trouble: the identifier is in the message as well.
        let name = (try? await nodes.name(of: node)) ?? ""
        names.withLock { $0[node] = (name, now + Self.nameValid) }
        return name
    }

    /// Everything a scrape shows, in Prometheus' text format.
    package func exposition() async throws -> String {
        let nodes = try await nodes.overviews()
        let present = Set(nodes.map(\.id))
        board.keep(only: present)
        names.withLock { $0 = $0.filter { present.contains($0.key) } }
        let snapshot = ScrapeSnapshot(
            now: time.now,
            nodes: nodes,
            samples: nodes.map { ($0, board.points(of: $0.id)) },
            counts: board.counts,
            traffic: bus.traffic(),
            queues: bus.queues(),
            residentBytes: residentBytes()
        )
        return snapshot.exposition
    }
}

/// Resident memory of this process in bytes; 0 when /proc cannot be read.
private func residentBytes() -> Int64 {
    // Without /proc the figure is shown as 0.
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else {
        return 0
    }
    let fields = text.split(separator: " ")
    guard fields.count > 1, let pages = Int64(fields[1]) else { return 0 }
    return pages * Int64(sysconf(Int32(_SC_PAGESIZE)))
}
