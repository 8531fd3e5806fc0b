import HTTP

// The shapes of Identity's objects, for the API's document.

extension Schema {
    /// An object that holds another under its name.
    static func one(_ name: String, _ shape: Schema, open: Bool = false) -> Schema {
        .object([name: shape], required: [name], open: open)
    }

    static let selfLink = Schema.object(["self": .text], required: ["self"])
    static let pageLinks = Schema.object(
        ["self": .text, "next": .textOrNull, "previous": .textOrNull],
        required: ["self", "next", "previous"]
    ).named("PageLinks")

    // MARK: - Answers

    private static func item(
        _ name: String,
        _ members: [String: Schema],
        optional: [String] = []
    ) -> Schema {
        var all = members
        all["id"] = .text
        all["links"] = .selfLink
        return Schema.object(
            all,
            required: all.keys.filter { !optional.contains($0) },
            open: true
        ).named(name)
    }

    static let user = item(
        "User",
        [
            "name": .text, "domain_id": .text, "enabled": .truth,
            "password_expires_at": .timeOrNull, "options": .document,
            "default_project_id": .text, "description": .text,
        ],
        optional: ["default_project_id", "description"]
    )
    static let group = item("Group", ["name": .text, "domain_id": .text, "description": .text])
    static let domain = item(
        "Domain",
        [
            "name": .text, "enabled": .truth, "description": .text, "tags": .list(of: .text),
            "options": .document,
        ]
    )
    static let project = item(
        "Project",
        [
            "name": .text, "domain_id": .text, "parent_id": .text, "is_domain": .truth,
            "enabled": .truth, "description": .text, "tags": .list(of: .text),
            "options": .document,
        ]
    )
    static let role = item(
        "Role",
        ["name": .text, "domain_id": .textOrNull, "description": .text, "options": .document]
    )
    static let region = item(
        "Region",
        ["description": .text, "parent_region_id": .textOrNull]
    )
    static let service = item(
        "Service",
        ["type": .text, "name": .text, "enabled": .truth, "description": .text]
    )
    static let endpoint = item(
        "Endpoint",
        [
            "service_id": .text, "interface": .interface, "url": .text, "region": .textOrNull,
            "region_id": .textOrNull, "enabled": .truth,
        ]
    )
    static let accessRule = Schema.object(
        ["id": .text, "service": .text, "method": .text, "path": .text],
        required: ["id", "service", "method", "path"]
    ).named("AccessRule")
    static let credential = item(
        "ApplicationCredential",
        [
            "name": .text, "description": .text, "project_id": .text, "user_id": .text,
            "unrestricted": .truth, "roles": .list(of: .roleName), "expires_at": .timeOrNull,
            "access_rules": .list(of: .accessRule),
            "secret": .text.note("Shown once, when the credential is made."),
        ],
        optional: ["access_rules", "secret"]
    )
    private static let interface = Schema.words(["public", "internal", "admin"])
    private static let roleName = Schema.object(
        ["id": .text, "name": .text, "domain_id": .textOrNull],
        required: ["id", "name", "domain_id"]
    ).named("RoleName")
    private static let roleLink = Schema.object(
        ["id": .text, "name": .text, "links": .selfLink],
        required: ["id", "name", "links"]
    ).named("RoleLink")
    static let inferences = Schema.object(
        ["prior_role": roleLink, "implies": .list(of: roleLink)],
        required: ["prior_role", "implies"]
    ).named("RoleInferences")
    static let implied = Schema.object(
        [
            "role_inference": .object(
                ["prior_role": roleLink, "implies": roleLink],
                required: ["prior_role", "implies"]
            ), "links": .selfLink,
        ],
        required: ["role_inference", "links"]
    )
    static let grant = Schema.object(
        [
            "role": .document, "user": .document, "group": .document, "scope": .document,
            "links": .object(["assignment": .text], required: ["assignment"]),
        ],
        required: ["role", "scope", "links"]
    ).named("RoleAssignment")
    static let catalogEntry = Schema.object(
        [
            "id": .text, "name": .text, "type": .text,
            "endpoints": .list(
                of: .object(
                    [
                        "id": .text, "url": .text, "interface": interface, "region": .textOrNull,
                        "region_id": .textOrNull,
                    ],
                    required: ["id", "url", "interface"]
                )
            ),
        ],
        required: ["id", "name", "type", "endpoints"]
    ).named("CatalogEntry")
    private static let domainName = Schema.object(
        ["id": .text, "name": .text],
        required: ["id", "name"]
    )
    static let token = Schema.object(
        [
            "methods": .list(of: .text),
            "user": .object(
                [
                    "id": .text, "name": .text, "domain": domainName,
                    "password_expires_at": .timeOrNull,
                ],
                required: ["id", "name", "domain"]
            ),
            "audit_ids": .list(of: .text), "issued_at": .time, "expires_at": .time,
            "system": .object(["all": .truth]), "domain": domainName,
            "project": .object(
                ["id": .text, "name": .text, "domain": domainName.orNull],
                required: ["id", "name", "domain"]
            ),
            "is_domain": .truth, "is_admin_project": .truth, "roles": .list(of: .roleName),
            "catalog": .list(of: .catalogEntry),
            "application_credential": .object(
                [
                    "id": .text, "name": .text, "restricted": .truth,
                    "access_rules": .list(of: .accessRule),
                ],
                required: ["id", "name", "restricted"]
            ),
        ],
        required: ["methods", "user", "audit_ids", "issued_at", "expires_at"]
    ).named("Token")

    // MARK: - Requests

    private static func draft(
        _ members: [String: Schema],
        required: [String] = []
    ) -> Schema { .object(members, required: required, open: true) }

    private static let line = Schema.text(max: 255)
    private static let prose = Schema.text(max: 1024).orNull
    private static let thing: [String: Schema] = [
        "domain_id": prose, "enabled": .truth.orNull, "description": prose,
        "options": .document.orNull,
    ]

    private static func named(_ more: [String: Schema] = [:]) -> Schema {
        draft(
            thing.merging(more) { $1 }.merging(["name": .text(max: 255, min: 1)]) { $1 },
            required: ["name"]
        )
    }

    private static func changed(_ more: [String: Schema] = [:]) -> Schema {
        draft(thing.merging(more) { $1 }.merging(["name": .text(max: 255, min: 1)]) { $1 })
    }

    private static let ofUser = ["password": prose, "default_project_id": prose]
    private static let ofProject: [String: Schema] = [
        "parent_id": prose, "tags": Schema.list(of: line, max: 80).orNull,
        "is_domain": .truth.orNull,
    ]
    static let newUser = named(ofUser)
    static let changedUser = changed(ofUser)
    static let newProject = named(ofProject)
    static let changedProject = changed(ofProject)
    /// A group, a domain or a role.
    static let newThing = named()
    static let changedThing = changed()

    static let newRegion = draft([
        "id": line.orNull, "description": prose, "parent_region_id": prose,
    ])
    private static let ofService: [String: Schema] = [
        "type": .text(max: 255, min: 1), "name": prose, "description": prose,
        "enabled": .truth.orNull,
    ]
    static let newService = draft(ofService, required: ["type"])
    static let changedService = draft(ofService)
    private static let ofEndpoint: [String: Schema] = [
        "service_id": .text(max: 1024), "interface": interface, "url": .text(max: 2048, min: 1),
        "region_id": prose, "region": prose, "enabled": .truth.orNull,
    ]
    static let newEndpoint = draft(ofEndpoint, required: ["service_id", "interface", "url"])
    static let changedEndpoint = draft(ofEndpoint)

    static let newCredential = draft(
        [
            "name": .text(max: 255, min: 1), "description": prose, "secret": prose,
            "unrestricted": .truth.orNull, "expires_at": .text.orNull,
            "roles": Schema.list(of: .document).orNull,
            "access_rules": Schema.list(of: .document).orNull,
        ],
        required: ["name"]
    )

    private static let reference = draft(["id": .text, "name": .text, "domain": .document])
    static let signIn = draft(
        [
            "identity": draft(
                [
                    "methods": .list(
                        of: .words(["password", "token", "application_credential"]),
                        max: 1,
                        min: 1
                    ),
                    "password": draft(
                        [
                            "user": draft(
                                [
                                    "id": .text, "name": .text, "domain": reference,
                                    "password": .text,
                                ],
                                required: ["password"]
                            )
                        ],
                        required: ["user"]
                    ),
                    "token": draft(["id": .text], required: ["id"]),
                    "application_credential": draft(
                        ["id": .text, "name": .text, "secret": .text, "user": reference],
                        required: ["secret"]
                    ),
                ],
                required: ["methods"]
            ),
            "scope": .either(
                .words(["unscoped"]),
                draft([
                    "project": reference, "domain": reference,
                    "system": draft(["all": .truth]), "unscoped": .document,
                ])
            ),
        ],
        required: ["identity"]
    )
}
