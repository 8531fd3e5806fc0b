import Basics
import Boot
import FoundationEssentials
import Protocol
import Transport

/// Somebody on the segment, with a machine of ours in his hands.
///
/// He records and repeats frames, makes up keys and tokens, and lets one machine speak for another.
final class Attacker: Sendable {
    /// A word that nothing real ever says.
    static let mark = "forged"

    private let world: World
    private let dice: Confined<Dice>

    init(world: World) {
        self.world = world
        dice = Confined(Dice(seed: world.seed, "attacker"))
    }

    /// Sends a recorded frame again: over its own line, or over somebody else's.
    func replay() {
        guard let controller = world.network.state.value.controller else { return }
        let recorded = world.network.state.value.recorded
        guard !recorded.isEmpty else { return }
        let old = dice.value.pick(recorded)
        let lines = world.network.lines.filter(\.isConnected)
        guard let own = lines.first(where: { $0.number == old.line }) else { return }
        let line = dice.value.happens(500) ? own : dice.value.pick(lines)
        world.log.add("attacker", "replays \(old.frame.name) over line \(line.number)")
        controller.take(old.frame, from: line, connection: line.connection)
    }

    /// Tries one of the things that must not work.
    func forge() {
        switch dice.value.below(4) {
        case 0: connectWithMadeUpKey()
        case 1: enrol(with: dice.value.bytes(32))
        case 2:
            let tokens = world.invariants.tokens
            enrol(with: tokens.isEmpty ? dice.value.bytes(32) : dice.value.pick(tokens))
        default: speakForAnother()
        }
    }

    /// A second machine with the MAC of one of ours boots: it gets that one's lease and fragment, makes a
    /// key of its own, and is the first or the second to enrol.
    func bootTwin() {
        let victim = dice.value.pick(world.machines)
        world.log.add("attacker", "boots a twin of \(victim.name)")
        world.spawn("twin") { [self] in
            guard let fragment = await world.askFragment(of: victim),
                let line = makeLine(address: victim.address)
            else { return }
            // That nobody answers him is fine with him.
            _ = try? await line.enrol(request(fragment.token.revealBytes(), as: victim))
            line.finish()
        }
    }

    private func makeLine(address: String = "192.0.2.99") -> SimulatedAgentLink? {
        CurvePublicKey(bytes: dice.value.bytes(32)).map {
            world.network.makeAgent(
                key: $0,
                address: address,
                owner: "attacker",
                life: Life()
            )
        }
    }

    private func connectWithMadeUpKey() {
        guard let line = makeLine() else { return }
        world.log.add("attacker", "connects with a made-up key")
        line.open()
        world.executor.after(.seconds(20)) { line.finish() }
    }

    /// Claims to be a machine of ours.
    private func enrol(with token: [UInt8]) {
        guard let line = makeLine() else { return }
        let victim = dice.value.pick(world.machines)
        world.log.add("attacker", "enrols as \(victim.name)")
        var request = request(token, as: victim)
        request.role = dice.value.happens(500) ? .ramdisk : .overcloud
        world.spawn("attacker") { [request] in
            // No answer is fine with him.
            _ = try? await line.enrol(request)
            line.finish()
        }
    }

    private func request(_ token: [UInt8], as victim: SimulatedMachine) -> WireEnrolRequest {
        var request = WireEnrolRequest()
        request.versionMin = WireVersion.oldest
        request.versionMax = WireVersion.current
        request.exchange = Data(dice.value.bytes(16))
        request.role = .ramdisk
        request.token = Data(token)
        request.bootMac = victim.mac
        request.macs = [victim.mac]
        return request
    }

    /// One of our machines reports for another, with that one's session and command.
    private func speakForAnother() {
        guard let controller = world.network.state.value.controller else { return }
        let lines = world.network.lines.filter { $0.isConnected && $0.owner != "attacker" }
        guard lines.count > 1 else { return }
        let line = dice.value.pick(lines)
        let others = world.network.state.value.recorded.filter { recorded in
            lines.contains { $0.number == recorded.line && $0.owner != line.owner }
        }
        guard let stolen = others.last,
            let victim = lines.first(where: { $0.number == stolen.line }),
            let command = world.invariants.command(of: victim.owner)
        else { return }
        world.log.add("attacker", "lets \(line.owner) report for \(victim.owner)")
        var frame = WireAgentFrame()
        frame.version = stolen.frame.version
        frame.session = stolen.frame.session
        frame.sequence = stolen.frame.sequence + 1
        frame.result.command = command.id.text
        frame.result.attempt = command.attempt.number
        switch dice.value.below(3) {
        case 0: frame.result.failure.message = Self.mark
        case 1: frame.result.written.device = Self.mark
        default: frame.result.erased = WireErasedDisks()
        }
        controller.take(frame, from: line, connection: line.connection)
    }
}
