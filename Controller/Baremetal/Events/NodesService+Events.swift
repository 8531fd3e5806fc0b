import Basics
import HTTP
import Logging
import Power
import Protocol
import Store
import Synchronization

/// What BMCs told and nobody looked at yet; losing it costs nothing but time.
struct EventHints: Sendable {
    /// How many messages a node's BMC may send at once, and how often one more.
    static let burst = 30.0
    static let perSecond = 0.5
    /// Lines of a node's history about events in an hour.
    static let linesMax = 20

    private struct Meter {
        var tokens = EventHints.burst
        var since: Duration
        var lines = 0
        var linesSince: Duration
    }

    private var meters: [NodeID: Meter] = [:]
    private var hinted: Set<NodeID> = []

    /// Whether one more message of this node's BMC is read.
    mutating func admits(_ node: NodeID, at now: Duration) -> Bool {
        var meter = meters[node] ?? Meter(since: now, linesSince: now)
        let seconds = Double((now - meter.since).components.seconds)
        if seconds >= 1 {
            meter.tokens = min(Self.burst, meter.tokens + seconds * Self.perSecond)
            meter.since = now
        }
        let isAdmitted = meter.tokens >= 1
        if isAdmitted { meter.tokens -= 1 }
        meters[node] = meter
        return isAdmitted
    }

    /// How many of these lines the history takes.
    mutating func lines(_ wanted: Int, of node: NodeID, at now: Duration) -> Int {
        var meter = meters[node] ?? Meter(since: now, linesSince: now)
        if now - meter.linesSince >= .seconds(3600) {
            meter.lines = 0
            meter.linesSince = now
        }
        let taken = min(wanted, Self.linesMax - meter.lines)
        meter.lines += taken
        meters[node] = meter
        return taken
    }

    mutating func hint(_ node: NodeID) { hinted.insert(node) }
    func isHinted(_ node: NodeID) -> Bool { hinted.contains(node) }
    mutating func take(_ node: NodeID) { hinted.remove(node) }

    mutating func forget(_ node: NodeID) {
        meters[node] = nil
        hinted.remove(node)
    }
}

// What BMCs tell by themselves. It is a hint: the node is looked at, and nothing is believed.
extension NodesService {
    /// The node whose BMC may tell events under this capability.
    /// - Throws: `Fault`: `notFound`, the same for every node and none; `tooMany` when its BMC floods.
    func admitEvents(_ reference: String, _ capability: String) async throws -> Node {
        let unknown = Fault(.notFound, "cannot take events here: nobody subscribed to them")
        guard let url = settings.eventsURL, let id = NodeID(reference),
            let node = try await find(id), let driver = drivers[node.driver],
            driver.events != nil, node.manages
        else { throw unknown }
        let bmc: BMC
        do {
            bmc = try driver.bmc(of: node)
        } catch let fault as Fault where fault.kind == .invalid {
            throw unknown
        }
        let target = EventTarget(of: id, at: bmc, for: url, sealer)
        guard Secret(capability) == target.capability else { throw unknown }
        guard hints.withLock({ $0.admits(id, at: time.elapsed) }) else {
            throw Fault(
                .tooMany,
                "cannot take more events of node \(id): its BMC sends too many; it is looked at anyway"
            )
        }
        return node
    }

    /// Takes what a node's BMC tells: the node is looked at soon, and alerts go to its history and the feed.
    func take(_ events: BMCEvents, of node: Node) async throws {
        hints.withLock { $0.hint(node.id) }
        queue.wake(node.id)
        guard let bmc = try drivers[node.driver]?.bmc(of: node) else { return }
        let alerts = events.events.filter { $0.isAlert && !$0.isForeign(to: bmc) }
        guard !alerts.isEmpty else { return }
        let now = time.now
        let count = hints.withLock { $0.lines(alerts.count, of: node.id, at: time.elapsed) }
        guard count > 0 else { return }
        try await database.write { [sealer] transaction in
            guard let node = try transaction.node(node.id, sealer: sealer) else { return }
            for alert in alerts.prefix(count) {
                try transaction.recordEvent(of: node, alert.sentence, at: now)
                try transaction.record(
                    kind: "node",
                    id: node.id.text,
                    attempt: node.attempt,
                    before: node.state.ironicName,
                    after: node.state.ironicName,
                    cause: alert.sentence,
                    at: now
                )
            }
        }
    }
}
