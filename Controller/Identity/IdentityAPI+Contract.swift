import HTTP
import HTTPTypes

// What the routes of Identity take and answer, for the API's document.

extension Operation {
    /// A list of objects under its name, with links.
    static func list(
        _ name: String,
        of shape: Schema,
        _ parameters: [Parameter] = [],
        _ what: String = ""
    ) -> Operation {
        Operation(
            "List \(name.replacing("_", with: " "))\(what)",
            parameters,
            answers: .ok(
                .object(
                    [name: .list(of: shape), "links": .pageLinks],
                    required: [name, "links"]
                )
            )
        )
    }

    static func show(
        _ name: String,
        _ shape: Schema,
        _ parameters: [Parameter] = []
    ) -> Operation {
        Operation("Show a \(words(name))", parameters, answers: .ok(.one(name, shape)))
    }

    static func create(_ name: String, _ request: Schema, _ shape: Schema) -> Operation {
        Operation(
            "Create a \(words(name))",
            takes: .json(.one(name, request, open: true)),
            answers: .created(.one(name, shape)),
            // What the body refers to may not be there.
            refusals: [.notFound]
        )
    }

    static func change(_ name: String, _ request: Schema, _ shape: Schema) -> Operation {
        Operation(
            "Change a \(words(name))",
            takes: .json(.one(name, request, open: true)),
            answers: .ok(.one(name, shape))
        )
    }

    /// Something that is done, or found to be so, without a word.
    static func silent(_ summary: String) -> Operation { Operation(summary, answers: .nothing) }

    private static func words(_ name: String) -> String { name.replacing("_", with: " ") }

    static let signIn = Operation(
        "Issue a token",
        [.init("nocatalog", .text, "Leaves the catalog out.")],
        takes: .json(.one("auth", .signIn, open: true)),
        answers: .created(.one("token", .token)),
        refusals: [.unauthorized, .forbidden, .tooManyRequests]
    )
    static let showToken = Operation(
        "Show what a token says",
        [.subjectToken, .init("nocatalog", .text, "Leaves the catalog out.")],
        answers: .ok(.one("token", .token)),
        refusals: [.notFound]
    )
    static let revokeToken = Operation(
        "Revoke a token",
        [.subjectToken],
        answers: .nothing,
        refusals: [.notFound]
    )
    static let changePassword = Operation(
        "Change one's own password",
        takes: .json(
            .one(
                "user",
                .object(
                    ["password": .text(max: 1024), "original_password": .text(max: 1024)],
                    required: ["password", "original_password"],
                    open: true
                ),
                open: true
            )
        ),
        answers: .nothing,
        refusals: [.tooManyRequests]
    )
    static let showCatalog = Operation(
        "Show the catalog of the token's scope",
        answers: .ok(
            .object(
                ["catalog": .list(of: .catalogEntry), "links": .selfLink],
                required: ["catalog", "links"]
            )
        )
    )
    static let showSystem = Operation(
        "Tell whether one has a role over the system",
        answers: .ok(
            .object(
                ["system": .list(of: .object(["all": .truth])), "links": .selfLink],
                required: ["system", "links"]
            )
        )
    )
    static let listInferences = Operation(
        "List what roles imply",
        answers: .ok(
            .object(
                ["role_inferences": .list(of: .inferences), "links": .selfLink],
                required: ["role_inferences", "links"]
            )
        )
    )
    static let showInferences = Operation(
        "List what a role implies",
        answers: .ok(
            .object(
                ["role_inference": .inferences, "links": .selfLink],
                required: ["role_inference", "links"]
            )
        )
    )
    static let showInference = Operation("Show that a role implies another", answers: .ok(.implied))
    static let createInference = Operation(
        "Let a role imply another",
        answers: .created(.implied)
    )
    static let listTags = Operation(
        "List the tags of a project",
        answers: .ok(
            .object(
                ["tags": .list(of: .text), "links": .selfLink],
                required: ["tags", "links"]
            )
        )
    )
    static let setTags = Operation(
        "Set the tags of a project",
        takes: .json(
            .object(["tags": .list(of: .text(max: 255), max: 80)], required: ["tags"], open: true)
        ),
        answers: .ok(.object(["tags": .list(of: .text)], required: ["tags"]))
    )
    static let showVersion = Operation(
        "Show the version",
        answers: .ok(.object(["version": .document], required: ["version"]))
    )
    static let listVersions = Operation(
        "List versions",
        answers: .json(
            .multipleChoices,
            .object(["versions": .document], required: ["versions"])
        )
    )
}

extension Operation.Parameter {
    fileprivate static let subjectToken = Self(
        "X-Subject-Token",
        .text,
        "The token that is meant.",
        in: .header,
        isRequired: true
    )
}

extension [Operation.Parameter] {
    /// What lists of users, groups, projects, domains and roles are narrowed by.
    static let directory: [Operation.Parameter] = [
        .init("name"), .init("domain_id"), .init("enabled"), .init("parent_id"),
        .init("tags", .text, "Has all of them; parted by commas."),
        .init("tags-any", .text, "Has one of them."),
        .init("not-tags", .text, "Has not all of them."),
        .init("not-tags-any", .text, "Has none of them."),
        .init("marker", .text, "The last identifier of the page before."),
        .init("limit", .integer(0...1_000_000), "1000 at most; 0 is no limit of the client's."),
    ]
    /// What lists of projects take besides.
    static let projects = directory + [.init("is_domain")]
    /// Which of the tree around a project is shown with it.
    static let tree: [Operation.Parameter] = [
        "parents_as_ids", "parents_as_list", "subtree_as_ids", "subtree_as_list",
    ].map { .init($0) }
    /// What the catalog's lists are narrowed by.
    static let catalog: [Operation.Parameter] = [
        .init("type"), .init("name"), .init("parent_region_id"), .init("service_id"),
        .init("region_id"), .init("region"), .init("interface"), .init("enabled"),
    ]
    static let grants: [Operation.Parameter] = [
        "role.id", "user.id", "group.id", "scope.project.id", "scope.domain.id", "scope.system",
        "scope.OS-INHERIT:inherited_to", "effective", "include_names",
    ].map { .init($0) }
}
