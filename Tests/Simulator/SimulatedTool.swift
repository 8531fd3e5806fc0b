import Basics
import HostTools
import Power

/// How much of the BMCs a controller works on at a time.
package struct ToolBounds: Sendable {
    /// Runs of `ipmitool` at a time.
    package var calls = IPMIPower.Settings().callsMax
    /// Nodes that are worked on at a time; `nil` for the controller's own bound.
    package var workers: Int?
    /// Whether a BMC that was silent, or never asked, is asked by a datagram before the tool is started.
    package var greets = true

    package init() {}
}

/// `ipmitool` as the controller's own IPMI driver runs it, over simulated BMCs.
///
/// It takes the arguments that the driver makes and answers in the tool's words, so that the driver's bounds,
/// its parsing and its sorting of failures are part of the world.
struct SimulatedTool {
    let bmcs: SimulatedBMCs

    /// As the datagram before the tool: where nothing answers it takes as long as the tool would.
    func answers(_ host: String) async -> Bool {
        let time = SimulatedTime(executor: bmcs.world.executor, life: bmcs.life)
        let isThere = !host.hasPrefix(SimulatedBMCs.emptyNetwork)
        do {
            try await time.sleep(for: isThere ? .milliseconds(1) : SimulatedBMCs.answerWithin)
            return isThere
        } catch {
            return false
        }
    }

    func run(_ arguments: [String], _ environment: [String: String]) async throws -> ToolResult {
        guard let host = value("-H", arguments), let user = value("-U", arguments),
            let port = value("-p", arguments).flatMap(UInt16.init),
            let password = environment["IPMI_PASSWORD"],
            let end = arguments.firstIndex(of: "-v")
        else { return said(1, errors: "ipmitool: its options are not complete") }
        let bmc = BMC(host: host, port: port, user: user, password: Secret(password))
        do {
            return said(0, try await obey(Array(arguments[(end + 1)...]), bmc))
        } catch let fault as PowerFault {
            switch fault.reason {
            case .noAnswer:
                return said(1, errors: "Error: Unable to establish IPMI v2 / RMCP+ session")
            case .credentials: return said(1, errors: "RAKP 2 HMAC is invalid")
            case .refused, .privilege, .settings, .tool, .unsupported:
                return said(1, errors: "Command response could not be parsed")
            }
        }
    }

    private func obey(_ command: [String], _ bmc: BMC) async throws -> String {
        switch (command.first, command.dropFirst().first) {
        case ("mc", "guid"):
            return "System GUID  : \(try await bmcs.identity(of: bmc) ?? "none")"
        case ("chassis", "power"):
            let changes: [String: PowerChange] = [
                "on": .on, "off": .off, "soft": .softOff, "cycle": .cycle,
            ]
            if let change = command.last.flatMap({ changes[$0] }) {
                try await bmcs.change(change, of: bmc)
                return "Chassis Power Control: \(command[2])"
            }
            return "Chassis Power is \(try await bmcs.power(of: bmc) == .on ? "on" : "off")"
        case ("chassis", "bootdev"):
            guard command.count > 2, let device = BootDevice(rawValue: command[2]) else { break }
            let options = command.last ?? ""
            try await bmcs.setBootDevice(
                device,
                persistent: options.contains("persistent"),
                mode: options.contains("efiboot") ? .uefi : .bios,
                of: bmc
            )
            return "Set Boot Device to \(device.rawValue)"
        default: break
        }
        throw PowerFault(.refused, "ipmitool does not know \(command)")
    }

    private func value(_ option: String, _ arguments: [String]) -> String? {
        guard let index = arguments.firstIndex(of: option), index + 1 < arguments.count else {
            return nil
        }
        return arguments[index + 1]
    }

    private func said(_ code: Int32, _ output: String = "", errors: String = "") -> ToolResult {
        ToolResult(exitCode: code, output: output, errorOutput: errors)
    }
}
