import Basics

/// What `ipmi_sim` asks of us: it runs `rdo lab chassis MACHINE get|set|check NAME [VALUE]…`.
package struct ChassisHook: Sendable {
    /// One question or order, as `ipmi_sim` writes it.
    package enum Request: Sendable, Equatable {
        case getPower
        case getBoot
        case setPower(Bool)
        case reset
        case shutDown
        case setBoot(String)
        /// Whether a value could be set; `ipmi_sim` asks nothing that we refuse here.
        case check

        /// - Returns: `nil` for what the lab does not know.
        package init?(_ words: [String]) {
            switch words {
            case ["get", "power"]: self = .getPower
            case ["get", "boot"]: self = .getBoot
            case ["set", "power", "0"]: self = .setPower(false)
            case ["set", "power", "1"]: self = .setPower(true)
            case ["set", "reset", "1"]: self = .reset
            case ["set", "shutdown", "1"]: self = .shutDown
            default:
                if words.first == "check" {
                    self = .check
                } else if words.count == 3, words[0] == "set", words[1] == "boot" {
                    self = .setBoot(words[2])
                } else {
                    return nil
                }
            }
        }
    }

    private let control: MachineControl

    package init(_ control: MachineControl) { self.control = control }

    /// Does what is asked.
    /// - Returns: the line for `ipmi_sim`, or `nil`.
    /// - Throws: `Fault`; the program then ends with a code other than 0 and ipmitool sees an error.
    package func answer(_ request: Request) async throws -> String? {
        switch request {
        case .getPower: return "power:\(control.running == nil ? 0 : 1)"
        case .getBoot: return "boot:\(control.selection.word)"
        case .setPower(true): try await control.powerOn()
        case .setPower(false): try await control.powerOff()
        case .reset: try await control.reset()
        case .shutDown: try await control.pressPowerButton()
        case .setBoot(let word): try await control.select(word)
        case .check: break
        }
        return nil
    }
}
