package import AgentSystem
package import Basics
package import Protocol

/// Writes an image to the disk that the root device hints name.
package struct WriteImage: StepRunner {
    /// What the step acts on.
    package struct Seams: Sendable {
        let devices: any BlockDevices
        let disks: any DiskAccess
        let sources: any ImageSources
        let firmware: any FirmwareVariables
        let fileSystems: any FileSystems
        let loader: BIOSLoader
        let arrays: any RAIDArrays
        let time: any TimeSource
        let random: any RandomSource
        let executor: @Sendable (String) -> any SerialExecutor
        let workers: Int

        /// Takes what it works with.
        ///
        /// `executor`: makes the executor for one worker, by name; live an `OwnThread`, since they block.
        /// `workers`: chunks on their way at the same time, 1 to 16. Each takes 10 MiB of memory.
        package init(
            devices: any BlockDevices,
            disks: any DiskAccess,
            sources: any ImageSources,
            firmware: any FirmwareVariables,
            fileSystems: any FileSystems,
            loader: BIOSLoader = BIOSLoader(),
            arrays: any RAIDArrays,
            time: any TimeSource,
            random: any RandomSource,
            executor: @escaping @Sendable (String) -> any SerialExecutor,
            workers: Int
        ) {
            precondition((1...16).contains(workers), "the number of workers is out of range")
            self.devices = devices
            self.disks = disks
            self.sources = sources
            self.firmware = firmware
            self.fileSystems = fileSystems
            self.loader = loader
            self.arrays = arrays
            self.time = time
            self.random = random
            self.executor = executor
            self.workers = workers
        }
    }

    private let seams: Seams
    private let raid: RAIDWork

    package init(_ seams: Seams) {
        self.seams = seams
        raid = RAIDWork(
            devices: seams.devices,
            disks: seams.disks,
            arrays: seams.arrays,
            time: seams.time,
            random: seams.random
        )
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let order = command.writeImage
        let started = try await raid.start(order.raid, report)
        let choice = try choose(order, started, report)
        do {
            let mirror = try mirror(for: order, choice.disk, report)
            var (written, layout) = try await write(
                order,
                to: choice.disk,
                mirror,
                in: context,
                report
            )
            if let parts = layout.parts {
                let filler = PartitionFiller(
                    executor: seams.executor("partitions"),
                    order: order,
                    disk: choice.disk.path,
                    layout: layout,
                    parts: parts,
                    isMirrored: mirror != nil,
                    seams: seams,
                    report: report
                )
                try await filler.run()
            }
            try await mirror?.finish(layout)
            written.device = choice.disk.path
            written.serial = choice.disk.serial
            written.choice = started.compactMap(\.shortage) + choice.explanations
            return .written(written)
        } catch let error as SystemFailure where error.code != 125 /* ECANCELED */ {
            throw StepFailure(
                "cannot write image \(order.image) to \(choice.disk.path): the disk does not work: "
                    + "\(error); replace it or name another in the root device hints",
                retryable: true
            )
        }
    }

    /// What makes the member disks start the image; `nil` for a disk that is no array.
    private func mirror(
        for order: WireWriteImage,
        _ device: BlockDevice,
        _ report: some StepReporter
    ) throws(StepFailure) -> (any MemberLoader)? {
        guard !device.members.isEmpty else { return nil }
        let executor = seams.executor("boot-loader")
        let task = MemberTask(
            seams: seams,
            raid: raid,
            image: order.image,
            volume: device,
            report: report
        )
        switch order.bootMode {
        case "uefi": return LoaderMirror(executor: executor, task)
        case "bios": return BIOSMirror(executor: executor, task)
        default:
            throw StepFailure(
                "cannot write image \(order.image) to \(device.path): it is software RAID, and how the machine starts is not known; set the node's capability boot_mode to uefi or bios",
                retryable: false
            )
        }
    }

    /// Writes the image; the disk is nobody's any more when this returns.
    private func write(
        _ order: WireWriteImage,
        to device: BlockDevice,
        _ mirror: (any MemberLoader)?,
        in context: StepContext,
        _ report: some StepReporter
    ) async throws -> (WireWrittenImage, ImageLayout) {
        let disk = try open(device, order)
        let writer = ImageWriter(
            executor: seams.executor("write-image"),
            order: order,
            context: context,
            seams: seams,
            disk: disk,
            isMirrored: mirror != nil,
            beforeWriting: { try await mirror?.prepare($0) },
            report: report
        )
        return try await writer.run()
    }

    private func choose(
        _ order: WireWriteImage,
        _ started: [RAIDWork.Started],
        _ report: some StepReporter
    ) throws -> RootDeviceChoice {
        report.progress(StepProgress(phase: "choose"))
        var hints = order.hints
        // As with Ironic, an operator's hints go before what the RAID configuration says.
        if hints == WireRootDeviceHints(), let root = started.first(where: \.isRoot) {
            hints.name = root.device
        }
        do throws(NoRootDevice) {
            let choice = try chooseRootDevice(seams.devices.list(), hints: hints)
            report.log(choice.explanations)
            return choice
        } catch {
            throw StepFailure(
                "cannot choose a disk for image \(order.image): \(error.reason); change the node's "
                    + "root device hints or its disks",
                retryable: false,
                lines: Array(error.explanations.prefix(64))
            )
        }
    }

    private func open(_ device: BlockDevice, _ order: WireWriteImage) throws -> any Disk {
        do throws(SystemFailure) {
            return try seams.disks.open(device.path, exclusive: true)
        } catch {
            throw StepFailure(
                "cannot write image \(order.image) to \(device.path): \(error); something on this "
                    + "machine may be using the disk",
                retryable: true
            )
        }
    }
}
