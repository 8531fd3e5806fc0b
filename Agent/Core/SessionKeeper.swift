package import AgentSystem
package import Basics
package import Logging
package import Protocol
package import Transport

/// Holds the session's rules (`AgentSessionMachine`) and carries out what they say.
///
/// All changes of the session happen here, one after the other; nothing in it waits.
package actor SessionKeeper {
    /// What the caller has to do about an event.
    package enum Demand: Sendable, Equatable {
        case nothing
        /// The key is not bound any more.
        case enrol
        /// The controller told its time.
        case time(Timestamp)
    }

    private var session: AgentSessionMachine
    private let link: any AgentLink
    private let machine: Machine
    private let journal: any OutcomeJournal
    private let time: any TimeSource
    private let log: Logger
    private var current: CommandRun?
    private var earlyStops: [String: StopReason] = [:]
    private var lastStored: CommandID?
    private var metricSeconds: UInt32 = 10

    /// Commands to run, in order.
    ///
    /// Two at most: the one that runs and the one that replaces it.
    nonisolated package let commands = Inbox<WireCommand>(countMax: 4, overflow: .refuseNewest)

    package init(
        session: [UInt8],
        hello: WireHello,
        link: any AgentLink,
        machine: Machine,
        journal: any OutcomeJournal,
        time: any TimeSource,
        log: Logger
    ) {
        self.session = AgentSessionMachine(
            session: session,
            hello: hello,
            journalled: journal.load()
        )
        self.link = link
        self.machine = machine
        self.journal = journal
        self.time = time
        self.log = log
    }

    /// Our key is bound.
    package func admitted(version: UInt32) { session.admitted(version: version) }

    /// Seconds between two metric batches, as the controller wants them.
    package var metricPause: Duration { .seconds(Int64(min(max(metricSeconds, 1), 3600))) }

    /// Whether the session is live.
    package var isLive: Bool { session.state == .live }

    /// Takes an event of the link.
    package func receive(_ event: AgentLinkEvent) -> Demand {
        switch event {
        case .connected:
            link.send(session.connected(uptimeSeconds: machine.uptimeSeconds(), at: time.elapsed))
        case .disconnected: session.disconnected()
        case .keyRefused:
            session.keyRefused()
            return .enrol
        case .frame(let frame): return act(session.receive(frame, at: time.elapsed))
        }
        return .nothing
    }

    /// Time has passed.
    package func tick() {
        let frames = session.tick(
            uptimeSeconds: machine.uptimeSeconds(),
            clock: time.now,
            at: time.elapsed
        )
        for frame in frames { link.send(frame) }
    }

    /// A command begins to run; a stop that came before it is handed on.
    package func begin(_ run: CommandRun) {
        current = run
        if let reason = earlyStops.removeValue(forKey: run.id) { run.stop(reason) }
    }

    /// Passes on what the running command says.
    package func report(_ report: CommandRun.Report) {
        let frame =
            switch report {
            case .progress(let progress): session.report(progress)
            case .lines(let lines): session.report(lines)
            }
        if let frame { link.send(frame) }
    }

    /// A command has ended: its outcome is kept, then reported.
    package func end(_ result: WireCommandResult) {
        current = nil
        // A result that nobody wants any more does not push a wanted one out of the journal.
        guard session.runningCommand?.text == result.command else { return }
        do {
            try journal.save(result)
        } catch {
            log.error(
                "cannot journal an outcome: a restart of the agent would repeat the command",
                metadata: [LogKey.commandID: "\(result.command)", LogKey.error: "\(error)"]
            )
        }
        if let frame = session.finished(result, at: time.elapsed) { link.send(frame) }
    }

    /// Whether the controller has stored this command's result.
    package func isStored(_ command: String) -> Bool { lastStored?.text == command }

    private func act(_ event: AgentSessionEvent) -> Demand {
        switch event {
        case .welcomed(let welcome, let frames):
            log.notice("session with the controller is live")
            metricSeconds = welcome.metricSeconds
            for frame in frames { link.send(frame) }
            return .time(Timestamp(nanoseconds: welcome.controllerTimeNanoseconds))
        case .heartbeatAnswered(let answer): metricSeconds = answer.metricSeconds
        case .start(let command, let frame): accept(command, frame)
        case .replace(let running, let command, let frame):
            stop(running.text, .replaced)
            accept(command, frame)
        case .answer(let frame): link.send(frame)
        case .cancel(let command): stop(command.text, .cancelled)
        case .stored(let command): lastStored = command
        case .enrolAgain(let reason):
            log.notice("the controller ended the session", metadata: [LogKey.reason: "\(reason)"])
            return .enrol
        case .ignored(let why):
            log.debug("ignored a frame", metadata: [LogKey.reason: "\(why.rawValue)"])
        }
        return .nothing
    }

    private func accept(_ command: WireCommand, _ frame: WireAgentFrame) {
        log.notice(
            "command accepted",
            metadata: [
                LogKey.commandID: "\(command.id)", LogKey.attempt: "\(command.attempt)",
                LogKey.command: "\(command.name)",
            ]
        )
        commands.push(command)
        link.send(frame)
    }

    private func stop(_ command: String, _ reason: StopReason) {
        if current?.id == command {
            current?.stop(reason)
        } else {
            // Accepted, but waiting behind another: it must not begin.
            earlyStops[command] = reason
        }
    }
}

extension WireCommand {
    /// One word for the log.
    var name: String {
        switch body {
        case .inspect: "inspect"
        case .eraseMetadata: "erase_metadata"
        case .eraseDisks: "erase_disks"
        case .writeImage: "write_image"
        case .startRescue: "start_rescue"
        case .burnInMemory: "burn_in_memory"
        case .buildRaid: "build_raid"
        case .deleteRaid: "delete_raid"
        case .restart: "restart"
        case .applyStep: "apply_step"
        case .validate: "validate"
        case nil: "unknown"
        }
    }
}
