import AgentCore
import AgentSteps
import AgentSystem
import Basics
import Glibc
import Logging
import Protocol
import SwiftProtobuf
import Transport

/// The live implementations; the only place that names them.
struct Live {
    let tree = FileTree()
    let time = SystemTime()
    let random = SystemRandom()
    let network = SystemNetwork()
    let disks = SystemBlockDevices()
    let processes = SystemProcesses()
    let lldp = LLDPMemory()
    let machine: Machine

    init() {
        machine = Machine(
            tree: tree,
            disks: disks,
            network: network,
            firmware: SystemFirmware(tree: tree)
        )
    }

    /// Makes the line to the controller.
    func link(_ connection: ConnectionFile, keys: CurveKeyPair) throws -> ZeroMQAgentLink {
        try ZeroMQAgentLink(
            AgentLinkConfiguration(
                address: connection.address,
                enrolmentPort: connection.enrolmentPort,
                controlPort: connection.controlPort,
                telemetryPort: connection.telemetryPort,
                serverKey: connection.controllerKey,
                keys: keys
            ),
            time: time
        )
    }

    /// What the ramdisk can do.
    func ramdiskSteps(bootMAC: String) -> StepTable {
        var steps = StepTable()
        steps.restart = RestartMachine()
        let raid = raid
        steps.inspect = inspect(bootMAC: bootMAC, raid)
        steps.buildRAID = BuildRAID(raid: raid)
        steps.deleteRAID = DeleteRAID(raid: raid)
        steps.eraseMetadata = EraseMetadata(raid: raid)
        steps.eraseDisks = EraseDisks(
            EraseDisks.Seams(
                drives: SystemDriveChannels(),
                raid: raid,
                executor: { OwnThread(name: $0) }
            )
        )
        steps.writeImage = WriteImage(
            WriteImage.Seams(
                devices: disks,
                disks: SystemDisks(tree: tree),
                sources: HTTPSImageSources(time: time),
                firmware: SystemFirmwareVariables(),
                fileSystems: SystemFileSystems(
                    processes: processes,
                    mounts: SystemMounts(tree: tree),
                    tree: tree
                ),
                arrays: raid.arrays,
                time: time,
                random: random,
                executor: { OwnThread(name: $0) },
                workers: 4
            )
        )
        steps.burnInMemory = BurnInMemory(processes: processes, tree: tree, time: time)
        steps.startRescue = StartRescue(
            shell: DropbearShell(processes: processes, time: time),
            network: network
        )
        return steps
    }

    /// What an installed node can do.
    func overcloudSteps() -> StepTable {
        var steps = StepTable()
        steps.restart = RestartMachine()
        steps.inspect = inspect(bootMAC: "", nil)
        steps.applyStep = ApplyStep(processes: processes, paths: PuppetPaths(), time: time)
        steps.validate = Validate(
            processes: processes,
            places: Validate.Places(),
            time: time
        )
        return steps
    }

    /// Software RAID; its modules are loaded when it is met.
    private var raid: RAIDWork {
        let modules = SystemKernelModules(tree: tree)
        return RAIDWork(
            devices: disks,
            disks: SystemDisks(tree: tree),
            arrays: SystemRAIDArrays(processes: processes, tree: tree) { name in
                // What is missing is built in, or mdadm says so.
                _ = try? modules.load(name)
            },
            time: time,
            random: random
        )
    }

    private func inspect(bootMAC: String, _ raid: RAIDWork?) -> Inspect {
        Inspect(
            machine: machine,
            network: network,
            lldp: lldp,
            bootMAC: bootMAC,
            started: time.elapsed,
            time: time,
            raid: raid
        )
    }

    /// Sets the clock when it is further off than `tolerance`.
    func timeTaker(tolerance: Duration, log: Logger) -> @Sendable (Timestamp) -> Void {
        { [time] theirs in
            let skew = theirs - time.now
            // A controller that says nothing about the time has zero here.
            guard theirs.nanoseconds > 0, max(skew, .zero - skew) > tolerance else { return }
            do {
                try SystemClock.set(nanoseconds: theirs.nanoseconds)
                log.notice(
                    "took the controller's time",
                    metadata: [LogKey.reason: "the clock was off by \(skew)"]
                )
            } catch {
                log.warning("cannot set the clock", metadata: [LogKey.error: "\(error)"])
            }
        }
    }
}

/// `rdo-agent inventory`.
func printInventory() async {
    let live = Live()
    let inventory = await live.machine.inventory(bootMAC: "", lldp: [:])
    printJSON(inventory)
}

/// `rdo-agent metrics`: two readings a second apart, because ratios need two.
func printMetrics() async {
    let live = Live()
    _ = await live.machine.samples(at: live.time.now)
    // Nothing cancels this program but its end.
    try? await live.time.sleep(for: .seconds(1))
    var batch = WireMetricBatch()
    batch.version = WireVersion.current
    batch.samples = await live.machine.samples(at: live.time.now)
    printJSON(batch)
}

private func printJSON(_ message: some Message) {
    var options = JSONEncodingOptions()
    options.preserveProtoFieldNames = true
    options.alwaysPrintInt64sAsNumbers = true
    do {
        write(try message.jsonString(options: options) + "\n", to: 1)
    } catch {
        write("cannot print: \(error)\n", to: 2)
        exit(1)
    }
}
