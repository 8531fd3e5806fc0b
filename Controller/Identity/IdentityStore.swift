import Basics
import FoundationEssentials
import GRDB
import HTTP
import Protocol
package import Store

/// The identity area's part of the schema.
package enum IdentityStore {
    package static let migrations = [
        Migration(
            name: "identity-001",
            sql: """
                CREATE TABLE "user" (
                    id TEXT PRIMARY KEY,
                    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
                    isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1)),
                    passwordHash TEXT NOT NULL CHECK (passwordHash <> ''),
                    tokensAfter INTEGER NOT NULL
                ) STRICT;
                CREATE TABLE project (
                    id TEXT PRIMARY KEY,
                    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
                    isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1))
                ) STRICT;
                CREATE TABLE project_role (
                    userID TEXT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
                    projectID TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
                    role TEXT NOT NULL CHECK (role IN ('reader', 'member', 'manager', 'admin')),
                    PRIMARY KEY (userID, projectID, role)
                ) STRICT;
                CREATE TABLE system_role (
                    userID TEXT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
                    role TEXT NOT NULL CHECK (role IN ('reader', 'member', 'manager', 'admin')),
                    PRIMARY KEY (userID, role)
                ) STRICT;
                CREATE TABLE revoked_token (
                    id TEXT PRIMARY KEY,
                    expires INTEGER NOT NULL
                ) STRICT;
                CREATE TABLE reader_credential (
                    name TEXT PRIMARY KEY CHECK (name <> ''),
                    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
                    created INTEGER NOT NULL
                ) STRICT;
                CREATE TABLE audit (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    time INTEGER NOT NULL,
                    requestID TEXT NOT NULL,
                    userID TEXT NOT NULL,
                    userName TEXT NOT NULL,
                    address TEXT NOT NULL,
                    method TEXT NOT NULL,
                    path TEXT NOT NULL,
                    status INTEGER NOT NULL
                ) STRICT;
                CREATE INDEX audit_time ON audit (time);
                """
        )
    ]
}

extension Transaction {
    private func user(_ row: Row) -> User {
        User(
            id: row["id"],
            name: row["name"],
            isEnabled: row["isEnabled"],
            passwordHash: Secret(row["passwordHash"] as String),
            tokensAfter: row["tokensAfter"]
        )
    }

    private func project(_ row: Row) -> Project {
        Project(id: row["id"], name: row["name"], isEnabled: row["isEnabled"])
    }

    func user(id: String) throws -> User? {
        try Row.fetchOne(sql, sql: #"SELECT * FROM "user" WHERE id = ?"#, arguments: [id]).map(user)
    }

    func user(name: String) throws -> User? {
        try Row.fetchOne(sql, sql: #"SELECT * FROM "user" WHERE name = ?"#, arguments: [name])
            .map(user)
    }

    func users() throws -> [User] {
        try Row.fetchAll(sql, sql: #"SELECT * FROM "user" ORDER BY name LIMIT 1000"#).map(user)
    }

    func saveUser(_ user: User) throws {
        try sql.execute(
            sql: """
                INSERT INTO "user" (id, name, isEnabled, passwordHash, tokensAfter)
                VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name, isEnabled = excluded.isEnabled,
                    passwordHash = excluded.passwordHash, tokensAfter = excluded.tokensAfter
                """,
            arguments: [
                user.id, user.name, user.isEnabled, user.passwordHash.reveal(), user.tokensAfter,
            ]
        )
    }

    func project(id: String) throws -> Project? {
        try Row.fetchOne(sql, sql: "SELECT * FROM project WHERE id = ?", arguments: [id])
            .map(project)
    }

    func project(name: String) throws -> Project? {
        try Row.fetchOne(sql, sql: "SELECT * FROM project WHERE name = ?", arguments: [name])
            .map(project)
    }

    func projects() throws -> [Project] {
        try Row.fetchAll(sql, sql: "SELECT * FROM project ORDER BY name LIMIT 1000").map(project)
    }

    /// The projects in which a user has a role.
    func projects(of userID: String) throws -> [Project] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM project
                WHERE id IN (SELECT projectID FROM project_role WHERE userID = ?) ORDER BY name
                """,
            arguments: [userID]
        ).map(project)
    }

    func saveProject(_ project: Project) throws {
        try sql.execute(
            sql: """
                INSERT INTO project (id, name, isEnabled) VALUES (?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name, isEnabled = excluded.isEnabled
                """,
            arguments: [project.id, project.name, project.isEnabled]
        )
    }

    /// The strongest role of a user in a project.
    func role(of userID: String, inProject projectID: String) throws -> Role? {
        try String.fetchAll(
            sql,
            sql: "SELECT role FROM project_role WHERE userID = ? AND projectID = ?",
            arguments: [userID, projectID]
        ).compactMap(Role.init).max()
    }

    /// The strongest role of a user over the whole installation.
    func systemRole(of userID: String) throws -> Role? {
        try String.fetchAll(
            sql,
            sql: "SELECT role FROM system_role WHERE userID = ?",
            arguments: [userID]
        ).compactMap(Role.init).max()
    }

    func grant(_ role: Role, to userID: String, inProject projectID: String) throws {
        try sql.execute(
            sql: """
                INSERT INTO project_role (userID, projectID, role) VALUES (?, ?, ?)
                ON CONFLICT DO NOTHING
                """,
            arguments: [userID, projectID, role.rawValue]
        )
    }

    func grantSystem(_ role: Role, to userID: String) throws {
        try sql.execute(
            sql: "INSERT INTO system_role (userID, role) VALUES (?, ?) ON CONFLICT DO NOTHING",
            arguments: [userID, role.rawValue]
        )
    }

    func isRevoked(token id: String) throws -> Bool {
        try Row.fetchOne(sql, sql: "SELECT 1 FROM revoked_token WHERE id = ?", arguments: [id])
            != nil
    }

    /// Revokes a token and forgets those revoked ones that have expired anyway.
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

    func addAudit(_ record: AuditRecord) throws {
        try execute(
            """
            INSERT INTO audit (time, requestID, userID, userName, address, method, path, status)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                record.time.nanoseconds, record.requestID, record.userID, record.userName,
                record.address, record.method, record.path, record.status,
            ]
        )
    }

    func trimAudit(olderThan time: Timestamp) throws {
        try sql.execute(sql: "DELETE FROM audit WHERE time < ?", arguments: [time.nanoseconds])
    }

    /// The newest audit records, newest first.
    func auditRecords(limit: Int) throws -> [AuditRecord] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM audit ORDER BY sequence DESC LIMIT ?",
            arguments: [limit]
        ).map { row in
            AuditRecord(
                time: Timestamp(nanoseconds: row["time"]),
                requestID: row["requestID"],
                userID: row["userID"],
                userName: row["userName"],
                address: row["address"],
                method: row["method"],
                path: row["path"],
                status: row["status"]
            )
        }
    }
}

extension [UInt8] {
    /// As a BLOB.
    fileprivate var databaseValue: DatabaseValue { Data(self).databaseValue }
}
