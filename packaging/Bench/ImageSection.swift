import AgentSteps
import AgentSystem
import Basics
import FoundationEssentials
import Glibc
import HostTools
import Protocol
import SwiftProtobuf

/// Writes a 2 GiB image with 30 % data, the agent's way and others'.
struct ImageSection {
    let options: BenchOptions

    /// What IPA's own code took on the machine of FIELD, best of its ways (qcow2 through its cache), in
    /// seconds.
    private static let peerSeconds = 4.8

    /// What the section found out.
    struct Findings {
        var figures: [Figure] = []
        var comparisons: [Report.Comparison] = []
        /// Versions of the peers.
        var head: [String] = []
        var skipped: [String] = []
    }

    func run() async throws -> Findings {
        let stage = try await ImageStage.make(options)
        do {
            let result = try await run(on: stage)
            try await stage.remove()
            return result
        } catch {
            // What could not be measured is what the reader must know; the rest of the clean-up is tried.
            try? await stage.remove()
            throw error
        }
    }

    private func run(on stage: ImageStage) async throws -> Findings {
        var found = Findings()
        let place = stage.isLoop ? "loop device over a file" : "file"
        found.figures = [
            Figure(
                "image.upload",
                "upload of the raw image: checked, cut, compressed",
                "s",
                .lower,
                values: [stage.uploadSeconds]
            )
        ]
        let remote = HTTPSImageSources(time: SystemTime())
        let whole = try await write(stage, remote)
        found.figures.append(
            Figure(
                "image.https",
                "image from HTTPS to a verified \(place)",
                "s",
                .lower,
                values: whole.seconds,
                cpuMilliseconds: whole.serverMilliseconds,
                target: Self.peerSeconds / 3,
                note:
                    "the agent's own CPU \(number(whole.ownSeconds)) s; the target is a third of IPA's 4.8 s (qcow2; its raw stream takes 7.9 s)"
            )
        )
        let alone = try await write(stage, LocalChunks(stage))
        let tools = try await tools(stage, &found.skipped)
        found.figures += tools
        let best = tools.map(\.median).min()
        found.figures.append(
            Figure(
                "image.alone",
                "the write alone: chunks from memory, unpacked and verified",
                "s",
                .lower,
                values: alone.seconds,
                target: best.map { $0 / 0.9 },
                note:
                    "the agent's own CPU \(number(alone.ownSeconds)) s; the target is the faster of the tools' times, divided by 0.9"
            )
        )
        guard options.peers else { return found }
        do {
            let (version, comparisons) = try await IPAWrites(stage: stage, options: options)
                .measure()
            found.comparisons = comparisons
            found.head.append("peer: \(version)")
        } catch {
            found.skipped.append("IPA's writes: \(error)")
        }
        return found
    }

    private struct Outcome {
        var seconds: [Double] = []
        var ownSeconds = 0.0
        var serverMilliseconds = 0.0
    }

    /// Runs the agent's step, each time on a disk full of something else.
    private func write(_ stage: ImageStage, _ sources: any ImageSources) async throws -> Outcome {
        let step = WriteImage(
            WriteImage.Seams(
                devices: OneDisk(path: stage.disk),
                disks: SystemDisks(),
                sources: sources,
                firmware: SystemFirmwareVariables(),
                fileSystems: SystemFileSystems(
                    processes: SystemProcesses(),
                    mounts: SystemMounts()
                ),
                arrays: NoArrays(),
                time: SystemTime(),
                random: SystemRandom(),
                executor: { OwnThread(name: $0) },
                workers: 4
            )
        )
        var command = WireCommand()
        command.writeImage = .with {
            $0.image = stage.image
            $0.manifestDigest = Data(SHA256Digest(of: stage.manifest).bytes)
            $0.baseURL = stage.baseURL
            $0.capability = stage.capability
            $0.bootMode = "bios"
        }
        let context = StepContext(
            node: BareMetalLoad.uuid(0),
            certificateAuthority: stage.server.authority,
            timeServers: []
        )
        var outcome = Outcome()
        var own: [Double] = []
        var server: [Double] = []
        for run in 0..<options.runs {
            try SampleDisk.soil(stage.disk)
            sync()
            let watch = Stopwatch(stage.server.pid)
            let mine = Stopwatch(getpid())
            _ = try await step.run(command, in: context, report: NoReport())
            outcome.seconds.append(watch.seconds)
            server.append(watch.cpuSeconds * 1000)
            own.append(mine.cpuSeconds)
            if run == 0, try !SampleDisk.matches(stage.disk, image: stage.raw) {
                throw Fault(
                    .internalError,
                    "cannot trust the write: the disk differs from the image"
                )
            }
        }
        outcome.ownSeconds = median(own)
        outcome.serverMilliseconds = median(server)
        return outcome
    }

    /// The same image by the tools that others use; none of them verifies.
    private func tools(_ stage: ImageStage, _ skipped: inout [String]) async throws -> [Figure] {
        var figures = [
            try await tool(
                "image.dd",
                "dd bs=1M oflag=direct conv=fsync, raw",
                "dd",
                [
                    "if=\(stage.raw)", "of=\(stage.disk)", "bs=1M", "oflag=direct",
                    "conv=notrunc,fsync", "status=none",
                ],
                stage
            )
        ]
        guard Tool.locate("qemu-img") != nil else {
            skipped.append("qemu-img: it is not installed")
            return figures
        }
        let time = SystemTime()
        try await Tool.require(
            "qemu-img",
            ["convert", "-O", "qcow2", stage.raw, stage.qcow2],
            budget: .seconds(300),
            time: time
        )
        let format = stage.isLoop ? "host_device" : "raw"
        figures.append(
            try await tool(
                "image.qemu",
                "qemu-img convert -n -W -m 16 -t none, qcow2",
                "qemu-img",
                [
                    "convert", "-n", "-W", "-m", "16", "-t", "none", "-O", format, "-f", "qcow2",
                    stage.qcow2, stage.disk,
                ],
                stage
            )
        )
        return figures
    }

    private func tool(
        _ key: String,
        _ name: String,
        _ program: String,
        _ arguments: [String],
        _ stage: ImageStage
    ) async throws -> Figure {
        var values: [Double] = []
        let time = SystemTime()
        for _ in 0..<options.runs {
            try SampleDisk.soil(stage.disk)
            sync()
            let start = time.elapsed
            try await Tool.require(program, arguments, budget: .seconds(300), time: time)
            try SystemDisks().open(stage.disk, exclusive: false).flush()
            values.append((time.elapsed - start).inSeconds)
        }
        return Figure(key, name, "s", .lower, values: values)
    }
}

/// This host's own arrays are left alone.
private struct NoArrays: RAIDArrays {
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

/// A machine with this one disk.
private struct OneDisk: BlockDevices {
    let path: String

    /// No smaller disk is chosen; what can be written is asked of the disk itself.
    func list() -> [BlockDevice] { [BlockDevice(path: path, bytes: 8 << 30)] }

    func open(_ path: String) throws -> Int32 { throw SystemFailure("open \(path)", code: ENOSYS) }
}

private struct NoReport: StepReporter {
    func progress(_ progress: StepProgress) {}
    func log(_ lines: [String]) {}
}

/// Chunks from the controller's own folder, which the page cache holds: what is left is the write.
private struct LocalChunks: ImageSources {
    let chunks: String
    let manifest: [UInt8]

    init(_ stage: ImageStage) {
        chunks = stage.chunks
        manifest = stage.manifest
    }

    func open(
        _ command: WireWriteImage,
        in context: StepContext
    ) throws -> sending any ImageSource {
        LocalSource(chunks: chunks, manifest: manifest)
    }

    private struct LocalSource: ImageSource {
        let chunks: String
        let manifest: [UInt8]

        func fetch(_ path: String, bytesMax: Int, into body: inout [UInt8]) async throws {
            guard path.hasPrefix("/chunks/") else {
                body = manifest
                return
            }
            let digest = path.dropFirst("/chunks/".utf8.count)
            let name = "\(chunks)/\(digest.prefix(2))/\(digest).zst"
            let file = Glibc.open(name, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw systemFault("open \(name)") }
            defer { close(file) }
            var facts = stat()
            fstat(file, &facts)
            body.removeAll(keepingCapacity: true)
            body.append(contentsOf: repeatElement(0, count: Int(facts.st_size)))
            guard read(file, &body, body.count) == body.count else {
                throw systemFault("read \(name)")
            }
        }
    }
}
