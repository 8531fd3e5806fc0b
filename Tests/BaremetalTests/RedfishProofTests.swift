import Basics
import HTTP
import Protocol
import Synchronization
import Testing
import Transport

@testable import Agents
@testable import Baremetal
@testable import Power

/// Proofs of machines through Redfish BMCs, over HTTP to doubles that show what their machines write.
@Suite struct RedfishProofTests {
    private let challenge = [UInt8](repeating: 3, count: MachineProof.challengeBytes)
    private let key = CurveKeyPair().publicKey

    /// A node behind a double of its own, and another double.
    private func with(
        _ body:
            @escaping @Sendable (NodesService, NodeID, _ own: RedfishDouble, _ other: RedfishDouble)
            async throws -> Void
    ) async throws {
        let (own, other) = (try RedfishDouble("log"), try RedfishDouble("log"))
        let bench = try Bench()
        try await own.serve { port in
            let (service, node, driver) = try await bench.redfishNode(
                at: port,
                pause: .milliseconds(50)
            )
            try await body(service, node.id, own, other)
            await driver.shutDown()
        }
    }

    @Test func `a machine that wrote into its node's own BMC is proven, whatever the number`()
        async throws
    {
        try await with { service, id, own, _ in
            let right = ProofDesk.data(challenge, key)
            let number = own.addEvent(type: MachineProof.recordType, data: right)
            #expect(number == 0xffff)
            #expect(await service.check(number, holds: right, of: id) == .proven)
            await service.forget(number, of: id)
            #expect(!own.asked.contains { $0.method == "DELETE" && !$0.path.contains("Sessions") })
            #expect(!own.asked.contains { $0.method == "PATCH" })
        }
    }

    @Test func `a machine with another BMC, key or challenge is refused`() async throws {
        try await with { service, id, own, other in
            let right = ProofDesk.data(challenge, key)
            other.addEvent(type: MachineProof.recordType, data: right)
            // The log shows no such records yet: nobody can tell, and the key waits for an operator.
            guard case .impossible(let words) = await service.check(0xffff, holds: right, of: id)
            else {
                Issue.record("a BMC that shows nothing has a verdict")
                return
            }
            #expect(words.contains("c0"))
            #expect(words.contains("accept"))
            let stale = [UInt8](repeating: 9, count: MachineProof.challengeBytes)
            let stranger = CurveKeyPair().publicKey
            for wrong in [ProofDesk.data(stale, key), ProofDesk.data(challenge, stranger)] {
                own.addEvent(type: MachineProof.recordType, data: wrong)
                guard case .refused(let reason) = await service.check(0xffff, holds: right, of: id)
                else {
                    Issue.record("it is not refused")
                    return
                }
                #expect(reason.contains("redfish_address"))
                #expect(reason.contains("the machine has another BMC"))
            }
            own.addEvent(type: 0x02, data: right)
            guard case .refused = await service.check(0xffff, holds: right, of: id) else {
                Issue.record("a record of another type proves")
                return
            }
        }
    }

    @Test func `a BMC that takes the password no more is no refusal`() async throws {
        try await with { service, id, own, _ in
            own.state.withLock { $0.password = "another one" }
            let verdict = await service.check(1, holds: ProofDesk.data(challenge, key), of: id)
            guard case .later = verdict else {
                Issue.record("\(verdict)")
                return
            }
        }
    }
}
