import Basics
import Glibc
import HostTools

/// Simulated agents on our controller.
struct AgentsSection {
    let options: BenchOptions

    /// How many agents, and how many times; large fleets need not be enrolled as often.
    private static let fleets = [(agents: 1000, target: 5.0 as Double?), (5000, nil)]
    /// The peer's API takes this many heartbeats in a second.
    private static let peerHeartbeats = 107.0
    private static let beatSeconds = 4.0
    private static let liveSeconds = 22.0

    func run() async throws -> [Figure] {
        var figures: [Figure] = []
        for (agents, target) in Self.fleets {
            var enrolled: [Double] = []
            var fragments: [Double] = []
            var cpu: [Double] = []
            let runs = agents > 1000 ? 1 : options.runs
            for run in 0..<runs {
                let server = try await ControllerServer.start(options)
                let swarm = try Swarm(agentsMax: agents)
                let (files, tokens) = try await tokens(agents, server)
                let watch = Stopwatch(server.pid)
                let seconds = try await swarm.enrol(files)
                cpu.append((watch.cpuSeconds + tokens.cpuSeconds) * 1000 / Double(agents))
                enrolled.append(tokens.seconds + seconds)
                fragments.append(tokens.rate)
                Console.line(
                    "  \(agents) agents, run \(run + 1): tokens \(number(tokens.seconds)) s, sessions \(number(seconds)) s"
                )
                if run == runs - 1 { figures += try await live(swarm, agents, server) }
                try await server.stop()
            }
            figures += [
                Figure(
                    "agents.enrol.\(agents)",
                    "\(number(Double(agents))) agents from token to live session",
                    "s",
                    .lower,
                    values: enrolled,
                    cpuMilliseconds: median(cpu),
                    target: target
                ),
                Figure(
                    "agents.fragments.\(agents)",
                    "boot fragments (a new token each), 16 machines at a time",
                    "/s",
                    .higher,
                    values: fragments
                ),
            ]
        }
        return figures
    }

    private func tokens(
        _ agents: Int,
        _ server: ControllerServer
    ) async throws -> (files: [[UInt8]], result: LoadResult) {
        try writeText(Swarm.leases(agents), to: server.folder + "/state/dhcp/leases")
        return try await Swarm.fragments(0..<agents, server.boot, pid: server.pid)
    }

    /// Heartbeats as fast as they go, then life as it is.
    private func live(
        _ swarm: Swarm,
        _ agents: Int,
        _ server: ControllerServer
    ) async throws -> [Figure] {
        var rates: [Double] = []
        var cpu: [Double] = []
        for _ in 0..<options.runs {
            let watch = Stopwatch(server.pid)
            let (answers, seconds) = try await swarm.beat(forSeconds: Self.beatSeconds)
            rates.append(Double(answers) / seconds)
            cpu.append(watch.cpuSeconds * 1000 / Double(max(answers, 1)))
        }
        let size = number(Double(agents))
        let telemetry = try await swarm.openTelemetry(descriptors: descriptorsMax)
        let watch = Stopwatch(server.pid)
        try await swarm.live(forSeconds: Self.liveSeconds)
        let share = watch.cpuSeconds / watch.seconds * 100
        return [
            Figure(
                "agents.heartbeats.\(agents)",
                "heartbeats answered, \(size) agents",
                "/s",
                .higher,
                values: rates,
                cpuMilliseconds: median(cpu),
                target: 50 * Self.peerHeartbeats
            ),
            Figure(
                "agents.memory.\(agents)",
                "controller's memory with \(size) live agents",
                "MB",
                .lower,
                values: [ProcessReading(of: server.pid).residentMB],
                note:
                    "a control connection each, a telemetry connection for \(telemetry) of them; a heartbeat and a batch of 60 samples every 10 s"
            ),
            Figure(
                "agents.cpu.\(agents)",
                "controller's CPU with \(size) live agents, share of one core",
                "%",
                .lower,
                values: [share]
            ),
        ]
    }

    private var descriptorsMax: Int {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }
}
