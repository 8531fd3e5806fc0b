import Basics
import Glibc
import HostTools
@testable import RamdiskBuilder
import Testing

/// Needs the distribution's kernel package, which apt downloads once (27 MB).
@Suite struct `A whole ramdisk` {
    @Test(.timeLimit(.minutes(5)))
    func `has the same bytes when it is built again from nothing but the kernel package`()
        async throws
    {
        let scratch = try Scratch()
        let kernels = "/var/cache/rdo/ramdisk/kernel"
        var initrds: [[UInt8]] = []
        var images: [[UInt8]] = []
        for round in ["first", "second"] {
            let cache = "\(scratch.path)/\(round)"
            try makeDirectories(cache)
            try makeDirectories(kernels)
            #expect(symlink(kernels, "\(cache)/kernel") == 0)
            let recipe = RamdiskRecipe(
                drivers: .virtio,
                agent: "/usr/bin/ls",
                output: "\(cache)/output",
                cache: cache
            )
            let report = try await RamdiskBuild(recipe, time: SystemTime()).run()
            #expect(report.baseBytes < 5_000_000)
            #expect(
                report.closure.modules.isSuperset(of: ["virtio_net", "virtio_blk", "virtio_pci"])
            )
            initrds.append(try HostFile.read("\(cache)/output/initrd"))
            images.append(try HostFile.read("\(cache)/output/media.iso"))
            #expect(try HostFile.names(in: cache).allSatisfy { !$0.hasPrefix("media.") })
        }
        #expect(initrds[0] == initrds[1])
        #expect(images[0] == images[1])
        try checkImage("\(scratch.path)/second/output/media.iso", initrd: initrds[1])
        #expect(initrds[0].count % 4 == 0, "a UEFI start appends the boot fragment")
    }

    /// The CD's image has a place for each machine's own archive, and the initrd as it is.
    private func checkImage(_ path: String, initrd: [UInt8]) throws {
        let file = open(path, O_RDONLY)
        defer { close(file) }
        let offset = try MediaSlot.offset(in: file, path: path)
        #expect(offset % UInt64(MediaSlot.sectorBytes) == 0)
        let image = try HostFile.read(path)
        let slot = Int(offset)
        #expect(Array(image[slot..<slot + MediaSlot.bytes]) == MediaSlot.filling)
        // El Torito: the boot record, and in the catalogue it names the mark of UEFI's platform.
        #expect(
            Array(image[17 * 2048 + 7..<17 * 2048 + 30]) == Array("EL TORITO SPECIFICATION".utf8)
        )
        #expect(image.count > initrd.count)
    }

    @Test(arguments: [0, 1, 3, 511, 512, 513])
    func `ends where another archive may follow`(length: Int) {
        let frame = [UInt8](repeating: 7, count: length)
        let joined = RamdiskBuild<SystemTime>.joined([[1], frame])
        #expect(joined.count % 512 == 0)
        #expect(joined.starts(with: [1] + frame))
        #expect(joined.dropFirst(length + 1).allSatisfy { $0 == 0 })
        #expect(joined.count < length + 1 + 512)
    }

    @Test func `names the agent that is missing`() async throws {
        let scratch = try Scratch()
        let recipe = RamdiskRecipe(
            drivers: .virtio,
            agent: "/nowhere/rdo-agent",
            output: "\(scratch.path)/output",
            cache: "/var/cache/rdo/ramdisk"
        )
        let fault = await #expect(throws: Fault.self) {
            try await RamdiskBuild(recipe, time: SystemTime()).run()
        }
        #expect(fault?.message.contains("/nowhere/rdo-agent") == true)
        #expect(!HostFile.exists("\(scratch.path)/output/initrd"))
    }

    @Test(arguments: ["", "../6.1", "6.1 evil", "-x"])
    func `refuses a kernel version that is none`(version: String) async throws {
        let scratch = try Scratch()
        let packages = KernelPackages(cache: scratch.path, time: SystemTime())
        let fault = await #expect(throws: Fault.self) {
            _ = try await packages.unpacked(.virtio, version: version)
        }
        #expect(fault?.kind == .invalid)
    }
}
