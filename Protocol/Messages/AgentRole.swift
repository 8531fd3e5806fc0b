/// What a machine runs while it speaks with the controller.
package enum AgentRole: String, Sendable, Codable, CaseIterable, Comparable {
    /// A discovery or deploy ramdisk: everything lives in memory.
    case ramdisk
    /// An installed overcloud node.
    case overcloud

    /// Reads the wire's form; `nil` when the sender left it out or is newer than us.
    package init?(_ wire: WireRole) {
        switch wire {
        case .ramdisk: self = .ramdisk
        case .overcloud: self = .overcloud
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }

    /// The wire's form.
    package var wire: WireRole {
        switch self {
        case .ramdisk: .ramdisk
        case .overcloud: .overcloud
        }
    }

    package static func < (left: AgentRole, right: AgentRole) -> Bool {
        left.rawValue < right.rawValue
    }
}
