/// The controller's configuration as install writes it: only what differs from the defaults.
package enum ControllerFile {
    /// The text of `/etc/rdo/controller.yaml`.
    package static func text(_ settings: UndercloudSettings, _ layout: UndercloudLayout) -> String {
        """
        # Made by “rdo undercloud install” from undercloud.conf; the next install writes it anew.
        # All keys: rdo-controller --print-sample-configuration
        state_directory: \(layout.state)
        run_directory: \(layout.run)
        log:
          level: \(settings.debug ? "debug" : "info")
        api:
          address: \(settings.apiListen ?? "0.0.0.0")
          port: \(settings.apiPort)
          public_url: https://\(settings.publicHost):\(settings.apiPort)
          certificate: \(layout.certificate)
          key: \(layout.certificateKey)
          authority: \(layout.authority)
        boot:
          address: \(settings.localIP.address.text)
          discovery: \(settings.discovery)
        dhcp:
          interface: \(settings.localInterface)
          netmask: \(settings.localIP.netmask.text)
          start: \(settings.dhcpStart.text)
          end: \(settings.dhcpEnd.text)
        agents:
          curve_key: \(layout.etc)/curve.key
          trust_first_boot: \(settings.trustFirstBoot)
          bmc_proof: \(settings.bmcProof)
        identity:
          sealing_key: \(layout.etc)/sealing.key
          token_key: \(layout.etc)/token.key
          admin_hash: \(layout.adminHash)

        """
    }
}
