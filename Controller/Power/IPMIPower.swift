package import Basics
package import HostTools
import Synchronization

/// Power over IPMI 2.0 through `ipmitool`; sensors and records are in `IPMIPower+Records.swift`.
///
/// The password travels in the environment of the tool, never in its arguments. Each call has a budget of
/// its own; calls to one BMC never overlap, because many BMCs lose sessions then.
package final class IPMIPower: PowerControl {
    /// Runs the tool: arguments, environment, budget.
    ///
    /// A seam, because real BMCs are rare in tests.
    package typealias Runner =
        @Sendable (
            _ arguments: [String], _ environment: [String: String], _ budget: Duration
        ) async throws -> ToolResult

    /// The same with what the tool reads: what must not stand in its arguments.
    typealias ScriptRunner =
        @Sendable (
            _ arguments: [String], _ environment: [String: String], _ input: [UInt8],
            _ budget: Duration
        ) async throws -> ToolResult

    /// Whether a BMC answers at all, by host and port; `nil` when that cannot be told without the tool.
    package typealias Greeter = @Sendable (_ host: String, _ port: UInt16) async -> Bool?

    /// Settings that hold for every BMC.
    package struct Settings: Sendable, Equatable {
        /// IPMI cipher suite: 17 (SHA-256) or 3 (SHA-1); 0 has no authentication and is refused.
        package var cipherSuite: UInt8
        /// How long one call may take.
        package var callBudget: Duration
        /// Calls at one time over all BMCs.
        package var callsMax: Int

        package init(
            cipherSuite: UInt8 = 17,
            callBudget: Duration = .seconds(20),
            callsMax: Int = 32
        ) {
            self.cipherSuite = cipherSuite
            self.callBudget = callBudget
            self.callsMax = callsMax
        }
    }

    private let settings: Settings
    private let runner: ScriptRunner
    private let greeter: Greeter
    private let gate: CallGate
    /// BMCs that turned out to know an older cipher suite only.
    private let suites = Mutex<[String: UInt8]>([:])
    private static let suitesMax = 16_384
    /// BMCs whose sensors or records are being read.
    let readers = Mutex<Set<String>>([])

    package convenience init(settings: Settings, time: any TimeSource) {
        let greeting = IPMIGreeting(time: time)
        self.init(
            settings: settings,
            greeter: { await greeting.answers($0, port: $1) },
            script: { arguments, environment, input, budget in
                try await runTool(arguments, environment, input, budget, time)
            }
        )
    }

    /// With another way to run the tool and to learn whether a BMC is there, for tests.
    package convenience init(
        settings: Settings,
        greeter: @escaping Greeter = { _, _ in nil },
        runner: @escaping Runner
    ) {
        self.init(
            settings: settings,
            greeter: greeter,
            script: { arguments, environment, _, budget in
                try await runner(arguments, environment, budget)
            }
        )
    }

    init(
        settings: Settings,
        greeter: @escaping Greeter = { _, _ in nil },
        script runner: @escaping ScriptRunner
    ) {
        self.settings = settings
        self.greeter = greeter
        self.runner = runner
        gate = CallGate(max: settings.callsMax)
    }

    package func power(of bmc: BMC) async throws -> PowerState {
        let output = try await call(
            ["chassis", "power", "status"],
            bmc,
            to: "read the power state"
        )
        guard let state = IPMIAnswer.power(output) else {
            throw unreadable(output, bmc, "read the power state")
        }
        return state
    }

    package func change(_ change: PowerChange, of bmc: BMC) async throws {
        let word =
            switch change {
            case .on: "on"
            case .off: "off"
            case .softOff: "soft"
            case .cycle: "cycle"
            }
        _ = try await call(["chassis", "power", word], bmc, to: "switch the power \(word)")
    }

    package func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {
        var options: [String] = []
        if mode == .uefi { options.append("efiboot") }
        if persistent { options.append("persistent") }
        var arguments = ["chassis", "bootdev", device.rawValue]
        if !options.isEmpty { arguments.append("options=" + options.joined(separator: ",")) }
        _ = try await call(arguments, bmc, to: "set the boot device \(device.rawValue)")
    }

    package func bootDevice(of bmc: BMC) async throws -> BootChoice {
        let output = try await call(
            ["chassis", "bootparam", "get", "5"],
            bmc,
            to: "read the boot device"
        )
        guard let choice = IPMIAnswer.bootChoice(output) else {
            throw unreadable(output, bmc, "read the boot device")
        }
        return choice
    }

    package func identity(of bmc: BMC) async throws -> String? {
        let output = try await call(["mc", "guid"], bmc, to: "read the identity")
        return IPMIAnswer.identity(output)
    }

    package func injectNMI(into bmc: BMC) async throws {
        _ = try await call(["chassis", "power", "diag"], bmc, to: "inject an NMI")
    }

    /// The arguments before the command proper.
    ///
    /// Without `-v` a wrong password reads like no answer at all.
    /// - Throws: `PowerFault` when the address, user or cipher suite could not be meant.
    func commonArguments(_ bmc: BMC, suite: UInt8? = nil) throws -> [String] {
        let suite = suite ?? bmc.cipherSuite ?? settings.cipherSuite
        guard suite != 0 else {
            throw PowerFault(
                .settings,
                "cannot use BMC \(bmc.endpoint): cipher suite 0 has no authentication; set ipmi_cipher_suite to 17 or 3"
            )
        }
        guard BMC.isAddress(bmc.host) else {
            throw PowerFault(
                .settings,
                "cannot use BMC “\(bmc.host.prefix(80))”: it is no IP address or host name; correct ipmi_address"
            )
        }
        guard BMC.isUser(bmc.user) else {
            throw PowerFault(
                .settings,
                "cannot use BMC \(bmc.endpoint): its user name is empty, begins with a hyphen or is longer than 16 characters; correct ipmi_username"
            )
        }
        return [
            "-I", "lanplus", "-C", String(suite), "-H", bmc.host, "-p", String(bmc.port),
            "-U", bmc.user, "-L", "ADMINISTRATOR", "-E", "-R", "1", "-N", "5", "-v",
        ]
    }

    /// Calls with the driver's suite; a BMC for which nobody chose one and which does not know it
    /// is asked with suite 3 from then on, as Ironic does.
    ///
    /// Older BMCs, and `ipmi_sim`, know nothing newer.
    ///
    /// `budget`: how long it may take, where that is not the driver's own.
    func call(
        _ command: [String],
        _ bmc: BMC,
        to purpose: String,
        budget: Duration? = nil,
        input: [UInt8] = []
    ) async throws -> String {
        let known = suites.withLock { $0[bmc.endpoint] }
        do {
            let suite = bmc.cipherSuite == nil ? known : nil
            return try await call(command, bmc, suite: suite, to: purpose, budget, input)
        } catch let fault as PowerFault
            where fault.reason == .settings && bmc.cipherSuite == nil && known == nil
            && settings.cipherSuite == 17
        {
            let output = try await call(command, bmc, suite: 3, to: purpose, budget, input)
            suites.withLock { suites in
                if suites.count >= Self.suitesMax { suites = [:] }
                suites[bmc.endpoint] = 3
            }
            return output
        }
    }

    private func call(
        _ command: [String],
        _ bmc: BMC,
        suite: UInt8?,
        to purpose: String,
        _ budget: Duration?,
        _ input: [UInt8]
    ) async throws -> String {
        let budget = budget ?? settings.callBudget
        let arguments = try commonArguments(bmc, suite: suite) + command
        let result: ToolResult
        try await greet(bmc, purpose)
        try await gate.enter(bmc.endpoint)
        var answered = false
        do {
            defer { gate.leave(bmc.endpoint, answered: answered) }
            result = try await runner(
                arguments,
                ["IPMI_PASSWORD": bmc.password.reveal()],
                input,
                budget
            )
            answered = result.exitCode == 0 || failure(of: result, bmc, purpose).reason != .noAnswer
        } catch let fault as Fault where fault.kind == .timeout {
            throw PowerFault(
                .noAnswer,
                "cannot \(purpose) of BMC \(bmc.endpoint): it did not answer within \(budget); check its address, its cable and that IPMI over LAN is enabled",
                detail: fault.report
            )
        } catch let fault as Fault {
            throw PowerFault(
                .tool,
                "cannot \(purpose) of BMC \(bmc.endpoint): \(fault.message)",
                detail: fault.report
            )
        }
        guard result.exitCode == 0 else {
            throw failure(of: result, bmc, purpose)
        }
        return result.output
    }

    /// A BMC that did not answer last time, or was never asked, is asked by a datagram first.
    /// - Throws: `PowerFault` when nothing answers; `CancellationError`.
    private func greet(_ bmc: BMC, _ purpose: String) async throws {
        guard !gate.isProven(bmc.endpoint), await greeter(bmc.host, bmc.port) == false else {
            return
        }
        try Task.checkCancellation()
        throw PowerFault(
            .noAnswer,
            "cannot \(purpose) of BMC \(bmc.endpoint): \(Self.silence)",
            detail: "no answer to Get Channel Authentication Capabilities"
        )
    }

    private static let silence =
        "it does not answer; check its address, its cable and that IPMI over LAN is enabled"

    private func failure(of result: ToolResult, _ bmc: BMC, _ purpose: String) -> PowerFault {
        let words = result.errorOutput + "\n" + result.output
        let reason = IPMIAnswer.failure(words)
        let advice =
            switch reason {
            case .noAnswer: Self.silence
            case .credentials:
                "it refused the user name or password; correct ipmi_username and ipmi_password"
            case .privilege:
                "the user “\(bmc.user)” may not do this; give it the administrator privilege"
            case .settings:
                "it does not speak cipher suite \(bmc.cipherSuite ?? settings.cipherSuite); set ipmi_cipher_suite to 3 or 17"
            case .refused, .tool, .unsupported: "it refused; the log holds its own words"
            }
        return PowerFault(
            reason,
            "cannot \(purpose) of BMC \(bmc.endpoint): \(advice)",
            detail: printable(result.lastWords)
        )
    }

    func unreadable(_ output: String, _ bmc: BMC, _ purpose: String) -> PowerFault {
        PowerFault(
            .refused,
            "cannot \(purpose) of BMC \(bmc.endpoint): its answer makes no sense; the log holds it",
            detail: printable(output)
        )
    }

    /// Foreign text without control characters and of bounded length, for the log.
    private func printable(_ text: String) -> String {
        String(
            text.unicodeScalars.prefix(400).map { scalar in
                scalar.value < 0x20 || scalar.value == 0x7f ? " " : Character(scalar)
            }
        )
    }
}

private func runTool(
    _ arguments: [String],
    _ environment: [String: String],
    _ input: [UInt8],
    _ budget: Duration,
    _ time: any TimeSource
) async throws -> ToolResult {
    func run(_ time: some TimeSource) async throws -> ToolResult {
        try await Tool.run(
            "ipmitool",
            arguments,
            environment: environment,
            input: input,
            budget: budget,
            outputMax: 256 << 10,
            time: time
        )
    }
    return try await run(time)
}

extension BMC {
    /// Whether a text is an IPv4 or IPv6 address or a host name, and nothing that a tool could take for an
    /// option.
    package static func isAddress(_ text: String) -> Bool {
        guard (1...253).contains(text.utf8.count), text.first != "-", text.first != "." else {
            return false
        }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: ":"), UInt8(ascii: "%"):
                true
            default: false
            }
        }
    }

    /// Whether a text can be an IPMI user name: 1 to 16 printable ASCII characters, no leading hyphen.
    package static func isUser(_ text: String) -> Bool {
        (1...16).contains(text.utf8.count) && text.first != "-"
            && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}
