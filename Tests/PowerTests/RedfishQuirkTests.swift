import Basics
import HTTP
import Synchronization
import Testing

@testable import Power

/// The ways of certain BMCs; each stands in a recording.
@Suite struct RedfishQuirkTests {
    private func with(
        _ recording: String,
        password: String = RedfishDouble.password,
        _ access: @escaping @Sendable (inout RedfishAccess) -> Void = { _ in },
        settings: @escaping @Sendable (inout RedfishSettings) -> Void = { _ in },
        _ body: @escaping @Sendable (RedfishPower, BMC, RedfishDouble) async throws -> Void
    ) async throws {
        let double = try RedfishDouble(recording)
        try await double.serve { port in
            let bmc = BMC.double(port: port, password: password, access)
            try await RedfishSubject.drive(bmc, settings: settings) { driver, bmc in
                try await body(driver, bmc, double)
            }
        }
    }

    private static let system = "/redfish/v1/Systems/437XR"

    // MARK: - Sessions

    @Test func `one session serves many calls and is ended at shut-down`() async throws {
        let double = try RedfishDouble("sessions-only")
        try await double.serve { port in
            try await RedfishSubject.drive(.double(port: port)) { driver, bmc in
                for _ in 0..<3 { _ = try await driver.power(of: bmc) }
                #expect(double.sessions == 1)
            }
            #expect(double.state.withLock(\.sessionsMade) == 1)
            #expect(double.sessions == 0)
            let isTold = double.asked.contains { $0.headers["authorization"] != nil }
            #expect(!isTold)
        }
    }

    @Test func `a session that ended is made anew`() async throws {
        try await with("sessions-only") { driver, bmc, double in
            _ = try await driver.power(of: bmc)
            double.endSessions()
            let state = try await driver.power(of: bmc)
            #expect(state == .off)
            #expect(double.state.withLock(\.sessionsMade) == 2)
        }
    }

    @Test func `another password ends the session of the old one`() async throws {
        try await with("sessions-only") { driver, bmc, double in
            _ = try await driver.power(of: bmc)
            let wrong = BMC.double(port: bmc.port, password: "changed")
            let fault = await #expect(throws: PowerFault.self) { try await driver.power(of: wrong) }
            #expect(fault?.reason == .credentials)
            #expect(double.sessions == 0)
        }
    }

    @Test(arguments: [RedfishAccess.Authentication.auto, .basic, .session])
    func `a service without sessions is spoken to with a password`(
        _ kind: RedfishAccess.Authentication
    ) async throws {
        try await with("without-sessions", { $0.authentication = kind }) { driver, bmc, double in
            guard kind == .session else {
                _ = try await driver.power(of: bmc)
                _ = try await driver.power(of: bmc)
                let tries = double.asked.count { $0.method == "POST" }
                #expect(tries == (kind == .auto ? 1 : 0))
                return
            }
            let fault = await #expect(throws: PowerFault.self) { try await driver.power(of: bmc) }
            #expect(fault?.reason == .settings)
        }
    }

    @Test func `a session whose place is elsewhere is used, and nobody elsewhere is asked`()
        async throws
    {
        try await with("sessions-elsewhere") { driver, bmc, _ in
            let state = try await driver.power(of: bmc)
            #expect(state == .off)
        }
    }

    // MARK: - Tags

    @Test(arguments: [
        "plain", "sessions-only", "weak-tags-refused", "tags-refused", "tags-needed",
    ])
    func `a change gets through whatever the BMC thinks of its own tags`(_ name: String)
        async throws
    {
        try await with(name) { driver, bmc, double in
            try await driver.setBootDevice(.pxe, persistent: false, mode: .uefi, of: bmc)
            let choice = try await driver.bootDevice(of: bmc)
            #expect(choice == BootChoice(device: .pxe, isPersistent: false))
            let tries = double.asked.filter { $0.method == "PATCH" }
            #expect(tries.count <= 3)
            #expect(tries.first?.headers["if-match"] != nil)
        }
    }

    // MARK: - Power and boot

    @Test func `an order that is taken and not obeyed shows in the power state`() async throws {
        try await with("disobedient") { driver, bmc, double in
            try await driver.change(.on, of: bmc)
            let state = try await driver.power(of: bmc)
            #expect(state == .off)
            #expect(double.asked.contains { $0.path.hasSuffix("ComputerSystem.Reset") })
        }
    }

    @Test func `a boot device that is taken and not kept is an error`() async throws {
        try await with("changes-ignored") { driver, bmc, _ in
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.setBootDevice(.pxe, persistent: false, mode: .uefi, of: bmc)
            }
            #expect(
                fault?.message.contains("it took the boot device pxe, but shows another") == true
            )
            #expect(fault?.isTransient == true)
        }
    }

    @Test func `a firmware that keeps no override for ever is told to use it once`() async throws {
        try await with("once-only") { driver, bmc, _ in
            try await driver.setBootDevice(.disk, persistent: true, mode: .uefi, of: bmc)
            let choice = try await driver.bootDevice(of: bmc)
            #expect(choice == BootChoice(device: .disk, isPersistent: false))
        }
    }

    @Test func `a maker's word for its virtual drive and the whole override are sent`() async throws
    {
        try await with("supermicro") { driver, bmc, double in
            try await driver.setBootDevice(.cdrom, persistent: false, mode: .uefi, of: bmc)
            let boot = double.document(Self.system)["Boot"]
            #expect(boot?["BootSourceOverrideTarget"] == "UsbCd")
            #expect(boot?["BootSourceOverrideEnabled"] == "Once")
            let choice = try await driver.bootDevice(of: bmc)
            #expect(choice.device == .cdrom)
        }
    }

    @Test func `the ways to switch are read from the action's own description`() async throws {
        try await with("action-info") { driver, bmc, _ in
            try await driver.change(.on, of: bmc)
            let state = try await driver.power(of: bmc)
            #expect(state == .on)
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.change(.softOff, of: bmc)
            }
            #expect(fault?.reason == .unsupported)
            #expect(fault?.message.contains("power action GracefulShutdown") == true)
        }
    }

    @Test func `an NMI is sent where the machine knows it`() async throws {
        try await with("plain") { driver, bmc, double in
            try await driver.injectNMI(into: bmc)
            #expect(double.asked.contains { $0.path.hasSuffix("ComputerSystem.Reset") })
        }
        try await with("action-info") { driver, bmc, _ in
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.injectNMI(into: bmc)
            }
            #expect(fault?.reason == .unsupported)
        }
    }

    @Test func `a machine that is coming on is not told again, and is not on yet`() async throws {
        try await with("powering-on") { driver, bmc, double in
            let state = try await driver.power(of: bmc)
            #expect(state == .off)
            try await driver.change(.on, of: bmc)
            #expect(!double.asked.contains { $0.path.hasSuffix("ComputerSystem.Reset") })
        }
    }

    @Test func `of several systems one must be named`() async throws {
        try await with("two-systems") { driver, bmc, _ in
            let fault = await #expect(throws: PowerFault.self) { try await driver.power(of: bmc) }
            #expect(
                fault?.message.contains("it has 2 systems; name one in redfish_system_id") == true
            )
            let named = BMC.double(port: bmc.port) { $0.system = Self.system }
            let state = try await driver.power(of: named)
            #expect(state == .off)
            let wrong = BMC.double(port: bmc.port) { $0.system = "/redfish/v1/Systems/9" }
            let other = await #expect(throws: PowerFault.self) { try await driver.power(of: wrong) }
            #expect(other?.message.contains("correct redfish_system_id") == true)
        }
    }

    @Test func `a passing failure is tried again at once`() async throws {
        try await with("busy-once") { driver, bmc, _ in
            let state = try await driver.power(of: bmc)
            #expect(state == .off)
        }
    }

    @Test func `slow answers and redirects of the same origin are followed`() async throws {
        for name in ["redirect-here", "slow"] {
            try await with(name) { driver, bmc, _ in
                let state = try await driver.power(of: bmc)
                #expect(state == .off)
            }
        }
    }

    // MARK: - BIOS and media

    @Test func `BIOS settings are listed with their rules, changed within them, and reset`()
        async throws
    {
        try await with("plain") { driver, bmc, double async throws in
            let settings = try await driver.settings(of: bmc)
            #expect(settings.map(\.name) == settings.map(\.name).sorted())
            let mode = settings.first { $0.name == "BootMode" }
            #expect(mode?.value == "Uefi")
            #expect(mode?.rule?.allowed == ["LegacyBios", "Uefi"])
            #expect(settings.first { $0.name == "QuietBoot" }?.rule == nil)
            try await driver.apply(
                ["NumCores": "4", "QuietBoot": "false", "AssetTag": ""],
                of: bmc
            )
            let pending = double.document(Self.system + "/Bios/Settings")
            #expect(pending["Attributes"] == ["NumCores": 4, "QuietBoot": false])
            #expect(pending["@Redfish.SettingsApplyTime"]?["ApplyTime"] == "OnReset")
            #expect(try await driver.pending(of: bmc) == ["NumCores", "QuietBoot"])
            double.state.withLock {
                $0.documents[Self.system + "/Bios/Settings"] = [
                    "Attributes": ["NumCores": 4, "AdminPassword": .null]
                ]
            }
            #expect(try await driver.pending(of: bmc) == ["NumCores"])
            try await driver.reset(of: bmc)
            #expect(double.document(Self.system + "/Bios")["Attributes"]?["NumCores"] == 0)
        }
    }

    @Test(arguments: [
        ("NumCores", JSONValue.integer(25), "must be 0 to 24"),
        ("NumCores", "many", "must be a whole number"), ("BootMode", "Fast", "must be one of"),
        ("SerialNumber", "X2", "may not be changed"), ("Nothing", "x", "there is no setting"),
        ("QuietBoot", "perhaps", "must be true or false"),
        ("AssetTag", .string(String(repeating: "x", count: 33)), "must have 0 to 32"),
        ("AssetTag", .integer(1), "is of another type"),
    ])
    func `a BIOS setting that does not fit is refused before anything is sent`(
        _ name: String,
        _ value: JSONValue,
        _ words: String
    ) async throws {
        try await with("plain") { driver, bmc, double in
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.apply([name: value], of: bmc)
            }
            #expect(fault?.reason == .unsupported)
            #expect(fault?.message.contains(words) == true)
            #expect(!double.asked.contains { $0.method == "PATCH" })
        }
    }

    @Test func `work that the BMC makes a task is waited for, and its failure told`() async throws {
        try await with("task-done") { driver, bmc, double in
            try await driver.reset(of: bmc)
            let looks = double.asked.count { $0.path.contains("TaskMonitors") }
            #expect(looks == 3)
        }
        try await with("task-failed") { driver, bmc, _ in
            let fault = await #expect(throws: PowerFault.self) { try await driver.reset(of: bmc) }
            #expect(fault?.message.hasSuffix("it refused: “The BIOS is locked.”") == true)
        }
    }

    @Test func `a BMC that wants to know the image's protocol is told`() async throws {
        try await with("protocol-needed") { driver, bmc, _ in
            try await driver.insert("https://192.0.2.1/a.iso", into: .cdrom, of: bmc)
            let drive = try await driver.media(of: bmc).first
            #expect(drive?.image == "https://192.0.2.1/a.iso")
        }
    }

    @Test func `firmware of adapters and absent sensors are told as they are`() async throws {
        try await with("plain") { driver, bmc, _ in
            let found = try await driver.components(of: bmc)
            #expect(found.map(\.name) == ["bios", "bmc", "nic:9fa725a1"])
            #expect(found.last?.version == "7.4.10")
            let readings = try await driver.readings(of: bmc)
            #expect(readings.first { $0.name == "Intake" }?.value == nil)
            #expect(readings.first { $0.kind == .power }?.value == 344.5)
        }
    }
}
