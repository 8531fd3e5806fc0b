import Basics
import Logging
import Protocol
import SwiftProtobuf
@testable import Telemetry
import Testing
import Transport

struct FixedNodes: NodeOverviews {
    var nodes: [NodeOverview]
    func overviews() async throws -> [NodeOverview] { nodes }
    func name(of node: NodeID) async throws -> String? { nodes.first { $0.id == node }?.name }
}

struct NoTraffic: BusTraffic {
    func traffic() -> [(name: String, value: UInt64)] { [("frames_in", 12)] }
    func queues() -> [(name: String, length: Int)] { [("frames", 3)] }
}

final class Published: StreamPublisher {
    let topics = SampleTopics()
    let names = SampleTopics()

    func publish(topic: String, payload: [UInt8]) {
        topics.add(topic)
        let message = try? WireStreamMetric(serializedBytes: payload)
        names.add(message?.nodeName ?? "not a StreamMetric")
    }
}

func overview(_ name: String, _ state: String, since: Timestamp) -> NodeOverview {
    NodeOverview(
        id: nodeA,
        name: name,
        state: state,
        power: "power on",
        maintenance: false,
        since: since,
        waitingFor: nil,
        until: nil,
        lastError: nil,
        progress: nil
    )
}

@Suite struct ExpositionTests {
    @Test func `a scrape shows states, queues and the nodes' last samples`() async throws {
        let clock = HandClock()
        let nodes = FixedNodes(nodes: [overview("c\"0", "active", since: clock.now - .seconds(60))])
        let published = Published()
        let service = TelemetryService(
            nodes: nodes,
            stream: published,
            bus: NoTraffic(),
            time: clock,
            logger: Logger(label: "test")
        )
        await service.metrics(
            batch([sample("load1", 0.5), sample("disk_free_bytes", 1024, instance: "/")]),
            from: nodeA
        )
        let text = try await service.exposition()
        #expect(text.contains("rdo_nodes{state=\"active\"} 1\n"))
        #expect(text.contains("rdo_node_state_seconds_max{state=\"active\"} 60\n"))
        #expect(text.contains("rdo_queue_length{queue=\"frames\"} 3\n"))
        #expect(text.contains("rdo_node_load1{node=\"c\\\"0\"} 0.5\n"))
        #expect(
            text.contains("rdo_node_disk_free_bytes{node=\"c\\\"0\",instance_name=\"/\"} 1024\n")
        )
        #expect(
            published.topics.all == ["metric.\(nodeA).load1", "metric.\(nodeA).disk_free_bytes"]
        )
        #expect(published.names.all == ["c\"0", "c\"0"])
    }

    @Test func `every line of a scrape is a comment or a sample of a declared family`() async throws
    {
        let clock = HandClock()
        let service = TelemetryService(
            nodes: FixedNodes(nodes: [overview("c0", "deploy failed", since: clock.now)]),
            stream: Published(),
            bus: NoTraffic(),
            time: clock,
            logger: Logger(label: "test")
        )
        await service.metrics(batch([sample("load1", -1.25e-7)]), from: nodeA)
        var declared: Set<Substring> = []
        for line in try await service.exposition().split(separator: "\n") {
            if line.hasPrefix("# TYPE ") {
                declared.insert(line.split(separator: " ")[2])
            } else if !line.hasPrefix("#") {
                let name = line.prefix { $0 != "{" && $0 != " " }
                #expect(declared.contains(name), "\(line)")
                #expect(Double(line.split(separator: " ").last ?? "") != nil, "\(line)")
            }
        }
    }
}
