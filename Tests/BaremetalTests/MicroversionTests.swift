import HTTP
import HTTPTypes
import Protocol
import Testing

@testable import Baremetal

/// The fields that each version brought, as the reference's own table has them.
private let nodeFields: [Int: Set<String>] = [
    3: ["driver_internal_info"], 5: ["name"],
    6: ["inspection_finished_at", "inspection_started_at"], 7: ["clean_step"],
    12: ["raid_config", "target_raid_config"], 14: ["states"], 20: ["network_interface"],
    21: ["resource_class"], 24: ["portgroups"],
    31: [
        "boot_interface", "console_interface", "deploy_interface", "inspect_interface",
        "management_interface", "power_interface", "raid_interface", "vendor_interface",
    ],
    32: ["volume"], 33: ["storage_interface"], 37: ["traits"], 38: ["rescue_interface"],
    40: ["bios_interface"], 42: ["fault"], 44: ["deploy_step"], 46: ["conductor_group"],
    47: ["automated_clean"], 48: ["protected", "protected_reason"], 49: ["conductor"],
    50: ["owner"], 51: ["description"], 52: ["allocation_uuid"],
    61: ["retired", "retired_reason"], 65: ["lessee"], 66: ["network_data"],
    75: ["boot_mode", "secure_boot"], 82: ["shard"], 83: ["parent_node"],
    86: ["firmware_interface"], 87: ["service_step"], 95: ["disable_power_off"],
    104: ["instance_name"], 109: ["health"],
]
private let portFields: [Int: Set<String>] = [
    18: ["internal_info"], 19: ["pxe_enabled", "local_link_connection"], 24: ["portgroup_uuid"],
    34: ["physical_network"], 53: ["is_smartnic"], 88: ["name"], 97: ["description"],
    100: ["vendor"], 101: ["category"], 111: ["available_for_dynamic_portgroup"],
]
private let portGroupFields: [Int: Set<String>] = [
    26: ["mode", "properties"], 102: ["physical_network"], 103: ["category"],
    111: ["dynamic_portgroup"],
]

@Suite struct MicroversionTests {
    @Test func `each field appears exactly in the versions that have it`() async throws {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            let node = try await client.call(.post, "/v1/nodes", registration, version: "1.115")
            let uuid = try #require(node.body["uuid"]?.text)
            let group: JSONValue = ["node_uuid": .string(uuid), "name": "bond0"]
            _ = try await client.call(.post, "/v1/portgroups", group, version: "1.115")
            let port: JSONValue = ["node_uuid": .string(uuid), "address": "52:54:00:c0:00:01"]
            let made = try await client.call(.post, "/v1/ports", port, version: "1.115")
            let portID = try #require(made.body["uuid"]?.text)
            for (path, table, first) in [
                ("/v1/nodes/\(uuid)", nodeFields, 1), ("/v1/ports/\(portID)", portFields, 1),
                ("/v1/portgroups/bond0", portGroupFields, 23),
            ] {
                var before: Set<String>?
                for minor in first...Microversion.maximum.minor {
                    let answer = try await client.call(.get, path, version: "1.\(minor)")
                    #expect(answer.status == 200, "\(path) at 1.\(minor)")
                    let names = Set(answer.body.members?.keys.map { $0 } ?? [])
                    if let before {
                        #expect(
                            names.subtracting(before) == table[minor] ?? [],
                            "\(path) at 1.\(minor)"
                        )
                        #expect(before.subtracting(names).isEmpty, "\(path) at 1.\(minor)")
                    }
                    before = names
                }
            }
        }
    }

    @Test func `versions are negotiated by either header, and others are refused with the range`()
        async throws
    {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            for (asked, status, spoken) in [
                (nil, 200, "1.1"), ("1.1", 200, "1.1"), ("1.115", 200, "1.115"),
                ("latest", 200, "1.115"), ("1.116", 406, nil), ("2.1", 406, nil),
                ("1.0", 406, nil), ("new", 400, nil),
            ] as [(String?, Int, String?)] {
                let answer = try await client.call(.get, "/v1/nodes", version: asked)
                #expect(answer.status == status, "\(asked ?? "none")")
                #expect(answer.headers[.ironicVersionMinimum] == "1.1")
                #expect(answer.headers[.ironicVersionMaximum] == "1.115")
                if let spoken { #expect(answer.headers[.ironicVersion] == spoken) }
                if status == 406 { #expect(answer.fault.contains("1.1 to 1.115")) }
            }
        }
    }

    @Test(arguments: [
        ("/v1/portgroups", 23), ("/v1/volume/connectors", 32), ("/v1/volume/targets", 32),
        ("/v1/conductors", 49), ("/v1/allocations", 52), ("/v1/deploy_templates", 55),
        ("/v1/shards", 82), ("/v1/runbooks", 92), ("/v1/inspection_rules", 96),
        ("/v1/nodes/c0/vifs", 28), ("/v1/nodes/c0/traits", 37), ("/v1/nodes/c0/bios", 40),
        ("/v1/nodes/c0/history", 78), ("/v1/nodes/c0/children", 83),
        ("/v1/nodes/c0/firmware", 86), ("/v1/nodes/c0/volume", 32),
    ])
    func `a route exists from the version that brought it`(path: String, minor: Int) async throws {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            _ = try await client.call(.post, "/v1/nodes", registration)
            let early = try await client.call(.get, path, version: "1.\(minor - 1)")
            #expect(early.status == 404)
            #expect(try await client.call(.get, path, version: "1.\(minor)").status == 200)
        }
    }

    @Test func `a filter, a field and a verb of a newer version are not acceptable`() async throws {
        let bench = try Bench()
        try await bench.withClient { client async throws in
            _ = try await client.call(.post, "/v1/nodes", registration)
            for (name, minor) in NodeQuery.filters where minor > 1 {
                let path = "/v1/nodes?\(name)=true"
                #expect(
                    try await client.call(.get, path, version: "1.\(minor - 1)").status == 406,
                    "\(name)"
                )
            }
            for (target, minor) in [
                ("manage", 4), ("inspect", 6), ("abort", 13), ("clean", 15), ("adopt", 17),
                ("rescue", 38), ("unhold", 85), ("service", 87),
            ] {
                let path = "/v1/nodes/c0/states/provision"
                let body: JSONValue = ["target": .string(target)]
                let answer = try await client.call(.put, path, body, version: "1.\(minor - 1)")
                #expect(answer.status == 406, "\(target)")
            }
            let fields = try await client.call(.get, "/v1/nodes?fields=shard", version: "1.81")
            #expect(fields.status == 406)
        }
    }

    @Test func `old versions get their words for states that came later`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.withClient { client async throws in
            let old = try await client.call(.get, "/v1/nodes/\(id)", version: "1.1")
            #expect(old.body["provision_state"] == .null)
            let new = try await client.call(.get, "/v1/nodes/\(id)", version: "1.2")
            #expect(new.body["provision_state"] == "available")
        }
    }
}
