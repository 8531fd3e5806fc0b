import Basics
import Foundation
import Glibc
import Harness
import HostTools
import Testing

/// Software RAID on a real machine with UEFI: built by the ramdisk, started by the firmware, and by the other disk
/// once the first is gone.
@Suite(
    .serialized,
    .enabled(if: RunningCloud.isUp, "needs the ramdisk that packaging/check builds for the lab")
)
struct RAIDVirtualMediaTests {
    private static let machine = VirtualMachines.Machine(
        name: "r0",
        uuid: "6b1b7f0c-7c27-4f0a-9b5e-0d5e1f7ad002",
        mac: "52:54:00:d0:00:03",
        isUEFI: true,
        address: "198.51.100.12",
        router: "",
        disks: 2
    )

    /// What our ramdisk's kernel needs for arrays on these machines' disks.
    private static let modules = [
        "virtio_pci", "virtio_blk", "md_mod", "raid0", "raid1", "ext4", "nls_cp437", "nls_ascii",
        "vfat",
    ]

    @Test func `a mirror is built, takes an image, and starts from either disk`() async throws {
        let machines = try await VirtualMachines([Self.machine])
        do {
            try await run(machines)
        } catch {
            let words = machines.console(of: Self.machine).suffix(4000)
            let said = (readText(machines.log) ?? "").suffix(1500)
            Issue.record("\(error); libvirt: \(said); the console: \(words)")
        }
        try await machines.end()
    }

    private func run(_ machines: VirtualMachines) async throws {
        let gateway = VirtualMachines.gateway
        let controller = try await RunningController(
            settings: [
                "boot.address": gateway, "api.address": gateway, "agents.trust_first_boot": "true",
            ],
            addresses: [gateway]
        )
        let served = controller.folder.path + "/state/http/ramdisk/media.iso"
        try #require(symlink(VirtualMediaTests.ramdisk + "/media.iso", served) == 0)
        try await controller.start()
        try await machines.start()
        let api = try await ControllerAPI(controller)
        let name = Self.machine.name
        try await VirtualMediaTests.register(
            Self.machine,
            at: machines,
            api,
            more: #", "raid_interface": "agent""#
        )
        try await api.provision(name, "manage")
        try await api.wait(name, for: "manageable", within: .seconds(60))
        _ = try await api.call(
            "PATCH",
            "/v1/nodes/\(name)",
            #"[{"op": "add", "path": "/properties/capabilities", "value": "boot_mode:uefi"}]"#
        )
        try await build(api)
        try await deploy(machines, api)
        try await start(machines, "both disks", "[2/2] [UU]", times: 1)
        // The EFI system partitions are a mirror of their own.
        let words = machines.console(of: Self.machine).components(separatedBy: "STARTED").last ?? ""
        #expect(words.contains("super 1.0 [2/2] [UU]"), "\(words.prefix(3000))")
        // The machine goes on without its first disk.
        try await machines.changeDisks(of: Self.machine, to: [1])
        try await start(machines, "the second disk", "[2/1] [_U]", times: 2)
        try await machines.changeDisks(of: Self.machine, to: [0])
        try await start(machines, "the first disk", "[2/1] [U_]", times: 3)
        #expect(try await controller.stop())
    }

    /// Builds a mirror by a manual cleaning, then lets an automated one keep it.
    private func build(_ api: ControllerAPI) async throws {
        let node = "/v1/nodes/\(Self.machine.name)"
        _ = try await api.call(
            "PUT",
            node + "/states/raid",
            """
            {"logical_disks": [
              {"size_gb": "MAX", "raid_level": "0", "controller": "software", "volume_name": "data"},
              {"size_gb": 5, "raid_level": "1", "controller": "software", "is_root_volume": true}]}
            """
        )
        // The first must be a mirror.
        await #expect(throws: Fault.self) {
            try await api.clean(Self.machine.name, ["raid.create_configuration"])
        }
        _ = try await api.call(
            "PUT",
            node + "/states/raid",
            """
            {"logical_disks": [
              {"size_gb": 5, "raid_level": "1", "controller": "software", "is_root_volume": true},
              {"size_gb": "MAX", "raid_level": "0", "controller": "software", "volume_name": "data"}]}
            """
        )
        try await api.clean(
            Self.machine.name,
            ["raid.delete_configuration", "raid.create_configuration"]
        )
        try await api.wait(Self.machine.name, for: "manageable", within: .seconds(180))
        let first = try await api.member(node, "raid_config")
        #expect(first.contains("/dev/md0") && first.contains("/dev/md1"), "\(first)")
        #expect(first.contains("RDO-r0-0") && first.contains("RDO-r0-1"), "\(first)")
        try await api.provision(Self.machine.name, "provide")
        try await api.wait(Self.machine.name, for: "available", within: .seconds(180))
        let second = try await api.member(node, "raid_config")
        #expect(second.contains("/dev/md0") && second.contains("/dev/md1"), "\(second)")
        #expect(first != second, "the arrays are new")
    }

    private func deploy(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        let image = try await makeImage(in: machines.folder.path)
        let id = try await api.upload(image, named: "mirrored")
        let patch = """
            [{"op": "add", "path": "/instance_info/image_source", "value": "\(id)"}]
            """
        _ = try await api.call("PATCH", "/v1/nodes/\(Self.machine.name)", patch)
        try await api.provision(Self.machine.name, "active")
        try await api.wait(Self.machine.name, for: "active", within: .seconds(240))
    }

    private func start(
        _ machines: VirtualMachines,
        _ what: String,
        _ mirror: String,
        times: Int
    ) async throws {
        try await eventually("a start from \(what)", within: .seconds(120)) {
            machines.console(of: Self.machine).components(separatedBy: "ROOT-IS ").count > times
        }
        let words = machines.console(of: Self.machine).components(separatedBy: "STARTED").last ?? ""
        #expect(words.contains("ROOT-IS here"), "\(words.prefix(2000))")
        #expect(words.contains(mirror), "\(words.prefix(2000))")
    }

    /// A disk with an EFI system partition, whose loader is a kernel that mounts the root partition off the array,
    /// and that root partition.
    private func makeImage(in folder: String) async throws -> String {
        let path = folder + "/image"
        for place in [
            "ram/bin", "ram/dev", "ram/proc", "ram/sys", "ram/run", "ram/mnt", "ram/lib", "ram/etc",
            "root",
        ] {
            try makeDirectories("\(path)/\(place)")
        }
        let places = try await unpackRamdisk(in: path)
        let script = """
            #!/bin/busybox sh
            export PATH=/bin
            busybox mount -t devtmpfs devtmpfs /dev
            busybox mount -t proc proc /proc
            busybox mount -t sysfs sysfs /sys
            echo STARTED > /dev/ttyS0
            \(places.map { "busybox insmod /lib/\($0)" }.joined(separator: "\n"))
            busybox sleep 1
            mdadm --assemble --scan --run > /dev/ttyS0 2>&1
            busybox cat /proc/mdstat > /dev/ttyS0
            busybox mount -t ext4 -o ro /dev/md0p2 /mnt
            echo "ROOT-IS $(busybox cat /mnt/marker)" > /dev/ttyS0
            while true; do busybox sleep 1000; done

            """
        try writeText(script, to: "\(path)/ram/init", mode: 0o755)
        try writeText("console=ttyS0", to: "\(path)/cmdline")
        try writeText("here\n", to: "\(path)/root/marker")
        try await output(
            "sh",
            ["-c", "cd ram && find . | cpio --quiet -o -H newc > ../ram.cpio"],
            in: path
        )
        try await output(
            "objcopy",
            [
                ("cmdline", "\(path)/cmdline", "0x30000"),
                ("linux", VirtualMediaTests.ramdisk + "/kernel", "0x2000000"),
                ("initrd", "\(path)/ram.cpio", "0x4000000"),
            ].flatMap {
                ["--add-section", ".\($0.0)=\($0.1)", "--change-section-vma", ".\($0.0)=\($0.2)"]
            } + ["/usr/lib/systemd/boot/efi/linuxx64.efi.stub", "\(path)/BOOTX64.EFI"],
            in: path
        )
        let (esp, root, disk) = ("\(path)/esp.raw", "\(path)/root.raw", "\(path).raw")
        for (program, arguments) in [
            ("truncate", ["--size=48M", esp]), ("mkfs.fat", ["-n", "ESP", esp]),
            ("mmd", ["-i", esp, "::/EFI", "::/EFI/BOOT"]),
            ("mcopy", ["-i", esp, "\(path)/BOOTX64.EFI", "::/EFI/BOOT/BOOTX64.EFI"]),
            ("truncate", ["--size=16M", root]),
            ("mke2fs", ["-q", "-t", "ext4", "-d", "\(path)/root", root]),
            ("truncate", ["--size=68M", disk]),
            (
                "sgdisk",
                ["--clear", "--new=1:2048:+48M", "--typecode=1:ef00", "--new=2:0:+16M", disk]
            ),
            ("dd", ["if=\(esp)", "of=\(disk)", "bs=1M", "seek=1", "conv=notrunc"]),
            ("dd", ["if=\(root)", "of=\(disk)", "bs=1M", "seek=49", "conv=notrunc"]),
        ] { try await output(program, arguments, in: path) }
        return disk
    }

    /// Takes busybox, mdadm with its libraries, and modules out of our ramdisk.
    /// - Returns: the modules' files, in the order to load them.
    private func unpackRamdisk(in path: String) async throws -> [String] {
        // Two compressed archives, one after the other.
        try makeDirectories(path + "/whole")
        try await output(
            "sh",
            [
                "-c",
                "zstd -dcq < \(VirtualMediaTests.ramdisk)/initrd > whole.cpio; cd whole && while cpio --quiet -idm; do :; done < ../whole.cpio 2> ../cpio.log || true",
            ],
            in: path
        )
        try await output(
            "sh",
            [
                "-c",
                "cp whole/usr/bin/busybox whole/usr/bin/mdadm ram/bin/ && mkdir -p ram/lib64 ram/usr && cp -a whole/usr/lib/x86_64-linux-gnu ram/lib/ && cp -a whole/usr/lib64/. ram/lib64/",
            ],
            in: path
        )
        let index = try await output(
            "sh",
            ["-c", "cat whole/usr/lib/modules/*/modules.dep"],
            in: path
        )
        let folder =
            try await output("sh", ["-c", "echo whole/usr/lib/modules/*"], in: path)
            .split(whereSeparator: \.isNewline).first ?? ""
        var needs: [String: [String]] = [:]
        for line in index.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard let file = parts.first else { continue }
            needs[name(file)] =
                (parts.dropFirst().first?.split(separator: " ") ?? []).reversed().map(String.init)
                + [String(file)]
        }
        var loaded: [String] = []
        for file in Self.modules.flatMap({ needs[$0] ?? [] }) where !loaded.contains(name(file)) {
            loaded.append(name(file))
            try await output("cp", ["\(folder)/\(file)", "ram/lib/\(name(file))"], in: path)
        }
        return loaded
    }

    private func name(_ path: some StringProtocol) -> String {
        let file = path.split(separator: "/").last ?? ""
        return String((file.split(separator: ".").first ?? "").map { $0 == "-" ? "_" : $0 })
    }

    @discardableResult
    private func output(
        _ program: String,
        _ arguments: [String],
        in folder: String
    ) async throws -> String {
        try await Tool.require(
            program,
            arguments,
            directory: folder,
            budget: .seconds(60),
            time: SystemTime()
        ).output
    }
}
