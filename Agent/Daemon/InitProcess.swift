import AgentSystem
import Basics
import CLinux
import Glibc
import Logging
import Protocol

/// Process 1 of the ramdisk: prepares the machine, keeps the agent running, reaps orphans, never ends.
///
/// It is synchronous and single-threaded on purpose: nothing in it may fail in a way that ends it,
/// because the kernel panics with it.
struct InitProcess {
    /// Pauses before the agent is started again, in seconds; the last one stays.
    private static let pauses: [UInt32] = [1, 1, 2, 5, 10, 30]
    /// An agent that ran this long, in milliseconds, did not crash at its start.
    private static let soundAfter: Int64 = 120_000

    /// Prepares the machine, then starts the agent again whenever it ends.
    func run() -> Never {
        // Descriptors 0 to 2 must exist before anything opens a file.
        var file = open("/dev/null", O_RDWR)
        while file >= 0, file < 2 { file = open("/dev/null", O_RDWR) }
        let firstProblem = mountKernelFileSystems()
        // The kernel would drop most of our lines at the start.
        write("on\n", toFile: "/proc/sys/kernel/printk_devkmsg")
        let log = AgentLog.make(.kernel)
        if let firstProblem { log.error("\(firstProblem)") }
        log.notice("rdo-agent \(agentVersion) is process \(getpid())")
        loadModules(log)
        try? SystemNetwork().bringUp("lo")  // Nothing but convenience hangs on it.
        keepAgentRunning(log)
    }

    private func mountKernelFileSystems() -> (any Error)? {
        let mounts = SystemMounts()
        var problem: (any Error)?
        func mount(_ source: String, _ path: String, _ type: String, _ options: String = "") {
            do {
                try mounts.mount(source, at: path, type: type, options: options, readOnly: false)
            } catch {
                problem = problem ?? error
            }
        }
        mount("proc", "/proc", "proc")
        mount("sysfs", "/sys", "sysfs")
        mount("devtmpfs", "/dev", "devtmpfs", "mode=0755")
        mount("devpts", "/dev/pts", "devpts", "mode=0620,ptmxmode=0666")
        mount("tmpfs", "/run", "tmpfs", "mode=0755,size=16m")
        mount("tmpfs", "/tmp", "tmpfs", "mode=1777,size=64m")
        return problem
    }

    private func loadModules(_ log: Logger) {
        let modules = SystemKernelModules()
        let began = milliseconds()
        let loaded = modules.loadDrivers()
        // No device asks for these: the BMC's device file, firmware variables, packet sockets.
        let listed =
            FileTree().text("/etc/rdo/modules") ?? "ipmi_si\nipmi_devintf\nefivarfs\naf_packet"
        for name in listed.split(whereSeparator: \.isWhitespace) {
            // A machine without a BMC refuses ipmi_si, one without EFI efivarfs.
            _ = try? modules.load(String(name))
        }
        if FileTree().exists("/sys/firmware/efi") {
            do {
                try SystemMounts().mount(
                    "efivarfs",
                    at: "/sys/firmware/efi/efivars",
                    type: "efivarfs",
                    options: "",
                    readOnly: false
                )
            } catch {
                log.warning("no firmware variables", metadata: [LogKey.error: "\(error)"])
            }
        }
        log.info(
            "modules loaded",
            metadata: [
                LogKey.count: "\(loaded.count)",
                LogKey.durationMilliseconds: "\(milliseconds() - began)",
                LogKey.reason: "\(loaded.joined(separator: " "))",
            ]
        )
    }

    private func keepAgentRunning(_ log: Logger) -> Never {
        var failures = 0
        while true {
            let began = milliseconds()
            let pid = start(log)
            if pid > 0 {
                let status = reap(until: pid)
                log.error(
                    "the agent ended; starting it again",
                    metadata: [LogKey.status: "\(status)"]
                )
            }
            failures = milliseconds() - began > Self.soundAfter ? 0 : failures + 1
            pause(Self.pauses[min(failures, Self.pauses.count - 1)])
        }
    }

    private func start(_ log: Logger) -> pid_t {
        let own = FileTree().link("/proc/self/exe") ?? "/init"
        let words = [own, "run"]
        let settings = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LC_ALL=C.UTF-8"]
        let arguments = words.map { strdup($0) } + [nil]
        let environment = settings.map { strdup($0) } + [nil]
        defer { (arguments + environment).forEach { free($0) } }
        let pid = rdo_spawn(own, arguments, environment, "/", 0, 1, 2)
        if pid < 0 {
            log.critical(
                "cannot start the agent",
                metadata: [LogKey.error: "\(SystemFailure("start \(own)", code: -pid))"]
            )
        }
        return pid
    }

    /// Waits for the agent; collects every orphan meanwhile.
    private func reap(until agent: pid_t) -> Int32 {
        while true {
            var status: Int32 = 0
            let pid = waitpid(-1, &status, 0)
            if pid == agent { return status }
            if pid < 0, errno == ECHILD { return -1 }
        }
    }

    private func pause(_ seconds: UInt32) {
        let end = milliseconds() + Int64(seconds) * 1000
        while milliseconds() < end {
            var status: Int32 = 0
            while waitpid(-1, &status, WNOHANG) > 0 {}
            usleep(100_000)
        }
    }

    private func milliseconds() -> Int64 {
        SystemTime().elapsed.wholeNanoseconds / 1_000_000
    }

    private func write(_ text: String, toFile path: String) {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = Glibc.write(file, text, text.utf8.count)
        close(file)
    }
}
