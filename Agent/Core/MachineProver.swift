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
    private let redfish: (any LocalRedfish)?
    private var records = 0
    private var tags = 0

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - bmc: the machine's own BMC.
    ///   - key: the key that enrols.
    ///   - redfish: the BMC's other side, for those that show no records; `nil` where there is none.
    ///   - executor: where the blocking calls run.
    package init(
        bmc: any LocalBMC,
        key: CurvePublicKey,
        redfish: (any LocalRedfish)? = nil,
        executor: any SerialExecutor = OwnThread(name: "bmc")
    ) {
        self.bmc = bmc
        self.key = key
        self.redfish = redfish
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
        do {
            let data = data(challenge)
            proof.eventRecord = UInt32(try bmc.addEvent(type: MachineProof.recordType, data: data))
            records += 1
        } catch {
            proof.problem = error.reason
        }
        return proof
    }

    /// Leaves the same in the machine's `AssetTag`; `recordsMax` tries at most.
    /// - Returns: what stands in the way, as a clause; `nil` when it stands there.
    package func leaveTag(_ challenge: [UInt8]) -> String? {
        guard let redfish else { return "it has no Redfish host interface" }
        guard tags < Self.recordsMax else { return "it tried \(tags) times; boot it anew" }
        tags += 1
        do throws(LocalBMCFailure) {
            try redfish.leave(MachineProof.tag(data(challenge)))
            return nil
        } catch {
            return error.reason
        }
    }

    private func data(_ challenge: [UInt8]) -> [UInt8] {
        let message = MachineProof.message(challenge: challenge, key: key.bytes)
        let digest = message.withUnsafeBytes { SHA256Digest(of: $0) }
        return Array(digest.bytes.prefix(MachineProof.dataBytes))
    }
}
