package import Basics
import Glibc
import Protocol

/// Lets a person log in to this machine over SSH.
package protocol SecureShell: Sendable {
    /// Makes `user` the one account with a password, and with all rights.
    ///
    /// `passwordHash`: as `crypt(5)` writes it.
    /// - Throws: `SystemFailure`.
    func setAccount(_ user: String, passwordHash: String) throws

    /// Starts the server unless it runs.
    /// - Returns: the fingerprint of its key, as `ssh` shows it; empty when the tool does not tell it.
    /// - Throws: `SystemFailure` or `Fault`.
    func start() async throws -> String
}

/// dropbear in the ramdisk, whose files are in memory and gone with the machine.
package struct DropbearShell: SecureShell {
    private static let budget: Duration = .seconds(60)
    /// Its process in the background may take this long to write its number.
    private static let startsWithin: Duration = .seconds(10)

    private let processes: any ProcessRunner
    private let time: any TimeSource
    private let root: String

    /// `root` is put before every path; it is empty on a machine.
    package init(processes: any ProcessRunner, time: any TimeSource, root: String = "") {
        self.processes = processes
        self.time = time
        self.root = root
    }

    package func setAccount(_ user: String, passwordHash: String) throws {
        // The numbers are those of root; what an operator repairs needs them.
        let accounts = "root:x:0:0:root:/root:/bin/sh\n\(user):x:0:0:\(user):/root:/bin/sh\n"
        let secrets = "root:*:20000:0:99999:7:::\n\(user):\(passwordHash):20000:0:99999:7:::\n"
        makeDirectories("\(root)/etc", mode: 0o755)
        try replaceFile("\(root)/etc/passwd", with: Array(accounts.utf8), mode: 0o644)
        try replaceFile("\(root)/etc/shadow", with: Array(secrets.utf8), mode: 0o600)
    }

    package func start() async throws -> String {
        let key = "\(root)/etc/dropbear/dropbear_ed25519_host_key"
        makeDirectories("\(root)/etc/dropbear", mode: 0o700)
        makeDirectories("\(root)/run", mode: 0o755)
        let isNew = access(key, F_OK) != 0
        let made = try await run(
            "dropbearkey",
            isNew ? ["-t", "ed25519", "-f", key] : ["-y", "-f", key]
        )
        let fingerprint = Self.fingerprint(made.outputText)
        guard !isRunning else { return fingerprint }
        // No forwarding: the account is for this machine only. Without -F it puts itself into the background.
        _ = try await run(
            "dropbear",
            ["-r", key, "-P", pidFile, "-p", "22", "-j", "-k", "-T", "5"],
            keepsChildren: true
        )
        let deadline = time.elapsed + Self.startsWithin
        while !isRunning {
            guard time.elapsed < deadline else {
                throw SystemFailure("run dropbear: it ended at once", code: ESRCH)
            }
            try await time.sleep(for: .milliseconds(20))
        }
        return fingerprint
    }

    private var pidFile: String { "\(root)/run/dropbear.pid" }

    private var isRunning: Bool {
        guard let text = FileTree().text(pidFile), let pid = pid_t(text), pid > 1 else {
            return false
        }
        return kill(pid, 0) == 0
    }

    private func run(
        _ program: String,
        _ arguments: [String],
        keepsChildren: Bool = false
    ) async throws -> ProcessResult {
        let result = try await processes.run(
            ProcessRequest(
                program,
                arguments,
                budget: Self.budget,
                keepsChildren: keepsChildren
            )
        )
        guard result.succeeded else {
            throw SystemFailure("run \(program): \(result.errorText.suffix(200))", code: EIO)
        }
        return result
    }

    /// The line `Fingerprint: SHA256:…`.
    static func fingerprint(_ output: String) -> String {
        for line in output.split(separator: "\n") {
            let words = line.split(separator: " ")
            if let word = words.first(where: { $0.hasPrefix("SHA256:") }) { return String(word) }
        }
        return ""
    }
}
