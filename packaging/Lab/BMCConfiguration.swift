package import Basics

/// The files that tell `ipmi_sim` (OpenIPMI) what BMC it is.
package struct BMCConfiguration: Sendable {
    package static let program = "ipmi_sim"
    package static let user = "admin"
    package static let port = 623

    private let machine: LabMachine
    private let password: Secret
    private let hook: [String]

    /// Checks what goes into the files.
    ///
    /// The password is letters and digits, at most 16: IPMI's limit. The hook is the command that `ipmi_sim`
    /// runs to ask for and change power and boot device. It runs it with a shell of its own, so only
    /// `[A-Za-z0-9/._+-]` is allowed in it.
    /// - Throws: `Fault` (`invalid`) when the hook or the password holds other characters.
    package init(machine: LabMachine, password: Secret, hook: [String]) throws {
        let plain = { (text: String) in
            !text.isEmpty
                && text.utf8.allSatisfy { isAlphanumeric($0) || "/._+-".utf8.contains($0) }
        }
        guard let bad = hook.first(where: { !plain($0) }) else {
            let bytes = password.revealBytes()
            guard (1...16).contains(bytes.count), bytes.allSatisfy(isAlphanumeric) else {
                throw Fault(
                    .invalid,
                    "cannot configure the BMC of \(machine.name): its password is not plain"
                )
            }
            self.machine = machine
            self.password = password
            self.hook = hook
            return
        }
        throw Fault(
            .invalid,
            "cannot configure the BMC of \(machine.name): the path “\(bad)” has characters other than letters, digits and /._+-; install rdo elsewhere"
        )
    }

    /// `lan.conf`; holds the password.
    package var lan: String {
        """
        name "\(machine.name)"
        set_working_mc 0x20
          startlan 1
            addr \(machine.bmcAddress) \(Self.port)
            priv_limit admin
            allowed_auths_callback md5
            allowed_auths_user md5
            allowed_auths_operator md5
            allowed_auths_admin md5
            guid \(guid)
          endlan
          serial 15 127.0.0.1 \(machine.bmcMachinePort) codec VM
          chassis_control "\(hook.joined(separator: " "))"
          user 2 true "\(Self.user)" "\(password.reveal())" admin 10 md5

        """
    }

    /// The commands that make the management controller: one with a chassis, sensors (`LabSensor`) and an event log.
    package var commands: String {
        """
        mc_setbmc 0x20
        mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
        mc_set_guid 0x20 \(guid)
        sel_enable 0x20 1000 0x0a
        \(LabSensor.all.map(\.commands).joined())mc_enable 0x20

        """
    }

    /// The machine's UUID in SMBIOS's byte order (the first three fields little-endian), as most vendors
    /// send it although IPMI wants another; ipmitool recognises it.
    var guid: String {
        let fields = machine.uuid.split(separator: "-").map(Array.init)
        func swapped(_ field: [Character]) -> String {
            stride(from: field.count - 2, through: 0, by: -2)
                .map { String(field[$0...($0 + 1)]) }.joined()
        }
        return fields.prefix(3).map(swapped).joined()
            + fields.dropFirst(3).map { String($0) }.joined()
    }

    /// A new password: 16 letters and digits, 95 bits.
    package static func makePassword(_ random: any RandomSource) -> Secret {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
        return Secret(
            bytes: (0..<16).map { _ in letters[Int(random.number(below: UInt64(letters.count)))] }
        )
    }
}

private func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
}
