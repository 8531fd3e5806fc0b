import Basics
import Testing

@testable import AgentSystem

/// What the boot file says about a network that nobody lends.
@Suite struct StaticNetworkTests {
    private func read(_ text: String) throws -> StaticNetwork? {
        try StaticNetwork(bootFile: Array(text.utf8), name: "boot.json")
    }

    @Test func `an address, routes, name servers and a VLAN are taken`() throws {
        let network = try #require(
            try read(
                """
                {"token": "x", "network": {"mac": "52:54:00:C0:00:01", "vlan": 100,
                 "address": "192.0.2.77", "prefix": 23, "name_servers": ["192.0.2.53"],
                 "routes": [{"destination": "0.0.0.0", "prefix": 0, "gateway": "192.0.2.254"}]}}
                """
            )
        )
        #expect(network.mac == "52:54:00:c0:00:01")
        #expect(network.vlan == 100)
        #expect(network.address.description == "192.0.2.77")
        #expect(network.prefix == 23)
        #expect(network.routes.map(\.gateway.description) == ["192.0.2.254"])
        #expect(network.nameServers.map(\.description) == ["192.0.2.53"])
    }

    @Test func `without a network an address is asked for`() throws {
        #expect(try read(#"{"address": "192.0.2.1"}"#) == nil)
    }

    @Test(arguments: [
        "", "[]", #"{"network": {}}"#,
        #"{"network": {"mac": "x", "address": "192.0.2.7", "prefix": 24}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "address": "192.0.2.700", "prefix": 24}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "address": "192.0.2.7", "prefix": 0}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "address": "192.0.2.7", "prefix": 33}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "vlan": 0, "address": "192.0.2.7", "prefix": 9}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "vlan": 4095, "address": "192.0.2.7", "prefix": 9}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "address": "192.0.2.7", "prefix": 9, "name_servers": ["a", "b"]}}"#,
        #"{"network": {"mac": "52:54:00:c0:00:01", "address": "192.0.2.7", "prefix": 9, "routes": [{"destination": "0.0.0.0", "prefix": 99, "gateway": "192.0.2.1"}]}}"#,
    ])
    func `what is no network is refused by name`(text: String) throws {
        let fault = #expect(throws: Fault.self) { try read(text) }
        #expect(fault?.message.contains("boot.json") == true)
    }
}
