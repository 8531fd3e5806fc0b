import Basics
import FoundationEssentials
import GRDB
import HTTP
import Protocol
import Store

/// The hashes of rescue passwords, sealed.
let rescueTables = Migration(
    name: "baremetal-rescue",
    sql: """
        CREATE TABLE rescueAccess (
            node TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
            sealed BLOB NOT NULL
        ) STRICT;
        """
)

/// Who may log in to a node's rescue system.
enum RescueAccess {
    /// The account's name, as Ironic's ramdisk has it.
    static let user = "rescue"
}

extension Transaction {
    /// Keeps the hash of a rescue password; `nil` forgets it.
    func save(rescueHash: Secret?, of node: NodeID, sealer: Sealer) throws {
        guard let rescueHash else {
            return try sql.execute(
                sql: "DELETE FROM rescueAccess WHERE node = ?",
                arguments: [node.text]
            )
        }
        let sealed = try sealer.seal(rescueHash, for: "node/\(node)/rescue")
        try sql.execute(
            sql: """
                INSERT INTO rescueAccess (node, sealed) VALUES (?, ?)
                ON CONFLICT (node) DO UPDATE SET sealed = excluded.sealed
                """,
            arguments: [node.text, Data(sealed)]
        )
    }

    /// The hash of a node's rescue password; `nil` when none is kept.
    func rescueHash(of node: NodeID, sealer: Sealer) throws -> Secret? {
        let sealed = try Data.fetchOne(
            sql,
            sql: "SELECT sealed FROM rescueAccess WHERE node = ?",
            arguments: [node.text]
        )
        return try sealed.map { try sealer.open(Array($0), for: "node/\(node)/rescue") }
    }
}

extension ProvisionWish {
    /// Whether what is kept for a rescue is another afterwards.
    var changesRescue: Bool {
        switch self {
        case .rescue, .unrescue, .delete, .abort: true
        case .manage, .inspect, .provide, .deploy, .rebuild, .adopt, .clean, .service, .unhold:
            false
        }
    }
}

extension NodesService {
    /// What a wish leaves of a rescue password: its hash for a rescue, nothing for any other state.
    func rescueHash(for wish: ProvisionWish) -> Secret? {
        guard case .rescue(let password) = wish else { return nil }
        return CryptPassword.hash(password, random: random.bytes(12))
    }

    /// The hash of a node's rescue password; `nil` when none is kept.
    func rescueHash(of id: NodeID) async throws -> Secret? {
        try await database.read { [sealer] in try $0.rescueHash(of: id, sealer: sealer) }
    }
}

extension WireRescueStarted {
    /// For people: how to get in.
    var lines: [String] {
        let hosts = addresses.prefix(8).map { "ssh \(RescueAccess.user)@\($0.prefix(64))" }
        let key = hostKeyFingerprint.prefix(128)
        return hosts + (key.isEmpty ? [] : ["the host key is \(key)"])
    }
}
