package import Basics
import HostTools
import Protocol

/// What a ramdisk is made of.
package struct RamdiskRecipe: Sendable {
    /// Decides kernel and modules.
    package var drivers: DriverSet
    /// As `uname -r` prints it; nil is the newest kernel that apt knows.
    package var kernelVersion: String?
    /// Path of the agent's executable.
    package var agent: String
    /// Directory that gets `kernel`, `initrd` and `media.iso`.
    package var output: String
    /// Directory for packages and compressed parts.
    package var cache: String
    /// Time of every file, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    package var modified: UInt32

    package init(
        drivers: DriverSet,
        kernelVersion: String? = nil,
        agent: String,
        output: String,
        cache: String,
        modified: UInt32 = 0
    ) {
        self.drivers = drivers
        self.kernelVersion = kernelVersion
        self.agent = HostFile.absolute(agent)
        self.output = HostFile.absolute(output)
        self.cache = HostFile.absolute(cache)
        self.modified = modified
    }
}

/// Builds `kernel`, `initrd` and `media.iso`.
///
/// The same recipe, agent, libraries and kernel package give the same bytes.
///
/// The initrd is two zstd frames of one cpio archive each: what every ramdisk has, then the kernel's
/// modules. The kernel unpacks them one after the other, and iPXE adds the boot fragment as a third.
package struct RamdiskBuild<Time: TimeSource>: Sendable {
    /// Budget in bytes of the compressed first part, everything but modules.
    package static var baseBytesMax: Int { 20_000_000 }

    private let recipe: RamdiskRecipe
    private let time: Time
    private let host: BuildHost<Time>

    package init(_ recipe: RamdiskRecipe, time: Time) {
        self.recipe = recipe
        host = BuildHost(scratch: recipe.cache, time: time)
        self.time = time
    }

    /// Builds and writes the files.
    /// - Throws: `Fault` that names what is missing; nothing half-written is left in the output.
    package func run() async throws -> RamdiskReport {
        guard HostFile.exists(recipe.agent) else {
            throw Fault(
                .notFound,
                "cannot find the agent at \(recipe.agent): build product rdo-agent or name it by --agent"
            )
        }
        let packages = KernelPackages(cache: "\(recipe.cache)/kernel", time: time)
        let kernel = try await packages.unpacked(recipe.drivers, version: recipe.kernelVersion)
        let index = try ModuleIndex(directory: kernel.modulesDirectory)
        let wanted = recipe.drivers.wanted.flatMap(\.modules)
        let closure = index.closure(of: wanted + recipe.drivers.loadedAtStart)

        let base = try await makeBase()
        let modules = try await RamdiskTree.modules(
            closure.modules,
            of: index,
            kernel: kernel,
            start: recipe.drivers.loadedAtStart,
            decompress: { try await host.decompressed($0) }
        )
        let frames = FrameCache(directory: "\(recipe.cache)/frames")
        let baseFrame = try frames.frame(of: base, modified: recipe.modified)
        guard baseFrame.count <= Self.baseBytesMax else {
            throw Fault(
                .tooLarge,
                "cannot use agent \(recipe.agent): the ramdisk without modules is \(baseFrame.count)"
                    + " bytes, its budget is \(Self.baseBytesMax); build the agent in release mode"
            )
        }
        let moduleFrame = try frames.frame(of: modules, modified: recipe.modified)
        let image = try HostFile.read(kernel.imagePath)

        try makeDirectories(recipe.output)
        try HostFile.write(image, to: "\(recipe.output)/kernel")
        let initrd = Self.joined([baseFrame, moduleFrame])
        try HostFile.write(initrd, to: "\(recipe.output)/initrd")
        try await MediaImage(scratch: recipe.cache, modified: recipe.modified, time: time)
            .build(in: recipe.output)
        return RamdiskReport(
            kernelVersion: kernel.version,
            kernelBytes: image.count,
            base: base,
            baseBytes: baseFrame.count,
            modules: modules,
            moduleBytes: moduleFrame.count,
            closure: closure
        )
    }

    /// The frames as one file that another archive may follow.
    ///
    /// The kernel takes an uncompressed archive, as the boot fragment is one, only at a multiple of four
    /// bytes, and skips zeros before it. iPXE pads what it puts together for BIOS machines; the kernel's
    /// EFI stub does not.
    static func joined(_ frames: [[UInt8]]) -> [UInt8] {
        let bytes = Array(frames.joined())
        return bytes + [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
    }

    private func makeBase() async throws -> CpioArchive {
        let agentPath = recipe.agent
        let agent = try ElfFile(try HostFile.read(agentPath), name: agentPath)
        var libraries: [String: [UInt8]] = [:]
        let loaderName = agent.interpreter?.split(separator: "/").last.map(String.init)
        let programs = try host.programs(RamdiskTree.programs)
        let all = [agentPath] + programs.values.sorted()
        for (name, path) in try SharedLibraries().closure(of: all) where name != loaderName {
            libraries[name] = try HostFile.read(path)
        }
        let busybox = try host.busybox()
        let loader = DiskLoader(scratch: recipe.cache, modified: recipe.modified, time: time)
        var files: [String: [UInt8]] = [:]
        for (name, bytes) in try await loader.build() {
            files["\(DiskLoader<Time>.directory)/\(name)"] = bytes
        }
        return RamdiskTree.make(
            agent: try await host.stripped(agentPath),
            loader: try agent.interpreter.map { ($0, try HostFile.read($0)) },
            libraries: libraries,
            busybox: busybox,
            programs: try programs.mapValues { try HostFile.read($0) },
            files: files
        )
    }
}
