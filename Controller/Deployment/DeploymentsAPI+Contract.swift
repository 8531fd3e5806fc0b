import HTTP
import HTTPTypes

// What the routes of configuration runs take and answer, for the API's document.

extension Operation {
    static let listDeployments = Operation(
        "List configuration runs",
        answers: .ok(
            .object(["deployments": .list(of: .deployment)], required: ["deployments"])
        )
    )
    static let showDeployment = Operation("Show a configuration run", answers: .ok(.deployment))
    static let createDeployment = Operation(
        "Begin a configuration run over active nodes",
        takes: .json(.newDeployment),
        answers: .json(.accepted, .deployment),
        refusals: [.notFound]
    )
    static let resumeDeployment = Operation(
        "Resume a configuration run that stopped, with corrected files",
        takes: .json(
            .object([
                "hieradata": .texts, "manifests": .texts,
                "nodes": Schema.map(of: .texts).orNull,
            ])
        ),
        answers: .json(.accepted, .deployment)
    )
    static let cancelDeployment = Operation(
        "Cancel a configuration run",
        answers: .json(.accepted, .deployment)
    )
    static let deleteDeployment = Operation(
        "Forget a configuration run that ended",
        answers: .nothing
    )
}

extension Schema {
    /// Texts by name, or null.
    fileprivate static let texts = Schema.map(of: .text).orNull
    private static let names = Schema.list(of: .text)

    fileprivate static let newDeployment = Schema.object(
        [
            "name": .text, "hieradata": texts, "hierarchy": names.orNull,
            "manifests": .map(of: .text),
            "nodes": .list(
                of: .object(
                    ["node": .text, "role": .textOrNull, "hieradata": texts],
                    required: ["node"]
                )
            ),
            "steps": .list(
                of: .object(
                    [
                        "number": .integer(0...Int64(UInt32.max)), "name": .textOrNull,
                        "manifest": .text, "roles": names.orNull, "tries": .integer.orNull,
                        "puppet_seconds": Schema.integer(0...Int64(UInt32.max)).orNull,
                        "validations": Schema.list(of: validation).orNull,
                    ],
                    required: ["number", "manifest"]
                )
            ),
        ],
        required: ["name", "nodes", "manifests", "steps"]
    )

    private static let validation = Schema.object([
        "name": .textOrNull, "executable": .textOrNull, "unit_active": .textOrNull,
        "file_exists": .textOrNull, "roles": names.orNull,
        "tcp_port": Schema.object(
            ["host": .textOrNull, "port": .integer(0...65_535)],
            required: ["port"]
        ).orNull,
        "http_status": Schema.object(
            ["url": .text, "status": Schema.integer(0...65_535).orNull],
            required: ["url"]
        ).orNull,
        "timeout_seconds": Schema.integer(0...Int64(UInt32.max)).orNull,
    ])

    fileprivate static let deployment = Schema.object(
        [
            "id": .uuid, "name": .text, "state": .text, "attempt": .integer, "step": .integer,
            "steps_total": .integer, "steps_done": .integer, "created_at": .time,
            "updated_at": .time, "last_error": .text, "hieradata": names, "manifests": names,
            "steps": .list(
                of: .object(
                    [
                        "number": .integer, "name": .text, "begun": .time, "ended": .time,
                        "nodes": .list(of: progress),
                    ],
                    required: ["number", "name", "begun", "nodes"]
                )
            ),
        ],
        required: [
            "id", "name", "state", "attempt", "steps_total", "steps_done", "created_at",
            "updated_at", "hieradata", "manifests", "steps",
        ]
    ).named("Deployment")

    private static let progress = Schema.object(
        [
            "node": .uuid, "name": .text, "role": .text, "phase": .text, "tries": .integer,
            "since": .time, "waiting_for": .text, "until": .time, "changed_resources": .integer,
            "message": .text, "lines": names,
        ],
        required: ["node", "name", "role", "phase", "tries", "since", "changed_resources", "lines"]
    )
}
