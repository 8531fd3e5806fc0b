/// What a ramdisk holds beside the kernel's modules: the agent as first program, its libraries, busybox.
package enum RamdiskTree {
    /// Names by which busybox is called.
    ///
    /// `modprobe` is what the kernel and the agent load modules with;
    /// the others help a person on a serial console or in a rescue.
    package static let tools = [
        "cat", "chroot", "cp", "df", "dmesg", "echo", "find", "grep", "insmod", "ip", "kill", "ls",
        "lsmod", "mkdir", "modprobe", "mount", "mv", "ping", "poweroff", "ps", "reboot", "rm",
        "rmmod", "sh", "sync", "udhcpc", "umount", "vi",
    ]

    /// Programs of the build host that the agent runs, and the packages that have them.
    package static let programs = [
        "mke2fs": "e2fsprogs", "mkfs.fat": "dosfstools", "dropbear": "dropbear-bin",
        "dropbearkey": "dropbear-bin", "mdadm": "mdadm", "memtester": "memtester",
    ]

    private static let libraryDirectory = "usr/lib/x86_64-linux-gnu"

    /// Lays out an archive.
    /// - Parameters:
    ///   - agent: the agent's bytes as they go in, stripped.
    ///   - loader: path of the agent's dynamic loader as it asks for it; nil when it needs none.
    ///   - libraries: bytes by the name that the loader asks for.
    ///   - busybox: a static busybox.
    ///   - programs: bytes of what the agent runs, by name.
    ///   - files: other files, by path.
    /// - Returns: everything but modules.
    package static func make(
        agent: [UInt8],
        loader: (path: String, bytes: [UInt8])?,
        libraries: [String: [UInt8]],
        busybox: [UInt8],
        programs: [String: [UInt8]] = [:],
        files: [String: [UInt8]] = [:]
    ) -> CpioArchive {
        var archive = skeleton()
        archive.file("usr/bin/rdo-agent", agent, mode: 0o755)
        archive.link("init", to: "usr/bin/rdo-agent")
        archive.file("usr/bin/busybox", busybox, mode: 0o755)
        for tool in tools { archive.link("usr/bin/\(tool)", to: "busybox") }
        for (name, bytes) in programs { archive.file("usr/bin/\(name)", bytes, mode: 0o755) }
        for (path, bytes) in files { archive.file(path, bytes) }
        for (name, bytes) in libraries {
            archive.file("\(libraryDirectory)/\(name)", bytes, mode: 0o755)
        }
        if let loader {
            // /lib64/ld-linux-x86-64.so.2: the directory is a link into /usr.
            archive.file("usr\(loader.path)", loader.bytes, mode: 0o755)
        }
        return archive
    }

    /// The directories, links and device nodes without which no program starts.
    ///
    /// Without `/dev/console` the kernel gives its first program no output at all, and it fails silently.
    package static func skeleton() -> CpioArchive {
        var archive = CpioArchive()
        for path in [
            "dev", "etc", "mnt", "proc", "root", "run", "sys", "usr/bin", "usr/lib", "var",
        ] {
            archive.directory(path)
        }
        archive.directory("root", mode: 0o700)
        archive.directory("tmp", mode: 0o1777)
        archive.directory("usr/lib64")
        archive.link("bin", to: "usr/bin")
        archive.link("sbin", to: "usr/bin")
        archive.link("usr/sbin", to: "bin")
        archive.link("lib", to: "usr/lib")
        archive.link("lib64", to: "usr/lib64")
        archive.set("dev/console", .init(.characterDevice(major: 5, minor: 1), mode: 0o600))
        archive.set("dev/null", .init(.characterDevice(major: 1, minor: 3), mode: 0o666))
        archive.file("etc/passwd", Array("root:x:0:0:root:/root:/bin/sh\n".utf8))
        archive.file("etc/group", Array("root:x:0:\n".utf8))
        archive.file("etc/hosts", Array("127.0.0.1 localhost\n::1 localhost\n".utf8))
        archive.file("etc/nsswitch.conf", Array("hosts: files dns\n".utf8))
        return archive
    }

    /// An archive with some of a kernel's modules and the lists by which `modprobe` finds them.
    /// - Parameters:
    ///   - chosen: names of modules; one that the index does not have is left out.
    ///   - index: the kernel's modules.
    ///   - kernel: where its files are.
    ///   - start: modules to load at start, in this order, written to `/etc/rdo/modules`, one a line.
    ///   - decompress: gives the bytes of a module that is stored compressed.
    /// - Returns: modules, lists and nothing else.
    /// - Throws: `Fault` when a module cannot be read.
    package static func modules(
        _ chosen: Set<String>,
        of index: ModuleIndex,
        kernel: UnpackedKernel,
        start: [String],
        decompress: (String) async throws -> [UInt8]
    ) async throws -> CpioArchive {
        var archive = CpioArchive()
        let directory = "usr/lib/modules/\(kernel.version)"
        for name in chosen.sorted() {
            guard let module = index.modules[name] else { continue }
            let source = "\(kernel.modulesDirectory)/\(module.path)"
            let bytes =
                module.path.hasSuffix(".ko")
                ? try HostFile.read(source) : try await decompress(source)
            archive.file("\(directory)/\(ModuleIndex.plainPath(module.path))", bytes)
        }
        for (name, text) in index.texts(for: chosen) {
            archive.file("\(directory)/\(name)", Array(text.utf8))
        }
        for name in ["modules.builtin", "modules.order"] {
            archive.file(
                "\(directory)/\(name)",
                try HostFile.read("\(kernel.modulesDirectory)/\(name)")
            )
        }
        let first = start.filter(chosen.contains)
        archive.file("etc/rdo/modules", Array(first.map { "\($0)\n" }.joined().utf8))
        return archive
    }
}
