import Testing

@testable import AgentSystem

struct `The list of interfaces` {
    @Test func `holds what has hardware behind it`() throws {
        let tree = try TemporaryTree()
        let place = "/sys/devices/pci0000:00/0000:00:03.0/virtio0"
        try tree.file("\(place)/vendor", "0x1af4\n").file("\(place)/device", "0x0001\n")
            .file("\(place)/net/ens3/address", "52:54:00:c0:00:01\n")
            .file("\(place)/net/ens3/carrier", "1\n").file("\(place)/net/ens3/speed", "-1\n")
        tree.link("\(place)/net/ens3/device", to: "../../../virtio0")
            .link("\(place)/driver", to: "../../../../bus/virtio/drivers/virtio_net")
            .directory("/sys/bus/virtio/drivers/virtio_net")
            .link("/sys/class/net/ens3", to: "\(place)/net/ens3")
        try tree.file("/sys/class/net/lo/address", "00:00:00:00:00:00\n")
            .file("/sys/class/net/veth0/address", "52:54:00:aa:00:01\n")
            .file("/sys/class/net/ib0/address", "80:00:02:08:fe:80:00:00\n")
            .directory("/sys/class/net/ib0/device")
        var expected = NetworkInterface(name: "ens3", mac: "52:54:00:c0:00:01")
        expected.hasCarrier = true
        expected.vendor = "0x1af4"
        expected.product = "0x0001"
        expected.pciAddress = "0000:00:03.0"
        expected.driver = "virtio_net"
        #expect(SystemNetwork(tree: tree.tree).interfaces() == [expected])
    }

    @Test func `has an address of each that leads somewhere, VLANs too`() throws {
        let tree = try TemporaryTree()
        try tree.file("/sys/class/net/lo/type", "772\n").file("/sys/class/net/ens3/type", "1\n")
            .file("/sys/class/net/ens3.100/type", "1\n")
        let found = ["lo": "127.0.0.1", "ens3.100": "198.51.100.7", "ens3": "192.0.2.7"]
        #expect(SystemNetwork.outward(found, tree.tree) == ["192.0.2.7", "198.51.100.7"])
        #expect(!SystemNetwork().addresses().contains("127.0.0.1"))
    }

    @Test(arguments: [
        "", "52:54:00:c0:00", "52:54:00:C0:00:01", "52-54-00-c0-00-01", "00:00:00:00:00:00",
        "52:54:00:c0:00:0g", "52:54:00:c0:00:01:",
    ])
    func `what is no Ethernet address is refused`(text: String) {
        #expect(!isMAC(text))
        #expect(macBytes(text) == nil)
    }

    @Test func `an Ethernet address is six bytes`() {
        #expect(macBytes("52:54:00:c0:00:01") == [0x52, 0x54, 0, 0xc0, 0, 1])
    }
}
