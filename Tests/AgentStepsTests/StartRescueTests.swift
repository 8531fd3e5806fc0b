import AgentSystem
import Basics
import Foundation
import Glibc
import Protocol
import Synchronization
import Testing

@testable import AgentSteps

private let hash =
    "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"

private struct Cable: Network {
    func interfaces() -> [NetworkInterface] {
        var interface = NetworkInterface(name: "eth0", mac: "52:54:00:00:00:01")
        interface.ipv4 = "192.0.2.7"
        return [NetworkInterface(name: "eth1", mac: "52:54:00:00:00:02"), interface]
    }

    /// The second one is a VLAN's, which has no hardware of its own.
    func addresses() -> [String] { ["192.0.2.7", "198.51.100.7"] }

    func bringUp(_ name: String) throws {}
    func configure(_ name: String, lease: DHCPLease) throws -> [SystemFailure] { [] }
    func openDHCP(_ name: String) throws -> any FrameChannel {
        throw SystemFailure("open \(name)", code: ENXIO)
    }
    func openLLDP(_ name: String) throws -> any FrameChannel {
        throw SystemFailure("open \(name)", code: ENXIO)
    }
}

/// Runs the real dropbearkey, and remembers what the server is started with.
private final class KeyMaker: ProcessRunner {
    private let scratch: Scratch
    private let servers = Mutex(0)

    /// How often the server was started.
    var started: Int { servers.withLock { $0 } }

    init(_ scratch: Scratch) { self.scratch = scratch }

    func locate(_ program: String) -> String? { SystemProcesses().locate(program) }

    func run(_ request: ProcessRequest) async throws -> ProcessResult {
        guard request.program == "dropbear" else { return try await SystemProcesses().run(request) }
        servers.withLock { $0 += 1 }
        _ = try scratch.file("run/dropbear.pid", "\(getpid())\n")
        return ProcessResult(ending: .exited(0))
    }
}

struct `A rescue` {
    private func command(_ user: String = "rescue", _ hash: String = hash) -> WireCommand {
        var command = WireCommand()
        command.id = "c"
        command.startRescue.user = user
        command.startRescue.passwordHash = hash
        return command
    }

    @Test func `lets one account in, with the password's hash, and starts one server`() async throws
    {
        let scratch = try Scratch()
        let maker = KeyMaker(scratch)
        let step = StartRescue(
            shell: DropbearShell(processes: maker, time: SystemTime(), root: scratch.path),
            network: Cable()
        )
        var fingerprints: Set<String> = []
        for _ in 0..<2 {
            let outcome = try await step.run(command(), in: noContext, report: Ear())
            guard case .rescueStarted(let started) = outcome else {
                Issue.record("another outcome")
                return
            }
            #expect(started.addresses == ["192.0.2.7", "198.51.100.7"])
            fingerprints.insert(started.hostKeyFingerprint)
        }
        #expect(fingerprints.count == 1)
        #expect(fingerprints.first?.hasPrefix("SHA256:") == true)
        #expect(maker.started == 1, "the second command finds it running")
        #expect(scratch.text("etc/passwd").contains("rescue:x:0:0:"))
        let shadow = scratch.text("etc/shadow").split(separator: "\n").map(String.init)
        #expect(shadow.first?.hasPrefix("root:*:") == true)
        #expect(shadow.last?.hasPrefix("rescue:\(hash):") == true)
        #expect(scratch.mode(of: "etc/shadow") == 0o600)
    }

    @Test(arguments: [
        ("root", hash), ("", hash), ("a:b", hash), ("Rescue", hash), ("rescue", "secret"),
        ("rescue", "$1$salt$aaaaaaaaaaaaaaaaaaaa"), ("rescue", hash + ":0\nroot::"),
        ("rescue", "$6$" + String(repeating: "a", count: 300)),
    ])
    func `refuses what would be another line of the password file`(
        user: String,
        hash: String
    ) async throws {
        let scratch = try Scratch()
        let maker = KeyMaker(scratch)
        let step = StartRescue(
            shell: DropbearShell(processes: maker, time: SystemTime(), root: scratch.path),
            network: Cable()
        )
        let refusal = await #expect(throws: StepFailure.self) {
            try await step.run(command(user, hash), in: noContext, report: Ear())
        }
        #expect(refusal?.retryable == false)
        #expect(maker.started == 0)
        #expect(scratch.text("etc/shadow").isEmpty)
    }
}
