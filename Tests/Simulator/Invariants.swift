import AgentSystem
import Baremetal
import Basics
import Deployment
import FoundationEssentials
import Power
import Protocol
import Store
import SwiftProtobuf
import Transport

/// What must be true of every world after every event.
package enum Invariant: String, CaseIterable, Sendable {
    case oneWriter
    case hintedDiskOnly
    case heldPower
    case tableOnly
    case activeIsWritten
    case reportsCount
    case storedBeforeSent
    case noForeignSecrets
    case withinBudget
    case boundedWork
    case healthyWorkSucceeds
    case feedIsComplete
    case timeGoesOn

    /// The invariant in one sentence.
    package var sentence: String {
        switch self {
        case .oneWriter: "At most one program at a time writes to a disk."
        case .hintedDiskOnly:
            "No image is written to a disk that the hints exclude, and nothing to a removable one."
        case .heldPower:
            "The controller switches no machine by itself in maintenance, and none at all under lockout."
        case .tableOnly: "A node moves only along the life-cycle table, and its attempt only grows."
        case .activeIsWritten:
            "While a node is active its disk holds the image, also if the power were cut now."
        case .reportsCount:
            "A report is applied once, only if its agent made it, and is never lost."
        case .storedBeforeSent: "A command leaves the controller only after it was stored."
        case .noForeignSecrets: "No message to a machine holds a secret of another."
        case .withinBudget: "Once faults have healed, no state outlasts its time budget."
        case .boundedWork:
            "No node begins bounded work beyond the limit, and nothing is done for one that waits its turn."
        case .healthyWorkSucceeds: "What is asked for after everything was healed succeeds."
        case .feedIsComplete:
            "The change feed has no gap, and its last entries are what the tables hold."
        case .timeGoesOn: "The system never works on without time passing."
        }
    }
}

/// Checks the invariants and remembers the first that was broken.
final class Invariants: Sendable {
    struct Violation {
        let invariant: Invariant
        let detail: String
    }

    struct Finished {
        let command: String
        let machine: String
        let life: Life
        let at: Duration
        /// Whether its agent has sent the report at least once.
        var isReported = false
    }

    struct State {
        var violation: Violation?
        var writesSeen: UInt64 = 0
        var runSeen = 0
        var sequence: Int64 = 0
        /// Nodes as they are stored.
        var nodes: [NodeID: Node] = [:]
        /// The last state of each object by the change feed.
        var fed: [String: String] = [:]
        /// Commands whose reports are waited for.
        var awaited: Set<String> = []
        /// Commands that are over, and those that agents carried out.
        var closed: Set<CommandID> = []
        var done: Set<String> = []
        var finished: [Finished] = []
        var sent: Set<String> = []
        var tokens: [(token: [UInt8], node: NodeID)] = []
        /// Attempts whose work was asked for when nothing was wrong any more.
        var healthy: [NodeID: Attempt] = [:]
    }

    /// Slack beyond a budget: the clock's period and what an answer takes.
    static let slack = Duration.seconds(30)
    /// The longest pause between two repetitions of a report, and some slack.
    static let reportWithin = SessionTiming.resultRepeatMax + .seconds(60)

    let state = Confined(State())
    let world = Confined<World?>(nil)

    var violation: Violation? { state.value.violation }
    var tokens: [[UInt8]] { state.value.tokens.map(\.token) }

    func node(of machine: String) -> Node? {
        world.value?.images.nodeOf.value[machine].flatMap { state.value.nodes[$0] }
    }

    /// The command that a machine's node waits for.
    func command(of machine: String) -> (id: CommandID, attempt: Attempt)? {
        node(of: machine).flatMap { node in node.command.map { ($0, node.attempt) } }
    }

    func fail(_ invariant: Invariant, _ detail: String) {
        guard state.value.violation == nil else { return }
        state.value.violation = Violation(invariant: invariant, detail: detail)
        world.value?.log.add("INVARIANT", "\(invariant.rawValue): \(detail)")
    }

    // MARK: - Disks and power

    func wrote(
        _ disk: DiskHardware,
        of machine: SimulatedMachine,
        for purpose: MachineDisks.Purpose,
        claim: UInt64?
    ) {
        let path = "\(machine.name) \(disk.device.path)"
        switch purpose {
        case .write where disk.isExcluded:
            fail(.hintedDiskOnly, "an image is written to \(path)")
        case .erase where disk.device.removable:
            fail(.hintedDiskOnly, "\(path) is wiped although it is removable")
        case .write, .erase:
            guard claim == nil || disk.holder != claim else { break }
            fail(.oneWriter, "\(path) is written by somebody who has not claimed it")
        case .configDrive:
            guard disk.holder != nil else { break }
            fail(.oneWriter, "\(path) is written by two")
        }
        if purpose != .configDrive, let node = node(of: machine.name), node.state.name == .active {
            fail(.activeIsWritten, "\(path) is written while its node is active")
        }
    }

    func switches(_ change: PowerChange, user: String) {
        look()
        guard let world = world.value,
            let machine = world.machines.first(where: { $0.bmcUser == user }),
            let node = node(of: machine.name)
        else { return }
        let now = SimulatedTime.beginning + world.elapsed
        // An order and a prohibition at the same moment have no order.
        if let lockout = node.lockout, lockout.since < now {
            fail(.heldPower, "\(machine.name): power \(change.rawValue) under lockout")
        }
        if node.powerWish == nil, let maintenance = node.maintenance, maintenance.since < now {
            fail(.heldPower, "\(machine.name): power \(change.rawValue) in maintenance")
        }
    }

    // MARK: - Messages

    func issued(_ token: [UInt8], to node: NodeID) { state.value.tokens.append((token, node)) }

    func sent(_ message: ControllerMessage, to line: SimulatedAgentLink) {
        guard case .frame(let frame) = message, case .command(let command) = frame.body,
            state.value.sent.insert(command.id).inserted
        else { return }
        look()
        switch command.body {
        case .inspect, .eraseMetadata, .eraseDisks, .writeImage, .startRescue, .buildRaid,
            .deleteRaid, .restart, .burnInMemory, nil:
            let node = NodeID(command.node).flatMap { state.value.nodes[$0] }
            guard node?.command?.text != command.id || node?.attempt.number != command.attempt
            else { return }
            fail(.storedBeforeSent, "command \(command.id) leaves, but its node does not know it")
        case .applyStep, .validate: checkStored(command)
        }
    }

    private func checkStored(_ command: WireCommand) {
        guard let incarnation = world.value?.incarnation, let id = DeploymentID(command.scope)
        else { return }
        let sealer = RunSealer(sealer: incarnation.sealer)
        let stored = read(incarnation) { try $0.deployment(id, sealer: sealer) }
        let known = stored??.actions.contains { stored??.command(for: $0).id == command.id }
        if known != true { fail(.storedBeforeSent, "command \(command.id) of run \(id) leaves") }
    }

    func received(_ message: ControllerMessage, by line: SimulatedAgentLink) {
        guard let world = world.value else { return }
        let bytes: Data
        switch message {
        case .reply(let reply): bytes = encoded(reply)
        case .frame(let frame):
            guard case .command(let command) = frame.body else { return }
            bytes = encoded(command)
        }
        for machine in world.machines {
            let owns = machine.name == line.owner
            var secrets = [machine.bmcPassword.reveal()]
            if !owns { secrets.append(Operator.secret(of: machine)) }
            for secret in secrets where bytes.firstRange(of: Data(secret.utf8)) != nil {
                fail(.noForeignSecrets, "a secret of \(machine.name) reaches \(line.owner)")
            }
        }
        let own = world.images.nodeOf.value[line.owner]
        for (token, node) in state.value.tokens where node != own {
            let text = Data(token).base64EncodedData()
            guard bytes.firstRange(of: text) != nil else { continue }
            fail(.noForeignSecrets, "a token of node \(node) reaches \(line.owner)")
        }
    }

    private func encoded(_ message: some Message) -> Data {
        // Our messages always encode.
        (try? message.serializedBytes()) ?? Data()
    }

    // MARK: - Reports

    func finished(_ command: WireCommand, on machine: SimulatedMachine, life: Life) {
        state.value.done.insert(command.id)
        state.value.finished.append(
            Finished(
                command: command.id,
                machine: machine.name,
                life: life,
                at: machine.executor.elapsed
            )
        )
    }

    /// An agent that says that it lives has reported what it finished before.
    func spoken(_ frame: WireAgentFrame, by line: SimulatedAgentLink) {
        switch frame.body {
        case .result(let result):
            for index in state.value.finished.indices
            where state.value.finished[index].command == result.command {
                state.value.finished[index].isReported = true
            }
        case .heartbeat:
            guard let now = world.value?.elapsed else { return }
            for finished in state.value.finished
            where finished.machine == line.owner && finished.life.isAlive && !finished.isReported
                && state.value.awaited.contains(finished.command)
                && now > finished.at + .seconds(1)
            {
                fail(.reportsCount, "\(line.owner) has forgotten the report of \(finished.command)")
            }
        case .hello, .accepted, .progress, .logLines, nil: break
        }
    }

    /// Reads the store without anybody noticing.
    func read<Value: Sendable>(
        _ incarnation: Incarnation,
        _ body: @Sendable (Transaction) throws -> Value
    ) -> Value? {
        do {
            return try incarnation.database.assumeIsolated { try $0.read(body) }
        } catch {
            fail(.feedIsComplete, "the database cannot be read: \(error)")
            return nil
        }
    }
}
