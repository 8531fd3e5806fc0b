import Basics
package import Protocol

/// What the Bare Metal API tells of a node, as far as the command line shows it.
package struct NodeView: Sendable, Equatable {
    package var id: String
    package var name: String
    package var state: String
    package var target: String?
    package var lastError: String?
    package var inMaintenance: Bool
    /// When the state was entered, in seconds since 1970, where the API tells.
    package var since: String?
    package var written: ByteCount?
    package var total: ByteCount?
    /// Why it waits.
    package var reason: String

    package init(_ json: JSON) {
        id = json["uuid"].string ?? ""
        name = json["name"].string ?? String(id.prefix(8))
        state = json["provision_state"].string ?? "unknown"
        target = json["target_provision_state"].string
        lastError = json["last_error"].string
        if case .bool(true) = json["maintenance"] {
            inMaintenance = true
        } else {
            inMaintenance = false
        }
        since = json["provision_updated_at"].string
        let waiting = json["driver_internal_info"]["rdo_waiting"]
        reason = waiting["reason"].string ?? ""
        written = waiting["bytes_done"].double.map { ByteCount(Int64($0)) }
        total = waiting["bytes_total"].double.map { ByteCount(Int64($0)) }
    }
}

/// Takes one node through a list of Ironic's verbs: a view goes in, what to do comes out.
package struct NodeTask: Sendable {
    /// One verb, the state it ends in and the states it passes through.
    package struct Step: Sendable, Equatable {
        package let verb: String
        package let end: String
        package let passing: Set<String>

        package static let manage = Step(verb: "manage", end: "manageable", passing: ["verifying"])
        package static let inspect = Step(
            verb: "inspect",
            end: "manageable",
            passing: ["inspecting", "inspect wait"]
        )
        package static let provide = Step(
            verb: "provide",
            end: "available",
            passing: ["cleaning", "clean wait"]
        )
        package static let deploy = Step(
            verb: "active",
            end: "active",
            passing: ["deploying", "wait call-back", "deploy hold", "deploy complete"]
        )
    }

    /// What the caller is to do.
    package enum Action: Sendable, Equatable {
        /// Asks the API for this verb.
        case ask(String)
        case wait
        case done
        case failed(String)
    }

    package let id: String
    private var steps: [Step]
    private var asked = false

    /// Steps that the node's state shows to be done are left out.
    package init(_ node: NodeView, steps: [Step]) {
        id = node.id
        var steps = steps
        if steps.first == .manage, ["manageable", "inspect failed"].contains(node.state) {
            steps.removeFirst()
        }
        if steps == [.deploy], node.state == "active" { steps = [] }
        if steps.last == .provide, ["available", "active"].contains(node.state) { steps = [] }
        self.steps = steps
    }

    /// What is left to do, for the display.
    package var isDone: Bool { steps.isEmpty }

    /// Looks at the node and says what comes next.
    package mutating func advance(_ node: NodeView) -> Action {
        guard let step = steps.first else { return .done }
        if step.passing.contains(node.state) {
            asked = true
            return .wait
        }
        guard asked else {
            asked = true
            return .ask(step.verb)
        }
        if node.state == step.end {
            steps.removeFirst()
            asked = false
            return advance(node)
        }
        // The API's own sentence names the node already.
        if let error = node.lastError, error.hasPrefix("cannot ") { return .failed(error) }
        let why = node.lastError ?? "its state is “\(node.state)” and no error was told"
        return .failed("cannot \(step.title) node \(node.name): \(why)")
    }
}

extension NodeTask.Step {
    /// The verb as people say it.
    package var title: String { verb == "active" ? "deploy" : verb }
}
