import Basics
import Testing

@testable import Lab

/// What the lab writes for QEMU, `ipmi_sim` and `rdo node import`.
struct LabTextTests {
    let plan = LabPlan(count: 3, firmware: [.bios, .uefi])

    @Test func `machines get fixed names and addresses`() {
        #expect(plan.machines.map(\.name) == ["c0", "c1", "c2"])
        #expect(plan.machines.map(\.firmware) == [.bios, .uefi, .bios])
        #expect(plan.machines[0].mac == "52:54:00:c0:00:01")
        #expect(plan.machines[2].bmcAddress == "192.0.2.203")
        #expect(plan.machines[1].uuid == "52540000-c000-4000-8000-000000000002")
        let many = LabPlan(count: LabPlan.machinesMax, firmware: [.bios]).machines
        #expect(Set(many.map(\.mac)).count == LabPlan.machinesMax)
        #expect(many.last?.mac == "52:54:00:c0:00:32")
        #expect(many.last?.bmcAddress == "192.0.2.250")
        #expect(many.allSatisfy { $0.tap.utf8.count < 16 }, "the kernel's limit")
    }

    @Test func `a plan reads back as it was written`() throws {
        #expect(try LabPlan(text: plan.text) == plan)
        #expect(throws: (any Error).self) { try LabPlan(text: "{") }
    }

    @Test(arguments: [Firmware.bios, .uefi], [BootDevice.disk, .network])
    func `QEMU tries the wanted device first`(firmware: Firmware, first: BootDevice) throws {
        let machine = LabMachine(
            index: 0,
            firmware: firmware,
            memoryMebibytes: 768,
            diskGibibytes: 4
        )
        let vector = QEMUArguments(
            machine: machine,
            places: LabPlaces().machine("c0"),
            accelerator: .tcg
        ).vector(first: first)
        let disk = try #require(vector.first { $0.hasPrefix("virtio-blk-pci") })
        let network = try #require(vector.first { $0.hasPrefix("virtio-net-pci") })
        #expect(disk.contains("bootindex=\(first == .disk ? 1 : 2)"))
        #expect(network.contains("bootindex=\(first == .disk ? 2 : 1)"))
        #expect(network.contains("mac=52:54:00:c0:00:01"))
        #expect(vector.contains("768"))
        #expect(vector.contains { $0.contains("/var/lib/rdo-lab/c0/disk.raw") })
        #expect(vector.contains { $0.contains("logappend=on") })
        #expect(vector.contains(QEMUArguments.firmwareCode) == false, "only inside a drive option")
        #expect(vector.contains { $0.hasPrefix("if=pflash") } == (firmware == .uefi))
        #expect(network.contains("romfile=") == (firmware == .uefi))
        #expect(!vector.contains("-no-reboot"))
    }

    @Test func `KVM is asked for only when it was chosen`() {
        let machine = plan.machines[0]
        let places = LabPlaces().machine("c0")
        let tcg = QEMUArguments(machine: machine, places: places, accelerator: .tcg)
        let kvm = QEMUArguments(machine: machine, places: places, accelerator: .kvm)
        #expect(!tcg.vector(first: .disk).contains("kvm"))
        #expect(kvm.vector(first: .disk).contains("kvm"))
    }

    @Test func `a BMC has the machine's GUID and one user`() throws {
        let configuration = try BMCConfiguration(
            machine: plan.machines[1],
            password: Secret("Abc123"),
            hook: ["/usr/bin/rdo", "lab", "chassis", "--lab", "rdo", "c1"]
        )
        #expect(configuration.guid == "0000545200c000408000000000000002")
        #expect(configuration.lan.contains("addr 192.0.2.202 623\n"))
        #expect(
            configuration.lan.contains(
                "chassis_control \"/usr/bin/rdo lab chassis --lab rdo c1\"\n"
            )
        )
        let users = configuration.lan.split(separator: "\n").filter { $0.contains("user") }
        #expect(
            users.filter { $0.contains(" true ") } == [
                "  user 2 true \"admin\" \"Abc123\" admin 10 md5"
            ]
        )
        #expect(configuration.commands.contains("mc_set_guid 0x20 \(configuration.guid)\n"))
    }

    @Test(arguments: [
        "/tmp/a b/rdo", "/tmp/$(id)/rdo", "rdo;id", "\"", "", "/tmp/rdo\n", "/ä/rdo", "`id`",
    ])
    func `nothing that a shell could read gets into the hook`(word: String) {
        let fault = #expect(throws: Fault.self) {
            _ = try BMCConfiguration(
                machine: plan.machines[0],
                password: Secret("abc"),
                hook: [word, "lab"]
            )
        }
        #expect(fault?.kind == .invalid)
    }

    @Test(arguments: ["", "a\"b", "pass word", String(repeating: "x", count: 17)])
    func `a password that IPMI or the file cannot hold is refused`(password: String) {
        #expect(throws: Fault.self) {
            _ = try BMCConfiguration(
                machine: plan.machines[0],
                password: Secret(password),
                hook: ["/usr/bin/rdo"]
            )
        }
    }

    @Test func `passwords are 16 letters and digits and differ`() {
        let random = SeededRandom(seed: 7)
        let passwords = (0..<50).map { _ in BMCConfiguration.makePassword(random).reveal() }
        #expect(Set(passwords).count == 50)
        #expect(passwords.allSatisfy { $0.utf8.count == 16 && $0.allSatisfy(\.isASCII) })
        #expect(passwords.allSatisfy { $0.allSatisfy { $0.isLetter || $0.isNumber } })
    }

    @Test func `the node list is TripleO's`() throws {
        let text = try NodeList.text(plan, password: Secret("Abc123"))
        #expect(text.contains("\"pm_type\" : \"ipmi\""))
        #expect(text.contains("\"pm_addr\" : \"192.0.2.203\""))
        #expect(text.contains("\"52:54:00:c0:00:02\""))
        #expect(text.contains("\"capabilities\" : \"boot_mode:uefi\""))
        #expect(text.contains("\"pm_password\" : \"Abc123\""))
    }

    @Test func `the status is a table with one line per machine`() {
        let machine = LabStatus.Machine(
            name: "c0",
            power: "on",
            pid: 4711,
            firmware: .bios,
            nextBoot: .disk,
            bmc: "192.0.2.201",
            bmcRuns: false,
            mac: "52:54:00:c0:00:01",
            diskBytesAllocated: 3 << 20,
            diskBytes: 10 << 30,
            residentBytes: nil,
            serialLog: "/x"
        )
        let table = LabStatus(accelerator: .tcg, nodeFile: "/n", machines: [machine]).table
        let lines = table.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[1].contains("192.0.2.201 (down)"))
        #expect(lines[1].contains("3.0 MiB"))
        #expect(lines[1].hasSuffix("-"))
    }
}
