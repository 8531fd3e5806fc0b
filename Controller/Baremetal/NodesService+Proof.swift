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
            let wanted = EventRecord(type: MachineProof.recordType, data: data)
            if let records = driver.records {
                guard MachineProof.recordNumbers.contains(UInt32(record)) else {
                    return .impossible("the machine's BMC gave its record no number")
                }
                let bmc = try driver.bmc(of: node)
                return try await records.record(record, of: bmc) == wanted
                    ? .proven : Self.refusal(bmc, node)
            }
            if let search = driver.recordSearch {
                let bmc = try driver.bmc(of: node)
                switch try await search.search(for: wanted, of: bmc) {
                case .found: return .proven
                case .others: return Self.refusal(bmc, node)
                case .nothing:
                    return .impossible(
                        "the BMC \(bmc.endpoint) of node \(node.label) shows no records that a machine writes, or the machine has another BMC; compare the key's fingerprint with the machine's console and accept it"
                    )
                }
            }
            return .impossible(
                "driver \(driver.name) cannot read what a machine leaves in its BMC"
            )
        } catch let fault as PowerFault {
            return fault.reason == .unsupported
                ? .impossible(fault.message) : .later(fault.message)
        } catch {
            // A node that was just discovered, for instance, has no BMC that is known.
            let fault = Fault(error)
            return fault.kind == .invalid ? .impossible(fault.message) : .later(fault.message)
        }
    }

    static func refusal(_ bmc: BMC, _ node: Node) -> ProofVerdict {
        .refused(
            "the BMC \(bmc.endpoint) of node \(node.label) does not hold what the machine says that it left there: the machine has another BMC; compare \(bmc.redfish == nil ? "ipmi_address" : "redfish_address") and the cabling"
        )
    }

    package func forget(_ record: UInt16, of id: NodeID) async {
        do {
            guard let node = try await find(id) else { return }
            let driver = try driver(of: node)
            guard MachineProof.recordNumbers.contains(UInt32(record)) else { return }
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
