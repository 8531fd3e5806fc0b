import Basics
import Harness
import HostTools
import Testing

/// An image of a root partition, for UEFI and BIOS, whose system is a kernel that says so on the serial line, and
/// then stays.
struct PartitionImage {
    /// What the file system is.
    enum Format: String {
        case ext4
        case xfs
    }

    private let marker: String
    private let kernel: String
    private let path: String

    /// - Parameters:
    ///   - marker: what the system says.
    ///   - kernel: path of a kernel with an EFI stub.
    ///   - folder: where the image and what it is made of go.
    init(_ marker: String, kernel: String, in folder: String) {
        self.marker = marker
        self.kernel = kernel
        path = "\(folder)/\(marker)"
    }

    /// What the system writes when it starts.
    static func mark(of marker: String) -> String { "PARTITION-IMAGE \(marker)" }

    /// Makes the image's file; its path.
    func make(_ format: Format) async throws -> String {
        let script = """
            #!/bin/busybox sh
            /bin/busybox mount -t devtmpfs devtmpfs /dev
            echo "\(Self.mark(of: marker))" > /dev/ttyS0
            while true; do /bin/busybox sleep 1000; done

            """
        let menu = """
            insmod part_gpt
            insmod part_msdos
            linux /boot/vmlinuz console=ttyS0
            initrd /boot/initrd
            boot

            """
        for place in ["ram/bin", "ram/dev", "root/boot/efi/EFI/BOOT", "root/boot/grub", "root/etc"]
        {
            try makeDirectories("\(path)/\(place)")
        }
        try writeText(script, to: "\(path)/ram/init")
        try writeText("console=ttyS0", to: "\(path)/cmdline")
        try writeText("\(marker) is here\n", to: "\(path)/root/etc/marker")
        try writeText(menu, to: "\(path)/root/boot/grub/grub.cfg")
        let busybox = try #require(Tool.locate("busybox"))
        _ = try await RunningCloud.output("cp", [busybox, "\(path)/ram/bin/busybox"])
        _ = try await RunningCloud.output("chmod", ["755", "\(path)/ram/init"])
        let archive = "\(path)/root/boot/initrd"
        try await Tool.require(
            "cpio",
            ["--quiet", "-o", "-H", "newc", "-F", archive],
            input: Array("bin\nbin/busybox\ndev\ninit\n".utf8),
            directory: "\(path)/ram",
            budget: .seconds(30),
            time: SystemTime()
        )
        _ = try await RunningCloud.output("cp", [kernel, "\(path)/root/boot/vmlinuz"])
        let sections = [
            (".cmdline", "\(path)/cmdline", "0x30000"), (".linux", kernel, "0x2000000"),
            (".initrd", archive, "0x4000000"),
        ]
        _ = try await RunningCloud.output(
            "objcopy",
            sections.flatMap {
                ["--add-section", "\($0.0)=\($0.1)", "--change-section-vma", "\($0.0)=\($0.2)"]
            } + [
                "/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
                "\(path)/root/boot/efi/EFI/BOOT/BOOTX64.EFI",
            ]
        )
        let image = "\(path).\(format.rawValue)"
        switch format {
        case .ext4:
            _ = try await RunningCloud.output("truncate", ["--size=96M", image])
            _ = try await RunningCloud.output(
                "mke2fs",
                ["-q", "-t", "ext4", "-d", "\(path)/root", image]
            )
        case .xfs:
            // The smallest that mkfs.xfs makes.
            _ = try await RunningCloud.output("truncate", ["--size=300M", image])
            try writeText(prototype, to: "\(path)/prototype")
            _ = try await RunningCloud.output(
                "mkfs.xfs",
                ["-q", "-p", "\(path)/prototype", image]
            )
        }
        return image
    }

    /// The tree as `mkfs.xfs` takes it: a name, its kind and mode, its owner, and a file's source.
    private var prototype: String {
        """
        /stand
        0 0
        d--755 0 0
        boot d--755 0 0
        vmlinuz ---644 0 0 \(path)/root/boot/vmlinuz
        initrd ---644 0 0 \(path)/root/boot/initrd
        grub d--755 0 0
        grub.cfg ---644 0 0 \(path)/root/boot/grub/grub.cfg
        $
        efi d--755 0 0
        EFI d--755 0 0
        BOOT d--755 0 0
        BOOTX64.EFI ---644 0 0 \(path)/root/boot/efi/EFI/BOOT/BOOTX64.EFI
        $
        $
        $
        $
        etc d--755 0 0
        marker ---644 0 0 \(path)/root/etc/marker
        $
        $

        """
    }
}
