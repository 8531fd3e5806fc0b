import FoundationEssentials
import GRDB
import Protocol
package import Store
import Transport

/// The area's schema.
package enum AgentStore {
    package static let migrations = [
        Migration(
            name: "agents-001",
            sql: """
                CREATE TABLE agent_token (
                    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
                    node TEXT,
                    mac TEXT,
                    role TEXT NOT NULL CHECK (role IN ('ramdisk', 'overcloud')),
                    attempt INTEGER NOT NULL CHECK (attempt >= 0),
                    expires INTEGER NOT NULL,
                    boundKey BLOB CHECK (boundKey IS NULL OR length(boundKey) = 32)
                ) STRICT;
                CREATE INDEX agent_token_node ON agent_token (node, role);
                CREATE INDEX agent_token_expires ON agent_token (expires);
                CREATE TABLE agent_key (
                    key BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 32),
                    node TEXT NOT NULL,
                    role TEXT NOT NULL CHECK (role IN ('ramdisk', 'overcloud')),
                    attempt INTEGER NOT NULL CHECK (attempt >= 0),
                    state TEXT NOT NULL CHECK (state IN ('waiting', 'bound')),
                    contested INTEGER NOT NULL CHECK (contested IN (0, 1)),
                    address TEXT NOT NULL,
                    mac TEXT NOT NULL,
                    since INTEGER NOT NULL
                ) STRICT;
                CREATE UNIQUE INDEX agent_key_bound ON agent_key (node, role) WHERE state = 'bound';
                CREATE TABLE stream_key (
                    name TEXT PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
                    key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
                    created INTEGER NOT NULL
                ) STRICT;
                """
        ),
        Migration(
            name: "agents-002",
            sql: "CREATE INDEX agent_key_node ON agent_key (node, role)"
        ),
    ]
}

extension Transaction {
    func agentToken(digest: [UInt8]) throws -> AgentToken? {
        try Row.fetchOne(
            sql,
            sql: "SELECT * FROM agent_token WHERE digest = ?",
            arguments: [blob(digest)]
        ).flatMap { row in
            guard let role = AgentRole(rawValue: row["role"]) else { return nil }
            return AgentToken(
                digest: bytes(row["digest"]),
                node: (row["node"] as String?).map(NodeID.init(unchecked:)),
                mac: row["mac"],
                role: role,
                attempt: Attempt(UInt64(row["attempt"] as Int64)),
                expires: Timestamp(nanoseconds: row["expires"]),
                boundKey: (row["boundKey"] as DatabaseValue).isNull
                    ? nil : CurvePublicKey(bytes: bytes(row["boundKey"]))
            )
        }
    }

    func insert(_ token: AgentToken) throws {
        try sql.execute(
            sql: """
                INSERT INTO agent_token (digest, node, mac, role, attempt, expires, boundKey)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                blob(token.digest), token.node?.text, token.mac, token.role.rawValue,
                Int64(token.attempt.number), token.expires.nanoseconds,
                token.boundKey.map { blob($0.bytes) },
            ]
        )
    }

    func bind(_ token: AgentToken, to key: CurvePublicKey, node: NodeID) throws {
        try sql.execute(
            sql: "UPDATE agent_token SET boundKey = ?, node = ? WHERE digest = ?",
            arguments: [blob(key.bytes), node.text, blob(token.digest)]
        )
    }

    /// Forgets tokens that expired before `time` and whose key, if any, is gone.
    func trimTokens(expiredBefore time: Timestamp) throws {
        try sql.execute(
            sql: """
                DELETE FROM agent_token WHERE expires < ? AND (boundKey IS NULL
                    OR boundKey NOT IN (SELECT key FROM agent_key))
                """,
            arguments: [time.nanoseconds]
        )
    }

    func agentKey(_ key: CurvePublicKey) throws -> AgentKey? {
        try Row.fetchOne(
            sql,
            sql: "SELECT * FROM agent_key WHERE key = ?",
            arguments: [blob(key.bytes)]
        ).flatMap(agentKey)
    }

    /// All keys, the oldest first.
    func agentKeys() throws -> [AgentKey] {
        try Row.fetchAll(sql, sql: "SELECT * FROM agent_key ORDER BY since, key")
            .compactMap(agentKey)
    }

    func agentKeys(of node: NodeID, role: AgentRole?) throws -> [AgentKey] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM agent_key WHERE node = ? AND (? IS NULL OR role = ?)
                ORDER BY since, key
                """,
            arguments: [node.text, role?.rawValue, role?.rawValue]
        ).compactMap(agentKey)
    }

    /// Whom each bound key belongs to.
    func boundKeys() throws -> [CurvePublicKey: AgentIdentity] {
        var keys: [CurvePublicKey: AgentIdentity] = [:]
        for row in try Row.fetchAll(
            sql,
            sql: "SELECT key, node, role FROM agent_key WHERE state = 'bound'"
        ) {
            guard let key = CurvePublicKey(bytes: bytes(row[0])),
                let role = AgentRole(rawValue: row[2])
            else { continue }
            keys[key] = AgentIdentity(node: NodeID(unchecked: row[1]), role: role)
        }
        return keys
    }

    func insert(_ key: AgentKey) throws {
        try sql.execute(
            sql: """
                INSERT INTO agent_key
                    (key, node, role, attempt, state, contested, address, mac, since)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                blob(key.key.bytes), key.node.text, key.role.rawValue, Int64(key.attempt.number),
                key.state.rawValue, key.contested ? 1 : 0, key.address, key.mac,
                key.since.nanoseconds,
            ]
        )
    }

    func delete(_ key: AgentKey) throws {
        try sql.execute(
            sql: "DELETE FROM agent_key WHERE key = ?",
            arguments: [blob(key.key.bytes)]
        )
    }

    func setContested(_ key: CurvePublicKey) throws {
        try sql.execute(
            sql: "UPDATE agent_key SET contested = 1 WHERE key = ?",
            arguments: [blob(key.bytes)]
        )
    }

    func deleteTokens(of node: NodeID, role: AgentRole?) throws {
        try sql.execute(
            sql: "DELETE FROM agent_token WHERE node = ? AND (? IS NULL OR role = ?)",
            arguments: [node.text, role?.rawValue, role?.rawValue]
        )
    }

    func readerKeys() throws -> [ReaderKey] {
        try Row.fetchAll(sql, sql: "SELECT * FROM stream_key ORDER BY name").compactMap { row in
            CurvePublicKey(bytes: bytes(row["key"])).map {
                ReaderKey(
                    name: row["name"],
                    key: $0,
                    created: Timestamp(nanoseconds: row["created"])
                )
            }
        }
    }

    func insert(_ reader: ReaderKey) throws {
        try sql.execute(
            sql: "INSERT INTO stream_key (name, key, created) VALUES (?, ?, ?)",
            arguments: [reader.name, blob(reader.key.bytes), reader.created.nanoseconds]
        )
    }

    func deleteReaderKey(name: String) throws {
        try sql.execute(sql: "DELETE FROM stream_key WHERE name = ?", arguments: [name])
    }

    private func agentKey(_ row: Row) -> AgentKey? {
        guard let key = CurvePublicKey(bytes: bytes(row["key"])),
            let role = AgentRole(rawValue: row["role"]),
            let state = AgentKey.State(rawValue: row["state"])
        else { return nil }
        return AgentKey(
            key: key,
            node: NodeID(unchecked: row["node"]),
            role: role,
            attempt: Attempt(UInt64(row["attempt"] as Int64)),
            state: state,
            contested: (row["contested"] as Int64) != 0,
            address: row["address"],
            mac: row["mac"],
            since: Timestamp(nanoseconds: row["since"])
        )
    }
}

/// GRDB binds an array of bytes as a blob only by way of `Data`, which needs Foundation's type.
private func blob(_ bytes: [UInt8]) -> Data { Data(bytes) }
private func bytes(_ data: Data) -> [UInt8] { Array(data) }
