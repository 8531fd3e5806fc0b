import HTTP
import HTTPTypes
import Power

// What the routes of a node's devices, of drivers and of conductors take and answer, for the API's document.

extension Operation {
    static let injectNMI = Operation(
        "Inject a non-maskable interrupt",
        takes: .optional(.document),
        answers: .nothing
    )
    static let setRAID = Operation(
        "Set the target RAID configuration",
        takes: .json(.document),
        answers: .nothing
    )
    static let setBootMode = Operation(
        "Set the boot mode",
        takes: .json(
            .object(["target": .words(["uefi", "bios"])], required: ["target"], open: true)
        ),
        answers: .accepted
    )
    static let setSecureBoot = Operation(
        "Turn secure boot on or off",
        takes: .json(.object(["target": .any], required: ["target"], open: true)),
        answers: .accepted
    )
    static let showConsole = Operation(
        "Show a node's console",
        answers: .ok(
            .object(
                ["console_enabled": .truth, "console_info": .any],
                required: ["console_enabled"]
            )
        )
    )
    static let setConsole = Operation(
        "Turn a node's console on or off",
        takes: .json(.object(["enabled": .any], required: ["enabled"], open: true)),
        answers: .accepted
    )
    static let showIndicators = Operation(
        "Show indicators",
        answers: .ok(.document),
        refusals: [.gatewayTimeout]
    )
    static let setIndicator = Operation(
        "Set an indicator",
        takes: .json(.document),
        answers: .nothing
    )
    static let showSensors = Operation(
        "Show what a node's sensors read",
        answers: .ok(
            .object(
                [
                    "sensors": .list(
                        of: .object(
                            [
                                "kind": .words(SensorReading.Kind.allCases.map(\.rawValue)),
                                "name": .text, "value": .number.orNull, "unit": .text,
                                "state": .textOrNull, "health": .textOrNull,
                            ],
                            required: ["kind", "name", "unit", "value"]
                        )
                    )
                ],
                required: ["sensors"]
            )
        ),
        refusals: [.gatewayTimeout]
    )
    static let showEventLog = Operation(
        "Show a BMC's event log",
        [
            .init(
                "limit",
                .integer(1...500),
                "How many of the newest entries, 1 to 500; 100 without it."
            )
        ],
        answers: .ok(
            .object(
                [
                    "event_log": .list(
                        of: .object(
                            [
                                "id": .integer, "time": .textOrNull, "source": .text,
                                "sensor": .textOrNull, "text": .textOrNull,
                                "asserted": .truth.orNull, "data": .text,
                            ],
                            required: ["id", "source", "data"]
                        )
                    )
                ],
                required: ["event_log"]
            )
        ),
        refusals: [.gatewayTimeout]
    )
    static let showBMC = Operation(
        "Show where a BMC thinks it is",
        answers: .ok(
            .object(
                [
                    "guid": .textOrNull, "registered_address": .text, "address": .textOrNull,
                    "address_source": .textOrNull, "netmask": .textOrNull, "gateway": .textOrNull,
                    "mac": .textOrNull, "vlan": .integer.orNull,
                    "is_registered_address": .truth.orNull,
                ],
                required: ["registered_address"]
            )
        ),
        refusals: [.gatewayTimeout]
    )
    static let listSettings = Operation(
        "List BIOS settings",
        [.fields, .init("detail")],
        answers: .ok(.object(["bios": .list(of: .document)], required: ["bios"]))
    )
    static let showSetting = Operation("Show a BIOS setting", answers: .ok(.document))
    static let listFirmware = Operation(
        "List firmware components",
        answers: .ok(.object(["firmware": .list(of: .document)], required: ["firmware"]))
    )
    static let showMedia = Operation(
        "Show virtual media",
        answers: .ok(.any),
        refusals: [.gatewayTimeout]
    )
    static let attachMedia = Operation(
        "Attach virtual media",
        takes: .json(
            .object(
                [
                    "device_type": .words(["cdrom", "dvd", "disk", "floppy"]),
                    "image_url": .text, "image_download_source": .text,
                ],
                required: ["device_type", "image_url"],
                open: true
            )
        ),
        answers: .nothing
    )
    static let detachMedia = Operation(
        "Detach virtual media",
        [.init("device_types", .text, "Parted by commas; all without it.")],
        answers: .nothing,
        refusals: [.gatewayTimeout]
    )
    static let listVendorMethods = Operation("List vendor methods", answers: .ok(.document))

    /// No driver of ours has vendor methods, so that only refusals are answered.
    static func callVendorMethod(_ method: HTTPRequest.Method) -> Operation {
        Operation(
            "Call a vendor method",
            [.init("method", .text, "Where the path does not name it.")],
            takes: method == .get || method == .delete ? nil : .optional(.any),
            answers: .ok(.any)
        )
    }

    // MARK: - Drivers and conductors

    static let listDrivers = Operation(
        "List drivers",
        [.init("type", .words(["classic", "dynamic"])), .init("detail"), .fields],
        answers: .ok(.object(["drivers": .list(of: .driver)], required: ["drivers"]))
    )
    static let showDriver = Operation("Show a driver", [.fields], answers: .ok(.driver))
    static let showDriverProperties = Operation(
        "Show what a driver needs to know of a node",
        answers: .ok(.map(of: .text))
    )
    static let showRAIDProperties = Operation(
        "Show the properties of logical disks",
        answers: .ok(.map(of: .text))
    )
    static let listConductors = Operation(
        "List conductors",
        .listing,
        answers: .ok(.page("conductors", of: .conductor))
    )
    static let showConductor = Operation("Show a conductor", [.fields], answers: .ok(.conductor))
}

extension Schema {
    fileprivate static let driver = Schema.object(
        [
            "name": .text, "hosts": .list(of: .text), "links": .links, "properties": .links,
            "type": .text,
        ],
        required: ["links"],
        open: true
    ).named("Driver")
    fileprivate static let conductor = Schema.object(
        [
            "hostname": .text, "conductor_group": .text, "alive": .truth,
            "drivers": .list(of: .text), "created_at": .timeOrNull, "updated_at": .timeOrNull,
            "links": .links,
        ],
        required: ["links"]
    ).named("Conductor")
}
