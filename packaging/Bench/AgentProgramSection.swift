import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Protocol

/// The real `rdo-agent`: its memory, its facts, and the ramdisk around it.
struct AgentProgramSection {
    let options: BenchOptions

    private static let settleSeconds = 25

    func run() async throws -> (figures: [Figure], skipped: [String]) {
        var figures = [try await facts()]
        var skipped: [String] = []
        figures += try await memory()
        if let ramdisk = ramdiskSize() {
            figures.append(ramdisk)
        } else {
            skipped.append("ramdisk size: none was built; packaging/quickstart builds one")
        }
        let boots = bootTimes()
        if boots.isEmpty {
            skipped.append(
                "boot to enrolment: no lab machine's serial log is there; packaging/quickstart makes them"
            )
        } else {
            figures.append(
                Figure(
                    "agent.boot",
                    "kernel start to enrolment, lab machines (QEMU)",
                    "s",
                    .lower,
                    values: boots,
                    note: "one value per boot in /var/lib/rdo-lab/*/serial.log"
                )
            )
        }
        return (figures, skipped)
    }

    /// Start to end of `rdo-agent inventory`.
    private func facts() async throws -> Figure {
        let agent = try BuiltProgram.path("rdo-agent")
        var values: [Double] = []
        let time = SystemTime()
        for _ in 0..<(options.runs + 1) {
            let start = time.elapsed
            try await Tool.require(agent, ["inventory"], budget: .seconds(60), time: time)
            values.append((time.elapsed - start).inSeconds * 1000)
        }
        return Figure(
            "agent.facts",
            "the agent's facts (rdo-agent inventory, a whole process)",
            "ms",
            .lower,
            // The first run reads the program from the disk.
            values: Array(values.dropFirst()),
            target: 250,
            note: "the target is hardware-detect's 0.25 s"
        )
    }

    /// An agent with a live session that sends metrics, as on an installed node.
    private func memory() async throws -> [Figure] {
        var values: [Double] = []
        var starts: [Double] = []
        var note = ""
        for _ in 0..<options.runs {
            let server = try await ControllerServer.start(options)
            let (pid, seconds) = try await startAgent(of: server)
            starts.append(seconds)
            try await SystemTime().sleep(for: .seconds(Self.settleSeconds))
            let before = ProcessReading(of: pid.identity.pid)
            values.append(before.residentMB)
            note = "CPU since its start \(number(before.cpuSeconds)) s"
            try await pid.kill(time: SystemTime())
            try await server.stop()
        }
        return [
            Figure(
                "agent.memory",
                "the agent's memory, live session, after two batches of metrics",
                "MB",
                .lower,
                values: values,
                target: 67,
                note: note
            ),
            Figure(
                "agent.start",
                "start of the agent to live session",
                "s",
                .lower,
                values: starts
            ),
        ]
    }

    /// Starts the agent as on an installed node.
    ///
    /// Its token is put into the controller's database by hand, which only a bench may do: the way to a
    /// token of an installed node is a deployment.
    private func startAgent(
        of server: ControllerServer
    ) async throws -> (process: BackgroundProcess, seconds: Double) {
        let load = BareMetalLoad(server.target, pid: server.pid)
        _ = try await load.create(1, clients: 1)
        let token = SystemRandom().bytes(32)
        let hex = token.map(hexadecimal).joined()
        try await Tool.require(
            "python3",
            [
                "-c",
                """
                import hashlib, sqlite3, sys
                database = sqlite3.connect(sys.argv[1], timeout=10)
                digest = hashlib.sha256(bytes.fromhex(sys.argv[2])).digest()
                with database:
                    database.execute(
                        "INSERT INTO agent_token VALUES (?, ?, NULL, 'overcloud', 0, ?, NULL)",
                        (digest, sys.argv[3], 2**62))
                """,
                server.folder + "/state/controller.sqlite", hex, BareMetalLoad.uuid(0),
            ],
            budget: .seconds(30),
            time: SystemTime()
        )
        let key = (readText(server.folder + "/curve.pub") ?? "").filter { $0 != "\n" }
        let directory = server.folder + "/agent"
        try makeDirectories(directory, mode: 0o700)
        try writeText(
            """
            {"address":"127.0.0.1","enrolment_port":\(server.port("agents.enrolment_port")),\
            "control_port":\(server.port("agents.control_port")),\
            "telemetry_port":\(server.port("agents.telemetry_port")),"curve_key":"\(key)",\
            "token":"\(Data(token).base64EncodedString())","boot_mac":"","role":"overcloud"}
            """,
            to: directory + "/connection.json",
            mode: 0o600
        )
        let time = SystemTime()
        let start = time.elapsed
        let process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                try BuiltProgram.path("rdo-agent"),
                ["overcloud", "--state", directory],
                pidFile: directory + "/pid",
                logFile: directory + "/log"
            )
        )
        while !server.log.contains("agent connected") {
            guard process.isAlive, time.elapsed - start < .seconds(60) else {
                throw Fault(
                    .unavailable,
                    "cannot measure the agent: it did not connect: \(readText(directory + "/log")?.suffix(300) ?? "")"
                )
            }
            try await time.sleep(for: .milliseconds(5))
        }
        return (process, (time.elapsed - start).inSeconds)
    }

    // MARK: - The ramdisk

    private func ramdiskSize() -> Figure? {
        let folder = options.repository + "/.build/quickstart/ramdisk/"
        let sizes = ["kernel", "initrd"].map { name -> Double in
            var facts = stat()
            return stat(folder + name, &facts) == 0 ? Double(facts.st_size) / 1e6 : 0
        }
        guard sizes[1] > 0 else { return nil }
        return Figure(
            "agent.ramdisk",
            "ramdisk: initrd with the agent, compressed",
            "MB",
            .lower,
            values: [sizes[1]],
            note: "the kernel beside it: \(number(sizes[0])) MB"
        )
    }

    /// The kernel's own seconds beside the agent's word that it enrolled, of each boot of each machine.
    private func bootTimes() -> [Double] {
        let root = "/var/lib/rdo-lab"
        // Without a lab there is nothing to list.
        let machines = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return machines.sorted().flatMap { machine -> [Double] in
            let text = readText("\(root)/\(machine)/serial.log") ?? ""
            return text.split(whereSeparator: \.isNewline)
                .filter { $0.contains("agent: enrolled") }
                .compactMap { line in
                    guard let open = line.firstIndex(of: "["),
                        let close = line[open...].firstIndex(of: "]")
                    else { return nil }
                    return Double(line[line.index(after: open)..<close].filter { $0 != " " })
                }
        }
    }
}
