import CLinux
import Glibc

/// Ends the machine's run.
package protocol PowerSwitch: Sendable {
    /// Writes what is cached to the disks and restarts, or switches off. Returns only on failure.
    /// - Throws: `SystemFailure`.
    func restart(powerOff: Bool) throws
}

/// Restarts at once through the kernel: right for the ramdisk, where nothing else runs.
package struct KernelPowerSwitch: PowerSwitch {
    package init() {}

    package func restart(powerOff: Bool) throws {
        sync()
        try SystemFailure.check(rdo_reboot(powerOff ? 1 : 0), powerOff ? "power off" : "restart")
    }
}

/// The time of day.
package enum SystemClock {
    /// Sets it.
    /// - Throws: `SystemFailure` without the privilege.
    package static func set(nanoseconds: Int64) throws {
        try SystemFailure.check(rdo_set_clock(nanoseconds), "set the clock")
    }
}
