package import Agents
import Basics
import Logging
import Power
package import Protocol
import Store

// Whether a machine is the one that a node's BMC belongs to.
extension NodesService: MachineProofs {
    package func check(
        _ record: UInt16,
        holds data: [UInt8],
        of id: NodeID
    ) async -> ProofVerdict {
        do {
            guard let node = try await find(id) else { return .impossible("the node is gone") }
            let driver = try driver(of: node)
            guard let records = driver.records else {
                return .impossible(
                    "driver \(driver.name) cannot read what a machine leaves in its BMC"
                )
            }
            let bmc = try driver.bmc(of: node)
            let found = try await records.record(record, of: bmc)
            guard let found, found.type == MachineProof.recordType, found.data == data else {
                return .refused(
                    "the BMC \(bmc.endpoint) of node \(node.label) does not hold what the machine says that it left there: the machine has another BMC; compare ipmi_address and the cabling"
                )
            }
            return .proven
        } catch let fault as PowerFault {
            return fault.reason == .unsupported
                ? .impossible(fault.message) : .later(fault.message)
        } catch {
            // A node that was just discovered, for instance, has no BMC that is known.
            let fault = Fault(error)
            return fault.kind == .invalid ? .impossible(fault.message) : .later(fault.message)
        }
    }

    package func forget(_ record: UInt16, of id: NodeID) async {
        do {
            guard let node = try await find(id) else { return }
            let driver = try driver(of: node)
            try await driver.records?.forget(record, of: try driver.bmc(of: node))
        } catch {
            logger.debug(
                "proof stays in the event log",
                metadata: [LogKey.nodeID: "\(id)", LogKey.error: "\(Fault(error).report)"]
            )
        }
    }

    package func tell(_ sentence: String, of id: NodeID) async throws {
        let now = time.now
        try await database.write { [sealer] transaction in
            guard let node = try transaction.node(id, sealer: sealer) else { return }
            try transaction.recordEvent(of: node, sentence, at: now)
        }
    }
}
