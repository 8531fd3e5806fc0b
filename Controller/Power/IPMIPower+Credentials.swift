package import Basics

extension IPMIPower: CredentialControl {
    /// The password goes to `ipmitool exec` by its standard input: `user set password` would show it among the
    /// arguments, to every user of this host.
    package func setPassword(_ password: Secret, of bmc: BMC) async throws {
        let text = password.reveal()
        guard (1...16).contains(text.utf8.count), text.utf8.allSatisfy(Self.isPlain) else {
            throw PowerFault(
                .settings,
                "cannot change the password of BMC \(bmc.endpoint): IPMI takes 1 to 16 letters, digits, “-”, “_” and “.”"
            )
        }
        let list = try await call(["-c", "user", "list"], bmc, to: "list the users")
        guard let number = IPMIAnswer.userNumber(bmc.user, in: list) else {
            throw PowerFault(
                .unsupported,
                "cannot change the password of BMC \(bmc.endpoint): it does not list the user “\(bmc.user)”, or lists it twice"
            )
        }
        _ = try await call(
            ["exec", "/dev/stdin"],
            bmc,
            to: "change the password",
            input: Array("user set password \(number) \(text) 16\n".utf8)
        )
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
            UInt8(ascii: "."):
            true
        default: false
        }
    }
}

extension IPMIAnswer {
    /// The number of a user in what `-c user list` prints: number, name and rights, parted by commas.
    /// - Returns: `nil` when there is none, or more than one.
    static func userNumber(_ name: String, in output: String) -> Int? {
        let numbers = lines(output).compactMap { line -> Int? in
            let parts = line.split(separator: ",", omittingEmptySubsequences: false).map(trimmed)
            guard parts.count >= 3, let number = Int(parts[0]), (1...63).contains(number) else {
                return nil
            }
            return parts[1] == name ? number : nil
        }
        return numbers.count == 1 ? numbers[0] : nil
    }
}
