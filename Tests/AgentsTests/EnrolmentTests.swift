import Basics
import Protocol
import SwiftProtobuf
import Store
import Testing
import Transport

@testable import Agents

struct EnrolmentTests {
    @Test func `a boot's token admits the first key that presents it`() async throws {
        let world = try AgentsWorld()
        let keys = CurveKeyPair()
        let token = try await world.token()
        let reply = await world.enrol(keys, token: token)
        #expect(reply.admitted.node == nodeA.text)
        #expect(reply.admitted.version == 1)
        #expect(reply.admitted.certificateAuthority == "PEM")
        #expect(reply.admitted.timeServers == ["192.0.2.1"])
        #expect(reply.admitted.controllerTimeNanoseconds == world.time.now.nanoseconds)
        let bound = try await world.registry.boundKey(of: nodeA, role: .ramdisk)
        #expect(bound?.key == keys.publicKey)
        #expect(bound?.attempt == Attempt(1))
        #expect(
            world.registry.isAdmitted(
                keys.publicKey,
                as: AgentIdentity(node: nodeA, role: .ramdisk)
            )
        )
        #expect(try await world.changes("agent").map(\.after) == ["bound"])
    }

    /// What a ramdisk was told about its address replaces the lease; there is none for its MAC.
    @Test(arguments: [
        (AgentPlacement.at("198.51.100.9"), true), (.at("198.51.100.8"), false),
        (.anywhere, true), (nil, false),
    ])
    func `a ramdisk from virtual media speaks from the address that it was told to take`(
        placement: AgentPlacement?,
        isAdmitted: Bool
    ) async throws {
        let world = try AgentsWorld()
        let token = try await world.token(mac: nil)
        let reply = await world.enrol(
            CurveKeyPair(),
            token: token,
            mac: "52:54:00:00:00:77",
            from: "198.51.100.9",
            placed: placement
        )
        #expect((reply.admitted.node == nodeA.text) == isAdmitted)
        #expect((reply.refused.code == .address) == !isAdmitted)
    }

    @Test func `the same key may ask again, also after the token's time`() async throws {
        let world = try AgentsWorld()
        let keys = CurveKeyPair()
        let token = try await world.token()
        _ = await world.enrol(keys, token: token)
        world.time.advance(by: .seconds(601))
        #expect(await world.enrol(keys, token: token).admitted.node == nodeA.text)
        #expect(try await world.changes("agent").count == 1)
    }

    @Test func `another key is refused, raises one event and does not stop the first`() async throws
    {
        let world = try AgentsWorld()
        let (first, second) = (CurveKeyPair(), CurveKeyPair())
        let token = try await world.token()
        _ = await world.enrol(first, token: token)
        #expect(try await world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
        for _ in 0..<3 {
            #expect(await world.enrol(second, token: token).refused.code == .token)
        }
        #expect(try await world.changes("security").map(\.after) == ["contested"])
        #expect(try await !world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
        #expect(await world.enrol(first, token: token).admitted.node == nodeA.text)
        try await world.registry.accept(fingerprint: first.publicKey.fingerprint)
        #expect(try await world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
    }

    @Test func `two keys that present a token at the same moment are a contest too`() async throws {
        let world = try AgentsWorld()
        let token = try await world.token()
        let request = world.request(token: token)
        let now = world.time.now
        // Both have looked and found the token free; one of them binds first.
        for (keys, isFirst) in [(CurveKeyPair(), true), (CurveKeyPair(), false)] {
            let key = AgentKey(
                key: keys.publicKey,
                node: nodeA,
                role: .ramdisk,
                attempt: Attempt(1),
                state: .bound,
                contested: false,
                address: address,
                mac: mac,
                since: now
            )
            let verdict = try await world.registry.bind(
                key,
                digest: AgentToken.digest(of: token)
            ) { token, known in
                EnrolmentRules.judge(
                    request,
                    from: keys.publicKey,
                    token: token,
                    known: known,
                    trust: true,
                    at: now
                )
            }
            if isFirst {
                #expect(verdict == .bind(nodeA, .bound))
            } else {
                #expect(
                    verdict == .refuse(.token, "the token belongs to another key", contested: true)
                )
            }
        }
        #expect(try await world.changes("security").map(\.after) == ["contested"])
        #expect(try await !world.registry.mayReceiveSecrets(nodeA, role: .ramdisk))
    }

    @Test func `an unknown, expired or misused token is refused`() async throws {
        let world = try AgentsWorld()
        let keys = CurveKeyPair()
        let unknown = [UInt8](repeating: 0, count: 32)
        #expect(await world.enrol(keys, token: unknown).refused.code == .token)
        let short = try await world.token(validFor: .seconds(5))
        world.time.advance(by: .seconds(5))
        #expect(await world.enrol(keys, token: short).refused.code == .token)
        let token = try await world.token()
        #expect(await world.enrol(keys, token: token, role: .overcloud).refused.code == .token)
        #expect(
            await world.enrol(keys, token: token, mac: "52:54:00:00:00:01").refused.code == .token
        )
        #expect(try await world.registry.agentKeys().isEmpty)
    }

    @Test(
        arguments: [
            (192, WireRefused.Code.address), (100, WireRefused.Code.unspecified),
        ])
    func `a machine speaks from the address that its boot interface was given`(
        last: Int,
        code: WireRefused.Code
    ) async throws {
        let world = try AgentsWorld()
        let token = try await world.token()
        let reply = await world.enrol(CurveKeyPair(), token: token, from: "192.0.2.\(last)")
        #expect(reply.refused.code == code)
        #expect(reply.admitted.node.isEmpty == (code == .address))
    }

    @Test(
        arguments: [
            { $0.token.removeLast() }, { $0.role = .unspecified }, { $0.bootMac = "52-54" },
            { $0.bootMac = "52:54:00:C0:00:00" },
            { $0.exchange.append(contentsOf: [UInt8](repeating: 0, count: 64)) },
            { $0.macs = [String](repeating: "", count: 65) },
        ] as [@Sendable (inout WireEnrolRequest) -> Void]
    )
    func `a malformed request is refused as such`(
        change: @Sendable (inout WireEnrolRequest) -> Void
    ) async throws {
        let world = try AgentsWorld()
        let token = try await world.token()
        let reply = await world.enrol(CurveKeyPair(), token: token, change: change)
        #expect(reply.refused.code == .malformed)
    }

    @Test func `an agent without a common version is told the versions`() async throws {
        let world = try AgentsWorld()
        let token = try await world.token()
        let reply = await world.enrol(CurveKeyPair(), token: token) {
            $0.versionMin = 7
            $0.versionMax = 9
        }
        #expect(reply.refused.code == .version)
        #expect(reply.refused.reason.contains("1"))
    }

    @Test func `the key of a later boot replaces the key before`() async throws {
        let world = try AgentsWorld()
        let (old, new) = (CurveKeyPair(), CurveKeyPair())
        _ = await world.enrol(old, token: try await world.token())
        _ = await world.enrol(new, token: try await world.token(attempt: 2))
        #expect(try await world.registry.agentKeys().map(\.key) == [new.publicKey])
        let identity = AgentIdentity(node: nodeA, role: .ramdisk)
        #expect(!world.registry.isAdmitted(old.publicKey, as: identity))
        #expect(world.registry.isAdmitted(new.publicKey, as: identity))
    }

    @Test func `ramdisk and overcloud of a node have keys of their own`() async throws {
        let world = try AgentsWorld(trust: false)
        let (ramdisk, overcloud) = (CurveKeyPair(), CurveKeyPair())
        _ = await world.enrol(ramdisk, token: try await world.token())
        let token = try await world.token(mac: nil, role: .overcloud)
        let reply = await world.enrol(
            overcloud,
            token: token,
            role: .overcloud,
            mac: "",
            from: "198.51.100.7"
        )
        #expect(reply.admitted.node == nodeA.text)
        #expect(try await world.registry.agentKeys().count == 2)
    }

    @Test func `where first boots are not trusted an operator accepts the fingerprint`()
        async throws
    {
        let world = try AgentsWorld(trust: false)
        let keys = CurveKeyPair()
        let token = try await world.token()
        let waiting = await world.enrol(keys, token: token)
        #expect(waiting.refused.code == .fingerprint)
        #expect(waiting.refused.retrySeconds == 10)
        #expect(waiting.refused.reason.contains(keys.publicKey.fingerprint))
        let identity = AgentIdentity(node: nodeA, role: .ramdisk)
        #expect(!world.registry.isAdmitted(keys.publicKey, as: identity))
        #expect(try await world.registry.agentKeys().map(\.state) == [.waiting])
        await #expect(throws: Fault.self) {
            try await world.registry.accept(fingerprint: "0000")
        }
        try await world.registry.accept(fingerprint: keys.publicKey.fingerprint)
        #expect(await world.enrol(keys, token: token).admitted.node == nodeA.text)
        #expect(world.registry.isAdmitted(keys.publicKey, as: identity))
    }

    @Test func `a waiting key does not stop a bound one`() async throws {
        let world = try AgentsWorld(trust: false)
        let (bound, waiting) = (CurveKeyPair(), CurveKeyPair())
        _ = await world.enrol(bound, token: try await world.token())
        try await world.registry.accept(fingerprint: bound.publicKey.fingerprint)
        _ = await world.enrol(waiting, token: try await world.token(attempt: 2))
        #expect(
            try await world.registry.boundKey(of: nodeA, role: .ramdisk)?.key == bound.publicKey
        )
    }

    @Test func `a machine that nobody registered becomes a node through a discovery token`()
        async throws
    {
        let world = try AgentsWorld()
        let keys = CurveKeyPair()
        let token = try await world.token(for: nil)
        #expect(await world.enrol(keys, token: token).admitted.node == nodeC.text)
        #expect(await world.enrol(keys, token: token).admitted.node == nodeC.text)
        let closed = try await world.token(for: nil, mac: "52:54:00:00:00:ff")
        let reply = await world.enrol(CurveKeyPair(), token: closed, mac: "52:54:00:00:00:ff")
        #expect(reply.refused.code == .busy)
    }

    @Test func `revoking takes keys and tokens away`() async throws {
        let world = try AgentsWorld()
        let keys = CurveKeyPair()
        let used = try await world.token()
        let fresh = try await world.token()
        _ = await world.enrol(keys, token: used)
        try await world.registry.revokeKeys(of: nodeA, role: nil)
        #expect(try await world.registry.agentKeys().isEmpty)
        #expect(await world.enrol(keys, token: used).refused.code == .token)
        #expect(await world.enrol(CurveKeyPair(), token: fresh).refused.code == .token)
        #expect(try await world.changes("agent").map(\.after) == ["bound", "revoked"])
    }

    @Test func `only the digest of a token is stored`() async throws {
        let world = try AgentsWorld()
        let token = try await world.token()
        let (stored, _) = try await world.registry.look(
            AgentToken.digest(of: token),
            CurveKeyPair().publicKey
        )
        #expect(stored?.digest != token)
        #expect(stored?.node == nodeA)
        #expect(stored?.mac == mac)
    }

    @Test func `readers' keys are made, listed and revoked by name`() async throws {
        let world = try AgentsWorld()
        let (key, secret) = try await world.registry.createReaderKey(name: "grafana")
        #expect(try CurveKeyPair(secret: secret).publicKey == key)
        #expect(world.link.subscribe("", key: key) != nil)
        #expect(try await world.registry.readerKeys().map(\.name) == ["grafana"])
        await #expect(throws: Fault.self) {
            try await world.registry.createReaderKey(name: "grafana")
        }
        await #expect(throws: Fault.self) { try await world.registry.createReaderKey(name: "") }
        try await world.registry.revokeReaderKey(name: "grafana")
        #expect(world.link.subscribe("", key: key) == nil)
        await #expect(throws: Fault.self) {
            try await world.registry.revokeReaderKey(name: "grafana")
        }
    }
}
