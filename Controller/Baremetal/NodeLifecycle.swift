import Basics
package import Protocol

/// The life cycle of nodes: which event moves which state where.
package enum NodeLifecycle {
    /// One line of the table: in state `from`, `event` leads to one of `to`.
    package struct Row: Sendable, Equatable {
        package let from: ProvisionState.Name
        /// The name of a `NodeWish` or a `NodeFact`.
        package let event: String
        package let to: [ProvisionState.Name]
    }

    /// Boots into the ramdisk that one job may take.
    package static let bootsMax = 2
    /// Commands that one job may hand out; the second after a failure that may pass.
    package static let commandsMax = 2

    private static func wish(
        _ from: ProvisionState.Name,
        _ wish: NodeWish.Name,
        _ to: ProvisionState.Name...
    ) -> Row {
        Row(from: from, event: wish.rawValue, to: to)
    }

    private static func fact(
        _ from: ProvisionState.Name,
        _ fact: NodeFact.Name,
        _ to: ProvisionState.Name...
    ) -> Row {
        Row(from: from, event: fact.rawValue, to: to)
    }

    private static func fact(
        _ from: ProvisionState.Name,
        _ fact: NodeFact.Name,
        _ to: [ProvisionState.Name]
    ) -> Row {
        Row(from: from, event: fact.rawValue, to: to)
    }

    /// What a ramdisk job reports, the same in each state that has one.
    private static func ramdisk(
        _ state: ProvisionState.Name,
        done: [ProvisionState.Name],
        ready: [ProvisionState.Name] = [],
        failed: ProvisionState.Name,
        aborted: [ProvisionState.Name] = []
    ) -> [Row] {
        [
            fact(state, .bootStarted, state),
            fact(state, .agentReady, [state] + ready),
            fact(state, .agentMissing, state, failed),
            fact(state, .commandDone, done),
            fact(state, .commandFailed, state, failed),
            fact(state, .refused, failed),
            fact(state, .budgetExceeded, state, failed),
            Row(from: state, event: NodeWish.Name.abort.rawValue, to: [failed] + aborted),
        ]
    }

    private static let afterCleaningStep: [ProvisionState.Name] = [
        .available, .manageable, .cleaning, .cleanHold, .cleanFailed,
    ]
    private static let afterDeployStep: [ProvisionState.Name] = [
        .deploying, .deployHold, .deployFailed,
    ]

    /// Every way to go.
    ///
    /// What is not here does not exist.
    package static let table: [Row] =
        [
            wish(.enroll, .manage, .verifying),
            fact(.verifying, .bmcVerified, .manageable),
            fact(.verifying, .refused, .enroll),
            fact(.verifying, .budgetExceeded, .enroll),
            wish(.verifying, .abort, .enroll),
            wish(.manageable, .inspect, .inspecting),
            wish(.manageable, .provide, .cleaning, .available),
            wish(.inspectFailed, .inspect, .inspecting),
            wish(.inspectFailed, .manage, .manageable),
            wish(.cleanFailed, .manage, .manageable),
            wish(.available, .manage, .manageable),
            wish(.available, .deploy, .deploying, .deployHold),
            wish(.deployFailed, .deploy, .deploying, .deployHold),
            wish(.deployFailed, .rebuild, .deploying, .deployHold),
            wish(.deployFailed, .delete, .deleting),
            wish(.active, .rebuild, .deploying, .deployHold),
            wish(.active, .delete, .deleting),
            wish(.error, .rebuild, .deploying, .deployHold),
            wish(.error, .delete, .deleting),
            fact(.deleting, .tornDown, .cleaning, .available),
            fact(.deleting, .refused, .error),
            fact(.deleting, .budgetExceeded, .error),
            wish(.deploying, .delete, .deleting),
            fact(.deploying, .bootDeviceSet, .deploying, .deployHold),
            fact(.deploying, .restarted, .deploying),
            fact(.deploying, .installed, .active),
            wish(.deployHold, .unhold, .deploying, .deployHold),
            wish(.deployHold, .abort, .deployFailed),
            wish(.deployHold, .delete, .deleting),
        ]
        + ramdisk(.inspecting, done: [.manageable], failed: .inspectFailed)
        + ramdisk(
            .cleaning,
            done: afterCleaningStep,
            ready: [.cleanHold],
            failed: .cleanFailed,
            aborted: [.cleaning]
        )
        + [fact(.cleaning, .stepDone, afterCleaningStep)]
        + ramdisk(
            .deploying,
            done: afterDeployStep,
            failed: .deployFailed,
            aborted: [.deploying]
        )
        + [fact(.deploying, .stepDone, afterDeployStep)]
        + [
            wish(.manageable, .clean, .cleaning, .cleanHold),
            wish(.cleanHold, .unhold, .cleaning, .manageable, .cleanHold),
            wish(.cleanHold, .abort, .cleanFailed),
            wish(.manageable, .adopt, .adopting),
            wish(.adoptFailed, .adopt, .adopting),
            wish(.adoptFailed, .manage, .manageable),
            fact(.adopting, .bmcVerified, .active),
            fact(.adopting, .refused, .adoptFailed),
            fact(.adopting, .budgetExceeded, .adoptFailed),
            wish(.active, .service, .servicing, .serviceHold),
            wish(.serviceFailed, .service, .servicing, .serviceHold),
            wish(.serviceFailed, .abort, .active, .servicing),
            wish(.serviceFailed, .delete, .deleting),
            fact(.servicing, .stepDone, .servicing, .serviceHold, .active, .serviceFailed),
            fact(.servicing, .unrescued, .active, .serviceFailed),
            wish(.serviceHold, .unhold, .servicing, .serviceHold, .active),
            wish(.serviceHold, .abort, .serviceFailed, .servicing),
            fact(.rescuing, .rescued, .rescue),
            fact(.unrescuing, .unrescued, .active),
            fact(.unrescuing, .refused, .unrescueFailed),
            fact(.unrescuing, .budgetExceeded, .unrescueFailed),
        ]
        + ramdisk(
            .servicing,
            done: [.servicing, .serviceHold],
            failed: .serviceFailed,
            aborted: [.servicing]
        )
        + ramdisk(.rescuing, done: [.rescue], failed: .rescueFailed)
        + [.active, .serviceFailed, .rescue, .rescueFailed, .unrescueFailed].map {
            wish($0, .rescue, .rescuing)
        }
        + [.rescue, .rescueFailed, .unrescueFailed].map { wish($0, .unrescue, .unrescuing) }
        + [.rescuing, .rescue, .rescueFailed, .unrescueFailed].map { wish($0, .delete, .deleting) }

    private static let index: [String: [ProvisionState.Name]] = Dictionary(
        table.map { ("\($0.from.rawValue) \($0.event)", $0.to) },
        uniquingKeysWith: { $0 + $1 }
    )

    /// Where an event may lead; `nil` when the table has no row for it.
    package static func targets(
        of state: ProvisionState.Name,
        on event: String
    ) -> [ProvisionState.Name]? {
        index["\(state.rawValue) \(event)"]
    }

    /// The table as the diagram that stands in the area's README and in `ProvisionState`.
    package static var diagram: [String] {
        table.filter { $0.to != [$0.from] }.map { row in
            let targets = row.to.filter { $0 != row.from }.map(\.rawValue).joined(separator: " or ")
            return "\(row.from.rawValue) ── \(row.event) ──> \(targets)"
        }
    }
}

extension Node {
    /// Moves the node along the life-cycle table.
    ///
    /// A fact that does not fit the phase of its state is out of date: the node stays as it is.
    /// - Throws: `InvalidTransition` when the table has no row for this state and event; the node is
    ///   unchanged.
    package mutating func apply(
        _ event: NodeEvent,
        at now: Timestamp
    ) throws(InvalidTransition) {
        guard let targets = NodeLifecycle.targets(of: state.name, on: event.name) else {
            throw InvalidTransition(node: label, state: state.ironicName, event: event.name)
        }
        let before = state
        switch event {
        case .wish(let wish): take(wish, at: now)
        case .fact(let fact): take(fact, at: now)
        }
        guard state != before else { return }
        precondition(
            targets.contains(state.name),
            "\(before.name) on \(event.name) led to \(state.name)"
        )
        obstacle = nil
        if state.name != before.name { stateSince = now }
    }

    /// Whether an agent's report about a command is about the present work.
    package func expects(_ command: CommandID, attempt reported: Attempt) -> Bool {
        reported == attempt && command == self.command
    }

    /// The command that is out to the ramdisk's agent, if any.
    package var command: CommandID? {
        if let job = state.ramdiskJob { return job.command }
        if case .deploying(let job) = state, case .restart(let command, _) = job.stage {
            return command
        }
        return nil
    }

    mutating func begin(_ next: ProvisionState) {
        attempt = attempt.next
        lastError = nil
        lastLines = []
        state = next
    }

    mutating func fail(_ next: ProvisionState, _ message: String) {
        lastError = message
        state = next
    }

    private mutating func take(_ wish: NodeWish, at now: Timestamp) {
        switch wish {
        case .manage:
            if state == .enroll { begin(.verifying) } else { begin(.manageable) }
        case .inspect:
            inspectionStartedAt = now
            inspectionFinishedAt = nil
            begin(.inspecting(job: RamdiskJob(at: now)))
        case .provide(let plan):
            if let plan {
                beginCleaning(plan, ramdisk: plan.takesRamdisk, at: now)
            } else {
                begin(.available)
            }
        case .deploy(let order, let plan), .rebuild(let order, let plan):
            beginDeploying(order, plan, at: now)
        case .delete: begin(.deleting)
        case .adopt(let order): begin(.adopting(order: order))
        case .clean(let plan, let ramdisk): beginCleaning(plan, ramdisk: ramdisk, at: now)
        case .service(let plan): beginService(plan, at: now)
        case .unhold: endRest(at: now)
        case .rescue:
            if let installation = state.installation {
                var job = RamdiskJob(at: now)
                // The ramdisk that installed it may look alive for half a minute.
                job.sessionsSince = now
                begin(.rescuing(installation: installation, job: job))
            }
        case .unrescue:
            if let installation = state.installation {
                begin(.unrescuing(installation: installation))
            }
        case .abort: abort(at: now)
        }
    }

    private mutating func endRest(at now: Timestamp) {
        if case .cleanHold(let job) = state { endCleaningStep(job, at: now) }
        if case .serviceHold(let job) = state { endServiceStep(job, at: now) }
        if case .deployHold(let job) = state { endDeployStep(job, at: now) }
    }

    private mutating func abort(at now: Timestamp) {
        switch state {
        case .cleaning(var job) where !job.isInterruptible && !isQueued:
            // A step that must not be interrupted ends, and the work with it.
            job.plan?.endAfterStep()
            state = .cleaning(job: job)
            return
        case .deploying(var job) where !job.isInterruptible && !isQueued:
            job.plan.endAfterStep()
            state = .deploying(job: job)
            return
        case .servicing(let job) where job.returning != nil: return
        case .servicing(var job) where !job.isInterruptible && !isQueued:
            job.plan.endAfterStep()
            state = .servicing(job: job)
            return
        case .serviceFailed(let installation) where installation.mayBeAway == true:
            return beginReturn(.done, of: installation, at: now)
        case .serviceFailed(let installation): return begin(.active(installation: installation))
        case .servicing(let job), .serviceHold(let job):
            guard job.installation.mayBeAway != true || isQueued else {
                return beginReturn(.aborted, of: job.installation, at: now)
            }
            var installation = job.installation
            // Nothing was done with the machine.
            if job.wasHome == true { installation.mayBeAway = nil }
            begin(.serviceFailed(installation: installation))
        case .verifying: begin(.enroll)
        case .inspecting: begin(.inspectFailed)
        case .cleaning, .cleanHold: begin(.cleanFailed)
        case .deploying, .deployHold: begin(.deployFailed)
        case .rescuing(let installation, _): begin(.rescueFailed(installation: installation))
        case .enroll, .manageable, .inspectFailed, .cleanFailed, .available, .deployFailed,
            .active, .deleting, .error, .adopting, .adoptFailed, .rescue, .rescueFailed,
            .unrescuing, .unrescueFailed:
            return
        }
        failAborted(state)
    }

    private mutating func take(_ fact: NodeFact, at now: Timestamp) {
        switch state {
        case .verifying: takeVerifying(fact)
        case .inspecting(let job):
            switch advance(job, fact, at: now) {
            case .ignored: return
            case .goesOn(let job): state = .inspecting(job: job)
            case .failed(let reason):
                fail(.inspectFailed, "cannot inspect node \(label): \(reason)")
            case .done:
                inspectionFinishedAt = now
                state = .manageable
            }
        case .cleaning(let job): takeCleaning(job, fact, at: now)
        case .deploying(let job): takeDeploying(job, fact, at: now)
        case .deleting: takeDeleting(fact, at: now)
        case .adopting(let order): takeAdopting(order, fact, at: now)
        case .servicing(let job): takeServicing(job, fact, at: now)
        case .rescuing(let installation, let job?):
            takeRescue(installation, job, fact, at: now)
        case .rescuing(let installation, nil):
            takeRescue(installation, fact, isEntering: true)
        case .unrescuing(let installation): takeRescue(installation, fact, isEntering: false)
        case .enroll, .manageable, .inspectFailed, .cleanFailed, .available, .deployFailed,
            .active, .error, .adoptFailed, .cleanHold, .deployHold, .serviceHold, .serviceFailed,
            .rescue, .rescueFailed, .unrescueFailed:
            return
        }
    }

    private mutating func takeVerifying(_ fact: NodeFact) {
        switch fact {
        case .bmcVerified: state = .manageable
        case .refused(let message): fail(.enroll, message)
        case .budgetExceeded:
            fail(
                .enroll,
                "cannot manage node \(label): \(heldUp("its BMC did not answer in time"))"
            )
        case .bootStarted, .agentReady, .agentMissing, .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed, .tornDown, .stepDone, .rescued, .unrescued:
            return
        }
    }

    private mutating func takeDeleting(_ fact: NodeFact, at now: Timestamp) {
        switch fact {
        case .tornDown(let plan):
            instanceInfo = [:]
            instanceID = nil
            instanceName = nil
            allocation = nil
            guard let plan else {
                state = .available
                return
            }
            beginCleaning(plan, ramdisk: plan.takesRamdisk, at: now)
        case .refused(let message): fail(.error, message)
        case .budgetExceeded:
            fail(
                .error,
                "cannot delete the instance of node \(label): \(heldUp("its machine could not be switched off in time"))"
            )
        case .stepDone, .rescued, .unrescued, .bmcVerified, .bootStarted, .agentReady,
            .agentMissing, .commandDone, .commandFailed,
            .bootDeviceSet, .restarted, .installed:
            return
        }
    }

    /// What is known to hold up the work, or else the general reason.
    func heldUp(_ general: String) -> String {
        guard let obstacle else { return general }
        return "\(general); last: \(obstacle.message)"
    }
}
