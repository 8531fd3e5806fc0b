import CLinux
import Glibc

/// Restarts through systemd, so that services end in order: right for an installed node.
package struct SystemdPowerSwitch: PowerSwitch {
    package init() {}

    package func restart(powerOff: Bool) throws {
        sync()
        let program = "/usr/bin/systemctl"
        let words = [program, "--no-block", powerOff ? "poweroff" : "reboot"]
        let arguments = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        let environment: [UnsafeMutablePointer<CChar>?] = [nil]
        let pid = try SystemFailure.check(
            rdo_spawn(program, arguments, environment, "/", 0, 1, 2),
            "start \(program)"
        )
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else { throw SystemFailure("restart through systemd", code: EIO) }
    }
}
