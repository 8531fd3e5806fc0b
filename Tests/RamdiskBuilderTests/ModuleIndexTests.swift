@testable import RamdiskBuilder
import Testing

@Suite struct `Choosing modules` {
    private static let index = ModuleIndex(
        dependencies: """
            kernel/drivers/virtio/virtio_ring.ko:
            kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
            kernel/net/core/failover.ko:
            kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
            kernel/drivers/net/far-away.ko:
            kernel/crypto/crc32c-intel.ko:
            kernel/fs/ext4.ko:
            """,
        builtIn: "kernel/drivers/nvme/host/nvme.ko\n",
        soft: "# Soft dependencies\nsoftdep ext4 pre: crc32c_intel post: not_there\n",
        aliases: """
            # Aliases
            alias virtio:d00000001v* virtio_net
            alias pci:v00001AF4* virtio_pci
            alias fs-ext4 ext4
            """,
        symbols: "alias symbol:vring_create virtio_ring\nalias symbol:other far_away\n"
    )

    @Test func `takes along what a module needs`() {
        #expect(
            Self.index.closure(of: ["virtio_net"]).modules == [
                "failover", "virtio", "virtio_net", "virtio_ring",
            ]
        )
    }

    @Test func `takes along what a module wants softly when it is there`() {
        #expect(Self.index.closure(of: ["ext4"]).modules == ["crc32c_intel", "ext4"])
    }

    @Test func `tells what is built in from what is missing`() {
        let closure = Self.index.closure(of: ["nvme", "ahci", "far-away", "e1000"])
        #expect(closure.builtIn == ["nvme"])
        #expect(closure.missing == ["ahci", "e1000"])
        #expect(closure.modules == ["far_away"])
    }

    @Test func `takes nothing for an empty list`() {
        #expect(Self.index.closure(of: []) == ModuleIndex.Closure())
    }

    @Test func `writes lists of the chosen modules only, without their compression`() {
        let texts = Self.index.texts(for: Self.index.closure(of: ["virtio_net"]).modules)
        #expect(
            texts["modules.dep"] == """
                kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko \
                kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
                kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
                kernel/drivers/virtio/virtio_ring.ko:
                kernel/net/core/failover.ko:

                """
        )
        #expect(texts["modules.alias"] == "alias virtio:d00000001v* virtio_net\n")
        #expect(texts["modules.symbols"] == "alias symbol:vring_create virtio_ring\n")
        #expect(texts["modules.softdep"] == "")
    }

    @Test(arguments: DriverSet.allCases)
    func `asks for each module once`(set: DriverSet) {
        let wanted = set.wanted.flatMap(\.modules)
        #expect(Set(wanted).count == wanted.count)
        #expect(Set(wanted).isSuperset(of: set.loadedAtStart))
        #expect(Set(wanted).isSuperset(of: set.neededForRoot))
    }

    @Test func `a server's ramdisk drives what a virtual machine's does`() {
        let virtual = Set(DriverSet.virtio.wanted.flatMap(\.modules))
        #expect(virtual.isSubset(of: DriverSet.server.wanted.flatMap(\.modules)))
    }
}
