import AgentSteps
import AgentSystem
import Basics
import Glibc
import Protocol

// What the agent finds on a simulated machine in place of the kernel.

struct MachineDevices: BlockDevices {
    let disks: [BlockDevice]

    func list() -> [BlockDevice] { disks }
    func open(_ path: String) throws -> Int32 { throw SystemFailure("open \(path)", code: ENXIO) }
}

/// Opens the machine's disks, for one purpose.
struct MachineDisks: DiskAccess {
    /// What a program wants with a disk.
    enum Purpose: String {
        case write
        case erase
        case configDrive
    }

    let machine: SimulatedMachine
    let life: Life
    let purpose: Purpose
    /// A partition of the root disk and its range.
    let part: (number: Int, range: Range<Int64>)?

    func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk {
        guard life.isAlive else { throw SystemFailure("open \(path)", code: EIO) }
        let whole = part == nil ? path : machine.root.device.path
        guard let disk = machine.disks.first(where: { $0.device.path == whole }) else {
            throw SystemFailure("open \(path)", code: ENOENT)
        }
        var claim: UInt64?
        if exclusive {
            claim = disk.claim()
            guard claim != nil else { throw SystemFailure("open \(path)", code: EBUSY) }
        }
        return OpenDisk(
            disk,
            part: part?.range ?? 0..<disk.bytes,
            path: path,
            clearsQuickly: machine.clearsQuickly,
            claim: claim,
            life: life,
            watch: machine.watch(purpose)
        )
    }
}

extension SimulatedMachine {
    func watch(_ purpose: MachineDisks.Purpose) -> DiskWatch {
        DiskWatch(
            wrote: { [self] disk, claim in
                world.invariants.wrote(disk, of: self, for: purpose, claim: claim)
                // A new image begins without what the old one had kept.
                if purpose == .write, disk === root { state.value.installed = Installed() }
            },
            afterWrite: { [self] in
                guard let left = state.value.cutAfterWrites else { return }
                state.value.cutAfterWrites = left > 0 ? left - 1 : nil
                if left == 0 { powerCut(for: .seconds(15)) }
            },
            fails: { [self] _ in
                world.faults.contains(.diskErrors) && state.value.dice.happens(2)
            },
            discardedByte: { [self] in state.value.dice.happens(500) ? 0xff : 0 }
        )
    }
}

struct MachineNetwork: Network {
    let mac: String
    let address: String

    func interfaces() -> [NetworkInterface] {
        var interface = NetworkInterface(name: "eth0", mac: mac)
        interface.ipv4 = address
        interface.hasCarrier = true
        return [interface]
    }

    func addresses() -> [String] { [address] }

    func bringUp(_ name: String) throws {}
    func configure(_ name: String, lease: DHCPLease) throws -> [SystemFailure] { [] }

    func openDHCP(_ name: String) throws -> any FrameChannel {
        throw SystemFailure("open \(name)", code: ENXIO)
    }

    func openLLDP(_ name: String) throws -> any FrameChannel {
        throw SystemFailure("open \(name)", code: ENXIO)
    }
}

struct MachineFirmware: Firmware {
    let systemUUID: String
    let number: Int

    func description() -> SMBIOS {
        var description = SMBIOS()
        description.systemUUID = systemUUID
        description.manufacturer = "Simulator"
        return description
    }

    func bootMode() -> BootMode { number % 2 == 0 ? .bios : .uefi }

    func bmcAddresses() -> BMCAddresses {
        var addresses = BMCAddresses()
        addresses.ipv4 = "192.0.2.20\(number)"
        return addresses
    }
}

struct MachineVariables: FirmwareVariables {
    let machine: SimulatedMachine

    func names() -> [String] { machine.state.value.variables.keys.sorted() }
    func value(_ name: String) -> [UInt8]? { machine.state.value.variables[name] }

    func set(_ name: String, to value: [UInt8]) throws(SystemFailure) {
        machine.state.value.variables[name] = value
    }
}

/// Simulated images are of whole disks: nothing is made around them.
struct NoFileSystems: FileSystems {
    func make(_ format: FileSystemFormat, label: String, on place: PartitionPlace) async throws {
        throw SystemFailure("make a file system on \(place.path)", code: ENODEV)
    }

    func copyLoaders(from root: PartitionPlace, to efiSystem: PartitionPlace) throws -> [String] {
        throw SystemFailure("mount \(root.path)", code: ENODEV)
    }

    func menu(on root: PartitionPlace) throws -> MenuFile? {
        throw SystemFailure("mount \(root.path)", code: ENODEV)
    }
}

/// Restarts the machine once everything is on its disks.
struct MachinePowerSwitch: PowerSwitch {
    let machine: SimulatedMachine
    let life: Life

    func restart(powerOff: Bool) throws {
        guard life.isAlive else { return }
        for disk in machine.disks { disk.flush() }
        // Not from inside the agent's own job: its machine goes a moment later.
        machine.later(.milliseconds(1), .milliseconds(50)) { machine in
            guard life.isAlive else { return }
            if powerOff { machine.powerOff() } else { machine.reset() }
        }
    }
}

/// Puppet and systemctl.
struct MachineProcesses: ProcessRunner {
    let machine: SimulatedMachine
    let time: SimulatedTime
    let life: Life

    func locate(_ program: String) -> String? { "/usr/bin/\(program)" }

    func run(_ request: ProcessRequest) async throws -> ProcessResult {
        let isPuppet = request.program == "puppet"
        let span = machine.state.value.dice.span(.seconds(1), isPuppet ? .seconds(20) : .seconds(2))
        try await time.sleep(for: span)
        request.onLine?("Notice: done after \(span)")
        let fails =
            machine.world.faults.contains(.puppetFails) && machine.state.value.dice.happens(200)
        return ProcessResult(ending: .exited(fails ? 1 : 0))
    }
}

/// Chunks of images, for those who hold a capability.
struct MachineImageSources: ImageSources {
    let machine: SimulatedMachine
    let time: SimulatedTime
    let life: Life

    func open(
        _ command: WireWriteImage,
        in context: StepContext
    ) throws -> sending any ImageSource {
        MachineImageSource(
            machine: machine,
            time: time,
            image: command.image,
            capability: command.capability
        )
    }
}

final class MachineImageSource: ImageSource {
    private let machine: SimulatedMachine
    private let time: SimulatedTime
    private let image: String
    private let capability: String

    /// As the agent's own patience with its server.
    private static let patience = Duration.seconds(120)

    init(machine: SimulatedMachine, time: SimulatedTime, image: String, capability: String) {
        self.machine = machine
        self.time = time
        self.image = image
        self.capability = capability
    }

    func fetch(_ path: String, bytesMax: Int, into body: inout [UInt8]) async throws {
        let start = time.elapsed
        while true {
            try await time.sleep(
                for: machine.state.value.dice.span(.milliseconds(5), .milliseconds(900))
            )
            switch machine.world.images.serve(path, of: image, with: capability, to: machine) {
            case .bytes(let bytes):
                body = bytes
                return
            case .refused:
                throw StepFailure(
                    "cannot fetch image \(image): the server refuses this node's capability",
                    retryable: true
                )
            case .silent:
                guard time.elapsed - start < Self.patience else {
                    throw StepFailure(
                        "cannot fetch image \(image): its server does not answer",
                        retryable: true
                    )
                }
                try await time.sleep(for: .seconds(2))
            }
        }
    }
}

/// Drives of a virtual machine: no commands of their own.
struct MachineDrives: DriveChannels {
    func channel(_ path: String) throws(SystemFailure) -> any DriveChannel {
        throw SystemFailure("open \(path)", code: ENOTTY)
    }
}

/// The simulated kernel has no software RAID.
struct NoArrays: RAIDArrays {
    private func refuse() throws { throw SystemFailure("use software RAID", code: ENOTSUP) }

    func create(_ order: ArrayOrder) async throws { try refuse() }

    func assemble(
        _ device: String,
        level: RAIDLevel,
        id: ArrayID,
        members: [String]
    ) async throws { try refuse() }

    func stop(_ device: String) async throws { try refuse() }
    func running() -> [String] { [] }
}
