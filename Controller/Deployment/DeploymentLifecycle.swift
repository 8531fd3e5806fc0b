package import Protocol

/// What can happen to a run.
package enum DeploymentEvent: Sendable, Equatable {
    /// Puppet ended on a node with an exit code that means success.
    case applied(node: NodeID, tries: Int, attempt: Attempt, changedResources: UInt32)
    /// Puppet failed on a node, or the agent could not run it.
    case applyFailed(node: NodeID, tries: Int, attempt: Attempt, message: String, lines: [String])
    /// All checks of a node were made; `failures` says which did not pass.
    case validated(node: NodeID, tries: Int, attempt: Attempt, failures: [String])
    /// Time went by; phases whose budget is over fail.
    case timePassed
    /// `attempt` is the run's next one.
    case resumeRequested(attempt: Attempt)
    case cancelRequested
}

/// What a run demands of the world in its present state.
///
/// Carrying it out twice does no harm.
package enum DeploymentAction: Sendable, Equatable {
    case applyStep(node: NodeID, step: Int, tries: Int)
    case validate(node: NodeID, step: Int, tries: Int)
}

/// Says that an event does not fit the state of a run.
package struct InvalidDeploymentTransition: Error, Sendable, Equatable {
    package let name: String
    package let state: Deployment.State
    package let event: String
}

extension Deployment {
    /// Time that a node has for its validations beyond the sum of their time-outs, and for the agent to
    /// connect again.
    package static let graceSeconds: Double = 120

    /// Moves the run along.
    ///
    /// Results that carry an older attempt or try, or come from a node that waits for something
    /// else, change nothing.
    /// - Throws: `InvalidDeploymentTransition` when resume or cancel do not fit the state.
    package mutating func apply(
        _ event: DeploymentEvent,
        at now: Timestamp
    ) throws(InvalidDeploymentTransition) {
        switch event {
        case .applied(let node, let tries, let attempt, let changed):
            update(node, in: .applying, tries: tries, attempt: attempt) { progress in
                progress.phase = .applied
                progress.since = now
                progress.until = nil
                progress.changedResources = changed
            }
        case .applyFailed(let node, let tries, let attempt, let message, let lines):
            update(node, in: .applying, tries: tries, attempt: attempt) { progress in
                progress.fail(message, lines: lines, at: now)
            }
        case .validated(let node, let tries, let attempt, let failures):
            let triesMax = step?.triesMax ?? 1
            let applyUntil = now + applyBudget
            update(node, in: .validating, tries: tries, attempt: attempt) { progress in
                if failures.isEmpty {
                    progress.phase = .passed
                    progress.since = now
                    progress.until = nil
                    progress.message = ""
                    progress.lines = []
                } else if progress.tries < triesMax {
                    progress.tries += 1
                    progress.phase = .applying
                    progress.since = now
                    progress.until = applyUntil
                    progress.message = "validation failed, Puppet runs again"
                    progress.lines = failures
                } else {
                    progress.fail(
                        "\(failures.count) validations failed after \(tries) tries",
                        lines: failures,
                        at: now
                    )
                }
            }
        case .timePassed: expire(at: now)
        case .resumeRequested(let attempt): try resume(as: attempt, at: now)
        case .cancelRequested: try cancel(at: now)
        }
        advance(at: now)
    }

    /// What must be asked of which node now, in the order of the specification.
    package var actions: [DeploymentAction] {
        guard state == .running, let record = records.last else { return [] }
        return specification.members(ofStep: stepIndex).compactMap { member in
            guard let progress = record.nodes[member.node] else { return nil }
            return switch progress.phase {
            case .applying: .applyStep(node: member.node, step: stepIndex, tries: progress.tries)
            case .validating: .validate(node: member.node, step: stepIndex, tries: progress.tries)
            case .applied, .passed, .failed: nil
            }
        }
    }

    /// The earliest time at which `timePassed` will change something.
    package var nextDeadline: Timestamp? {
        guard state == .running, let record = records.last else { return nil }
        return record.nodes.values.compactMap(\.until).min()
    }

    // MARK: - Rules

    private var applyBudget: Duration {
        .seconds(Double(step?.puppetSecondsMax ?? 0) + Self.graceSeconds)
    }

    private var validateBudget: Duration {
        let checks = step?.validations.reduce(0.0) { $0 + Double($1.timeoutSeconds) } ?? 0
        return .seconds(checks + Self.graceSeconds)
    }

    mutating func begin(step index: Int, at now: Timestamp) {
        stepIndex = index
        guard let step else { return }
        var nodes: [NodeID: Progress] = [:]
        for member in specification.members(ofStep: index) {
            nodes[member.node] = Progress(
                phase: .applying,
                tries: 1,
                since: now,
                until: now + applyBudget
            )
        }
        records.append(
            StepRecord(
                number: step.number,
                name: step.name,
                begun: now,
                ended: nil,
                nodes: nodes
            )
        )
    }

    private mutating func update(
        _ node: NodeID,
        in phase: Phase,
        tries: Int,
        attempt: Attempt,
        _ change: (inout Progress) -> Void
    ) {
        guard state == .running, attempt == self.attempt, !records.isEmpty,
            var progress = records[records.count - 1].nodes[node],
            progress.phase == phase, progress.tries == tries
        else { return }
        change(&progress)
        records[records.count - 1].nodes[node] = progress
    }

    private mutating func expire(at now: Timestamp) {
        guard state == .running, let record = records.last else { return }
        for (node, progress) in record.nodes {
            guard let until = progress.until, until <= now else { continue }
            let what = progress.phase == .applying ? "Puppet" : "the validations"
            let waited = Int((now - progress.since).inSeconds)
            records[records.count - 1].nodes[node]?.fail(
                "no result of \(what) came within \(waited) s: see whether the node's agent is connected",
                lines: progress.lines,
                at: now
            )
        }
    }

    /// Crosses the barriers: all applied → validate; all passed → next step; all still and one failed → stop.
    private mutating func advance(at now: Timestamp) {
        guard state == .running, let record = records.last else { return }
        updated = now
        let phases = record.nodes.values.map(\.phase)
        if phases.contains(.applying) || phases.contains(.validating) { return }
        if phases.contains(.failed) {
            stop(at: now)
        } else if phases.contains(.applied) {
            let until = now + validateBudget
            for node in record.nodes.keys where record.nodes[node]?.phase == .applied {
                records[records.count - 1].nodes[node]?.phase = .validating
                records[records.count - 1].nodes[node]?.since = now
                records[records.count - 1].nodes[node]?.until = until
            }
        } else {
            records[records.count - 1].ended = now
            if stepIndex + 1 < specification.steps.count {
                begin(step: stepIndex + 1, at: now)
            } else {
                stepIndex += 1
                state = .complete
                lastError = nil
            }
        }
    }

    private mutating func stop(at now: Timestamp) {
        guard let record = records.last else { return }
        state = .failed
        let failed = specification.members.filter { record.nodes[$0.node]?.phase == .failed }
        let first = failed.first
        let message = first.flatMap { record.nodes[$0.node]?.message } ?? ""
        lastError =
            "cannot finish step \(record.number) (\(record.name)) of deployment \(specification.name): "
            + "node \(first?.name ?? "?"): \(message)"
            + (failed.count > 1 ? " (and \(failed.count - 1) more nodes)" : "")
            + "; correct the cause and resume"
    }

    private mutating func resume(
        as next: Attempt,
        at now: Timestamp
    ) throws(InvalidDeploymentTransition) {
        switch state {
        case .failed, .cancelled:
            attempt = next
            state = .running
            lastError = nil
            updated = now
            let applyUntil = now + applyBudget
            let last = records.count - 1
            // A node that passed stays as it is; the others run Puppet again, which is idempotent.
            for (node, progress) in records[last].nodes where progress.phase != .passed {
                records[last].nodes[node] = Progress(
                    phase: .applying,
                    tries: 1,
                    since: now,
                    until: applyUntil
                )
            }
        case .running, .complete:
            throw InvalidDeploymentTransition(
                name: specification.name,
                state: state,
                event: "resume"
            )
        }
    }

    private mutating func cancel(at now: Timestamp) throws(InvalidDeploymentTransition) {
        switch state {
        case .running:
            state = .cancelled
            updated = now
            lastError = "cancelled in step \(step?.number ?? 0)"
            let last = records.count - 1
            for (node, progress) in records[last].nodes where progress.until != nil {
                records[last].nodes[node]?.fail("cancelled", lines: progress.lines, at: now)
            }
        case .complete, .failed, .cancelled:
            throw InvalidDeploymentTransition(
                name: specification.name,
                state: state,
                event: "cancel"
            )
        }
    }
}

extension Deployment.Progress {
    fileprivate mutating func fail(_ message: String, lines: [String], at now: Timestamp) {
        phase = .failed
        since = now
        until = nil
        self.message = message
        self.lines = Array(lines.suffix(Self.linesMax))
    }

    /// Lines kept with a failure.
    package static let linesMax = 64
}
