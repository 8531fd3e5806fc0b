import Basics
import HostTools
@testable import RamdiskBuilder
import Testing

@Suite struct `The ramdisk's tree` {
    @Test func `starts the agent and gives it a console`() throws {
        let archive = RamdiskTree.make(
            agent: [1],
            loader: ("/lib64/ld-linux-x86-64.so.2", [2]),
            libraries: ["libc.so.6": [3]],
            busybox: [4]
        )
        #expect(archive.entries["init"]?.content == .link("usr/bin/rdo-agent"))
        #expect(archive.entries["usr/bin/rdo-agent"] == .init(.file([1]), mode: 0o755))
        #expect(archive.entries["dev/console"]?.content == .characterDevice(major: 5, minor: 1))
        #expect(archive.entries["lib64"]?.content == .link("usr/lib64"))
        #expect(archive.entries["usr/lib64/ld-linux-x86-64.so.2"]?.content == .file([2]))
        #expect(archive.entries["usr/lib/x86_64-linux-gnu/libc.so.6"]?.content == .file([3]))
        #expect(archive.entries["usr/bin/modprobe"]?.content == .link("busybox"))
    }

    @Test func `holds the chosen modules and the lists to load them by`() async throws {
        let scratch = try Scratch()
        let modules = "\(scratch.path)/lib/modules/6.1"
        try makeDirectories("\(modules)/kernel/net")
        try HostFile.write([7], to: "\(modules)/kernel/net/a.ko")
        try HostFile.write([8], to: "\(modules)/kernel/net/b.ko.xz")
        try HostFile.write([9], to: "\(modules)/kernel/net/c.ko")
        try writeText(
            "kernel/net/a.ko: kernel/net/b.ko.xz\nkernel/net/b.ko.xz:\nkernel/net/c.ko:\n",
            to: "\(modules)/modules.dep"
        )
        for name in ["modules.builtin", "modules.order"] {
            try writeText("", to: "\(modules)/\(name)")
        }
        let kernel = UnpackedKernel(
            version: "6.1",
            packageFile: "linux.deb",
            imagePath: "/nowhere",
            modulesDirectory: modules
        )
        let index = try ModuleIndex(directory: modules)
        let archive = try await RamdiskTree.modules(
            index.closure(of: ["a"]).modules,
            of: index,
            kernel: kernel,
            start: ["a", "c"],
            decompress: { path in Array(path.utf8.suffix(7)) }
        )
        let below = "usr/lib/modules/6.1/kernel/net"
        #expect(archive.entries["\(below)/a.ko"]?.content == .file([7]))
        #expect(archive.entries["\(below)/b.ko"]?.content == .file(Array("b.ko.xz".utf8)))
        #expect(archive.entries["\(below)/c.ko"] == nil)
        #expect(archive.entries["etc/rdo/modules"]?.content == .file(Array("a\n".utf8)))
    }

    @Test func `shows what takes the space`() {
        var base = CpioArchive()
        base.file("usr/bin/rdo-agent", [UInt8](repeating: 1, count: 5 << 20))
        base.file("etc/hosts", [1])
        var modules = CpioArchive()
        modules.file(
            "usr/lib/modules/6.1/kernel/drivers/net/x.ko",
            [UInt8](repeating: 1, count: 2048)
        )
        let report = RamdiskReport(
            kernelVersion: "6.1",
            kernelBytes: 3 << 20,
            base: base,
            baseBytes: 1 << 20,
            modules: modules,
            moduleBytes: 1024,
            closure: .init(modules: ["x"], builtIn: [], missing: ["ahci"])
        )
        let table = report.table
        #expect(table.contains("5120 KiB  usr/bin/rdo-agent\n"))
        #expect(table.contains("2 KiB  modules drivers/net\n"))
        #expect(table.contains("1025 KiB  initrd\n"))
        #expect(table.hasSuffix("not in this kernel: ahci"))
    }
}
