import Glibc

/// Restarts through systemd, so that services end in order: right for an installed node.
package struct SystemdPowerSwitch: PowerSwitch {
    package init() {}

    package func restart(powerOff: Bool) throws {
        sync()
        try Systemd.control([powerOff ? "poweroff" : "reboot"])
    }
}
