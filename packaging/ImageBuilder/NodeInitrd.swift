import Basics
import RamdiskBuilder

/// The small initramfs of an overcloud image: busybox, our `init` and the drivers of disks.
enum NodeInitrd {
    /// Names by which `init` calls busybox.
    static let tools = [
        "cat", "findfs", "modprobe", "mount", "reboot", "sh", "sleep", "sort", "switch_root",
    ]

    /// Puts it together and compresses it.
    /// - Parameters:
    ///   - script: the text of `init`.
    ///   - kernel: the kernel that will run.
    ///   - drivers: decides which drivers go in.
    ///   - cache: directory for compressed parts and scratch files.
    ///   - time: bounds what programs may take.
    /// - Returns: the bytes of the file.
    /// - Throws: `Fault` that names what is missing.
    static func make<Time: TimeSource>(
        script: [UInt8],
        kernel: UnpackedKernel,
        drivers: DriverSet,
        cache: String,
        time: Time
    ) async throws -> [UInt8] {
        let host = BuildHost(scratch: cache, time: time)
        let index = try ModuleIndex(directory: kernel.modulesDirectory)
        let closure = index.closure(of: drivers.neededForRoot)
        var archive = RamdiskTree.skeleton()
        archive.file("init", script, mode: 0o755)
        archive.file("usr/bin/busybox", try host.busybox(), mode: 0o755)
        for tool in tools { archive.link("usr/bin/\(tool)", to: "busybox") }
        let modules = try await RamdiskTree.modules(
            closure.modules,
            of: index,
            kernel: kernel,
            start: ["virtio_pci"],
            decompress: { try await host.decompressed($0) }
        )
        for (path, entry) in modules.entries { archive.set(path, entry) }
        return try FrameCache(directory: "\(cache)/frames").frame(of: archive, modified: 0)
    }
}
