import HTTP
import Power

// What the routes of nodes take and answer, for the API's document.

extension Operation {
    static func listNodes(_ what: String, isDetailed: Bool) -> Operation {
        Operation(
            "List nodes\(what)\(isDetailed ? " with all their fields" : "")",
            .nodeFilters,
            answers: .ok(.page("nodes", of: .node))
        )
    }

    static let createNode = Operation(
        "Register a node",
        takes: .json(.newNode),
        answers: .created(.node)
    )
    static let showNode = Operation("Show a node", [.fields], answers: .ok(.node))
    static let changeNode = Operation(
        "Change a node",
        [
            .init(
                "reset_interfaces",
                .text,
                "Whether the interfaces become those of the new driver."
            )
        ],
        takes: .json(.patch),
        answers: .ok(.node)
    )
    static let deleteNode = Operation("Forget a node", answers: .nothing)
    static let validateNode = Operation(
        "Tell per interface whether the node could be worked on",
        answers: .ok(
            .map(
                of: .object(
                    ["result": Schema.truth.orNull, "reason": .text],
                    required: ["result"]
                )
            )
        )
    )
    static let showInventory = Operation(
        "Show what the last inspection found",
        answers: .ok(
            .object(
                ["inventory": .document, "plugin_data": .document],
                required: ["inventory", "plugin_data"]
            )
        )
    )

    // MARK: - Traits

    static let listTraits = Operation(
        "List traits",
        answers: .ok(.object(["traits": .list(of: .text)], required: ["traits"]))
    )
    static let setTraits = Operation(
        "Set all traits",
        takes: .json(.object(["traits": .list(of: .trait, max: 50)], required: ["traits"])),
        answers: .nothing
    )
    static let addTrait = Operation("Add a trait", answers: .nothing)
    static let removeTrait = Operation("Remove a trait", answers: .nothing)
    static let removeTraits = Operation("Remove all traits", answers: .nothing)

    // MARK: - States

    static let showStates = Operation(
        "Show a node's states",
        answers: .ok(.nodeStates)
    )
    static let setPower = Operation(
        "Change a node's power state",
        takes: .json(
            .object(
                [
                    "target": .words(PowerWish.Target.allCases.map(\.rawValue)),
                    "timeout": Schema.integer(1...86_400).orNull,
                ],
                required: ["target"],
                open: true
            )
        ),
        answers: .accepted
    )
    static let setMaintenance = Operation(
        "Set maintenance: no automatic power action",
        takes: .optional(.object(["reason": .textOrNull], open: true)),
        answers: .accepted
    )
    static let clearMaintenance = Operation("End maintenance", answers: .accepted)
    static let provision = Operation(
        "Ask for another provision state",
        takes: .json(
            .object(
                [
                    "target": .words(ProvisionWish.targetNames), "configdrive": .any,
                    "clean_steps": Schema.list(of: .step).orNull,
                    "service_steps": Schema.list(of: .step).orNull,
                    "deploy_steps": Schema.list(of: .step).orNull,
                    "rescue_password": .textOrNull, "disable_ramdisk": Schema.truth.orNull,
                    "runbook": .textOrNull,
                ],
                required: ["target"],
                open: true
            )
        ),
        answers: .accepted
    )
    static let listBootDevices = Operation(
        "List the devices that a node can boot from",
        answers: .ok(
            .object(
                ["supported_boot_devices": .list(of: .text)],
                required: ["supported_boot_devices"]
            )
        )
    )
    static let showBootDevice = Operation(
        "Show the device that a node boots from",
        answers: .ok(
            .object(
                ["boot_device": .textOrNull, "persistent": Schema.truth.orNull],
                required: ["boot_device", "persistent"]
            )
        )
    )
    static let setBootDevice = Operation(
        "Set the device that a node boots from",
        takes: .json(
            .object(
                [
                    "boot_device": .words(BootDevice.allCases.map(\.rawValue)),
                    "persistent": .any,
                ],
                required: ["boot_device"],
                open: true
            )
        ),
        answers: .nothing
    )
    static let showWaiting = Operation(
        "Show why a node waits",
        answers: .ok(
            .object(["waiting": Schema.document.orNull], required: ["waiting"])
        )
    )
    static let lock = Operation(
        "Forbid every power action",
        takes: .json(
            .object(["reason": .text(max: 1 << 16, min: 1)], required: ["reason"], open: true)
        ),
        answers: .accepted
    )
    static let unlock = Operation("Allow power actions again", answers: .accepted)

    // MARK: - Parts

    static let listVIFs = Operation(
        "List the networks of a node",
        answers: .ok(.object(["vifs": .list(of: .document)], required: ["vifs"]))
    )
    static let attachVIF = Operation(
        "Attach a network",
        takes: .json(
            .object(
                ["id": .text(max: 255, min: 1), "port_uuid": .uuid, "portgroup_uuid": .uuid],
                required: ["id"],
                open: true
            )
        ),
        answers: .nothing
    )
    static let detachVIF = Operation("Detach a network", answers: .nothing)
    static let listChildren = Operation(
        "List the parts of a node",
        answers: .ok(
            .object(
                ["children": .list(of: .uuid), "links": .any],
                required: ["children", "links"]
            )
        )
    )
    static let listShards = Operation(
        "List shards with how many nodes each has",
        answers: .ok(
            .object(
                [
                    "shards": .list(
                        of: .object(
                            ["name": .textOrNull, "count": .integer],
                            required: ["name", "count"]
                        )
                    )
                ],
                required: ["shards"]
            )
        )
    )
    static let listHistory = Operation(
        "List a node's history",
        .page + [.init("detail"), .sortDirection],
        answers: .ok(.page("history", of: .historyEntry))
    )
    static let showHistory = Operation(
        "Show an entry of a node's history",
        answers: .ok(.historyEntry)
    )
}

extension Schema {
    static let trait = Schema.text(pattern: "^(CUSTOM|HW|COMPUTE|STORAGE|MISC|OWNER)_[A-Z0-9_]+$")
    fileprivate static let step = Schema.object(
        [
            "interface": .words(StepRules.runbook.interfaces.sorted()),
            "step": .text(max: 255, min: 1), "args": .document,
        ],
        required: ["interface", "step"],
        open: true
    ).named("Step")
    fileprivate static let historyEntry = Schema.object(
        [
            "uuid": .uuid, "created_at": .time, "severity": .text, "event": .text,
            "links": .links, "event_type": .text, "conductor": .text, "user": .textOrNull,
            "project": .textOrNull, "state": .text, "target_provision_state": .textOrNull,
            "duration_seconds": .integer,
        ],
        required: ["uuid", "created_at", "severity", "event", "links"]
    ).named("HistoryEntry")
}

extension Operation.Parameter {
    /// Which fields an answer has.
    static let fields = Self("fields", .text, "Names, parted by commas.")
    static let sortDirection = Self("sort_dir", .words(["asc", "desc"]))
}

extension [Operation.Parameter] {
    /// What every list takes.
    static let page: [Operation.Parameter] = [
        .init("limit", .integer(0...1_000_000), "1000 at most; 0 is no limit of the client's."),
        .init("marker", .text, "The UUID of the last row of the page before."),
    ]
    /// What lists with fields take besides.
    static let listing = page + [.fields, .init("detail"), .init("sort_key"), .sortDirection]
    /// What lists of nodes take.
    static let nodeFilters: [Operation.Parameter] =
        page + [
            .fields, .init("detail"),
            .init("sort_key", .words(NodeQuery.SortKey.allCases.map(\.rawValue))), .sortDirection,
        ]
        + NodeQuery.filters.map { filter in
            Operation.Parameter(filter.name, .text, "Since 1.\(filter.minor).")
        }
}
