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
        ),
        Migration(name: "identity-002", sql: directory + roles + credentials + catalog + audit),
    ]

    /// Domains, groups and what else the directory of 0.1 lacked; names are unique per domain.
    ///
    /// SQLite cannot drop a UNIQUE, so that users and projects move to new tables.
    private static let directory = """
        CREATE TABLE domain (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE CHECK (name <> ''),
            isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1)),
            generation INTEGER NOT NULL,
            description TEXT NOT NULL,
            options TEXT NOT NULL,
            extra TEXT NOT NULL
        ) STRICT;
        INSERT INTO domain (id, name, isEnabled, generation, description, options, extra)
            VALUES ('default', 'Default', 1, 0, 'The default domain', '{}', '{}');
        CREATE TABLE user_new (
            id TEXT PRIMARY KEY,
            domainID TEXT NOT NULL REFERENCES domain (id) ON DELETE CASCADE,
            name TEXT NOT NULL CHECK (name <> ''),
            isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1)),
            passwordHash TEXT CHECK (passwordHash <> ''),
            generation INTEGER NOT NULL,
            defaultProjectID TEXT,
            description TEXT NOT NULL,
            options TEXT NOT NULL,
            extra TEXT NOT NULL,
            UNIQUE (domainID, name)
        ) STRICT;
        INSERT INTO user_new
            SELECT id, 'default', name, isEnabled, passwordHash, 0, NULL, '', '{}', '{}'
            FROM "user";
        CREATE TABLE project_new (
            id TEXT PRIMARY KEY,
            domainID TEXT NOT NULL REFERENCES domain (id) ON DELETE CASCADE,
            parentID TEXT REFERENCES project (id) ON DELETE CASCADE,
            name TEXT NOT NULL CHECK (name <> ''),
            isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1)),
            generation INTEGER NOT NULL,
            tags TEXT NOT NULL,
            description TEXT NOT NULL,
            options TEXT NOT NULL,
            extra TEXT NOT NULL,
            UNIQUE (domainID, name)
        ) STRICT;
        INSERT INTO project_new
            SELECT id, 'default', NULL, name, isEnabled, 0, '[]', '', '{}', '{}' FROM project;
        CREATE TABLE user_group (
            id TEXT PRIMARY KEY,
            domainID TEXT NOT NULL REFERENCES domain (id) ON DELETE CASCADE,
            name TEXT NOT NULL CHECK (name <> ''),
            description TEXT NOT NULL,
            options TEXT NOT NULL,
            extra TEXT NOT NULL,
            UNIQUE (domainID, name)
        ) STRICT;
        CREATE TABLE group_member (
            groupID TEXT NOT NULL REFERENCES user_group (id) ON DELETE CASCADE,
            userID TEXT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
            PRIMARY KEY (groupID, userID)
        ) STRICT;
        CREATE INDEX group_member_user ON group_member (userID);
        CREATE TABLE identity_setting (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT;
        INSERT INTO identity_setting SELECT 'adminProject', id FROM project WHERE name = 'admin';

        """

    /// Roles that operators can add to, what they imply, and to whom they are given where.
    private static let roles = """
        CREATE TABLE role (
            id TEXT PRIMARY KEY,
            domainID TEXT REFERENCES domain (id) ON DELETE CASCADE,
            name TEXT NOT NULL CHECK (name <> ''),
            description TEXT NOT NULL,
            options TEXT NOT NULL,
            extra TEXT NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX role_name ON role (COALESCE(domainID, ''), name);
        INSERT INTO role (id, domainID, name, description, options, extra) VALUES
            ('admin', NULL, 'admin', 'Everything', '{"immutable":true}', '{}'),
            ('manager', NULL, 'manager', 'Manages a project or domain', '{"immutable":true}', '{}'),
            ('member', NULL, 'member', 'Uses what is there', '{"immutable":true}', '{}'),
            ('reader', NULL, 'reader', 'Looks, changes nothing', '{"immutable":true}', '{}');
        CREATE TABLE implied_role (
            priorID TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
            impliedID TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
            PRIMARY KEY (priorID, impliedID),
            CHECK (priorID <> impliedID)
        ) STRICT;
        INSERT INTO implied_role (priorID, impliedID)
            VALUES ('admin', 'manager'), ('manager', 'member'), ('member', 'reader');
        CREATE TABLE role_assignment (
            roleID TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
            userID TEXT REFERENCES "user" (id) ON DELETE CASCADE,
            groupID TEXT REFERENCES user_group (id) ON DELETE CASCADE,
            projectID TEXT REFERENCES project (id) ON DELETE CASCADE,
            domainID TEXT REFERENCES domain (id) ON DELETE CASCADE,
            isInherited INTEGER NOT NULL CHECK (isInherited IN (0, 1)),
            CHECK ((userID IS NULL) <> (groupID IS NULL)),
            CHECK (projectID IS NULL OR domainID IS NULL),
            CHECK (isInherited = 0 OR projectID IS NOT NULL OR domainID IS NOT NULL)
        ) STRICT;
        CREATE UNIQUE INDEX role_assignment_key ON role_assignment (
            COALESCE(userID, ''), COALESCE(groupID, ''), COALESCE(projectID, ''),
            COALESCE(domainID, ''), roleID, isInherited
        );
        CREATE INDEX role_assignment_user ON role_assignment (userID);
        CREATE INDEX role_assignment_group ON role_assignment (groupID);
        CREATE INDEX role_assignment_project ON role_assignment (projectID);
        CREATE INDEX role_assignment_domain ON role_assignment (domainID);
        INSERT INTO role_assignment (roleID, userID, groupID, projectID, domainID, isInherited)
            SELECT role, userID, NULL, projectID, NULL, 0 FROM project_role;
        INSERT INTO role_assignment (roleID, userID, groupID, projectID, domainID, isInherited)
            SELECT role, userID, NULL, NULL, NULL, 0 FROM system_role;
        DROP TABLE project_role;
        DROP TABLE system_role;
        DROP TABLE "user";
        DROP TABLE project;
        ALTER TABLE user_new RENAME TO "user";
        ALTER TABLE project_new RENAME TO project;
        CREATE INDEX project_parent ON project (parentID);

        """

    /// Application credentials and the requests they are limited to.
    private static let credentials = """
        CREATE TABLE application_credential (
            id TEXT PRIMARY KEY,
            userID TEXT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
            projectID TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
            name TEXT NOT NULL CHECK (name <> ''),
            description TEXT NOT NULL,
            secretHash TEXT NOT NULL CHECK (secretHash <> ''),
            expires INTEGER,
            isUnrestricted INTEGER NOT NULL CHECK (isUnrestricted IN (0, 1)),
            UNIQUE (userID, name)
        ) STRICT;
        CREATE TABLE application_credential_role (
            credentialID TEXT NOT NULL REFERENCES application_credential (id) ON DELETE CASCADE,
            roleID TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
            PRIMARY KEY (credentialID, roleID)
        ) STRICT;
        CREATE TABLE access_rule (
            id TEXT PRIMARY KEY,
            userID TEXT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
            service TEXT NOT NULL CHECK (service <> ''),
            method TEXT NOT NULL CHECK (method <> ''),
            path TEXT NOT NULL CHECK (path <> ''),
            UNIQUE (userID, service, method, path)
        ) STRICT;
        CREATE TABLE application_credential_rule (
            credentialID TEXT NOT NULL REFERENCES application_credential (id) ON DELETE CASCADE,
            ruleID TEXT NOT NULL REFERENCES access_rule (id) ON DELETE CASCADE,
            PRIMARY KEY (credentialID, ruleID)
        ) STRICT;

        """

    /// Regions, services and their endpoints; the controller's own are kept in step with its settings.
    private static let catalog = """
        CREATE TABLE region (
            id TEXT PRIMARY KEY CHECK (id <> ''),
            parentID TEXT REFERENCES region (id),
            description TEXT NOT NULL,
            extra TEXT NOT NULL
        ) STRICT;
        CREATE TABLE service (
            id TEXT PRIMARY KEY,
            type TEXT NOT NULL CHECK (type <> ''),
            name TEXT NOT NULL,
            isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1)),
            isOwn INTEGER NOT NULL CHECK (isOwn IN (0, 1)),
            description TEXT NOT NULL,
            extra TEXT NOT NULL
        ) STRICT;
        CREATE TABLE endpoint (
            id TEXT PRIMARY KEY,
            serviceID TEXT NOT NULL REFERENCES service (id) ON DELETE CASCADE,
            regionID TEXT REFERENCES region (id),
            interface TEXT NOT NULL CHECK (interface IN ('public', 'internal', 'admin')),
            url TEXT NOT NULL CHECK (url <> ''),
            isEnabled INTEGER NOT NULL CHECK (isEnabled IN (0, 1)),
            isOwn INTEGER NOT NULL CHECK (isOwn IN (0, 1)),
            extra TEXT NOT NULL
        ) STRICT;
        CREATE INDEX endpoint_service ON endpoint (serviceID);
        CREATE TABLE project_endpoint (
            projectID TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
            endpointID TEXT NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
            PRIMARY KEY (projectID, endpointID)
        ) STRICT;

        """

    /// What a call was about, and for what its token spoke.
    private static let audit = """
        ALTER TABLE audit ADD COLUMN scope TEXT NOT NULL DEFAULT '';
        ALTER TABLE audit ADD COLUMN action TEXT NOT NULL DEFAULT '';
        ALTER TABLE audit ADD COLUMN targetType TEXT NOT NULL DEFAULT '';
        ALTER TABLE audit ADD COLUMN targetID TEXT NOT NULL DEFAULT '';
        ALTER TABLE audit ADD COLUMN omitted INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX audit_target ON audit (targetID, sequence);
        CREATE INDEX audit_user ON audit (userID, sequence);
        """
}
