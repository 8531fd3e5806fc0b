import Basics
import Protocol

/// Body of `POST /v1/deployments`.
package struct DeploymentRequest: Sendable, Codable {
    /// A node that takes part, with its role and Hiera data.
    package struct Member: Sendable, Codable {
        /// UUID or name of an active node.
        package var node: String
        package var role: String?
        package var hieradata: [String: String]?
    }

    /// One step: a manifest and what must be true after it.
    package struct Step: Sendable, Codable {
        package var number: UInt32
        package var name: String?
        package var manifest: String
        package var roles: [String]?
        package var tries: Int?
        package var puppetSeconds: UInt32?
        package var validations: [Validation]?

        enum CodingKeys: String, CodingKey {
            case number, name, manifest, roles, tries, validations
            case puppetSeconds = "puppet_seconds"
        }
    }

    /// Something that must be true after a step; exactly one kind is given.
    package struct Validation: Sendable, Codable {
        /// A port that must take connections.
        package struct TCPPort: Sendable, Codable {
            package var host: String?
            package var port: UInt16
        }

        /// An address that must answer with a status.
        package struct HTTPStatus: Sendable, Codable {
            package var url: String
            package var status: UInt16?
        }

        package var name: String?
        package var executable: String?
        package var tcpPort: TCPPort?
        package var httpStatus: HTTPStatus?
        package var unitActive: String?
        package var fileExists: String?
        package var timeoutSeconds: UInt32?
        package var roles: [String]?

        enum CodingKeys: String, CodingKey {
            case name, executable, roles
            case tcpPort = "tcp_port"
            case httpStatus = "http_status"
            case unitActive = "unit_active"
            case fileExists = "file_exists"
            case timeoutSeconds = "timeout_seconds"
        }
    }

    package var name: String
    package var nodes: [Member]
    package var hieradata: [String: String]?
    package var hierarchy: [String]?
    package var manifests: [String: String]
    package var steps: [Step]
}

/// Body of `POST /v1/deployments/{id}/resume`: files that correct the cause; others stay as they were.
package struct DeploymentResumeRequest: Sendable, Codable {
    package var hieradata: [String: String]?
    package var manifests: [String: String]?
    /// Hiera data by node (UUID or name as in the run).
    package var nodes: [String: [String: String]]?
}

extension DeploymentRequest {
    /// Tries of a step when the request names none, as SpinalStack's config-tools did.
    package static let triesDefault = 5
    package static let puppetSecondsDefault: UInt32 = 1800

    /// Makes the specification.
    /// - Parameter members: the request's nodes, found, in the same order.
    /// - Returns: a specification without problems.
    /// - Throws: `Fault` that lists everything that is wrong.
    package func specification(
        members: [DeploymentSpecification.Member]
    ) throws -> DeploymentSpecification {
        var problems: [String] = []
        var steps: [DeploymentSpecification.Step] = []
        for step in self.steps {
            var validations: [DeploymentSpecification.Validation] = []
            for (index, validation) in (step.validations ?? []).enumerated() {
                let place = "validation \(index + 1) of step \(step.number)"
                guard let made = validation.made(defaultName: place) else {
                    problems.append(
                        "\(place) must name exactly one of executable, tcp_port, http_status, unit_active, file_exists"
                    )
                    continue
                }
                validations.append(made)
            }
            steps.append(
                DeploymentSpecification.Step(
                    number: step.number,
                    name: step.name ?? "step \(step.number)",
                    manifest: step.manifest,
                    roles: step.roles ?? [],
                    triesMax: step.tries ?? Self.triesDefault,
                    puppetSecondsMax: step.puppetSeconds ?? Self.puppetSecondsDefault,
                    validations: validations
                )
            )
        }
        let specification = DeploymentSpecification(
            name: name,
            members: members,
            hieradata: hieradata ?? [:],
            hierarchy: hierarchy ?? ["node", "role", "common"],
            manifests: manifests,
            steps: steps
        )
        problems += specification.problems()
        guard problems.isEmpty else {
            throw Fault(
                .invalid,
                "cannot create deployment “\(name)”: \(problems.prefix(10).joined(separator: "; "))"
            )
        }
        return specification
    }
}

extension DeploymentRequest.Validation {
    fileprivate func made(defaultName: String) -> DeploymentSpecification.Validation? {
        var checks: [DeploymentSpecification.Validation.Check] = []
        var names: [String] = []
        if let executable {
            checks.append(.executable(executable))
            names.append(executable)
        }
        if let tcpPort {
            let host = tcpPort.host ?? "127.0.0.1"
            checks.append(.tcpPort(host: host, port: tcpPort.port))
            names.append("\(host):\(tcpPort.port)")
        }
        if let httpStatus {
            checks.append(.httpStatus(url: httpStatus.url, status: httpStatus.status ?? 200))
            names.append(httpStatus.url)
        }
        if let unitActive {
            checks.append(.unitActive(unitActive))
            names.append(unitActive)
        }
        if let fileExists {
            checks.append(.fileExists(fileExists))
            names.append(fileExists)
        }
        guard checks.count == 1, let check = checks.first else { return nil }
        return DeploymentSpecification.Validation(
            name: name ?? names.first ?? defaultName,
            check: check,
            timeoutSeconds: timeoutSeconds ?? 30,
            roles: roles ?? []
        )
    }
}

// MARK: - Answers

/// A run as the API shows it.
///
/// Contents of Hiera data are never shown, only the files' names.
package struct DeploymentDocument: Sendable, Codable {
    /// What is shown of a node.
    package struct NodeDocument: Sendable, Codable {
        package var node: String
        package var name: String
        package var role: String
        package var phase: String
        package var tries: Int
        package var since: String
        /// What the node waits for, in words; absent when it does not wait.
        package var waitingFor: String?
        package var until: String?
        package var changedResources: UInt32
        package var message: String?
        package var lines: [String]

        enum CodingKeys: String, CodingKey {
            case node, name, role, phase, tries, since, until, message, lines
            case waitingFor = "waiting_for"
            case changedResources = "changed_resources"
        }
    }

    /// What is shown of a step.
    package struct StepDocument: Sendable, Codable {
        package var number: UInt32
        package var name: String
        package var begun: String
        package var ended: String?
        package var nodes: [NodeDocument]
    }

    package var id: String
    package var name: String
    package var state: String
    package var attempt: UInt64
    package var step: UInt32?
    package var stepsTotal: Int
    package var stepsDone: Int
    package var created: String
    package var updated: String
    package var lastError: String?
    package var hieradata: [String]
    package var manifests: [String]
    package var steps: [StepDocument]

    enum CodingKeys: String, CodingKey {
        case id, name, state, attempt, step, hieradata, manifests, steps
        case stepsTotal = "steps_total"
        case stepsDone = "steps_done"
        case created = "created_at"
        case updated = "updated_at"
        case lastError = "last_error"
    }
}

extension DeploymentDocument {
    /// Shows a run.
    package init(_ deployment: Deployment) {
        let specification = deployment.specification
        id = deployment.id.text
        name = specification.name
        state = deployment.state.rawValue
        attempt = deployment.attempt.number
        step = deployment.step?.number
        stepsTotal = specification.steps.count
        stepsDone = min(deployment.stepIndex, stepsTotal)
        created = deployment.created.description
        updated = deployment.updated.description
        lastError = deployment.lastError
        hieradata = specification.hieradata.keys.sorted()
        manifests = specification.manifests.keys.sorted()
        steps = deployment.records.map { record in
            StepDocument(
                number: record.number,
                name: record.name,
                begun: record.begun.description,
                ended: record.ended?.description,
                nodes: specification.members.compactMap { member in
                    record.nodes[member.node].map { NodeDocument(member, $0) }
                }
            )
        }
    }
}

extension DeploymentDocument.NodeDocument {
    fileprivate init(
        _ member: DeploymentSpecification.Member,
        _ progress: Deployment.Progress
    ) {
        node = member.node.text
        name = member.name
        role = member.role
        phase = progress.phase.rawValue
        tries = progress.tries
        since = progress.since.description
        until = progress.until?.description
        waitingFor =
            switch progress.phase {
            case .applying: "the result of Puppet run \(progress.tries)"
            case .validating: "the results of the validations"
            case .applied: "the other nodes of the step"
            case .passed, .failed: nil
            }
        changedResources = progress.changedResources
        message = progress.message.isEmpty ? nil : progress.message
        lines = progress.lines
    }
}
