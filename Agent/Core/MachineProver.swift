package import AgentSystem
import Basics
import FoundationEssentials
package import Protocol
package import Transport

/// Leaves proofs in the machine's own BMC, on a thread of its own because that blocks; see `MachineProof`.
package actor MachineProver {
    /// Records that one run writes at most, so that no fault of ours fills an event log.
    package static let recordsMax = 16

    private let bmc: any LocalBMC
    private let key: CurvePublicKey
    private let executor: any SerialExecutor
    private var records = 0

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - bmc: the machine's own BMC.
    ///   - key: the key that enrols.
    ///   - executor: where the blocking calls run.
    package init(
        bmc: any LocalBMC,
        key: CurvePublicKey,
        executor: any SerialExecutor = OwnThread(name: "bmc")
    ) {
        self.bmc = bmc
        self.key = key
        self.executor = executor
    }

    /// Answers a challenge; what stands in the way is told to the controller.
    package func answer(_ challenge: [UInt8]) -> WireMachineProof {
        var proof = WireMachineProof()
        proof.challenge = Data(challenge)
        guard records < Self.recordsMax else {
            proof.problem = "it wrote \(records) records into its BMC already; boot it anew"
            return proof
        }
        let message = MachineProof.message(challenge: challenge, key: key.bytes)
        let digest = message.withUnsafeBytes { SHA256Digest(of: $0) }
        do {
            let data = Array(digest.bytes.prefix(MachineProof.dataBytes))
            proof.eventRecord = UInt32(try bmc.addEvent(type: MachineProof.recordType, data: data))
            records += 1
        } catch {
            proof.problem = error.reason
        }
        return proof
    }
}
