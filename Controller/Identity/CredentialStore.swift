import Basics
import FoundationEssentials
import GRDB
import HTTP
import Protocol
import Store

// MARK: - Application credentials

extension Transaction {
    func credential(id: String) throws -> ApplicationCredential? {
        var wanted = Conditions()
        wanted.add("id", id)
        return try credentials(wanted).first
    }

    /// The application credentials of a user, by identifier.
    func credentials(ofUser userID: String, name: String? = nil) throws -> [ApplicationCredential] {
        var wanted = Conditions()
        wanted.add("userID", userID)
        wanted.add("name", name)
        return try credentials(wanted)
    }

    private func credentials(_ wanted: Conditions) throws -> [ApplicationCredential] {
        let chosen = "(SELECT id FROM application_credential WHERE \(wanted.sql))"
        let roles = try Row.fetchAll(
            sql,
            sql: """
                SELECT application_credential_role.credentialID, role.* FROM role
                JOIN application_credential_role ON application_credential_role.roleID = role.id
                WHERE application_credential_role.credentialID IN \(chosen) ORDER BY role.id
                """,
            arguments: wanted.arguments()
        )
        let rules = try Row.fetchAll(
            sql,
            sql: """
                SELECT application_credential_rule.credentialID, access_rule.* FROM access_rule
                JOIN application_credential_rule
                    ON application_credential_rule.ruleID = access_rule.id
                WHERE application_credential_rule.credentialID IN \(chosen) ORDER BY access_rule.id
                """,
            arguments: wanted.arguments()
        )
        let rolesByID = Dictionary(grouping: roles) { $0["credentialID"] as String }
        let rulesByID = Dictionary(grouping: rules) { $0["credentialID"] as String }
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM application_credential WHERE \(wanted.sql) ORDER BY id",
            arguments: wanted.arguments()
        ).map { row in
            let id: String = row["id"]
            return ApplicationCredential(
                id: id,
                userID: row["userID"],
                projectID: row["projectID"],
                name: row["name"],
                description: row["description"],
                secretHash: Secret(row["secretHash"] as String),
                expires: (row["expires"] as Int64?).map(Timestamp.init(nanoseconds:)),
                isUnrestricted: row["isUnrestricted"],
                roles: (rolesByID[id] ?? []).map { row in
                    RoleRecord(id: row["id"], domainID: row["domainID"], name: row["name"])
                },
                rules: (rulesByID[id] ?? []).map(rule)
            )
        }
    }

    func add(_ credential: ApplicationCredential) throws {
        try sql.execute(
            sql: """
                INSERT INTO application_credential (id, userID, projectID, name, description,
                    secretHash, expires, isUnrestricted)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                credential.id, credential.userID, credential.projectID, credential.name,
                credential.description, credential.secretHash.reveal(),
                credential.expires?.nanoseconds, credential.isUnrestricted,
            ]
        )
        for role in credential.roles {
            try sql.execute(
                sql: "INSERT INTO application_credential_role (credentialID, roleID) VALUES (?, ?)",
                arguments: [credential.id, role.id]
            )
        }
        for rule in credential.rules {
            try sql.execute(
                sql: "INSERT INTO application_credential_rule (credentialID, ruleID) VALUES (?, ?)",
                arguments: [credential.id, rule.id]
            )
        }
    }

    func removeCredential(id: String) throws {
        try sql.execute(sql: "DELETE FROM application_credential WHERE id = ?", arguments: [id])
    }
}

// MARK: - Access rules

extension Transaction {
    private func rule(_ row: Row) -> OwnedRule {
        OwnedRule(
            id: row["id"],
            rule: AccessRule(service: row["service"], method: row["method"], path: row["path"])
        )
    }

    func rules(ofUser userID: String) throws -> [OwnedRule] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM access_rule WHERE userID = ? ORDER BY id",
            arguments: [userID]
        ).map(rule)
    }

    func add(_ rule: OwnedRule, ofUser userID: String) throws {
        try sql.execute(
            sql: """
                INSERT INTO access_rule (id, userID, service, method, path) VALUES (?, ?, ?, ?, ?)
                """,
            arguments: [rule.id, userID, rule.rule.service, rule.rule.method, rule.rule.path]
        )
    }

    func isUsed(rule id: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM application_credential_rule WHERE ruleID = ?",
            arguments: [id]
        ) != nil
    }

    func removeRule(id: String) throws {
        try sql.execute(sql: "DELETE FROM access_rule WHERE id = ?", arguments: [id])
    }
}

// MARK: - Tokens and read-only credentials

extension Transaction {
    func isRevoked(token id: String) throws -> Bool {
        try Row.fetchOne(sql, sql: "SELECT 1 FROM revoked_token WHERE id = ?", arguments: [id])
            != nil
    }

    func revoke(token id: String, expires: Timestamp, at now: Timestamp) throws {
        try sql.execute(
            sql: "DELETE FROM revoked_token WHERE expires < ?",
            arguments: [now.nanoseconds]
        )
        try sql.execute(
            sql: "INSERT INTO revoked_token (id, expires) VALUES (?, ?) ON CONFLICT DO NOTHING",
            arguments: [id, expires.nanoseconds]
        )
    }

    func addReader(name: String, digest: [UInt8], at now: Timestamp) throws {
        try sql.execute(
            sql: "INSERT INTO reader_credential (name, digest, created) VALUES (?, ?, ?)",
            arguments: [name, digest.databaseValue, now.nanoseconds]
        )
    }

    func hasReader(name: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM reader_credential WHERE name = ?",
            arguments: [name]
        ) != nil
    }

    func hasReader(digest: [UInt8]) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM reader_credential WHERE digest = ?",
            arguments: [digest.databaseValue]
        ) != nil
    }

    func removeReader(name: String) throws -> Bool {
        try sql.execute(sql: "DELETE FROM reader_credential WHERE name = ?", arguments: [name])
        return sql.changesCount > 0
    }
}

extension [UInt8] {
    /// As a BLOB.
    fileprivate var databaseValue: DatabaseValue { Data(self).databaseValue }
}
