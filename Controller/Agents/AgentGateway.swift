package import Basics
package import Logging
import Protocol
import ServiceLifecycle
package import Store
import SwiftProtobuf
package import Transport

/// The part of the daemon that serves agents: enrolment, control, telemetry, and the stream of events.
///
/// Each socket has a loop of its own, so that a flood at one delays no other. Reports go through four lanes;
/// those of one node stay in one lane and therefore in order, and a slow area delays only its lane.
package struct AgentGateway: Service {
    private static let lanesCount = 4
    /// Machines that are enrolled at one time: what they store then shares its commits.
    private static let enrolmentsMax = 32
    /// Reports that wait in one lane before those that may be dropped are.
    private static let laneMax = 1024

    private let link: any ControllerLink
    private let registry: AgentRegistry
    private let dispatcher: AgentDispatcher
    private let enrolment: Enrolment
    private let desk: ProofDesk?
    private let reports: [any AgentReports]
    private let sinks: [any MetricSink]
    private let feed: ChangeFeed
    private let time: any TimeSource
    private let logger: Logger
    private let lanes: [Inbox<AgentReport>]

    /// Connects the parts.
    /// - Parameters:
    ///   - link: the line to all agents.
    ///   - registry: who is admitted.
    ///   - dispatcher: the live sessions.
    ///   - policy: what the site decided about enrolment.
    ///   - leases: checks that a machine speaks from the address it was given; `nil` checks nothing.
    ///   - unknown: takes machines that nobody registered.
    ///   - proofs: looks into BMCs where the policy wants it; `nil` looks into none.
    ///   - reports: areas that act on what agents report, in order.
    ///   - sinks: areas that take metrics.
    ///   - feed: its changes are published on the stream.
    ///   - time: the clock.
    ///   - random: makes challenges.
    ///   - logger: where to log.
    package init(
        link: any ControllerLink,
        registry: AgentRegistry,
        dispatcher: AgentDispatcher,
        policy: EnrolmentPolicy,
        leases: (any LeaseLookup)?,
        unknown: any UnknownMachines,
        proofs: (any MachineProofs)? = nil,
        reports: [any AgentReports],
        sinks: [any MetricSink],
        feed: ChangeFeed,
        time: some TimeSource,
        random: any RandomSource = SystemRandom(),
        logger: Logger
    ) {
        self.link = link
        self.registry = registry
        self.dispatcher = dispatcher
        self.reports = reports
        self.sinks = sinks
        self.feed = feed
        self.time = time
        self.logger = logger
        desk =
            policy.proof == .off
            ? nil
            : proofs.map { proofs in
                ProofDesk(
                    registry: registry,
                    proofs: proofs,
                    time: time,
                    random: random,
                    logger: logger
                )
            }
        enrolment = Enrolment(
            registry: registry,
            leases: leases,
            unknown: unknown,
            policy: policy,
            desk: desk,
            time: time,
            logger: logger
        )
        lanes = (0..<Self.lanesCount).map { _ in
            Inbox(countMax: Self.laneMax * 8, overflow: .refuseNewest)
        }
    }

    package func run() async throws {
        try await cancelWhenGracefulShutdown { try await work() }
    }

    /// Works until cancelled; starts no task outside its own.
    package func work() async throws {
        try await registry.publishKeys()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask(name: "enrolment") { await serveEnrolment() }
            group.addTask(name: "control") { await serveControl() }
            group.addTask(name: "telemetry") { await serveTelemetry() }
            group.addTask(name: "stream") { await publishChanges() }
            group.addTask(name: "sessions") { try await watchSessions() }
            if let desk { group.addTask(name: "proofs") { await desk.run() } }
            for (index, lane) in lanes.enumerated() {
                group.addTask(name: "reports-\(index)") { await deliver(from: lane) }
            }
            do {
                try await group.waitForAll()
            } catch is CancellationError {}
        }
    }

    private func serveEnrolment() async {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for await arrival in link.enrolments {
                if running == Self.enrolmentsMax {
                    await group.next()
                    running -= 1
                }
                running += 1
                group.addTask(name: "enrolment request") {
                    link.send(.reply(await enrolment.answer(arrival)), to: arrival.peer)
                }
            }
        }
    }

    private func serveControl() async {
        for await arrival in link.frames {
            if let report = await dispatcher.take(arrival) { queue(report) }
        }
    }

    private func serveTelemetry() async {
        for await arrival in link.metrics {
            for sink in sinks { await sink.metrics(arrival.batch, from: arrival.sender.node) }
        }
    }

    private func watchSessions() async throws {
        while true {
            try await time.sleep(for: .seconds(1))
            for report in await dispatcher.tick() { queue(report) }
        }
    }

    private func publishChanges() async {
        for await change in feed.follow() {
            var event = WireStreamEvent()
            event.sequence = UInt64(change.sequence)
            event.timeNanoseconds = change.time.nanoseconds
            event.kind = change.kind
            event.id = change.id
            event.before = change.before
            event.after = change.after
            event.cause = change.cause
            event.attempt = change.attempt
            // Serialization fails only above 2 GiB.
            guard let payload: [UInt8] = try? event.serializedBytes() else { continue }
            link.publish(topic: "event.\(change.kind).\(change.id)", payload: payload)
        }
    }

    private func queue(_ report: AgentReport) {
        let sum = report.sender.node.text.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xffff }
        let lane = lanes[sum % lanes.count]
        if report.mayBeDropped, lane.count >= Self.laneMax { return }
        if !lane.push(report) {
            logger.error(
                "report dropped: an area does not keep up",
                metadata: [LogKey.nodeID: "\(report.sender.node)"]
            )
        }
    }

    private func deliver(from lane: Inbox<AgentReport>) async {
        for await report in lane {
            for area in reports {
                switch report {
                case .connected(let session): await area.agentConnected(session)
                case .lost(let identity):
                    await area.agentLost(identity.node, role: identity.role)
                case .progress(let progress, let identity):
                    await area.agentProgress(
                        progress,
                        from: identity.node,
                        role: identity.role
                    )
                case .log(let lines, let identity):
                    await area.agentLog(lines, from: identity.node)
                case .result: break
                }
            }
            if case .result(let result, let identity) = report { await settle(result, identity) }
        }
    }

    /// Offers a result to the areas; it is acknowledged only when one of them stored it.
    private func settle(_ result: WireCommandResult, _ identity: AgentIdentity) async {
        for area in reports {
            do {
                let isStored = try await area.agentResult(
                    result,
                    from: identity.node,
                    role: identity.role
                )
                if isStored {
                    await dispatcher.stored(result, from: identity)
                    return
                }
            } catch {
                logger.error(
                    "result was not stored; the agent repeats it",
                    metadata: [
                        LogKey.nodeID: "\(identity.node)", LogKey.commandID: "\(result.command)",
                        LogKey.error: "\(Fault(error).report)",
                    ]
                )
                return
            }
        }
        logger.warning(
            "result belongs to no area",
            metadata: [
                LogKey.nodeID: "\(identity.node)", LogKey.commandID: "\(result.command)",
            ]
        )
    }
}
