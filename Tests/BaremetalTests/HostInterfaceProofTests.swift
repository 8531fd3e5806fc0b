import Basics
import HTTP
import Harness
import HostTools
import Logging
import Protocol
import Store
import Synchronization
import Testing
import Transport

@testable import AgentSystem
@testable import Agents
@testable import Baremetal
@testable import Power

/// The machine's side of a host interface, on a thread of its own because it blocks.
private actor MachineSide {
    private nonisolated let thread = OwnThread(name: "machine")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// - Returns: why it could not be left; `nil` when it stands there.
    func leave(_ tag: String, at port: UInt16, trust: TLSTrust? = nil) -> String? {
        let system = LocalSystem(
            origin: HTTPOrigin(secure: trust != nil, host: "127.0.0.1", port: port),
            trust: trust,
            account: BootstrapAccount(
                user: RedfishDouble.user,
                password: Secret(RedfishDouble.password)
            ),
            time: SystemTime()
        )
        do throws(LocalBMCFailure) {
            try system.leave(tag)
            return nil
        } catch {
            return error.reason
        }
    }
}

/// Proofs of machines that reach their BMC by Redfish, over HTTP: our agent's client on one side of the double, the
/// controller's driver on the other.
@Suite struct HostInterfaceProofTests {
    private static let system = "/redfish/v1/Systems/437XR"
    private let machine = MachineSide()
    private let right = MachineProof.tag(
        ProofDesk.data([UInt8](repeating: 3, count: 16), CurveKeyPair().publicKey)
    )

    private struct Site: Sendable {
        let service: NodesService
        let bench: Bench
        let node: NodeID
        let own: RedfishDouble
        let port: UInt16

        /// What the site calls the machine.
        func name(_ tag: JSONValue) {
            own.state.withLock { $0.documents[HostInterfaceProofTests.system]?["AssetTag"] = tag }
        }

        var tag: String? { own.document(HostInterfaceProofTests.system)["AssetTag"]?.text }

        var changes: Int { own.asked.count { $0.method == "PATCH" } }

        func kept() async throws -> KeptTag? {
            try await bench.database.read { try $0.keptTag(of: node) }
        }
    }

    private func with(
        _ recording: String = "log",
        _ body: @escaping @Sendable (Site) async throws -> Void
    ) async throws {
        let own = try RedfishDouble(recording)
        let bench = try Bench()
        try await own.serve { port in
            let (service, node, driver) = try await bench.redfishNode(
                at: port,
                pause: .milliseconds(20)
            )
            let site = Site(
                service: service,
                bench: bench,
                node: node.id,
                own: own,
                port: port
            )
            site.name("rack 7")
            try await body(site)
            await driver.shutDown()
        }
    }

    @Test func `a machine that writes into its own BMC is proven, and the site's text comes back`()
        async throws
    {
        try await with { site async throws in
            #expect(await site.service.keepTag(of: site.node))
            #expect(site.changes == 0, "nobody writes before the machine does")
            #expect(await machine.leave(right, at: site.port) == nil)
            #expect(site.tag == right)
            #expect(await site.service.check(tag: right, of: site.node) == .proven)
            #expect(await site.service.check(tag: right, of: site.node) == .proven, "until stored")
            await site.service.restoreTag(of: site.node)
            #expect(site.tag == "rack 7")
            #expect(try await site.kept() == nil)
            let changes = site.changes
            await site.service.restoreTags(all: true)
            #expect(site.changes == changes, "once")
        }
    }

    @Test func `a machine with another BMC, key or challenge is refused`() async throws {
        try await with { site async throws in
            #expect(await site.service.keepTag(of: site.node))
            let other = try RedfishDouble("plain")
            let (machine, right) = (machine, right)
            try await other.serve { port in
                other.state.withLock { $0.documents[Self.system]?["AssetTag"] = "" }
                #expect(await machine.leave(right, at: port) == nil)
                guard
                    case .refused(let reason) = await site.service.check(
                        tag: right,
                        of: site.node
                    )
                else {
                    Issue.record("it is not refused")
                    return
                }
                #expect(reason.contains("redfish_address"))
                #expect(reason.contains("the machine has another BMC"))
                #expect(site.tag == "rack 7", "what is not ours is not touched")
            }
            let challenge = [UInt8](repeating: 3, count: 16)
            for wrong in [
                ProofDesk.data(challenge, CurveKeyPair().publicKey),
                ProofDesk.data([UInt8](repeating: 9, count: 16), CurveKeyPair().publicKey),
            ] {
                #expect(await machine.leave(MachineProof.tag(wrong), at: site.port) == nil)
                guard case .refused = await site.service.check(tag: right, of: site.node) else {
                    Issue.record("it is not refused")
                    return
                }
            }
            await site.service.restoreTag(of: site.node)
            #expect(site.tag == "rack 7", "a stranger's proof does not stay either")
        }
    }

    @Test func `a controller that stopped between puts the site's text back after its start`()
        async throws
    {
        try await with { site async throws in
            #expect(await site.service.keepTag(of: site.node))
            #expect(await machine.leave(right, at: site.port) == nil)
            await site.service.restoreTags(all: false)
            #expect(site.tag == right, "its time has not come")
            // What is known is in the database only.
            await site.service.restoreTags(all: true)
            #expect(site.tag == "rack 7")
            #expect(try await site.kept() == nil)
            // Whoever says that it stands there yet is neither let in nor called a stranger.
            guard
                case .impossible(let words) = await site.service.check(
                    tag: right,
                    of: site.node
                )
            else {
                Issue.record("a proof that was taken away has a verdict")
                return
            }
            #expect(words.contains("put back"))
        }
    }

    @Test func `a machine that never comes back leaves the site's text, after ten minutes`()
        async throws
    {
        try await with { site async throws in
            #expect(await site.service.keepTag(of: site.node))
            #expect(await machine.leave(right, at: site.port) == nil)
            #expect(await site.service.keepTag(of: site.node), "a second key of the same machine")
            #expect(try await site.kept()?.earlier == "rack 7", "a proof is nobody's name")
            site.bench.world.time.advance(NodesService.tagKeptFor)
            await site.service.restoreTags(all: false)
            #expect(site.tag == "rack 7")
        }
    }

    @Test func `a text that the site changed meanwhile is left alone`() async throws {
        try await with { site async throws in
            #expect(await site.service.keepTag(of: site.node))
            site.name("rack 8")
            await site.service.restoreTag(of: site.node)
            #expect(site.tag == "rack 8")
            #expect(site.changes == 0)
            #expect(try await site.kept() == nil)
        }
    }

    @Test func `a BMC that takes nothing back is tried ten times, then people are told`()
        async throws
    {
        try await with("changes-ignored") { site async throws in
            #expect(await site.service.keepTag(of: site.node))
            site.name(.string(right))
            for _ in 1..<NodesService.tagTriesMax {
                await site.service.restoreTag(of: site.node)
                #expect(try await site.kept() != nil)
            }
            await site.service.restoreTag(of: site.node)
            #expect(try await site.kept() == nil)
            let entries = try await site.bench.database.read {
                try $0.history(of: site.node, after: nil, descending: true, limit: 1)
            }
            #expect(entries.first?.event.contains("rack 7") == true)
        }
    }

    @Test func `machines without such a text, and hostile ones, are given no leave to write`()
        async throws
    {
        try await with { site async throws in
            let long = String(repeating: "x", count: 2000)
            for tag in [.integer(7), [:], .string(long)] as [JSONValue] {
                site.name(tag)
                #expect(await !site.service.keepTag(of: site.node))
            }
            site.own.state.withLock { $0.documents[Self.system] = ["Id": "437XR"] }
            #expect(await !site.service.keepTag(of: site.node))
            #expect(try await site.kept() == nil)
            #expect(site.changes == 0)
        }
    }

    @Test(arguments: [
        ("two-systems", "systems instead of one"), ("changes-ignored", "does not show it"),
        ("web-page", "makes no sense"), ("link-elsewhere", "leads elsewhere"),
        ("redirect-elsewhere", "status 3"),
    ])
    func `a host interface that is not as it should be is left alone in time`(
        recording: String,
        words: String
    ) async throws {
        try await with(recording) { site async throws in
            let reason = await machine.leave(right, at: site.port)
            #expect(reason?.contains(words) == true, "\(reason ?? "it was taken")")
            #expect(reason?.contains(RedfishDouble.password) == false)
        }
    }

    @Test func `a host interface may have any certificate, and nothing else of the agent's may`()
        async throws
    {
        try await TestCertificate.with(name: "elsewhere") { made in
            let files = TLSFiles(certificatePath: made.path, keyPath: made.keyPath)
            let pem = try #require(readText(made.path))
            let surface = Surface(
                authenticator: nil,
                logger: Logger(label: "test"),
                time: SystemTime(),
                random: SystemRandom()
            )
            let (ports, continuation) = AsyncStream.makeStream(of: [Int].self)
            let server = HTTPServer(
                endpoints: [.address(host: "127.0.0.1", port: 0)],
                tls: files,
                router: surface.makeRouter(),
                limits: HTTPServer.Limits(),
                logger: Logger(label: "test"),
                time: SystemTime(),
                onListening: { continuation.yield($0) }
            )
            try await withThrowingTaskGroup(of: Void.self) { [machine, right] group in
                group.addTask { try await server.run() }
                var iterator = ports.makeAsyncIterator()
                let port = UInt16(try #require(await iterator.next()?.first))
                let reason = await machine.leave(right, at: port, trust: try TLSTrust.anybody())
                #expect(reason?.contains("answers with status") == true, "\(reason ?? "")")
                // The certificate is its own authority, but is for another host.
                let strict = await machine.leave(right, at: port, trust: try TLSTrust(pem: pem))
                #expect(strict?.contains("certificate refused") == true, "\(strict ?? "")")
                group.cancelAll()
            }
        }
    }
}
