import Basics
import Glibc
import Harness
import HostTools

/// Machines under libvirt, whose BMC is sushy-tools' Redfish emulator, on a network without DHCP.
///
/// ```
/// rdo-controller (198.51.100.1, on the bridge) <── boot image ── emulator ── libvirt ── QEMU
///        └─────────── Redfish ─────────────────────────^   (198.51.100.10; 203.0.113.11)
/// ```
final class VirtualMachines {
    /// One machine.
    struct Machine {
        let name: String
        let uuid: String
        let mac: String
        let isUEFI: Bool
        /// Which it is told to take; nobody lends one.
        let address: String
        /// What leads to the controller from another network; empty in its own.
        let router: String
        /// How many disks it has, at most four; the first is `NAME.raw`, the second `NAME-1.raw`.
        var disks = 1
    }

    static let gateway = "198.51.100.1"
    /// This host in the second machine's network.
    private static let router = "203.0.113.1"
    static let all = [
        Machine(
            name: "m0",
            uuid: "6b1b7f0c-7c27-4f0a-9b5e-0d5e1f7ad000",
            mac: "52:54:00:d0:00:01",
            isUEFI: true,
            address: "198.51.100.10",
            router: ""
        ),
        Machine(
            name: "m1",
            uuid: "6b1b7f0c-7c27-4f0a-9b5e-0d5e1f7ad001",
            mac: "52:54:00:d0:00:02",
            isUEFI: false,
            address: "203.0.113.11",
            router: router
        ),
    ]

    let folder: TemporaryFolder
    private let machines: [Machine]
    let port: UInt16
    private let bridge = "rdovm\(getpid() % 10_000)"
    private var process: BackgroundProcess?

    var log: String { folder.path + "/log" }
    /// The emulator's address.
    var url: String { "http://127.0.0.1:\(port)" }

    /// Makes the network; nothing runs yet.
    init(_ machines: [Machine] = VirtualMachines.all) async throws {
        self.machines = machines
        folder = try TemporaryFolder()
        port = try FreePorts.take()
        for arguments in [
            ["link", "add", bridge, "type", "bridge"],
            ["address", "add", Self.gateway + "/24", "dev", bridge], ["link", "set", bridge, "up"],
            ["address", "add", Self.router + "/24", "dev", bridge],
        ] {
            try await Tool.require("ip", arguments, budget: .seconds(10), time: SystemTime())
        }
    }

    /// Starts libvirt and the emulator, and waits until it answers.
    func start() async throws {
        let path = folder.path
        for machine in machines {
            let disks = Array(0..<machine.disks)
            try writeText(domain(machine, disks), to: "\(path)/\(machine.name).xml")
            let size = machine.disks == 1 ? 4 : 7
            try await Tool.require(
                "truncate",
                ["--size=\(size)G"] + disks.map { file(of: machine, disk: $0) },
                budget: .seconds(10),
                time: SystemTime()
            )
        }
        try writeText(
            "\(RedfishEmulator.user):\(RedfishEmulator.passwordHash)\n",
            to: path + "/users",
            mode: 0o600
        )
        try writeText(
            """
            SUSHY_EMULATOR_LIBVIRT_URI = 'qemu:///system'
            SUSHY_EMULATOR_AUTH_FILE = '\(path)/users'
            SUSHY_EMULATOR_STATE_DIR = '\(path)'

            """,
            to: path + "/emulator.conf"
        )
        let script = RunningCloud.root + "/Tests/IntegrationTests/Scripts/libvirt-host"
        let process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                script,
                [path, RedfishEmulator.program, "\(port)"],
                pidFile: path + "/pid",
                logFile: log
            )
        )
        self.process = process
        try await eventually("the emulator over libvirt", within: .seconds(60)) {
            guard process.isAlive else {
                throw Fault(.unavailable, "cannot start libvirt: \(readText(log) ?? "no log")")
            }
            let result = try await Tool.run(
                "curl",
                ["--silent", "\(url)/redfish/v1/"],
                budget: .seconds(10),
                time: SystemTime()
            )
            return result.exitCode == 0
        }
    }

    /// Ends every process and takes the network away.
    func end() async throws {
        try await process?.kill(time: SystemTime())
        process = nil
        try await Tool.require(
            "ip",
            ["link", "delete", bridge],
            budget: .seconds(10),
            time: SystemTime()
        )
    }

    /// What a machine says on its serial line.
    func console(of machine: Machine) -> String {
        readText("\(folder.path)/\(machine.name).log") ?? ""
    }

    private func file(of machine: Machine, disk: Int) -> String {
        "\(folder.path)/\(machine.name)\(disk == 0 ? "" : "-\(disk)").raw"
    }

    /// Switches a machine off, leaves it these disks only, and switches it on.
    func changeDisks(of machine: Machine, to disks: [Int]) async throws {
        let description = "\(folder.path)/\(machine.name)-changed.xml"
        try writeText(domain(machine, disks), to: description)
        try await virsh("destroy", machine.name)
        try await virsh("define", description)
        try await virsh("start", machine.name)
    }

    /// A command to our libvirt, which only its own namespace sees.
    private func virsh(_ arguments: String...) async throws {
        guard let host = process?.identity.pid else { return }
        let result = try await Tool.require(
            "pgrep",
            ["--parent", "\(host)"],
            budget: .seconds(10),
            time: SystemTime()
        )
        let inside = result.output.split(whereSeparator: \.isNewline).first ?? ""
        try await Tool.require(
            "nsenter",
            ["--target", "\(inside)", "--mount", "--pid", "virsh", "--connect", "qemu:///system"]
                + arguments,
            budget: .seconds(30),
            time: SystemTime()
        )
    }

    private func domain(_ machine: Machine, _ disks: [Int]) -> String {
        let code = "/usr/share/OVMF/OVMF_CODE_4M.fd"
        let variables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
        let firmware =
            machine.isUEFI
            ? """
            <loader readonly='yes' type='pflash'>\(code)</loader>
            <nvram template='\(variables)'>\(folder.path)/\(machine.name).fd</nvram>
            """ : ""
        return """
            <domain type='qemu'>
              <name>\(machine.name)</name>
              <uuid>\(machine.uuid)</uuid>
              <memory unit='MiB'>768</memory>
              <vcpu>1</vcpu>
              <os>
                <type arch='x86_64' machine='q35'>hvm</type>
                \(firmware)
                <boot dev='hd'/>
              </os>
              <features><acpi/></features>
              <cpu mode='maximum'/>
              <on_reboot>restart</on_reboot>
              <devices>
                <emulator>/usr/bin/qemu-system-x86_64</emulator>
                \(disks.enumerated().map { disk(machine, $1, place: $0) }.joined(separator: "\n"))
                <interface type='bridge'>
                  <source bridge='\(bridge)'/>
                  <mac address='\(machine.mac)'/>
                  <model type='virtio'/>
                </interface>
                <serial type='file'>
                  <source path='\(folder.path)/\(machine.name).log' append='on'/>
                </serial>
                <video><model type='none'/></video>
                <memballoon model='none'/>
              </devices>
            </domain>

            """
    }

    private func disk(_ machine: Machine, _ disk: Int, place: Int) -> String {
        let serial = machine.disks == 1 ? machine.name : "\(machine.name)-\(disk)"
        return """
            <disk type='file' device='disk'>
              <driver name='qemu' type='raw' cache='unsafe' discard='unmap' detect_zeroes='unmap'/>
              <source file='\(file(of: machine, disk: disk))'/>
              <target dev='vd\(["a", "b", "c", "d"][place])' bus='virtio'/>
              <serial>RDO-\(serial)</serial>
            </disk>
            """
    }
}
