import Basics
import Protocol
import Transport

/// The provisioning network: the line between every agent and the controller, and what is wrong with it.
///
/// Behind the seams it is stricter than ZeroMQ, which keeps order and loses nothing while a connection
/// stands: here frames are lost, late, doubled and out of order.
final class SimulatedNetwork: Sendable {
    struct State {
        var controller: SimulatedControllerLink?
        var lines: [UInt64: SimulatedAgentLink] = [:]
        var made: UInt64 = 0
        var dice: Dice
        /// Machines that nothing reaches, by address.
        var cut: Set<String> = []
        /// When the last frame of each line and direction arrives, for lines that keep order.
        var lastArrival: [String: Duration] = [:]
        /// Frames that an attacker recorded.
        var recorded: [(line: UInt64, frame: WireAgentFrame)] = []
    }

    static let recordedMax = 64

    let state: Confined<State>
    let executor: SimulatedExecutor
    let log: EventLog
    private let faults: ActiveFaults
    /// Told of every message that reaches a machine: who gets it, and what.
    let received = Confined<(SimulatedAgentLink, ControllerMessage) -> Void>({ _, _ in })
    /// Told of every frame that an agent means to send.
    let spoken = Confined<(SimulatedAgentLink, WireAgentFrame) -> Void>({ _, _ in })
    /// Told of every message that the controller sends.
    let sent = Confined<(SimulatedAgentLink, ControllerMessage) -> Void>({ _, _ in })

    init(executor: SimulatedExecutor, dice: Dice, faults: ActiveFaults, log: EventLog) {
        self.executor = executor
        self.faults = faults
        self.log = log
        state = Confined(State(dice: dice))
    }

    func makeController(life: Life) -> SimulatedControllerLink {
        let link = SimulatedControllerLink(self, life: life)
        state.value.controller = link
        return link
    }

    /// The controller is gone: every connection ends.
    func stopController() {
        guard let old = state.value.controller else { return }
        state.value.controller = nil
        old.finish()
        for line in lines { line.disconnect() }
    }

    func makeAgent(key: CurvePublicKey, address: String, owner: String, life: Life)
        -> SimulatedAgentLink
    {
        state.value.made += 1
        let line = SimulatedAgentLink(
            self,
            number: state.value.made,
            key: key,
            address: address,
            owner: owner,
            life: life
        )
        state.value.lines[line.number] = line
        return line
    }

    /// All lines, the oldest first.
    var lines: [SimulatedAgentLink] {
        state.value.lines.sorted { $0.key < $1.key }.map(\.value)
    }

    func remove(_ line: SimulatedAgentLink) { state.value.lines[line.number] = nil }

    /// Cuts a machine off, or heals its cable; TCP notices only later.
    func setCut(_ isCut: Bool, address: String) {
        guard isCut != state.value.cut.contains(address) else { return }
        log.add("network", isCut ? "\(address) is cut off" : "\(address) is back")
        guard isCut else {
            state.value.cut.remove(address)
            return
        }
        state.value.cut.insert(address)
        let notices = state.value.dice.span(.seconds(1), .seconds(40))
        executor.after(notices) { [self] in
            for line in lines where line.address == address && isUnreachable(address) {
                line.disconnect()
            }
        }
    }

    /// A report is on its way: the line may break just then, so that its answer is lost.
    func mayBreak(_ line: SimulatedAgentLink) {
        guard faults.contains(.partition), state.value.dice.happens(250) else { return }
        executor.after(state.value.dice.span(.milliseconds(1), .milliseconds(10))) { [self] in
            setCut(true, address: line.address)
            line.disconnect()
            executor.after(state.value.dice.span(.seconds(2), .seconds(28))) { [self] in
                setCut(false, address: line.address)
            }
        }
    }

    func isUnreachable(_ address: String) -> Bool { state.value.cut.contains(address) }

    /// The controller, for whoever reaches it.
    func controller(for address: String) -> SimulatedControllerLink? {
        isUnreachable(address) ? nil : state.value.controller
    }

    /// Brings a message over the network, or not.
    func carry(_ what: String, along line: String, _ deliver: @escaping () -> Void) {
        if faults.contains(.messageLoss), state.value.dice.happens(100) {
            log.add("network", "lost \(what) on \(line)")
            return
        }
        send(what, along: line, deliver)
        if faults.contains(.messageDuplication), state.value.dice.happens(100) {
            log.add("network", "doubled \(what) on \(line)")
            send(what, along: line, deliver)
        }
    }

    private func send(_ what: String, along line: String, _ deliver: @escaping () -> Void) {
        var span = state.value.dice.span(.milliseconds(1), .milliseconds(4))
        if faults.contains(.messageDelay), state.value.dice.happens(150) {
            span += state.value.dice.span(.milliseconds(100), .seconds(8))
        }
        if !(faults.contains(.messageReordering) && state.value.dice.happens(300)) {
            let last = state.value.lastArrival[line] ?? .zero
            span = max(span, last - executor.elapsed)
            state.value.lastArrival[line] = executor.elapsed + span
        }
        executor.after(span, deliver)
    }

    /// Keeps what an attacker on the segment could record.
    func record(_ frame: WireAgentFrame, of line: SimulatedAgentLink) {
        guard faults.contains(.replay) || faults.contains(.forgery) else { return }
        state.value.recorded.append((line.number, frame))
        if state.value.recorded.count > Self.recordedMax { state.value.recorded.removeFirst() }
    }
}

/// The faults that are switched on now.
final class ActiveFaults: Sendable {
    private let kinds: Confined<Set<FaultKind>>

    init(_ kinds: Set<FaultKind>) { self.kinds = Confined(kinds) }

    func contains(_ kind: FaultKind) -> Bool { kinds.value.contains(kind) }
    func heal() { kinds.value = [] }
}
