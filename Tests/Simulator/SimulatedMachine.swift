import AgentCore
import AgentSystem
import Basics
import Boot
import Power
import Protocol
import Transport

/// A bare machine: power, firmware, disks, and whatever runs on it.
final class SimulatedMachine: Sendable {
    /// What the machine does.
    enum Running: Equatable {
        case nothing
        case firmware
        case ramdisk
        case disk(ImageID)
        /// No disk to boot from, or a kernel that died: it waits for somebody.
        case stuck(String)
    }

    /// What an installed system keeps on its disk.
    struct Installed {
        var keys: CurveKeyPair?
        var connection: ConnectionFile?
        var admission: Admission?
        let journal = DurableJournal()
    }

    struct State {
        var dice: Dice
        var power = PowerState.off
        var running = Running.nothing
        var bootOnce: BootDevice?
        var bootAlways: BootDevice?
        var boots = 0
        var boot = Life()
        var bootedAt = Duration.zero
        var bootID = ""
        /// The program that speaks to the controller.
        var agent: (life: Life, link: SimulatedAgentLink, task: Task<Void, Never>)?
        var installed = Installed()
        var variables: [String: [UInt8]] = [:]
        /// Writes until the power is cut; `nil` when nobody cuts it.
        var cutAfterWrites: Int?
        var bmc = BMCTrouble.none
        var skew = Duration.zero
    }

    let name: String
    let number: Int
    let mac: String
    let address: String
    let systemUUID: String
    let bmcUser: String
    let bmcPassword: Secret
    let disks: [DiskHardware]
    let clearsQuickly: Bool
    let state: Confined<State>
    unowned let world: World

    init(number: Int, seed: UInt64, world: World) {
        var dice = Dice(seed: seed, "machine \(number)")
        self.number = number
        self.world = world
        name = "c0-0\(number)"
        mac = "52:54:00:c0:00:0\(number)"
        address = "192.0.2.\(10 + number)"
        systemUUID = NodeID(random: dice.bytes(16)).text
        bmcUser = "bmc\(number)"
        bmcPassword = Secret("secret-of-bmc-\(number)-\(dice.next())")
        clearsQuickly = dice.happens(700)
        disks = Self.makeDisks(number)
        state = Confined(State(dice: dice))
    }

    /// The disk that the hints name is neither the first nor the smallest.
    private static func makeDisks(_ number: Int) -> [DiskHardware] {
        var data = BlockDevice(path: "/dev/sda", bytes: 4 << 30)
        data.serial = "DATA-\(number)"
        var root = BlockDevice(path: "/dev/sdb", bytes: 5 << 30)
        root.serial = "ROOT-\(number)"
        var stick = BlockDevice(path: "/dev/sdc", bytes: 8 << 30)
        stick.serial = "STICK-\(number)"
        stick.removable = true
        return [
            DiskHardware(device: data, isExcluded: true),
            DiskHardware(device: root, isExcluded: false),
            DiskHardware(device: stick, isExcluded: true),
        ]
    }

    /// The disk that images go to.
    var root: DiskHardware { disks[1] }
    var rootSerial: String { root.device.serial }
    var executor: SimulatedExecutor { world.executor }
    var boot: Life { state.value.boot }

    func note(_ what: String) { world.log.add(name, what) }

    // MARK: - Power

    func powerOn() {
        guard state.value.power != .on else { return }
        state.value.power = .on
        note("power on")
        beginBoot()
    }

    /// What the disks had not written yet may be lost.
    func powerOff() {
        guard state.value.power == .on else { return }
        state.value.power = .off
        note("power off")
        endBoot()
        state.value.running = .nothing
        for disk in disks {
            disk.cutPower(
                &state.value.dice,
                losesWrites: world.faults.contains(.lostWrites) || world.alwaysLosesWrites
            )
        }
    }

    /// The rack's power goes and comes back.
    func powerCut(for span: Duration) {
        guard state.value.power == .on else { return }
        note("power cut")
        powerOff()
        guard state.value.dice.happens(700) else { return }
        executor.after(span) { [self] in powerOn() }
    }

    /// A warm restart: the disks keep their power.
    func reset() {
        guard state.value.power == .on else { return }
        note("restarts")
        endBoot()
        beginBoot()
    }

    private func endBoot() {
        state.value.boot.end()
        endAgent()
        for disk in disks { disk.releaseAll() }
    }

    /// The agent's process dies.
    func endAgent() {
        guard let agent = state.value.agent else { return }
        state.value.agent = nil
        agent.life.end()
        agent.link.finish()
        agent.task.cancel()
    }

    private func beginBoot() {
        state.value.boots += 1
        state.value.boot = Life()
        state.value.bootID = NodeID(random: state.value.dice.bytes(16)).text
        state.value.running = .firmware
        if world.faults.contains(.wrongClock), state.value.dice.happens(400) {
            state.value.skew = .seconds(-Int64(state.value.dice.below(800_000_000)))
            note("its clock is \(-state.value.skew.inSeconds) s behind")
        }
        later(.seconds(3), .seconds(10)) { $0.runFirmware() }
    }

    /// Goes on after a while, unless the machine was restarted meanwhile.
    func later(
        _ low: Duration,
        _ high: Duration,
        _ body: @escaping (SimulatedMachine) -> Void
    ) {
        let boot = boot
        executor.after(state.value.dice.span(low, high)) { [weak self] in
            guard let self, boot.isAlive else { return }
            body(self)
        }
    }

    // MARK: - Boot

    private func runFirmware() {
        let once = state.value.bootOnce
        state.value.bootOnce = nil
        switch once ?? state.value.bootAlways ?? .pxe {
        case .pxe: bootFromNetwork()
        case .disk, .cdrom, .bios, .safe: later(.seconds(1), .seconds(3)) { $0.bootFromDisk() }
        }
    }

    /// As iPXE with the controller's scripts: asks what to boot, then for the fragment.
    private func bootFromNetwork() {
        let boot = boot
        world.spawn("\(name) network boot") { [self] in
            let script = await world.askBootScript(of: self)
            guard boot.isAlive else { return }
            switch script {
            case .ramdisk?:
                let fragment = await world.askFragment(of: self)
                guard boot.isAlive else { return }
                guard let fragment else {
                    note("gets no fragment")
                    return later(.seconds(10), .seconds(12)) { $0.reset() }
                }
                state.value.bootedAt = executor.elapsed
                later(.seconds(5), .seconds(20)) { $0.startRamdisk(token: fragment.token) }
            case .localDisk(_)?: later(.seconds(1), .seconds(3)) { $0.bootFromDisk() }
            case nil:
                note("cannot boot from the network")
                later(.seconds(20), .seconds(40)) { $0.bootFromDisk() }
            }
        }
    }

    private func bootFromDisk() {
        let image = world.images.all.first { $0.difference(on: root, durably: false) == nil }
        guard let image else {
            note("has nothing to boot from")
            state.value.running = .stuck("no bootable disk")
            return
        }
        state.value.bootedAt = executor.elapsed
        state.value.running = .disk(image.id)
        note("boots image \(image.name)")
        guard image.hasAgent else { return }
        later(.seconds(8), .seconds(25)) { $0.startInstalled() }
    }
}

/// What is wrong with a machine's BMC.
enum BMCTrouble: String {
    case none
    case dead
    case slow
    case lying
    case refusing
    case wrongPassword
}

/// Keeps outcomes across restarts of the machine, as a flushed file does.
final class DurableJournal: OutcomeJournal {
    private let last = Confined<WireCommandResult?>(nil)

    func load() -> WireCommandResult? { last.value }
    func save(_ result: WireCommandResult) throws { last.value = result }
}
