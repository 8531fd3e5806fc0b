import Basics
import HTTP
import Protocol
import Store

// What says how machines are worked on: deploy templates, runbooks, inspection rules, allocations.
extension ResourceKind {
    static let deployTemplate = ResourceKind(
        path: "/v1/deploy_templates",
        table: "deployTemplate",
        item: "deploy template",
        list: "deploy_templates",
        minor: 55,
        scope: .installation(change: .admin),
        fields: [
            ResourceField("name", "name", .text(max: 255), isRequired: true),
            ResourceField("description", "description", .text(max: 255), minor: 112),
            ResourceField("steps", "steps", .list, isRequired: true),
            ResourceField("extra", "extra", .object, initial: [:]),
        ],
        summary: ["uuid", "name"],
        unique: [["name"]],
        check: { template, _ in
            try Trait.check(template.text("name") ?? "", "the name of a deploy template")
            template.values["steps"] = try StepRules.deploy.checked(
                template.values["steps"] ?? .null
            )
        },
        mask: maskSteps
    )

    static let runbook = ResourceKind(
        path: "/v1/runbooks",
        table: "runbook",
        item: "runbook",
        list: "runbooks",
        minor: 92,
        scope: .owner(shared: "public", change: .manager),
        fields: [
            ResourceField("name", "name", .text(max: 255), isRequired: true),
            ResourceField("description", "description", .text(max: 255), minor: 112),
            ResourceField("steps", "steps", .list, isRequired: true),
            ResourceField(
                "disable_ramdisk",
                "isRamdiskDisabled",
                .truth,
                initial: false
            ),
            ResourceField("extra", "extra", .object, initial: [:]),
            ResourceField("public", "isPublic", .truth, initial: false),
            ResourceField("owner", "owner", .text(max: 255)),
            ResourceField("traits", "traits", .list, minor: 112, initial: [], isSettable: false),
        ],
        summary: ["uuid", "name"],
        unique: [["name"]],
        check: { runbook, before in
            if runbook.values["public"] == true, before?.values["public"] != true {
                runbook.values["owner"] = .null
            }
            guard runbook.values["public"] != true || runbook.text("owner") == nil else {
                throw Fault(
                    .invalid,
                    "cannot give runbook \(runbook.id) an owner: it is public; make it private at the same time"
                )
            }
            try checkName(runbook, "runbook")
            runbook.values["steps"] = try StepRules.runbook.checked(
                runbook.values["steps"] ?? .null
            )
        },
        mask: maskSteps
    )

    /// Passwords among a step's arguments are not shown.
    private static let maskSteps: @Sendable (inout [String: JSONValue]) -> Void = { members in
        guard let steps = members["steps"]?.elements else { return }
        members["steps"] = .array(
            steps.map { step in
                guard let arguments = step["args"]?.members else { return step }
                var step = step
                step["args"] = .object(DriverInfo.mask(arguments))
                return step
            }
        )
    }

    static let inspectionRule = ResourceKind(
        path: "/v1/inspection_rules",
        table: "inspectionRule",
        item: "inspection rule",
        list: "inspection_rules",
        minor: 96,
        scope: .installation(change: .admin),
        fields: [
            ResourceField("description", "description", .text(max: 255)),
            ResourceField("priority", "priority", .integer(0...9999), initial: 0),
            ResourceField("phase", "phase", .text(max: 16), initial: "main"),
            ResourceField("sensitive", "isSensitive", .truth, initial: false),
            ResourceField("conditions", "conditions", .list, initial: []),
            ResourceField("actions", "actions", .list, isRequired: true),
        ],
        summary: ["uuid", "priority", "phase", "description"],
        filters: ["phase"],
        check: { rule, before in
            guard before?.values["sensitive"] != true || rule.values["sensitive"] == true else {
                throw Fault(
                    .invalid,
                    "cannot change inspection rule \(rule.id): a sensitive rule stays sensitive"
                )
            }
            guard rule.text("phase") == "main" else {
                throw Fault(.invalid, "cannot set phase of an inspection rule: it must be main")
            }
            try InspectionRules.check(rule)
        },
        mask: { members in
            guard members["sensitive"] == true else { return }
            members["conditions"] = .null
            members["actions"] = .null
        }
    )

    static let allocation = ResourceKind(
        path: "/v1/allocations",
        table: "allocation",
        item: "allocation",
        list: "allocations",
        minor: 52,
        patchMinor: 57,
        scope: .owner(shared: nil, change: .member),
        fields: [
            ResourceField("name", "name", .text(max: 255)),
            ResourceField("node_uuid", "node", .reference, isSettable: false),
            ResourceField("resource_class", "resourceClass", .text(max: 80), isPatchable: false),
            ResourceField("state", "state", .text(max: 15), isSettable: false),
            ResourceField("last_error", "lastError", .text(max: 1024), isSettable: false),
            ResourceField("owner", "owner", .text(max: 255), minor: 60, isPatchable: false),
            ResourceField("traits", "traits", .list, initial: [], isPatchable: false),
            ResourceField(
                "candidate_nodes",
                "candidateNodes",
                .list,
                initial: [],
                isPatchable: false
            ),
            ResourceField("extra", "extra", .object, initial: [:]),
        ],
        summary: [
            "uuid", "name", "node_uuid", "resource_class", "state", "last_error", "owner",
            "traits", "candidate_nodes", "extra", "created_at", "updated_at",
        ],
        unique: [["name"]],
        filters: ["resource_class", "state", "owner"],
        check: { allocation, _ in try checkName(allocation, "allocation") }
    )
}

/// What a trait may be called.
enum Trait {
    private static let prefixes = ["CUSTOM_", "HW_", "COMPUTE_", "STORAGE_", "MISC_", "OWNER_"]

    /// `what` is named in the message.
    /// - Throws: `Fault` of kind `invalid`.
    static func check(_ trait: String, _ what: String) throws {
        let isPlain = trait.utf8.allSatisfy { byte in
            (65...90).contains(byte) || (48...57).contains(byte) || byte == UInt8(ascii: "_")
        }
        guard isPlain, trait.utf8.count <= 255,
            prefixes.contains(where: { trait.hasPrefix($0) && trait != $0 })
        else {
            throw Fault(
                .invalid,
                "cannot use “\(trait.prefix(80))” as \(what): it must begin with CUSTOM_ and hold capitals, digits and “_” only"
            )
        }
    }
}

/// What the steps of templates, runbooks and requests must look like.
struct StepRules: Sendable {
    let interfaces: Set<String>
    /// The member that says when a step's turn is; `nil` when steps go in their own order.
    let turn: String?
    let required: [String]

    static let deploy = StepRules(
        interfaces: ["bios", "deploy", "firmware", "management", "power", "raid", "vendor"],
        turn: "priority",
        required: ["interface", "step", "args", "priority"]
    )
    static let runbook = StepRules(
        interfaces: [
            "bios", "deploy", "firmware", "management", "network", "power", "raid", "vendor",
        ],
        turn: "order",
        required: ["interface", "step", "order"]
    )
    /// Clean and service steps of a request.
    static let request = StepRules(
        interfaces: runbook.interfaces,
        turn: nil,
        required: ["interface", "step"]
    )

    /// Steps of one list at most.
    private static let countMax = 64

    /// The steps in their one form.
    /// - Throws: `Fault` of kind `invalid` that names the step.
    func checked(_ value: JSONValue) throws -> JSONValue {
        guard let steps = value.elements, (1...Self.countMax).contains(steps.count) else {
            throw Fault(
                .invalid,
                "cannot take the steps: it must be a list of 1 to \(Self.countMax)"
            )
        }
        var seen: Set<String> = []
        return .array(
            try steps.enumerated().map { index, step in
                func wrong(_ what: String) -> Fault {
                    Fault(.invalid, "cannot take step \(index) of the list: \(what)")
                }
                guard var members = step.members else { throw wrong("it is no object") }
                for name in required where members[name] == nil {
                    throw wrong("it has no \(name)")
                }
                for name in members.keys.sorted()
                where !["interface", "step", "args", turn].contains(name) {
                    // Clients send empty members of other kinds of steps along.
                    guard turn == nil, ["priority", "order"].contains(name) else {
                        throw wrong("“\(name.prefix(40))” is unknown")
                    }
                }
                guard let interface = members["interface"]?.text, interfaces.contains(interface)
                else { throw wrong("its interface is none of \(interfaces.sorted())") }
                guard let name = members["step"]?.text, !name.isEmpty else {
                    throw wrong("its step has no name")
                }
                guard members["args"] == nil || members["args"]?.members != nil else {
                    throw wrong("its args are no object")
                }
                if let turn {
                    guard let number = members[turn]?.wholeNumber, number >= 0 else {
                        throw wrong("its \(turn) is no number from 0")
                    }
                    members[turn] = .integer(number)
                    guard seen.insert("\(interface).\(name)").inserted else {
                        throw wrong("\(interface).\(name) is there twice")
                    }
                }
                return .object(members)
            }
        )
    }
}
