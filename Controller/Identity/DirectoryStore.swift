import Basics
import GRDB
import HTTP
import Store

/// Conditions of a query, joined by AND; columns are constants, values are always bound.
struct Conditions {
    private(set) var sql = "TRUE"
    private(set) var values: [(any DatabaseValueConvertible)?] = []

    /// Demands a value; `nil` demands nothing.
    mutating func add(_ column: String, _ value: (any DatabaseValueConvertible)?) {
        guard let value else { return }
        add(raw: "\(column) = ?", [value])
    }

    mutating func add(raw condition: String, _ bound: [(any DatabaseValueConvertible)?] = []) {
        sql += " AND \(condition)"
        values += bound
    }

    /// Demands one of some values.
    mutating func add(_ column: String, in values: [String]) {
        guard !values.isEmpty else { return add(raw: "FALSE") }
        let marks = Array(repeating: "?", count: values.count).joined(separator: ", ")
        add(raw: "\(column) IN (\(marks))", values)
    }

    /// With more values behind them.
    func arguments(_ more: (any DatabaseValueConvertible)?...) -> StatementArguments {
        StatementArguments(values + more)
    }
}

extension JSONValue {
    /// What a column holds as JSON; the schema and this file write nothing else.
    init(column text: String) {
        // Written by ourselves; were it broken, the object would show without it.
        self = (try? JSONValue(parsing: text.utf8)) ?? .null
    }
}

extension Attributes {
    init(_ row: Row) {
        description = row["description"]
        options = JSONValue(column: row["options"]).members ?? [:]
        extra = JSONValue(column: row["extra"]).members ?? [:]
    }

    /// As columns.
    var columns: [(any DatabaseValueConvertible)?] {
        [
            description, JSONValue.object(options).canonicalText,
            JSONValue.object(extra).canonicalText,
        ]
    }
}

// MARK: - Settings and domains

extension Transaction {
    func identitySetting(_ name: String) throws -> String? {
        try String.fetchOne(
            sql,
            sql: "SELECT value FROM identity_setting WHERE name = ?",
            arguments: [name]
        )
    }

    func saveIdentitySetting(_ name: String, _ value: String) throws {
        try sql.execute(
            sql: """
                INSERT INTO identity_setting (name, value) VALUES (?, ?)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value
                """,
            arguments: [name, value]
        )
    }

    private func domain(_ row: Row) -> Domain {
        Domain(
            id: row["id"],
            name: row["name"],
            isEnabled: row["isEnabled"],
            generation: row["generation"],
            attributes: Attributes(row)
        )
    }

    func domain(id: String) throws -> Domain? {
        try Row.fetchOne(sql, sql: "SELECT * FROM domain WHERE id = ?", arguments: [id])
            .map(domain)
    }

    func domain(name: String) throws -> Domain? {
        try Row.fetchOne(sql, sql: "SELECT * FROM domain WHERE name = ?", arguments: [name])
            .map(domain)
    }

    func domains(_ filter: DirectoryFilter, in ids: [String]? = nil) throws -> [Domain] {
        var wanted = Conditions()
        wanted.add("name", filter.name)
        wanted.add("isEnabled", filter.isEnabled)
        wanted.add(raw: "id > ?", [filter.after])
        if let ids { wanted.add("id", in: ids) }
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM domain WHERE \(wanted.sql) ORDER BY id LIMIT ?",
            arguments: wanted.arguments(filter.limit)
        ).map(domain)
    }

    func saveDomain(_ domain: Domain) throws {
        try sql.execute(
            sql: """
                INSERT INTO domain (id, name, isEnabled, generation, description, options, extra)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                    isEnabled = excluded.isEnabled, generation = excluded.generation,
                    description = excluded.description, options = excluded.options,
                    extra = excluded.extra
                """,
            arguments: StatementArguments(
                [domain.id, domain.name, domain.isEnabled, domain.generation]
                    + domain.attributes.columns
            )
        )
    }

    /// Removes an object by its identifier, with everything that hangs on it.
    func remove(_ kind: DirectoryKind, id: String) throws {
        try sql.execute(sql: "DELETE FROM \(kind.table) WHERE id = ?", arguments: [id])
    }

    /// Whether another object of the kind has this name in this domain.
    func isTaken(
        _ kind: DirectoryKind,
        name: String,
        domainID: String?,
        except id: String
    ) throws -> Bool {
        var wanted = Conditions()
        wanted.add("name", name)
        wanted.add(raw: "id <> ?", [id])
        if kind != .domain { wanted.add(raw: "COALESCE(domainID, '') = ?", [domainID ?? ""]) }
        return try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM \(kind.table) WHERE \(wanted.sql)",
            arguments: wanted.arguments()
        ) != nil
    }
}

extension DirectoryKind {
    fileprivate var table: String {
        switch self {
        case .domain: "domain"
        case .user: #""user""#
        case .group: "user_group"
        case .project: "project"
        case .role: "role"
        }
    }
}

// MARK: - Users and groups

extension Transaction {
    private func user(_ row: Row) -> User {
        User(
            id: row["id"],
            domainID: row["domainID"],
            name: row["name"],
            isEnabled: row["isEnabled"],
            passwordHash: (row["passwordHash"] as String?).map { Secret($0) },
            generation: row["generation"],
            defaultProjectID: row["defaultProjectID"],
            attributes: Attributes(row)
        )
    }

    private func group(_ row: Row) -> Group {
        Group(
            id: row["id"],
            domainID: row["domainID"],
            name: row["name"],
            attributes: Attributes(row)
        )
    }

    func user(id: String) throws -> User? {
        try Row.fetchOne(sql, sql: #"SELECT * FROM "user" WHERE id = ?"#, arguments: [id]).map(user)
    }

    func user(name: String, domainID: String) throws -> User? {
        try Row.fetchOne(
            sql,
            sql: #"SELECT * FROM "user" WHERE domainID = ? AND name = ?"#,
            arguments: [domainID, name]
        ).map(user)
    }

    func users(_ filter: DirectoryFilter, ofGroup groupID: String? = nil) throws -> [User] {
        var wanted = conditions(filter)
        wanted.add("isEnabled", filter.isEnabled)
        if let groupID {
            wanted.add(
                raw: "id IN (SELECT userID FROM group_member WHERE groupID = ?)",
                [groupID]
            )
        }
        return try Row.fetchAll(
            sql,
            sql: #"SELECT * FROM "user" WHERE \#(wanted.sql) ORDER BY id LIMIT ?"#,
            arguments: wanted.arguments(filter.limit)
        ).map(user)
    }

    private func conditions(_ filter: DirectoryFilter) -> Conditions {
        var wanted = Conditions()
        wanted.add("name", filter.name)
        wanted.add("domainID", filter.domainID)
        wanted.add(raw: "id > ?", [filter.after])
        return wanted
    }

    func saveUser(_ user: User) throws {
        try sql.execute(
            sql: """
                INSERT INTO "user" (id, domainID, name, isEnabled, passwordHash, generation,
                    defaultProjectID, description, options, extra)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                    isEnabled = excluded.isEnabled, passwordHash = excluded.passwordHash,
                    generation = excluded.generation,
                    defaultProjectID = excluded.defaultProjectID,
                    description = excluded.description, options = excluded.options,
                    extra = excluded.extra
                """,
            arguments: StatementArguments(
                [
                    user.id, user.domainID, user.name, user.isEnabled,
                    user.passwordHash?.reveal(), user.generation, user.defaultProjectID,
                ] + user.attributes.columns
            )
        )
    }

    func group(id: String) throws -> Group? {
        try Row.fetchOne(sql, sql: "SELECT * FROM user_group WHERE id = ?", arguments: [id])
            .map(group)
    }

    func groups(_ filter: DirectoryFilter, ofUser userID: String? = nil) throws -> [Group] {
        var wanted = conditions(filter)
        if let userID {
            wanted.add(raw: "id IN (SELECT groupID FROM group_member WHERE userID = ?)", [userID])
        }
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM user_group WHERE \(wanted.sql) ORDER BY id LIMIT ?",
            arguments: wanted.arguments(filter.limit)
        ).map(group)
    }

    func saveGroup(_ group: Group) throws {
        try sql.execute(
            sql: """
                INSERT INTO user_group (id, domainID, name, description, options, extra)
                VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                    description = excluded.description, options = excluded.options,
                    extra = excluded.extra
                """,
            arguments: StatementArguments(
                [group.id, group.domainID, group.name] + group.attributes.columns
            )
        )
    }

    func isMember(_ userID: String, ofGroup groupID: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM group_member WHERE groupID = ? AND userID = ?",
            arguments: [groupID, userID]
        ) != nil
    }

    func addMember(_ userID: String, toGroup groupID: String) throws {
        try sql.execute(
            sql: """
                INSERT INTO group_member (groupID, userID) VALUES (?, ?) ON CONFLICT DO NOTHING
                """,
            arguments: [groupID, userID]
        )
    }

    func removeMember(_ userID: String, fromGroup groupID: String) throws {
        try sql.execute(
            sql: "DELETE FROM group_member WHERE groupID = ? AND userID = ?",
            arguments: [groupID, userID]
        )
    }

    /// Ends the tokens of everybody in a group.
    func endTokens(ofGroup groupID: String) throws {
        try sql.execute(
            sql: """
                UPDATE "user" SET generation = generation + 1
                WHERE id IN (SELECT userID FROM group_member WHERE groupID = ?)
                """,
            arguments: [groupID]
        )
    }
}
