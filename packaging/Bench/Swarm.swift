import Basics
import CZeroMQ
import FoundationEssentials
import Glibc
import Protocol

/// Thousands of simulated agents over real CURVE connections, on a thread of their own.
///
/// They get their tokens where machines get them, from the boot route, each with a lease and an address of
/// its own; they speak the real messages through the agent's own session machine. What they lack is a
/// machine underneath: no step is ever run.
package actor Swarm {
    /// Requests at the enrolment socket that wait for their reply; the controller takes 64 at a time and
    /// tells more to come again.
    private static let enrollingMax = 48
    private static let budgetSeconds = 120.0

    private let thread: OwnThread
    private let context: SwarmContext
    /// What each agent's socket is watched by, at the agent's number.
    private var watched: [pollfd] = []
    private var agents: [SwarmAgent] = []
    private var boots: [BootFile] = []
    private let time = SystemTime()
    private var telemetries = 0

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        thread.asUnownedSerialExecutor()
    }

    /// Makes room for this many agents.
    package init(agentsMax: Int) throws {
        thread = OwnThread(name: "swarm")
        context = try SwarmContext(socketsMax: Int32(agentsMax * 2 + 64))
    }

    /// The lines that dnsmasq would write about machines with these numbers.
    package static func leases(_ count: Int) -> String {
        (0..<count).map {
            "0 \(SwarmAgent.mac($0)) \(SwarmAgent.address($0)) bench-\($0) *\n"
        }.joined()
    }

    /// Agents that are live.
    package var count: Int { agents.count }

    // MARK: - Enrolment

    /// Fetches a token for each new machine; `boot` is the plain listener of the boot routes.
    package static func fragments(
        _ machines: Range<Int>,
        _ boot: LoadTarget,
        pid: Int32
    ) async throws -> (files: [[UInt8]], result: LoadResult) {
        let files = FragmentBox(machines.count)
        let pool = LoadPool(boot, clients: 16, pid: pid)
        let first = machines.lowerBound
        let result = await pool.run(
            machines.count,
            from: { SwarmAgent.address(first + $0) },
            { number, connection in
                let path = "/boot/\(SwarmAgent.mac(first + number))/fragment"
                let answer = try connection.ask("GET", path)
                guard answer.status == 200 else {
                    return "status \(answer.status) for a boot fragment"
                }
                files.put(answer.body, at: number)
                return nil
            }
        )
        return (files.all, try result.checked("boot fragments"))
    }

    /// Enrols one machine per fragment and waits until each has a live session.
    ///
    /// Keys are made before the clock starts, as each machine makes its own.
    /// - Returns: seconds from the first connection to the last Welcome.
    package func enrol(_ files: [[UInt8]]) throws -> Double {
        let first = agents.count
        for file in files {
            boots.append(try BootFile(archive: file))
            agents.append(SwarmAgent(agents.count))
        }
        let start = time.elapsed
        var next = first
        var waiting = 0
        var live = 0
        while live < files.count {
            while next < agents.count, waiting < Self.enrollingMax {
                try agents[next].enrol(boots[next], context)
                watch(agents[next])
                next += 1
                waiting += 1
            }
            for number in ready(milliseconds: 100) {
                let agent = agents[number]
                if case .enrolling = agent.stage {
                    if try agent.receiveReply(boots[number], context) {
                        watch(agent)
                        waiting -= 1
                    }
                } else if case .greeting = agent.stage {
                    try agent.receive(beating: false)
                    if case .live = agent.stage { live += 1 }
                }
                if case .failed = agent.stage {
                    throw Fault(.unavailable, "cannot enrol agent \(number): \(agent.reason)")
                }
            }
            guard (time.elapsed - start).inSeconds < Self.budgetSeconds else {
                throw TimeBudgetExceeded(
                    subject: "enrolment of \(files.count) agents (\(live) are live)",
                    budget: .seconds(Int64(Self.budgetSeconds))
                )
            }
        }
        return (time.elapsed - start).inSeconds
    }

    // MARK: - Session

    /// Lets every agent send its next heartbeat as soon as the last was answered.
    /// - Returns: answered heartbeats and the seconds they took.
    package func beat(forSeconds span: Double) throws -> (answers: Int, seconds: Double) {
        let before = agents.reduce(0) { $0 + $1.answers }
        let start = time.elapsed
        for agent in agents { try agent.beat() }
        while (time.elapsed - start).inSeconds < span {
            for number in ready(milliseconds: 100) { try agents[number].receive(beating: true) }
        }
        let answers = agents.reduce(0) { $0 + $1.answers } - before
        let seconds = (time.elapsed - start).inSeconds
        // What is still under way is taken in peace.
        while case let rest = ready(milliseconds: 500), !rest.isEmpty {
            for number in rest { try agents[number].receive(beating: false) }
        }
        return (answers, seconds)
    }

    /// Opens telemetry connections, as many as `descriptors` allow.
    /// - Returns: how many agents have one.
    package func openTelemetry(descriptors: Int) throws -> Int {
        let possible = min(agents.count, (descriptors - 1000 - 2 * agents.count) / 2)
        while telemetries < possible {
            try agents[telemetries].openTelemetry(boots[telemetries], context)
            telemetries += 1
        }
        return telemetries
    }

    /// Lives as real agents do: a heartbeat and a batch of metrics per agent each ten seconds, spread evenly.
    package func live(forSeconds span: Double) throws {
        let start = time.elapsed
        let period = 10.0
        var sent = 0
        while case let now = (time.elapsed - start).inSeconds, now < span {
            let due = Int(now / period * Double(agents.count))
            while sent < due {
                let agent = agents[sent % agents.count]
                try agent.beat()
                if agent.number < telemetries { try agent.sendMetrics() }
                sent += 1
            }
            for number in ready(milliseconds: 10) { try agents[number].receive(beating: false) }
        }
    }

    // MARK: - Readiness

    private func watch(_ agent: SwarmAgent) {
        while watched.count <= agent.number {
            watched.append(pollfd(fd: -1, events: Int16(POLLIN), revents: 0))
        }
        watched[agent.number].fd = agent.socket?.descriptor ?? -1
        // libzmq signals only to a reader that has found nothing: so each socket is read once first.
        unseen.append(agent.number)
    }

    private var unseen: [Int] = []

    /// The agents whose socket may have something; waits for it that long.
    private func ready(milliseconds: Int32) -> [Int] {
        poll(&watched, nfds_t(watched.count), unseen.isEmpty ? milliseconds : 0)
        var numbers = unseen
        unseen = []
        for number in watched.indices where watched[number].revents != 0 { numbers.append(number) }
        return numbers
    }
}
