import Basics
import HTTP
import Logging
import Power
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

/// BMCs that check passwords, by endpoint; a call may be the controller's last.
private final class MemoryAccounts: PowerControl, CredentialControl {
    enum Way: Sendable {
        case obeys
        /// Refuses a new password by its rules.
        case refuses
        /// Says yes and keeps the old one.
        case lies
        /// Takes it, and its answer is lost.
        case losesAnswer
        /// Says yes, and takes it so many calls later.
        case delays(Int)
    }

    struct State {
        var passwords: [String: Secret] = [:]
        var way = Way.obeys
        var calls = 0
        var refusals = 0
        /// The call at which the controller is killed, before and after the BMC did its work.
        var later: (at: Int, endpoint: String, password: Secret)?
        var killedBefore: Int?
        var killedAfter: Int?
    }

    let state = Mutex(State())
    static let first = Secret("from the factory")

    func password(_ endpoint: String) -> Secret {
        state.withLock { $0.passwords[endpoint] ?? Self.first }
    }

    private func call<Result>(
        _ bmc: BMC,
        _ body: (inout State) throws -> Result
    ) throws -> Result {
        try state.withLock { state in
            state.calls += 1
            if state.calls == state.killedBefore { throw CancellationError() }
            if let later = state.later, state.calls >= later.at {
                state.passwords[later.endpoint] = later.password
                state.later = nil
            }
            guard bmc.password == state.passwords[bmc.endpoint] ?? Self.first else {
                state.refusals += 1
                throw PowerFault(.credentials, "cannot log in: wrong password")
            }
            let result = try body(&state)
            if state.calls == state.killedAfter { throw CancellationError() }
            return result
        }
    }

    func power(of bmc: BMC) async throws -> PowerState { try call(bmc) { _ in .off } }

    func setPassword(_ password: Secret, of bmc: BMC) async throws {
        try call(bmc) { state in
            switch state.way {
            case .obeys: state.passwords[bmc.endpoint] = password
            case .refuses: throw PowerFault(.refused, "cannot change the password: too weak")
            case .lies: return
            case .delays(let calls):
                state.later = (state.calls + calls, bmc.endpoint, password)
            case .losesAnswer:
                state.passwords[bmc.endpoint] = password
                state.way = .obeys
                throw PowerFault(.noAnswer, "cannot change the password: no answer")
            }
        }
    }

    func change(_ change: PowerChange, of bmc: BMC) async throws {}
    func bootDevice(of bmc: BMC) async throws -> BootChoice {
        BootChoice(device: nil, isPersistent: false)
    }
    func identity(of bmc: BMC) async throws -> String? { nil }
    func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {}
}

@Suite struct CredentialRotationTests {
    private let accounts = MemoryAccounts()
    private let bench: Bench
    private static let endpoint = "192.0.2.201:623"

    init() throws { bench = try Bench() }

    /// A controller that starts on what is stored.
    private func start(rotates: Bool = true, seed: UInt64 = 7) -> (NodesService, NodeReconciler) {
        var driver = NodeDriver(name: "ipmi", power: accounts, hasAgent: true, needsBMC: true)
        driver.credentials = accounts
        var settings = bench.service.settings
        settings.rotatesCredentials = rotates
        let service = NodesService(
            database: bench.database,
            sealer: bench.service.sealer,
            images: SimulatedImages(),
            drivers: [driver],
            queue: NodeQueue(),
            settings: settings,
            time: bench.world.time,
            random: SeededRandom(seed: seed),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let reconciler = NodeReconciler(service: service, agents: bench.world, keys: bench.world)
        return (service, reconciler)
    }

    private func register(
        _ service: NodesService,
        _ name: String = "c0",
        password: Secret = MemoryAccounts.first
    ) async throws -> NodeID {
        try await service.create(id: nil, driver: "ipmi", by: nil) { node in
            node.name = name
            node.driverInfo = DriverInfo(
                fields: ["ipmi_address": "192.0.2.201", "ipmi_username": "admin"],
                secrets: ["ipmi_password": password]
            )
        }.id
    }

    private func verify(
        _ id: NodeID,
        _ service: NodesService,
        _ reconciler: NodeReconciler
    ) async throws {
        for _ in 0..<40 {
            _ = await reconciler.reconcile(id)
            guard try await service.find(id)?.state.name == .verifying else { return }
            bench.world.time.advance(.seconds(2))
        }
    }

    private func password(_ id: NodeID) async throws -> Secret? {
        try await bench.service.find(id)?.driverInfo.secrets["ipmi_password"]
    }

    private func history(_ id: NodeID) async throws -> [String] {
        try await bench.database.read {
            try $0.history(of: id, after: nil, descending: false, limit: 300).map(\.event)
        }
    }

    @Test func `the first verification gives the BMC a password of our own, the next ones none`()
        async throws
    {
        let (service, reconciler) = start()
        let id = try await register(service)
        for _ in 0..<2 {
            _ = try await service.request(.manage, for: "c0", by: nil)
            try await verify(id, service, reconciler)
            #expect(try await service.find(id)?.state == .manageable)
            let made = accounts.password(Self.endpoint)
            #expect(made != MemoryAccounts.first)
            #expect(made.revealBytes().count == 16)
            #expect(try await password(id) == made)
            #expect(accounts.state.withLock(\.refusals) == 0, "no log-in fails on the way")
            _ = try await service.change("c0", by: nil, cause: "test") { $0.state = .enroll }
        }
        #expect(try await history(id).count { $0.contains("only this controller knows") } == 1)
        let sealed = try await bench.database.read { transaction in
            try transaction.madePassword(
                of: "4:ipmi11:192.0.2.2013:6235:admin",
                sealer: bench.service.sealer
            )
        }
        #expect(sealed?.phase == .holds)
    }

    @Test func `it is off unless the configuration says so`() async throws {
        let (service, reconciler) = start(rotates: false)
        let id = try await register(service)
        _ = try await service.request(.manage, for: "c0", by: nil)
        try await verify(id, service, reconciler)
        #expect(accounts.password(Self.endpoint) == MemoryAccounts.first)
    }

    @Test(arguments: 1...4, [true, false])
    func `a controller that is killed at any call is never locked out`(
        _ call: Int,
        _ isBefore: Bool
    ) async throws {
        let (service, reconciler) = start()
        let id = try await register(service)
        _ = try await service.request(.manage, for: "c0", by: nil)
        accounts.state.withLock { state in
            if isBefore { state.killedBefore = call } else { state.killedAfter = call }
        }
        _ = await reconciler.reconcile(id)
        // Another process, which would draw another password.
        let (again, next) = start(seed: 8)
        try await verify(id, again, next)
        #expect(try await again.find(id)?.state == .manageable)
        let made = accounts.password(Self.endpoint)
        #expect(made != MemoryAccounts.first)
        #expect(try await password(id) == made)
    }

    @Test func `a password that was changed and whose answer was lost is found`() async throws {
        accounts.state.withLock { $0.way = .losesAnswer }
        let (service, reconciler) = start()
        let id = try await register(service)
        _ = try await service.request(.manage, for: "c0", by: nil)
        try await verify(id, service, reconciler)
        #expect(try await service.find(id)?.state == .manageable)
        #expect(try await password(id) == accounts.password(Self.endpoint))
    }

    @Test(arguments: [(MemoryAccounts.Way.refuses, "too weak"), (.lies, "and did not")])
    fileprivate func `a BMC that keeps its password keeps its node, and the history says why`(
        _ way: MemoryAccounts.Way,
        _ words: String
    ) async throws {
        accounts.state.withLock { $0.way = way }
        let (service, reconciler) = start()
        let id = try await register(service)
        _ = try await service.request(.manage, for: "c0", by: nil)
        try await verify(id, service, reconciler)
        #expect(try await service.find(id)?.state == .manageable)
        #expect(try await password(id) == MemoryAccounts.first)
        let lines = try await history(id)
        #expect(lines.contains { $0.contains("stays as it is") && $0.contains(words) }, "\(lines)")
        let secret = try await bench.database.read { transaction in
            try transaction.madePassword(
                of: "4:ipmi11:192.0.2.2013:6235:admin",
                sealer: bench.service.sealer
            )
        }
        let after = try #require(secret?.after.reveal())
        #expect(!lines.contains { $0.contains(after) })
    }

    @Test func `two nodes of one BMC have one password, whoever is verified first`() async throws {
        let (service, reconciler) = start()
        let ids = [try await register(service), try await register(service, "c1")]
        for name in ["c0", "c1"] {
            _ = try await service.request(.manage, for: name, by: nil)
        }
        await withTaskGroup(of: Void.self) { group in
            for id in ids { group.addTask { _ = await reconciler.reconcile(id) } }
        }
        for id in ids {
            try await verify(id, service, reconciler)
            #expect(try await service.find(id)?.state == .manageable)
            #expect(try await password(id) == accounts.password(Self.endpoint))
        }
        #expect(accounts.password(Self.endpoint) != MemoryAccounts.first)
    }

    @Test func `who registers the machine anew gets in with the old password, a stranger does not`()
        async throws
    {
        let (service, reconciler) = start()
        let first = try await register(service)
        _ = try await service.request(.manage, for: "c0", by: nil)
        try await verify(first, service, reconciler)
        try await service.delete("c0", by: nil)
        let thief = try await register(service, "c1", password: Secret("guessed"))
        _ = try await service.request(.manage, for: "c1", by: nil)
        try await verify(thief, service, reconciler)
        #expect(try await service.find(thief)?.state == .enroll)
        #expect(try await password(thief) == Secret("guessed"))
        let owner = try await register(service, "c2")
        _ = try await service.request(.manage, for: "c2", by: nil)
        try await verify(owner, service, reconciler)
        #expect(try await service.find(owner)?.state == .manageable)
        #expect(try await password(owner) == accounts.password(Self.endpoint))
        #expect(try await password(thief) == Secret("guessed"))
    }

    @Test(arguments: [2, 6]) func `a BMC that takes it later is found out`(_ calls: Int)
        async throws
    {
        accounts.state.withLock { $0.way = .delays(calls) }
        let (service, reconciler) = start()
        let id = try await register(service)
        for _ in 0..<2 {
            _ = try await service.request(.manage, for: "c0", by: nil)
            try await verify(id, service, reconciler)
            #expect(try await service.find(id)?.state == .manageable)
            // What others ask of the BMC meanwhile.
            accounts.state.withLock { $0.calls += 8 }
            _ = try await service.change("c0", by: nil, cause: "test") { $0.state = .enroll }
        }
        #expect(accounts.password(Self.endpoint) != MemoryAccounts.first)
        #expect(try await password(id) == accounts.password(Self.endpoint))
    }

    @Test func `naming the password of before again changes nothing, another one does`()
        async throws
    {
        let (service, reconciler) = start()
        let id = try await register(service)
        _ = try await service.request(.manage, for: "c0", by: nil)
        try await verify(id, service, reconciler)
        let made = accounts.password(Self.endpoint)
        for (given, kept) in [(MemoryAccounts.first, made), (Secret("another"), Secret("another"))]
        {
            _ = try await service.update("c0", by: nil) {
                $0.driverInfo.secrets["ipmi_password"] = given
            }
            #expect(try await password(id) == kept)
        }
    }

    @Test func `who knows only the first password gets to no other owner's BMC`() async throws {
        let (service, reconciler) = start()
        let own = try await register(service)
        _ = try await service.update("c0", by: nil) { $0.owner = "a" }
        _ = try await service.request(.manage, for: "c0", by: nil)
        try await verify(own, service, reconciler)
        let thief = try await register(service, "c1")
        _ = try await service.update("c1", by: nil) { $0.owner = "b" }
        _ = try await service.request(.manage, for: "c1", by: nil)
        try await verify(thief, service, reconciler)
        #expect(try await service.find(thief)?.state == .enroll)
        #expect(try await password(thief) == MemoryAccounts.first)
        #expect(try await password(own) == accounts.password(Self.endpoint))
    }

    @Test func `no password is changed while another node of the BMC is worked on`() async throws {
        let (service, reconciler) = start()
        let busy = try await register(service)
        _ = try await service.change("c0", by: nil, cause: "test") {
            $0.state = .inspecting(job: RamdiskJob(at: self.bench.world.time.now))
        }
        let id = try await register(service, "c1")
        _ = try await service.request(.manage, for: "c1", by: nil)
        try await verify(id, service, reconciler)
        #expect(try await service.find(id)?.state == .manageable)
        #expect(accounts.password(Self.endpoint) == MemoryAccounts.first)
        #expect(try await password(busy) == MemoryAccounts.first)
        #expect(
            try await history(id).contains { $0.contains("node c0 of the same BMC is inspecting") }
        )
    }

    @Test func `passwords have 16 plain characters of each kind`() {
        var random = 0
        for seed in 0..<500 as Range<UInt64> {
            let text = CredentialRotation.makePassword(SeededRandom(seed: seed)).reveal()
            #expect(text.utf8.count == 16)
            #expect(text.first?.isLetter == true || text.first?.isNumber == true)
            #expect(text.contains(where: \.isLowercase) && text.contains(where: \.isUppercase))
            #expect(text.contains(where: \.isNumber) && text.contains { $0 == "-" || $0 == "_" })
            random += Set(text).count
        }
        #expect(random > 500 * 9)
    }
}
