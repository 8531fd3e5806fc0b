import Basics
import HTTP
package import Protocol
import Store

/// How one disk was erased, as its agent proved it.
package struct Erasure: Sendable, Equatable, Codable {
    package let disk: String
    package let serial: String
    package let bytes: UInt64
    /// Bytes that the method reached: the whole disk, or its metadata.
    package let erasedBytes: UInt64
    package let method: String
    package let reason: String
    /// Bytes that were read back, and what that showed.
    package let sampledBytes: UInt64
    package let check: String
    package let seconds: Double
    package let at: Timestamp

    /// Disks that one node's proof holds.
    static let disksMax = 256

    init(_ disk: WireErasedDisks.Disk, at now: Timestamp) {
        func text(_ text: String) -> String { String(text.prefix(400)) }
        self.disk = text(disk.name)
        serial = text(disk.serial)
        bytes = disk.sizeBytes
        erasedBytes = disk.zeroedBytes
        method = text(disk.method)
        reason = text(disk.reason)
        sampledBytes = disk.sampledBytes
        check = text(disk.check)
        seconds = disk.seconds.isFinite ? min(max(disk.seconds, 0), 1e9) : 0
        at = now
    }

    /// As the API shows it.
    var document: JSONValue {
        [
            "disk": .string(disk), "serial": .string(serial),
            "size_bytes": .integer(Int64(clamping: bytes)),
            "erased_bytes": .integer(Int64(clamping: erasedBytes)), "method": .string(method),
            "reason": .string(reason), "sampled_bytes": .integer(Int64(clamping: sampledBytes)),
            "check": .string(check), "seconds": .number(seconds), "at": .string(at.description),
        ]
    }

    /// For the node's history.
    var sentence: String {
        "erased \(disk) (serial \(serial.isEmpty ? "unknown" : serial)): \(method); \(check)"
    }
}

extension NodesService {
    /// Keeps the proof of what was erased with the node, and in its history.
    func take(_ erased: WireErasedDisks, of command: CommandID, on node: Node) async throws {
        let now = time.now
        let proofs = erased.disks.prefix(Erasure.disksMax).map { Erasure($0, at: now) }
        try await apply(.commandDone(command, device: ""), to: node, cause: "the disks are erased")
        {
            $0.erasures = proofs
            // What was recorded is gone, or was built anew on fresh disks.
            if !$0.raidConfig.isEmpty { $0.take(erased.raid, of: $0.raidConfig, at: now) }
        } also: { transaction, node in
            for proof in proofs {
                try transaction.recordEvent(of: node, proof.sentence, at: now)
            }
        }
    }
}

/// What the last erase of a node's disks proved.
let erasureTables = Migration(
    name: "baremetal-006",
    sql: "ALTER TABLE node ADD COLUMN erasures TEXT;"
)
