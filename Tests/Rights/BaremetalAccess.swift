/// The routes of the Bare Metal API, with what each takes by Ironic's policies.
package enum BaremetalAccess {
    private typealias Call = AccessCall<Need>

    private static let patch = #"[{"op":"add","path":"/extra/a","value":1}]"#

    /// Every call.
    package static let calls: [AccessCall<Need>] =
        nodes + states + devices + lamps + vendor + parts + resources + owned + installation

    /// Routes that are in no table, and why.
    package static let others = [
        "GET /v1/lookup": "an agent proves itself elsewhere; everybody is refused",
        "POST /v1/heartbeat/:": "likewise", "POST /v1/continue_inspection": "likewise",
    ]

    private static let nodes: [Call] = [
        Call("GET", "/v1/nodes", .apiReader),
        Call("GET", "/v1/nodes/detail", .apiReader),
        Call("POST", "/v1/nodes", .systemAdmin, #"{"driver":"fake-hardware"}"#),
        Call("GET", "/v1/nodes/{node}", .projectReader),
        Call("PATCH", "/v1/nodes/{node}", .edit, patch),
        Call("DELETE", "/v1/nodes/{node}", .deletion),
        Call("GET", "/v1/nodes/{node}/validate", .memberLesseeAdmin),
        Call("GET", "/v1/nodes/{node}/inventory", .ownerReader, missing: "not inspected"),
        Call("GET", "/v1/nodes/{node}/traits", .projectReader),
        Call("PUT", "/v1/nodes/{node}/traits", .ownerAdmin, #"{"traits":["CUSTOM_A"]}"#),
        Call("PUT", "/v1/nodes/{node}/traits/{trait}", .ownerAdmin),
        Call("DELETE", "/v1/nodes/{node}/traits", .ownerAdmin),
        Call("DELETE", "/v1/nodes/{node}/traits/{trait}", .ownerAdmin),
        Call("GET", "/v1/nodes/{node}/children", .projectReader),
        Call("GET", "/v1/nodes/{node}/history", .ownerReader),
        Call("GET", "/v1/nodes/{node}/history/{entry}", .ownerReader),
        Call("GET", "/v1/nodes/{node}/waiting", .projectReader),
        Call("GET", "/v1/nodes/{node}/sensors", .projectReader),
        Call("GET", "/v1/nodes/{node}/event_log", .ownerReader),
        Call("GET", "/v1/nodes/{node}/bmc", .ownerReader),
    ]

    private static let states: [Call] = [
        Call("GET", "/v1/nodes/{node}/states", .projectReader),
        Call(
            "PUT",
            "/v1/nodes/{node}/states/power",
            .projectMember,
            #"{"target":"power on"}"#
        ),
        Call(
            "PUT",
            "/v1/nodes/{node}/states/provision",
            .memberLesseeAdmin,
            #"{"target":"manage"}"#
        ),
        Call("PUT", "/v1/nodes/{node}/maintenance", .memberLesseeAdmin, "{}"),
        Call("DELETE", "/v1/nodes/{node}/maintenance", .memberLesseeAdmin),
        Call(
            "PUT",
            "/v1/nodes/{node}/states/boot_mode",
            .projectMember,
            #"{"target":"uefi"}"#
        ),
        Call(
            "PUT",
            "/v1/nodes/{node}/states/secure_boot",
            .projectMember,
            #"{"target":true}"#
        ),
        Call(
            "PUT",
            "/v1/nodes/{node}/states/raid",
            .ownerMember,
            #"{"logical_disks":[]}"#,
            missing: "does not support raid"
        ),
        Call("GET", "/v1/nodes/{node}/states/console", .ownerMember),
        Call("PUT", "/v1/nodes/{node}/states/console", .ownerMember, #"{"enabled":true}"#),
        Call("PUT", "/v1/nodes/{node}/lockout", .ownerMember, #"{"reason":"work"}"#),
        Call("DELETE", "/v1/nodes/{node}/lockout", .ownerMember),
    ]

    private static let devices: [Call] = [
        Call("GET", "/v1/nodes/{node}/management/boot_device", .ownerAdmin),
        Call("GET", "/v1/nodes/{node}/management/boot_device/supported", .ownerAdmin),
        Call(
            "PUT",
            "/v1/nodes/{node}/management/boot_device",
            .ownerAdmin,
            #"{"boot_device":"pxe"}"#
        ),
        Call("PUT", "/v1/nodes/{node}/management/inject_nmi", .ownerAdmin, "{}"),
        Call("GET", "/v1/nodes/{node}/bios", .projectReader),
        Call(
            "GET",
            "/v1/nodes/{node}/bios/{setting}",
            .projectReader,
            missing: "cannot find BIOS setting"
        ),
        Call("GET", "/v1/nodes/{node}/firmware", .projectReader),
        Call("GET", "/v1/nodes/{node}/vmedia", .projectReader),
        Call(
            "POST",
            "/v1/nodes/{node}/vmedia",
            .projectMember,
            #"{"device_type":"cdrom","image_url":"https://192.0.2.1/x.iso"}"#
        ),
        Call("DELETE", "/v1/nodes/{node}/vmedia", .projectMember),
    ]

    private static let lamps: [Call] = ["", "/{component}", "/{component}/{lamp}"].flatMap { end in
        let path = "/v1/nodes/{node}/management/indicators" + end
        let look = Call("GET", path, .projectReader)
        return end.isEmpty ? [look] : [look, Call("PUT", path, .ownerMember, #"{"state":"ON"}"#)]
    }

    private static let vendor: [Call] =
        ["nodes/{node}", "drivers/{driver}"].flatMap { place in
            [Call("GET", "/v1/\(place)/vendor_passthru/methods", .systemAdmin)]
                + ["GET", "POST", "PUT", "PATCH", "DELETE"].flatMap { method in
                    [
                        Call(method, "/v1/\(place)/vendor_passthru", .systemAdmin),
                        Call(method, "/v1/\(place)/vendor_passthru/{verb}", .systemAdmin),
                    ]
                }
        }

    private static let parts: [Call] = [
        Call("GET", "/v1/nodes/{node}/vifs", .projectReader),
        Call("POST", "/v1/nodes/{node}/vifs", .memberLesseeAdmin, #"{"id":"net-b"}"#),
        Call("DELETE", "/v1/nodes/{node}/vifs/{vif}", .memberLesseeAdmin),
        Call("GET", "/v1/nodes/{node}/volume", .projectReader),
        Call("GET", "/v1/volume", .apiReader),
        Call("GET", "/v1/shards", .systemReader),
    ]

    private static let resources: [Call] =
        ["ports", "portgroups"].flatMap { kind in
            [
                Call("GET", "/v1/\(kind)", .apiReader),
                Call("GET", "/v1/\(kind)/detail", .apiReader),
                Call("GET", "/v1/nodes/{node}/\(kind)", .projectReader),
                Call("GET", "/v1/nodes/{node}/\(kind)/detail", .projectReader),
                Call("GET", "/v1/\(kind)/{\(kind)}", .projectReader),
                Call(
                    "POST",
                    "/v1/\(kind)",
                    .adminOwnerAdmin,
                    #"{"node_uuid":"{node}","address":"52:54:00:99:00:01"}"#
                ),
                Call("PATCH", "/v1/\(kind)/{\(kind)}", .ownerAdmin, patch),
                Call("DELETE", "/v1/\(kind)/{\(kind)}", .adminOwnerAdmin),
            ]
        }
        + [
            Call("GET", "/v1/portgroups/{portgroups}/ports", .projectReader),
            Call("GET", "/v1/portgroups/{portgroups}/ports/detail", .projectReader),
        ]
        + ["connectors", "targets"].flatMap { kind in
            [
                Call("GET", "/v1/volume/\(kind)", .apiReader),
                Call("GET", "/v1/nodes/{node}/volume/\(kind)", .projectReader),
                Call("GET", "/v1/volume/\(kind)/{\(kind)}", .projectReader),
                Call(
                    "POST",
                    "/v1/volume/\(kind)",
                    .lesseeAdmin,
                    kind == "targets"
                        ? #"{"node_uuid":"{node}","volume_type":"t","volume_id":"n","boot_index":9}"#
                        : #"{"node_uuid":"{node}","type":"iqn","connector_id":"new"}"#
                ),
                Call("PATCH", "/v1/volume/\(kind)/{\(kind)}", .memberLesseeAdmin, patch),
                Call("DELETE", "/v1/volume/\(kind)/{\(kind)}", .lesseeAdmin),
            ]
        }

    /// What belongs to a project by itself.
    private static let owned: [Call] =
        [
            Call("GET", "/v1/allocations", .apiReader),
            Call("POST", "/v1/allocations", .apiMember, #"{"resource_class":"gold"}"#),
            Call("GET", "/v1/nodes/{node}/allocation", .ownerReader),
            Call("DELETE", "/v1/nodes/{node}/allocation", .ownerMember),
            Call("GET", "/v1/runbooks", .apiReader),
            Call(
                "POST",
                "/v1/runbooks",
                .runbookCreator,
                #"{"name":"new","steps":[{"interface":"deploy","step":"hold","order":1}]}"#
            ),
        ]
        + [("allocations", Need.ownerMember), ("runbooks", .ownerAdmin)].flatMap { kind, change in
            [
                Call("GET", "/v1/\(kind)/{\(kind)}", .ownerReader),
                Call("PATCH", "/v1/\(kind)/{\(kind)}", change, patch),
                Call("DELETE", "/v1/\(kind)/{\(kind)}", change),
            ]
        }
        + [
            Call("GET", "/v1/runbooks/{runbooks}/traits", .ownerReader),
            Call("PUT", "/v1/runbooks/{runbooks}/traits", .ownerAdmin, #"{"traits":["CUSTOM_A"]}"#),
            Call("PUT", "/v1/runbooks/{runbooks}/traits/{trait}", .ownerAdmin),
            Call("DELETE", "/v1/runbooks/{runbooks}/traits", .ownerAdmin),
            Call("DELETE", "/v1/runbooks/{runbooks}/traits/{trait}", .ownerAdmin),
            Call("GET", "/v1/bulk", .apiReader),
            Call(
                "POST",
                "/v1/bulk",
                .apiMember,
                #"{"action":"maintenance","request":{"maintenance":true},"filter":{}}"#
            ),
            Call("GET", "/v1/bulk/{job}", .ownerReader),
            Call("DELETE", "/v1/bulk/{job}", .ownerMember),
        ]

    private static let installation: [Call] =
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
                Call("GET", "/v1/\(kind)", .systemReader),
                Call("POST", "/v1/\(kind)", .systemAdmin, body),
                Call("GET", "/v1/\(kind)/{\(kind)}", .systemReader),
                Call("PATCH", "/v1/\(kind)/{\(kind)}", change, patch),
                Call("DELETE", "/v1/\(kind)/{\(kind)}", .systemAdmin),
            ] + (hasDetail ? [Call("GET", "/v1/\(kind)/detail", .systemReader)] : [])
        }
        + [
            Call("GET", "/v1/drivers", .systemReader),
            Call("GET", "/v1/drivers/{driver}", .systemReader),
            Call("GET", "/v1/drivers/{driver}/properties", .systemReader),
            Call("GET", "/v1/drivers/{driver}/raid/logical_disk_properties", .systemReader),
            // Ironic shows a project its own nodes here; ours keeps the racks to the installation.
            Call("GET", "/v1/chassis/{chassis}/nodes", .systemReader),
            Call("GET", "/v1/chassis/{chassis}/nodes/detail", .systemReader),
            Call("GET", "/v1/conductors", .systemReader),
            Call("GET", "/v1/conductors/{host}", .systemReader),
        ]
}
