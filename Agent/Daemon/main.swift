import AgentSystem
import Glibc

/// The version that the agent reports; a release sets it.
let agentVersion = "0.1.0"

let usage = """
    usage: rdo-agent init                     run as process 1 of the ramdisk
           rdo-agent run [--boot FILE]        the ramdisk's agent (default: /rdo/boot.json)
           rdo-agent overcloud [--state DIR]  the agent of an installed node
                                              (default: /var/lib/rdo-agent)
           rdo-agent inventory                print what the machine is made of, as JSON
           rdo-agent metrics                  print one batch of metrics, as JSON
           rdo-agent version

    """

/// The value of an option, or its default; any other argument ends the program.
func option(_ name: String, default value: String) -> String {
    let rest = CommandLine.arguments.dropFirst(2)
    if rest.isEmpty { return value }
    guard rest.count == 2, rest.first == name, let given = rest.last, given.hasPrefix("/") else {
        endWithUsage()
    }
    return given
}

/// Says how the program is called, and ends it.
func endWithUsage() -> Never {
    write(usage, to: 2)
    exit(2)
}

/// The kernel starts the ramdisk's /init, a link to this program, without telling it what to do.
///
/// Swift reads its arguments from /proc/self/cmdline, and there is no /proc yet: then there are
/// none at all.
let startedAsInit =
    CommandLine.arguments.isEmpty && getpid() == 1
    || CommandLine.arguments.first?.split(separator: "/").last == "init"

switch startedAsInit ? "init" : CommandLine.arguments.dropFirst().first {
case "init": InitProcess().run()
case "run":
    let log = AgentLog.make(.kernel)
    await endless(log) {
        try await RamdiskRole(bootFile: option("--boot", default: "/rdo/boot.json"), log: log).run()
    }
case "overcloud":
    let log = AgentLog.make(.standardError)
    await endless(log) {
        try await OvercloudRole(state: option("--state", default: "/var/lib/rdo-agent"), log: log)
            .run()
    }
case "inventory": await printInventory()
case "metrics": await printMetrics()
case "version": write("rdo-agent \(agentVersion)\n", to: 1)
default: endWithUsage()
}
