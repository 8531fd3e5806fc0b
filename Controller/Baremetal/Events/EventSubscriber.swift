import Basics
import Logging
import Power
import Protocol
import ServiceLifecycle
import Store

/// Keeps one subscription at each BMC that can send events, and ends those that are not wanted any more.
///
/// ```
/// (none) ── stored ──> wanted ── BMC told ──> wanted, looked at again every ten minutes
///                        └── node gone, other BMC, switched off ──> unwanted ── BMC told ──> (none)
/// ```
/// What is stored goes before what the BMC is told: a stop in between leaves nothing that nobody knows of. A BMC that
/// forgot its subscription, because it was reset, gets it again at the next look.
package final class EventSubscriber: Service {
    private let service: NodesService
    private let logger: Logger

    /// Between two looks at what is due.
    private static let period: Duration = .seconds(10)
    /// How often a BMC is asked whether it still has the subscription.
    static let lookAgain: Duration = .seconds(600)
    /// How often one is asked again that sends no events.
    static let lookAtUnable: Duration = .seconds(86_400)
    /// BMCs that are spoken to at the same time, and in one turn.
    private static let runningMax = 32
    private static let turnMax = 128
    /// Tries to end a subscription, the last ones an hour apart; then the BMC is left to its own.
    static let endsMax = 12

    package init(service: NodesService) {
        self.service = service
        logger = service.logger
    }

    package func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await self.work() }
        } catch is CancellationError {}  // A stop is no failure.
    }

    /// Works until cancelled.
    package func work() async throws {
        while true {
            do {
                try await turn()
            } catch let error where !(error is CancellationError) {
                logger.warning(
                    "subscriptions cannot be looked at",
                    metadata: [LogKey.error: "\(Fault(error).report)"]
                )
            }
            try await service.time.sleep(for: Self.period)
        }
    }

    /// Does everything that is due.
    func turn() async throws {
        let now = service.time.now
        let sealer = service.sealer
        let isOn = service.settings.eventsURL != nil
        let (nodes, ends) = try await service.database.write { transaction in
            try transaction.dismissSubscriptions(all: !isOn, at: now)
            return (
                isOn ? try transaction.nodesToSubscribe(at: now, limit: Self.turnMax) : [],
                try transaction.subscriptionsToEnd(at: now, limit: Self.turnMax, sealer: sealer)
            )
        }
        // One after the other: a subscription that is ended and wanted again is not done both at a time.
        await eachOf(ends) { await self.end($0) }
        await eachOf(nodes) { await self.look(at: $0) }
    }

    private func eachOf<Item: Sendable>(
        _ items: [Item],
        _ body: @escaping @Sendable (Item) async -> Void
    ) async {
        await withTaskGroup(of: Void.self) { group in
            for (index, item) in items.enumerated() {
                if index >= Self.runningMax { await group.next() }
                group.addTask(name: "events of a BMC") { await body(item) }
            }
        }
    }

    private func look(at id: NodeID) async {
        do {
            try await ensure(id)
        } catch {
            logger.debug(
                "node's events cannot be subscribed",
                metadata: [LogKey.nodeID: "\(id)", LogKey.error: "\(Fault(error).report)"]
            )
        }
    }

    /// Sees to it that a node's BMC sends its events.
    private func ensure(_ id: NodeID) async throws {
        guard let url = service.settings.eventsURL, let node = try await service.find(id),
            let driver = service.drivers[node.driver], let events = driver.events
        else { return }
        let now = service.time.now
        let known = try await service.database.read { [sealer = service.sealer] in
            try $0.subscriptions(of: id, sealer: sealer)
        }
        // Without a usable address there is nobody to subscribe at, and what was subscribed is ended.
        let bmc = node.manages ? try? driver.bmc(of: node) : nil
        let target = bmc.map { EventTarget(of: id, at: $0, for: url, service.sealer) }
        try await dismiss(
            known.filter { $0.isWanted && $0.target != target?.mark ?? Self.nowhere },
            at: now
        )
        guard let bmc, let target else {
            // Looked at again when it is changed, and else now and then.
            return try await save(
                StoredSubscription(
                    node: id,
                    target: Self.nowhere,
                    driver: node.driver,
                    driverInfo: DriverInfo(),
                    isWanted: true,
                    checkedAt: now,
                    nextTry: now + Self.lookAgain
                )
            )
        }
        var own =
            known.first { $0.target == target.mark }
            ?? StoredSubscription(
                node: id,
                target: target.mark,
                driver: node.driver,
                driverInfo: node.driverInfo,
                isWanted: true,
                checkedAt: now,
                nextTry: now
            )
        if !own.isWanted || own.driverInfo != node.driverInfo {
            (own.tries, own.nextTry) = (0, now)
        }
        (own.isWanted, own.driverInfo, own.checkedAt) = (true, node.driverInfo, now)
        try await save(own)
        guard own.nextTry <= now else { return }
        do {
            let isNew = try await events.subscribe(
                target.subscription(of: id, at: url),
                of: bmc
            )
            if isNew { try await tell(own.madeAt == nil ? Self.first : Self.again, id) }
            if isNew || own.madeAt == nil { own.madeAt = service.time.now }
            own.tries = 0
            own.nextTry = service.time.now + Self.lookAgain
        } catch let fault as PowerFault {
            if own.tries == 0, fault.reason != .noAnswer { try await tell(fault.message, id) }
            own.tries += 1
            own.nextTry =
                service.time.now
                + (fault.reason == .unsupported ? Self.lookAtUnable : Self.pause(own.tries))
        }
        try await save(own)
    }

    /// The target of a node whose BMC cannot be spoken to.
    static let nowhere = "-"
    private static let first = "its BMC sends its events from now on"
    private static let again = "its BMC had forgotten to send its events; it was told again"

    /// Growing pauses, an hour at most.
    static func pause(_ tries: Int) -> Duration { .seconds(min(3600, 30 << min(tries, 7))) }

    private func tell(_ sentence: String, _ id: NodeID) async throws {
        try await service.tell(sentence, of: id)
    }

    private func save(_ subscription: StoredSubscription) async throws {
        try await service.database.write { [sealer = service.sealer] in
            try $0.save(subscription, sealer: sealer)
        }
    }

    private func dismiss(_ old: [StoredSubscription], at now: Timestamp) async throws {
        for var subscription in old {
            (subscription.isWanted, subscription.tries, subscription.nextTry) = (false, 0, now)
            try await save(subscription)
        }
    }

    /// Tells a BMC to send nothing more; after some failures it is left to its own.
    private func end(_ subscription: StoredSubscription) async {
        var subscription = subscription
        let mark = EventTarget.mark(of: subscription.node, subscription.target)
        var problem: String?
        do {
            var node = Node(
                id: subscription.node,
                driver: subscription.driver,
                at: subscription.checkedAt
            )
            node.driverInfo = subscription.driverInfo
            if subscription.target != Self.nowhere,
                let driver = service.drivers[subscription.driver], let events = driver.events
            {
                try await events.unsubscribe(mark, of: try driver.bmc(of: node))
            }
        } catch let fault as PowerFault where fault.reason == .unsupported {
        } catch {
            problem = Fault(error).report
        }
        do {
            subscription.tries += 1
            guard let problem, subscription.tries < Self.endsMax else {
                return try await service.database.write { [subscription] in
                    try $0.deleteSubscription(of: subscription.node, to: subscription.target)
                }
            }
            subscription.nextTry = service.time.now + Self.pause(subscription.tries)
            try await save(subscription)
            logger.info(
                "subscription cannot be ended",
                metadata: [LogKey.nodeID: "\(subscription.node)", LogKey.error: "\(problem)"]
            )
        } catch {
            logger.warning(
                "subscription cannot be stored",
                metadata: [LogKey.error: "\(Fault(error).report)"]
            )
        }
    }
}
