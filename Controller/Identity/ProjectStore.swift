import GRDB
import HTTP
import Store

extension Transaction {
    private func project(_ row: Row) -> Project {
        Project(
            id: row["id"],
            domainID: row["domainID"],
            parentID: row["parentID"],
            name: row["name"],
            isEnabled: row["isEnabled"],
            generation: row["generation"],
            tags: JSONValue(column: row["tags"]).elements?.compactMap(\.text) ?? [],
            attributes: Attributes(row)
        )
    }

    func project(id: String) throws -> Project? {
        try Row.fetchOne(sql, sql: "SELECT * FROM project WHERE id = ?", arguments: [id])
            .map(project)
    }

    func project(name: String, domainID: String) throws -> Project? {
        try Row.fetchOne(
            sql,
            sql: "SELECT * FROM project WHERE domainID = ? AND name = ?",
            arguments: [domainID, name]
        ).map(project)
    }

    /// Projects; with `memberID` only those in which this user has a role, however it came to it.
    func projects(
        _ filter: DirectoryFilter,
        ofUser memberID: String? = nil,
        withIDs ids: [String]? = nil
    ) throws -> [Project] {
        var wanted = Conditions()
        if let ids { wanted.add("id", in: ids) }
        wanted.add("name", filter.name)
        wanted.add("domainID", filter.domainID)
        wanted.add("isEnabled", filter.isEnabled)
        if let parent = filter.parentID {
            // A domain is the parent of its uppermost projects.
            wanted.add(raw: "COALESCE(parentID, domainID) = ?", [parent])
        }
        Self.add(filter.tags, to: &wanted)
        wanted.add(raw: "id > ?", [filter.after])
        var prefix = ""
        var values: [(any DatabaseValueConvertible)?] = []
        if let memberID {
            prefix = Self.reachedProjects
            values = [memberID, memberID]
            wanted.add(raw: "id IN (SELECT id FROM reached)")
        }
        return try Row.fetchAll(
            sql,
            sql: "\(prefix) SELECT * FROM project WHERE \(wanted.sql) ORDER BY id LIMIT ?",
            arguments: StatementArguments(values + wanted.values + [filter.limit])
        ).map(project)
    }

    /// Searches the column for the text that each tag has in it: tags are few and short.
    ///
    /// `LIKE` would not tell capitals from small letters.
    private static func add(_ filter: DirectoryFilter.Tags, to wanted: inout Conditions) {
        func add(_ tags: [String], _ joint: String, _ form: (String) -> String) {
            guard !tags.isEmpty else { return }
            let tests = tags.map { _ in "REPLACE(tags, ?, '') <> tags" }
            wanted.add(
                raw: form(tests.joined(separator: " \(joint) ")),
                tags.map { JSONValue.string($0).canonicalText }
            )
        }
        add(filter.all, "AND") { "(\($0))" }
        add(filter.any, "OR") { "(\($0))" }
        add(filter.notAll, "AND") { "NOT (\($0))" }
        add(filter.notAny, "OR") { "NOT (\($0))" }
    }

    /// Projects in which a user (bound twice) has a role: given there, to a group, or inherited.
    private static let reachedProjects = """
        WITH RECURSIVE mine AS (
            SELECT projectID, domainID, isInherited FROM role_assignment
            WHERE userID = ?
                OR groupID IN (SELECT groupID FROM group_member WHERE userID = ?)
        ), below (id) AS (
            SELECT id FROM project WHERE parentID IN
                (SELECT projectID FROM mine WHERE isInherited = 1)
            UNION
            SELECT project.id FROM project JOIN below ON project.parentID = below.id
        ), reached (id) AS (
            SELECT projectID FROM mine WHERE isInherited = 0 AND projectID IS NOT NULL
            UNION SELECT id FROM below
            UNION SELECT id FROM project WHERE domainID IN
                (SELECT domainID FROM mine WHERE isInherited = 1)
        )
        """

    func saveProject(_ project: Project) throws {
        try sql.execute(
            sql: """
                INSERT INTO project (id, domainID, parentID, name, isEnabled, generation, tags,
                    description, options, extra)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                    isEnabled = excluded.isEnabled, generation = excluded.generation,
                    tags = excluded.tags, description = excluded.description,
                    options = excluded.options, extra = excluded.extra
                """,
            arguments: StatementArguments(
                [
                    project.id, project.domainID, project.parentID, project.name,
                    project.isEnabled, project.generation,
                    JSONValue.array(project.tags.map(JSONValue.string)).canonicalText,
                ] + project.attributes.columns
            )
        )
    }

    /// The projects above one, nearest first.
    func ancestors(ofProject id: String) throws -> [Project] {
        try Row.fetchAll(
            sql,
            sql: """
                WITH RECURSIVE above (id, distance) AS (
                    SELECT parentID, 1 FROM project WHERE id = ? AND parentID IS NOT NULL
                    UNION
                    SELECT project.parentID, above.distance + 1
                    FROM project JOIN above ON project.id = above.id
                    WHERE project.parentID IS NOT NULL
                )
                SELECT project.* FROM project JOIN above ON project.id = above.id
                ORDER BY above.distance
                """,
            arguments: [id]
        ).map(project)
    }

    /// All projects below one.
    func descendants(ofProject id: String) throws -> [Project] {
        try Row.fetchAll(
            sql,
            sql: """
                WITH RECURSIVE below (id) AS (
                    SELECT id FROM project WHERE parentID = ?
                    UNION
                    SELECT project.id FROM project JOIN below ON project.parentID = below.id
                )
                SELECT * FROM project WHERE id IN (SELECT id FROM below) ORDER BY id
                """,
            arguments: [id]
        ).map(project)
    }
}
