import HTTP
import HTTPTypes
import Protocol
import Testing

@testable import Baremetal

private let inventory: JSONValue = [
    "cpu": ["count": 4, "architecture": "x86_64"], "bmc_address": "192.0.2.7",
    "disks": [["name": "/dev/sda", "size": 100]], "system_vendor": ["product_name": "R640 (x)"],
]

@Suite struct InspectionRuleTests {
    private func run(_ rules: [[String: JSONValue]]) throws -> (Node, JSONValue) {
        let id = NodeID(random: [UInt8](repeating: 3, count: 16))
        var node = Node(id: id, driver: "ipmi", at: Timestamp(seconds: 1))
        node.name = "c0"
        node.properties = ["capabilities": "boot_mode:uefi"]
        var run = InspectionRun(
            node: node,
            inventory: inventory,
            pluginData: ["macs": ["52:54:00:c0:00:01"]]
        )
        for values in rules {
            var rule = ResourceKind.inspectionRule.make(
                id: ResourceID(random: [UInt8](repeating: 4, count: 16)),
                at: Timestamp(seconds: 1)
            )
            rule.values.merge(values) { $1 }
            try InspectionRules.check(rule)
            try run.apply(rule)
        }
        try run.change(&node, at: Timestamp(seconds: 2))
        return (node, run.pluginData)
    }

    @Test(
        arguments: [
            (["op": "eq", "args": ["values": ["{inventory[cpu][count]}", 4]]], true),
            (["op": "!eq", "args": ["values": ["{inventory[cpu][count]}", 4]]], false),
            (["op": "gt", "args": ["values": ["{inventory[cpu][count]}", 16]]], false),
            (["op": "lt", "args": [["{inventory[cpu][count]}", 16]]], true),
            (["op": "is-empty", "args": ["value": "{inventory[none]}"]], true),
            (["op": "in-net", "args": ["address": "192.0.2.7", "subnet": "192.0.2.0/24"]], true),
            (
                ["op": "in-net", "args": ["address": "2001:db8::1", "subnet": "192.0.2.0/24"]],
                false
            ),
            (
                [
                    "op": "matches",
                    "args": ["value": "{inventory[system_vendor][product_name]}", "regex": "R6.*"],
                ], true
            ),
            (["op": "matches", "args": ["value": "{node.name}", "regex": "c"]], false),
            (["op": "contains", "args": ["value": "{node.name}", "regex": "^c"]], true),
            (["op": "one-of", "args": ["value": "{node[name]}", "values": ["c1", "c0"]]], true),
            (["op": "is-true", "args": ["value": "yes"]], true),
            (["op": "is-false", "args": ["value": false]], true),
            (["op": "is-none", "args": ["value": .null]], true),
            (
                [
                    "op": "eq", "args": ["values": ["{item}", "{node.name}"]],
                    "loop": ["c9", "c0"],
                    "multiple": "any",
                ], true
            ),
            (
                [
                    "op": "eq", "args": ["values": ["{item}", "{node.name}"]],
                    "loop": ["c9", "c0"],
                    "multiple": "all",
                ], false
            ),
        ] as [(JSONValue, Bool)]
    )
    func `a condition holds or does not`(condition: JSONValue, holds: Bool) throws {
        let action: JSONValue = ["op": "add-trait", "args": ["name": "CUSTOM_YES"]]
        let (node, _) = try run([["conditions": [condition], "actions": [action]]])
        #expect(node.traits == (holds ? ["CUSTOM_YES"] : []))
    }

    @Test func `actions change the node and what was found`() throws {
        let actions: JSONValue = [
            ["op": "set-attribute", "args": ["path": "resource_class", "value": "gold"]],
            [
                "op": "set-attribute",
                "args": [
                    "path": "driver_info/ipmi_address", "value": "{inventory[bmc_address]}",
                ],
            ],
            ["op": "extend-attribute", "args": ["path": "extra/tags", "value": "new"]],
            ["op": "set-capability", "args": ["name": "cpu", "value": "{inventory[cpu][count]}"]],
            ["op": "unset-capability", "args": ["name": "boot_mode"]],
            ["op": "set-plugin-data", "args": ["path": "a/b", "value": 3]],
            [
                "op": "set-attribute",
                "args": ["path": "extra/{item[k]}", "value": "{item[v]}"],
                "loop": [["k": "x", "v": "{plugin_data[macs][0]}"]],
            ],
        ]
        let (node, data) = try run([["actions": actions]])
        #expect(node.resourceClass == "gold")
        #expect(node.driverInfo.fields["ipmi_address"] == "192.0.2.7")
        #expect(node.extra == ["tags": ["new"], "x": "52:54:00:c0:00:01"])
        #expect(node.capabilities == ["cpu": "4"])
        #expect(data["a"]?["b"] == 3)
    }

    @Test func `what is edited while the rules are at work stays`() throws {
        var node = Node(
            id: NodeID(random: [UInt8](repeating: 3, count: 16)),
            driver: "ipmi",
            at: Timestamp(seconds: 1)
        )
        node.traits = ["CUSTOM_OLD", "CUSTOM_KEPT"]
        node.extra = ["rack": "r1", "row": 1]
        var run = InspectionRun(node: node, inventory: inventory, pluginData: [:])
        var rule = ResourceKind.inspectionRule.make(
            id: ResourceID(random: [UInt8](repeating: 4, count: 16)),
            at: Timestamp(seconds: 1)
        )
        rule.values["actions"] = [
            ["op": "add-trait", "args": ["name": "CUSTOM_NEW"]],
            ["op": "remove-trait", "args": ["name": "CUSTOM_OLD"]],
            ["op": "set-attribute", "args": ["path": "extra/row", "value": 2]],
            ["op": "set-capability", "args": ["name": "cpu", "value": "4"]],
        ]
        try run.apply(rule)
        node.traits = ["CUSTOM_KEPT", "CUSTOM_OLD", "CUSTOM_OPERATORS"]
        node.extra = ["rack": "r2", "row": 1, "shelf": 7]
        node.properties = ["capabilities": "disk:fast", "vendor": "x"]
        node.description = "edited"
        try run.change(&node, at: Timestamp(seconds: 2))
        #expect(node.traits == ["CUSTOM_KEPT", "CUSTOM_NEW", "CUSTOM_OPERATORS"])
        #expect(node.extra == ["rack": "r2", "row": 2, "shelf": 7])
        #expect(node.capabilities == ["cpu": "4", "disk": "fast"])
        #expect(node.properties["vendor"] == "x" && node.description == "edited")
    }

    @Test func `an edit that no longer fits a rule goes before that rule only`() throws {
        var node = Node(
            id: NodeID(random: [UInt8](repeating: 3, count: 16)),
            driver: "ipmi",
            at: Timestamp(seconds: 1)
        )
        node.extra = ["rack": ["row": 1]]
        var run = InspectionRun(node: node, inventory: inventory, pluginData: [:])
        var rule = ResourceKind.inspectionRule.make(
            id: ResourceID(random: [UInt8](repeating: 4, count: 16)),
            at: Timestamp(seconds: 1)
        )
        rule.values["actions"] = [
            ["op": "set-attribute", "args": ["path": "extra/rack/row", "value": 2]],
            ["op": "set-attribute", "args": ["path": "description", "value": "ruled"]],
        ]
        try run.apply(rule)
        node.extra = ["rack": "r2"]
        let complaints = run.changeAsFarAsPossible(&node, at: Timestamp(seconds: 2))
        #expect(complaints.count == 1)
        #expect(node.extra == ["rack": "r2"])
        #expect(node.description == "ruled")
    }

    @Test(
        arguments: [
            ["op": "api-call", "args": ["url": "http://x"]],
            ["op": "set-attribute", "args": ["path": "name", "value": "x"]],
            ["op": "set-attribute", "args": ["path": "provision_state", "value": "active"]],
            ["op": "set-port-attribute", "args": ["port_id": "x", "path": "y", "value": "z"]],
        ] as [JSONValue]
    )
    func `what rules may not do is refused when they are made`(action: JSONValue) {
        #expect(throws: (any Error).self) { try run([["actions": [action]]]) }
    }

    @Test func `a path that is filled in later leads nowhere else either`() {
        let action: JSONValue = [
            "op": "set-attribute", "args": ["path": "{item}", "value": "x"], "loop": ["name"],
        ]
        #expect(throws: (any Error).self) { try run([["actions": [action]]]) }
    }

    @Test func `rules work during an inspection, and one may fail it`() async throws {
        let bench = try Bench()
        let id = try await bench.register("c0")
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await bench.withClient { client async throws in
            let rule: JSONValue = [
                "conditions": [["op": "eq", "args": ["values": ["{inventory[cpu][count]}", 2]]]],
                "actions": [["op": "add-trait", "args": ["name": "CUSTOM_SMALL"]]],
            ]
            #expect(try await client.ask(.post, "/v1/inspection_rules", rule).status == 201)
            try await bench.ask(.inspect, id)
            try await bench.settle(id)
            let node = try await client.ask(.get, "/v1/nodes/c0")
            #expect(node.body["traits"] == ["CUSTOM_SMALL"])
            #expect(node.body["provision_state"] == "manageable")
            let fail: JSONValue = ["actions": [["op": "fail", "args": ["msg": "too small"]]]]
            _ = try await client.ask(.post, "/v1/inspection_rules", fail)
            try await bench.ask(.inspect, id)
            try await bench.settle(id)
            let failed = try await client.ask(.get, "/v1/nodes/c0")
            #expect(failed.body["provision_state"] == "inspect failed")
            #expect(failed.body["last_error"]?.text?.contains("too small") == true)
        }
    }
}
