/// The configuration of dnsmasq for the provisioning network: DHCP and TFTP, no DNS.
package struct DNSMasqConfiguration: Sendable, Equatable {
    /// The network interface that faces the machines; nothing else is served.
    package var interface: String
    package var address: IPv4Address
    package var netmask: IPv4Address
    package var rangeStart: IPv4Address
    package var rangeEnd: IPv4Address
    package var leaseSeconds: Int = 3600
    /// Port of the boot files.
    package var httpPort: UInt16
    /// Holds `undionly.kpxe` and `snponly.efi`.
    package var tftpDirectory: String
    /// Holds `hosts.d`, `options.d` and the leases.
    package var stateDirectory: String
    package var pidFile: String
    package var user: String

    package init(
        interface: String,
        address: IPv4Address,
        netmask: IPv4Address,
        rangeStart: IPv4Address,
        rangeEnd: IPv4Address,
        httpPort: UInt16 = 8088,
        tftpDirectory: String = "/var/lib/rdo/tftp",
        stateDirectory: String = "/var/lib/rdo/dhcp",
        pidFile: String = "/run/rdo/dnsmasq.pid",
        user: String = "rdo"
    ) {
        self.interface = interface
        self.address = address
        self.netmask = netmask
        self.rangeStart = rangeStart
        self.rangeEnd = rangeEnd
        self.httpPort = httpPort
        self.tftpDirectory = tftpDirectory
        self.stateDirectory = stateDirectory
        self.pidFile = pidFile
        self.user = user
    }

    /// Where the leases stand.
    package var leaseFile: String { stateDirectory + "/leases" }

    /// The file's text.
    ///
    /// Firmware gets iPXE by TFTP; iPXE (user class) gets the script's address; a UEFI machine that
    /// announces `HTTPClient` would need signed files and gets nothing.
    package var text: String {
        let script = "http://\(address.text):\(httpPort)/boot.ipxe"
        return """
            # Made by rdo undercloud install; changes are overwritten.
            port=0
            interface=\(interface)
            except-interface=lo
            bind-interfaces
            no-resolv
            no-hosts
            no-ping
            user=\(user)
            pid-file=\(pidFile)
            log-dhcp
            log-facility=-

            dhcp-authoritative
            dhcp-range=\(rangeStart.text),\(rangeEnd.text),\(netmask.text),\(leaseSeconds)s
            dhcp-leasefile=\(leaseFile)
            dhcp-lease-max=\(LeaseTable.leasesMax)
            dhcp-hostsdir=\(stateDirectory)/hosts.d
            dhcp-optsdir=\(stateDirectory)/options.d
            dhcp-option=option:router,\(address.text)

            enable-tftp
            tftp-root=\(tftpDirectory)
            tftp-no-fail

            dhcp-userclass=set:ipxe,iPXE
            dhcp-match=set:bios,option:client-arch,0
            dhcp-match=set:efi,option:client-arch,7
            dhcp-match=set:efi,option:client-arch,9
            dhcp-boot=tag:ipxe,\(script)
            dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe
            dhcp-boot=tag:!ipxe,tag:efi,snponly.efi

            """
    }
}
