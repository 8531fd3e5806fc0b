import Basics
import FoundationEssentials
import GRDB
import HTTP
import Logging
import Store
import Testing

@testable import Identity

/// A database of the release before is brought up to date with everything in it.
@Suite struct MigrationTests {
    private static func old(_ path: String) async throws {
        let database = try Store.Database(
            path: path,
            migrations: [IdentityStore.migrations[0]],
            feed: ChangeFeed()
        )
        let hash = try World.hash(World.password).reveal()
        try await database.write { transaction in
            try transaction.sql.execute(
                sql: """
                    INSERT INTO "user" VALUES ('u1', 'admin', 1, ?, 5), ('u2', 'ann', 0, ?, 0);
                    """,
                arguments: [hash, hash]
            )
            try transaction.sql.execute(
                sql: """
                    INSERT INTO project VALUES ('p1', 'admin', 1), ('p2', 'other', 1);
                    INSERT INTO project_role VALUES
                        ('u1', 'p1', 'admin'), ('u2', 'p2', 'reader'), ('u2', 'p2', 'member');
                    INSERT INTO system_role VALUES ('u1', 'admin');
                    INSERT INTO revoked_token VALUES ('t1', 99);
                    INSERT INTO audit
                        (time, requestID, userID, userName, address, method, path, status)
                        VALUES (1, 'r', 'u1', 'admin', 'a', 'POST', '/v1/nodes', 201);
                    """
            )
        }
    }

    @Test func `a database of 0_1 keeps its users, projects, roles and trail`() async throws {
        let folder = FileManager.default.temporaryDirectory.path
        let path = "\(folder)/identity-\(SystemRandom().number(below: .max)).sqlite"
        defer {
            for end in ["", "-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: path + end)
            }
        }
        try await Self.old(path)
        let database = try Store.Database(
            path: path,
            migrations: IdentityStore.migrations,
            feed: ChangeFeed()
        )
        let time = ManualTime()
        let service = try IdentityService(
            database: database,
            signer: TokenSigner(key: TokenSigner.makeKey()),
            passwordCost: World.cheap,
            time: time,
            random: SeededRandom(seed: 1),
            logger: Logger(label: "test")
        )
        try await service.bootstrap(
            hash: World.hash(World.password),
            catalog: Catalog(publicURL: World.url)
        )
        let issued = try await service.signIn(
            SignIn(
                proof: .password(userID: nil, userName: "admin", password: World.password),
                scope: .project(id: nil, name: "admin")
            ),
            from: ""
        )
        #expect(issued.principal.userID == "u1")
        #expect(issued.principal.projectID == "p1")
        #expect(issued.principal.isAdminProject)
        try await database.read { transaction in
            #expect(try transaction.users(DirectoryFilter()).map(\.name) == ["admin", "ann"])
            let ann = try transaction.user(id: "u2")
            #expect(ann?.isEnabled == false)
            #expect(ann?.domainID == Domain.id)
            let roles = try transaction.effectiveRoles(of: .user("u2"), in: .project("p2"))
            #expect(roles.map(\.id) == ["member", "reader"])
            let admin = try transaction.effectiveRoles(of: .user("u1"), in: .system)
            #expect(admin.strongest == .admin)
            #expect(try transaction.isRevoked(token: "t1"))
            let records = try transaction.auditRecords(AuditFilter())
            #expect(records.map(\.path) == ["/v1/nodes"])
            // What referred to the old tables refers to the new ones.
            let broken = try Row.fetchAll(transaction.sql, sql: "PRAGMA foreign_key_check")
            #expect(broken.isEmpty)
            let schema = try String.fetchAll(
                transaction.sql,
                sql: "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
            )
            #expect(!schema.contains { $0.contains("_new") })
        }
    }
}
