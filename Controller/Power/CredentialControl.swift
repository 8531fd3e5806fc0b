package import Basics

/// Changes the password of a BMC's user.
package protocol CredentialControl: Sendable {
    /// Gives the user as which `bmc` is spoken to another password; returns once the BMC took it.
    ///
    /// Bounded in time. Whether it holds shows the next call with it; a call that fails may have changed it all the
    /// same.
    /// - Throws: `PowerFault`, with the reason `unsupported` where the BMC does not let its users be changed.
    func setPassword(_ password: Secret, of bmc: BMC) async throws
}

extension BMC {
    /// The same with another password.
    package func with(password: Secret) -> BMC {
        BMC(
            host: host,
            port: port,
            user: user,
            password: password,
            cipherSuite: cipherSuite,
            redfish: redfish
        )
    }
}
