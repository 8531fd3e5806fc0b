import HTTP
import HTTPTypes

extension Operation {
    static let createBulkJob = Operation(
        "Make one call on many nodes",
        takes: .json(
            .object(
                [
                    "action": .words(BulkOrder.names),
                    "request": Schema.any.note(
                        "The body of the single call; for maintenance “maintenance” and “reason”; for set a JSON Patch."
                    ),
                    "nodes": Schema.list(of: .text(max: 255, min: 1), max: BulkService.nodesMax)
                        .orNull,
                    "filter": Schema.object(filters).orNull,
                ],
                required: ["action"]
            )
        ),
        answers: .json(.accepted, job),
        refusals: [.tooManyRequests]
    )
    static let listBulkJobs = Operation(
        "List jobs over many nodes",
        answers: .ok(.object(["jobs": .list(of: job)], required: ["jobs"]))
    )
    static let showBulkJob = Operation(
        "Show a job and what came of each node",
        [
            .init("limit", .integer(0...Int64(Int32.max)), "Results of one page."),
            .init("marker", .integer(-1...Int64(Int32.max)), "Only results after this number."),
        ],
        answers: .ok(.object(jobMembers.merging(resultMembers) { $1 }, required: ["results"]))
    )
    static let cancelBulkJob = Operation(
        "Cancel a job over many nodes",
        answers: .nothing
    )

    private static let filters: [String: Schema] = [
        "provision_state": .text, "driver": .text, "resource_class": .text,
        "conductor_group": .text, "owner": .text, "lessee": .text, "shard": .text,
        "chassis_uuid": .text, "description_contains": .text, "maintenance": .truth,
        "associated": .truth, "retired": .truth,
    ]

    private static let jobMembers: [String: Schema] = [
        "uuid": .uuid, "action": .words(BulkOrder.names), "target": .textOrNull,
        "state": .words(BulkJob.State.allCases.map(\.rawValue)), "user": .text,
        "project": .textOrNull, "created_at": .time, "finished_at": .timeOrNull,
        "progress": .map(of: .integer), "links": .list(of: .document),
    ]

    private static let resultMembers: [String: Schema] = [
        "results": .list(
            of: .object(
                [
                    "number": .integer, "node": .textOrNull, "name": .text,
                    "result": .words(BulkItem.Outcome.allCases.map(\.rawValue)),
                    "message": .textOrNull, "at": .timeOrNull, "provision_state": .textOrNull,
                    "power_state": .textOrNull, "last_error": .textOrNull,
                ],
                required: ["number", "node", "name", "result"]
            )
        ), "next": .text,
    ]

    private static let job = Schema.object(
        jobMembers,
        required: jobMembers.keys.sorted()
    ).named("BulkJob")
}
