import Basics
import Testing
import Undercloud

@Suite struct UndercloudSettingsTests {
    private func settings(_ text: String) throws -> UndercloudSettings {
        try UndercloudSettings(INIFile(text, path: "undercloud.conf"), path: "undercloud.conf")
    }

    @Test func `an empty file gives the documentation network`() throws {
        let settings = try UndercloudSettings()
        #expect(settings.localIP.text == "192.0.2.1/24")
        #expect(settings.localIP.netmask.text == "255.255.255.0")
        #expect(settings.dhcpStart.text == "192.0.2.100")
        #expect(settings.publicHost == "192.0.2.1")
        #expect(settings.namespace == nil)
        #expect(!settings.trustFirstBoot)
    }

    @Test func `lines may end as on Windows`() throws {
        let settings = try settings("[DEFAULT]\r\n# comment\r\nlocal_ip = 192.0.2.9/24\r\n")
        #expect(settings.localIP.text == "192.0.2.9/24")
    }

    @Test func `keys of instack-undercloud and our own are taken`() throws {
        let settings = try settings(
            """
            # comment
            [DEFAULT]
            local_ip = 10.1.0.1/16
            network_cidr = 10.1.0.0/16
            local_interface = prov0
            dhcp_start = 10.1.1.1
            dhcp_end = 10.1.2.254
            masquerade_network = 10.1.0.0/16
            ; another comment
            public_host = 127.0.0.1
            namespace = rdo-undercloud
            trust_first_boot = true
            bmc_proof = required
            """
        )
        #expect(settings.localIP.netmask.text == "255.255.0.0")
        #expect(settings.namespace == "rdo-undercloud")
        #expect(settings.trustFirstBoot)
        #expect(settings.bmcProof == "required")
        #expect(settings.ignored == ["masquerade_network"])
    }

    @Test(arguments: [
        ("local_pi = 192.0.2.1/24", "did you mean “local_ip”?"),
        ("[auth]\nundercloud_admin_password = x", "cannot use section [auth] (undercloud.conf:2)"),
        ("local_ip = 192.0.2.1", "cannot use “192.0.2.1” for local_ip (undercloud.conf:1)"),
        ("local_ip = 198.51.100.1/24", "it is not in network_cidr"),
        ("dhcp_end = 192.0.2.50", "it is before dhcp_start"),
        ("dhcp_start = 192.0.2.1", "it is inside dhcp_start to dhcp_end"),
        ("api_port = 0", "write a number from 1 to 65535"),
        ("trust_first_boot = maybe", "write true or false"),
        ("bmc_proof = perhaps", "write one of offered, required, off"),
        ("local_interface = eth1;reboot", "a name has letters"),
        ("dhcp_start = 192.0.2.100\ndhcp_start = 192.0.2.101", "it stands there twice"),
        ("nonsense", "is neither “key = value” nor “[section]”"),
    ])
    func `a mistake is named with its place`(text: String, message: String) {
        let fault = #expect(throws: Fault.self) { try settings(text) }
        #expect(fault?.message.contains(message) == true, "\(fault?.message ?? "")")
    }
}
