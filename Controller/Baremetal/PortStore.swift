import Basics
package import Boot
import GRDB
import HTTP
package import Protocol
package import Store

extension Transaction {
    /// The port with this identifier; `nil` when there is none.
    package func port(_ id: PortID) throws -> Port? {
        try Row.fetchOne(sql, sql: "SELECT * FROM port WHERE id = ?", arguments: [id.text])
            .map(Port.init(row:))
    }

    /// The port with this MAC; `nil` when there is none.
    package func port(at address: MACAddress) throws -> Port? {
        try row("SELECT * FROM port WHERE address = ?", [address.text]).map(Port.init(row:))
    }

    /// A node's ports in the order of registration.
    package func ports(of node: NodeID) throws -> [Port] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM port WHERE node = ? ORDER BY serial",
            arguments: [node.text]
        ).map(Port.init(row:))
    }

    /// Whether another port has this name.
    func portNameIsTaken(_ name: String, except id: PortID) throws -> Bool {
        try Bool.fetchOne(
            sql,
            sql: "SELECT EXISTS (SELECT 1 FROM port WHERE name = ? AND id <> ?)",
            arguments: [name, id.text]
        ) ?? false
    }

    /// Stores a port, new or changed.
    /// - Throws: `Fault` of kind `conflict` when another port has the MAC.
    package func save(_ port: Port, cause: String, at now: Timestamp) throws {
        if let other = try self.port(at: port.address), other.id != port.id {
            throw Fault(
                .conflict,
                "cannot save port \(port.id): a port with MAC \(port.address) exists already (\(other.id)); delete it first"
            )
        }
        if let name = port.name, try portNameIsTaken(name, except: port.id) {
            throw Fault(
                .conflict,
                "cannot save port \(port.id): the name “\(name)” is taken; choose another"
            )
        }
        try execute(
            """
            INSERT INTO port (id, node, address, name, isPXEEnabled, extra, localLink,
                physicalNetwork, isSmartNIC, description, createdAt, updatedAt)
            VALUES (:id, :node, :address, :name, :isPXEEnabled, :extra, :localLink,
                :physicalNetwork, :isSmartNIC, :description, :createdAt, :updatedAt)
            ON CONFLICT (id) DO UPDATE SET
                address = excluded.address, name = excluded.name,
                isPXEEnabled = excluded.isPXEEnabled, extra = excluded.extra,
                localLink = excluded.localLink, physicalNetwork = excluded.physicalNetwork,
                isSmartNIC = excluded.isSmartNIC, description = excluded.description,
                updatedAt = excluded.updatedAt
            """,
            [
                "id": port.id.text, "node": port.node.text, "address": port.address.text,
                "name": port.name, "isPXEEnabled": port.isPXEEnabled,
                "extra": JSONValue.object(port.extra).canonicalText,
                "localLink": JSONValue.object(port.localLink).canonicalText,
                "physicalNetwork": port.physicalNetwork, "isSmartNIC": port.isSmartNIC,
                "description": port.description, "createdAt": port.createdAt.nanoseconds,
                "updatedAt": port.updatedAt?.nanoseconds,
            ]
        )
        try record(
            kind: "port",
            id: port.id.text,
            before: "",
            after: "present",
            cause: cause,
            at: now
        )
    }
}

extension Port {
    fileprivate init(row: Row) throws {
        guard let address = MACAddress(row["address"] as String) else {
            throw Fault(.internalError, "cannot read a port: its stored MAC is none")
        }
        self.init(
            id: PortID(unchecked: row["id"]),
            node: NodeID(unchecked: row["node"]),
            address: address,
            at: Timestamp(nanoseconds: row["createdAt"])
        )
        name = row["name"]
        isPXEEnabled = row["isPXEEnabled"]
        extra = try JSONValue(parsing: (row["extra"] as String).utf8).members ?? [:]
        localLink = try JSONValue(parsing: (row["localLink"] as String).utf8).members ?? [:]
        physicalNetwork = row["physicalNetwork"]
        isSmartNIC = row["isSmartNIC"]
        description = row["description"]
        updatedAt = (row["updatedAt"] as Int64?).map(Timestamp.init(nanoseconds:))
    }
}
