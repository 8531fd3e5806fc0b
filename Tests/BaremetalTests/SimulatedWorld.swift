import Agents
import Basics
import Boot
import HTTP
import Logging
import Power
import Protocol
import Rights
import Store
import Synchronization

@testable import Baremetal

/// A clock that moves when somebody sleeps or a test says so.
final class SimulatedTime: TimeSource {
    private static let beginning = Timestamp(seconds: 1_800_000_000)
    private let state = Mutex((elapsed: Duration.zero, skew: Duration.zero))

    var now: Timestamp { state.withLock { Self.beginning + $0.elapsed + $0.skew } }
    var elapsed: Duration { state.withLock { $0.elapsed } }
    func advance(_ span: Duration) { state.withLock { $0.elapsed += span } }
    /// Somebody sets the clock; no time passes.
    func setClock(by span: Duration) { state.withLock { $0.skew += span } }
    func sleep(for span: Duration) async throws {
        try Task.checkCancellation()
        advance(span)
    }
}

/// Machines with BMCs and agents that behave, or misbehave in the ways that tests choose.
final class SimulatedWorld: Sendable {
    /// What is wrong with a BMC.
    enum BMCTrouble: Sendable, Equatable {
        case none
        /// Nothing answers.
        case dead
        case wrongPassword
        /// Takes orders and does nothing.
        case liar
    }

    /// What is wrong with an agent.
    enum AgentTrouble: Sendable, Equatable {
        case none
        /// The ramdisk never comes up.
        case silent
        /// Each command fails, and says whether another try may help.
        case fails(isRetryable: Bool)
        /// Takes commands and never reports.
        case hangs
        /// Reports are fine, but a restart is not obeyed.
        case staysInRamdisk
    }

    enum Running: Sendable, Equatable {
        case nothing
        case booting(since: Timestamp, network: Bool)
        case ramdisk
        case disk
    }

    struct Machine: Sendable {
        let node: NodeID
        let mac: MACAddress
        let number: UInt8
        var bmc = BMCTrouble.none
        var agent = AgentTrouble.none
        /// The arrays that the last image was written with.
        var raid = WireRAIDLayout()
        var power = PowerState.off
        var networkOnce = false
        /// The address of what is in the BMC's drive.
        var medium: String?
        var mediumOnce = false
        /// Its BMC refuses to change what is in the drive.
        var keepsMedia = false
        /// What the firmware found in the drive at its last start.
        var startedMedium: String?
        var diskIsFirst = false
        /// The image on the disk; `nil` is an empty disk.
        var installed: ImageID?
        var installedAgent = false
        var running = Running.nothing
        var boots = 0
        var command: WireCommand?
        var commandSince = Timestamp(nanoseconds: 0)
        var sessionSince = Timestamp(nanoseconds: 0)
        /// The hash of the password that its rescue system takes.
        var rescueHash = ""
        /// The layout that came with the last image.
        var partitions = WirePartitionLayout()
        /// Everything that was done to the machine, in order.
        var log: [String] = []
        /// Images written, to see that no disk gets two at a time.
        var writes = 0
    }

    let time = SimulatedTime()
    let machines = Mutex<[NodeID: Machine]>([:])
    private let tokens = Mutex<[String]>([])
    /// Roles and attempts of the tokens that were made.
    var issued: [String] { tokens.withLock { $0 } }
    static let bootSeconds: Duration = .seconds(20)
    static let workSeconds: Duration = .seconds(5)

    func edit(_ id: NodeID, _ body: (inout Machine) -> Void) {
        machines.withLock { machines in
            guard var machine = machines[id] else { return }
            body(&machine)
            machines[id] = machine
        }
    }

    func machine(_ id: NodeID) -> Machine? { machines.withLock { $0[id] } }

    /// Lets the machine be what it is by now, and hands out what its agent reports.
    func advance(
        _ id: NodeID,
        policy: any BootPolicy,
        report: (WireCommandResult) async throws -> Bool
    ) async throws {
        guard var machine = machine(id) else { return }
        let now = time.now
        if case .booting(let since, let network) = machine.running,
            now >= since + Self.bootSeconds
        {
            var runsRamdisk = false
            if let medium = machine.startedMedium {
                runsRamdisk =
                    try await policy.medium(of: Self.capability(of: medium)) != nil
                    && machine.agent != .silent
            } else if network, try await policy.decision(for: machine.mac) == .ramdisk,
                machine.agent != .silent
            {
                runsRamdisk = try await policy.fragment(for: machine.mac) != nil
            }
            machine.running = runsRamdisk ? .ramdisk : .disk
            machine.sessionSince = now
            machine.boots += 1
            machine.log.append(runsRamdisk ? "ramdisk runs" : "disk runs")
        }
        var result: WireCommandResult?
        if let command = machine.command, machine.running == .ramdisk,
            now >= machine.commandSince + Self.workSeconds
        {
            result = outcome(of: command, &machine)
        }
        let after = machine
        machines.withLock { $0[id] = after }
        if let result { _ = try await report(result) }
    }

    private func outcome(of command: WireCommand, _ machine: inout Machine) -> WireCommandResult? {
        var result = WireCommandResult()
        result.command = command.id
        result.attempt = command.attempt
        if machine.agent == .hangs { return nil }
        machine.command = nil
        if case .fails(let isRetryable) = machine.agent {
            var failure = WireFailure()
            failure.message = "no disk matches the hints"
            failure.retryable = isRetryable
            failure.lines = ["sda is too small"]
            result.outcome = .failure(failure)
            return result
        }
        switch command.body {
        case .inspect:
            machine.log.append("inspected")
            result.outcome = .inventory(Self.inventory(machine.mac))
        case .eraseDisks:
            machine.log.append("erased all")
            machine.installed = nil
            result.outcome = .erased(Self.erasedDisks)
        case .eraseMetadata(let erase):
            machine.log.append("erased")
            machine.installed = nil
            result.erased = WireErasedDisks()
            if erase.hasRaid { result.erased.raid = WireBuiltRAID(made: erase.raid) }
        case .writeImage(let write):
            machine.raid = write.raid
            machine.log.append("written")
            machine.writes += 1
            machine.installed = ImageID(write.image)
            machine.partitions = write.partitions
            machine.installedAgent = write.configDrive["rdo/agent.json"] != nil
            var written = WireWrittenImage()
            written.device = "/dev/sda"
            written.choice = ["sda: the smallest disk of at least 4 GiB"]
            result.outcome = .written(written)
        case .restart:
            guard machine.agent != .staysInRamdisk else { return nil }
            machine.log.append("restarted")
            boot(&machine)
            result.outcome = .restarting(WireRestarting())
        case .startRescue(let rescue):
            machine.log.append("\(rescue.user) may log in")
            machine.rescueHash = rescue.passwordHash
            result.rescueStarted.hostKeyFingerprint = "SHA256:abc"
            result.rescueStarted.addresses = ["192.0.2.50"]
        case .burnInMemory(let order):
            machine.log.append("memory tested for \(order.seconds) s")
            result.burnedIn.memoryBytes = 1 << 30
            result.burnedIn.loops = 2
            result.burnedIn.seconds = Double(order.seconds)
        case .buildRaid(let build):
            machine.log.append("built RAID")
            result.outcome = .builtRaid(WireBuiltRAID(made: build.layout))
        case .deleteRaid:
            machine.log.append("took RAID away")
            result.outcome = .builtRaid(WireBuiltRAID())
        case .applyStep, .validate, nil: return nil
        }
        return result
    }

    private static var erasedDisks: WireErasedDisks {
        var proof = WireErasedDisks.Disk()
        proof.name = "/dev/sda"
        proof.serial = "S1"
        proof.sizeBytes = 8 << 30
        proof.zeroedBytes = 8 << 30
        proof.method = "ATA security erase unit"
        proof.check = "66 marks written before are gone"
        proof.seconds = .infinity
        var erased = WireErasedDisks()
        erased.disks = [proof]
        return erased
    }

    private func boot(_ machine: inout Machine) {
        machine.startedMedium = machine.mediumOnce ? machine.medium : nil
        machine.running = .booting(
            since: time.now,
            network: !machine.mediumOnce && (machine.networkOnce || !machine.diskIsFirst)
        )
        machine.networkOnce = false
        machine.mediumOnce = false
        machine.command = nil
    }

    static func inventory(_ mac: MACAddress) -> WireInventory {
        var inventory = WireInventory()
        inventory.cpu.count = 2
        inventory.cpu.architecture = "x86_64"
        inventory.memory.physicalMb = 2048
        var disk = WireDisk()
        disk.name = "/dev/sda"
        disk.sizeBytes = 8 << 30
        inventory.disks = [disk]
        var interface = WireInterface()
        interface.name = "eth0"
        interface.macAddress = mac.text
        inventory.interfaces = [interface]
        inventory.boot.currentBootMode = "uefi"
        inventory.boot.pxeInterface = mac.text
        return inventory
    }
}

extension SimulatedWorld: PowerControl {
    func reach(_ bmc: BMC) throws -> NodeID {
        guard let machine = machines.withLock({ $0.values.first { "bmc\($0.number)" == bmc.user } })
        else {
            throw PowerFault(.noAnswer, "cannot reach BMC \(bmc.endpoint): it does not answer")
        }
        switch machine.bmc {
        case .dead:
            time.advance(.seconds(20))
            throw PowerFault(.noAnswer, "cannot reach BMC \(bmc.endpoint): it does not answer")
        case .wrongPassword:
            throw PowerFault(
                .credentials,
                "cannot use BMC \(bmc.endpoint): it refused the password"
            )
        case .none, .liar: return machine.node
        }
    }

    func power(of bmc: BMC) async throws -> PowerState {
        let id = try reach(bmc)
        return machine(id)?.power ?? .unknown
    }

    func change(_ change: PowerChange, of bmc: BMC) async throws {
        let id = try reach(bmc)
        edit(id) { machine in
            machine.log.append("power \(change.rawValue)")
            guard machine.bmc != .liar else { return }
            switch change {
            case .on:
                guard machine.power != .on else { return }
                machine.power = .on
                boot(&machine)
            case .off, .softOff:
                machine.power = .off
                machine.running = .nothing
                machine.command = nil
            case .cycle:
                machine.power = .on
                boot(&machine)
            }
        }
    }

    func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {
        let id = try reach(bmc)
        edit(id) { machine in
            machine.log.append("boot \(device.rawValue) \(persistent ? "always" : "once")")
            if device == .pxe { machine.networkOnce = true }
            if device == .cdrom { machine.mediumOnce = true }
            if device == .disk { machine.diskIsFirst = true }
        }
    }

    func bootDevice(of bmc: BMC) async throws -> BootChoice {
        BootChoice(device: .disk, isPersistent: true)
    }

    func identity(of bmc: BMC) async throws -> String? { nil }
}

extension SimulatedWorld: AgentCommands {
    func session(of node: NodeID, role: AgentRole) async -> AgentSession? {
        guard let machine = machine(node) else { return nil }
        let isThere =
            switch role {
            case .ramdisk: machine.running == .ramdisk
            case .overcloud: machine.running == .disk && machine.installedAgent
            }
        guard isThere else { return nil }
        return AgentSession(
            node: node,
            role: role,
            session: "session-\(machine.boots)",
            bootID: "boot-\(machine.boots)",
            since: machine.sessionSince,
            lastHeard: time.now,
            currentCommand: machine.command.flatMap { CommandID($0.id) }
        )
    }

    func send(_ command: WireCommand, to node: NodeID, role: AgentRole) async -> Bool {
        guard await session(of: node, role: role) != nil else { return false }
        let now = time.now
        edit(node) { machine in
            guard machine.command?.id != command.id else { return }
            machine.log.append("command \(Self.name(command))")
            machine.command = command
            machine.commandSince = now
        }
        return true
    }

    private static func name(_ command: WireCommand) -> String {
        switch command.body {
        case .inspect: "inspect"
        case .eraseMetadata: "erase"
        case .eraseDisks: "erase all"
        case .writeImage: "write"
        case .startRescue: "rescue"
        case .burnInMemory: "burn in"
        case .buildRaid: "build RAID"
        case .deleteRaid: "delete RAID"
        case .restart: "restart"
        case .applyStep, .validate, nil: "other"
        }
    }

    func cancel(_ command: CommandID, on node: NodeID, role: AgentRole) async {
        edit(node) { machine in
            guard machine.command?.id == command.text else { return }
            machine.log.append("cancelled")
            machine.command = nil
        }
    }
}

extension SimulatedWorld: AgentKeys {
    func issueToken(
        for node: NodeID?,
        mac: String?,
        role: AgentRole,
        attempt: Attempt,
        validFor span: Duration
    ) async throws -> [UInt8] {
        tokens.withLock { $0.append("\(role.rawValue) \(attempt)") }
        return [UInt8](repeating: 7, count: 32)
    }

    func mayReceiveSecrets(_ node: NodeID, role: AgentRole) async throws -> Bool { true }

    func revokeKeys(of node: NodeID, role: AgentRole?) async throws {
        edit(node) { $0.log.append("keys revoked" + (role.map { ", \($0.rawValue)" } ?? "")) }
    }
}
