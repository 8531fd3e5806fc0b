import Testing

@testable import AgentSystem

private let dependencies = """
    kernel/drivers/virtio/virtio.ko:
    kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
    kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
    kernel/drivers/char/ipmi/ipmi-si.ko:
    a line without a colon
    """

private let aliases = """
    # Aliases extracted from modules themselves.
    alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
    alias pci:v00008086d0000[12]*sv*sd*bc*sc*i* e1000
    alias acpi*:IPI0001:* ipmi_si
    alias virtio:d00000001v* virtio-net
    alias too short
    """

struct `The index of kernel modules` {
    private let index = ModuleIndex(dependencies: dependencies, aliases: aliases)

    @Test func `what a module needs is loaded first`() {
        #expect(
            index.loadOrder("virtio_pci") == [
                "kernel/drivers/virtio/virtio.ko", "kernel/drivers/virtio/virtio_ring.ko",
                "kernel/drivers/virtio/virtio_pci.ko.xz",
            ]
        )
    }

    @Test func `hyphens and underscores are the same`() {
        #expect(index.loadOrder("ipmi_si") == ["kernel/drivers/char/ipmi/ipmi-si.ko"])
        #expect(index.loadOrder("ipmi-si") == ["kernel/drivers/char/ipmi/ipmi-si.ko"])
    }

    @Test func `an unknown module needs nothing`() {
        #expect(index.loadOrder("nonesuch").isEmpty)
    }

    @Test(arguments: [
        ("pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", ["virtio_pci"]),
        ("pci:v00008086d00001ABCsv0sd0bc02sc00i00", ["e1000"]),
        ("pci:v00008086d00003ABCsv0sd0bc02sc00i00", []),
        ("acpi:IPI0001:", ["ipmi_si"]),
        ("virtio:d00000001v00001AF4", ["virtio_net"]),
        ("", []),
    ])
    func `a device finds its drivers`(alias: String, modules: [String]) {
        #expect(index.modules(for: alias) == modules)
    }

    @Test(arguments: [
        ("*", "", true), ("a*b*c", "aXbYc", true), ("a*b*c", "aXbY", false), ("a?c", "abc", true),
        ("a?c", "ac", false), ("[a-c]x", "bx", true), ("[a-c]x", "dx", false), ("[ab", "[ab", true),
        ("*aab", "aaaab", true), ("", "", true), ("", "x", false), ("[]x", "x", false),
        ("a-[-]", "a--", true),
    ])
    func `patterns match as a shell's`(pattern: String, text: String, expected: Bool) {
        #expect(ModuleIndex.matches(Array(pattern.utf8)[...], Array(text.utf8)[...]) == expected)
    }

    @Test func `a pattern full of stars ends soon`() {
        let pattern = String(repeating: "*a", count: 60) + "b"
        let text = String(repeating: "a", count: 2000)
        #expect(!ModuleIndex.matches(Array(pattern.utf8)[...], Array(text.utf8)[...]))
    }

    @Test func `a machine without modules loads none`() throws {
        let tree = try TemporaryTree()
            .file("/sys/bus/pci/devices/0000:00:01.0/modalias", "pci:v00001AF4d00001000\n")
        let modules = SystemKernelModules(tree: tree.tree)
        #expect(modules.loadDrivers().isEmpty)
        #expect(try !modules.load("virtio_pci"))
    }
}
