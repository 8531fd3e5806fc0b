import AgentSystem
import Basics
import Protocol

/// Keeps the ramdisk's GRUB on every member disk, for machines with BIOS.
///
/// ```
/// empty the boot sectors ─▶ (the image is written) ─▶ find its grub.cfg in the array ─▶ GRUB on each disk
/// ```
///
/// GRUB reads the array by itself, also with one disk left, and finds the file system by its UUID. Nothing of the
/// image is executed; its file systems are mounted read-only for a moment.
actor BIOSMirror: MemberLoader {
    /// So many file systems of an image are looked into for its menu.
    private static let fileSystemsMax = 8

    private nonisolated let executor: any SerialExecutor
    private let task: MemberTask

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: any SerialExecutor, _ task: MemberTask) {
        self.executor = executor
        self.task = task
    }

    func prepare(_ layout: ImageLayout) throws {
        let disks = try members()
        do throws(NoBIOSLoader) {
            for disk in disks { _ = try BIOSLoader.place(on: disk) }
        } catch {
            throw task.failure(
                "\(error); build the RAID anew while the node's capability boot_mode is bios"
            )
        }
        for disk in disks {
            try disk.put([UInt8](repeating: 0, count: MasterBootRecord.codeBytes), at: 0)
            try disk.flush()
        }
    }

    func finish(_ layout: ImageLayout) async throws {
        task.report.progress(StepProgress(phase: "boot-loader", text: "GRUB on every member disk"))
        let menu = try await findMenu(layout)
        do {
            try task.seams.loader.install(menu, on: try members())
        } catch let error as NoBIOSLoader {
            throw task.failure("\(error)")
        }
        task.report.log([
            "GRUB on \(task.volume.members.joined(separator: ", ")) starts \(menu.folder)/grub.cfg of file system \(menu.fileSystem)"
        ])
    }

    /// The whole disks; arrays on their partitions keep everybody else from claiming them.
    private func members() throws(SystemFailure) -> [any Disk] {
        var disks: [any Disk] = []
        for path in task.volume.members {
            disks.append(try task.seams.disks.open(path, exclusive: false))
        }
        return disks
    }

    /// Looks for the image's menu in its file systems, in the order of its partitions.
    private func findMenu(_ layout: ImageLayout) async throws -> BootMenu {
        var problems: [String] = []
        for (place, fileSystem) in try fileSystems(layout) {
            try Task.checkCancellation()
            do {
                try await task.raid.awaitPartition(place)
                guard let menu = try task.seams.fileSystems.menu(on: place) else { continue }
                guard !menu.needsEntries else {
                    throw task.failure(
                        "\(menu.folder)/grub.cfg of \(place.path) uses blscfg, which GRUB has on Fedora and its kin only; set GRUB_ENABLE_BLSCFG=false there and make the menu anew"
                    )
                }
                return BootMenu(fileSystem: fileSystem.uuid, folder: menu.folder, hint: nil)
            } catch let error as SystemFailure {
                problems.append("\(error)")
            }
        }
        task.report.log(problems)
        throw task.failure(
            "none of its file systems has a grub.cfg in \(MenuFile.folders.joined(separator: " or ")); use an image with GRUB's menu on its root partition"
        )
    }

    /// The partitions of the array that hold a file system of a kind that GRUB searches for.
    private func fileSystems(
        _ layout: ImageLayout
    ) throws -> [(PartitionPlace, FileSystemIdentity)] {
        let parts: [(number: Int, range: Range<Int64>)]
        if let root = layout.parts?.root {
            parts = [(root.number, root.range)]
        } else {
            let table = layout.table.gpt
            parts =
                table?.partitions.map { ($0.number, table?.range(of: $0.partition) ?? 0..<0) } ?? []
        }
        let disk = try task.seams.disks.open(task.volume.path, exclusive: false)
        var found: [(PartitionPlace, FileSystemIdentity)] = []
        for (number, range) in parts
        where Int64(range.count) >= FileSystemIdentity.headBytes
            && found.count < Self.fileSystemsMax
        {
            let head = try disk.bytes(
                range.lowerBound..<(range.lowerBound + FileSystemIdentity.headBytes)
            )
            guard let identity = FileSystemIdentity(head: head) else { continue }
            found.append(
                (PartitionPlace(disk: task.volume.path, number: number, range: range), identity)
            )
        }
        return found
    }
}
