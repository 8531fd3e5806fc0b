import Basics
import HTTP
import Power
import Protocol

/// The shape of a node in the Bare Metal API.
struct NodeDocument: Sendable {
    let node: Node
    let progress: WorkProgress?
    let settings: BaremetalSettings
    /// Where clients reach the API, without a slash at the end.
    let root: String
    /// Old versions have older words for some states.
    var version = Microversion.maximum
    /// Where the node stands while it waits for its turn.
    var place: QueuePlace?

    /// What a list without details shows.
    static let summary = [
        "instance_uuid", "links", "maintenance", "name", "power_state", "provision_state", "uuid",
    ]

    /// Names that a version shows.
    static func names(_ version: Microversion) -> [String] {
        NodeField.all.filter { $0.minor <= version.minor }.map(\.name)
    }

    /// The fields that a request asked for.
    /// - Throws: `Fault`: `invalid` for an unknown field, `notAcceptable` for one of a newer version.
    static func wanted(_ list: String, _ version: Microversion) throws -> [String] {
        let names = list.split(separator: ",").map(String.init)
        for name in names {
            guard let field = NodeField.named[name] else {
                throw Fault(
                    .invalid,
                    "cannot show the field “\(name.prefix(40))”: a node has none"
                )
            }
            guard field.minor <= version.minor else {
                throw Fault(
                    .notAcceptable,
                    "cannot show the field \(name) in API version \(version.text): it exists since 1.\(field.minor)"
                )
            }
        }
        return names + ["links"]
    }

    func object(_ names: [String]) -> JSONValue {
        var members: [String: JSONValue] = [:]
        for name in names { members[name] = NodeField.named[name]?.value(of: self) }
        return .object(members)
    }

    /// Writes the same object as `object`, without making it first.
    func append(_ fields: NodeFields, to text: inout JSONText) {
        for (index, field) in fields.sorted.enumerated() {
            text.append(raw: index == 0 ? "{" : ",")
            text.append(raw: field.key)
            field.append(self, to: &text)
        }
        text.append(raw: fields.sorted.isEmpty ? "{}" : "}")
    }

    var provisionState: String? {
        let word = node.state.ironicName
        if version.minor < 2, word == "available" { return nil }
        return version.minor < 39 && word == "inspect wait" ? "inspecting" : word
    }

    /// The present step, if it belongs to this kind of work.
    func step(_ kind: String) -> JSONValue {
        guard kind == node.planKind, let step = node.plan?.current else { return .object([:]) }
        return step.document
    }

    func interface(_ name: String) -> String? {
        node.interfaces[name] ?? DriverInterfaces.of(node.driver)[name]?.first
    }

    var maskedInstanceInfo: [String: JSONValue] {
        Dictionary(
            uniqueKeysWithValues: node.instanceInfo.map { key, value in
                let hides = DriverInfo.isSecret(key) || ["configdrive", "image_url"].contains(key)
                return (key, hides ? .string(DriverInfo.mask) : value)
            }
        )
    }

    /// What this server knows beyond Ironic's fields; documented in the area's README.
    var internals: [String: JSONValue] {
        var members: [String: JSONValue] = ["rdo_attempt": .integer(Int64(node.attempt.number))]
        if let waiting { members["rdo_waiting"] = waiting }
        if let plan = node.plan, let kind = node.planKind {
            members["\(kind)_steps"] = .array(plan.steps.map(\.document))
            members["\(kind)_step_index"] = .integer(Int64(plan.index))
            if plan.endsAfterStep { members["rdo_ends_after_step"] = true }
        }
        if node.wait == nil, let obstacle = node.obstacle {
            members["rdo_obstacle"] = Self.document(of: obstacle)
        }
        if !node.lastLines.isEmpty {
            members["rdo_last_lines"] = .array(node.lastLines.map(JSONValue.string))
        }
        if !node.erasures.isEmpty {
            members["rdo_erased"] = .array(node.erasures.map(\.document))
        }
        if let lockout = node.lockout {
            members["rdo_lockout"] = [
                "reason": .string(lockout.reason), "user": .string(lockout.user),
                "since": .string(lockout.since.description),
            ]
        }
        if case .active(let installation) = node.state {
            members["rdo_installed"] = [
                "image": .string(installation.image.text),
                "device": .string(installation.device),
                "since": .string(installation.since.description),
            ]
        }
        return members
    }

    /// Why the node waits; `nil` in a state that lasts.
    var waiting: JSONValue? {
        guard let waiting = node.waiting(settings.budgets, place) else { return nil }
        var members: [String: JSONValue] = [
            "reason": .string(waiting.reason), "since": .string(waiting.since.description),
            "until": JSONValue(waiting.until?.description), "next": .string(waiting.next),
        ]
        if node.isQueued {
            members["queue"] = JSONValue(place?.kind.rawValue ?? node.state.workKind?.rawValue)
            members["position"] = place.map { .integer(Int64($0.position)) } ?? .null
            members["queue_length"] = place.map { .integer(Int64($0.length)) } ?? .null
            members["eta"] = JSONValue(place?.eta?.description)
        }
        if let obstacle = waiting.obstacle { members["obstacle"] = Self.document(of: obstacle) }
        if let progress {
            members["phase"] = .string(progress.phase)
            members["bytes_done"] = .integer(Int64(clamping: progress.doneBytes))
            members["bytes_total"] = .integer(Int64(clamping: progress.totalBytes))
            members["bytes_per_second"] = .number(progress.bytesPerSecond)
            members["text"] = .string(progress.text)
        }
        return .object(members)
    }

    private static func document(of obstacle: Obstacle) -> JSONValue {
        [
            "message": .string(obstacle.message), "tries": .integer(Int64(obstacle.tries)),
            "at": .string(obstacle.at.description),
            "next_try": .string(obstacle.nextTry.description),
        ]
    }
}

extension NodeSummary {
    /// Writes what `NodeDocument.summary` names.
    func append(to text: inout JSONText, root: String) {
        func append(_ value: String?) {
            if let value { text.append(value) } else { text.append(raw: "null") }
        }
        text.append(raw: #"{"instance_uuid":"#)
        append(instanceID)
        text.append(raw: #","links":[{"href":"#)
        text.append("\(root)/v1/nodes/\(id)")
        text.append(raw: #","rel":"self"},{"href":"#)
        text.append("\(root)/nodes/\(id)")
        text.append(raw: #","rel":"bookmark"}],"maintenance":"#)
        text.append(raw: isInMaintenance ? "true" : "false")
        text.append(raw: #","name":"#)
        append(name)
        text.append(raw: #","power_state":"#)
        append(powerState)
        text.append(raw: #","provision_state":"#)
        text.append(provisionState)
        text.append(raw: #","uuid":"#)
        text.append(id)
        text.append(raw: "}")
    }
}
