package import Basics
import Glibc
import HostTools
import Protocol
import RamdiskBuilder

/// What came out of a build.
package struct ImageReport: Sendable {
    package let path: String
    /// Size of the qcow2 file in bytes.
    package let fileBytes: Int
    /// Whether nothing had to be built.
    package let cached: Bool
    package let identity: ImageIdentity
}

/// Builds an overcloud image: diskimage-builder's tree, a kernel, the agent, and a disk around them.
package struct ImageBuild<Time: TimeSource>: Sendable {
    /// Budget in bytes of the finished qcow2 file.
    package static var fileBytesMax: Int { 250_000_000 }

    /// Directories of the kernel's modules that no node needs.
    private static var modulesLeftOut: [String] {
        ["drivers/comedi", "drivers/media", "drivers/staging", "sound"]
    }

    private let recipe: ImageRecipe
    private let time: Time
    private let say: @Sendable (String) -> Void

    /// - Parameters:
    ///   - recipe: what the image is made of.
    ///   - time: bounds what programs may take.
    ///   - say: is told what happens, one line at a time.
    package init(_ recipe: ImageRecipe, time: Time, say: @escaping @Sendable (String) -> Void) {
        self.recipe = recipe
        self.time = time
        self.say = say
    }

    /// Builds what is not in the cache yet.
    /// - Returns: where the image is.
    /// - Throws: `Fault` that names what is missing or which tool failed; the output is then unchanged.
    package func run() async throws -> ImageReport {
        try Prerequisites.check()
        guard HostFile.exists(recipe.agent) else {
            throw Fault(
                .notFound,
                "cannot find the agent at \(recipe.agent): build product rdo-agent or name another"
                    + " by --agent"
            )
        }
        try makeDirectories(recipe.cache)
        let tree = try recipe.treeIdentity()
        let kernel = try await KernelPackages(cache: "\(recipe.cache)/kernel", time: time)
            .unpacked(recipe.drivers, version: nil)
        let identity = try recipe.imageIdentity(tree: tree, kernel: kernel)
        let archive = "\(recipe.cache)/tree-\(tree).tar"
        let kept = "\(recipe.cache)/image-\(identity).qcow2"
        let cached = HostFile.exists(kept) && !recipe.refresh
        if !cached {
            if recipe.refresh || !HostFile.exists(archive) {
                say("the image's files: diskimage-builder runs, some minutes")
                try await prune("tree-", keeping: nil)
                try await TreeBuild(recipe, time: time).run(to: archive)
            }
            try await assemble(archive, kernel, identity, to: kept)
            try await prune("image-", keeping: kept)
        }
        try await deliver(kept, identity, kernel)
        guard let size = HostFile.size(recipe.output) else {
            throw Fault(.internalError, "cannot find \(recipe.output) after it was written")
        }
        return ImageReport(
            path: recipe.output,
            fileBytes: size,
            cached: cached,
            identity: identity
        )
    }

    private func assemble(
        _ archive: String,
        _ kernel: UnpackedKernel,
        _ identity: ImageIdentity,
        to result: String
    ) async throws {
        let work = "\(recipe.cache)/work"
        try await run("rm", ["-rf", "--", work])
        try makeDirectories("\(work)/root")
        say("the image's disk: files")
        try await unpack(archive, kernel, identity, into: "\(work)/root", scratch: work)
        let initrd = try await NodeInitrd.make(
            script: try HostFile.read("\(recipe.elements)/initrd/init"),
            kernel: kernel,
            drivers: recipe.drivers,
            cache: recipe.cache,
            time: time
        )
        try HostFile.write(initrd, to: "\(work)/initrd")
        let usage = try await run("du", ["--summarize", "--block-size=1", "\(work)/root"])
        guard
            let treeBytes = usage.output.split(whereSeparator: \.isWhitespace).first.flatMap({
                Int($0)
            })
        else {
            throw Fault(
                .internalError,
                "cannot tell the size of the image's files: du printed no number"
            )
        }
        say("the image's disk: partitions and boot loaders")
        let boot = DiskAssembly<Time>.Boot(
            kernel: kernel.imagePath,
            initrd: "\(work)/initrd",
            loader: Prerequisites.bootLoader,
            masterBootRecord: Prerequisites.masterBootRecord
        )
        try await DiskAssembly(identity: identity, work: work, time: time).make(
            "\(work)/disk.raw",
            tree: "\(work)/root",
            boot: boot,
            layout: DiskLayout(treeBytes: treeBytes)
        )
        say("the image's disk: compression")
        try await run(
            "qemu-img",
            [
                "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd",
                "\(work)/disk.raw", "\(work)/disk.qcow2",
            ]
        )
        let size = HostFile.size("\(work)/disk.qcow2") ?? 0
        guard size <= Self.fileBytesMax else {
            throw Fault(
                .tooLarge,
                "cannot use the image: it is \(size) bytes, its budget is \(Self.fileBytesMax)"
            )
        }
        guard rename("\(work)/disk.qcow2", result) == 0 else {
            throw systemFault("write \(result)")
        }
        try await run("rm", ["-rf", "--", work])
    }

    /// The tree of files with everything that is not diskimage-builder's: kernel modules, agent, fstab.
    private func unpack(
        _ archive: String,
        _ kernel: UnpackedKernel,
        _ identity: ImageIdentity,
        into root: String,
        scratch: String
    ) async throws {
        try await run(
            "tar",
            [
                "--extract", "--file", archive, "--directory", root, "--numeric-owner", "--xattrs",
                "--xattrs-include=*", "--exclude=./etc/dib-manifests",
            ]
        )
        // diskimage-builder leaves these out; the initramfs moves its own onto them.
        for name in ["dev", "proc", "run", "sys"] { try makeDirectories("\(root)/\(name)") }
        let modules = "\(root)/usr/lib/modules"
        try makeDirectories(modules)
        try await run("cp", ["-a", "--", kernel.modulesDirectory, modules])
        let left = Self.modulesLeftOut.map { "\(modules)/\(kernel.version)/kernel/\($0)" }
        try await run("rm", ["-rf", "--"] + left)
        try await run("depmod", ["--basedir", root, kernel.version])
        let agent = try await BuildHost(scratch: scratch, time: time).stripped(recipe.agent)
        try makeDirectories("\(root)/usr/lib/rdo")
        try HostFile.write(agent, to: "\(root)/usr/lib/rdo/rdo-agent", mode: 0o755)
        let directories = SharedLibraries.defaultDirectories.map { root + $0 }
        // Refuses an agent that the node could not start.
        _ = try SharedLibraries(directories: directories).closure(of: [
            "\(root)/usr/lib/rdo/rdo-agent"
        ])
        try writeText(
            BootFiles.table(root: identity.uuid("root-filesystem")),
            to: "\(root)/etc/fstab"
        )
        // Tells systemd that nothing has changed since: else the first boot makes its caches anew.
        for directory in ["etc", "var"] {
            try writeText(
                "# written when the image was built\n",
                to: "\(root)/\(directory)/.updated"
            )
        }
    }

    /// Copies the finished image to where it is wanted, and describes it beside it.
    private func deliver(
        _ kept: String,
        _ identity: ImageIdentity,
        _ kernel: UnpackedKernel
    ) async throws {
        let description = "\(recipe.output).json"
        let text = """
            {
              "identity": "\(identity)",
              "kernel": "\(kernel.version)",
              "properties": {"rdo_agent": "true"}
            }

            """
        let size = HostFile.size(kept)
        if readText(description) == text, HostFile.size(recipe.output) == size { return }
        let fresh = "\(recipe.output).new"
        try await run("cp", ["--reflink=auto", "--", kept, fresh])
        guard rename(fresh, recipe.output) == 0 else { throw systemFault("write \(recipe.output)") }
        try writeText(text, to: description)
    }

    /// Removes what earlier builds left in the cache.
    private func prune(_ prefix: String, keeping kept: String?) async throws {
        for name in try HostFile.names(in: recipe.cache) where name.hasPrefix(prefix) {
            let path = "\(recipe.cache)/\(name)"
            if path != kept { unlink(path) }
        }
    }

    @discardableResult
    private func run(_ program: String, _ arguments: [String]) async throws -> ToolResult {
        try await Tool.require(program, arguments, budget: .seconds(1200), time: time)
    }
}
