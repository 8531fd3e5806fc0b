import GRDB
import Store

extension Transaction {
    /// Grants with the names of what they connect.
    func grants(_ filter: GrantFilter) throws -> [NamedGrant] {
        var wanted = Conditions()
        wanted.add("found.roleID", filter.roleID)
        wanted.add("found.userID", filter.userID)
        wanted.add("found.groupID", filter.groupID)
        wanted.add("found.projectID", filter.projectID)
        wanted.add("found.domainID", filter.domainID)
        if filter.isSystem {
            wanted.add(raw: "found.projectID IS NULL AND found.domainID IS NULL")
        }
        if filter.isInherited { wanted.add(raw: "found.isInherited = 1") }
        if filter.isEffective { wanted.add(raw: "role.domainID IS NULL") }
        if let within = filter.within {
            wanted.add(raw: "(found.domainID = ? OR project.domainID = ?)", [within, within])
        }
        return try Row.fetchAll(
            sql,
            sql: """
                \(filter.isEffective ? Self.effectiveGrants : Self.givenGrants)
                SELECT found.*, role.name AS roleName, role.domainID AS roleDomainID,
                    roleDomain.name AS roleDomainName, person.name AS userName,
                    person.domainID AS userDomainID, userDomain.name AS userDomainName,
                    user_group.name AS groupName, user_group.domainID AS groupDomainID,
                    groupDomain.name AS groupDomainName, project.name AS projectName,
                    project.domainID AS projectDomainID, projectDomain.name AS projectDomainName,
                    domain.name AS domainName
                FROM found JOIN role ON role.id = found.roleID
                LEFT JOIN domain AS roleDomain ON roleDomain.id = role.domainID
                LEFT JOIN "user" AS person ON person.id = found.userID
                LEFT JOIN domain AS userDomain ON userDomain.id = person.domainID
                LEFT JOIN user_group ON user_group.id = found.groupID
                LEFT JOIN domain AS groupDomain ON groupDomain.id = user_group.domainID
                LEFT JOIN project ON project.id = found.projectID
                LEFT JOIN domain AS projectDomain ON projectDomain.id = project.domainID
                LEFT JOIN domain ON domain.id = found.domainID
                WHERE \(wanted.sql)
                ORDER BY found.userID, found.groupID, found.projectID, found.domainID,
                    found.roleID, found.isInherited
                LIMIT ?
                """,
            arguments: wanted.arguments(GrantFilter.limitMax)
        ).compactMap(namedGrant)
    }

    /// As they were given.
    private static let givenGrants = """
        WITH found AS (
            SELECT roleID, userID, groupID, projectID, domainID, isInherited FROM role_assignment
        )
        """

    /// What comes of them: users in place of groups, every project that inherits, implied roles.
    private static let effectiveGrants = """
        WITH RECURSIVE closure (priorID, roleID) AS (
            SELECT id, id FROM role
            UNION
            SELECT closure.priorID, implied_role.impliedID
            FROM closure JOIN implied_role ON implied_role.priorID = closure.roleID
        ), below (rootID, id) AS (
            SELECT parentID, id FROM project WHERE parentID IS NOT NULL
            UNION
            SELECT below.rootID, project.id FROM below JOIN project ON project.parentID = below.id
        ), personal AS (
            SELECT roleID, userID, projectID, domainID, isInherited FROM role_assignment
            WHERE userID IS NOT NULL
            UNION ALL
            SELECT role_assignment.roleID, group_member.userID, role_assignment.projectID,
                role_assignment.domainID, role_assignment.isInherited
            FROM role_assignment JOIN group_member
                ON group_member.groupID = role_assignment.groupID
        ), placed AS (
            SELECT roleID, userID, projectID, domainID FROM personal WHERE isInherited = 0
            UNION ALL
            SELECT personal.roleID, personal.userID, below.id, NULL
            FROM personal JOIN below ON below.rootID = personal.projectID
            WHERE personal.isInherited = 1
            UNION ALL
            SELECT personal.roleID, personal.userID, project.id, NULL
            FROM personal JOIN project ON project.domainID = personal.domainID
            WHERE personal.isInherited = 1
        ), found AS (
            SELECT DISTINCT closure.roleID, placed.userID, NULL AS groupID, placed.projectID,
                placed.domainID, 0 AS isInherited
            FROM placed JOIN closure ON closure.priorID = placed.roleID
        )
        """

    private func namedGrant(_ row: Row) -> NamedGrant? {
        func reference(_ id: String, _ prefix: String) -> NamedReference? {
            guard let id = row[id] as String?, let name = row["\(prefix)Name"] as String? else {
                return nil
            }
            return NamedReference(
                id: id,
                name: name,
                domainID: prefix == "domain" ? nil : row["\(prefix)DomainID"],
                domainName: prefix == "domain" ? nil : row["\(prefix)DomainName"]
            )
        }
        let (user, group) = (reference("userID", "user"), reference("groupID", "group"))
        guard let role = reference("roleID", "role"), let actor = user ?? group else { return nil }
        let project = reference("projectID", "project")
        let domain = reference("domainID", "domain")
        let scope: GrantScope =
            project.map { .project($0.id) } ?? domain.map { .domain($0.id) } ?? .system
        return NamedGrant(
            grant: Grant(
                roleID: role.id,
                actor: user.map { .user($0.id) } ?? .group(actor.id),
                scope: scope,
                isInherited: row["isInherited"]
            ),
            role: role,
            actor: actor,
            scope: project ?? domain
        )
    }
}
