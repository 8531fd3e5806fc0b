import Crypto
import FoundationEssentials
package import Protocol

/// Turns a run's actions into commands for agents.
///
/// A command's identifier follows from what it asks, so that the same action computed again after a restart
/// is the same command, which the agent carries out once.
extension Deployment {
    /// The command that carries out an action.
    package func command(for action: DeploymentAction) -> WireCommand {
        switch action {
        case .applyStep(let node, let index, let tries): applyStep(node, index, tries)
        case .validate(let node, let index, let tries): validate(node, index, tries)
        }
    }

    private func applyStep(_ node: NodeID, _ index: Int, _ tries: Int) -> WireCommand {
        let step = specification.steps[index]
        let member = specification.members.first { $0.node == node }
        var apply = WireApplyStep()
        apply.deployment = id.text
        apply.step = step.number
        var files = specification.hieradata
        files.merge(member?.hieradata ?? [:]) { _, own in own }
        apply.hieradata = files.mapValues { Data($0.utf8) }
        // `role` stands for the node's own role in the hierarchy, as THT's level of the role does.
        apply.hierarchy = specification.hierarchy.map { level in
            level == "role" ? member?.role ?? level : level
        }
        apply.manifest = Data((specification.manifests[step.manifest] ?? "").utf8)
        var command = WireCommand()
        command.id = commandID("apply", node, step.number, tries).text
        command.node = node.text
        command.attempt = attempt.number
        command.budgetSeconds = step.puppetSecondsMax
        command.applyStep = apply
        return command
    }

    private func validate(_ node: NodeID, _ index: Int, _ tries: Int) -> WireCommand {
        let step = specification.steps[index]
        let role = specification.members.first { $0.node == node }?.role ?? ""
        let validations = step.validations.filter { $0.roles.isEmpty || $0.roles.contains(role) }
        var validate = WireValidate()
        validate.deployment = id.text
        validate.step = step.number
        validate.checks = validations.map(\.wire)
        var command = WireCommand()
        command.id = commandID("validate", node, step.number, tries).text
        command.node = node.text
        command.attempt = attempt.number
        command.budgetSeconds =
            validations.reduce(0) { $0 + $1.timeoutSeconds } + UInt32(Self.graceSeconds / 2)
        command.validate = validate
        return command
    }

    /// The identifier of the command that asks `what` of a node in a step's try.
    package func commandID(
        _ what: String,
        _ node: NodeID,
        _ step: UInt32,
        _ tries: Int
    ) -> CommandID {
        let text = "\(id.text)/\(attempt)/\(step)/\(tries)/\(what)/\(node.text)"
        return CommandID(random: Array(SHA256.hash(data: Array(text.utf8)).prefix(16)))
    }
}

extension DeploymentSpecification.Validation {
    fileprivate var wire: WireCheck {
        var wire = WireCheck()
        wire.name = name
        wire.timeoutSeconds = timeoutSeconds
        switch check {
        case .executable(let name): wire.executable = name
        case .tcpPort(let host, let port):
            wire.tcpPort.host = host
            wire.tcpPort.port = UInt32(port)
        case .httpStatus(let url, let status):
            wire.httpStatus.url = url
            wire.httpStatus.status = UInt32(status)
        case .unitActive(let unit): wire.unitActive = unit
        case .fileExists(let path): wire.fileExists = path
        }
        return wire
    }
}
