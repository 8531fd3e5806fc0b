import CLinux
import Glibc

/// Speaks to systemd on an installed node.
package enum Systemd {
    /// Runs `systemctl` with an argument vector and waits for it; seconds at most, as systemd only
    /// queues the job.
    /// - Throws: `SystemFailure` when it cannot be started or refuses.
    package static func control(_ words: [String]) throws {
        let program = "/usr/bin/systemctl"
        let arguments = ([program, "--no-block"] + words).map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        let environment: [UnsafeMutablePointer<CChar>?] = [nil]
        let pid = try SystemFailure.check(
            rdo_spawn(program, arguments, environment, "/", 0, 1, 2),
            "start \(program)"
        )
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else {
            throw SystemFailure("run systemctl \(words.joined(separator: " "))", code: EIO)
        }
    }

    /// Tells systemd's time service which servers to ask; keeps what is set up when there are none.
    /// - Throws: `SystemFailure`.
    package static func setTimeServers(_ servers: [String], root: String = "") throws {
        let text = timeConfiguration(servers)
        guard !text.isEmpty else { return }
        let directory = "\(root)/etc/systemd/timesyncd.conf.d"
        makeDirectories(directory, mode: 0o755)
        let path = "\(directory)/rdo.conf"
        guard FileTree().bytes(path) != Array(text.utf8) else { return }
        try replaceFile(path, with: Array(text.utf8), mode: 0o644)
        // Where another time service runs, this does nothing.
        if root.isEmpty { try control(["try-restart", "systemd-timesyncd.service"]) }
    }

    /// The time service's file; empty without a usable server.
    ///
    /// Only names and addresses get in.
    static func timeConfiguration(_ servers: [String]) -> String {
        let usable = servers.prefix(8).filter { server in
            (1...253).contains(server.utf8.count)
                && server.utf8.allSatisfy { byte in
                    (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
                        || [0x2d, 0x2e, 0x3a].contains(byte)
                }
        }
        return usable.isEmpty ? "" : "[Time]\nNTP=\(usable.joined(separator: " "))\n"
    }
}
