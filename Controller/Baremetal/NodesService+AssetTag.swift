package import Agents
import Basics
import Logging
import Power
package import Protocol
import Store

// Proofs that machines leave in their asset tags, where their BMC shows no records.
extension NodesService {
    /// How long a machine may take for its proof; then the text is put back.
    static let tagKeptFor: Duration = .seconds(600)
    /// Tries to put a text back, with pauses of a minute, doubling up to an hour.
    static let tagTriesMax = 10
    /// Texts that are put back in one go.
    private static let tagsMax = 64

    package func keepTag(of id: NodeID) async -> Bool {
        do {
            guard let node = try await find(id) else { return false }
            let driver = try driver(of: node)
            guard let tags = driver.assetTags else { return false }
            let bmc = try driver.bmc(of: node)
            let present = try await tags.assetTag(of: bmc)
            let now = time.now
            return try await database.write { transaction in
                let known = try transaction.keptTag(of: id)
                    .flatMap { $0.target == bmc.system ? $0 : nil }
                // A proof that was left there is nobody's name for the machine.
                let earlier = MachineProof.isTag(present) ? known?.earlier ?? "" : present
                try transaction.save(
                    KeptTag(
                        node: id,
                        target: bmc.system,
                        earlier: earlier,
                        nextTry: now + Self.tagKeptFor
                    )
                )
                return true
            }
        } catch {
            logger.debug(
                "asset tag cannot take a proof",
                metadata: [LogKey.nodeID: "\(id)", LogKey.error: "\(Fault(error).report)"]
            )
            return false
        }
    }

    package func check(tag: String, of id: NodeID) async -> ProofVerdict {
        do {
            guard let node = try await find(id) else { return .impossible("the node is gone") }
            let driver = try driver(of: node)
            guard let tags = driver.assetTags else {
                return .impossible("driver \(driver.name) cannot read asset tags")
            }
            let bmc = try driver.bmc(of: node)
            let now = time.now
            let isKept = try await database.write { transaction in
                guard var kept = try transaction.keptTag(of: id), kept.target == bmc.system else {
                    return false
                }
                kept.nextTry = now + Self.tagKeptFor
                try transaction.save(kept)
                return true
            }
            guard isKept else {
                return .impossible(
                    "the asset tag of node \(node.label) was put back before its proof was read; restart the machine"
                )
            }
            return try await tags.shows(assetTag: tag, of: bmc)
                ? .proven : Self.refusal(bmc, node)
        } catch let fault as PowerFault {
            return fault.reason == .unsupported
                ? .impossible(fault.message) : .later(fault.message)
        } catch {
            let fault = Fault(error)
            return fault.kind == .invalid ? .impossible(fault.message) : .later(fault.message)
        }
    }

    package func restoreTag(of id: NodeID) async {
        do {
            guard let kept = try await database.read({ try $0.keptTag(of: id) }) else { return }
            try await restore(kept)
        } catch {
            logger.error(
                "asset tag is not put back yet",
                metadata: [LogKey.nodeID: "\(id)", LogKey.error: "\(Fault(error).report)"]
            )
        }
    }

    package func restoreTags(all: Bool) async {
        let now = time.now
        do {
            let due = try await database.read {
                try $0.tagsToRestore(at: all ? nil : now, limit: Self.tagsMax)
            }
            for kept in due { await restoreTag(of: kept.node) }
        } catch {
            logger.error(
                "asset tags are not put back yet",
                metadata: [LogKey.error: "\(Fault(error).report)"]
            )
        }
    }

    private func restore(_ kept: KeptTag) async throws {
        var trouble = "the node, or its BMC's address, was changed meanwhile"
        var isLast = true
        if let node = try await find(kept.node) {
            do {
                let driver = try driver(of: node)
                let bmc = try driver.bmc(of: node)
                if let tags = driver.assetTags, bmc.system == kept.target {
                    // A text of the site's, set meanwhile, is left alone.
                    _ = try await tags.set(
                        assetTag: kept.earlier,
                        where: MachineProof.isTag,
                        of: bmc
                    )
                    trouble = ""
                }
            } catch {
                try Task.checkCancellation()
                trouble = Fault(error).message
                isLast = !(error is PowerFault) || kept.tries + 1 >= Self.tagTriesMax
            }
        }
        guard isLast else {
            var later = kept
            later.nextTry = time.now + min(.seconds(60) * (1 << kept.tries), .seconds(3600))
            later.tries += 1
            return try await database.write { [later] transaction in
                guard try transaction.keptTag(of: kept.node) == kept else { return }
                try transaction.save(later)
            }
        }
        try await database.write { try $0.delete(kept) }
        guard !trouble.isEmpty else { return }
        try await tell(
            "its asset tag may still be a proof of its machine (rdo-…) instead of “\(kept.earlier)”: \(trouble)",
            of: kept.node
        )
    }
}

extension BMC {
    /// Names the BMC and the one of its systems that is meant.
    fileprivate var system: String { "\(account) \(redfish?.system ?? "")" }
}
