import Basics
import HostTools
import Synchronization
import Testing

@testable import Power

/// What `ipmitool` 1.8.19 really printed against OpenIPMI's `ipmi_sim`, and what hostile BMCs might make it
/// print.
private enum Recorded {
    static let bootParameters = """
        Boot parameter version: 1
        Boot parameter 5 is valid/unlocked
        Boot parameter data: 8004000000
         Boot Flags :
           - Boot Flag Valid
           - Options apply to only next boot
           - BIOS PC Compatible (legacy) boot
           - Boot Device Selector : Force PXE
           - BIOS verbosity : System Default
        """
    static let wrongPassword = """
        Loading IANA PEN Registry...
        > RAKP 2 HMAC is invalid
        Error: Unable to establish IPMI v2 / RMCP+ session
        """
    static let wrongUser = """
        RAKP 2 message indicates an error : unauthorized name
        Error: Unable to establish IPMI v2 / RMCP+ session
        """
    static let noAnswer = """
        Get Auth Capabilities error
        Error issuing Get Channel Authentication Capabilities request
        Error: Unable to establish IPMI v2 / RMCP+ session
        """
    static let oldSuite = """
        Error in open session response message : invalid authentication algorithm

        Error: Unable to establish IPMI v2 / RMCP+ session
        """
    static let noName = """
        Address lookup for no.such.host failed
        Could not open socket!
        Error: Unable to establish IPMI v2 / RMCP+ session
        """
}

private let bmc = BMC(
    host: "192.0.2.201",
    port: 623,
    user: "admin",
    password: Secret("-P evil; $(reboot)")
)

/// Keeps how the tool was called and answers as told.
private final class RecordingTool: Sendable {
    struct Call: Sendable {
        let arguments: [String]
        let environment: [String: String]
    }

    let calls = Mutex<[Call]>([])
    let answer: @Sendable ([String]) throws -> ToolResult

    init(_ answer: @escaping @Sendable ([String]) throws -> ToolResult) { self.answer = answer }

    convenience init(output: String) {
        self.init { _ in ToolResult(exitCode: 0, output: output, errorOutput: "") }
    }

    convenience init(failure: String) {
        self.init { _ in ToolResult(exitCode: 1, output: "", errorOutput: failure) }
    }

    var power: IPMIPower {
        IPMIPower(settings: IPMIPower.Settings()) { arguments, environment, _ in
            self.calls.withLock {
                $0.append(Call(arguments: arguments, environment: environment))
            }
            return try self.answer(arguments)
        }
    }

    var all: [Call] { calls.withLock { $0 } }
}

@Suite struct IPMIPowerTests {
    @Test func `the password is in the environment and never in the arguments`() async throws {
        let tool = RecordingTool(output: "Chassis Power is on\n")
        #expect(try await tool.power.power(of: bmc) == .on)
        let call = try #require(tool.all.first)
        #expect(call.environment["IPMI_PASSWORD"] == bmc.password.reveal())
        #expect(!call.arguments.contains { $0.contains("evil") })
        #expect(call.arguments.contains("-E"))
        #expect(call.arguments.suffix(3) == ["chassis", "power", "status"])
        #expect(zip(call.arguments, call.arguments.dropFirst()).contains { $0 == ("-C", "17") })
    }

    @Test func `an NMI is a diagnostic interrupt of the chassis`() async throws {
        let tool = RecordingTool(output: "Chassis Power Control: Diag\n")
        try await tool.power.injectNMI(into: bmc)
        #expect(tool.all.first?.arguments.suffix(3) == ["chassis", "power", "diag"])
    }

    @Test(arguments: [
        ("Chassis Power is on\n", PowerState.on), ("Chassis Power is off", .off),
        ("Discovered IPMB address 0x0\nChassis Power is off\n", .off),
    ])
    func `a power state is read`(output: String, state: PowerState) async throws {
        #expect(try await RecordingTool(output: output).power.power(of: bmc) == state)
    }

    @Test(arguments: [
        "", "Chassis Power is", "chassis power is on", "Chassis Power is on; Chassis Power is off",
        "Chassis Power is onn", "Chassis Power is \u{1b}[31mon", "\u{0}\u{0}\u{0}",
        String(repeating: "x", count: 1 << 16) + "\nChassis Power is on",
    ])
    func `an answer of another form is no power state`(output: String) async throws {
        let power = RecordingTool(output: output).power
        await #expect(throws: PowerFault.self) { _ = try await power.power(of: bmc) }
    }

    @Test(arguments: [
        (Recorded.wrongPassword, PowerFault.Reason.credentials, "password"),
        (Recorded.wrongUser, .credentials, "user name"),
        (Recorded.noAnswer, .noAnswer, "does not answer"),
        (Recorded.noName, .noAnswer, "does not answer"),
        ("Error: Insufficient privilege level", .privilege, "privilege"),
        ("Set Chassis Power Control to Up/On failed: Node busy", .refused, "refused"),
    ])
    func `a failure is told in one sentence that names the BMC and what to do`(
        words: String,
        reason: PowerFault.Reason,
        advice: String
    ) async throws {
        let power = RecordingTool(failure: words).power
        let fault = try await #require(throws: PowerFault.self) {
            _ = try await power.power(of: bmc)
        }
        #expect(fault.reason == reason)
        #expect(fault.message.hasPrefix("cannot "))
        #expect(fault.message.contains("192.0.2.201:623"))
        #expect(fault.message.contains(advice))
        #expect(!fault.message.contains("evil"))
    }

    @Test func `hostile words reach the log without control characters`() async throws {
        let power = RecordingTool(failure: "\u{1b}]0;pwned\u{7}\nfake log line\r\n").power
        let fault = try await #require(throws: PowerFault.self) {
            _ = try await power.power(of: bmc)
        }
        #expect(!fault.detail.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7f })
    }

    @Test func `a tool that takes too long is a BMC that does not answer`() async throws {
        let tool = RecordingTool { _ in throw Fault(.timeout, "cannot finish ipmitool") }
        let fault = try await #require(throws: PowerFault.self) {
            _ = try await tool.power.power(of: bmc)
        }
        #expect(fault.reason == .noAnswer)
        #expect(fault.isTransient)
    }

    @Test func `a missing tool is told as such`() async throws {
        let tool = RecordingTool { _ in
            throw Fault(.unavailable, "cannot run ipmitool: it is not installed on this host")
        }
        let fault = try await #require(throws: PowerFault.self) {
            _ = try await tool.power.power(of: bmc)
        }
        #expect(fault.reason == .tool)
        #expect(fault.message.contains("not installed"))
    }

    @Test(arguments: [
        ("-H 192.0.2.1", "admin"), ("--version", "admin"), ("", "admin"),
        ("192.0.2.1 -P x", "admin"), ("$(reboot)", "admin"), ("192.0.2.1\n-v", "admin"),
        ("192.0.2.1", ""), ("192.0.2.1", "-E"), ("192.0.2.1", "a b"),
        ("192.0.2.1", "seventeen-letters"), ("192.0.2.1", "ad\u{0}min"),
    ])
    func `an address or user that the tool could misread never reaches it`(
        host: String,
        user: String
    ) async throws {
        let tool = RecordingTool(output: "Chassis Power is on")
        let target = BMC(host: host, port: 623, user: user, password: Secret("x"))
        let fault = try await #require(throws: PowerFault.self) {
            _ = try await tool.power.power(of: target)
        }
        #expect(fault.reason == .settings)
        #expect(tool.all.isEmpty)
    }

    @Test func `cipher suite 0 is refused wherever it comes from`() async throws {
        let tool = RecordingTool(output: "Chassis Power is on")
        let target = BMC(
            host: "192.0.2.1",
            port: 623,
            user: "admin",
            password: Secret("x"),
            cipherSuite: 0
        )
        await #expect(throws: PowerFault.self) { _ = try await tool.power.power(of: target) }
        let zero = IPMIPower(settings: IPMIPower.Settings(cipherSuite: 0)) { _, _, _ in
            ToolResult(exitCode: 0, output: "Chassis Power is on", errorOutput: "")
        }
        await #expect(throws: PowerFault.self) { _ = try await zero.power(of: bmc) }
        #expect(tool.all.isEmpty)
    }

    @Test func `a BMC that knows only suite 3 is asked with it, and remembered`() async throws {
        let tool = RecordingTool { arguments in
            arguments.contains("17")
                ? ToolResult(exitCode: 1, output: "", errorOutput: Recorded.oldSuite)
                : ToolResult(exitCode: 0, output: "Chassis Power is off", errorOutput: "")
        }
        let power = tool.power
        #expect(try await power.power(of: bmc) == .off)
        #expect(try await power.power(of: bmc) == .off)
        #expect(tool.all.map { $0.arguments[3] } == ["17", "3", "3"])
    }

    @Test func `orders are the ones the tool knows`() async throws {
        let tool = RecordingTool(output: "")
        let power = tool.power
        for change in PowerChange.allCases { try await power.change(change, of: bmc) }
        try await power.setBootDevice(.pxe, persistent: false, mode: .bios, of: bmc)
        try await power.setBootDevice(.disk, persistent: true, mode: .uefi, of: bmc)
        #expect(
            tool.all.map { $0.arguments.drop { $0 != "chassis" }.joined(separator: " ") } == [
                "chassis power on", "chassis power off", "chassis power soft",
                "chassis power cycle", "chassis bootdev pxe",
                "chassis bootdev disk options=efiboot,persistent",
            ]
        )
    }

    @Test func `the boot device is read`() async throws {
        let choice = try await RecordingTool(output: Recorded.bootParameters).power
            .bootDevice(of: bmc)
        #expect(choice == BootChoice(device: .pxe, isPersistent: false))
        let invalid = Recorded.bootParameters.split(separator: "\n").map {
            $0.contains("Valid") ? "   - Boot Flag Invalid" : String($0)
        }.joined(separator: "\n")
        let none = try await RecordingTool(output: invalid).power.bootDevice(of: bmc)
        #expect(none.device == nil)
    }

    @Test(arguments: [
        (
            "System GUID   : 52540000-C000-4000-8000-000000000001\nGUID Encoding : SMBIOS",
            "52540000-c000-4000-8000-000000000001" as String?
        ),
        ("System GUID : none", nil), ("System GUID  : ../../etc/passwd", nil), ("", nil),
    ])
    func `the GUID is read only when it is one`(output: String, guid: String?) async throws {
        #expect(try await RecordingTool(output: output).power.identity(of: bmc) == guid)
    }
}

/// How many calls run, and the most that ever ran.
private final class Gauge: Sendable {
    private struct State {
        var now: [String: Int] = [:]
        var most = 0
        var mostOfOne = 0
    }

    private let state = Mutex(State())

    func begin(_ key: String) {
        state.withLock { state in
            state.now[key, default: 0] += 1
            state.most = max(state.most, state.now.values.reduce(0, +))
            state.mostOfOne = max(state.mostOfOne, state.now[key] ?? 0)
        }
    }

    func end(_ key: String) { state.withLock { $0.now[key, default: 0] -= 1 } }

    var most: Int { state.withLock { $0.most } }
    var mostOfOne: Int { state.withLock { $0.mostOfOne } }
}

@Suite struct CallGateTests {
    @Test func `two calls to one BMC never overlap, and all calls are bounded`() async throws {
        let gate = CallGate(max: 3)
        let gauge = Gauge()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<60 {
                group.addTask {
                    let key = "bmc\(number % 7)"
                    try await gate.enter(key)
                    gauge.begin(key)
                    await Task.yield()
                    gauge.end(key)
                    gate.leave(key, answered: number % 2 == 0)
                }
            }
            try await group.waitForAll()
        }
        #expect((2...3).contains(gauge.most))
        #expect(gauge.mostOfOne == 1)
    }

    @Test func `BMCs that do not answer take a quarter of the places only`() async throws {
        let gate = CallGate(max: 4)
        for number in 0..<8 {
            try await gate.enter("dead\(number)")
            gate.leave("dead\(number)", answered: false)
        }
        try await gate.enter("dead0")
        async let waits: Void = gate.enter("dead1")
        // Places are free for those that answer, whoever waits before them.
        for number in 0..<3 { try await gate.enter("alive\(number)") }
        for number in 0..<3 { gate.leave("alive\(number)", answered: true) }
        gate.leave("dead0", answered: false)
        try await waits
        gate.leave("dead1", answered: true)
    }

    @Test func `some places are for BMCs that answered last time`() async throws {
        let gate = CallGate(max: 8)
        try await gate.enter("alive")
        gate.leave("alive", answered: true)
        for number in 0..<7 { try await gate.enter("new\(number)") }
        async let waits: Void = gate.enter("new7")
        try await gate.enter("alive")
        gate.leave("alive", answered: true)
        gate.leave("new0", answered: false)
        try await waits
    }

    @Test func `where waiting is cheap, new and silent BMCs have places apart`() async throws {
        let gate = CallGate(max: 2, apart: 8)
        for name in ["alive0", "alive1"] {
            try await gate.enter(name)
            gate.leave(name, answered: true)
        }
        for number in 0..<4 {
            try await gate.enter("dead\(number)")
            gate.leave("dead\(number)", answered: false)
        }
        // Silent ones take half of the places, new ones the rest, and neither those of the others.
        for number in 0..<4 { try await gate.enter("dead\(number)") }
        for number in 0..<4 { try await gate.enter("new\(number)") }
        async let waits: Void = gate.enter("new4")
        for name in ["alive0", "alive1"] { try await gate.enter(name) }
        for name in ["alive0", "alive1"] { gate.leave(name, answered: true) }
        gate.leave("dead0", answered: false)
        try await waits
        gate.leave("new4", answered: true)
    }

    @Test func `a cancelled call gives up its turn`() async throws {
        let gate = CallGate(max: 1)
        try await gate.enter("a")
        await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await gate.enter("b") }
            group.cancelAll()
            await #expect(throws: CancellationError.self) { try await group.waitForAll() }
        }
        gate.leave("a", answered: true)
        try await gate.enter("b")
        gate.leave("b", answered: true)
    }
}
