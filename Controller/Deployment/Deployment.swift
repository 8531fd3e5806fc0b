package import Protocol

/// A configuration run: Hiera data to every node, then Puppet step by step with a barrier and validations
/// after each.
///
/// ```
/// running ──last step passed──▶ complete
///    │  ▲
///    │  └──────resumed───────┐
///    ├──a node failed──▶ failed
///    └──cancelled──▶ cancelled ──resumed──▶ running
/// ```
package struct Deployment: Sendable, Equatable {
    /// Where the run stands.
    package enum State: String, Sendable, Codable, CaseIterable {
        case running
        case complete
        case failed
        case cancelled
    }

    /// Where one node is within the present step.
    ///
    /// ```
    /// applying ──Puppet ended well──▶ applied ──all are──▶ validating ──all passed──▶ passed
    ///    │                                                    │ (a check failed, tries left) ▶ applying
    ///    └──Puppet failed, budget over──▶ failed ◀────────────┘ (no tries left)
    /// ```
    package enum Phase: String, Sendable, Codable, CaseIterable {
        case applying
        case applied
        case validating
        case passed
        case failed
    }

    /// One node's progress within the present step.
    package struct Progress: Sendable, Codable, Equatable {
        package var phase: Phase
        /// Counts Puppet runs of this step from 1.
        package var tries: Int
        package var since: Timestamp
        /// When the phase fails by itself; present while it waits for the node.
        package var until: Timestamp?
        /// Resources that the last Puppet run changed.
        package var changedResources: UInt32 = 0
        /// The last failure, for people.
        package var message: String = ""
        /// Failed resources and their log lines, failed checks, or the last lines of the console.
        package var lines: [String] = []
    }

    /// What came of a step that is over.
    package struct StepRecord: Sendable, Codable, Equatable {
        package var number: UInt32
        package var name: String
        package var begun: Timestamp
        package var ended: Timestamp?
        package var nodes: [NodeID: Progress]
    }

    package let id: DeploymentID
    package var specification: DeploymentSpecification
    package var state: State
    /// Grows with every run and every resume, over all runs, because a node's agent refuses a command
    /// whose attempt is lower than one it has seen; results of older attempts are ignored.
    package var attempt: Attempt
    package let created: Timestamp
    package var updated: Timestamp
    /// Index of the present step; one past the end when complete.
    package var stepIndex: Int
    /// One record per step begun, the present one last.
    package var records: [StepRecord]
    package var lastError: String?

    /// A new run that begins with its first step.
    /// - Precondition: the specification has no problems.
    package init(
        id: DeploymentID,
        specification: DeploymentSpecification,
        attempt: Attempt,
        at now: Timestamp
    ) {
        self.id = id
        self.specification = specification
        state = .running
        self.attempt = attempt
        created = now
        updated = now
        stepIndex = 0
        records = []
        begin(step: 0, at: now)
    }

    /// Restores a stored run.
    package init(
        id: DeploymentID,
        specification: DeploymentSpecification,
        state: State,
        attempt: Attempt,
        created: Timestamp,
        updated: Timestamp,
        stepIndex: Int,
        records: [StepRecord],
        lastError: String?
    ) {
        self.id = id
        self.specification = specification
        self.state = state
        self.attempt = attempt
        self.created = created
        self.updated = updated
        self.stepIndex = stepIndex
        self.records = records
        self.lastError = lastError
    }

    /// The step that is being worked at; `nil` when all are done.
    package var step: DeploymentSpecification.Step? {
        specification.steps.indices.contains(stepIndex) ? specification.steps[stepIndex] : nil
    }
}
