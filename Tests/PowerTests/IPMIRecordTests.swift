import Basics
import Harness
import HostTools
import Synchronization
import Testing

@testable import Lab
@testable import Power

/// What `ipmitool` 1.8.19 really printed against OpenIPMI's `ipmi_sim`, and what hostile BMCs might make it print.
private enum Recorded {
    static let sensors = """
        Board Temp,42,degrees C,ok,7.1,System Board,Temperature,,,,,,,,,,0.000,255.000
        Fan 1,3700,RPM,ok,7.1,System Board,Fan,,,,,,,,,,0.000,25500.000
        P3V3,3.300,Volts,ok,7.1,System Board,Voltage,,,,,,,,,,0.000,15.300
        Power,120,Watts,ok,7.1,System Board,Current,,,,,,,,,,0.000,510.000
        """
    static let events = """
        SEL Record ID          : 0001
         Record Type           : 02
         Timestamp             : S+ 70/001 S+ 70/001
         Generator ID          : 0020
         EvM Revision          : 04
         Sensor Type           : Temperature
         Sensor Number         : 01
         Event Type            : Threshold
         Event Direction       : Assertion Event
         Event Data            : 576050
         Description           : Upper Non-critical going high

        SEL Record ID          : 0002
         Record Type           : c5  (OEM timestamped)
         Timestamp             : S+ 70/001 S+ 70/001
         Manufactacturer ID    : 070605
         OEM Defined           : 08090a0b0c0d [......]

        SEL Record ID          : 0003
         Record Type           : e0  (OEM non-timestamped)
         OEM Defined           : 0102030405060708090a0b0c0d [.............]

        """
    static let network = """
        Set in Progress         : Set Complete
        Auth Type Support       : NONE MD2 MD5 PASSWORD
        IP Address Source       : Static Address
        IP Address              : 192.0.2.201
        Subnet Mask             : 255.255.255.0
        MAC Address             : 52:54:00:AB:cd:01
        SNMP Community String   : public
        Default Gateway IP      : 0.0.0.0
        Backup Gateway IP       : 192.0.2.9
        802.1q VLAN ID          : 17
        """
}

@Suite struct IPMIRecordTests {
    private func power(_ output: String) -> IPMIPower {
        IPMIPower(settings: IPMIPower.Settings()) { _, _, _ in
            ToolResult(exitCode: 0, output: output, errorOutput: "")
        }
    }

    private let bmc = Power.BMC(
        host: "192.0.2.201",
        port: 623,
        user: "admin",
        password: Secret("x")
    )

    @Test func `many who read one BMC do not queue before its power button`() async throws {
        let open = Mutex(false)
        let gate = Mutex(0)
        let power = IPMIPower(settings: IPMIPower.Settings()) { arguments, _, _ in
            if arguments.contains("sdr") {
                gate.withLock { $0 += 1 }
                try await eventually("the end of the reading") { open.withLock { $0 } }
            }
            return ToolResult(exitCode: 0, output: Recorded.sensors, errorOutput: "")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [bmc] in _ = try await power.readings(of: bmc) }
            try await eventually("the first reader") { gate.withLock { $0 == 1 } }
            for _ in 0..<5 {
                await #expect(throws: Fault.self) { _ = try await power.readings(of: bmc) }
            }
            open.withLock { $0 = true }
            try await group.waitForAll()
        }
        _ = try await power.readings(of: bmc)
        #expect(gate.withLock { $0 } == 2)
    }

    @Test func `sensors are read with their units`() async throws {
        let found = try await power(Recorded.sensors).readings(of: bmc)
        #expect(found.map(\.kind) == [.temperature, .fan, .voltage, .power])
        #expect(found.map(\.value) == [42, 3700, 3.3, 120])
        #expect(found.map(\.unit) == ["Cel", "RPM", "V", "W"])
        #expect(found.allSatisfy { $0.health == "OK" && $0.state == "ok" })
    }

    @Test(arguments: [
        ("T,91,degrees C,ucr,7.1,Board,Temperature", 91.0 as Double?, "Critical" as String?),
        ("T,81,degrees C,nc,7.1,Board,Temperature", 81, "Warning"),
        ("T,,degrees C,ns,7.1,Board,Temperature", nil, nil),
        ("T,nan,degrees C,ok,7.1,Board,Temperature", nil, "OK"),
        ("T,1e999,degrees C,ok,7.1,Board,Temperature", nil, "OK"),
    ])
    func `a sensor's state is told`(line: String, value: Double?, health: String?) throws {
        let found = try #require(IPMIAnswer.readings(line).first)
        #expect(found.value == value)
        #expect(found.health == health)
    }

    @Test(arguments: [
        "", "T,91", ",91,degrees C,ok,7.1,Board,Temperature",
        "T,91,bananas,ok,7.1,Board,Temperature",
        "T,91,degrees C,ok,7.1,Board,Physical Security", "Get SDR 0000 command failed",
        String(repeating: ",", count: 100_000),
    ])
    func `what is no reading is left out`(output: String) {
        #expect(IPMIAnswer.readings(output).isEmpty)
    }

    @Test func `the event log is read, also what only its maker understands`() async throws {
        let found = try await power(Recorded.events).events(of: bmc, max: 10)
        #expect(found.map(\.id) == [1, 2, 3])
        #expect(found[0].source == "Temperature")
        #expect(found[0].text == "Upper Non-critical going high")
        #expect(found[0].isAsserted == true)
        #expect(found[0].data == "576050")
        #expect(found[1].at == "S+ 70/001 S+ 70/001")
        #expect(found[1].source == "record type c5  (OEM timestamped)")
        #expect(found[2].data == "0102030405060708090a0b0c0d")
        #expect(found[2].text == nil)
        let newest = try await power(Recorded.events).events(of: bmc, max: 1)
        #expect(newest.map(\.id) == [3])
    }

    @Test func `hostile words of a log stay one short line each`() throws {
        let words = "\u{1b}[31m" + String(repeating: "x", count: 5000)
        let output = """
            SEL Record ID : 0001
            Record Type : 02
            Sensor Type : a\u{202e}b
            Description : \(words)
            SEL Record ID : 99999
            Record Type : 02
            SEL Record ID : 0003
            """
        let found = IPMIAnswer.events(output)
        #expect(found.map(\.id) == [1])
        #expect(found[0].source == "a b")
        #expect(found[0].text?.count == 160)
        #expect(found[0].text?.contains("\u{1b}") == false)
        let long = String(repeating: "SEL Record ID : 0001\nRecord Type : 02\n", count: 50_000)
        #expect(IPMIAnswer.events(long).count < 10_000)
    }

    @Test func `the BMC's own network settings are read and compared`() async throws {
        let found = try await power(Recorded.network).network(of: bmc)
        #expect(found.address == "192.0.2.201")
        #expect(found.source == "Static Address")
        #expect(found.netmask == "255.255.255.0")
        #expect(found.gateway == nil)
        #expect(found.mac == "52:54:00:ab:cd:01")
        #expect(found.vlan == 17)
        #expect(found.isAt("192.0.2.201") == true)
        #expect(found.isAt("192.0.2.202") == false)
        #expect(found.isAt("bmc.example") == nil)
        #expect(BMCNetwork().isAt("192.0.2.201") == nil)
        await #expect(throws: PowerFault.self) {
            _ = try await power("nonsense").network(of: bmc)
        }
    }

    @Test(arguments: [
        "", "ff ff 01 00 eb 01 02 03 04 05 06 07 08 09 0a 0b 0c",
        "ff ff 02 00 eb 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d",
        "ff ff 01 00 eb 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e",
        "ff ff 01 00 eb 01 02 03 04 05 06 07 08 09 0a 0b 0c xx",
    ])
    func `what is not the asked record is none`(output: String) {
        #expect(IPMIAnswer.record(1, output) == nil)
    }

    @Test func `a BMC without an event log is told apart from one that refuses`() async throws {
        func fault(_ words: String) async throws -> PowerFault? {
            let power = IPMIPower(settings: IPMIPower.Settings()) { _, _, _ in
                ToolResult(exitCode: 1, output: "", errorOutput: words)
            }
            return await #expect(throws: PowerFault.self) {
                _ = try await power.record(1, of: bmc)
            }
        }
        let words = "Unable to send RAW command (channel=0x0 netfn=0xa lun=0x0 cmd=0x43 rsp="
        #expect(try await fault(words + "0xc1): Invalid command")?.reason == .unsupported)
        #expect(try await fault(words + "0xc0): Node busy")?.reason == .refused)
    }

    @Test(arguments: ["0.0.0.0", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "a.b.c.d", ""])
    func `what is no address is none`(text: String) {
        #expect(IPMIAnswer.ipv4(text) == nil)
    }
}

/// The same against OpenIPMI's emulator, a real process over the network.
@Suite struct IPMISimulatorTests {
    private func commands(_ more: String) throws -> String {
        let machine = LabMachine(
            index: 0,
            firmware: .bios,
            memoryMebibytes: 1024,
            diskGibibytes: 1
        )
        let configuration = try BMCConfiguration(
            machine: machine,
            password: Secret("x"),
            hook: ["true"]
        )
        return configuration.commands + more
    }

    private func target(_ simulator: BMCSimulator) -> Power.BMC {
        Power.BMC(
            host: "127.0.0.1",
            port: simulator.port,
            user: BMCSimulator.user,
            password: Secret(BMCSimulator.password),
            cipherSuite: 3
        )
    }

    @Test func `an emulated BMC's sensors, event log and network settings are read`() async throws {
        let events = """
            sel_add 0x20 2 0 0 0 0x60 0x20 0 4 1 1 1 0x57 0x60 0x50
            sel_add 0x20 0xe0 1 2 3 4 5 6 7 8 9 10 11 12 13

            """
        try await BMCSimulator.run(try commands(events)) { simulator async throws in
            let power = IPMIPower(settings: IPMIPower.Settings(), time: SystemTime())
            let bmc = target(simulator)
            let readings = try await power.readings(of: bmc)
            #expect(readings.map(\.name) == ["Board Temp", "Fan 1", "P3V3", "Power"])
            #expect(readings.map(\.value) == [42, 3700, 3.3, 120])
            let found = try await power.events(of: bmc, max: 500)
            #expect(found.map(\.text) == ["Upper Non-critical going high", nil])
            #expect(found.last?.data == "0102030405060708090a0b0c0d")
            let network = try await power.network(of: bmc)
            #expect(network.isAt("127.0.0.1") == nil, "it does not know its own address")
        }
    }

    @Test func `a record is read by its number, and forgotten`() async throws {
        let events = "sel_add 0x20 0xeb 1 2 3 4 5 6 7 8 9 10 11 12 13\n"
        try await BMCSimulator.run(try commands(events)) { simulator async throws in
            let power = IPMIPower(settings: IPMIPower.Settings(), time: SystemTime())
            let bmc = target(simulator)
            let record = EventRecord(type: 0xeb, data: (1...13).map { UInt8($0) })
            #expect(try await power.record(1, of: bmc) == record)
            #expect(try await power.record(2, of: bmc) == nil)
            try await power.forget(1, of: bmc)
            #expect(try await power.record(1, of: bmc) == nil)
            await #expect(throws: PowerFault.self) { try await power.forget(1, of: bmc) }
        }
    }

    @Test func `a password is changed, and only the new one holds`() async throws {
        try await BMCSimulator.run(try commands("")) { simulator async throws in
            let arguments = Mutex<[[String]]>([])
            let power = IPMIPower(
                settings: IPMIPower.Settings(),
                script: { list, environment, input, budget in
                    arguments.withLock { $0.append(list) }
                    return try await Tool.run(
                        "ipmitool",
                        list,
                        environment: environment,
                        input: input,
                        budget: budget,
                        time: SystemTime()
                    )
                }
            )
            let bmc = target(simulator)
            let password = Secret("Aa1-cdefghijklmn")
            try await power.setPassword(password, of: bmc)
            _ = try await power.power(of: bmc.with(password: password))
            let fault = await #expect(throws: PowerFault.self) { try await power.power(of: bmc) }
            #expect(fault?.reason == .credentials)
            let shown = arguments.withLock { $0.flatMap(\.self) }
            #expect(!shown.contains { $0.contains(password.reveal()) })
            let stranger = Power.BMC(
                host: bmc.host,
                port: bmc.port,
                user: "nobody",
                password: password,
                cipherSuite: 3
            )
            await #expect(throws: PowerFault.self) {
                try await power.setPassword(Secret("x"), of: stranger)
            }
            for wrong in ["", "seventeen-letters", "a b", "a\nb", "a;b"] {
                let fault = await #expect(throws: PowerFault.self) {
                    try await power.setPassword(Secret(wrong), of: bmc)
                }
                #expect(fault?.reason == .settings)
            }
        }
    }

    @Test(
        arguments: [
            ("1,,true,false,true,NO ACCESS\n2,admin,true,false,true,ADMINISTRATOR", "admin", 2),
            ("2,admin,x\n3,admin,x", "admin", nil), ("2,admin2,x", "admin", nil),
            ("99,admin,x", "admin", nil), ("-1,admin,x", "admin", nil), ("", "admin", nil),
            ("2;admin;x", "admin", nil),
        ] as [(String, String, Int?)]
    )
    func `a user's number is read strictly`(output: String, name: String, number: Int?) {
        #expect(IPMIAnswer.userNumber(name, in: output) == number)
    }

    @Test func `an empty log and a BMC without sensors are no errors`() async throws {
        let plain = """
            mc_setbmc 0x20
            mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
            sel_enable 0x20 1000 0x0a
            mc_enable 0x20

            """
        try await BMCSimulator.run(plain) { simulator async throws in
            let power = IPMIPower(settings: IPMIPower.Settings(), time: SystemTime())
            let bmc = target(simulator)
            #expect(try await power.events(of: bmc, max: 5).isEmpty)
            #expect(try await power.readings(of: bmc).isEmpty)
        }
    }
}
