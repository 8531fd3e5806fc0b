package import Basics
package import Logging
package import Protocol
import SwiftProtobuf
package import Transport

/// Something an agent said, for the areas.
enum AgentReport: Sendable {
    case connected(AgentSession)
    case lost(AgentIdentity)
    case progress(WireProgress, AgentIdentity)
    case result(WireCommandResult, AgentIdentity)
    case log(WireLogLines, AgentIdentity)

    var sender: AgentIdentity {
        switch self {
        case .connected(let session): AgentIdentity(node: session.node, role: session.role)
        case .lost(let identity), .progress(_, let identity), .result(_, let identity),
            .log(_, let identity):
            identity
        }
    }

    /// Whether the agent repeats it or nothing is lost without it.
    var mayBeDropped: Bool {
        switch self {
        case .connected, .lost: false
        case .progress, .result, .log: true
        }
    }
}

/// Keeps the live sessions and sends commands to them.
///
/// It knows no area: `AgentGateway` feeds it frames and hands what comes out to the areas.
package actor AgentDispatcher: AgentCommands {
    /// One agent's machine and where it can be reached.
    private final class Line {
        var machine: ControllerSessionMachine
        var session: AgentSession
        var peer: Peer
        var key: CurvePublicKey
        /// Progress and log frames that this second still allows.
        var allowance = AgentDispatcher.chatterMax

        init(_ session: AgentSession, peer: Peer, key: CurvePublicKey, metricSeconds: UInt32) {
            machine = ControllerSessionMachine(metricSeconds: metricSeconds)
            self.session = session
            self.peer = peer
            self.key = key
        }

        func send(_ frames: [WireControllerFrame], _ link: any ControllerLink) {
            for frame in frames { link.send(.frame(frame), to: peer) }
        }
    }

    /// Progress and log frames of one agent per second; more are dropped.
    static let chatterMax = 50
    /// Size of a command; more than the wire takes would end the agent's connection.
    package static let commandBytesMax = 4 << 20 - 4096

    private let link: any ControllerLink
    private let registry: AgentRegistry
    private let time: any TimeSource
    private let logger: Logger
    private let metricSeconds: UInt32
    private var lines: [AgentIdentity: Line] = [:]

    /// - Parameters:
    ///   - link: the line to all agents.
    ///   - registry: who is admitted.
    ///   - metricSeconds: how often agents send metrics, 1 to 3600.
    ///   - time: the clock.
    ///   - logger: where to log.
    package init(
        link: any ControllerLink,
        registry: AgentRegistry,
        metricSeconds: UInt32 = 10,
        time: some TimeSource,
        logger: Logger
    ) {
        self.link = link
        self.registry = registry
        self.metricSeconds = metricSeconds
        self.time = time
        self.logger = logger
    }

    package func session(of node: NodeID, role: AgentRole) -> AgentSession? {
        live(AgentIdentity(node: node, role: role))?.session
    }

    /// All live sessions, by node and role.
    package func sessions() -> [AgentSession] {
        lines.keys.sorted().compactMap { live($0)?.session }
    }

    package func send(_ command: WireCommand, to node: NodeID, role: AgentRole) -> Bool {
        guard let line = live(AgentIdentity(node: node, role: role)) else { return false }
        // What cannot be encoded is as good as too large.
        let size = (try? command.serializedBytes() as [UInt8])?.count ?? .max
        guard size <= Self.commandBytesMax else {
            logger.error(
                "command is too large to be sent",
                metadata: [
                    LogKey.nodeID: "\(node)", LogKey.commandID: "\(command.id)",
                    LogKey.count: "\(size)",
                ]
            )
            return false
        }
        guard let frame = line.machine.order(command, at: time.elapsed) else { return false }
        line.send([frame], link)
        return true
    }

    package func cancel(_ command: CommandID, on node: NodeID, role: AgentRole) {
        guard let line = live(AgentIdentity(node: node, role: role)),
            let frame = line.machine.cancel(command)
        else { return }
        line.send([frame], link)
    }

    /// Takes a frame; returns what the areas should know.
    func take(_ arrival: FrameArrival) -> AgentReport? {
        let identity = arrival.sender
        guard registry.isAdmitted(arrival.key, as: identity) else { return nil }
        let line = lines[identity] ?? makeLine(arrival)
        let now = time.now
        let event = line.machine.receive(arrival.frame, clock: now, at: time.elapsed)
        switch event {
        case .began, .heartbeat, .accepted, .progress, .result, .log:
            line.peer = arrival.peer
            line.key = arrival.key
            line.session.lastHeard = now
            line.session.address = arrival.address
        case .dismissed(let frame):
            link.send(.frame(frame), to: arrival.peer)
            return nil
        case .ignored(let reason):
            logger.debug(
                "frame ignored",
                metadata: [
                    LogKey.nodeID: "\(identity.node)", LogKey.reason: "\(reason.rawValue)",
                ]
            )
            return nil
        }
        switch event {
        case .began(let hello, let resumed, let frames):
            return begin(hello, resumed: resumed, frames: frames, on: line, arrival, at: now)
        case .heartbeat(let heartbeat, let frame):
            line.session.skewSeconds =
                Double(heartbeat.agentTimeNanoseconds &- now.nanoseconds) / 1e9
            line.session.uptimeSeconds = heartbeat.uptimeSeconds
            line.session.currentCommand = CommandID(heartbeat.currentCommand)
            line.send([frame], link)
            return nil
        case .accepted(let command, _):
            line.session.currentCommand = command
            return nil
        case .progress(let progress):
            return allowed(on: line) ? .progress(progress, identity) : nil
        case .log(let lines):
            return allowed(on: line) ? .log(lines, identity) : nil
        case .result(let result):
            return .result(result, identity)
        case .dismissed, .ignored:
            return nil
        }
    }

    /// The outcome is stored: the agent may forget it.
    func stored(_ result: WireCommandResult, from identity: AgentIdentity) {
        guard let line = lines[identity], let frame = line.machine.resultStored(result) else {
            return
        }
        if line.session.currentCommand?.text == result.command {
            line.session.currentCommand = nil
        }
        line.send([frame], link)
    }

    /// Time has passed: repeats commands, and returns the sessions that ended.
    func tick() -> [AgentReport] {
        var lost: [AgentReport] = []
        for identity in lines.keys.sorted() {
            guard let line = lines[identity] else { continue }
            line.allowance = Self.chatterMax
            guard registry.isAdmitted(line.key, as: identity) else {
                let wasLive = line.machine.liveSession != nil
                if let frame = line.machine.end(reason: "the key was revoked", enrol: true) {
                    line.send([frame], link)
                }
                lines[identity] = nil
                if wasLive { lost.append(ended(identity, line, "the key was revoked")) }
                continue
            }
            switch line.machine.tick(at: time.elapsed) {
            case .quiet: break
            case .again(let frames): line.send(frames, link)
            case .lost:
                lost.append(
                    ended(
                        identity,
                        line,
                        "nothing was heard for \(SessionTiming.lostAfter.components.seconds) s"
                    )
                )
            }
        }
        return lost
    }

    private func live(_ identity: AgentIdentity) -> Line? {
        guard let line = lines[identity], line.machine.liveSession != nil,
            registry.isAdmitted(line.key, as: identity)
        else { return nil }
        return line
    }

    private func makeLine(_ arrival: FrameArrival) -> Line {
        let now = time.now
        let session = AgentSession(
            node: arrival.sender.node,
            role: arrival.sender.role,
            session: "",
            bootID: "",
            since: now,
            lastHeard: now,
            address: arrival.address
        )
        let line = Line(
            session,
            peer: arrival.peer,
            key: arrival.key,
            metricSeconds: metricSeconds
        )
        lines[arrival.sender] = line
        return line
    }

    private func begin(
        _ hello: WireHello,
        resumed: Bool,
        frames: [WireControllerFrame],
        on line: Line,
        _ arrival: FrameArrival,
        at now: Timestamp
    ) -> AgentReport {
        line.session = AgentSession(
            node: arrival.sender.node,
            role: arrival.sender.role,
            session: hexadecimal(Array(arrival.frame.session)),
            bootID: hello.bootID,
            since: resumed ? line.session.since : now,
            lastHeard: now,
            currentCommand: CommandID(hello.currentCommand),
            address: arrival.address,
            skewSeconds: line.session.skewSeconds,
            agentVersion: hello.agentVersion,
            uptimeSeconds: hello.uptimeSeconds
        )
        line.send(frames, link)
        logger.notice(
            resumed ? "agent is back" : "agent connected",
            metadata: metadata(line.session)
        )
        return .connected(line.session)
    }

    private func ended(_ identity: AgentIdentity, _ line: Line, _ reason: String) -> AgentReport {
        var metadata = metadata(line.session)
        metadata[LogKey.reason] = "\(reason)"
        logger.notice("agent lost", metadata: metadata)
        return .lost(identity)
    }

    private func allowed(on line: Line) -> Bool {
        guard line.allowance > 0 else { return false }
        line.allowance -= 1
        return true
    }

    private func metadata(_ session: AgentSession) -> Logger.Metadata {
        [
            LogKey.nodeID: "\(session.node)", LogKey.agentSession: "\(session.session)",
            LogKey.address: "\(session.address)",
        ]
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
