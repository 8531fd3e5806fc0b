import GRDB
import HTTP
import Store

// MARK: - Roles

extension Transaction {
    private func role(_ row: Row) -> RoleRecord {
        RoleRecord(
            id: row["id"],
            domainID: row["domainID"],
            name: row["name"],
            attributes: Attributes(row)
        )
    }

    func role(id: String) throws -> RoleRecord? {
        try Row.fetchOne(sql, sql: "SELECT * FROM role WHERE id = ?", arguments: [id]).map(role)
    }

    /// Roles of the domain that the filter names; those of no domain when it names none.
    func roles(_ filter: DirectoryFilter) throws -> [RoleRecord] {
        var wanted = Conditions()
        wanted.add("name", filter.name)
        wanted.add(raw: "COALESCE(domainID, '') = ?", [filter.domainID ?? ""])
        wanted.add(raw: "id > ?", [filter.after])
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM role WHERE \(wanted.sql) ORDER BY id LIMIT ?",
            arguments: wanted.arguments(filter.limit)
        ).map(role)
    }

    func saveRole(_ role: RoleRecord) throws {
        try sql.execute(
            sql: """
                INSERT INTO role (id, domainID, name, description, options, extra)
                VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                    description = excluded.description, options = excluded.options,
                    extra = excluded.extra
                """,
            arguments: StatementArguments(
                [role.id, role.domainID, role.name] + role.attributes.columns
            )
        )
    }

    /// Every role with all that follow directly from it; with `priorID` of this one only.
    func inferences(of priorID: String? = nil) throws -> [RoleInference] {
        var wanted = Conditions()
        wanted.add("priorID", priorID)
        let pairs = try Row.fetchAll(
            sql,
            sql: """
                SELECT priorID, impliedID FROM implied_role WHERE \(wanted.sql)
                ORDER BY priorID, impliedID
                """,
            arguments: wanted.arguments()
        ).map { (prior: $0["priorID"] as String, implied: $0["impliedID"] as String) }
        let roles = try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM role WHERE id IN (SELECT priorID FROM implied_role)
                    OR id IN (SELECT impliedID FROM implied_role)
                """
        ).map(role)
        let byID = Dictionary(roles.map { ($0.id, $0) }) { first, _ in first }
        return Dictionary(grouping: pairs, by: \.prior).sorted { $0.key < $1.key }
            .compactMap { prior, pairs in
                byID[prior].map {
                    RoleInference(prior: $0, implied: pairs.compactMap { byID[$0.implied] })
                }
            }
    }

    func addInference(_ priorID: String, _ impliedID: String) throws {
        try sql.execute(
            sql: """
                INSERT INTO implied_role (priorID, impliedID) VALUES (?, ?) ON CONFLICT DO NOTHING
                """,
            arguments: [priorID, impliedID]
        )
    }

    func removeInference(_ priorID: String, _ impliedID: String) throws {
        try sql.execute(
            sql: "DELETE FROM implied_role WHERE priorID = ? AND impliedID = ?",
            arguments: [priorID, impliedID]
        )
    }

    /// These roles and all that follow from them, but none that belongs to a domain.
    func closure(of roleIDs: [String]) throws -> [RoleRecord] {
        var wanted = Conditions()
        wanted.add("id", in: roleIDs)
        return try Row.fetchAll(
            sql,
            sql: """
                WITH RECURSIVE held (roleID) AS (
                    SELECT id FROM role WHERE \(wanted.sql)
                    UNION
                    SELECT impliedID FROM implied_role JOIN held ON priorID = held.roleID
                )
                SELECT * FROM role WHERE domainID IS NULL AND id IN (SELECT roleID FROM held)
                ORDER BY id
                """,
            arguments: wanted.arguments()
        ).map(role)
    }
}

// MARK: - Grants

extension Actor {
    var userID: String? {
        if case .user(let id) = self { return id }
        return nil
    }
    var groupID: String? {
        if case .group(let id) = self { return id }
        return nil
    }
}

extension GrantScope {
    var projectID: String? {
        if case .project(let id) = self { return id }
        return nil
    }
    var domainID: String? {
        if case .domain(let id) = self { return id }
        return nil
    }
}

extension Transaction {
    private func key(of grant: Grant) -> Conditions {
        var key = Conditions()
        key.add(raw: "COALESCE(userID, '') = ?", [grant.actor.userID ?? ""])
        key.add(raw: "COALESCE(groupID, '') = ?", [grant.actor.groupID ?? ""])
        key.add(raw: "COALESCE(projectID, '') = ?", [grant.scope.projectID ?? ""])
        key.add(raw: "COALESCE(domainID, '') = ?", [grant.scope.domainID ?? ""])
        key.add(raw: "isInherited = ?", [grant.isInherited])
        return key
    }

    func has(_ grant: Grant) throws -> Bool {
        var key = key(of: grant)
        key.add("roleID", grant.roleID)
        return try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM role_assignment WHERE \(key.sql)",
            arguments: key.arguments()
        ) != nil
    }

    func add(_ grant: Grant) throws {
        try sql.execute(
            sql: """
                INSERT INTO role_assignment
                    (roleID, userID, groupID, projectID, domainID, isInherited)
                VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
                """,
            arguments: [
                grant.roleID, grant.actor.userID, grant.actor.groupID, grant.scope.projectID,
                grant.scope.domainID, grant.isInherited,
            ]
        )
    }

    func remove(_ grant: Grant) throws {
        var key = key(of: grant)
        key.add("roleID", grant.roleID)
        try sql.execute(
            sql: "DELETE FROM role_assignment WHERE \(key.sql)",
            arguments: key.arguments()
        )
    }

    /// The roles given to exactly this actor in exactly this scope; the grant's own role does not count.
    func roles(like grant: Grant) throws -> [RoleRecord] {
        let key = key(of: grant)
        return try Row.fetchAll(
            sql,
            sql: """
                SELECT * FROM role
                WHERE id IN (SELECT roleID FROM role_assignment WHERE \(key.sql)) ORDER BY id
                """,
            arguments: key.arguments()
        ).map(role)
    }

    private func own(_ actor: Actor) -> Conditions {
        var own = Conditions()
        switch actor {
        case .user(let id):
            own.add(
                raw: """
                    (userID = ? OR groupID IN
                        (SELECT groupID FROM group_member WHERE userID = ?))
                    """,
                [id, id]
            )
        case .group(let id): own.add("groupID", id)
        }
        return own
    }

    /// The roles that count: given there, to a group, inherited from above, and implied by these.
    func effectiveRoles(of actor: Actor, in scope: GrantScope) throws -> [RoleRecord] {
        var wanted = own(actor)
        switch scope {
        case .system: wanted.add(raw: "projectID IS NULL AND domainID IS NULL")
        case .domain(let id): wanted.add(raw: "domainID = ? AND isInherited = 0", [id])
        case .project(let id):
            wanted.add(
                raw: """
                    (projectID = ? AND isInherited = 0
                        OR isInherited = 1 AND projectID IN (SELECT id FROM above)
                        OR isInherited = 1 AND domainID =
                            (SELECT domainID FROM project WHERE id = ?))
                    """,
                [id, id]
            )
        }
        return try Row.fetchAll(
            sql,
            sql: """
                WITH RECURSIVE above (id) AS (
                    SELECT parentID FROM project WHERE id = ? AND parentID IS NOT NULL
                    UNION
                    SELECT project.parentID FROM project JOIN above ON project.id = above.id
                    WHERE project.parentID IS NOT NULL
                ), held (roleID) AS (
                    SELECT roleID FROM role_assignment WHERE \(wanted.sql)
                    UNION
                    SELECT impliedID FROM implied_role JOIN held ON priorID = held.roleID
                )
                SELECT * FROM role WHERE domainID IS NULL AND id IN (SELECT roleID FROM held)
                ORDER BY id
                """,
            arguments: StatementArguments([scope.projectID] + wanted.values)
        ).map(role)
    }

    /// Whether a grant of this actor, wherever it is, brings the role `admin` with it.
    func isAdminAnywhere(_ actor: Actor) throws -> Bool {
        let own = own(actor)
        return try Row.fetchOne(
            sql,
            sql: """
                WITH RECURSIVE held (roleID) AS (
                    SELECT roleID FROM role_assignment WHERE \(own.sql)
                    UNION
                    SELECT impliedID FROM implied_role JOIN held ON priorID = held.roleID
                )
                SELECT 1 FROM held WHERE roleID = 'admin'
                """,
            arguments: own.arguments()
        ) != nil
    }

    /// Domains in which a user has a role.
    func domains(ofUser id: String) throws -> [Domain] {
        let own = own(.user(id))
        let ids = try String.fetchAll(
            sql,
            sql: """
                SELECT DISTINCT domainID FROM role_assignment
                WHERE \(own.sql) AND domainID IS NOT NULL AND isInherited = 0
                """,
            arguments: own.arguments()
        )
        return ids.isEmpty ? [] : try domains(DirectoryFilter(isEnabled: true), in: ids)
    }
}
