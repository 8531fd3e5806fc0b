import Basics
import Boot
import HTTP
package import Power
package import Protocol
import Store
import Synchronization

// What the world reports: to be called by the reconciler, agents and the boot routes.
extension NodesService {
    /// Applies a fact to a node if the node is still as it was `seen`.
    ///
    /// What was found out for an older state or attempt is out of date and changes nothing.
    /// What else was learnt is stored with it by `edit`.
    /// - Returns: whether the node changed.
    @discardableResult
    func apply(
        _ fact: NodeFact?,
        to seen: Node,
        cause: String,
        edit: @escaping @Sendable (inout Node) -> Void = { _ in },
        also: @escaping @Sendable (Transaction, Node) throws -> Void = { _, _ in }
    ) async throws -> Bool {
        let now = time.now
        let change = try await database.write { [sealer] transaction -> (Node, Node)? in
            guard let before = try transaction.node(seen.id, sealer: sealer),
                before.attempt == seen.attempt, before.state == seen.state
            else { return nil }
            var node = before
            if let fact { try node.apply(.fact(fact), at: now) }
            edit(&node)
            guard node != before else { return nil }
            try self.arrangeTurn(transaction, before, &node, isAsked: false, at: now)
            try transaction.save(node, before: before, cause: cause, at: now, sealer: sealer)
            try also(transaction, node)
            return (before, node)
        }
        guard let change else { return false }
        note(change.0, change.1)
        return change.0.state != change.1.state || change.0.powerWish != change.1.powerWish
    }

    /// The node with this identifier; `nil` when it was deleted.
    package func find(_ id: NodeID) async throws -> Node? {
        try await database.read { [sealer] in try $0.node(id, sealer: sealer) }
    }

    /// Every node's identifier.
    func allIDs() async throws -> [NodeID] { try await database.read { try $0.nodeIDs() } }

    /// Takes the outcome of a command.
    /// - Returns: whether the command was the node's present one; otherwise nothing changed.
    func take(_ result: WireCommandResult, from id: NodeID) async throws -> Bool {
        guard let command = CommandID(result.command) else { return false }
        // An abort, for instance, may change the state while the outcome is on its way into the
        // database; the agent would be told to forget what nobody took.
        for look in 0..<Self.looksMax {
            guard let node = try await find(id),
                node.expects(command, attempt: Attempt(result.attempt))
            else { return look > 0 }
            try await take(result, of: command, on: node)
            queue.wake(id)
        }
        return true
    }

    /// Looks at a node whose state changes again and again while an outcome is taken.
    private static let looksMax = 5

    private func take(
        _ result: WireCommandResult,
        of command: CommandID,
        on node: Node
    ) async throws {
        guard node.plan?.current.map({ result.outcome?.fits($0.work) ?? true }) ?? true else {
            return try await refuseOutcome(of: command, on: node)
        }
        switch result.outcome {
        case .failure(let failure):
            let fact = NodeFact.commandFailed(
                command,
                message: String(failure.message.prefix(2000)),
                isRetryable: failure.retryable
            )
            let lines = failure.lines.suffix(64).map { String($0.prefix(1024)) }
            try await apply(fact, to: node, cause: "the agent reports a failure") { node in
                node.lastLines = lines
            }
        case .inventory(let inventory):
            try await take(inventory, of: command, on: node)
        case .erased(let erased):
            try await take(erased, of: command, on: node)
        case .builtRaid(let built): try await take(built, of: command, on: node)
        case .restarting:
            try await apply(.commandDone(command, device: ""), to: node, cause: "the agent is done")
        case .written(let written):
            let fact = NodeFact.commandDone(command, device: String(written.device.prefix(200)))
            let choice = written.choice.prefix(64).map { String($0.prefix(1024)) }
            let summary = written.summary
            try await apply(fact, to: node, cause: "the image is written") { node in
                node.lastLines = choice + [summary]
            }
        case .burnedIn(let tested):
            let summary = tested.summary
            try await apply(
                .commandDone(command, device: ""),
                to: node,
                cause: summary
            ) { $0.lastLines = [summary] }
        case .rescueStarted(let started):
            let lines = started.lines
            try await apply(
                .commandDone(command, device: ""),
                to: node,
                cause: "the rescue system takes its user"
            ) {
                $0.lastLines = lines
            } also: { [sealer] transaction, node in
                try transaction.save(rescueHash: nil, of: node.id, sealer: sealer)
            }
        case .stepApplied, .validated, nil: try await refuseOutcome(of: command, on: node)
        }
    }

    private func refuseOutcome(of command: CommandID, on node: Node) async throws {
        let fact = NodeFact.commandFailed(
            command,
            message: "its outcome is of another kind than the command",
            isRetryable: false
        )
        try await apply(fact, to: node, cause: "the agent's outcome makes no sense")
    }

    /// Lines of a node's history about rules that did not fit.
    private static let complaintsMax = 10

    /// Takes what an inspection found, and what the stored rules make of it.
    private func take(
        _ inventory: WireInventory,
        of command: CommandID,
        on node: Node
    ) async throws {
        let now = time.now
        let document = inventory.document
        var found = node
        found.learn(from: inventory)
        let run: InspectionRun
        do {
            run = try await applyRules(
                to: found,
                inventory: document,
                pluginData: inventory.pluginData
            )
        } catch let fault as Fault where fault.kind == .invalid {
            let fact = NodeFact.commandFailed(
                command,
                message: fault.message,
                isRetryable: false
            )
            try await apply(fact, to: node, cause: "an inspection rule refuses it")
            return
        }
        let ports = inventory.interfaces.prefix(WireInventory.partsMax).compactMap {
            MACAddress($0.macAddress)
        }
        let booted = MACAddress(inventory.boot.pxeInterface)
        let left = Mutex<[String]>([])
        let made = ports.map { address in
            var port = Port(id: random.identifier(), node: node.id, address: address, at: now)
            port.isPXEEnabled = booted == nil || booted == address
            return port
        }
        try await apply(
            .commandDone(command, device: ""),
            to: node,
            cause: "inspected"
        ) { node in
            node.learn(from: inventory)
            // It was tried on this node; an edit since then that does not fit a rule goes before that rule.
            let complaints = run.changeAsFarAsPossible(&node, at: now)
            left.withLock { $0 = complaints }
        } also: { transaction, node in
            for complaint in left.withLock({ $0.prefix(Self.complaintsMax) }) {
                let sentence = "an inspection rule was left out: \(complaint)"
                try transaction.recordEvent(of: node, sentence, at: now)
            }
            try transaction.save(document, pluginData: run.pluginData, of: node.id, at: now)
            for port in made where try transaction.port(at: port.address) == nil {
                try transaction.save(port, cause: "found by inspection", at: now)
            }
        }
    }

    /// Keeps how far a command is, for the API; it is not stored.
    func take(_ report: WireProgress, from id: NodeID) {
        guard let command = CommandID(report.command) else { return }
        let new = WorkProgress(
            command: command,
            phase: String(report.phase.prefix(40)),
            doneBytes: report.doneBytes,
            totalBytes: report.totalBytes,
            bytesPerSecond: report.bytesPerSecond.isFinite ? max(0, report.bytesPerSecond) : 0,
            text: String(report.text.prefix(400)),
            at: time.now
        )
        progress.withLock { $0[id] = new }
    }
}

extension Node {
    /// Takes over what an inspection found.
    mutating func learn(from inventory: WireInventory) {
        properties.merge(inventory.properties) { _, found in found }
        learnBootMode(inventory.boot.currentBootMode)
    }

    /// Writes how the firmware boots into the `capabilities` property, unless the operator did.
    mutating func learnBootMode(_ mode: String) {
        guard BootMode(rawValue: mode) != nil else { return }
        var capabilities = self.capabilities
        guard capabilities["boot_mode"] == nil else { return }
        capabilities["boot_mode"] = mode
        properties["capabilities"] = .string(
            capabilities.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
                .joined(separator: ",")
        )
    }

    /// The `capabilities` property, `name:value` pairs with commas between them.
    package var capabilities: [String: String] {
        var found: [String: String] = [:]
        for pair in (properties["capabilities"]?.text ?? "").split(separator: ",") {
            let parts = pair.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            found[String(parts[0])] = String(parts[1])
        }
        return found
    }

    /// How the firmware is told to boot: as the operator says, else as it does.
    package var bootMode: BootMode {
        capabilities["boot_mode"].flatMap(BootMode.init(rawValue:)) ?? observedBootMode ?? .bios
    }
}

extension WireWrittenImage {
    /// What was done, in one line for people.
    fileprivate var summary: String {
        func size(_ bytes: UInt64) -> String { ByteCount(Int64(clamping: bytes)).description }
        return "wrote \(size(writtenBytes)) and kept \(size(keptBytes)) that stood there already, "
            + "in \(shownSeconds(seconds)) s; read back \(size(readBackBytes))"
    }
}

/// Whole seconds for people; a machine may say anything.
func shownSeconds(_ seconds: Double) -> Int {
    seconds.isFinite ? Int(min(max(seconds, 0), 1e6).rounded()) : 0
}

extension WireCommandResult.OneOf_Outcome {
    /// Whether a command for this work can end so: an erase that is not proven is none.
    fileprivate func fits(_ work: StepWork) -> Bool {
        switch (work, self) {
        case (_, .failure): true
        case (.agent(.eraseMetadata), .erased), (.agent(.eraseDisks), .erased),
            (.agent(.eraseExpress), .erased), (.agent(.buildRAID), .builtRaid),
            (.agent(.deleteRAID), .builtRaid), (.agent(.burnInMemory), .burnedIn),
            (.agent(.writeImage), .written), (.agent(.writeImage), .restarting):
            true
        case (.agent, _), (_, .erased), (_, .builtRaid), (_, .burnedIn), (_, .written): false
        default: true
        }
    }
}
