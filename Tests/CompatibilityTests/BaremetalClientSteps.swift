/// Identifiers that the commands choose themselves.
private let n1 = "aaaaaaaa-0000-4000-8000-000000000001"
private let chassis = "aaaaaaaa-0000-4000-8000-000000000002"
private let port = "aaaaaaaa-0000-4000-8000-000000000003"
private let group = "aaaaaaaa-0000-4000-8000-000000000004"
private let connector = "aaaaaaaa-0000-4000-8000-000000000005"
private let target = "aaaaaaaa-0000-4000-8000-000000000006"
private let rule = "aaaaaaaa-0000-4000-8000-000000000007"
private let part = "aaaaaaaa-0000-4000-8000-000000000009"
private let allocation = "aaaaaaaa-0000-4000-8000-000000000008"

private let erase = #"[{"interface":"deploy","step":"erase_devices_metadata"}]"#
private let hold = #"[{"interface":"deploy","step":"hold"}]"#

private let mirror =
    #"{"logical_disks":[{"size_gb":100,"raid_level":"1","controller":"software"}]}"#
private let shownMirror =
    #"{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": 100}]}"#

extension ClientStep {
    /// Every command, in an order in which each finds what it needs; `~` stands for a space in a value.
    static func all(folder: String, host: String) -> [ClientStep] {
        fields + parts + devices + verbs + lists + ports + volumes + plans + allocations
            + drivers(host: host) + [
                .works("create \(folder)/machines.json"),
                .works("node show filed", ["name": "filed", "driver": "fake-hardware"]),
                .works("port list --node filed", ["address": "52:54:00:c0:00:f1"]),
                .works("node delete \(n1) filed"),
                .works("node list", without: ["name": "filed"]),
            ]
    }

    private static let fields: [ClientStep] = [
        .works("chassis create --uuid \(chassis) --description rack~1", ["description": "rack 1"]),
        .works(
            "node create --driver fake-hardware --name n1 --uuid \(n1) --property cpus=4 --chassis-uuid \(chassis)",
            ["name": "n1", "provision_state": "enroll", "chassis_uuid": chassis]
        ),
        .works("node list", ["name": "n1", "provision_state": "enroll"]),
        .works("node list --chassis \(chassis) --long", ["name": "n1"]),
        .works("node set n1 --extra a=b --description old~rack --shard s1 --owner p1"),
        .works(
            "node show n1",
            ["extra": #"{"a": "b"}"#, "description": "old rack", "shard": "s1", "owner": "p1"]
        ),
        .works("node list --description-contains old --sharded", ["name": "n1"]),
        .works("node list --unsharded", without: ["name": "n1"]),
        .works("shard list", ["name": "s1", "count": "1"]),
        .works("node unset n1 --extra a --shard --owner --description"),
        .works("node show n1", ["extra": "{}", "shard": "", "owner": "", "description": ""]),
        .refused(
            #"node set n1 --target-raid-config {"logical_disks":[{"size_gb":1}]}"#,
            "raid_level is required"
        ),
        .works("node set n1 --target-raid-config \(mirror)"),
        .works("node show n1", ["target_raid_config": shownMirror]),
        .works("node set n1 --raid-interface no-raid"),
        .refused("node set n1 --target-raid-config {}", "does not support raid"),
        .works("node unset n1 --raid-interface"),
        .works("node maintenance set n1 --reason fans"),
        .works("node show n1", ["maintenance": "true", "maintenance_reason": "fans"]),
        .works("node list --maintenance", ["name": "n1"]),
        .works("node maintenance unset n1"),
        .works("node show n1", ["maintenance": "false"]),
        .works("node validate n1", ["Interface": "power", "Result": "true"]),
        .works("chassis set \(chassis) --description rack~2 --extra k=v"),
        .works("chassis show \(chassis)", ["description": "rack 2", "extra": #"{"k": "v"}"#]),
        .works("chassis unset \(chassis) --description --extra k"),
        .works("chassis list --long", ["description": "", "uuid": chassis]),
        .refused("chassis delete \(chassis)", "nodes stand in it"),
        .works("node unset n1 --chassis-uuid"),
        .works("chassis delete \(chassis)"),
        .works("chassis list", without: ["uuid": chassis]),
    ]

    private static let parts: [ClientStep] = [
        .works("node trait add n1 CUSTOM_A"), .works("node add trait n1 CUSTOM_B"),
        .works("node trait list n1", ["traits": "CUSTOM_B"]),
        .works("node trait remove n1 CUSTOM_A"), .works("node remove trait n1 CUSTOM_B"),
        .showsNothing("node trait list n1"),
        .works(
            "node create --driver fake-hardware --name part --uuid \(part) --parent-node n1",
            ["parent_node": n1]
        ),
        .works("node list", without: ["name": "part"]),
        .works("node list --include-children", ["name": "part"]),
        .works("node children list n1", ["children": "[\"\(part)\"]"]),
        .works("node delete part"),
        .works("node list --include-children", without: ["name": "part"]),
        .works(
            "node history list n1 --long",
            ["severity": "INFO", "event": "registered"]
        ),
        .works(
            "node history get n1 \(n1.prefix(24))000000000001",
            ["event": "registered", "state": "enroll"]
        ),
        .refused("node inventory save n1", "was not inspected"),
    ]

    private static let devices: [ClientStep] = [
        .works("node power on n1 --power-timeout 60"),
        .reaches("node show n1", ["power_state": "power on"]),
        .works("node power off n1 --power-timeout 60"),
        .reaches("node show n1", ["power_state": "power off"]),
        .works("node reboot n1 --power-timeout 60"),
        .reaches("node show n1", ["power_state": "power on"]),
        .works("node boot device set n1 pxe"),
        .works("node boot device show n1", ["boot_device": "pxe", "persistent": "false"]),
        .refused("node boot mode set n1 uefi", "does not support set_boot_mode"),
        .refused("node secure boot on n1", "does not support set_secure_boot"),
        .refused("node secure boot off n1", "does not support set_secure_boot"),
        .works("node inject nmi n1"),
        .refused("node console enable n1", "does not support console"),
        .refused("node console disable n1", "does not support console"),
        .refused("node console show n1", "does not support console"),
        .showsNothing("node bios setting list n1"),
        .refused("node bios setting show n1 order", "cannot find BIOS setting order"),
        .showsNothing("node firmware list n1"), .showsNothing("node passthru list n1"),
        .refused("node passthru call n1 dance", "no handler for it"),
    ]

    private static let verbs: [ClientStep] = [
        .works("node manage n1 --wait 60"),
        .works("node show n1", ["provision_state": "manageable"]),
        .works("node show n1", ["inspection_finished_at": ""]),
        .works("node inspect n1 --wait 60"),
        .works("node show n1", ["provision_state": "manageable", "last_error": ""]),
        .works("node show n1", without: ["inspection_finished_at": ""]),
        .works("node clean n1 --clean-steps \(erase) --wait 60"),
        .works("node show n1", ["provision_state": "manageable", "last_error": ""]),
        .works(
            #"node clean n1 --clean-steps [{"interface":"raid","step":"delete_configuration"},{"interface":"raid","step":"create_configuration"}] --wait 60"#
        ),
        .works("node unset n1 --target-raid-config"),
        .refused(
            #"node clean n1 --clean-steps [{"interface":"raid","step":"create_configuration"}]"#,
            "no target RAID configuration"
        ),
        .refused(
            #"node clean n1 --clean-steps [{"interface":"raid","step":"dance"}]"#,
            "node does not support this clean step"
        ),
        .works("node clean n1 --clean-steps \(hold) --disable-ramdisk"),
        .works("node show n1", ["provision_state": "clean hold"]),
        .works("node unhold n1"),
        .works("node show n1", ["provision_state": "manageable"]),
        .works("node clean n1 --clean-steps \(hold) --disable-ramdisk"),
        .works("node abort n1"),
        .works("node show n1", ["provision_state": "clean failed"]),
        .works("node manage n1 --wait 60"),
        .works("node adopt n1 --wait 60"),
        .works("node show n1", ["provision_state": "active"]),
        .works("node service n1 --service-steps \(hold)"),
        .works("node show n1", ["provision_state": "service hold"]),
        .works("node unhold n1"),
        .works("node show n1", ["provision_state": "active"]),
        .works("node rescue n1 --rescue-password p --wait 60"),
        .works("node show n1", ["provision_state": "rescue"]),
        .works("node unrescue n1 --wait 60"),
        .works("node show n1", ["provision_state": "active", "last_error": ""]),
        .works("node rebuild n1 --wait 60"),
        .works("node show n1", ["provision_state": "active"]),
        .works("node undeploy n1 --wait 60"),
        .works("node show n1", ["provision_state": "available", "instance_uuid": ""]),
        .works("node manage n1 --wait 60"),
        .works("node provide n1 --wait 60"),
        .works("node show n1", ["provision_state": "available", "last_error": ""]),
        .works(
            #"node deploy n1 --deploy-steps [{"interface":"deploy","step":"hold","args":{},"priority":90}]"#
        ),
        .works("node show n1", ["provision_state": "deploy hold"]),
        .works("node unhold n1"),
        .works("node show n1", ["provision_state": "active"]),
        .works("node undeploy n1 --wait 60"),
        .works("node show n1", ["provision_state": "available", "last_error": ""]),
        .refused("node rescue n1 --rescue-password p", "can not be performed"),
    ]

    private static let lists: [ClientStep] = [
        .works("node list --provision-state available --driver fake-hardware", ["name": "n1"]),
        .works("node list --provision-state active", without: ["name": "n1"]),
        .works("node list --sort name:desc --limit 1 --fields uuid name", ["name": "n1"]),
        .refused("node show nobody", "cannot find node nobody"),
    ]

    private static let ports: [ClientStep] = [
        .works(
            "port group create --node \(n1) --name bond0 --uuid \(group) --mode 802.3ad",
            ["mode": "802.3ad", "node_uuid": n1]
        ),
        .works(
            "port create 52:54:00:c0:00:01 --node \(n1) --uuid \(port) --port-group \(group) --name p0",
            ["address": "52:54:00:c0:00:01", "portgroup_uuid": group]
        ),
        .refused("port create 52:54:00:c0:00:01 --node \(n1)", "choose another or delete it first"),
        .works("port set \(port) --physical-network net1 --extra a=b --pxe-disabled"),
        .works(
            "port show \(port)",
            ["physical_network": "net1", "extra": #"{"a": "b"}"#, "pxe_enabled": "false"]
        ),
        .works("port unset \(port) --physical-network --extra a"),
        .works("port show --address 52:54:00:c0:00:01", ["physical_network": "", "extra": "{}"]),
        .works("port list --port-group \(group)", ["uuid": port]),
        .works("port list --node n1 --fields uuid name", ["name": "p0"]),
        .works("port group set \(group) --name bond1 --property miimon=100"),
        .works("port group show bond1", ["name": "bond1", "properties": #"{"miimon": 100}"#]),
        .works("port group unset \(group) --property miimon"),
        .works("port group list --node n1 --long", ["name": "bond1", "properties": "{}"]),
        .works("node vif attach n1 net-a"), .works("node vif list n1", ["id": "net-a"]),
        .refused("node vif attach n1 net-a", "attached already"),
        .works("node vif detach n1 net-a"), .works("node vif list n1", without: ["id": "net-a"]),
        .refused("port group delete \(group)", "it contains 1 ports"),
        .works("port delete \(port)"), .works("port list", without: ["uuid": port]),
        .works("port group delete \(group)"),
        .works("port group list", without: ["uuid": group]),
    ]

    private static let volumes: [ClientStep] = [
        .works(
            "volume connector create --node \(n1) --type iqn --connector-id iqn.a --uuid \(connector)",
            ["connector_id": "iqn.a"]
        ),
        .works(
            "volume target create --node \(n1) --type iscsi --boot-index 0 --volume-id v1 --uuid \(target) --property auth_password=geheim",
            ["volume_id": "v1", "properties": #"{"auth_password": "******"}"#]
        ),
        .works("node power off n1 --power-timeout 60"),
        .reaches("node show n1", ["power_state": "power off"]),
        .works("volume connector set \(connector) --connector-id iqn.b --extra a=b"),
        .works("volume connector show \(connector)", ["connector_id": "iqn.b"]),
        .works("volume connector unset \(connector) --extra a"),
        .works("volume connector list --node n1 --long", ["connector_id": "iqn.b", "extra": "{}"]),
        .works("volume connector delete \(connector)"),
        .works("volume connector list", without: ["uuid": connector]),
        .works("volume target set \(target) --volume-id v2 --extra a=b"),
        .works("volume target show \(target)", ["volume_id": "v2"]),
        .works("volume target unset \(target) --extra a"),
        .works("volume target list --node n1 --long", ["volume_id": "v2", "extra": "{}"]),
        .works("volume target delete \(target)"),
        .works("volume target list", without: ["uuid": target]),
    ]

    private static let plans: [ClientStep] = [
        .works(
            #"deploy template create CUSTOM_T --steps [{"interface":"raid","step":"x","args":{},"priority":10}]"#,
            ["name": "CUSTOM_T"]
        ),
        .works("deploy template set CUSTOM_T --name CUSTOM_U --extra a=b"),
        .works("deploy template show CUSTOM_U", ["extra": #"{"a": "b"}"#]),
        .works("deploy template unset CUSTOM_U --extra a"),
        .works("deploy template list --long", ["name": "CUSTOM_U", "extra": "{}"]),
        .works("deploy template delete CUSTOM_U"),
        .works("deploy template list", without: ["name": "CUSTOM_U"]),
        .works(
            #"runbook create --name wipe --steps [{"interface":"deploy","step":"hold","order":1}]"#,
            ["name": "wipe", "public": "false"]
        ),
        .works("runbook set wipe --public true --extra a=b"),
        .works("runbook show wipe", ["public": "true", "extra": #"{"a": "b"}"#]),
        .works("runbook trait add wipe CUSTOM_W"),
        .works("runbook trait list wipe", ["traits": "CUSTOM_W"]),
        .works("runbook trait remove wipe CUSTOM_W"),
        .works("runbook trait list wipe", without: ["traits": "CUSTOM_W"]),
        .works("runbook unset wipe --extra a --public"),
        .works("runbook list --long", ["name": "wipe", "public": "false", "extra": "{}"]),
        .works("runbook delete wipe"), .works("runbook list", without: ["name": "wipe"]),
        .works(
            #"inspection rule create --uuid \#(rule) --description d --priority 7 --actions [{"op":"log","args":{"msg":"m"}}]"#,
            ["priority": "7"]
        ),
        .works("inspection rule set \(rule) --priority 9"),
        .works("inspection rule show \(rule)", ["priority": "9", "description": "d"]),
        .works("inspection rule unset \(rule) --description"),
        .works("inspection rule list", ["uuid": rule, "description": ""]),
        .works("inspection rule delete \(rule)"),
        .works("inspection rule list", without: ["uuid": rule]),
    ]

    private static let allocations: [ClientStep] = [
        .works("node set n1 --resource-class gold"),
        .works(
            "allocation create --resource-class gold --uuid \(allocation) --name job --wait 30",
            ["state": "active", "node_uuid": n1]
        ),
        .works("node show n1", ["allocation_uuid": allocation, "instance_uuid": allocation]),
        .works("allocation set job --extra a=b"),
        .works("allocation show job", ["extra": #"{"a": "b"}"#]),
        .works("allocation unset job --extra a"),
        .works("allocation list --long", ["name": "job", "extra": "{}"]),
        .refused(
            "allocation create --resource-class gold --wait 30",
            "no available node has the resource class gold"
        ),
        .works("allocation delete job"), .works("allocation list", without: ["name": "job"]),
        .works("node show n1", ["allocation_uuid": "", "instance_uuid": ""]),
    ]

    private static func drivers(host: String) -> [ClientStep] {
        [
            .works("driver list", ["name": "ipmi"]),
            .works("driver list --type classic", without: ["name": "ipmi"]),
            .works("driver show ipmi", ["name": "ipmi", "default_power_interface": "ipmitool"]),
            .works("driver property list ipmi", ["property": "ipmi_address"]),
            .works("driver raid property list ipmi", ["property": "raid_level"]),
            .showsNothing("driver passthru list ipmi"),
            .refused("driver passthru call ipmi dance", "no handler for it"),
            .works("conductor list", ["hostname": host, "alive": "true"]),
            .works("conductor show \(host)", ["hostname": host]),
        ]
    }
}
