/// Where a machine looks first.
package enum BootDevice: String, Codable, Sendable {
    case disk
    case network
}

/// What the BMC was told to boot from.
///
/// `ipmi_sim` hands its hook the device but not the “persistent” flag, so the device decides: the network
/// counts for one start, as a deployment wants it, the disk from now on. Without any wish it is disk first.
///
/// ```
///            pxe                    start
/// disk ───────────────> network ───────────────> disk
///   ^                      │
///   └── default, none ─────┘
/// ```
package struct BootSelection: Codable, Sendable, Equatable {
    /// Wanted for the next start only.
    package private(set) var next: BootDevice?

    package init() {}

    /// What the next start takes first.
    package var device: BootDevice { next ?? .disk }

    /// The hook's word for it.
    package var word: String { next == nil ? "default" : "pxe" }

    /// Takes the hook's word.
    /// - Returns: false when the word names a device that the lab's machines do not have.
    package mutating func select(_ word: String) -> Bool {
        switch word {
        case "pxe": next = .network
        case "default", "none": next = nil
        default: return false
        }
        return true
    }

    /// The device of a start that happens now; the wish for it is used up.
    package mutating func takeForStart() -> BootDevice {
        defer { next = nil }
        return device
    }
}
