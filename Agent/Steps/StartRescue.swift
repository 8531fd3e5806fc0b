package import AgentSystem
package import Protocol

/// Lets a person log in to the ramdisk, to repair what is on the disks.
///
/// The disks are left alone; the password is known by its hash only.
package struct StartRescue: StepRunner {
    private let shell: any SecureShell
    private let network: any Network

    package init(shell: any SecureShell, network: any Network) {
        self.shell = shell
        self.network = network
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let order = command.startRescue
        guard Self.isUser(order.user), Self.isHash(order.passwordHash) else {
            throw StepFailure(
                "cannot start the rescue system: the account or the hash of its password makes no sense; report it, the controller made them",
                retryable: false
            )
        }
        report.progress(StepProgress(phase: "rescue"))
        var started = WireRescueStarted()
        do {
            try shell.setAccount(order.user, passwordHash: order.passwordHash)
            started.hostKeyFingerprint = try await shell.start()
        } catch let error as CancellationError {
            throw error
        } catch {
            throw StepFailure(
                "cannot start the rescue system: \(error); build the ramdisk with dropbear",
                retryable: true
            )
        }
        started.addresses = network.addresses()
        report.log(["user \(order.user) may log in over SSH"])
        return .rescueStarted(started)
    }

    /// Letters, digits and `_`, `-`, as `useradd` takes them; never `root`, which stays locked.
    static func isUser(_ name: String) -> Bool {
        guard (1...32).contains(name.utf8.count), name != "root", let first = name.utf8.first,
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= first
        else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }

    /// A SHA-256 or SHA-512 hash of `crypt(5)`: nothing that could end a field or a line.
    static func isHash(_ text: String) -> Bool {
        guard (20...256).contains(text.utf8.count),
            text.hasPrefix("$5$") || text.hasPrefix("$6$")
        else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "/"),
                UInt8(ascii: "$"), UInt8(ascii: "="):
                true
            default: false
            }
        }
    }
}
