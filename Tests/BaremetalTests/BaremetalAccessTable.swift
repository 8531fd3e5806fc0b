import HTTP

/// Who asks, in the table of who may what with the node `c0`, which `owner` owns and `lessee` leases.
struct Persona: Sendable, CustomStringConvertible {
    enum Place: String, Sendable, CaseIterable {
        case nobody, unscoped, domain, other, lessee, owner, system
    }

    let place: Place
    /// `nil` for those without a scope.
    let role: Role?

    static let all: [Persona] =
        [Persona(place: .nobody, role: nil), Persona(place: .unscoped, role: nil)]
        + [Place.domain, .other, .lessee, .owner, .system].flatMap { place in
            Role.allCases.map { Persona(place: place, role: $0) }
        }

    var description: String { "\(place.rawValue)-\(role?.rawValue ?? "none")" }

    /// As `Tokens` knows it.
    var token: String? {
        let role = role?.rawValue ?? ""
        switch place {
        case .nobody: return nil
        case .unscoped: return "unscoped"
        case .system: return role
        case .domain: return "\(role)@domain:default"
        case .other, .lessee, .owner: return "\(role)@\(place.rawValue)"
        }
    }
}

/// What it takes, as Ironic's policies say it.
///
/// Written down once more, so that the code is compared with something.
enum Need: String, Sendable, CaseIterable {
    /// Any role in a project or the system: lists, which narrow themselves.
    case apiReader
    case apiMember
    case systemReader, systemMember, systemAdmin
    case projectReader, projectMember
    case ownerReader, ownerMember, ownerAdmin
    case memberLesseeAdmin, lesseeAdmin, adminOwnerAdmin, deletion
    /// Ours is stricter than Ironic, which lets members of a lessee change some fields.
    case edit

    private var roles: (system: Role?, owner: Role?, lessee: Role?, other: Role?) {
        switch self {
        case .apiReader: (.reader, .reader, .reader, .reader)
        case .apiMember: (.member, .member, .member, .member)
        case .systemReader: (.reader, nil, nil, nil)
        case .systemMember: (.member, nil, nil, nil)
        case .systemAdmin: (.admin, nil, nil, nil)
        case .projectReader: (.reader, .reader, .reader, nil)
        case .projectMember: (.member, .member, .member, nil)
        case .ownerReader: (.reader, .reader, nil, nil)
        case .ownerMember: (.member, .member, nil, nil)
        case .ownerAdmin: (.member, .manager, nil, nil)
        case .memberLesseeAdmin, .edit: (.member, .member, .manager, nil)
        case .lesseeAdmin: (.member, .manager, .manager, nil)
        case .adminOwnerAdmin: (.admin, .manager, nil, nil)
        case .deletion: (.admin, .admin, nil, nil)
        }
    }

    func allows(_ persona: Persona) -> Bool {
        let least: Role? =
            switch persona.place {
            case .nobody, .unscoped, .domain: nil
            case .system: roles.system
            case .owner: roles.owner
            case .lessee: roles.lessee
            case .other: roles.other
            }
        guard let least, let role = persona.role else { return false }
        return role >= least
    }
}

/// One call of the table; `{port}` and the like stand for objects of the node `c0`.
struct AccessCall: Sendable, CustomStringConvertible {
    let method: String
    let path: String
    let need: Need
    let body: String?

    init(_ method: String, _ path: String, _ need: Need, _ body: String? = nil) {
        self.method = method
        self.path = path
        self.need = need
        self.body = body
    }

    var description: String { "\(method) \(path)" }

    /// As the surface lists it, without the names of parameters.
    var route: String {
        let parts = path.split(separator: "?")[0].split(separator: "/").map {
            $0.hasPrefix("{") ? ":" : String($0)
        }
        return "\(method) /\(parts.joined(separator: "/"))"
    }

    private static let patch = #"[{"op":"add","path":"/extra/a","value":1}]"#

    static let all: [AccessCall] =
        nodes + states + devices + parts + resources + installation

    private static let nodes = [
        AccessCall("GET", "/v1/nodes", .apiReader),
        AccessCall("GET", "/v1/nodes/detail", .apiReader),
        AccessCall("POST", "/v1/nodes", .systemAdmin, #"{"driver":"fake-hardware"}"#),
        AccessCall("GET", "/v1/nodes/{node}", .projectReader),
        AccessCall("PATCH", "/v1/nodes/{node}", .edit, patch),
        AccessCall("DELETE", "/v1/nodes/{node}", .deletion),
        AccessCall("GET", "/v1/nodes/{node}/validate", .memberLesseeAdmin),
        AccessCall("GET", "/v1/nodes/{node}/inventory", .ownerReader),
        AccessCall("GET", "/v1/nodes/{node}/traits", .projectReader),
        AccessCall("PUT", "/v1/nodes/{node}/traits", .ownerAdmin, #"{"traits":["CUSTOM_A"]}"#),
        AccessCall("PUT", "/v1/nodes/{node}/traits/{trait}", .ownerAdmin),
        AccessCall("DELETE", "/v1/nodes/{node}/traits", .ownerAdmin),
        AccessCall("DELETE", "/v1/nodes/{node}/traits/{trait}", .ownerAdmin),
        AccessCall("GET", "/v1/nodes/{node}/children", .projectReader),
        AccessCall("GET", "/v1/nodes/{node}/history", .ownerReader),
        AccessCall("GET", "/v1/nodes/{node}/history/{entry}", .ownerReader),
        AccessCall("GET", "/v1/nodes/{node}/waiting", .projectReader),
        AccessCall("GET", "/v1/nodes/{node}/sensors", .projectReader),
        AccessCall("GET", "/v1/nodes/{node}/event_log", .ownerReader),
        AccessCall("GET", "/v1/nodes/{node}/bmc", .ownerReader),
    ]

    private static let states = [
        AccessCall("GET", "/v1/nodes/{node}/states", .projectReader),
        AccessCall(
            "PUT",
            "/v1/nodes/{node}/states/power",
            .projectMember,
            #"{"target":"power on"}"#
        ),
        AccessCall(
            "PUT",
            "/v1/nodes/{node}/states/provision",
            .memberLesseeAdmin,
            #"{"target":"manage"}"#
        ),
        AccessCall("PUT", "/v1/nodes/{node}/maintenance", .memberLesseeAdmin, "{}"),
        AccessCall("DELETE", "/v1/nodes/{node}/maintenance", .memberLesseeAdmin),
        AccessCall("PUT", "/v1/nodes/{node}/lockout", .ownerMember, #"{"reason":"work"}"#),
        AccessCall("DELETE", "/v1/nodes/{node}/lockout", .ownerMember),
    ]

    private static let devices =
        [
            AccessCall("GET", "/v1/nodes/{node}/management/boot_device", .ownerAdmin),
            AccessCall("GET", "/v1/nodes/{node}/management/boot_device/supported", .ownerAdmin),
            AccessCall(
                "PUT",
                "/v1/nodes/{node}/management/boot_device",
                .ownerAdmin,
                #"{"boot_device":"pxe"}"#
            ),
            AccessCall("PUT", "/v1/nodes/{node}/management/inject_nmi", .ownerAdmin, "{}"),
            AccessCall("GET", "/v1/nodes/{node}/bios", .projectReader),
            AccessCall("GET", "/v1/nodes/{node}/firmware", .projectReader),
        ]
        + ["GET", "POST", "PUT", "PATCH", "DELETE"].flatMap { method in
            [
                AccessCall(method, "/v1/nodes/{node}/vendor_passthru", .systemAdmin),
                AccessCall(method, "/v1/nodes/{node}/vendor_passthru/{verb}", .systemAdmin),
                AccessCall(method, "/v1/drivers/{driver}/vendor_passthru", .systemAdmin),
                AccessCall(method, "/v1/drivers/{driver}/vendor_passthru/{verb}", .systemAdmin),
            ]
        }

    private static let parts = [
        AccessCall("GET", "/v1/nodes/{node}/vifs", .projectReader),
        AccessCall("POST", "/v1/nodes/{node}/vifs", .memberLesseeAdmin, #"{"id":"net-b"}"#),
        AccessCall("DELETE", "/v1/nodes/{node}/vifs/{vif}", .memberLesseeAdmin),
        AccessCall("GET", "/v1/nodes/{node}/volume", .projectReader),
        AccessCall("GET", "/v1/volume", .apiReader),
        AccessCall("GET", "/v1/shards", .systemReader),
    ]

    private static let resources: [AccessCall] =
        ["ports", "portgroups"].flatMap { kind in
            [
                AccessCall("GET", "/v1/\(kind)", .apiReader),
                AccessCall("GET", "/v1/\(kind)/detail", .apiReader),
                AccessCall("GET", "/v1/nodes/{node}/\(kind)", .projectReader),
                AccessCall("GET", "/v1/nodes/{node}/\(kind)/detail", .projectReader),
                AccessCall("GET", "/v1/\(kind)/{\(kind)}", .projectReader),
                AccessCall(
                    "POST",
                    "/v1/\(kind)",
                    .adminOwnerAdmin,
                    #"{"node_uuid":"{node}","address":"52:54:00:99:00:01"}"#
                ),
                AccessCall("PATCH", "/v1/\(kind)/{\(kind)}", .ownerAdmin, patch),
                AccessCall("DELETE", "/v1/\(kind)/{\(kind)}", .adminOwnerAdmin),
            ]
        }
        + [
            AccessCall("GET", "/v1/portgroups/{portgroups}/ports", .projectReader),
            AccessCall("GET", "/v1/portgroups/{portgroups}/ports/detail", .projectReader),
        ]
        + ["connectors", "targets"].flatMap { kind in
            [
                AccessCall("GET", "/v1/volume/\(kind)", .apiReader),
                AccessCall("GET", "/v1/nodes/{node}/volume/\(kind)", .projectReader),
                AccessCall("GET", "/v1/volume/\(kind)/{\(kind)}", .projectReader),
                AccessCall(
                    "POST",
                    "/v1/volume/\(kind)",
                    .lesseeAdmin,
                    kind == "targets"
                        ? #"{"node_uuid":"{node}","volume_type":"t","volume_id":"n","boot_index":9}"#
                        : #"{"node_uuid":"{node}","type":"iqn","connector_id":"new"}"#
                ),
                AccessCall("PATCH", "/v1/volume/\(kind)/{\(kind)}", .memberLesseeAdmin, patch),
                AccessCall("DELETE", "/v1/volume/\(kind)/{\(kind)}", .lesseeAdmin),
            ]
        }
        + [
            AccessCall("GET", "/v1/allocations", .apiReader),
            AccessCall("POST", "/v1/allocations", .apiMember, #"{"resource_class":"gold"}"#),
            AccessCall("GET", "/v1/runbooks", .apiReader),
        ]

    private static let installation: [AccessCall] =
        [
            ("chassis", #"{"description":"x"}"#, Need.systemMember, true),
            (
                "deploy_templates",
                #"{"name":"CUSTOM_NEW","steps":[{"interface":"deploy","step":"x","args":{},"priority":1}]}"#,
                .systemAdmin, false
            ),
            (
                "inspection_rules", #"{"actions":[{"op":"fail","args":{"msg":"x"}}]}"#,
                .systemAdmin, false
            ),
        ].flatMap { kind, body, change, hasDetail in
            [
                AccessCall("GET", "/v1/\(kind)", .systemReader),
                AccessCall("POST", "/v1/\(kind)", .systemAdmin, body),
                AccessCall("GET", "/v1/\(kind)/{\(kind)}", .systemReader),
                AccessCall("PATCH", "/v1/\(kind)/{\(kind)}", change, patch),
                AccessCall("DELETE", "/v1/\(kind)/{\(kind)}", .systemAdmin),
            ] + (hasDetail ? [AccessCall("GET", "/v1/\(kind)/detail", .systemReader)] : [])
        }
        + [
            AccessCall("GET", "/v1/drivers", .systemReader),
            AccessCall("GET", "/v1/drivers/{driver}", .systemReader),
            AccessCall("GET", "/v1/drivers/{driver}/properties", .systemReader),
            AccessCall("GET", "/v1/conductors", .systemReader),
            AccessCall("GET", "/v1/conductors/{host}", .systemReader),
        ]
}
