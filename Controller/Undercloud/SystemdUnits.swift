/// The two units, as `packaging/units` holds them and install writes them.
package enum SystemdUnits {
    /// Unit names with their texts, in the order of starting.
    package static let all: [(name: String, text: String)] = [
        ("rdo-controller.service", controller), ("rdo-dnsmasq.service", dnsmasq),
    ]

    private static let hardening = """
        NoNewPrivileges=yes
        ProtectSystem=strict
        ProtectHome=yes
        PrivateTmp=yes
        PrivateDevices=yes
        ProtectClock=yes
        ProtectHostname=yes
        ProtectKernelTunables=yes
        ProtectKernelModules=yes
        ProtectKernelLogs=yes
        ProtectControlGroups=yes
        ProtectProc=invisible
        RestrictNamespaces=yes
        RestrictRealtime=yes
        RestrictSUIDSGID=yes
        LockPersonality=yes
        MemoryDenyWriteExecute=yes
        SystemCallArchitectures=native
        SystemCallFilter=@system-service
        """

    private static let controller = """
        [Unit]
        Description=RDO-Manager controller
        Documentation=file:/usr/share/doc/rdo-manager/README.md
        Wants=network-online.target
        After=network-online.target

        [Service]
        Type=exec
        User=rdo
        Group=rdo
        ExecStart=/usr/lib/rdo/bin/rdo-controller --config /etc/rdo/controller.yaml
        Restart=on-failure
        RestartSec=2
        TimeoutStopSec=30
        UMask=0027
        LimitNOFILE=65536
        RuntimeDirectory=rdo
        RuntimeDirectoryPreserve=yes
        ReadWritePaths=/var/lib/rdo
        StandardOutput=append:/var/log/rdo/controller.log
        StandardError=inherit
        CapabilityBoundingSet=
        RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
        \(hardening)

        [Install]
        WantedBy=multi-user.target

        """

    private static let dnsmasq = """
        [Unit]
        Description=DHCP and TFTP of the RDO-Manager provisioning network
        Documentation=man:dnsmasq(8)
        Wants=network-online.target
        After=network-online.target

        [Service]
        Type=exec
        ExecStart=/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/var/lib/rdo/dhcp/dnsmasq.conf
        ExecReload=/bin/kill -HUP $MAINPID
        Restart=on-failure
        RestartSec=2
        RuntimeDirectory=rdo
        RuntimeDirectoryPreserve=yes
        ReadWritePaths=/var/lib/rdo/dhcp
        StandardOutput=append:/var/log/rdo/dnsmasq.log
        StandardError=inherit
        CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN
        RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_PACKET
        \(hardening)

        [Install]
        WantedBy=multi-user.target

        """
}
