import Basics
import Foundation
import Glibc
import Harness
import HostTools
import Testing

/// What the controller tells of a node's arrays.
private struct Built: Decodable {
    struct Disk: Decodable {
        let raidLevel: String
        let sizeBytes: Int64

        enum CodingKeys: String, CodingKey {
            case raidLevel = "raid_level"
            case sizeBytes = "size_bytes"
        }
    }

    struct Config: Decodable {
        let logicalDisks: [Disk]

        enum CodingKeys: String, CodingKey { case logicalDisks = "logical_disks" }
    }

    let raidConfig: Config

    enum CodingKeys: String, CodingKey { case raidConfig = "raid_config" }
}

/// Software RAID on a real machine with UEFI: built by the ramdisk, started by the firmware, and by the other disk
/// once the first is gone.
@Suite(
    .serialized,
    .enabled(if: RunningCloud.isUp, "needs the ramdisk that packaging/check builds for the lab")
)
struct RAIDVirtualMediaTests {
    private static let bios = VirtualMachines.Machine(
        name: "r1",
        uuid: "6b1b7f0c-7c27-4f0a-9b5e-0d5e1f7ad003",
        mac: "52:54:00:d0:00:04",
        isUEFI: false,
        address: "198.51.100.13",
        router: "",
        disks: 2
    )
    private static let machine = VirtualMachines.Machine(
        name: "r0",
        uuid: "6b1b7f0c-7c27-4f0a-9b5e-0d5e1f7ad002",
        mac: "52:54:00:d0:00:03",
        isUEFI: true,
        address: "198.51.100.12",
        router: "",
        disks: 4
    )

    /// What our ramdisk's kernel needs for arrays on these machines' disks.
    private static let modules = [
        "virtio_pci", "virtio_blk", "md_mod", "raid1", "raid10", "ext4", "nls_cp437", "nls_ascii",
        "vfat",
    ]

    @Test func `each level is built, a mirror takes an image, and starts from any disk`()
        async throws
    {
        try await with(Self.machine) { try await run($0, $1) }
    }

    @Test func `a machine with BIOS starts its mirror from either disk`() async throws {
        try await with(Self.bios) { try await runBIOS($0, $1) }
    }

    /// Runs a test with a controller and one machine, which its BMC manages, whose arrays the agent makes.
    private func with(
        _ machine: VirtualMachines.Machine,
        _ test: (VirtualMachines, ControllerAPI) async throws -> Void
    ) async throws {
        let machines = try await VirtualMachines([machine])
        do {
            let controller = try await start(machines)
            let api = try await ControllerAPI(controller)
            try await VirtualMediaTests.register(
                machine,
                at: machines,
                api,
                more: #", "raid_interface": "agent""#
            )
            try await api.provision(machine.name, "manage")
            try await api.wait(machine.name, for: "manageable", within: .seconds(60))
            let mode = machine.isUEFI ? "uefi" : "bios"
            let patch = """
                [{"op": "add", "path": "/properties/capabilities", "value": "boot_mode:\(mode)"}]
                """
            _ = try await api.call("PATCH", "/v1/nodes/\(machine.name)", patch)
            try await test(machines, api)
            #expect(try await controller.stop())
        } catch {
            let words = machines.console(of: machine).suffix(4000)
            let said = (readText(machines.log) ?? "").suffix(1500)
            Issue.record("\(error); libvirt: \(said); the console: \(words)")
        }
        try await machines.end()
    }

    private func start(_ machines: VirtualMachines) async throws -> RunningController {
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
        return controller
    }

    private func run(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        try await build(api)
        try await deploy(machines, api)
        try await start(machines, "both disks", "[4/4] [UUUU]", times: 1)
        // The EFI system partitions are a mirror of their own.
        let words = machines.console(of: Self.machine).components(separatedBy: "STARTED").last ?? ""
        #expect(words.contains("super 1.0 [4/4] [UUUU]"), "\(words.prefix(3000))")
        #expect(words.contains("active raid10 "), "\(words.prefix(3000))")
        // The machine goes on without its first disk.
        try await machines.changeDisks(of: Self.machine, to: [1])
        try await start(machines, "the second disk", "[4/1] [_U__]", times: 2)
        try await machines.changeDisks(of: Self.machine, to: [0])
        try await start(machines, "the first disk", "[4/1] [U___]", times: 3)
    }

    private func runBIOS(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        let (name, node) = (Self.bios.name, "/v1/nodes/\(Self.bios.name)")
        _ = try await api.call(
            "PUT",
            node + "/states/raid",
            """
            {"logical_disks": [{"size_gb": "MAX", "raid_level": "1", "controller": "software",
                                "is_root_volume": true}]}
            """
        )
        try await api.clean(name, ["raid.delete_configuration", "raid.create_configuration"])
        try await api.wait(name, for: "manageable", within: .seconds(180))
        try await api.provision(name, "provide")
        try await api.wait(name, for: "available", within: .seconds(180))
        // A whole disk, whose only partition has kernel and GRUB's menu.
        let marker = "bios-mirror"
        let kernel = VirtualMediaTests.ramdisk + "/kernel"
        let folder = machines.folder.path
        let root = try await PartitionImage(marker, kernel: kernel, in: folder).make(.ext4)
        let disk = folder + "/bios.raw"
        for (program, arguments) in [
            ("truncate", ["--size=100M", disk]),
            ("sgdisk", ["--clear", "--new=1:2048:+96M", disk]),
            ("dd", ["if=\(root)", "of=\(disk)", "bs=1M", "seek=1", "conv=notrunc"]),
        ] { try await output(program, arguments, in: folder) }
        let id = try await api.upload(disk, named: marker)
        let patch = """
            [{"op": "add", "path": "/instance_info/image_source", "value": "\(id)"}]
            """
        _ = try await api.call("PATCH", node, patch)
        try await api.provision(name, "active")
        try await api.wait(name, for: "active", within: .seconds(240))
        // Both disks, then each of them alone.
        for (times, disks) in [nil, [1], [0]].enumerated() {
            if let disks { try await machines.changeDisks(of: Self.bios, to: disks) }
            try await eventually("start \(times + 1)", within: .seconds(120)) {
                machines.console(of: Self.bios)
                    .components(separatedBy: PartitionImage.mark(of: marker)).count > times + 1
            }
        }
    }

    /// Two volumes, the first of them the mirror that takes the image.
    private func volumes(_ level: String) -> String {
        """
        {"logical_disks": [
          {"size_gb": 4, "raid_level": "1", "controller": "software", "is_root_volume": true},
          {"size_gb": "MAX", "raid_level": "\(level)", "controller": "software", "volume_name": "data"}]}
        """
    }

    /// Builds every level by manual cleanings, then lets an automated one keep the last.
    private func build(_ api: ControllerAPI) async throws {
        let node = "/v1/nodes/\(Self.machine.name)"
        _ = try await api.call(
            "PUT",
            node + "/states/raid",
            """
            {"logical_disks": [
              {"size_gb": "MAX", "raid_level": "0", "controller": "software", "volume_name": "data"},
              {"size_gb": 4, "raid_level": "1", "controller": "software", "is_root_volume": true}]}
            """
        )
        // The first must be a mirror.
        await #expect(throws: Fault.self) {
            try await api.clean(Self.machine.name, ["raid.create_configuration"])
        }
        var first = ""
        // Each disk leaves 2.4 GiB to its second member; what parity and copies take is not the volume's.
        for (level, gibibytes) in [("0", 9), ("6", 4), ("5", 7)] {
            _ = try await api.call("PUT", node + "/states/raid", volumes(level))
            try await api.clean(
                Self.machine.name,
                ["raid.delete_configuration", "raid.create_configuration"]
            )
            try await api.wait(Self.machine.name, for: "manageable", within: .seconds(180))
            first = try await built(api, level, gibibytes)
        }
        try await api.provision(Self.machine.name, "provide")
        try await api.wait(Self.machine.name, for: "available", within: .seconds(180))
        #expect(try await built(api, "5", 7) != first, "the arrays are new")
    }

    /// Checks what the agent told of the arrays that it made.
    /// - Returns: all that it told.
    private func built(
        _ api: ControllerAPI,
        _ level: String,
        _ gibibytes: Int
    ) async throws -> String {
        let told = try await api.call("GET", "/v1/nodes/\(Self.machine.name)")
        let node = try JSONDecoder().decode(Built.self, from: Data(told.utf8))
        let disks = node.raidConfig.logicalDisks
        #expect(disks.map(\.raidLevel) == ["1", level], "\(told)")
        #expect(disks.map { Int($0.sizeBytes >> 30) } == [3, gibibytes], "\(told)")
        let serials = (0..<Self.machine.disks).map { "RDO-\(Self.machine.name)-\($0)" }
        #expect(serials.allSatisfy(told.contains), "\(told)")
        return try await api.member("/v1/nodes/\(Self.machine.name)", "raid_config")
    }

    /// Builds level 1+0 as a step of the deployment, which then writes the image.
    private func deploy(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        let image = try await makeImage(in: machines.folder.path)
        let id = try await api.upload(image, named: "mirrored")
        let patch = """
            [{"op": "add", "path": "/instance_info/image_source", "value": "\(id)"}]
            """
        let node = "/v1/nodes/\(Self.machine.name)"
        _ = try await api.call("PATCH", node, patch)
        _ = try await api.call(
            "PUT",
            node + "/states/provision",
            """
            {"target": "active", "deploy_steps": [
              {"interface": "raid", "step": "apply_configuration", "priority": 90,
               "args": {"raid_config": \(volumes("1+0"))}}]}
            """
        )
        try await api.wait(Self.machine.name, for: "active", within: .seconds(240))
        _ = try await built(api, "1+0", 4)
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
